/*
 * The load of a test: a process of cluster-load (load_main.c), which knows what it was promised.
 */
#ifndef CLUSTER_LOAD_H
#define CLUSTER_LOAD_H

#include "content.h"

/* Starts it. nodes: names to read from, NULL-terminated; NULL: no reads. */
void load_start(struct rig *rig, uint64_t seed, uint32_t depth, const char *const *nodes);

/* Waits until it has so many more acknowledgements than now. */
void load_wait_more(struct rig *rig, uint64_t more);

/* Ends it: what it had begun is answered; none of its reads may have been wrong. */
void load_stop(struct rig *rig);

/* After load_stop(): each key that it wrote holds, at this node, what it must; and there are no
 * other keys of its kind. Fails the test when not a single update was acknowledged. */
void load_check(struct rig *rig, const char *node);

#endif

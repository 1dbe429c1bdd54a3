/*
 * What the cluster says of itself (kvctl status --json), and waiting until it says what a test
 * expects. A wait that is in vain fails the test with the last status.
 */
#ifndef CLUSTER_STATE_H
#define CLUSTER_STATE_H

#include "rig.h"

#include <jansson.h>

/* The status, to be json_decref()ed; NULL when kvctl could not tell (the arbiter is not there). */
json_t *state_read(struct rig *rig);

/* The node's object within a status; NULL: none. Borrowed. */
const json_t *state_node(const json_t *state, const char *name);

/* A number of a node: "keys", "committed_index", or a counter. Fails the test when it is down. */
uint64_t state_number(struct rig *rig, const char *name, const char *member);
uint64_t state_counter(struct rig *rig, const char *name, const char *counter);

/* The view has exactly so many nodes: one primary, all others secondary, all up, with the same
 * committed index, number of keys and digest. */
void state_wait_agree(struct rig *rig, uint32_t nodes_len);

/* As above, without looking at contents: fit to be waited for under load. */
void state_wait_in_sync(struct rig *rig, uint32_t nodes_len);

/* The node is not in the view. */
void state_wait_gone(struct rig *rig, const char *name);

/* The node's durable_index is at least that. */
void state_wait_index(struct rig *rig, const char *name, uint64_t index);

/* The name of the primary in the view. */
void state_primary(struct rig *rig, char *ret_name, size_t size);

#endif

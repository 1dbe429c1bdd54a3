/*
 * What must hold whatever the nodes of a cluster store in: shared by the tests with different
 * stores.
 */
#ifndef CLUSTER_STORES_H
#define CLUSTER_STORES_H

#include "load.h"
#include "state.h"

/* A replica n1, which is the arbiter too and becomes the primary, n2 and n3, each with its own
 * persistence group ("plugin = ...;"), under a load: secondaries are killed and come back, all are
 * killed at once and come back from their stores. Nothing acknowledged is missing, all are equal.
 */
void stores_check_together(struct rig *rig, const char *const persistence[3]);

/* A cluster of n1 and n2 on `from`, moved to `to` under a load: n3 joins with it, n2 leaves. No
 * update fails, and n3 has everything, also when it is killed and started again. */
void stores_check_move(struct rig *rig, const char *from, const char *to);

#endif

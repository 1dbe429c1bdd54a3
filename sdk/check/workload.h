/*
 * A long random history that every process can make up again from its seed: batch number n is
 * always the same. Keys and values are plain text of moderate length, which any store takes.
 */
#ifndef KVNODE_CHECK_WORKLOAD_H
#define KVNODE_CHECK_WORKLOAD_H

#include "batch.h"

#define WORKLOAD_RECORDS_MAX 48u
#define WORKLOAD_KEYS        40u

struct workload {
    uint64_t seed;
    uint64_t batch;          /* the last one made; 0: none */
    struct kv_position next; /* of the next record */
};

void workload_init(struct workload *workload, uint64_t seed);

/* The next batch, in order; batch_close() it. */
void workload_next(struct workload *workload, struct batch *ret_batch);

#endif

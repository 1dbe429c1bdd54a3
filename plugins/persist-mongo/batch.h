/*
 * Writing the records of one batch, in their order, with ordered bulk writes.
 *
 * The store is not atomic: a crash in the middle leaves a part of the batch, without its position;
 * the node then repeats it. So that a repeat never takes a key back to an older state, only the
 * last record of each key in the batch is written: then a repeat writes what is there. A record
 * that the server refuses for good lets the one of the same key before it be written instead.
 */
#ifndef PERSIST_MONGO_BATCH_H
#define PERSIST_MONGO_BATCH_H

#include "store.h"

/* view: the writer's, for the fence, which is asked before each bulk. is_incomplete: the content is
 * being replaced. KV_OK: all are written but those whose result says KV_RESULT_REFUSED, with its
 * reason given. KV_E_REJECTED: another one writes. Else the outcome is not known, or the server
 * takes nothing now. */
int32_t batch_write(const struct mongo *mongo, const struct kv_record *records, uint32_t count,
                    uint64_t view, bool is_incomplete, uint32_t *results);

#endif

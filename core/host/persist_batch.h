/*
 * What the persistence thread makes of a batch before the plugin gets it, and of the plugin's
 * refusals before the loop gets them. Plain functions on their arguments; the persist worker only.
 */
#ifndef HOST_PERSIST_BATCH_H
#define HOST_PERSIST_BATCH_H

#include "host/persist_worker.h"

/* Decodes the batch's records into *records, memory of *capacity entries that grows as needed and
 * is the caller's (alloc_free()). Keys and values stay in the batch. */
void persist_batch_decode(const struct persist_worker_batch *batch, struct kv_record **records,
                          uint32_t *capacity);

/* The position that the store is told. In a shared one its view says who writes: what a new primary
 * writes first may be records of views before it, and the primary before must be refused from then
 * on. */
struct kv_position persist_batch_position(const struct persist_worker_batch *batch, bool is_shared);

/* A copy with its texts in one piece of memory, for alloc_free() on any thread; NULL: none. */
struct persist_refusal *persist_batch_copy_refusals(const struct persist_refusal *refusals,
                                                    uint32_t len);

#endif

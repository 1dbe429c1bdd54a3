/*
 * A batch of records in the making, with memory of its own: what a check hands to apply(). Each
 * record gets the position after the one before it. Any thread, one at a time.
 */
#ifndef KVNODE_CHECK_BATCH_H
#define KVNODE_CHECK_BATCH_H

#include <kvnode/persist.h>

#include <stddef.h>

struct batch {
    struct kv_record *records;
    uint32_t count;
    uint32_t capacity;
    struct kv_position position; /* that the batch reaches */
    struct kv_position next;     /* of the next record */
};

/* The first record gets the position first; while there is none the batch reaches the one before.
 */
void batch_init(struct batch *batch, struct kv_position first);
void batch_close(struct batch *batch);

/* Copies key and value; kind: KV_RECORD_. */
void batch_add(struct batch *batch, uint32_t kind, const void *key, size_t key_len,
               const void *value, size_t value_len);

/* Deep copies of the records, each piece of memory in its exact size: what a call borrows. */
struct kv_record *batch_lend(const struct batch *batch);

/* Overwrites what was lent and frees it, some time later when that shows more: a plugin that kept a
 * pointer into it finds nonsense there. */
void batch_take_back(struct kv_record *records, uint32_t count);

/* Frees overwritten memory of malloc(): at once under a sanitizer, else some time later. */
void batch_free_later(void *memory, size_t len);

/* What was lent and taken back is full of this byte. */
#define BATCH_POISON 0xdd

#endif

/*
 * The active segment: the file at the end of the log that batches are appended to.
 *
 * Called by the store's thread only. Sealed segments are never written again.
 */
#ifndef PERSIST_FILE_SEGMENT_H
#define PERSIST_FILE_SEGMENT_H

#include <kvnode/persist.h>

struct store;

struct segment {
    int fd; /* -1: none */
    uint64_t number;
    uint32_t salt;         /* checksum of the file header */
    uint64_t end;          /* behind the last whole batch */
    uint64_t reserved_end; /* behind the zeros preallocated after it; end at least */
};

/* Creates segment `number`, complete with its header, under its final name, durably; leaves it open
 * in *ret_segment. On failure (logged) the segment may be there, but then it is empty. */
int32_t segment_create(const struct store *store, uint64_t number, struct segment *ret_segment);

/* Appends one batch of records, those whose result is KV_RESULT_STORED, to the active segment,
 * rolling over to a new segment first when that is due. As apply() of persist.h: KV_OK only when
 * all is written and, with sync = always, durable; then store's position and next_sequence are
 * moved. After any failure nothing of the batch is there, or store.failed is set. */
int32_t segment_append(struct store *store, const struct kv_record *records, uint32_t count,
                       const uint32_t *results, struct kv_position position);

/* Ends use: gives preallocated room back, makes durable what is not yet, closes the file. */
void segment_close(struct store *store);

/* Writes all of len bytes at offset; -1 with errno. */
int segment_write(int fd, const uint8_t *bytes, size_t len, uint64_t offset);

#endif

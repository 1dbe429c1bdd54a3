/*
 * The log: the records from the oldest that somebody still needs to the newest, in the one total
 * order, held once, in the byte form of record.h, and borrowed by the replicators and by the
 * persistence batch in flight. Records never move and never change; trimming frees whole chunks.
 * Only the logic appends and trims; the persistence thread may read slices of what it was given.
 */
#ifndef LOGIC_LOG_H
#define LOGIC_LOG_H

#include <kvnode/persist.h>
#include <kvnode/transport.h>
#include <stdbool.h>

struct log;

/* An empty log whose next record has index last.index + 1; the caller holds its one reference. */
struct log *log_create(struct kv_position last);

/* A persistence job that outlives the log's owner holds a reference of its own. */
void log_ref(struct log *log);
void log_unref(struct log *log);

/* Appends a copy. record->position.index must be log_last_index() + 1, its view not lower than the
 * last record's. */
void log_append(struct log *log, const struct kv_record *record);

/* Position of the newest record, or what log_create() was given while there was none. */
struct kv_position log_last(const struct log *log);
uint64_t log_last_index(const struct log *log);

/* The highest index up to which another log, whose last record has that position, is known to be
 * the same as this one; records with the same position are the same, and so is all before them.
 * True when there is one, which may be before the oldest record held. */
bool log_common(const struct log *log, struct kv_position last, uint64_t *ret_index);

/* Position of the record at an index, which is held or is the one before the oldest held. */
struct kv_position log_position_at(const struct log *log, uint64_t index);

/* Index of the oldest record held; log_last_index() + 1 when it is empty. */
uint64_t log_first_index(const struct log *log);

/* Records held, and their bytes. */
uint64_t log_len(const struct log *log);
uint64_t log_bytes(const struct log *log);

/* The record at an index that is held; key and value are borrowed until it is trimmed. */
struct kv_record log_get(const struct log *log, uint64_t index);

/* Bytes of the record at an index that is held, in its byte form. */
uint32_t log_record_bytes(const struct log *log, uint64_t index);

/* Covers records from first (held) on with at most slices_max slices, at most bytes_max bytes (but
 * at least one record), none beyond index last. Returns the index of the last one covered;
 * first - 1 when first is beyond the last. */
uint64_t log_slices(const struct log *log, uint64_t first, uint64_t last, size_t bytes_max,
                    struct kv_slice *slices, uint32_t slices_max, uint32_t *ret_slices_len,
                    size_t *ret_bytes);

/* Forgets the records up to and including index (those not held are ignored), but for the newest
 * keep_bytes of them or somewhat more. */
void log_trim(struct log *log, uint64_t index, uint64_t keep_bytes);

#endif

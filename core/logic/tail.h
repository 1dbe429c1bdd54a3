/*
 * Taking back what a new primary does not have: the records that a member's log holds beyond the
 * last one that it has in common with the primary's. None of them was ever committed; the member's
 * store may have them already. Used by the secondary, when a session begins with the log's tail.
 */
#ifndef LOGIC_TAIL_H
#define LOGIC_TAIL_H

#include "base/buffer.h"
#include "logic/log.h"
#include "logic/store.h"

/* A log with the records held up to and including index, which is not below the one before the
 * oldest held; copies. The caller holds its one reference. */
struct log *tail_cut(const struct log *log, uint64_t index);

/* Appends, for each key of a record after index, a record that gives the key back what it had as of
 * index: by the log's records after `committed`, else by the content in memory, which is that of
 * `committed`. *ret_count: how many. */
void tail_undo(const struct log *log, const struct store *store, uint64_t committed, uint64_t index,
               struct buffer *ret_records, uint32_t *ret_count);

#endif

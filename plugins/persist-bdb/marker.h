/*
 * Markers in the log of Berkeley DB: before each batch one that carries the batch's number.
 *
 * Why: a log record that does not fit its checksum is the end of the log for Berkeley DB, be it a
 * write that a crash cut short or damage in the middle of what was acknowledged. The markers tell
 * the two apart: one batch is written at a time, so behind a torn one there is no marker of a later
 * batch. They carry the store's id, which no client knows, so that no value looks like one.
 *
 * Called by the thread that calls the plugin.
 */
#ifndef PERSIST_BDB_MARKER_H
#define PERSIST_BDB_MARKER_H

#include "store.h"

/* Writes the marker of a batch to the log; 0 or an error of Berkeley DB. */
int marker_write(struct store *store, uint64_t batch);

/* Before Berkeley DB opens the log: the highest number in the bytes of its files; 0: none. */
int32_t marker_scan(const struct store *store, uint64_t *ret_highest);

/* After recovery: compares that number, the log as recovered and store->batch, the last batch in
 * the content. KV_E_CORRUPT: a part of the log that was complete once is gone. */
int32_t marker_check(struct store *store, uint64_t highest);

#endif

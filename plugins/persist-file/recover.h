/*
 * Reading a store: recovery at open, and load().
 *
 * Called by the store's thread, while no compaction runs.
 */
#ifndef PERSIST_FILE_RECOVER_H
#define PERSIST_FILE_RECOVER_H

#include <kvnode/persist.h>

struct store;

/* Checks every byte of the store, cuts a torn tail off, removes left-overs, and opens the active
 * segment; creates an empty store where there is none. Sets store's store_id, next_sequence,
 * position and active. KV_E_CORRUPT: damage, logged with file and offset; then nothing was changed.
 * *ret_base, *ret_base_bytes, *ret_log_bytes: what compaction counts with. */
int32_t recover_run(struct store *store, uint64_t *ret_base, uint64_t *ret_base_bytes,
                    uint64_t *ret_log_bytes);

/* Emits all records in the order of the log: base `base` (0: none), then the segments. */
int32_t recover_load(struct store *store, uint64_t base, kv_emit_fn emit, void *ctx);

#endif

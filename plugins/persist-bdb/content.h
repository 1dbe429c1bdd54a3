/*
 * What is in the two databases: the pairs and the state. Called by the thread that calls the
 * plugin.
 *
 * A value in `data` is 32 bytes, little-endian: view and index of the position, client id, request
 * id; then the pair's value. The key is the pair's key as it is. The one record of `state`, with
 * the key "state", is 24 bytes: view and index of the position reached, number of the last batch.
 */
#ifndef PERSIST_BDB_CONTENT_H
#define PERSIST_BDB_CONTENT_H

#include "store.h"

/* See struct kv_persist_ops; the store is open and not failed. */
int32_t content_apply(struct store *store, const struct kv_record *records, uint32_t count,
                      struct kv_position position, uint32_t *results);
int32_t content_load(struct store *store, kv_emit_fn emit, void *ctx);
int32_t content_get(struct store *store, const void *key, uint32_t key_len, kv_emit_fn emit,
                    void *ctx);

/* Writes the state within txn (NULL: in one of its own); 0 or an error of Berkeley DB. */
int content_write_state(struct store *store, DB_TXN *txn, struct kv_position position,
                        uint64_t batch);

/* Reads it into store->position and store->batch. KV_E_CORRUPT: there is none, or a wrong one. */
int32_t content_read_state(struct store *store);

#endif

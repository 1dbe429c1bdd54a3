#include "content.h"

#include "environment.h"
#include "folder.h"
#include "marker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER_LEN          32u
#define STATE_LEN           24u
#define STATE_KEY           "state"
#define BUFFER_KEPT_LEN_MAX ((size_t)8 << 20)

static void content_put64(uint8_t *bytes, uint64_t number)
{
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
}

static uint64_t content_get64(const uint8_t *bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number |= (uint64_t)bytes[i] << (8 * i);
    }
    return number;
}

/* Berkeley DB does not change what it is given; its type is the same for both ways. */
static DBT content_dbt(const void *bytes, uint32_t len)
{
    DBT dbt;
    memset(&dbt, 0, sizeof(dbt));
    dbt.data = (void *)(uintptr_t)bytes;
    dbt.size = len;
    return dbt;
}

int content_write_state(struct store *store, DB_TXN *txn, struct kv_position position,
                        uint64_t batch)
{
    uint8_t bytes[STATE_LEN];
    content_put64(bytes, position.view);
    content_put64(bytes + 8, position.index);
    content_put64(bytes + 16, batch);
    DBT key = content_dbt(STATE_KEY, sizeof(STATE_KEY) - 1);
    DBT value = content_dbt(bytes, sizeof(bytes));
    return store->state->put(store->state, txn, &key, &value, txn == NULL ? DB_AUTO_COMMIT : 0);
}

int32_t content_read_state(struct store *store)
{
    DBT key = content_dbt(STATE_KEY, sizeof(STATE_KEY) - 1);
    DBT value = content_dbt(NULL, 0);
    int error = store->state->get(store->state, NULL, &key, &value, 0);
    if (error != 0) {
        return environment_fail_open(store, error, "read the position");
    }
    if (value.size != STATE_LEN) {
        return store_fail_damage(store, "the record of the position has a wrong length");
    }
    const uint8_t *bytes = value.data;
    store->position = (struct kv_position){content_get64(bytes), content_get64(bytes + 8)};
    store->batch = content_get64(bytes + 16);
    return KV_OK;
}

/* Makes room for a value; false: no memory. */
static bool content_reserve(struct store *store, size_t len)
{
    if (len <= store->buffer_len_max) {
        return true;
    }
    size_t len_max = len < 65536 ? 65536 : len;
    uint8_t *buffer = store->host->resize(store->host->ctx, store->buffer, len_max);
    if (buffer == NULL) {
        return false;
    }
    store->buffer = buffer;
    store->buffer_len_max = len_max;
    return true;
}

static void content_shrink(struct store *store)
{
    if (store->buffer_len_max > BUFFER_KEPT_LEN_MAX) {
        store->host->release(store->host->ctx, store->buffer);
        store->buffer = NULL;
        store->buffer_len_max = 0;
    }
}

/* One record into the transaction; 0 or an error of Berkeley DB. */
static int content_store(struct store *store, DB_TXN *txn, const struct kv_record *record)
{
    DBT key = content_dbt(record->key, record->key_len);
    if (record->kind == KV_RECORD_REMOVE) {
        int error = store->data->del(store->data, txn, &key, 0);
        return error == DB_NOTFOUND ? 0 : error;
    }
    if (!content_reserve(store, (size_t)HEADER_LEN + record->value_len)) {
        return ENOMEM;
    }
    content_put64(store->buffer, record->position.view);
    content_put64(store->buffer + 8, record->position.index);
    content_put64(store->buffer + 16, record->client);
    content_put64(store->buffer + 24, record->request);
    if (record->value_len > 0) {
        memcpy(store->buffer + HEADER_LEN, record->value, record->value_len);
    }
    DBT value = content_dbt(store->buffer, HEADER_LEN + record->value_len);
    return store->data->put(store->data, txn, &key, &value, 0);
}

/* Why a record cannot be stored; NULL: it can. */
static const char *content_reject(const struct kv_record *record)
{
    if (record->kind != KV_RECORD_INSERT && record->kind != KV_RECORD_REMOVE) {
        return "neither an insertion nor a removal";
    }
    if (record->kind == KV_RECORD_REMOVE && record->value_len != 0) {
        return "a removal with a value";
    }
    if ((record->key == NULL && record->key_len > 0) ||
        (record->value == NULL && record->value_len > 0)) {
        return "a length without bytes";
    }
    return record->value_len > UINT32_MAX - HEADER_LEN ? "the value is too long" : NULL;
}

static void content_check(struct store *store, const struct kv_record *records, uint32_t count,
                          uint32_t *results)
{
    const struct kv_host *host = store->host;
    for (uint32_t i = 0; i < count; i++) {
        const char *reason = content_reject(&records[i]);
        if (reason == NULL) {
            continue;
        }
        results[i] = KV_RESULT_REFUSED;
        store_log(store, KV_LOG_ERROR, "record %" PRIu32 " of a batch is refused: %s", i, reason);
        if (host->size >= offsetof(struct kv_host, reason) + sizeof(host->reason) &&
            host->reason != NULL) {
            host->reason(host->ctx, i, reason);
        }
    }
}

int32_t content_apply(struct store *store, const struct kv_record *records, uint32_t count,
                      struct kv_position position, uint32_t *results)
{
    DB_TXN *txn = NULL;
    content_check(store, records, count, results);
    /* The log's buffer is this process's memory. WRITE_NOSYNC hands it to the system, so that only
     * a power cut loses it; NOSYNC would lose it with the process. */
    uint32_t sync = store->sync_always ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC;
    int error = marker_write(store, store->batch + 1);
    if (error == 0) {
        error = store->env->txn_begin(store->env, NULL, &txn, sync);
    }
    for (uint32_t i = 0; error == 0 && i < count; i++) {
        if (results[i] != KV_RESULT_REFUSED) {
            error = content_store(store, txn, &records[i]);
        }
    }
    if (error == 0) {
        error = content_write_state(store, txn, position, store->batch + 1);
    }
    content_shrink(store);
    if (error != 0) {
        /* Without a clean abort the content in memory is of no use. */
        store->failed = store->failed || (txn != NULL && txn->abort(txn) != 0);
        return environment_fail(store, error, "write a batch");
    }
    error = txn->commit(txn, sync);
    if (error != 0) {
        store->failed = true; /* it may or may not be in the log: recovery will tell */
        return environment_fail(store, error, "commit a batch");
    }
    store->batch++;
    store->position = position;
    int32_t status = environment_tend(store);
    store->failed = store->failed || status != KV_OK;
    return status;
}

/* Emits one record as it is in the database. */
static int32_t content_emit(struct store *store, const DBT *key, const DBT *value, kv_emit_fn emit,
                            void *ctx)
{
    if (value->size < HEADER_LEN) {
        return store_fail_damage(store, "a record of " FOLDER_DATA " is too short");
    }
    const uint8_t *bytes = value->data;
    struct kv_record record = {.key = key->data,
                               .key_len = key->size,
                               .value = bytes + HEADER_LEN,
                               .value_len = value->size - HEADER_LEN,
                               .kind = KV_RECORD_INSERT,
                               .position = {content_get64(bytes), content_get64(bytes + 8)},
                               .client = content_get64(bytes + 16),
                               .request = content_get64(bytes + 24)};
    return emit(ctx, &record);
}

int32_t content_load(struct store *store, kv_emit_fn emit, void *ctx)
{
    DBC *cursor = NULL;
    DBT key = content_dbt(NULL, 0);
    DBT value = content_dbt(NULL, 0);
    int32_t status = KV_OK;
    int error = store->data->cursor(store->data, NULL, &cursor, 0);
    while (error == 0 && status == KV_OK) {
        error = cursor->get(cursor, &key, &value, DB_NEXT);
        if (error == 0) {
            status = content_emit(store, &key, &value, emit, ctx);
        }
    }
    if (cursor != NULL) {
        (void)cursor->close(cursor);
    }
    if (error != 0 && error != DB_NOTFOUND) {
        return environment_fail(store, error, "read the content");
    }
    return status;
}

int32_t content_get(struct store *store, const void *key, uint32_t key_len, kv_emit_fn emit,
                    void *ctx)
{
    DBT key_dbt = content_dbt(key, key_len);
    DBT value = content_dbt(NULL, 0);
    int error = store->data->get(store->data, NULL, &key_dbt, &value, 0);
    if (error == DB_NOTFOUND) {
        return KV_E_NOT_FOUND;
    }
    if (error != 0) {
        return environment_fail(store, error, "read a key");
    }
    return content_emit(store, &key_dbt, &value, emit, ctx);
}

/*
 * Storing and giving back.
 *
 * A batch is one transaction: its records in their order, each with its position, then the position
 * of the store, then COMMIT. A record that the table does not take (CHECK, NOT NULL, UNIQUE, a
 * trigger's RAISE) is undone alone, with a savepoint, and refused with SQLite's message; the rest
 * goes on. RAISE(ROLLBACK) takes the whole transaction with it: then the batch begins again without
 * that record. Whatever else fails rolls the batch back, and the node repeats it.
 *
 * Bytes come back exactly as they were: they are stored as BLOB or, when they are UTF-8 without NUL
 * and the column is one for text, as TEXT, so that people and constraints see text. That choice
 * depends on nothing but the bytes, so a key always finds its row.
 */
#include "store.h"

#include <stdio.h>
#include <string.h>

#define CONTENT_MESSAGE_MAX 512

/* Ends one use. What was bound is borrowed, so it is not left there. SQLITE_OK or the code; then
 * sqlite3_errmsg() still has its message. */
static int content_finish(sqlite3_stmt *statement, int code)
{
    int reset_code = sqlite3_reset(statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        return code;
    }
    for (int i = 2; reset_code == SQLITE_OK && i <= sqlite3_bind_parameter_count(statement); i++) {
        sqlite3_bind_null(statement, i);
    }
    return reset_code;
}

int content_run(struct store *store, enum store_statement which)
{
    sqlite3_stmt *statement = store->statements[which];
    return content_finish(statement, sqlite3_step(statement));
}

/* Bytes of the UTF-8 character at `at`, 0: it is none. Overlong forms and surrogates are none. */
static size_t content_character_len(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len > left || first > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_bad = (first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
                  (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f);
    return is_bad ? 0 : len;
}

static bool content_is_text(const uint8_t *bytes, size_t len)
{
    size_t one = 1;
    for (size_t at = 0; at < len && one != 0; at += one) {
        one = bytes[at] == 0 ? 0 : content_character_len(bytes + at, len - at);
    }
    return one != 0;
}

/* Binds borrowed bytes. No bytes are an empty value and not NULL. */
static int content_bind(sqlite3_stmt *statement, int parameter, const void *bytes, uint32_t len,
                        bool column_is_text)
{
    const void *at = len == 0 ? "" : bytes;
    if (column_is_text && content_is_text(at, len)) {
        return sqlite3_bind_text64(statement, parameter, at, len, SQLITE_STATIC, SQLITE_UTF8);
    }
    return sqlite3_bind_blob64(statement, parameter, at, len, SQLITE_STATIC);
}

static int content_bind_key(const struct store *store, sqlite3_stmt *statement, const void *key,
                            uint32_t key_len)
{
    return content_bind(statement, 2, key, key_len, store->key_is_text);
}

/* Runs a statement about one key; SQLITE_ROW: it gave a row, SQLITE_OK: none. */
static int content_run_key(struct store *store, enum store_statement which, const void *key,
                           uint32_t key_len)
{
    sqlite3_stmt *statement = store->statements[which];
    int code = content_bind_key(store, statement, key, key_len);
    if (code != SQLITE_OK) {
        return code;
    }
    int step_code = sqlite3_step(statement);
    code = content_finish(statement, step_code);
    return code == SQLITE_OK && step_code == SQLITE_ROW ? SQLITE_ROW : code;
}

/* --- apply --- */

static int content_put(struct store *store, const struct kv_record *record)
{
    sqlite3_stmt *statement = store->statements[STORE_PUT];
    int code = content_bind_key(store, statement, record->key, record->key_len);
    if (code == SQLITE_OK) {
        code = content_bind(statement, 3, record->value, record->value_len, store->value_is_text);
    }
    return code != SQLITE_OK ? code : content_finish(statement, sqlite3_step(statement));
}

static int content_note(struct store *store, const struct kv_record *record)
{
    sqlite3_stmt *statement = store->statements[STORE_NOTE];
    int code = content_bind_key(store, statement, record->key, record->key_len);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)record->position.view);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)record->position.index);
    return code != SQLITE_OK ? code : content_finish(statement, sqlite3_step(statement));
}

static int content_move(struct store *store, struct kv_position position)
{
    sqlite3_stmt *statement = store->statements[STORE_MOVE];
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)position.view);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)position.index);
    return content_finish(statement, sqlite3_step(statement));
}

/* Whether the statement still fits the schema: then its failure was about the record's bytes, as
 * when a CHECK with json_extract() meets what is no JSON. */
static bool content_still_fits(struct store *store, enum store_statement which)
{
    sqlite3_stmt *again = NULL;
    int code =
        sqlite3_prepare_v2(store->db, sqlite3_sql(store->statements[which]), -1, &again, NULL);
    sqlite3_finalize(again);
    return code == SQLITE_OK;
}

/* Whether the record will never be stored. message: CONTENT_MESSAGE_MAX bytes. */
static bool content_is_refusal(struct store *store, int code, enum store_statement which,
                               char *ret_message)
{
    int primary = code & 0xff;
    if (primary != SQLITE_CONSTRAINT && primary != SQLITE_TOOBIG && primary != SQLITE_MISMATCH &&
        primary != SQLITE_ERROR) {
        return false;
    }
    snprintf(ret_message, CONTENT_MESSAGE_MAX, "%s", sqlite3_errmsg(store->db));
    return primary != SQLITE_ERROR || content_still_fits(store, which);
}

/* A trigger may skip what a statement does, with RAISE(IGNORE), and nobody is told. */
static int content_check_done(struct store *store, const struct kv_record *record,
                              char *ret_message)
{
    if (sqlite3_changes(store->db) != 0) {
        return SQLITE_OK;
    }
    int code = SQLITE_ROW;
    if (record->kind == KV_RECORD_REMOVE) {
        code = content_run_key(store, STORE_HAS, record->key, record->key_len);
    }
    if (code == SQLITE_ROW) {
        snprintf(ret_message, CONTENT_MESSAGE_MAX, "a trigger of the table %s ignored it",
                 store->table);
    }
    return code;
}

/* One record within its savepoint. *ret_message not "": the table does not take it. */
static int content_store(struct store *store, const struct kv_record *record, char *ret_message)
{
    bool is_insert = record->kind == KV_RECORD_INSERT;
    enum store_statement which = is_insert ? STORE_PUT : STORE_REMOVE;
    ret_message[0] = '\0';
    int code = content_run(store, STORE_SAVE);
    if (code != SQLITE_OK) {
        return code;
    }
    code = is_insert ? content_put(store, record)
                     : content_run_key(store, which, record->key, record->key_len);
    if (code != SQLITE_OK) {
        return content_is_refusal(store, code, which, ret_message) ? SQLITE_OK : code;
    }
    code = content_check_done(store, record, ret_message);
    if (code != SQLITE_OK) {
        return code == SQLITE_ROW ? SQLITE_OK : code;
    }
    code = is_insert ? content_note(store, record)
                     : content_run_key(store, STORE_FORGET, record->key, record->key_len);
    return code != SQLITE_OK ? code : content_run(store, STORE_RELEASE);
}

/* To the client whose update fails; a host of ABI 1.0 takes it from the log. */
static void content_tell(const struct store *store, uint32_t record, const char *message)
{
    const struct kv_host *host = store->host;
    if (host->size >= offsetof(struct kv_host, reason) + sizeof(host->reason)) {
        host->reason(host->ctx, record, message);
    } else {
        store_log(store, KV_LOG_ERROR, "%s", message);
    }
}

/* All records that are not refused yet. *ret_is_lost: a refused one ended the transaction. */
static int content_store_all(struct store *store, const struct kv_record *records, uint32_t count,
                             uint32_t *results, bool *ret_is_lost)
{
    char message[CONTENT_MESSAGE_MAX];
    *ret_is_lost = false;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_REFUSED) {
            continue;
        }
        int code = content_store(store, &records[i], message);
        if (code == SQLITE_OK && message[0] != '\0') {
            results[i] = KV_RESULT_REFUSED;
            content_tell(store, i, message);
            if (sqlite3_get_autocommit(store->db)) {
                *ret_is_lost = true;
                return SQLITE_OK;
            }
            code = content_run(store, STORE_UNDO);
            if (code == SQLITE_OK) {
                code = content_run(store, STORE_RELEASE);
            }
        }
        if (code != SQLITE_OK) {
            return code;
        }
    }
    return SQLITE_OK;
}

/* Logs why, and gives the transaction up. */
static int32_t content_give_up(struct store *store, int code, const char *what)
{
    int32_t status = store_fail(store, code, what);
    if (!sqlite3_get_autocommit(store->db)) {
        content_run(store, STORE_ROLLBACK);
    }
    return status;
}

int32_t content_apply(struct store *store, const struct kv_record *records, uint32_t count,
                      struct kv_position position, uint32_t *results)
{
    bool is_lost = true;
    while (is_lost) { /* each further round has one more refused record */
        int code = content_run(store, STORE_BEGIN);
        if (code == SQLITE_OK) {
            code = content_store_all(store, records, count, results, &is_lost);
        }
        if (code == SQLITE_OK && !is_lost) {
            code = content_move(store, position);
        }
        if (code == SQLITE_OK && !is_lost) {
            code = content_run(store, STORE_COMMIT);
        }
        if (code != SQLITE_OK) {
            return content_give_up(store, code, "cannot store a batch");
        }
    }
    return KV_OK;
}

int32_t content_reset(struct store *store)
{
    const enum store_statement steps[] = {STORE_BEGIN, STORE_CLEAR, STORE_FORGET_ALL};
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && code == SQLITE_OK; i++) {
        code = content_run(store, steps[i]);
    }
    if (code == SQLITE_OK) {
        code = content_move(store, (struct kv_position){0, 0});
    }
    if (code == SQLITE_OK) {
        code = content_run(store, STORE_COMMIT);
    }
    return code == SQLITE_OK ? KV_OK : content_give_up(store, code, "cannot empty the table");
}

/* --- load and get --- */

/* The bytes of a column; valid until the next step. SQLITE_NOMEM; SQLITE_MISMATCH: it is NULL. */
static int content_column(sqlite3_stmt *statement, int column, const void **ret_bytes,
                          uint32_t *ret_len)
{
    int type = sqlite3_column_type(statement, column);
    if (type == SQLITE_NULL) {
        return SQLITE_MISMATCH;
    }
    /* A number was put there by somebody else: it is taken as its text. */
    const void *bytes = type == SQLITE_BLOB ? sqlite3_column_blob(statement, column)
                                            : (const void *)sqlite3_column_text(statement, column);
    int len = sqlite3_column_bytes(statement, column);
    if (bytes == NULL && len > 0) {
        return SQLITE_NOMEM;
    }
    *ret_bytes = bytes == NULL ? "" : bytes;
    *ret_len = (uint32_t)len;
    return SQLITE_OK;
}

static int32_t content_emit(struct store *store, sqlite3_stmt *statement, kv_emit_fn emit,
                            void *ctx)
{
    struct kv_record record = {.kind = KV_RECORD_INSERT};
    int code = content_column(statement, 0, &record.key, &record.key_len);
    if (code == SQLITE_OK) {
        code = content_column(statement, 1, &record.value, &record.value_len);
    }
    if (code == SQLITE_MISMATCH) {
        store_log(store, KV_LOG_ERROR,
                  "the table %s has a NULL where a value was stored: somebody changed it; set it "
                  "right or delete the row",
                  store->table);
        return KV_E_CORRUPT;
    }
    if (code != SQLITE_OK) {
        store_log(store, KV_LOG_ERROR, "no memory for a row");
        return KV_E_NOMEM;
    }
    record.position = (struct kv_position){(uint64_t)sqlite3_column_int64(statement, 2),
                                           (uint64_t)sqlite3_column_int64(statement, 3)};
    return emit(ctx, &record);
}

int32_t content_load(struct store *store, kv_emit_fn emit, void *ctx)
{
    sqlite3_stmt *statement = store->statements[STORE_LOAD];
    int32_t status = KV_OK;
    int code = SQLITE_DONE;
    while (status == KV_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        status = content_emit(store, statement, emit, ctx);
    }
    if (status == KV_OK && code != SQLITE_DONE) {
        status = store_fail(store, code, "cannot read the table");
    }
    sqlite3_reset(statement);
    return status;
}

int32_t content_get(struct store *store, const void *key, uint32_t key_len, kv_emit_fn emit,
                    void *ctx)
{
    sqlite3_stmt *statement = store->statements[STORE_GET];
    int code = content_bind_key(store, statement, key, key_len);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    int32_t status = KV_E_NOT_FOUND;
    if (code == SQLITE_ROW) {
        status = content_emit(store, statement, emit, ctx);
    } else if (code != SQLITE_DONE) {
        status = store_fail(store, code, "cannot read the table");
    }
    content_finish(statement, code);
    return status;
}

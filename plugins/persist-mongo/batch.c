/*
 * Happy path: for each key its last record, bulks of them all, done. Failure: a write error of
 * one operation ends an ordered bulk there. If it is about that record for good, it is noted, the
 * record of its key before it takes its place, and the rest goes on in another bulk; anything else
 * is the outcome of the batch, which the node repeats.
 */
#include "batch.h"

#include "document.h"
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BATCH_NONE UINT32_MAX

/* Operations in one bulk: so few that a slow server answers within timeout_ms. */
#define BATCH_BULK_MAX 500u

/* What the server says of a document that it will never take. */
enum batch_code {
    BATCH_BAD_VALUE = 2,
    BATCH_DOCUMENT_VALIDATION = 121, /* the user's validator */
    BATCH_OBJECT_TOO_LARGE = 10334,
    BATCH_DUPLICATE_KEY = 11000, /* of an index of the user's; of _id it is the fence's */
    BATCH_KEY_TOO_LONG = 17280,
    BATCH_UPDATE_TOO_LARGE = 17419,
};

struct batch {
    const struct mongo *mongo;
    const struct kv_record *records;
    uint32_t *results;
    uint32_t count;
    bool is_incomplete;
    uint32_t *before;  /* of each record: the one before it of the same key, or BATCH_NONE */
    uint32_t *pending; /* records to be written, ascending */
    uint32_t pending_len;
};

/* --- the last record of each key --- */

static bool batch_is_same_key(const struct kv_record *a, const struct kv_record *b)
{
    return a->key_len == b->key_len && (a->key_len == 0 || memcmp(a->key, b->key, a->key_len) == 0);
}

/* Fills before and pending with a hash table of `slots` places (a power of two, more than count).
 */
static void batch_find_last(struct batch *batch, uint32_t *table, uint32_t slots)
{
    const struct kv_host *host = batch->mongo->host;
    for (uint32_t i = 0; i < slots; i++) {
        table[i] = BATCH_NONE;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct kv_record *record = &batch->records[i];
        uint32_t place = host->crc32c(host->ctx, 0, record->key, record->key_len) & (slots - 1);
        while (table[place] != BATCH_NONE &&
               !batch_is_same_key(&batch->records[table[place]], record)) {
            place = (place + 1) & (slots - 1);
        }
        batch->before[i] = table[place];
        table[place] = i;
    }
    /* A record is its key's last when the table still has it. */
    for (uint32_t i = 0; i < batch->count; i++) {
        batch->pending[i] = 0;
    }
    for (uint32_t i = 0; i < slots; i++) {
        if (table[i] != BATCH_NONE) {
            batch->pending[table[i]] = 1;
        }
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->pending[i] != 0) {
            batch->pending[batch->pending_len++] = i;
        }
    }
}

/* --- refusals --- */

static void batch_refuse(struct batch *batch, uint32_t record, const char *reason)
{
    const struct kv_host *host = batch->mongo->host;
    batch->results[record] = KV_RESULT_REFUSED;
    if (host->size > offsetof(struct kv_host, reason)) {
        host->reason(host->ctx, record, reason);
    } else {
        mongo_log(batch->mongo, KV_LOG_ERROR, "%s", reason);
    }
}

static bool batch_is_final(uint32_t code)
{
    switch (code) {
    case BATCH_BAD_VALUE:
    case BATCH_DOCUMENT_VALIDATION:
    case BATCH_OBJECT_TOO_LARGE:
    case BATCH_DUPLICATE_KEY:
    case BATCH_KEY_TOO_LONG:
    case BATCH_UPDATE_TOO_LARGE:
        return true;
    default:
        return false;
    }
}

/* The index that a message about a duplicate key names: "... collection: D.C index: NAME dup key:
 * ..."; neither D nor C has a space in it, and values come behind. */
static bool batch_is_about_id(const char *message)
{
    static const char before[] = " index: ";
    const char *name = strstr(message, before);
    if (name == NULL) {
        return false;
    }
    name += sizeof(before) - 1;
    size_t len = strcspn(name, " ");
    return (len == 4 && memcmp(name, "_id_", 4) == 0) || (len == 3 && memcmp(name, "_id", 3) == 0);
}

/* --- bulks --- */

/* { FIELD: { OPERATOR: number } } */
static void batch_append_comparison(bson_t *document, const char *field, const char *operator,
                                    uint64_t number)
{
    bson_t condition;
    BSON_APPEND_DOCUMENT_BEGIN(document, field, &condition);
    bson_append_int64(&condition, operator, - 1, (int64_t)number);
    bson_append_document_end(document, &condition);
}

/* The document of this key, if it is not of a later position: a bulk that the server carries out
 * late, when its sender has long given it up and repeated it, must not take anything back. While
 * the content is being replaced by another node's, its positions say nothing. */
static void batch_append_selector(const struct batch *batch, const struct kv_record *record,
                                  bson_t *selector)
{
    bson_t either;
    bson_t term;
    bson_init(selector);
    document_append_id(selector, record);
    if (batch->is_incomplete) {
        return;
    }
    BSON_APPEND_ARRAY_BEGIN(selector, "$or", &either);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &term);
    batch_append_comparison(&term, "position.view", "$lt", record->position.view);
    bson_append_document_end(&either, &term);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &term);
    BSON_APPEND_INT64(&term, "position.view", (int64_t)record->position.view);
    batch_append_comparison(&term, "position.index", "$lte", record->position.index);
    bson_append_document_end(&either, &term);
    bson_append_array_end(selector, &either);
}

static bool batch_add(const struct batch *batch, mongoc_bulk_operation_t *bulk, uint32_t record,
                      bson_error_t *error)
{
    bson_t selector;
    bson_t document;
    bson_t options;
    bool is_added;
    batch_append_selector(batch, &batch->records[record], &selector);
    if (batch->records[record].kind == KV_RECORD_REMOVE) {
        is_added = mongoc_bulk_operation_remove_one_with_opts(bulk, &selector, NULL, error);
    } else {
        document_make(&batch->records[record], &document);
        bson_init(&options);
        BSON_APPEND_BOOL(&options, "upsert", true);
        is_added = mongoc_bulk_operation_replace_one_with_opts(bulk, &selector, &document, &options,
                                                               error);
        bson_destroy(&options);
        bson_destroy(&document);
    }
    bson_destroy(&selector);
    return is_added;
}

/* The first write error of a reply: its operation, code and message. False: there is none. */
static bool batch_find_error(const bson_t *reply, uint32_t *ret_operation, uint32_t *ret_code,
                             const char **ret_message)
{
    bson_iter_t iterator;
    bson_iter_t errors;
    bson_iter_t member;
    if (!bson_iter_init_find(&iterator, reply, "writeErrors") ||
        !bson_iter_recurse(&iterator, &errors) || !bson_iter_next(&errors)) {
        return false;
    }
    *ret_operation = BATCH_NONE;
    *ret_code = 0;
    *ret_message = "";
    if (bson_iter_recurse(&errors, &member) && bson_iter_find(&member, "index")) {
        *ret_operation = (uint32_t)bson_iter_as_int64(&member);
    }
    if (bson_iter_recurse(&errors, &member) && bson_iter_find(&member, "code")) {
        *ret_code = (uint32_t)bson_iter_as_int64(&member);
    }
    if (bson_iter_recurse(&errors, &member) && bson_iter_find(&member, "errmsg") &&
        BSON_ITER_HOLDS_UTF8(&member)) {
        *ret_message = bson_iter_utf8(&member, NULL);
    }
    return true;
}

/* The record is refused: the one of its key before it, if there is one, is to be written. */
static void batch_fall_back(struct batch *batch, uint32_t place)
{
    uint32_t before = batch->before[batch->pending[place]];
    if (before != BATCH_NONE) {
        batch->pending[place] = before;
        return;
    }
    batch->pending_len--;
    memmove(batch->pending + place, batch->pending + place + 1,
            (batch->pending_len - place) * sizeof(*batch->pending));
}

/* The first len of what is pending are done. */
static void batch_skip(struct batch *batch, uint32_t len)
{
    batch->pending += len;
    batch->pending_len -= len;
}

static bool batch_has_concern_errors(const bson_t *reply)
{
    bson_iter_t iterator;
    bson_iter_t errors;
    return bson_iter_init_find(&iterator, reply, "writeConcernErrors") &&
           bson_iter_recurse(&iterator, &errors) && bson_iter_next(&errors);
}

/* What a bulk that failed means. KV_OK: the rest is to be written. */
static int32_t batch_on_error(struct batch *batch, const bson_t *reply, const bson_error_t *error)
{
    uint32_t operation;
    uint32_t code;
    const char *message;
    if (batch_has_concern_errors(reply) || !batch_find_error(reply, &operation, &code, &message) ||
        operation >= batch->pending_len) {
        return mongo_fail(batch->mongo, "cannot write a batch", error);
    }
    if (code == BATCH_DUPLICATE_KEY && batch_is_about_id(message)) {
        batch_skip(batch, operation + 1); /* a later position of the key is there already */
        return KV_OK;
    }
    if (!batch_is_final(code)) {
        mongo_log(batch->mongo, KV_LOG_ERROR, "cannot write a record: %s (code %" PRIu32 ")",
                  message, code);
        return KV_E_RETRY;
    }
    /* An ordered bulk has written everything before the error, and nothing after it. */
    batch_refuse(batch, batch->pending[operation], message);
    batch_skip(batch, operation);
    batch_fall_back(batch, 0);
    return KV_OK;
}

/* One bulk of what is pending first. KV_OK: there is less of it now. */
static int32_t batch_run(struct batch *batch)
{
    const struct mongo *mongo = batch->mongo;
    uint32_t len = batch->pending_len < BATCH_BULK_MAX ? batch->pending_len : BATCH_BULK_MAX;
    bson_t options;
    bson_t reply;
    bson_error_t error;
    bson_init(&options);
    BSON_APPEND_BOOL(&options, "ordered", true);
    mongoc_write_concern_append(mongo->concern, &options);
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(mongo->pairs, &options);
    int32_t status = KV_OK;
    bool is_added = true;
    for (uint32_t i = 0; i < len && is_added; i++) {
        is_added = batch_add(batch, bulk, batch->pending[i], &error);
    }
    if (!is_added) {
        status = mongo_fail(mongo, "cannot make a batch", &error);
    } else if (mongoc_bulk_operation_execute(bulk, &reply, &error) != 0) {
        batch_skip(batch, len);
        bson_destroy(&reply);
    } else {
        status = batch_on_error(batch, &reply, &error);
        bson_destroy(&reply);
    }
    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(&options);
    return status;
}

/* Those that cannot be sent at all. */
static void batch_refuse_large(struct batch *batch)
{
    for (uint32_t place = 0; place < batch->pending_len;) {
        uint32_t record = batch->pending[place];
        if (batch->records[record].kind != KV_RECORD_INSERT ||
            document_size(&batch->records[record]) <= DOCUMENT_BYTES_MAX) {
            place++;
            continue;
        }
        char reason[MONGO_TEXT_MAX];
        snprintf(reason, sizeof(reason),
                 "MongoDB takes documents of at most %u bytes; key and value have %" PRIu32
                 " and %" PRIu32,
                 DOCUMENT_BYTES_MAX, batch->records[record].key_len,
                 batch->records[record].value_len);
        batch_refuse(batch, record, reason);
        batch_fall_back(batch, place); /* what is there now is looked at next */
    }
}

int32_t batch_write(const struct mongo *mongo, const struct kv_record *records, uint32_t count,
                    uint64_t view, bool is_incomplete, uint32_t *results)
{
    const struct kv_host *host = mongo->host;
    uint32_t slots = 16;
    while (slots <= count * 2) {
        slots *= 2;
    }
    size_t size = (2 * (size_t)count + slots) * sizeof(uint32_t);
    uint32_t *memory = host->allocate(host->ctx, size);
    if (memory == NULL) {
        mongo_log(mongo, KV_LOG_ERROR, "no memory for a batch of %" PRIu32 " records", count);
        return KV_E_NOMEM;
    }
    struct batch batch = {.mongo = mongo,
                          .records = records,
                          .results = results,
                          .count = count,
                          .is_incomplete = is_incomplete,
                          .before = memory,
                          .pending = memory + count};
    batch_find_last(&batch, memory + 2 * (size_t)count, slots);
    batch_refuse_large(&batch);
    int32_t status = KV_OK;
    while (status == KV_OK && batch.pending_len > 0) {
        status = state_fence(mongo, view);
        if (status == KV_OK) {
            status = batch_run(&batch);
        }
    }
    host->release(host->ctx, memory);
    return status;
}

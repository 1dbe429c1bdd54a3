#include "state.h"

#include <inttypes.h>
#include <string.h>

#define STATE_ID     "state"
#define STATE_FORMAT 1

/* {writeConcern: ...}: call bson_destroy(). */
static void state_options(const struct mongo *mongo, bson_t *ret_options)
{
    bson_init(ret_options);
    mongoc_write_concern_append(mongo->concern, ret_options);
}

/* Updates the state where `selector` holds. *ret_matched: it did. */
static int32_t state_update(const struct mongo *mongo, const bson_t *selector, const bson_t *set,
                            bool *ret_matched)
{
    bson_t options;
    bson_t update;
    bson_t reply;
    bson_error_t error;
    bson_iter_t iterator;
    state_options(mongo, &options);
    bson_init(&update);
    BSON_APPEND_DOCUMENT(&update, "$set", set);
    bool is_done =
        mongoc_collection_update_one(mongo->meta, selector, &update, &options, &reply, &error);
    int32_t status =
        is_done ? KV_OK : mongo_fail(mongo, "cannot write the state of the store", &error);
    *ret_matched =
        bson_iter_init_find(&iterator, &reply, "matchedCount") && bson_iter_as_int64(&iterator) > 0;
    bson_destroy(&reply);
    bson_destroy(&update);
    bson_destroy(&options);
    return status;
}

static int32_t state_insert(const struct mongo *mongo)
{
    bson_t options;
    bson_t document;
    bson_error_t error;
    const struct kv_position none = {0, 0};
    state_options(mongo, &options);
    bson_init(&document);
    BSON_APPEND_UTF8(&document, "_id", STATE_ID);
    BSON_APPEND_INT32(&document, "format", STATE_FORMAT);
    BSON_APPEND_INT64(&document, "view", 0);
    BSON_APPEND_UTF8(&document, "writer", mongo->writer);
    mongo_append_position(&document, "position", none);
    int32_t status = KV_OK;
    if (!mongoc_collection_insert_one(mongo->meta, &document, &options, NULL, &error) &&
        error.code != MONGOC_ERROR_DUPLICATE_KEY) { /* another instance was faster: as good */
        status = mongo_fail(mongo, "cannot write the state of a new store", &error);
    }
    bson_destroy(&document);
    bson_destroy(&options);
    return status;
}

static int32_t state_check(struct mongo *mongo, const bson_t *document)
{
    bson_iter_t iterator;
    if (!bson_iter_init_find(&iterator, document, "format") || !BSON_ITER_HOLDS_NUMBER(&iterator) ||
        bson_iter_as_int64(&iterator) != STATE_FORMAT) {
        mongo_log(mongo, KV_LOG_ERROR,
                  "%s.%s.kvnode says another format than %d: it was written by another version of "
                  "persist-mongo, or is something else",
                  mongo->database_name, mongo->collection_name, STATE_FORMAT);
        return KV_E_VERSION;
    }
    if (!mongo_read_position(document, "position", &mongo->position)) {
        mongo_log(mongo, KV_LOG_ERROR,
                  "the document \"state\" of %s.%s.kvnode has no position: { view, index }",
                  mongo->database_name, mongo->collection_name);
        return KV_E_CORRUPT;
    }
    return KV_OK;
}

/* *ret_found: there is one, and it was checked. */
static int32_t state_read(struct mongo *mongo, bool *ret_found)
{
    bson_t filter;
    bson_error_t error;
    const bson_t *document;
    bson_init(&filter);
    BSON_APPEND_UTF8(&filter, "_id", STATE_ID);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(mongo->meta, &filter, NULL, NULL);
    int32_t status = KV_OK;
    *ret_found = mongoc_cursor_next(cursor, &document);
    if (*ret_found) {
        status = state_check(mongo, document);
    } else if (mongoc_cursor_error(cursor, &error)) {
        status = mongo_fail(mongo, "cannot read the state of the store", &error);
    }
    mongoc_cursor_destroy(cursor);
    bson_destroy(&filter);
    return status;
}

static int32_t state_take_over(const struct mongo *mongo)
{
    bson_t selector;
    bson_t set;
    bool is_matched;
    bson_init(&selector);
    bson_init(&set);
    BSON_APPEND_UTF8(&selector, "_id", STATE_ID);
    BSON_APPEND_UTF8(&set, "writer", mongo->writer);
    int32_t status = state_update(mongo, &selector, &set, &is_matched);
    bson_destroy(&set);
    bson_destroy(&selector);
    return status;
}

int32_t state_open(struct mongo *mongo)
{
    bool is_found;
    int32_t status = state_read(mongo, &is_found);
    if (status == KV_OK && !is_found) {
        status = state_insert(mongo);
        if (status == KV_OK) {
            status = state_read(mongo, &is_found);
        }
    }
    if (status == KV_OK && !mongo->is_shared) {
        status = state_take_over(mongo);
    }
    return status;
}

static int32_t state_is_fenced(const struct mongo *mongo, uint64_t view)
{
    if (mongo->is_shared) {
        mongo_log(mongo, KV_LOG_ERROR,
                  "%s.%s is written by the primary of a later view than %" PRIu64
                  ", or by another node at this moment",
                  mongo->database_name, mongo->collection_name, view);
    } else {
        mongo_log(mongo, KV_LOG_ERROR,
                  "another node has opened %s.%s since: each node needs a collection of its own, "
                  "or scope = \"shared\"",
                  mongo->database_name, mongo->collection_name);
    }
    return KV_E_REJECTED;
}

int32_t state_fence(const struct mongo *mongo, uint64_t view)
{
    bson_t selector;
    bson_t set;
    bson_t condition;
    bool is_matched;
    bson_init(&selector);
    bson_init(&set);
    BSON_APPEND_UTF8(&selector, "_id", STATE_ID);
    BSON_APPEND_INT64(&set, "view", (int64_t)view);
    if (mongo->is_shared) {
        BSON_APPEND_DOCUMENT_BEGIN(&selector, "view", &condition);
        BSON_APPEND_INT64(&condition, "$lte", (int64_t)view);
        bson_append_document_end(&selector, &condition);
        BSON_APPEND_UTF8(&set, "writer", mongo->writer);
    } else {
        BSON_APPEND_UTF8(&selector, "writer", mongo->writer);
    }
    int32_t status = state_update(mongo, &selector, &set, &is_matched);
    if (status == KV_OK && !is_matched) {
        status = state_is_fenced(mongo, view);
    }
    bson_destroy(&set);
    bson_destroy(&selector);
    return status;
}

int32_t state_write_position(struct mongo *mongo, uint64_t view, struct kv_position position)
{
    bson_t selector;
    bson_t set;
    bool is_matched;
    bson_init(&selector);
    bson_init(&set);
    BSON_APPEND_UTF8(&selector, "_id", STATE_ID);
    BSON_APPEND_UTF8(&selector, "writer", mongo->writer);
    mongo_append_position(&set, "position", position);
    int32_t status = state_update(mongo, &selector, &set, &is_matched);
    if (status == KV_OK && !is_matched) {
        status = state_is_fenced(mongo, view);
    }
    if (status == KV_OK) {
        mongo->position = position;
    }
    bson_destroy(&set);
    bson_destroy(&selector);
    return status;
}

#include "store.h"

#include <stdarg.h>
#include <stdio.h>

void mongo_log(const struct mongo *mongo, uint32_t level, const char *format, ...)
{
    char text[MONGO_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mongo->host->log(mongo->host->ctx, level, text);
}

int32_t mongo_fail(const struct mongo *mongo, const char *what, const bson_error_t *error)
{
    mongo_log(mongo, KV_LOG_ERROR, "%s: %s (code %u)", what, error->message, error->code);
    /* What the server itself answers is over when the answer is there; all else is about the way to
     * it. */
    return error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_WRITE_CONCERN
               ? KV_E_RETRY
               : KV_E_IO;
}

void mongo_append_position(bson_t *document, const char *name, struct kv_position position)
{
    bson_t member;
    BSON_APPEND_DOCUMENT_BEGIN(document, name, &member);
    BSON_APPEND_INT64(&member, "view", (int64_t)position.view);
    BSON_APPEND_INT64(&member, "index", (int64_t)position.index);
    bson_append_document_end(document, &member);
}

/* A whole number that is not negative; the shell writes doubles where it is not told otherwise. */
static bool mongo_read_number(bson_iter_t *iterator, uint64_t *ret_number)
{
    if (!BSON_ITER_HOLDS_NUMBER(iterator) || bson_iter_as_int64(iterator) < 0) {
        return false;
    }
    *ret_number = (uint64_t)bson_iter_as_int64(iterator);
    return true;
}

bool mongo_read_position(const bson_t *document, const char *name, struct kv_position *ret_position)
{
    bson_iter_t iterator;
    bson_iter_t member;
    struct kv_position position;
    if (!bson_iter_init_find(&iterator, document, name) || !BSON_ITER_HOLDS_DOCUMENT(&iterator) ||
        !bson_iter_recurse(&iterator, &member) || !bson_iter_find(&member, "view") ||
        !mongo_read_number(&member, &position.view) || !bson_iter_recurse(&iterator, &member) ||
        !bson_iter_find(&member, "index") || !mongo_read_number(&member, &position.index)) {
        return false;
    }
    *ret_position = position;
    return true;
}

int mongo_compare(struct kv_position a, struct kv_position b)
{
    if (a.view != b.view) {
        return a.view < b.view ? -1 : 1;
    }
    if (a.index != b.index) {
        return a.index < b.index ? -1 : 1;
    }
    return 0;
}

#include "document.h"

#include <string.h>

/* Names, types, lengths and the position, generously. */
#define DOCUMENT_OVERHEAD 256u

size_t document_size(const struct kv_record *record)
{
    return DOCUMENT_OVERHEAD + 2 * (size_t)record->key_len + record->value_len;
}

void document_append_id(bson_t *document, const struct kv_record *record)
{
    /* libbson wants a pointer even where there are no bytes. */
    BSON_APPEND_BINARY(document, "_id", BSON_SUBTYPE_BINARY,
                       record->key_len == 0 ? (const uint8_t *)"" : (const uint8_t *)record->key,
                       record->key_len);
}

static bool document_is_text(const void *bytes, uint32_t len)
{
    return len == 0 || bson_utf8_validate(bytes, len, false);
}

void document_make(const struct kv_record *record, bson_t *ret_document)
{
    const char *key = record->key_len == 0 ? "" : record->key;
    const char *value = record->value_len == 0 ? "" : record->value;
    bson_init(ret_document);
    if (document_is_text(key, record->key_len)) {
        bson_append_utf8(ret_document, "key", -1, key, (int)record->key_len);
    }
    if (document_is_text(value, record->value_len)) {
        bson_append_utf8(ret_document, "value", -1, value, (int)record->value_len);
    } else {
        BSON_APPEND_BINARY(ret_document, "value", BSON_SUBTYPE_BINARY, (const uint8_t *)value,
                           record->value_len);
    }
    mongo_append_position(ret_document, "position", record->position);
}

const char *document_read(const bson_t *document, struct kv_record *ret_record)
{
    bson_iter_t iterator;
    bson_subtype_t subtype;
    const uint8_t *bytes;
    struct kv_record record;
    memset(&record, 0, sizeof(record));
    record.kind = KV_RECORD_INSERT;
    if (!bson_iter_init_find(&iterator, document, "_id") || !BSON_ITER_HOLDS_BINARY(&iterator)) {
        return "its _id is no BinData";
    }
    bson_iter_binary(&iterator, &subtype, &record.key_len, &bytes);
    if (subtype != BSON_SUBTYPE_BINARY) {
        return "its _id is no BinData of subtype 0";
    }
    record.key = bytes;
    if (!bson_iter_init_find(&iterator, document, "value")) {
        return "it has no value";
    }
    if (BSON_ITER_HOLDS_UTF8(&iterator)) {
        record.value = bson_iter_utf8(&iterator, &record.value_len);
    } else if (BSON_ITER_HOLDS_BINARY(&iterator)) {
        bson_iter_binary(&iterator, &subtype, &record.value_len, &bytes);
        record.value = bytes;
    } else {
        return "its value is neither a string nor BinData";
    }
    if (!mongo_read_position(document, "position", &record.position)) {
        return "it has no position: { view, index }";
    }
    *ret_record = record;
    return NULL;
}

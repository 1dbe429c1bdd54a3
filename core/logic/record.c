#include "logic/record.h"

#include "base/check.h"

size_t record_size(const struct kv_record *record)
{
    KV_CHECK(record->kind == KV_RECORD_INSERT || record->kind == KV_RECORD_REMOVE);
    size_t value_len = record->kind == KV_RECORD_INSERT ? record->value_len : 0;
    return (size_t)RECORD_HEADER_BYTES + record->key_len + value_len;
}

void record_encode(const struct kv_record *record, uint8_t *at)
{
    bool insertion = record->kind == KV_RECORD_INSERT;
    KV_CHECK(insertion || record->kind == KV_RECORD_REMOVE);
    KV_CHECK(!insertion || record->value_len != RECORD_VALUE_NONE);
    bytes_put_u32(at, record->key_len);
    bytes_put_u32(at + 4, insertion ? record->value_len : RECORD_VALUE_NONE);
    bytes_put_u64(at + 8, record->position.view);
    bytes_put_u64(at + 16, record->position.index);
    bytes_put_u64(at + 24, record->client);
    bytes_put_u64(at + 32, record->request);
    at += RECORD_HEADER_BYTES;
    if (record->key_len > 0) {
        memcpy(at, record->key, record->key_len);
        at += record->key_len;
    }
    if (insertion && record->value_len > 0) {
        memcpy(at, record->value, record->value_len);
    }
}

bool record_decode(struct bytes_reader *reader, struct kv_record *ret_record)
{
    const uint8_t *header = bytes_read(reader, RECORD_HEADER_BYTES);
    if (header == NULL) {
        return false;
    }
    uint32_t key_len = bytes_get_u32(header);
    uint32_t value_len = bytes_get_u32(header + 4);
    bool insertion = value_len != RECORD_VALUE_NONE;
    const uint8_t *key = bytes_read(reader, key_len);
    const uint8_t *value = insertion ? bytes_read(reader, value_len) : NULL;
    if (reader->failed) {
        return false;
    }
    ret_record->key = key;
    ret_record->value = value;
    ret_record->key_len = key_len;
    ret_record->value_len = insertion ? value_len : 0;
    ret_record->kind = insertion ? KV_RECORD_INSERT : KV_RECORD_REMOVE;
    ret_record->reserved = 0;
    ret_record->position.view = bytes_get_u64(header + 8);
    ret_record->position.index = bytes_get_u64(header + 16);
    ret_record->client = bytes_get_u64(header + 24);
    ret_record->request = bytes_get_u64(header + 32);
    return true;
}

bool record_has_key(const struct kv_record *record, const void *key, uint32_t key_len)
{
    return record->key_len == key_len && (key_len == 0 || memcmp(record->key, key, key_len) == 0);
}

int position_compare(struct kv_position a, struct kv_position b)
{
    if (a.view != b.view) {
        return a.view < b.view ? -1 : 1;
    }
    if (a.index != b.index) {
        return a.index < b.index ? -1 : 1;
    }
    return 0;
}

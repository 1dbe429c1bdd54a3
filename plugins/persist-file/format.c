#include "format.h"

#include <string.h>

#define BATCH_MAGIC 0x5442564bu /* "KVBT" */

static const char file_magic[8] = {'K', 'V', 'F', 'I', 'L', 'E', '\r', '\n'};

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the ABI is for little-endian platforms");

uint32_t format_file_encode(const struct kv_host *host, const struct format_file *file, uint8_t *at)
{
    memset(at, 0, FORMAT_FILE_HEADER_LEN);
    memcpy(at, file_magic, sizeof(file_magic));
    put_u32(at + 8, FORMAT_VERSION);
    put_u32(at + 12, file->kind);
    put_u64(at + 16, file->number);
    put_u64(at + 24, file->store_id);
    put_u64(at + 32, file->first_sequence);
    uint32_t crc = host->crc32c(host->ctx, 0, at, FORMAT_FILE_HEADER_LEN - 4);
    put_u32(at + 60, crc);
    return crc;
}

const char *format_file_decode(const struct kv_host *host, const uint8_t *at,
                               struct format_file *ret_file, uint32_t *ret_salt)
{
    if (memcmp(at, file_magic, sizeof(file_magic)) != 0) {
        return "not a file of persist-file (wrong magic)";
    }
    /* Before the checksum: another version may have it elsewhere. */
    if (get_u32(at + 8) != FORMAT_VERSION) {
        return "format version not supported (this plugin reads version 1)";
    }
    uint32_t crc = host->crc32c(host->ctx, 0, at, FORMAT_FILE_HEADER_LEN - 4);
    if (get_u32(at + 60) != crc) {
        return "wrong checksum of the file header";
    }
    ret_file->kind = get_u32(at + 12);
    ret_file->number = get_u64(at + 16);
    ret_file->store_id = get_u64(at + 24);
    ret_file->first_sequence = get_u64(at + 32);
    *ret_salt = crc;
    return NULL;
}

void format_batch_encode(const struct kv_host *host, const struct format_batch *batch,
                         uint32_t salt, uint8_t *at)
{
    put_u32(at, BATCH_MAGIC);
    put_u32(at + 4, batch->kind);
    put_u64(at + 8, batch->sequence);
    put_u64(at + 16, batch->position.view);
    put_u64(at + 24, batch->position.index);
    put_u64(at + 32, batch->payload_len);
    put_u32(at + 40, batch->count);
    put_u32(at + 44, batch->payload_crc);
    put_u32(at + 48, 0);
    put_u32(at + 52, host->crc32c(host->ctx, salt, at, FORMAT_BATCH_HEADER_LEN - 4));
}

const char *format_batch_decode(const struct kv_host *host, const uint8_t *at, uint32_t salt,
                                struct format_batch *ret_batch)
{
    if (get_u32(at) != BATCH_MAGIC) {
        return "no batch header";
    }
    if (get_u32(at + 52) != host->crc32c(host->ctx, salt, at, FORMAT_BATCH_HEADER_LEN - 4)) {
        return "wrong checksum of a batch header";
    }
    ret_batch->kind = get_u32(at + 4);
    ret_batch->sequence = get_u64(at + 8);
    ret_batch->position.view = get_u64(at + 16);
    ret_batch->position.index = get_u64(at + 24);
    ret_batch->payload_len = get_u64(at + 32);
    ret_batch->count = get_u32(at + 40);
    ret_batch->payload_crc = get_u32(at + 44);
    return NULL;
}

size_t format_batch_find(const uint8_t *at, size_t len)
{
    const uint32_t magic = BATCH_MAGIC;
    const uint8_t *found = memmem(at, len, &magic, sizeof(magic));
    return found == NULL ? len : (size_t)(found - at);
}

uint64_t format_record_size(const struct kv_record *record)
{
    return FORMAT_RECORD_LEN + (uint64_t)record->key_len + record->value_len;
}

uint8_t *format_record_encode(const struct kv_record *record, uint8_t *at)
{
    put_u32(at, record->key_len);
    put_u32(at + 4, record->value_len);
    put_u32(at + 8, record->kind);
    put_u32(at + 12, 0);
    put_u64(at + 16, record->position.view);
    put_u64(at + 24, record->position.index);
    put_u64(at + 32, record->client);
    put_u64(at + 40, record->request);
    at += FORMAT_RECORD_LEN;
    if (record->key_len > 0) {
        memcpy(at, record->key, record->key_len);
        at += record->key_len;
    }
    if (record->value_len > 0) {
        memcpy(at, record->value, record->value_len);
        at += record->value_len;
    }
    return at;
}

bool format_record_decode(struct format_cursor *cursor, struct kv_record *ret_record)
{
    const uint8_t *at = cursor->at;
    if (cursor->left < FORMAT_RECORD_LEN) {
        return false;
    }
    uint32_t key_len = get_u32(at);
    uint32_t value_len = get_u32(at + 4);
    uint32_t kind = get_u32(at + 8);
    uint64_t size = FORMAT_RECORD_LEN + (uint64_t)key_len + value_len;
    if (size > cursor->left || (kind != KV_RECORD_INSERT && kind != KV_RECORD_REMOVE) ||
        (kind == KV_RECORD_REMOVE && value_len != 0)) {
        return false;
    }
    memset(ret_record, 0, sizeof(*ret_record));
    ret_record->key = at + FORMAT_RECORD_LEN;
    ret_record->value = kind == KV_RECORD_INSERT ? at + FORMAT_RECORD_LEN + key_len : NULL;
    ret_record->key_len = key_len;
    ret_record->value_len = value_len;
    ret_record->kind = kind;
    ret_record->position.view = get_u64(at + 16);
    ret_record->position.index = get_u64(at + 24);
    ret_record->client = get_u64(at + 32);
    ret_record->request = get_u64(at + 40);
    cursor->at += size;
    cursor->left -= size;
    return true;
}

bool format_payload_check(const uint8_t *payload, uint64_t len, uint32_t count)
{
    struct format_cursor cursor = {payload, len};
    struct kv_record record;
    for (uint32_t i = 0; i < count; i++) {
        if (!format_record_decode(&cursor, &record)) {
            return false;
        }
    }
    return cursor.left == 0;
}

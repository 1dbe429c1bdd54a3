#include "joiner.h"

#include <string.h>

void joiner_fill(struct store *store, const char *key, const char *value, uint64_t view,
                 uint64_t index)
{
    store_put(store, key, (uint32_t)strlen(key), value, (uint32_t)strlen(value),
              (struct kv_position){view, index});
}

void joiner_apply(struct store *store, const struct kv_record *record)
{
    if (record->kind == KV_RECORD_REMOVE) {
        store_remove(store, record->key, record->key_len);
    } else {
        store_put(store, record->key, record->key_len, record->value, record->value_len,
                  record->position);
    }
}

uint32_t joiner_apply_batch(struct store *disk, const struct buffer *records)
{
    struct bytes_reader reader = bytes_reader_init(records->bytes, records->len);
    struct kv_record record;
    uint32_t count = 0;
    for (; reader.left > 0; count++) {
        assert_true(record_decode(&reader, &record));
        joiner_apply(disk, &record);
    }
    return count;
}

static bool joiner_same_visit(void *ctx, const struct store_entry *entry)
{
    struct store_entry other;
    assert_true(store_get(ctx, entry->key, entry->key_len, &other));
    assert_int_equal(entry->value_len, other.value_len);
    assert_memory_equal(entry->value, other.value, entry->value_len);
    assert_int_equal(position_compare(entry->position, other.position), 0);
    return true;
}

void joiner_assert_same(const struct store *a, struct store *b)
{
    uint64_t next;
    assert_int_equal(store_len(a), store_len(b));
    assert_int_equal(store_digest(a), store_digest(b));
    assert_true(store_scan(a, 0, UINT64_MAX, &next, joiner_same_visit, b));
}

struct transfer_piece joiner_piece(const struct buffer *records, uint32_t count, uint64_t low,
                                   uint64_t high, uint64_t as_of)
{
    struct transfer_piece piece = {low, high, as_of, records->bytes, records->len, count};
    return piece;
}

/* The hash (XXH3, 17 to 32 bytes) multiplies words of the key after an exclusive or with its public
 * secret: a first word equal to the secret's makes a zero product, whatever the second word is. */
void joiner_colliding_key(uint8_t *key, uint8_t number)
{
    static const uint8_t secret[8] = {0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe};
    memset(key, 1, JOINER_COLLIDING_BYTES);
    memcpy(key, secret, sizeof(secret));
    key[8] = number;
}

void joiner_open(struct joiner *joiner)
{
    joiner->memory = store_create();
    joiner->disk = store_create();
    joiner->log = log_create((struct kv_position){1, 10});
}

void joiner_close(struct joiner *joiner)
{
    store_destroy(joiner->memory);
    store_destroy(joiner->disk);
    log_unref(joiner->log);
}

void joiner_put(struct joiner *joiner, const char *key, const char *value, uint64_t view,
                uint64_t index)
{
    joiner_fill(joiner->memory, key, value, view, index);
    joiner_fill(joiner->disk, key, value, view, index);
}

uint32_t joiner_take(struct joiner *joiner, const struct store *source, uint64_t applied,
                     uint64_t as_of)
{
    struct buffer records;
    struct buffer told;
    uint32_t count;
    buffer_init(&records);
    buffer_init(&told);
    assert_true(transfer_cut(source, 0, UINT64_MAX, SIZE_MAX, &records, &count) == UINT64_MAX);
    struct transfer_piece piece = joiner_piece(&records, count, 0, UINT64_MAX, as_of);
    assert_true(transfer_apply(joiner->memory, joiner->log, applied, &piece, &told, &count));
    assert_int_equal(joiner_apply_batch(joiner->disk, &told), count);
    buffer_close(&records);
    buffer_close(&told);
    return count;
}

/* The byte form of a record. */
#include "base/alloc.h"
#include "base/rand.h"
#include "logic/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

static void assert_record_equal(const struct kv_record *a, const struct kv_record *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->key_len, b->key_len);
    assert_int_equal(a->value_len, b->value_len);
    assert_int_equal(a->position.view, b->position.view);
    assert_int_equal(a->position.index, b->position.index);
    assert_int_equal(a->client, b->client);
    assert_int_equal(a->request, b->request);
    if (a->key_len > 0) {
        assert_memory_equal(a->key, b->key, a->key_len);
    }
    if (a->value_len > 0) {
        assert_memory_equal(a->value, b->value, a->value_len);
    }
}

static void test_known_bytes(void **state)
{
    (void)state;
    static const uint8_t expected[] = {1, 0, 0, 0, 2, 0, 0, 0, 3, 0,    0,   0,   0,  0, 0,
                                       0, 4, 0, 0, 0, 0, 0, 0, 0, 5,    0,   0,   0,  0, 0,
                                       0, 0, 6, 0, 0, 0, 0, 0, 0, 0x80, 'k', 'v', 'w'};
    struct kv_record record = {.key = "k",
                               .value = "vw",
                               .key_len = 1,
                               .value_len = 2,
                               .kind = KV_RECORD_INSERT,
                               .position = {3, 4},
                               .client = 5,
                               .request = 0x8000000000000006ull};
    uint8_t bytes[sizeof(expected)];
    assert_int_equal(record_size(&record), sizeof(expected));
    record_encode(&record, bytes);
    assert_memory_equal(bytes, expected, sizeof(expected));
}

static void test_removal(void **state)
{
    (void)state;
    struct kv_record record = {.key = "gone", .key_len = 4, .kind = KV_RECORD_REMOVE};
    uint8_t bytes[64];
    assert_int_equal(record_size(&record), RECORD_HEADER_BYTES + 4);
    record_encode(&record, bytes);
    assert_int_equal(bytes_get_u32(bytes + 4), RECORD_VALUE_NONE);
    struct bytes_reader reader = bytes_reader_init(bytes, RECORD_HEADER_BYTES + 4);
    struct kv_record read;
    assert_true(record_decode(&reader, &read));
    assert_int_equal(reader.left, 0);
    assert_null(read.value);
    assert_record_equal(&record, &read);
}

static void test_many_records_come_back(void **state)
{
    (void)state;
    enum { LEN = 500 };
    static uint8_t content[300];
    struct rand rand = {3};
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (uint8_t)rand_next(&rand);
    }
    static struct kv_record records[LEN];
    static uint8_t bytes[LEN * (RECORD_HEADER_BYTES + 2 * sizeof(content))];
    size_t len = 0;
    for (uint32_t i = 0; i < LEN; i++) {
        bool insertion = rand_percent(&rand, 70);
        records[i].key = content;
        records[i].key_len = (uint32_t)rand_below(&rand, sizeof(content));
        records[i].value = insertion ? content : NULL;
        records[i].value_len = insertion ? (uint32_t)rand_below(&rand, sizeof(content)) : 0;
        records[i].kind = insertion ? KV_RECORD_INSERT : KV_RECORD_REMOVE;
        records[i].position.view = rand_next(&rand);
        records[i].position.index = rand_next(&rand);
        records[i].client = rand_next(&rand);
        records[i].request = rand_next(&rand);
        record_encode(&records[i], bytes + len);
        len += record_size(&records[i]);
    }
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    for (uint32_t i = 0; i < LEN; i++) {
        struct kv_record read;
        assert_true(record_decode(&reader, &read));
        assert_record_equal(&records[i], &read);
    }
    assert_int_equal(reader.left, 0);
}

static void test_cut_off_anywhere(void **state)
{
    (void)state;
    struct kv_record record = {
        .key = "key", .value = "value", .key_len = 3, .value_len = 5, .kind = KV_RECORD_INSERT};
    uint8_t whole[RECORD_HEADER_BYTES + 8];
    record_encode(&record, whole);
    for (size_t len = 0; len < sizeof(whole); len++) {
        uint8_t *bytes = alloc_bytes(len);
        memcpy(bytes, whole, len);
        struct bytes_reader reader = bytes_reader_init(bytes, len);
        struct kv_record read;
        assert_false(record_decode(&reader, &read));
        assert_true(reader.failed);
        alloc_free(bytes);
    }
}

static void test_lengths_beyond_the_end(void **state)
{
    (void)state;
    struct kv_record record = {.kind = KV_RECORD_INSERT};
    uint8_t bytes[RECORD_HEADER_BYTES];
    static const uint32_t lengths[] = {1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct kv_record read;
        record_encode(&record, bytes);
        bytes_put_u32(bytes, lengths[i]);
        struct bytes_reader reader = bytes_reader_init(bytes, sizeof(bytes));
        assert_false(record_decode(&reader, &read));
        record_encode(&record, bytes);
        bytes_put_u32(bytes + 4, lengths[i]);
        reader = bytes_reader_init(bytes, sizeof(bytes));
        assert_int_equal(record_decode(&reader, &read), lengths[i] == RECORD_VALUE_NONE);
    }
}

static void test_positions_compare(void **state)
{
    (void)state;
    struct kv_position first = {1, 9};
    struct kv_position second = {2, 3};
    struct kv_position third = {2, 4};
    assert_int_equal(position_compare(first, first), 0);
    assert_true(position_compare(first, second) < 0);
    assert_true(position_compare(second, first) > 0);
    assert_true(position_compare(second, third) < 0);
    assert_true(position_compare(third, second) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_removal),
        cmocka_unit_test(test_many_records_come_back),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_lengths_beyond_the_end),
        cmocka_unit_test(test_positions_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

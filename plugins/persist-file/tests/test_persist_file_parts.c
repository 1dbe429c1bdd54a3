/* The parts that need no store: format and keymap. */
#include "../format.h"
#include "../keymap.h"
#include "kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_hash_vectors(void **state)
{
    (void)state;
    /* The first vectors of the reference implementation: key and input 00 01 02 ... */
    static const uint8_t expected[3][16] = {{0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d,
                                             0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
                                            {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34,
                                             0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45},
                                            {0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc,
                                             0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff, 0xe4}};
    const uint64_t secret[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    const uint8_t input[3] = {0, 1, 2};
    for (size_t len = 0; len < 3; len++) {
        uint64_t hash[2];
        keymap_hash(secret, input, len, hash);
        assert_memory_equal(hash, expected[len], 16);
    }
}

static void test_keymap(void **state)
{
    (void)state;
    enum { KEYS = 20000 };
    struct kit_host host;
    struct keymap map;
    kit_host_init(&host);
    assert_int_equal(keymap_init(&map, &host.table), KV_OK);
    assert_int_equal(keymap_get(&map, "", 0), 0);
    for (uint32_t i = 1; i <= KEYS; i++) {
        assert_int_equal(keymap_put(&map, &i, sizeof(i), i), KV_OK);
    }
    for (uint32_t i = 1; i <= KEYS; i += 3) {
        assert_int_equal(keymap_put(&map, &i, sizeof(i), i + KEYS), KV_OK);
    }
    assert_int_equal(map.keys, KEYS);
    for (uint32_t i = 1; i <= KEYS; i++) {
        assert_int_equal(keymap_get(&map, &i, sizeof(i)), i % 3 == 1 ? i + KEYS : i);
    }
    uint32_t absent = KEYS + 1;
    assert_int_equal(keymap_get(&map, &absent, sizeof(absent)), 0);
    keymap_close(&map);
    kit_host_close(&host);
}

static void test_headers_refuse_any_bit_flip(void **state)
{
    (void)state;
    struct kit_host host;
    kit_host_init(&host);
    struct format_file file = {FORMAT_FILE_SEGMENT, 7, 0x1122334455667788ull, 9};
    struct format_file file_back;
    uint8_t bytes[FORMAT_FILE_HEADER_LEN];
    uint32_t salt = format_file_encode(&host.table, &file, bytes);
    uint32_t salt_back = 0;
    assert_null(format_file_decode(&host.table, bytes, &file_back, &salt_back));
    assert_int_equal(file_back.kind, file.kind);
    assert_int_equal(file_back.number, file.number);
    assert_int_equal(file_back.store_id, file.store_id);
    assert_int_equal(file_back.first_sequence, file.first_sequence);
    assert_int_equal(salt, salt_back);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_non_null(format_file_decode(&host.table, bytes, &file_back, &salt_back));
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    struct format_batch batch = {FORMAT_BATCH_RECORDS, 3, 4, 5, 6, {1, 2}};
    struct format_batch batch_back;
    uint8_t head[FORMAT_BATCH_HEADER_LEN];
    format_batch_encode(&host.table, &batch, salt, head);
    assert_null(format_batch_decode(&host.table, head, salt, &batch_back));
    assert_int_equal(batch_back.sequence, 5);
    assert_int_equal(batch_back.payload_len, 6);
    assert_non_null(format_batch_decode(&host.table, head, salt + 1, &batch_back));
    for (size_t bit = 0; bit < sizeof(head) * 8; bit++) {
        head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_non_null(format_batch_decode(&host.table, head, salt, &batch_back));
        head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    kit_host_close(&host);
}

/* Every truncation and every changed length of a payload is refused, without reading beyond it
 * (the memory is exactly as long as told: the sanitizer watches). */
static void test_payload_lengths(void **state)
{
    (void)state;
    struct kv_record records[2] = {
        {.key = "key", .value = "value", .key_len = 3, .value_len = 5, .kind = KV_RECORD_INSERT},
        {.key = "gone", .key_len = 4, .kind = KV_RECORD_REMOVE}};
    uint64_t len = format_record_size(&records[0]) + format_record_size(&records[1]);
    uint8_t *whole = malloc(len);
    assert_non_null(whole);
    uint8_t *end = format_record_encode(&records[1], format_record_encode(&records[0], whole));
    assert_ptr_equal(end, whole + len);
    assert_true(format_payload_check(whole, len, 2));
    assert_false(format_payload_check(whole, len, 1));
    assert_false(format_payload_check(whole, len, 3));
    for (uint64_t cut = 0; cut < len; cut++) {
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part + 1, whole, cut);
        assert_false(format_payload_check(part + 1, cut, 2));
        free(part);
    }
    for (size_t at = 0; at < 12; at++) {
        whole[at] ^= 0xff;
        assert_false(format_payload_check(whole, len, 2));
        whole[at] ^= 0xff;
    }
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_vectors),
        cmocka_unit_test(test_keymap),
        cmocka_unit_test(test_headers_refuse_any_bit_flip),
        cmocka_unit_test(test_payload_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

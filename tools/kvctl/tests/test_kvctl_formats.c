/*
 * tsv, jsonl, base64 and UTF-8: any bytes survive the way out and back, and a line that says no
 * pair exactly is refused.
 */
#include "json_bytes.h"
#include "pairs.h"
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t test_random = 7;

static uint32_t test_next(uint32_t bound)
{
    test_random = test_random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((test_random >> 33) % bound);
}

/* Encodes the pair, checks that it is one line, decodes it and compares. */
static void check_round_trip(enum pairs_format format, const void *key, size_t key_len,
                             const void *value, size_t value_len)
{
    struct text_buffer line = {0};
    struct text_buffer back_key = {0};
    struct text_buffer back_value = {0};
    char error[PAIRS_ERROR_MAX] = "";
    pairs_encode(format, key, key_len, value, value_len, &line);
    assert_int_equal(line.bytes[line.len - 1], '\n');
    assert_null(memchr(line.bytes, '\n', line.len - 1));
    if (!pairs_decode(format, line.bytes, line.len - 1, &back_key, &back_value, error)) {
        fail_msg("%.*s: %s", (int)line.len, (const char *)line.bytes, error);
    }
    assert_int_equal(back_key.len, key_len);
    assert_int_equal(back_value.len, value_len);
    if (key_len > 0) {
        assert_memory_equal(back_key.bytes, key, key_len);
    }
    if (value_len > 0) {
        assert_memory_equal(back_value.bytes, value, value_len);
    }
    assert_true(utf8_is_valid(line.bytes, line.len));
    text_buffer_close(&line);
    text_buffer_close(&back_key);
    text_buffer_close(&back_value);
}

static void any_bytes_survive(void **state)
{
    (void)state;
    uint8_t all[256];
    for (uint32_t i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    for (int format = PAIRS_TSV; format <= PAIRS_JSONL; format++) {
        check_round_trip((enum pairs_format)format, "", 0, "", 0);
        check_round_trip((enum pairs_format)format, all, 256, all, 256);
        check_round_trip((enum pairs_format)format, all, 128, "x", 1);
        check_round_trip((enum pairs_format)format, "a\0b", 3, "\0", 1);
        check_round_trip((enum pairs_format)format, "\\x41\\", 5, "\xc3\xa4\xe2\x82\xac", 5);
        for (uint32_t i = 0; i < 256; i++) {
            check_round_trip((enum pairs_format)format, all + i, 1, all, i);
        }
        for (uint32_t round = 0; round < 5000; round++) {
            uint8_t key[40];
            uint8_t value[80];
            size_t key_len = test_next(sizeof(key));
            size_t value_len = test_next(sizeof(value));
            uint32_t bound = test_next(2) == 0 ? 256 : 128;
            for (size_t i = 0; i < key_len; i++) {
                key[i] = (uint8_t)test_next(bound);
            }
            for (size_t i = 0; i < value_len; i++) {
                value[i] = (uint8_t)test_next(bound);
            }
            check_round_trip((enum pairs_format)format, key, key_len, value, value_len);
        }
    }
}

static void tsv_is_readable(void **state)
{
    (void)state;
    struct text_buffer line = {0};
    pairs_tsv_encode("k\xc3\xa4y\t1", 6, "a\\b\n\r\x01\xff", 7, &line);
    static const char expected[] = "k\xc3\xa4y\\t1\ta\\\\b\\n\\r\\x01\\xff\n";
    assert_int_equal(line.len, sizeof(expected) - 1);
    assert_memory_equal(line.bytes, expected, line.len);
    text_buffer_close(&line);
}

struct bad_line {
    const char *line;
    const char *reason; /* occurs in the error */
};

static void check_refused(enum pairs_format format, const struct bad_line *bad, size_t bad_len)
{
    for (size_t i = 0; i < bad_len; i++) {
        struct text_buffer key = {0};
        struct text_buffer value = {0};
        char error[PAIRS_ERROR_MAX] = "";
        bool ok = pairs_decode(format, (const uint8_t *)bad[i].line, strlen(bad[i].line), &key,
                               &value, error);
        if (ok || strstr(error, bad[i].reason) == NULL) {
            fail_msg("'%s': %s '%s'", bad[i].line, ok ? "accepted" : "refused with", error);
        }
        text_buffer_close(&key);
        text_buffer_close(&value);
    }
}

static void bad_tsv_is_refused(void **state)
{
    (void)state;
    static const struct bad_line bad[] = {
        {"", "no tab"},
        {"key value", "no tab"},
        {"key\\tvalue", "no tab"},
        {"key\tvalue\tmore", "column 10: a second tab"},
        {"key\tvalue\r", "column 10: a carriage return"},
        {"key\tvalue\\", "column 10: a backslash"},
        {"k\\q\tvalue", "column 2: a backslash"},
        {"key\t\\x4", "column 5: a backslash"},
        {"key\t\\xg0", "column 5: a backslash"},
        {"key\t\\x 1", "column 5: a backslash"},
    };
    check_refused(PAIRS_TSV, bad, sizeof(bad) / sizeof(bad[0]));
}

static void bad_jsonl_is_refused(void **state)
{
    (void)state;
    static const struct bad_line bad[] = {
        {"", "column"},
        {"[\"a\",\"b\"]", "not a JSON object"},
        {"{\"key\":\"a\",\"value\":\"b\"", "column"},
        {"{\"key\":\"a\",\"value\":\"b\"} x", "column"},
        {"{\"key\":\"a\"}", "one of \"value\""},
        {"{\"value\":\"a\"}", "one of \"key\""},
        {"{\"key\":\"a\",\"value\":1}", "must be a string"},
        {"{\"key\":null,\"value\":\"1\"}", "must be a string"},
        {"{\"key\":\"a\",\"key_base64\":\"YQ==\",\"value\":\"b\"}", "only one of \"key\""},
        {"{\"key\":\"a\",\"key\":\"c\",\"value\":\"b\"}", "uplicate"},
        {"{\"key\":\"a\",\"value\":\"b\",\"ttl\":\"1\"}", "unknown member \"ttl\""},
        {"{\"key_base64\":\"YQ=\",\"value\":\"b\"}", "not base64"},
        {"{\"key_base64\":\"YR==\",\"value\":\"b\"}", "not base64"},
        {"{\"key_base64\":\"Y===\",\"value\":\"b\"}", "not base64"},
        {"{\"key_base64\":\"YQ==YQ==\",\"value\":\"b\"}", "not base64"},
        {"{\"key_base64\":\"Y Q=\",\"value\":\"b\"}", "not base64"},
        {"{\"key\":\"\xff\",\"value\":\"b\"}", "column"},
    };
    check_refused(PAIRS_JSONL, bad, sizeof(bad) / sizeof(bad[0]));
}

static void base64_is_the_standard_one(void **state)
{
    (void)state;
    /* RFC 4648, section 10. */
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct text_buffer text = {0};
        struct text_buffer back = {0};
        size_t len = strlen(vectors[i][0]);
        base64_encode((const uint8_t *)vectors[i][0], len, &text);
        text_buffer_append_byte(&text, 0);
        assert_string_equal((const char *)text.bytes, vectors[i][1]);
        assert_true(base64_decode(vectors[i][1], strlen(vectors[i][1]), &back));
        text_buffer_append_byte(&back, 0);
        assert_string_equal((const char *)back.bytes, vectors[i][0]);
        text_buffer_close(&text);
        text_buffer_close(&back);
    }
}

/* jansson has a check of its own: both must agree, or a string could neither be written as text nor
 * as base64. */
static void utf8_agrees_with_json(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 200000; round++) {
        uint8_t bytes[6];
        size_t len = 1 + test_next(sizeof(bytes));
        for (size_t i = 0; i < len; i++) {
            static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                            0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5};
            bytes[i] = edges[test_next(sizeof(edges))];
        }
        json_t *text = json_stringn((const char *)bytes, len);
        assert_int_equal(utf8_is_valid(bytes, len), text != NULL);
        json_decref(text);
    }
}

static void format_follows_the_name(void **state)
{
    (void)state;
    assert_int_equal(pairs_format_of("a/b.jsonl"), PAIRS_JSONL);
    assert_int_equal(pairs_format_of("a/b.tsv"), PAIRS_TSV);
    assert_int_equal(pairs_format_of("a.jsonl/b"), PAIRS_TSV);
    assert_int_equal(pairs_format_of("-"), PAIRS_TSV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_survive),          cmocka_unit_test(tsv_is_readable),
        cmocka_unit_test(bad_tsv_is_refused),         cmocka_unit_test(bad_jsonl_is_refused),
        cmocka_unit_test(base64_is_the_standard_one), cmocka_unit_test(utf8_agrees_with_json),
        cmocka_unit_test(format_follows_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

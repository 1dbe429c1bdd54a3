/* Unit tests of the framing and of the URIs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/address.h"
#include "frame.h"

static void test_preamble(void **state)
{
    (void)state;
    static const uint8_t expected[12] = {'K', 'V', 'T', 'C', 1, 0, 0, 0, 0x44, 0x33, 0x22, 0x11};
    uint8_t bytes[12];
    struct frame_preamble preamble = {77, 78};
    frame_encode_preamble(bytes, 0x11223344);
    assert_memory_equal(bytes, expected, 12);
    for (size_t len = 0; len < 12; len++) {
        assert_int_equal(frame_check_preamble(bytes, len, &preamble), KV_E_RETRY);
    }
    assert_int_equal(preamble.version, 77);
    assert_int_equal(frame_check_preamble(bytes, 12, &preamble), KV_OK);
    assert_int_equal(preamble.version, 1);
    assert_int_equal(preamble.message_max, 0x11223344);
    bytes[5] = 2;
    for (size_t len = 8; len <= 12; len++) { /* told as soon as it is there */
        assert_int_equal(frame_check_preamble(bytes, len, &preamble), KV_E_VERSION);
        assert_int_equal(preamble.version, 0x201);
    }
    for (size_t wrong = 0; wrong < 4; wrong++) {
        frame_encode_preamble(bytes, 1);
        bytes[wrong] ^= 1;
        for (size_t len = 0; len <= 8; len++) {
            int32_t status = frame_check_preamble(bytes, len, &preamble);
            assert_int_equal(status, len > wrong ? KV_E_MALFORMED : KV_E_RETRY);
        }
    }
}

static void test_header(void **state)
{
    (void)state;
    uint8_t bytes[8];
    size_t need = 0;
    frame_encode_header(bytes, 1000, 0xa1b2c3d4u);
    static const uint8_t expected[8] = {0xe8, 3, 0, 0, 0xd4, 0xc3, 0xb2, 0xa1};
    assert_memory_equal(bytes, expected, 8);
    for (size_t len = 0; len <= 8; len++) {
        assert_int_equal(frame_measure(bytes, len, 1000, &need), KV_OK);
        assert_int_equal(need, len < 4 ? 8 : 1008);
        assert_int_equal(frame_measure(bytes, len, 999, &need), len < 4 ? KV_OK : KV_E_TOO_LARGE);
    }
    assert_int_equal(frame_get_crc(bytes), 0xa1b2c3d4u);
    frame_encode_header(bytes, UINT32_MAX, 0);
    assert_int_equal(frame_measure(bytes, 8, UINT32_MAX, &need), KV_OK);
    assert_true(need == (size_t)UINT32_MAX + 8);
}

static void test_good_uris(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *host;
        uint16_t port;
        bool is_literal;
    } cases[] = {
        {"tcp://127.0.0.1:7400", "127.0.0.1", 7400, true},
        {"tcp://0.0.0.0:0", "0.0.0.0", 0, true},
        {"tcp://[::1]:65535", "::1", 65535, true},
        {"tcp://localhost:1", "localhost", 1, false},
        {"tcp://db-1.example_x.org:7400", "db-1.example_x.org", 7400, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        assert_int_equal(address_parse("tcp", cases[i].uri, &address), KV_OK);
        assert_string_equal(address.host, cases[i].host);
        assert_int_equal(address.port, cases[i].port);
        assert_int_equal(address.is_literal, cases[i].is_literal);
        if (address.is_literal) {
            char uri[KV_URI_MAX];
            address_format("tcp", &address.socket, uri);
            assert_string_equal(uri, cases[i].uri);
        }
    }
}

static void test_bad_uris(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "",
        "tcp://",
        "tcp://:1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:100000",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:+1",
        "tcp://127.0.0.1: 1",
        "tcp://127.0.0.1:1x",
        "tcp://127.0.0.1:1/",
        "tcp://127.0.0:1",
        "tcp://256.0.0.1:1",
        "tcp://::1:1",
        "tcp://[::1:1",
        "tcp://[]:1",
        "tcp://[::1%lo]:1",
        "tcp://[127.0.0.1]:1",
        "tcp://a b:1",
        "tcp://user@host:1",
        "tcp://...:1",
        "udp://127.0.0.1:1",
        "TCP://127.0.0.1:1",
        "127.0.0.1:1",
    };
    struct address address;
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        if (address_parse("tcp", uris[i], &address) != KV_E_INVALID) {
            fail_msg("taken: %s", uris[i]);
        }
    }
    char uri[400];
    snprintf(uri, sizeof uri, "tcp://%0300d.a:1", 1);
    assert_int_equal(address_parse("tcp", uri, &address), KV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preamble),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_good_uris),
        cmocka_unit_test(test_bad_uris),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The hash is part of the protocol: its values never change. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

#define HASH_KEY     0xbbea0d63a05165e3ull
#define HASH_VALUE_7 0x1945d142da70e321ull

static void test_published_values(void **state)
{
    (void)state;
    /* XXH3_64bits() of nothing, as the xxHash specification gives it */
    assert_int_equal(hash_bytes("", 0), 0x2d06800538d394c2ull);
    assert_int_equal(hash_bytes(NULL, 0), 0x2d06800538d394c2ull);
    assert_int_equal(hash_bytes("key", 3), HASH_KEY);
    assert_int_equal(hash_bytes_seeded(7, "value", 5), HASH_VALUE_7);
}

static void test_seed_zero_is_the_plain_hash(void **state)
{
    (void)state;
    uint8_t bytes[600];
    memset(bytes, 0x5a, sizeof(bytes));
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        assert_int_equal(hash_bytes_seeded(0, bytes, len), hash_bytes(bytes, len));
        assert_int_not_equal(hash_bytes_seeded(1, bytes, len), hash_bytes(bytes, len));
    }
}

/* Every bit of the input matters, in each of the hash's length classes. */
static void test_every_bit_matters(void **state)
{
    (void)state;
    static const size_t lens[] = {1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024};
    uint8_t bytes[1024];
    memset(bytes, 0x11, sizeof(bytes));
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        uint64_t hash = hash_bytes(bytes, lens[i]);
        for (size_t bit = 0; bit < 8 * lens[i]; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_not_equal(hash_bytes(bytes, lens[i]), hash);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_seed_zero_is_the_plain_hash),
        cmocka_unit_test(test_every_bit_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

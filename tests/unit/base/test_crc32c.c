/* CRC-32C against published values, and both implementations against each other. */
#include "base/crc32c.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

static void assert_both(const void *bytes, size_t len, uint32_t expected)
{
    assert_int_equal(crc32c(0, bytes, len), expected);
    assert_int_equal(crc32c_portable(0, bytes, len), expected);
}

/* RFC 3720, appendix B.4. */
static void test_published_values(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_both("123456789", 9, 0xe3069283u);
    memset(bytes, 0, sizeof(bytes));
    assert_both(bytes, sizeof(bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof(bytes));
    assert_both(bytes, sizeof(bytes), 0x62a8ab43u);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_both(bytes, sizeof(bytes), 0x46dd794eu);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_both(bytes, sizeof(bytes), 0x113fdb5cu);
    assert_both("", 0, 0);
    assert_both(NULL, 0, 0);
}

static void test_every_length_start_and_cut(void **state)
{
    (void)state;
    uint8_t bytes[300];
    struct rand rand = {1};
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rand_next(&rand);
    }
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; start + len <= sizeof(bytes); len++) {
            uint32_t whole = crc32c(0, bytes + start, len);
            assert_int_equal(whole, crc32c_portable(0, bytes + start, len));
            size_t cut = rand_below(&rand, len + 1);
            uint32_t part = crc32c(0, bytes + start, cut);
            assert_int_equal(crc32c(part, bytes + start + cut, len - cut), whole);
            assert_int_equal(crc32c_portable(part, bytes + start + cut, len - cut), whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_every_length_start_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

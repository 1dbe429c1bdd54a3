/* Repeatable numbers: the simulator's seeds must mean the same for ever. */
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* The published first outputs of splitmix64 for seed 1234567. */
static void test_published_values(void **state)
{
    (void)state;
    struct rand rand = {1234567};
    assert_int_equal(rand_next(&rand), 6457827717110365317ull);
    assert_int_equal(rand_next(&rand), 3203168211198807973ull);
    assert_int_equal(rand_next(&rand), 9817491932198370423ull);
    assert_int_equal(rand_next(&rand), 4593380528125082431ull);
    assert_int_equal(rand_next(&rand), 16408922859458223821ull);
}

static void test_below_and_percent(void **state)
{
    (void)state;
    struct rand rand = {42};
    uint32_t seen[10] = {0};
    uint32_t hits = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t value = rand_below(&rand, 10);
        assert_true(value < 10);
        seen[value]++;
        hits += rand_percent(&rand, 30) ? 1u : 0u;
        assert_false(rand_percent(&rand, 0));
        assert_true(rand_percent(&rand, 100));
        assert_int_equal(rand_below(&rand, 1), 0);
    }
    for (int i = 0; i < 10; i++) {
        assert_true(seen[i] > 9500 && seen[i] < 10500);
    }
    assert_true(hits > 29000 && hits < 31000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_below_and_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The set of indexes against a plain table of flags. */
#include "base/alloc.h"
#include "base/rand.h"
#include "logic/index_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define INDEXES 200u

static void check_against(const struct index_set *set, const bool *flags, uint64_t from)
{
    for (uint64_t index = from; index < INDEXES; index++) {
        uint64_t floor = index;
        while (floor >= from && flags[floor]) {
            floor--;
        }
        assert_int_equal(index_set_has(set, index), flags[index]);
        if (floor >= from) { /* else it lies in what was forgotten */
            assert_int_equal(index_set_floor(set, index), floor);
        }
    }
    for (uint32_t i = 1; i < set->len; i++) { /* neither touching nor overlapping */
        assert_true(set->ranges[i - 1].last + 1 < set->ranges[i].first);
    }
}

static void test_random_ranges(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rand rand = {.state = seed};
        struct index_set set;
        bool flags[INDEXES] = {false};
        uint64_t trimmed = 0;
        index_set_init(&set);
        for (int step = 0; step < 60; step++) {
            uint64_t first = 1 + rand_below(&rand, INDEXES - 1);
            uint64_t last = first + rand_below(&rand, 8);
            last = last < INDEXES ? last : INDEXES - 1;
            if (first > trimmed) {
                index_set_add(&set, first, last);
                memset(flags + first, true, last - first + 1);
            }
            if (rand_percent(&rand, 10)) {
                trimmed += rand_below(&rand, 20);
                index_set_trim(&set, trimmed);
            }
            if (trimmed + 1 >= INDEXES) {
                break;
            }
            check_against(&set, flags, trimmed + 1);
        }
        index_set_close(&set);
    }
}

static void test_an_empty_set(void **state)
{
    struct index_set set;
    (void)state;
    index_set_init(&set);
    assert_false(index_set_has(&set, 5));
    assert_int_equal(index_set_floor(&set, 5), 5);
    assert_int_equal(index_set_floor(&set, 0), 0);
    index_set_trim(&set, 100);
    index_set_add(&set, 1, 3);
    assert_int_equal(index_set_floor(&set, 2), 0);
    index_set_close(&set);
    assert_int_equal(alloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_ranges),
        cmocka_unit_test(test_an_empty_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

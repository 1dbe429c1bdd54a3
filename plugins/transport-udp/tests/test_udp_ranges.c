/* Unit tests of the set of numbers: by hand, and at random against a bitmap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "counting_host.h"
#include "ranges.h"

#define MODEL_LEN 300u

/* The set is exactly what the bitmap says: sorted, disjoint, no two ranges touch. */
static void check_model(const struct ranges *ranges, const bool *model, uint64_t origin)
{
    uint32_t index = 0;
    uint64_t total = 0;
    for (uint32_t i = 0; i < MODEL_LEN; i++) {
        total += model[i];
        assert_int_equal(ranges_has(ranges, origin + i), model[i]);
        if (model[i] && (i == 0 || !model[i - 1])) {
            uint32_t end = i;
            while (end < MODEL_LEN && model[end]) {
                end++;
            }
            assert_true(index < ranges->len);
            assert_true(ranges->at[index].from == origin + i);
            assert_true(ranges->at[index].to == origin + end);
            index++;
        }
        const struct range *found = ranges_find(ranges, origin + i);
        uint32_t next = i;
        while (next < MODEL_LEN && !model[next]) {
            next++;
        }
        assert_int_equal(found != NULL, next < MODEL_LEN);
        if (found != NULL) {
            assert_true(found->to > origin + i);
            assert_true(found->from <= origin + next && origin + next < found->to);
        }
    }
    assert_int_equal(ranges->len, index);
    assert_true(ranges_total(ranges) == total);
}

static void test_by_hand(void **state)
{
    (void)state;
    struct counting_host host;
    counting_host_init(&host);
    struct ranges ranges;
    ranges_init(&ranges, &host.table);
    assert_null(ranges_find(&ranges, 0));
    assert_false(ranges_has(&ranges, 0));
    assert_int_equal(ranges_add(&ranges, 5, 5), KV_OK);
    assert_int_equal(ranges.len, 0);
    assert_int_equal(ranges_add(&ranges, 10, 20), KV_OK);
    assert_int_equal(ranges_add(&ranges, 30, 40), KV_OK);
    assert_int_equal(ranges.len, 2);
    assert_int_equal(ranges_add(&ranges, 20, 30), KV_OK); /* touches both */
    assert_int_equal(ranges.len, 1);
    assert_true(ranges.at[0].from == 10 && ranges.at[0].to == 40);
    assert_int_equal(ranges_remove(&ranges, 15, 15), KV_OK);
    assert_int_equal(ranges.len, 1);
    assert_int_equal(ranges_remove(&ranges, 15, 25), KV_OK);
    assert_int_equal(ranges.len, 2);
    assert_true(ranges.at[0].to == 15 && ranges.at[1].from == 25);
    assert_ptr_equal(ranges_find(&ranges, 15), &ranges.at[1]);
    assert_int_equal(ranges_remove(&ranges, 0, 100), KV_OK);
    assert_int_equal(ranges.len, 0);
    /* both ends of the numbers */
    assert_int_equal(ranges_add(&ranges, UINT64_MAX - 2, UINT64_MAX), KV_OK);
    assert_int_equal(ranges_add(&ranges, 0, 1), KV_OK);
    assert_int_equal(ranges_add(&ranges, UINT64_MAX - 4, UINT64_MAX - 2), KV_OK);
    assert_int_equal(ranges.len, 2);
    assert_true(ranges_total(&ranges) == 5);
    assert_int_equal(ranges_add(&ranges, 0, UINT64_MAX), KV_OK);
    assert_int_equal(ranges.len, 1);
    ranges_clear(&ranges);
    assert_int_equal(host.blocks, 0);
    assert_int_equal(ranges_add(&ranges, 1, 2), KV_OK);
    ranges_close(&ranges);
    counting_host_close(&host);
}

/* Some of the changes get no memory: they must change nothing, and work when tried again. */
static void test_random(void **state)
{
    (void)state;
    uint32_t refused = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rand rand = {seed};
        struct counting_host host;
        counting_host_init(&host);
        struct ranges ranges;
        ranges_init(&ranges, &host.table);
        bool model[MODEL_LEN] = {false};
        uint64_t origin = seed % 2 == 0 ? 0 : UINT64_MAX - MODEL_LEN;
        uint32_t len_max = seed % 4 < 2 ? 4 : 60;
        for (int step = 0; step < 400; step++) {
            uint64_t from = rand_below(&rand, MODEL_LEN);
            uint64_t len = rand_below(&rand, len_max);
            uint64_t to = from + len < MODEL_LEN ? from + len : MODEL_LEN;
            bool is_add = rand_percent(&rand, 50);
            host.fail_in = rand_percent(&rand, 50) ? 1 : 0;
            int32_t status = is_add ? ranges_add(&ranges, origin + from, origin + to)
                                    : ranges_remove(&ranges, origin + from, origin + to);
            host.fail_in = 0;
            if (status != KV_OK) {
                assert_int_equal(status, KV_E_NOMEM);
                refused++;
                check_model(&ranges, model, origin);
                status = is_add ? ranges_add(&ranges, origin + from, origin + to)
                                : ranges_remove(&ranges, origin + from, origin + to);
                assert_int_equal(status, KV_OK);
            }
            memset(model + from, is_add, (size_t)(to - from));
            check_model(&ranges, model, origin);
            if (rand_below(&rand, 150) == 0) {
                ranges_clear(&ranges);
                assert_int_equal(host.blocks, 0);
                memset(model, 0, sizeof model);
            }
        }
        ranges_close(&ranges);
        counting_host_close(&host);
    }
    assert_true(refused > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

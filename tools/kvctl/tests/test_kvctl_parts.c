/*
 * The histogram, the progress line and the table of busy keys.
 */
#include "histogram.h"
#include "keys_busy.h"
#include "progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t test_random = 7;

static uint64_t test_next(void)
{
    test_random = test_random * 6364136223846793005ull + 1442695040888963407ull;
    return test_random >> 16;
}

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Against the exact answer from the sorted values: never below it, at most 1/64 above. */
static void percentiles_are_close(void **state)
{
    (void)state;
    static uint64_t values[20000];
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    size_t len = sizeof(values) / sizeof(values[0]);
    for (size_t i = 0; i < len; i++) {
        values[i] = test_next() & (((uint64_t)1 << test_next() % 40) - 1);
        histogram_add(histogram, values[i]);
    }
    qsort(values, len, sizeof(values[0]), compare_numbers);
    static const double percents[] = {0, 1, 50, 90, 99, 99.9, 100};
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        size_t rank = (size_t)((double)len * percents[i] / 100.0 + 0.5);
        uint64_t exact = values[rank == 0 ? 0 : rank - 1];
        uint64_t got = histogram_percentile(histogram, percents[i]);
        assert_true(got >= exact);
        assert_true(got <= exact + exact / 64);
    }
    assert_int_equal(histogram->max, values[len - 1]);
    assert_int_equal(histogram->min, values[0]);
    assert_int_equal(histogram->total, len);
    free(histogram);
}

static void small_and_extreme_values_are_exact(void **state)
{
    (void)state;
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    assert_int_equal(histogram_percentile(histogram, 50), 0);
    for (uint64_t i = 0; i < 100; i++) {
        histogram_add(histogram, i + 1);
    }
    assert_int_equal(histogram_percentile(histogram, 50), 50);
    assert_int_equal(histogram_percentile(histogram, 99), 99);
    assert_int_equal(histogram_percentile(histogram, 99.9), 100);
    assert_true(histogram_mean(histogram) > 50.49 && histogram_mean(histogram) < 50.51);
    histogram_add(histogram, UINT64_MAX);
    assert_int_equal(histogram_percentile(histogram, 100), ((uint64_t)1 << 40) - 1);

    struct histogram *sum = calloc(1, sizeof(*sum));
    histogram_merge(sum, histogram);
    histogram_merge(sum, histogram);
    assert_int_equal(sum->total, 202);
    assert_int_equal(sum->min, 1);
    assert_int_equal(histogram_percentile(sum, 50), 51);
    free(sum);
    free(histogram);
}

static void progress_line_says_how_far(void **state)
{
    (void)state;
    char line[PROGRESS_LINE_MAX];
    progress_format(line, "import", 50, 100, 1000, 2000);
    assert_string_equal(
        line, "import [############............]  50%  1000 pairs  500 pairs/s  2 s left");
    progress_format(line, "import", 999, 1000, 999, 1000);
    assert_non_null(strstr(line, "]  99%"));
    progress_format(line, "export", 1000, 1000, 10, 1000);
    assert_string_equal(line,
                        "export [########################] 100%  10 pairs  10 pairs/s  0 s left");
    progress_format(line, "import", 1, 1000, 1, 10000);
    assert_non_null(strstr(line, "2:46:30 left"));
    progress_format(line, "import", 10, 100, 1, 10000);
    assert_non_null(strstr(line, "1:30 left"));
    progress_format(line, "import", 0, 100, 0, 0);
    assert_null(strstr(line, "left"));
    progress_format(line, "export", 200, 100, 200, 1000);
    assert_non_null(strstr(line, "] 100%"));
    progress_format(line, "import", 5, 0, 5, 1000);
    assert_string_equal(line, "import 5 pairs  5 pairs/s  1 s");
    progress_format(line, "import", UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX);
    assert_true(strlen(line) < PROGRESS_LINE_MAX);
}

struct numbered {
    struct busy_key busy;
    uint32_t key;
    uint32_t number; /* order of coming, within its key */
};

/* Random coming and going: at most one of a key goes at a time, and in the order they came. */
static void keys_go_one_after_the_other(void **state)
{
    (void)state;
    enum { KEYS = 40, ENTRIES = 20000 };
    struct keys_busy keys;
    keys_busy_init(&keys, 8);
    struct numbered *entries = calloc(ENTRIES, sizeof(*entries));
    struct numbered *going[KEYS] = {NULL};
    uint32_t came[KEYS] = {0};
    uint32_t went[KEYS] = {0};
    uint32_t added = 0;
    uint32_t left = ENTRIES;
    while (left > 0) {
        uint32_t key = (uint32_t)(test_next() % KEYS);
        if (added < ENTRIES && test_next() % 2 == 0) {
            struct numbered *entry = &entries[added++];
            entry->key = key;
            entry->number = came[key]++;
            bool may_go = keys_busy_add(&keys, &entry->busy, &entry->key, sizeof(entry->key));
            assert_int_equal(may_go, going[key] == NULL);
            going[key] = may_go ? entry : going[key];
        } else if (going[key] != NULL) {
            assert_int_equal(going[key]->number, went[key]);
            went[key]++;
            left--;
            going[key] = (struct numbered *)keys_busy_remove(&keys, &going[key]->busy);
            assert_int_equal(going[key] == NULL, went[key] == came[key]);
        }
    }
    for (size_t i = 0; i < keys.buckets_len; i++) {
        assert_null(keys.buckets[i]);
    }
    free(entries);
    keys_busy_close(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_close),
        cmocka_unit_test(small_and_extreme_values_are_exact),
        cmocka_unit_test(progress_line_says_how_far),
        cmocka_unit_test(keys_go_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What catching up costs: the bytes follow the difference. Bytes and processor time are printed;
 * only the bytes are judged.
 *
 * KVNODE_CATCHUP_PAIRS: size of the store, 1000000 for the figures of a large one.
 */
#include "catchup_bench.h"

#include <stdlib.h>
#include <time.h>

static uint64_t figures_pairs(void)
{
    const char *text = getenv("KVNODE_CATCHUP_PAIRS");
    uint64_t pairs = text == NULL ? 0 : strtoull(text, NULL, 10);
    return pairs < 60000 ? 60000 : pairs;
}

/* This thread's processor time: other programs on the machine do not count. */
static uint64_t used_us(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000ull + (uint64_t)used.tv_nsec / 1000;
}

struct figures {
    const char *name;
    uint32_t changed; /* one pair of so many is another at the source; 0: none */
    uint32_t removed; /* one of so many is not there any more */
    bool empty;       /* the joiner is */
    bool base_known;
};

/* Returns how many bytes went, in both directions, for each pair of the source. */
static double figures_run(struct figures figures)
{
    const uint64_t pairs = figures_pairs();
    struct bench *bench = bench_create(1, 2 * pairs);
    for (uint64_t i = 1; i <= pairs; i++) {
        bool changed = figures.changed > 0 && i % figures.changed == 0;
        bench_put(bench->source.store, i, changed ? pairs + i : i);
        if (!figures.empty) {
            bench_put(bench->memory, i, i);
        }
    }
    for (uint64_t i = 1; i <= pairs && figures.removed > 0; i += figures.removed) {
        bench_remove(bench->source.store, i);
    }
    uint64_t begin_us = used_us();
    uint64_t source_us = 0;
    catchup_begin(&bench->catchup, bench->memory, 2 * pairs,
                  figures.base_known ? pairs : UINT64_MAX);
    while (!catchup_is_done(&bench->catchup)) {
        bench_ask(bench, true, 0);
        uint64_t answer_us = used_us();
        while (bench->asked.len > 0) {
            assert_true(bench_answer(bench, false, 0));
        }
        source_us += used_us() - answer_us;
        while (bench->answered.len > 0) {
            bench_take(bench, false);
        }
    }
    uint64_t all_us = used_us() - begin_us;
    assert_int_equal(bench->refused, 0);
    assert_int_equal(store_len(bench->source.store), store_len(bench->memory));
    uint64_t len;
    assert_int_equal(store_digest(bench->source.store), store_digest(bench->memory));
    assert_int_equal(store_range_digest(bench->source.store, 0, UINT64_MAX, &len),
                     store_range_digest(bench->memory, 0, UINT64_MAX, &len));
    uint64_t bytes = bench->asked.bytes + bench->answered.bytes;
    print_message("%-28s %9llu bytes, %6llu questions, %7llu records to the store; source %llu us, "
                  "joiner and its disk %llu us\n",
                  figures.name, (unsigned long long)bytes,
                  (unsigned long long)bench->asked.messages, (unsigned long long)bench->told,
                  (unsigned long long)source_us, (unsigned long long)(all_us - source_us));
    bench_destroy(bench);
    return (double)bytes / (double)pairs;
}

static void the_cost_follows_the_difference(void **state)
{
    (void)state;
    double full = figures_run((struct figures){"all", 0, 0, true, false});
    double same = figures_run((struct figures){"nothing, base unknown", 0, 0, false, false});
    double base = figures_run((struct figures){"1 % changed, base known", 100, 0, false, true});
    double blind = figures_run((struct figures){"1 % changed, base unknown", 100, 0, false, false});
    double gone = figures_run((struct figures){"1 % removed, base known", 0, 100, false, true});
    double few =
        figures_run((struct figures){"0.1 % changed, base unknown", 1000, 0, false, false});
    double other = figures_run((struct figures){"all changed, base known", 1, 0, false, true});
    assert_true(full < 1.05 * 156 && full > 156);
    assert_true(same < 0.05 * full);
    assert_true(base < 0.05 * full);
    assert_true(blind < 0.15 * full);
    assert_true(gone < 0.15 * full);
    assert_true(few < 0.05 * full);
    assert_true(other < 1.5 * full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cost_follows_the_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

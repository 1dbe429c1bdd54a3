/* The decisions of the fault plugin: repeatable, at their rates, and the queue of what is late. */
#include "faults.h"

#include <kvnode/status.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGES 100000u

static struct faults_settings parsed(const char *text)
{
    struct faults_settings settings;
    char error[FAULTS_ERROR_MAX] = "";
    if (faults_parse(text, &settings, error) != KV_OK) {
        fail_msg("\"%s\": %s", text, error);
    }
    return settings;
}

static void started(struct faults *faults, const char *text)
{
    char error[FAULTS_ERROR_MAX];
    struct faults_settings settings = parsed(text);
    assert_int_equal(faults_init(faults, &settings, error), KV_OK);
}

static void test_text(void **state)
{
    (void)state;
    struct faults_settings settings =
        parsed("seed=18446744073709551615,drop=50,duplicate=20,reorder=1000,corrupt=5,delay_ms=3");
    assert_true(settings.seed == UINT64_MAX);
    assert_int_equal(settings.drop_permille, 50);
    assert_int_equal(settings.duplicate_permille, 20);
    assert_int_equal(settings.reorder_permille, 1000);
    assert_int_equal(settings.corrupt_permille, 5);
    assert_int_equal(settings.delay_ms, 3);
    settings = parsed("");
    assert_int_equal(settings.seed, 1);
    assert_int_equal(settings.drop_permille, 0);
    settings = parsed("delay_ms=0,drop=7");
    assert_int_equal(settings.drop_permille, 7);
}

static void test_text_that_is_wrong(void **state)
{
    static const char *const wrong[] = {
        "drop",
        "drop=",
        "drop=x",
        "drop=5x",
        "drop=-1",
        "drop=1001",
        "drop=1,,",
        ",drop=1",
        "drop=1;corrupt=2",
        "drop=1,drop=1",
        "dropp=1",
        "dro=1",
        "=1",
        "drop= 1",
        "delay_ms=60001",
        "seed=18446744073709551616",
        "drop=1 ",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct faults_settings settings;
        char error[FAULTS_ERROR_MAX] = "";
        if (faults_parse(wrong[i], &settings, error) != KV_E_INVALID || error[0] == '\0') {
            fail_msg("\"%s\" is taken, or refused without a word", wrong[i]);
        }
    }
    struct faults faults;
    char error[FAULTS_ERROR_MAX] = "";
    struct faults_settings settings = {.corrupt_permille = 1001};
    assert_int_equal(faults_init(&faults, &settings, error), KV_E_INVALID);
    assert_non_null(strstr(error, "corrupt"));
}

static void test_no_faults(void **state)
{
    struct faults faults;
    (void)state;
    started(&faults, "seed=9");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct faults_verdict verdict;
        faults_decide(&faults, &verdict);
        assert_int_equal(verdict.copies_len, 1);
        assert_int_equal(verdict.copies[0].delay_ms, 0);
        assert_int_equal(verdict.copies[0].flips_len, 0);
    }
}

static void test_repeats(void **state)
{
    static const char text[] = "drop=100,duplicate=100,reorder=100,corrupt=100,delay_ms=20";
    struct faults first, again, other;
    struct faults_settings settings = parsed(text);
    uint32_t differences = 0;
    char error[FAULTS_ERROR_MAX];
    (void)state;
    started(&first, text);
    started(&again, text);
    settings.seed = 2;
    assert_int_equal(faults_init(&other, &settings, error), KV_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        struct faults_verdict a, b, c;
        faults_decide(&first, &a);
        faults_decide(&again, &b);
        faults_decide(&other, &c);
        assert_memory_equal(&a, &b, sizeof(a));
        differences += memcmp(&a, &c, sizeof(a)) != 0 ? 1 : 0;
    }
    assert_true(differences > 500);
}

/* The seed is fixed, so this cannot fail by chance; the bounds are 10 % for who changes it. */
static void expect_rate(uint64_t count, uint64_t of, uint32_t permille)
{
    uint64_t expected = of * permille / 1000u;
    if (count < expected * 9 / 10 || count > expected * 11 / 10) {
        fail_msg("%llu, expected about %llu", (unsigned long long)count,
                 (unsigned long long)expected);
    }
}

static void test_rates(void **state)
{
    struct faults faults;
    uint64_t lost = 0, twice = 0, copies = 0, altered = 0, late = 0;
    (void)state;
    started(&faults, "seed=5,drop=200,duplicate=50,reorder=100,corrupt=20");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct faults_verdict verdict;
        faults_decide(&faults, &verdict);
        lost += verdict.copies_len == 0 ? 1 : 0;
        twice += verdict.copies_len == 2 ? 1 : 0;
        copies += verdict.copies_len;
        for (uint32_t k = 0; k < verdict.copies_len; k++) {
            altered += verdict.copies[k].flips_len > 0 ? 1 : 0;
            late += verdict.copies[k].delay_ms > 0 ? 1 : 0;
            assert_true(verdict.copies[k].delay_ms <= FAULTS_REORDER_MS_MAX);
            assert_true(verdict.copies[k].flips_len <= FAULTS_FLIPS_MAX);
        }
    }
    expect_rate(lost, MESSAGES, 200);
    expect_rate(twice, MESSAGES - lost, 50);
    expect_rate(late, copies, 100);
    expect_rate(altered, copies, 20);
    assert_int_equal(faults.counters.messages, MESSAGES);
    assert_int_equal(faults.counters.dropped, lost);
    assert_int_equal(faults.counters.duplicated, twice);
    assert_int_equal(faults.counters.reordered, late);
    assert_int_equal(faults.counters.corrupted, altered);
    assert_int_equal(faults.counters.delayed, 0);
}

static void test_delays(void **state)
{
    struct faults faults;
    uint32_t seen[4] = {0};
    (void)state;
    started(&faults, "seed=6,delay_ms=3");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct faults_verdict verdict;
        faults_decide(&faults, &verdict);
        assert_true(verdict.copies[0].delay_ms <= 3);
        seen[verdict.copies[0].delay_ms]++;
    }
    for (uint32_t i = 0; i < 4; i++) {
        expect_rate(seen[i], MESSAGES, 250);
    }
    assert_int_equal(faults.counters.delayed, MESSAGES - seen[0]);
}

static void test_flips(void **state)
{
    struct faults faults;
    (void)state;
    started(&faults, "seed=7,corrupt=1000");
    for (size_t len = 0; len < 40; len++) {
        uint8_t bytes[42];
        uint8_t before[42];
        struct faults_verdict verdict;
        memset(before, 0x5a, sizeof(before));
        memcpy(bytes, before, sizeof(bytes));
        faults_decide(&faults, &verdict);
        assert_true(verdict.copies[0].flips_len > 0);
        faults_flip(&verdict.copies[0], bytes + 1, len);
        assert_true(len == 0 || memcmp(bytes, before, sizeof(bytes)) != 0);
        assert_int_equal(bytes[0], 0x5a); /* nothing outside */
        assert_memory_equal(bytes + 1 + len, before, sizeof(bytes) - 1 - len);
    }
    struct faults_copy same = {.flips_len = 2, .flips = {3, 3}};
    uint8_t byte = 0;
    faults_flip(&same, &byte, 1);
    assert_int_equal(byte, 8);
}

static void test_queue(void **state)
{
    static const uint64_t due_ms[] = {30, 10, 20, 10, 40, 10};
    static const uint32_t order[] = {1, 3, 5, 2, 0, 4};
    struct faults_held held[6];
    struct faults_queue queue;
    (void)state;
    faults_queue_init(&queue);
    assert_null(faults_queue_first(&queue));
    assert_null(faults_queue_take(&queue, UINT64_MAX));
    for (uint32_t i = 0; i < 6; i++) {
        faults_queue_put(&queue, &held[i], due_ms[i]);
    }
    const struct faults_held *at = faults_queue_first(&queue);
    for (uint32_t i = 0; i < 6; i++) {
        assert_ptr_equal(at, &held[order[i]]);
        at = faults_queue_next(&queue, at);
    }
    assert_null(at);
    assert_null(faults_queue_take(&queue, 9));
    assert_ptr_equal(faults_queue_take(&queue, 10), &held[1]);
    faults_queue_remove(&queue, &held[5]);
    assert_ptr_equal(faults_queue_take(&queue, 10), &held[3]);
    assert_null(faults_queue_take(&queue, 19));
    assert_int_equal(queue.len, 3);
    assert_ptr_equal(faults_queue_take(&queue, 100), &held[2]);
    assert_ptr_equal(faults_queue_take(&queue, 100), &held[0]);
    assert_ptr_equal(faults_queue_take(&queue, 100), &held[4]);
    assert_null(faults_queue_take(&queue, 100));
    assert_int_equal(queue.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_text_that_is_wrong),
        cmocka_unit_test(test_no_faults), cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_rates),     cmocka_unit_test(test_delays),
        cmocka_unit_test(test_flips),     cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

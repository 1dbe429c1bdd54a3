/* Unit tests of what is acknowledged, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "acks.h"
#include "base/rand.h"

#define NUMBERS_LEN 400u

static void check_ack(const struct acks *acks, const struct range *expected, uint32_t len)
{
    struct wire_ack ack = {.limit = 77};
    assert_true(acks_get(acks, 0, &ack));
    assert_int_equal(ack.limit, 77);
    assert_int_equal(ack.ranges_len, len);
    for (uint32_t i = 0; i < len; i++) {
        assert_true(ack.ranges[i].from == expected[i].from);
        assert_true(ack.ranges[i].to == expected[i].to);
    }
}

static void test_when(void **state)
{
    (void)state;
    struct acks acks;
    acks_init(&acks);
    assert_true(acks_due_us(&acks) == UINT64_MAX);
    /* The first one waits, the second one does not. */
    acks_on_packet(&acks, 0, true, 100);
    assert_true(acks_due_us(&acks) == 100 + ACKS_DELAY_US);
    acks_on_packet(&acks, 1, true, 150);
    assert_true(acks_due_us(&acks) == 150);
    acks_on_packet(&acks, 2, true, 180); /* it stays due since then */
    assert_true(acks_due_us(&acks) == 150);
    acks_on_sent(&acks);
    assert_true(acks_due_us(&acks) == UINT64_MAX);
    /* What wants none makes none due, but takes part in the numbers. */
    acks_on_packet(&acks, 3, false, 200);
    assert_true(acks_due_us(&acks) == UINT64_MAX);
    acks_on_packet(&acks, 4, true, 210);
    assert_true(acks_due_us(&acks) == 210 + ACKS_DELAY_US);
    acks_on_packet(&acks, 5, false, 220);
    assert_true(acks_due_us(&acks) == 210 + ACKS_DELAY_US);
    acks_on_sent(&acks);
    /* A gap is told at once, and once; so is its end. */
    acks_on_packet(&acks, 7, true, 300);
    assert_true(acks_due_us(&acks) == 300);
    acks_on_sent(&acks);
    acks_on_packet(&acks, 8, true, 310);
    assert_true(acks_due_us(&acks) == 310 + ACKS_DELAY_US);
    acks_on_packet(&acks, 6, true, 320);
    assert_true(acks_due_us(&acks) == 320);
    acks_on_sent(&acks);
    check_ack(&acks, (const struct range[]){{0, 9}}, 1);
}

/* The first packets are lost: that is a gap as well. */
static void test_first_lost(void **state)
{
    (void)state;
    struct acks acks;
    acks_init(&acks);
    acks_on_packet(&acks, 3, true, 10);
    assert_true(acks_due_us(&acks) == 10);
    check_ack(&acks, (const struct range[]){{3, 4}}, 1);
}

static void test_delay(void **state)
{
    (void)state;
    struct acks acks;
    acks_init(&acks);
    struct wire_ack ack = {.ranges_len = 99};
    assert_false(acks_get(&acks, 5, &ack));
    assert_int_equal(ack.ranges_len, 99);
    acks_on_packet(&acks, 5, false, 1000);
    acks_on_packet(&acks, 4, true, 1500); /* not the highest: it does not count */
    assert_true(acks_get(&acks, 1700, &ack));
    assert_int_equal(ack.delay_us, 700);
    acks_on_packet(&acks, 5, true, 1600); /* nor does a copy */
    assert_true(acks_get(&acks, 1700, &ack));
    assert_int_equal(ack.delay_us, 700);
    acks_on_packet(&acks, 6, true, 1650);
    assert_true(acks_get(&acks, 1700, &ack));
    assert_int_equal(ack.delay_us, 50);
    assert_true(acks_get(&acks, 1650 + (1ull << 40), &ack));
    assert_int_equal(ack.delay_us, UINT32_MAX);
}

static void test_by_hand(void **state)
{
    (void)state;
    struct acks acks;
    acks_init(&acks);
    acks_on_packet(&acks, 10, true, 0);
    acks_on_packet(&acks, 14, true, 0);
    acks_on_packet(&acks, 12, true, 0);
    check_ack(&acks, (const struct range[]){{14, 15}, {12, 13}, {10, 11}}, 3);
    acks_on_packet(&acks, 13, true, 0);
    check_ack(&acks, (const struct range[]){{12, 15}, {10, 11}}, 2);
    acks_on_packet(&acks, 9, true, 0);
    acks_on_packet(&acks, 12, true, 0);
    check_ack(&acks, (const struct range[]){{12, 15}, {9, 11}}, 2);
    acks_on_packet(&acks, 11, true, 0);
    check_ack(&acks, (const struct range[]){{9, 15}}, 1);
    acks_on_packet(&acks, 0, true, 0);
    check_ack(&acks, (const struct range[]){{9, 15}, {0, 1}}, 2);
}

/* Fills expected with the newest ranges of the model and takes the others out of it. */
static uint32_t model_ranges(bool *model, struct range *expected)
{
    uint32_t len = 0;
    for (uint32_t to = NUMBERS_LEN; to > 0; to--) {
        if (!model[to - 1]) {
            continue;
        }
        uint32_t from = to - 1;
        while (from > 0 && model[from - 1]) {
            from--;
        }
        if (len == WIRE_RANGES_MAX) {
            memset(model, 0, to);
            break;
        }
        expected[len] = (struct range){from, to};
        len++;
        to = from + 1;
    }
    return len;
}

static void test_random(void **state)
{
    (void)state;
    bool was_full = false;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct rand rand = {seed};
        struct acks acks;
        acks_init(&acks);
        bool model[NUMBERS_LEN] = {false};
        uint32_t newest = 0;
        for (int step = 0; step < 600; step++) {
            uint32_t number = (uint32_t)rand_below(&rand, NUMBERS_LEN);
            if (seed % 2 == 0) { /* as it comes from a network: rising, now and then an older one */
                newest += rand_percent(&rand, 70) && newest + 2 < NUMBERS_LEN ? 1 : 0;
                number = newest > 60 ? newest - (uint32_t)rand_below(&rand, 60) : newest;
            }
            acks_on_packet(&acks, number, true, 0);
            model[number] = true;
            struct range expected[WIRE_RANGES_MAX];
            uint32_t len = model_ranges(model, expected);
            check_ack(&acks, expected, len);
            was_full = was_full || len == WIRE_RANGES_MAX;
        }
    }
    assert_true(was_full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when),   cmocka_unit_test(test_first_lost),
        cmocka_unit_test(test_delay),  cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

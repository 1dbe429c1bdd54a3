/* The alarm of an instance: when it rings, and that it does not ring once it is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alarm.h"

#define TEST_DEADLINE_MS 10000

struct bench {
    uv_loop_t loop;
    struct alarm alarm;
    uint32_t rings;
    uint32_t closed;
    uint64_t again_us; /* set to in the callback; 0: not */
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static void on_alarm(void *ctx)
{
    struct bench *bench = ctx;
    bench->rings++;
    assert_int_equal(bench->alarm.at_us, ALARM_NEVER);
    if (bench->again_us != 0) {
        alarm_set(&bench->alarm, bench->again_us);
        bench->again_us = 0;
    }
}

static void on_closed(void *ctx)
{
    struct bench *bench = ctx;
    bench->closed++;
}

static void bench_open(struct bench *bench)
{
    bench->rings = 0;
    bench->closed = 0;
    bench->again_us = 0;
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    assert_int_equal(alarm_open(&bench->alarm, &bench->loop, on_alarm, on_closed, bench), 0);
}

static void bench_close(struct bench *bench)
{
    uint32_t rings = bench->rings;
    alarm_set(&bench->alarm, 0);
    alarm_close(&bench->alarm);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    assert_int_equal(bench->closed, 1);
    assert_int_equal(bench->rings, rings);
    assert_int_equal(uv_loop_close(&bench->loop), 0);
}

/* The loop has nothing else to wake up for: it comes back when the alarm rings. */
static void wait_for_rings(struct bench *bench, uint32_t rings)
{
    uint64_t end_us = now_us() + TEST_DEADLINE_MS * 1000;
    while (bench->rings < rings && now_us() < end_us) {
        uv_run(&bench->loop, UV_RUN_ONCE);
    }
    assert_int_equal(bench->rings, rings);
}

/* As its user does: what rings early is set to the rest. At last it is the exact one that rings. */
static void wait_until(struct bench *bench, uint64_t at_us)
{
    uint32_t rings = bench->rings;
    while (now_us() < at_us) {
        alarm_set(&bench->alarm, at_us);
        wait_for_rings(bench, ++rings);
    }
    uv_run(&bench->loop, UV_RUN_NOWAIT); /* no ring of which nobody knows */
    assert_int_equal(bench->rings, rings);
}

static void test_rings(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    wait_until(&bench, now_us() + 20500);
    assert_in_range(bench.rings, 1, 5);
    bench_close(&bench);
}

static void test_near_ones_are_exact(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    uint64_t at_us = now_us() + ALARM_EXACT_US - 200;
    alarm_set(&bench.alarm, at_us);
    wait_for_rings(&bench, 1);
    assert_true(now_us() >= at_us);
    bench_close(&bench);
}

static void test_time_is_over(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    alarm_set(&bench.alarm, now_us() - 1000000);
    wait_for_rings(&bench, 1);
    alarm_set(&bench.alarm, 0);
    wait_for_rings(&bench, 2);
    alarm_set(&bench.alarm, 1);
    wait_for_rings(&bench, 3);
    bench_close(&bench);
}

static void test_the_earliest_counts(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    uint64_t begin_us = now_us();
    alarm_set(&bench.alarm, ALARM_NEVER);
    assert_int_equal(bench.alarm.at_us, ALARM_NEVER);
    alarm_set(&bench.alarm, begin_us + 3600000000ull);
    alarm_set(&bench.alarm, begin_us + 10000); /* earlier: taken */
    alarm_set(&bench.alarm, begin_us + 7200000000ull);
    assert_int_equal(bench.alarm.at_us, begin_us + 10000);
    wait_until(&bench, begin_us + 10000);
    bench_close(&bench);
}

static void test_set_when_it_rings(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    bench.again_us = now_us() + 15000;
    uint64_t second_us = bench.again_us;
    alarm_set(&bench.alarm, now_us() + 5000);
    wait_for_rings(&bench, 2);
    wait_until(&bench, second_us);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_near_ones_are_exact),
        cmocka_unit_test(test_time_is_over),
        cmocka_unit_test(test_the_earliest_counts),
        cmocka_unit_test(test_set_when_it_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The node's clock: never goes back, and is read anew each time. */
#include "host/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static uint64_t boot_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* Each reading lies between what the system says before and after it: none is an old one. */
static void reads_anew(void **state)
{
    (void)state;
    struct clock clock;
    clock_init(&clock);
    uint64_t start_ms = boot_ms();
    uint64_t last_ms = 0;
    while (last_ms < start_ms + 20) {
        uint64_t before_ms = boot_ms();
        uint64_t now_ms = clock_now_ms(&clock);
        assert_in_range(now_ms, before_ms, boot_ms());
        assert_true(now_ms >= last_ms);
        last_ms = now_ms;
    }
}

static void never_goes_back(void **state)
{
    (void)state;
    struct clock clock;
    clock_init(&clock);
    uint64_t ahead_ms = clock_now_ms(&clock) + 3600000;
    clock.last_ms = ahead_ms; /* as if the source had gone back by an hour */
    assert_true(clock_now_ms(&clock) == ahead_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_anew),
        cmocka_unit_test(never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* When a failure that comes again and again is logged. */
#include "host/failure_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

static void at_doubling_intervals(void **state)
{
    (void)state;
    struct failure_log failures = {0};
    uint64_t attempts = 0;
    uint64_t after_ms = 0;
    uint32_t lines = 0;
    uint64_t last_ms = 0;
    uint64_t last_gap_ms = 0;
    assert_false(failure_log_end(&failures, 5, &attempts, &after_ms)); /* nothing has failed */
    /* A failure every 100 ms for a day. */
    for (uint64_t now_ms = 1000; now_ms < 1000 + 86400000; now_ms += 100) {
        if (failure_log_note(&failures, now_ms, "the disk is full")) {
            uint64_t gap_ms = now_ms - last_ms;
            if (lines > 1) {
                assert_true(gap_ms == 2 * last_gap_ms || gap_ms >= FAILURE_LOG_MAX_MS);
            }
            assert_true(gap_ms <= FAILURE_LOG_MAX_MS);
            last_gap_ms = gap_ms;
            last_ms = now_ms;
            lines++;
        }
    }
    assert_in_range(lines, 20, 40);
    assert_true(failures.attempts == 864000);
    assert_true(failure_log_end(&failures, 86500000, &attempts, &after_ms));
    assert_true(attempts == 864000 && after_ms == 86499000);
    assert_false(failure_log_end(&failures, 86500000, &attempts, &after_ms)); /* once */
    /* It worked for longer than the interval: news, at once. */
    uint64_t later_ms = 86500000 + FAILURE_LOG_MAX_MS;
    assert_true(failure_log_note(&failures, later_ms, "the disk is full"));
    assert_false(
        failure_log_note(&failures, later_ms + FAILURE_LOG_FIRST_MS - 1, "the disk is full"));
    assert_true(failure_log_note(&failures, later_ms + FAILURE_LOG_FIRST_MS, "the disk is full"));
}

/* It fails and works by turns, every 100 ms for a day: not more lines than if it failed always. */
static void by_turns(void **state)
{
    (void)state;
    struct failure_log failures = {0};
    uint32_t lines = 0;
    uint32_t ends = 0;
    uint64_t attempts = 0;
    uint64_t after_ms = 0;
    for (uint64_t now_ms = 1000; now_ms < 1000 + 86400000; now_ms += 200) {
        lines += failure_log_note(&failures, now_ms, "the link is down") ? 1 : 0;
        if (failure_log_end(&failures, now_ms + 100, &attempts, &after_ms)) {
            assert_true(attempts == 1 && after_ms == 100);
            ends++;
        }
    }
    assert_in_range(lines, 20, 40);
    assert_int_equal(ends, lines); /* the end of each that was told */
    assert_true(failure_log_note(&failures, 86401000, "another reason"));
}

static void another_text_at_once(void **state)
{
    (void)state;
    struct failure_log failures = {0};
    char endless[2 * FAILURE_LOG_TEXT_MAX];
    memset(endless, 'e', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_true(failure_log_note(&failures, 10, "the disk is full"));
    assert_false(failure_log_note(&failures, 20, "the disk is full"));
    assert_true(failure_log_note(&failures, 30, "the disk is"));
    assert_true(failure_log_note(&failures, 40, "the disk is full"));
    assert_true(failure_log_note(&failures, 50, ""));
    assert_false(failure_log_note(&failures, 60, ""));
    assert_true(failure_log_note(&failures, 70, endless));
    assert_false(failure_log_note(&failures, 80, endless)); /* as far as it is kept */
    assert_false(failure_log_note(&failures, 70 + FAILURE_LOG_FIRST_MS - 1, endless));
    assert_true(failure_log_note(&failures, 70 + FAILURE_LOG_FIRST_MS, endless));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_doubling_intervals),
        cmocka_unit_test(by_turns),
        cmocka_unit_test(another_text_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

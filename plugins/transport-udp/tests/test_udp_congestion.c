/* Pacing: datagrams leave at the rate of 5/4 of a window per round trip, however long that is, and
 * whoever waits is not woken in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "congestion.h"

#define TEST_DATAGRAM   1200u
#define TEST_SECONDS_US 60000000ull

/* A link that always has something to send, and gets each acknowledgement at once. */
static void check_pacing(uint64_t round_us)
{
    struct congestion congestion;
    uint64_t now_us = 1000;
    congestion_init(&congestion, TEST_DATAGRAM, now_us);
    for (int i = 0; i < 50; i++) {
        congestion_on_rtt(&congestion, round_us, 0);
    }
    congestion.threshold = congestion.window; /* slow start is over */
    uint64_t expected = congestion.window / 4 * 5 * (TEST_SECONDS_US / 1000) / (round_us / 1000);
    uint64_t end_us = now_us + TEST_SECONDS_US;
    uint64_t sent = 0;
    uint64_t looks = 0;
    while (now_us < end_us) {
        uint64_t next_us = 0;
        if (congestion_allowance(&congestion, now_us, &next_us) > 0) {
            congestion_on_sent(&congestion, TEST_DATAGRAM);
            congestion_on_acked(&congestion, TEST_DATAGRAM, now_us, false);
            sent += TEST_DATAGRAM;
        } else {
            assert_true(next_us > now_us);
            now_us = next_us;
            looks++;
        }
    }
    assert_in_range(sent * 100 / expected, 97, 103);
    assert_true(looks <= sent / TEST_DATAGRAM + 1);
}

static void test_pacing(void **state)
{
    (void)state;
    check_pacing(10000);
    check_pacing(30000);
    check_pacing(270000);
    check_pacing(810000);
}

static void test_a_pause_lets_a_burst_through(void **state)
{
    (void)state;
    struct congestion congestion;
    uint64_t next_us = 0;
    congestion_init(&congestion, TEST_DATAGRAM, 1000);
    congestion_on_rtt(&congestion, 100000, 0);
    congestion.threshold = congestion.window;
    uint32_t burst = 0;
    while (congestion_allowance(&congestion, 3600000000ull, &next_us) > 0) {
        congestion_on_sent(&congestion, TEST_DATAGRAM);
        congestion_on_acked(&congestion, TEST_DATAGRAM, 3600000000ull, false);
        burst++;
    }
    assert_int_equal(burst, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pacing),
        cmocka_unit_test(test_a_pause_lets_a_burst_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

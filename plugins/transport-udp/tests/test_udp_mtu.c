/* Unit tests of the search for the largest datagram that a path takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mtu.h"

/* Probes until none is wanted on a path that takes `path` bytes; returns the probes sent. */
static uint32_t search_path(struct mtu *mtu, uint32_t path, uint64_t now_us)
{
    uint32_t sent = 0;
    uint32_t size = mtu_get_probe(mtu, now_us);
    while (size != 0) {
        assert_true(size > mtu->size && size <= mtu->max);
        mtu_on_probe_sent(mtu);
        assert_int_equal(mtu_get_probe(mtu, now_us), 0); /* one at a time */
        sent++;
        assert_true(sent < 100);
        if (size <= path) {
            mtu_on_probe_acked(mtu, size, now_us);
            assert_int_equal(mtu->size, size);
        } else {
            mtu_on_probe_lost(mtu, now_us);
        }
        size = mtu_get_probe(mtu, now_us);
    }
    return sent;
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        uint32_t max, path, size, sent;
    } cases[] = {
        {65507, 65507, 65000, 8},            /* loopback over IPv4 */
        {65507, 1472, 1472, 3 + MTU_PROBES}, /* Ethernet */
        {65507, 1471, 1452, 2 + MTU_PROBES},
        {65507, 1200, 1200, MTU_PROBES},
        {65507, 9000, 8952, 5 + MTU_PROBES},
        {1472, 65507, 1472, 3}, /* what an end takes is the end of the search */
        {1500, 65507, 1500, 4},
        {1300, 65507, 1300, 1},
        {1200, 65507, 1200, 0},
        {100, 65507, 1200, 0}, /* never below the base */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mtu mtu;
        mtu_init(&mtu, cases[i].max);
        assert_int_equal(mtu.size, MTU_BASE);
        assert_int_equal(search_path(&mtu, cases[i].path, 5), cases[i].sent);
        assert_int_equal(mtu.size, cases[i].size);
        /* It is quiet until the time has come to try again, with the same result. */
        assert_int_equal(mtu_get_probe(&mtu, 5 + MTU_RAISE_US - 1), 0);
        assert_int_equal(search_path(&mtu, cases[i].path, 5 + MTU_RAISE_US),
                         mtu.probe_size == 0 ? 0 : MTU_PROBES);
        assert_int_equal(mtu.size, cases[i].size);
    }
}

static void test_path_grows(void **state)
{
    (void)state;
    struct mtu mtu;
    mtu_init(&mtu, MTU_MAX);
    search_path(&mtu, 1472, 0);
    assert_int_equal(search_path(&mtu, 9000, MTU_RAISE_US), 2 + MTU_PROBES);
    assert_int_equal(mtu.size, 8952);
}

/* Two lost probes are no proof; an acknowledgement begins the count again. */
static void test_lossy(void **state)
{
    (void)state;
    struct mtu mtu;
    mtu_init(&mtu, 1500);
    static const uint32_t sizes[] = {1400, 1452, 1472, 1500};
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t lost = 1; lost < MTU_PROBES; lost++) {
            assert_int_equal(mtu_get_probe(&mtu, 0), sizes[i]);
            mtu_on_probe_sent(&mtu);
            mtu_on_probe_lost(&mtu, 0);
        }
        assert_int_equal(mtu_get_probe(&mtu, 0), sizes[i]);
        mtu_on_probe_sent(&mtu);
        mtu_on_probe_acked(&mtu, sizes[i], 0);
    }
    assert_int_equal(mtu.size, 1500);
    assert_int_equal(mtu_get_probe(&mtu, UINT64_MAX), 0);
}

/* The answer to a probe that was taken for lost counts; an answer from before a new search does
 * not, nor does a loss from then. */
static void test_late(void **state)
{
    (void)state;
    struct mtu mtu;
    mtu_init(&mtu, MTU_MAX);
    mtu_on_probe_sent(&mtu);
    mtu_on_probe_lost(&mtu, 0);
    mtu_on_probe_acked(&mtu, 1400, 0);
    assert_int_equal(mtu.size, 1400);
    assert_int_equal(mtu.probe_size, 1452);
    mtu_on_probe_acked(&mtu, 1400, 0); /* another of that size */
    assert_int_equal(mtu.size, 1400);
    search_path(&mtu, 3999, 0);
    assert_int_equal(mtu_get_probe(&mtu, MTU_RAISE_US), 4000);
    mtu_on_probe_sent(&mtu);
    mtu_on_black_hole(&mtu, MTU_RAISE_US);
    assert_int_equal(mtu.size, MTU_BASE);
    mtu_on_probe_acked(&mtu, 4000, MTU_RAISE_US);
    mtu_on_probe_lost(&mtu, MTU_RAISE_US);
    assert_int_equal(mtu.size, MTU_BASE);
    assert_int_equal(mtu.probes_lost, 0);
    assert_int_equal(mtu_get_probe(&mtu, MTU_RAISE_US), 1400); /* at once */
    search_path(&mtu, 1452, MTU_RAISE_US);
    assert_int_equal(mtu.size, 1452);
}

static void test_too_large(void **state)
{
    (void)state;
    struct mtu mtu;
    mtu_init(&mtu, MTU_MAX);
    search_path(&mtu, 20000, 0);
    assert_int_equal(mtu.size, 16384);
    /* a probe: given up at once, without two more */
    assert_int_equal(mtu_get_probe(&mtu, MTU_RAISE_US), 32768);
    mtu_on_probe_sent(&mtu);
    mtu_on_too_large(&mtu, 32768, MTU_RAISE_US);
    assert_int_equal(mtu.size, 16384);
    assert_int_equal(mtu_get_probe(&mtu, 2 * MTU_RAISE_US - 1), 0);
    assert_int_equal(mtu_get_probe(&mtu, 2 * MTU_RAISE_US), 32768);
    /* one that is not tried any more */
    mtu_on_too_large(&mtu, 65000, 2 * MTU_RAISE_US);
    assert_int_equal(mtu_get_probe(&mtu, 2 * MTU_RAISE_US), 32768);
    /* data: the next smaller size */
    mtu_on_too_large(&mtu, 16384, 10);
    assert_int_equal(mtu.size, 8952);
    assert_int_equal(mtu_get_probe(&mtu, 10), 0);
    assert_int_equal(mtu_get_probe(&mtu, 10 + MTU_RAISE_US), 16384);
    mtu_on_too_large(&mtu, 1450, 10);
    assert_int_equal(mtu.size, 1400);
    mtu_on_too_large(&mtu, 1200, 10);
    assert_int_equal(mtu.size, MTU_BASE);
    mtu_on_too_large(&mtu, 20, 10);
    assert_int_equal(mtu.size, MTU_BASE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),     cmocka_unit_test(test_path_grows),
        cmocka_unit_test(test_lossy),     cmocka_unit_test(test_late),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

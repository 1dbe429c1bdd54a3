/*
 * What the store costs: holes are closed, memory is given back, and the figures of a large store
 * are printed (not judged: only content and what is left at the end are checked).
 */
#include "base/alloc.h"
#include "base/rand.h"
#include "logic/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE_PAIRS 100000u
#else
#define LARGE_PAIRS 1000000u
#endif

/* --- memory --- */

/* Values that change their size leave holes; these must not add up. Each piece of memory that a
 * store of small pairs asks for is a chunk of 4 KiB, apart from five or so per segment. */
static void test_holes_do_not_add_up(void **state)
{
    (void)state;
    enum { LEN = 20000, ROUNDS = 12 };
    int64_t live = alloc_live();
    struct store *store = store_create();
    struct rand rand = {11};
    uint8_t value[300];
    memset(value, 9, sizeof(value));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < LEN; i++) {
            struct kv_position position = {1, i};
            uint32_t value_len = 100 + (uint32_t)rand_below(&rand, 200);
            store_put(store, &i, sizeof(i), value, value_len, position);
        }
        double pairs_bytes = (double)store_bytes(store) + 8.0 * LEN;
        double chunks_bytes = (double)(alloc_live() - live) * 4096.0;
        assert_true(chunks_bytes < 1.4 * pairs_bytes);
    }
    for (uint32_t i = 0; i < LEN; i++) {
        if (i % 10 != 0) {
            assert_true(store_remove(store, &i, sizeof(i)));
        }
    }
    double left_bytes = (double)store_bytes(store) + 0.8 * LEN;
    assert_true((double)(alloc_live() - live) * 4096.0 < 2.0 * left_bytes);
    store_destroy(store);
    assert_int_equal(alloc_live(), live);
}

/* Pairs with memory of their own fill a segment long before its table is full. */
static void test_many_large_values(void **state)
{
    (void)state;
    enum { LEN = 3000 };
    int64_t live = alloc_live();
    struct store *store = store_create();
    static uint8_t value[3000];
    for (uint32_t i = 0; i < LEN; i++) {
        struct kv_position position = {1, i};
        memset(value, (int)(i % 251), sizeof(value));
        store_put(store, &i, sizeof(i), value, 400 + i % 2600, position);
    }
    for (uint32_t i = 0; i < LEN; i++) {
        struct store_entry entry;
        memset(value, (int)(i % 251), sizeof(value));
        assert_true(store_get(store, &i, sizeof(i), &entry));
        assert_int_equal(entry.value_len, 400 + i % 2600);
        assert_memory_equal(entry.value, value, entry.value_len);
    }
    for (uint32_t i = 0; i < LEN; i++) {
        assert_true(store_remove(store, &i, sizeof(i)));
    }
    assert_true(alloc_live() - live <= 5);
    store_destroy(store);
    assert_int_equal(alloc_live(), live);
}

/* --- a large store --- */

/* This thread's processor time: other programs on the machine do not count. */
static uint64_t used_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000ull + (uint64_t)used.tv_nsec;
}

static uint64_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void large_key(uint64_t number, uint64_t key[2])
{
    struct rand rand = {number};
    key[0] = rand_next(&rand);
    key[1] = rand_next(&rand);
}

static void large_put(struct store *store, uint64_t number, uint64_t index)
{
    uint64_t key[2];
    uint8_t value[100];
    large_key(number, key);
    memset(value, 3, sizeof(value));
    memcpy(value, &number, sizeof(number));
    struct kv_position position = {3, index};
    store_put(store, key, sizeof(key), value, sizeof(value), position);
}

static uint64_t large_put_all(struct store *store, uint64_t index)
{
    uint64_t begin = used_ns();
    for (uint64_t i = 0; i < LARGE_PAIRS; i++) {
        large_put(store, i, index + i);
    }
    return (used_ns() - begin) / LARGE_PAIRS;
}

/* 0 under a sanitizer, whose allocator tells nothing. */
static double large_overhead(uint64_t heap)
{
    if (heap_bytes() == 0) {
        return 0;
    }
    return (double)(heap_bytes() - heap) / LARGE_PAIRS - 116.0;
}

static uint64_t large_get_all(const struct store *store)
{
    uint64_t begin = used_ns();
    for (uint64_t i = 0; i < LARGE_PAIRS; i++) {
        uint64_t key[2];
        struct store_entry entry;
        large_key(i, key);
        assert_true(store_get(store, key, sizeof(key), &entry));
        assert_int_equal(entry.value_len, 100);
        assert_memory_equal(entry.value, &i, sizeof(i));
    }
    return (used_ns() - begin) / LARGE_PAIRS;
}

static uint64_t large_remove_all(struct store *store)
{
    uint64_t begin = used_ns();
    for (uint64_t i = 0; i < LARGE_PAIRS; i++) {
        uint64_t key[2];
        large_key(i, key);
        assert_true(store_remove(store, key, sizeof(key)));
    }
    return (used_ns() - begin) / LARGE_PAIRS;
}

/* Measures and prints; only content and what is left at the end are checked. */
static void test_large_store(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    uint64_t heap = heap_bytes();
    struct store *store = store_create();
    print_message("empty store: %" PRIu64 " bytes\n", heap_bytes() - heap);
    uint64_t put_ns = large_put_all(store, 1);
    print_message("%u pairs of 16+100: put %" PRIu64 " ns, overhead %.1f bytes each\n", LARGE_PAIRS,
                  put_ns, large_overhead(heap));
    put_ns = large_put_all(store, 1u << 21);
    print_message("replaced: put %" PRIu64 " ns, overhead %.1f bytes each\n", put_ns,
                  large_overhead(heap));
    uint64_t get_ns = large_get_all(store);
    uint64_t remove_ns = large_remove_all(store);
    print_message("get %" PRIu64 " ns, remove %" PRIu64 " ns; empty again: %" PRIu64 " bytes\n",
                  get_ns, remove_ns, heap_bytes() - heap);
    assert_int_equal(store_digest(store), 0);
    assert_true(alloc_live() - live <= 5); /* store, directory, one segment and its tables */
    store_destroy(store);
    assert_int_equal(alloc_live(), live);
}

/* The price of splits: the slowest single put, and the overhead at the worst moment. */
static void test_large_store_worst(void **state)
{
    (void)state;
    uint64_t heap = heap_bytes();
    struct store *store = store_create();
    uint64_t worst_ns = 0;
    double overhead_max = 0;
    for (uint64_t i = 0; i < LARGE_PAIRS; i++) {
        uint64_t begin = used_ns();
        large_put(store, i, i);
        uint64_t took_ns = used_ns() - begin;
        worst_ns = took_ns > worst_ns ? took_ns : worst_ns;
        if (i >= LARGE_PAIRS / 4 && i % 4096 == 0) {
            double overhead = (double)(heap_bytes() - heap) / (double)(i + 1) - 116.0;
            overhead_max = overhead > overhead_max ? overhead : overhead_max;
        }
    }
    assert_int_equal(store_len(store), LARGE_PAIRS);
    print_message("worst put %" PRIu64 " us; overhead at most %.1f bytes from %u pairs on\n",
                  worst_ns / 1000, overhead_max, LARGE_PAIRS / 4);
    store_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes_do_not_add_up),
        cmocka_unit_test(test_many_large_values),
        cmocka_unit_test(test_large_store),
        cmocka_unit_test(test_large_store_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

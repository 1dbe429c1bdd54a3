/* The arena: pieces stay where they are, alignment, chunks kept and given back. */
#include "base/alloc.h"
#include "base/arena.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

static void test_pieces_stay(void **state)
{
    (void)state;
    enum { LEN = 2000 };
    int64_t live = alloc_live();
    struct arena arena;
    arena_init(&arena);
    static uint8_t *pieces[LEN];
    static size_t sizes[LEN];
    struct rand rand = {5};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < LEN; i++) {
            sizes[i] = rand_percent(&rand, 1) ? 100000 : rand_below(&rand, 300);
            pieces[i] = arena_alloc(&arena, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 8, 0);
            memset(pieces[i], (int)(i % 251), sizes[i]);
        }
        for (size_t i = 0; i < LEN; i++) {
            for (size_t j = 0; j < sizes[i]; j++) {
                assert_int_equal(pieces[i][j], i % 251);
            }
        }
        arena_reset(&arena);
    }
    arena_close(&arena);
    assert_int_equal(alloc_live(), live);
}

static void test_a_steady_load_allocates_nothing(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    int64_t live = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 500; i++) {
            arena_alloc(&arena, 1000); /* several chunks, fewer than are kept */
        }
        if (round == 0) {
            live = alloc_live();
        }
        assert_int_equal(alloc_live(), live);
        arena_reset(&arena);
        assert_int_equal(alloc_live(), live);
    }
    arena_close(&arena);
}

static void test_reset_gives_back_what_is_oversized(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    struct arena arena;
    arena_init(&arena);
    arena_alloc(&arena, 1u << 20);
    assert_int_equal(alloc_live(), live + 1);
    arena_reset(&arena);
    assert_int_equal(alloc_live(), live);
    for (int i = 0; i < 100; i++) {
        arena_alloc(&arena, 60000); /* a chunk each */
    }
    assert_int_equal(alloc_live(), live + 100);
    arena_reset(&arena);
    assert_true(alloc_live() < live + 100 && alloc_live() > live);
    arena_close(&arena);
    assert_int_equal(alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_stay),
        cmocka_unit_test(test_a_steady_load_allocates_nothing),
        cmocka_unit_test(test_reset_gives_back_what_is_oversized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

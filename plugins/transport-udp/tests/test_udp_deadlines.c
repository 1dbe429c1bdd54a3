/* Unit test of the heap of deadlines: at random against a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "counting_host.h"
#include "deadlines.h"

#define MEMBERS_LEN 200u

/* The places are right, no child is before its parent, and the first is the least of all. */
static void check_heap(const struct deadlines *deadlines, const struct deadline *members)
{
    uint64_t least = DEADLINES_NEVER;
    uint32_t len = 0;
    for (uint32_t i = 0; i < MEMBERS_LEN; i++) {
        const struct deadline *member = &members[i];
        assert_int_equal(member->place == DEADLINES_NONE, member->at_us == DEADLINES_NEVER);
        if (member->place == DEADLINES_NONE) {
            continue;
        }
        len++;
        least = member->at_us < least ? member->at_us : least;
        assert_true(member->place < deadlines->len);
        assert_ptr_equal(deadlines->heap[member->place], member);
        if (member->place > 0) {
            assert_true(deadlines->heap[(member->place - 1) / 2]->at_us <= member->at_us);
        }
    }
    assert_int_equal(deadlines->len, len);
    struct deadline *first = deadlines_first(deadlines);
    if (len == 0) {
        assert_null(first);
    } else {
        assert_true(first->at_us == least);
    }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rand rand = {seed};
        struct counting_host host;
        counting_host_init(&host);
        struct deadlines deadlines;
        deadlines_init(&deadlines, &host.table);
        struct deadline members[MEMBERS_LEN];
        for (uint32_t i = 0; i < MEMBERS_LEN; i++) {
            deadline_init(&members[i]);
            if (rand_percent(&rand, 30)) {
                host.fail_in = 1;
                int32_t status = deadlines_reserve(&deadlines, i + 1);
                assert_int_equal(status, host.fail_in == 0 ? KV_E_NOMEM : KV_OK);
                host.fail_in = 0;
            }
            assert_int_equal(deadlines_reserve(&deadlines, i + 1), KV_OK);
        }
        uint64_t span = seed % 2 == 0 ? 20 : 1000000; /* few of them: many are the same */
        for (int step = 0; step < 2000; step++) {
            struct deadline *member = &members[rand_below(&rand, MEMBERS_LEN)];
            bool is_out = rand_percent(&rand, 30);
            uint64_t at_us = is_out ? DEADLINES_NEVER : rand_below(&rand, span);
            deadlines_set(&deadlines, member, at_us);
            assert_true(member->at_us == at_us);
            check_heap(&deadlines, members);
        }
        /* All come out in order. */
        uint64_t last_us = 0;
        while (deadlines_first(&deadlines) != NULL) {
            struct deadline *first = deadlines_first(&deadlines);
            assert_true(first->at_us >= last_us);
            last_us = first->at_us;
            deadlines_set(&deadlines, first, DEADLINES_NEVER);
        }
        check_heap(&deadlines, members);
        deadlines_close(&deadlines);
        counting_host_close(&host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

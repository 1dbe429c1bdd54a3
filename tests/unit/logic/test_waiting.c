/*
 * Requests that wait: in order of arrival, bounded in number and bytes, each with a deadline.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "logic/limits.h"
#include "logic/waiting.h"

#include <string.h>

static const char message[] = "the message";

static bool add(struct waiting *waiting, uint64_t link, uint64_t request, uint64_t min_index,
                uint64_t deadline_ms)
{
    return waiting_add(waiting, link, request, min_index, deadline_ms, message, sizeof(message));
}

/* Frees the request and returns its number; 0 for none. */
static uint64_t number_of(struct waiting_request *request)
{
    uint64_t number = request == NULL ? 0 : request->request;
    alloc_free(request);
    return number;
}

static void an_empty_queue_wants_nothing(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    assert_int_equal(waiting.len, 0);
    assert_true(waiting.earliest_ms == UINT64_MAX);
    assert_null(waiting_take_reached(&waiting, UINT64_MAX));
    assert_null(waiting_take_expired(&waiting, UINT64_MAX));
    waiting_drop_link(&waiting, 1);
    waiting_close(&waiting);
}

static void the_message_is_kept_as_a_copy(void **state)
{
    (void)state;
    struct waiting waiting;
    char bytes[] = "abc";
    waiting_init(&waiting);
    assert_true(waiting_add(&waiting, 5, 6, 7, 8, bytes, sizeof(bytes)));
    memset(bytes, 'x', sizeof(bytes));
    struct waiting_request *request = waiting_take_reached(&waiting, 7);
    assert_non_null(request);
    assert_int_equal(request->link, 5);
    assert_int_equal(request->request, 6);
    assert_int_equal(request->min_index, 7);
    assert_int_equal(request->deadline_ms, 8);
    assert_int_equal(request->len, sizeof(bytes));
    assert_string_equal((const char *)request->bytes, "abc");
    alloc_free(request);
    assert_int_equal(waiting.bytes, 0);
    waiting_close(&waiting);
}

static void they_come_back_in_order_of_arrival(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    for (uint64_t request = 1; request <= 5; request++) {
        assert_true(add(&waiting, 1, request, 0, 100));
    }
    for (uint64_t request = 1; request <= 5; request++) {
        assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), request);
    }
    /* The queue goes on working after it was empty. */
    assert_true(add(&waiting, 1, 6, 0, 100));
    assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), 6);
    waiting_close(&waiting);
}

static void only_those_whose_position_is_reached_are_taken(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    assert_true(add(&waiting, 1, 1, 30, 100));
    assert_true(add(&waiting, 1, 2, 10, 100));
    assert_true(add(&waiting, 1, 3, 20, 100));
    assert_true(add(&waiting, 1, 4, 10, 100));
    assert_int_equal(number_of(waiting_take_reached(&waiting, 9)), 0);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 10)), 2);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 10)), 4);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 10)), 0);
    /* The last one was taken out of the end: a new one still goes behind the others. */
    assert_true(add(&waiting, 1, 5, 0, 100));
    assert_int_equal(number_of(waiting_take_reached(&waiting, 30)), 1);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 30)), 3);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 30)), 5);
    waiting_close(&waiting);
}

static void the_number_is_limited(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    for (uint64_t request = 1; request <= WAITING_REQUESTS_MAX; request++) {
        assert_true(add(&waiting, 1, request, 0, 100));
    }
    assert_false(add(&waiting, 1, 9999, 0, 1));
    assert_int_equal(waiting.len, WAITING_REQUESTS_MAX);
    assert_int_equal(waiting.earliest_ms, 100); /* what was refused left no trace */
    assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), 1);
    assert_true(add(&waiting, 1, 9999, 0, 100));
    waiting_close(&waiting);
}

static void the_bytes_are_limited(void **state)
{
    (void)state;
    struct waiting waiting;
    uint8_t *bytes = alloc_zeroed(1, WAITING_BYTES_MAX + 1);
    waiting_init(&waiting);
    assert_false(waiting_add(&waiting, 1, 1, 0, 100, bytes, WAITING_BYTES_MAX + 1));
    assert_true(waiting_add(&waiting, 1, 1, 0, 100, bytes, WAITING_BYTES_MAX - 1));
    assert_true(waiting_add(&waiting, 1, 2, 0, 100, bytes, 1));
    assert_false(waiting_add(&waiting, 1, 3, 0, 100, bytes, 1));
    assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), 1);
    assert_true(waiting_add(&waiting, 1, 3, 0, 100, bytes, WAITING_BYTES_MAX - 1));
    alloc_free(bytes);
    waiting_close(&waiting);
}

static void a_deadline_is_over_when_it_is_reached(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    assert_true(add(&waiting, 1, 1, 0, 300));
    assert_true(add(&waiting, 1, 2, 0, 100));
    assert_true(add(&waiting, 1, 3, 0, 200));
    assert_int_equal(waiting.earliest_ms, 100);
    assert_int_equal(number_of(waiting_take_expired(&waiting, 99)), 0);
    assert_int_equal(number_of(waiting_take_expired(&waiting, 100)), 2);
    assert_int_equal(number_of(waiting_take_expired(&waiting, 100)), 0);
    assert_int_equal(waiting.earliest_ms, 200);
    assert_int_equal(number_of(waiting_take_expired(&waiting, 1000)), 1); /* the oldest first */
    assert_int_equal(number_of(waiting_take_expired(&waiting, 1000)), 3);
    assert_true(waiting.earliest_ms == UINT64_MAX);
    waiting_close(&waiting);
}

/* When the most urgent request was answered in time, the wake-up time may be early, never late. */
static void the_wake_up_time_is_never_late(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    assert_true(add(&waiting, 1, 1, 10, 100));
    assert_true(add(&waiting, 1, 2, 20, 200));
    assert_int_equal(number_of(waiting_take_reached(&waiting, 10)), 1);
    assert_true(waiting.earliest_ms <= 200);
    assert_null(waiting_take_expired(&waiting, 150));
    assert_int_equal(waiting.earliest_ms, 200);
    waiting_close(&waiting);
}

static void a_link_that_is_gone_takes_its_requests_with_it(void **state)
{
    (void)state;
    struct waiting waiting;
    waiting_init(&waiting);
    assert_true(add(&waiting, 1, 1, 0, 100));
    assert_true(add(&waiting, 2, 2, 0, 100));
    assert_true(add(&waiting, 1, 3, 0, 100));
    assert_true(add(&waiting, 1, 4, 0, 100));
    waiting_drop_link(&waiting, 3);
    assert_int_equal(waiting.len, 4);
    waiting_drop_link(&waiting, 1);
    assert_int_equal(waiting.len, 1);
    assert_int_equal(waiting.bytes, sizeof(message));
    assert_true(add(&waiting, 2, 5, 0, 100)); /* behind the one that stayed */
    assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), 2);
    assert_int_equal(number_of(waiting_take_reached(&waiting, 0)), 5);
    waiting_close(&waiting);
}

static void closing_frees_what_still_waits(void **state)
{
    (void)state;
    int64_t before = alloc_live();
    struct waiting waiting;
    waiting_init(&waiting);
    for (uint64_t request = 0; request < 10; request++) {
        assert_true(add(&waiting, 1, request, 0, 100));
    }
    waiting_close(&waiting);
    assert_int_equal(alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_wants_nothing),
        cmocka_unit_test(the_message_is_kept_as_a_copy),
        cmocka_unit_test(they_come_back_in_order_of_arrival),
        cmocka_unit_test(only_those_whose_position_is_reached_are_taken),
        cmocka_unit_test(the_number_is_limited),
        cmocka_unit_test(the_bytes_are_limited),
        cmocka_unit_test(a_deadline_is_over_when_it_is_reached),
        cmocka_unit_test(the_wake_up_time_is_never_late),
        cmocka_unit_test(a_link_that_is_gone_takes_its_requests_with_it),
        cmocka_unit_test(closing_frees_what_still_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

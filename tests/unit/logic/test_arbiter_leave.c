/*
 * Leaving: by itself, at a client's wish, of a member that is there, is absent, or does not go.
 */
#include "arbiter_bench.h"

static void leave(struct bench *bench, uint64_t link, uint64_t sender, uint64_t request,
                  const char *name)
{
    struct message message = fixture_message(MESSAGE_LEAVE, 4, sender);
    message.body.leave.request = request;
    message.body.leave.incarnation = request == 0 ? 100 : 0;
    message.body.leave.name = fixture_text(name);
    bench_deliver(bench, link, &message);
}

static void a_member_leaves_by_itself(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    leave(bench, 2, 2, 0, "n2");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_SUSPECT), 1); /* to the primary */
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2);
    bench_written(bench);
    assert_null(view_find(&bench->arbiter->view, 2));
    /* The answer to it is the view without it; once more gives that view again. */
    leave(bench, 2, 2, 0, "n2");
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 1);
}

/* It hands over first, and leaves as a secondary. */
static void the_primary_hands_over_before_it_leaves(void **state)
{
    struct bench *bench = *state;
    uint64_t link;
    bench_make_three(bench);
    bench_heartbeat(bench, 2, 4, 100);
    leave(bench, 1, 1, 0, "n1");
    struct message order = fixture_sent(&bench->fixture, MESSAGE_HANDOVER, 0, &link);
    assert_int_equal(link, 1);
    assert_int_equal(order.body.member.node, 2);
    bench_report(bench, MESSAGE_HANDOVER, 1, 4, 2);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
    assert_int_equal(bench_member(bench, 1)->state, MEMBER_IN_SYNC);
    for (uint64_t node = 1; node <= 3; node++) {
        assert_int_equal(bench_member(bench, node)->joined, 5);
    }
}

/* Else two that leave would hand over to each other for ever. */
static void nobody_hands_over_to_one_that_leaves(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    leave(bench, 2, 2, 0, "n2");
    leave(bench, 1, 1, 0, "n1");
    assert_int_equal(fixture_sent(&bench->fixture, MESSAGE_HANDOVER, 0, NULL).body.member.node, 3);
    leave(bench, 3, 3, 0, "n3");
    leave(bench, 1, 1, 0, "n1");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_HANDOVER), 0);
    bench_grow_old(bench); /* they have thought better of it */
    bench_heartbeat(bench, 1, 5, 100);
    bench_heartbeat(bench, 2, 5, 100);
    leave(bench, 1, 1, 0, "n1");
    assert_int_equal(fixture_sent(&bench->fixture, MESSAGE_HANDOVER, 0, NULL).body.member.node, 2);
}

/* It may be the only one that has the data. */
static void one_in_sync_that_returns_is_not_sent_away_while_there_is_no_primary(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    bench_grow_old(bench);
    bench_return(bench, "n2", 2, 100);
    leave(bench, 50, 900, 7, "n2");
    assert_int_equal(bench_sends(bench), 0);
    assert_int_equal(bench_writes(bench), 0);
}

static void the_primary_alone_stays_what_it_is(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    leave(bench, 1, 1, 0, "n1");
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_JOINED_PRIMARY), 1);
}

static void a_leave_of_another_incarnation_is_ignored(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    struct message message = fixture_message(MESSAGE_LEAVE, 4, 3);
    message.body.leave.name = fixture_text("n3");
    message.body.leave.incarnation = 99;
    bench_deliver(bench, 3, &message);
    assert_int_equal(bench->fixture.effects.len, 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_unexpected], 1);
}

/* With another's name and no request id it is no order. */
static void nobody_leaves_for_another(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    leave(bench, 3, 3, 0, "n2");
    assert_int_equal(bench_writes(bench), 0);
    assert_non_null(view_find(&bench->arbiter->view, 2));
}

static void a_member_that_is_there_is_told_to_leave(void **state)
{
    struct bench *bench = *state;
    uint64_t link;
    bench_make_three(bench);
    leave(bench, 50, 900, 7, "n2");
    struct message order = fixture_sent(&bench->fixture, MESSAGE_LEAVE, 0, &link);
    assert_int_equal(link, 2);
    assert_true(fixture_equals(order.body.leave.name, "n2"));
    assert_int_equal(bench_sends(bench), 1);
    assert_int_equal(arbiter_wake_ms(bench->arbiter),
                     bench->fixture.now_ms + FIXTURE_RETRANSMIT_MS);
    bench_heartbeat(bench, 2, 4, 100);
    fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
    arbiter_tick(bench->arbiter); /* and again, should the order be lost */
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_LEAVE), 1);
    leave(bench, 2, 2, 0, "n2");
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2);
    bench_written(bench);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_ACK, 0, &link);
    assert_int_equal(link, 50);
    assert_int_equal(answer.body.operation_ack.request, 7);
    assert_true(arbiter_wake_ms(bench->arbiter) == UINT64_MAX);
}

static void a_member_that_is_absent_is_taken_out(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_on_link_down(bench->arbiter, 3);
    leave(bench, 50, 900, 7, "n3");
    assert_int_equal(bench_sends(bench), 0);
    bench_written(bench);
    assert_null(view_find(&bench->arbiter->view, 3));
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
}

static void leaving_waits_for_the_change_going_on(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_on_link_down(bench->arbiter, 3);
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2); /* being written */
    struct message message = fixture_message(MESSAGE_LEAVE, 4, 900);
    message.body.leave.request = 7;
    message.body.leave.name = fixture_text("n3");
    arbiter_on_message(bench->arbiter, 50, &message);
    assert_int_equal(bench_writes(bench), 1);
    bench_written(bench);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 0);
    fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
    arbiter_tick(bench->arbiter);
    bench_written(bench);
    assert_null(view_find(&bench->arbiter->view, 3));
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
}

static void assert_leave_rejected(struct bench *bench, uint8_t reason)
{
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, 7);
    assert_int_equal(answer.body.operation_rejected.reason, reason);
    assert_int_equal(bench_writes(bench), 0);
}

static void leave_of_the_primary_or_of_nobody_is_rejected(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    leave(bench, 50, 900, 7, "n1");
    assert_leave_rejected(bench, REJECT_IS_PRIMARY);
    leave(bench, 50, 900, 7, "nobody");
    assert_leave_rejected(bench, REJECT_NOT_FOUND);
}

static void leave_requests_are_limited(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    for (uint32_t i = 0; i < LEAVE_REQUESTS_MAX; i++) {
        leave(bench, 50 + i, 900, 7, "n2");
        assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED), 0);
    }
    leave(bench, 50, 900, 7, "n3");
    assert_leave_rejected(bench, REJECT_OVERLOADED);
    arbiter_on_link_down(bench->arbiter, 51); /* that client is gone: there is room */
    leave(bench, 50, 900, 7, "n3");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED), 0);
    leave(bench, 2, 2, 0, "n2");
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2);
    bench_written(bench);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK),
                     LEAVE_REQUESTS_MAX - 1);
}

/* A node that answers heartbeats and does not go: the client gets its answer all the same. */
static void leaving_that_does_not_come_through_fails(void **state)
{
    struct bench *bench = *state;
    uint64_t link = 0;
    uint32_t failed = 0;
    bench_make_three(bench);
    leave(bench, 50, 900, 7, "n2");
    for (uint32_t ms = 0; ms <= 11000 && failed == 0; ms += FIXTURE_RETRANSMIT_MS) {
        bench_heartbeat(bench, 2, 4, 100);
        fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
        arbiter_tick(bench->arbiter);
        failed = fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_FAILED);
    }
    assert_int_equal(failed, 1);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_FAILED, 0, &link);
    assert_int_equal(link, 50);
    assert_int_equal(answer.body.operation_failed.request, 7);
    assert_true(arbiter_wake_ms(bench->arbiter) == UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_member_leaves_by_itself),
        TEST(the_primary_hands_over_before_it_leaves),
        TEST(nobody_hands_over_to_one_that_leaves),
        TEST(one_in_sync_that_returns_is_not_sent_away_while_there_is_no_primary),
        TEST(the_primary_alone_stays_what_it_is),
        TEST(a_leave_of_another_incarnation_is_ignored),
        TEST(nobody_leaves_for_another),
        TEST(a_member_that_is_there_is_told_to_leave),
        TEST(a_member_that_is_absent_is_taken_out),
        TEST(leaving_waits_for_the_change_going_on),
        TEST(leave_of_the_primary_or_of_nobody_is_rejected),
        TEST(leave_requests_are_limited),
        TEST(leaving_that_does_not_come_through_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

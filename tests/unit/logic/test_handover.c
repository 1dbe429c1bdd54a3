/*
 * A primary that gives way: it takes no new update, commits what it has, tells the arbiter, and is
 * a secondary of the view that comes; or takes updates again when none comes.
 */
#include "leading.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER 22u

static int setup(void **state)
{
    struct leading *leading = calloc(1, sizeof(*leading));
    leading_begin(leading);
    leading_bring_in(leading, MEMBER);
    *state = leading;
    return 0;
}

static int teardown(void **state)
{
    leading_end(*state);
    free(*state);
    return 0;
}

static uint64_t joined(const struct leading *leading, uint64_t node)
{
    return view_find(&leading->view, node)->joined;
}

/* The arbiter asks. */
static void order(struct leading *leading, uint64_t node, uint64_t session, uint64_t view)
{
    struct message message = fixture_message(MESSAGE_HANDOVER, view, 1);
    message.body.member.node = node;
    message.body.member.joined = session;
    fixture_deliver(&leading->fixture, fixture_arbiter_link(&leading->fixture), &message);
}

static void order_member(struct leading *leading)
{
    order(leading, MEMBER, joined(leading, MEMBER), leading->view.number);
}

static uint32_t told(struct leading *leading)
{
    return fixture_sent_len(&leading->fixture, MESSAGE_HANDOVER);
}

static void expect_told(struct leading *leading)
{
    uint64_t link;
    assert_int_equal(told(leading), 1);
    struct message message = fixture_sent(&leading->fixture, MESSAGE_HANDOVER, 0, &link);
    assert_int_equal(link, fixture_arbiter_link(&leading->fixture));
    assert_int_equal(message.view, leading->view.number);
    assert_int_equal(message.body.member.node, MEMBER);
    assert_int_equal(message.body.member.joined, joined(leading, MEMBER));
}

/* The view that makes the member primary. */
static void give_way(struct leading *leading)
{
    leading->view.primary = MEMBER;
    for (uint32_t i = 0; i < leading->view.members_len; i++) {
        leading->view.members[i].joined = leading->view.number + 1;
    }
    leading_tell(leading);
}

static void pass(struct leading *leading, uint64_t ms)
{
    fixture_happens(&leading->fixture, EVENT_TICK, ms);
}

/* --- it goes well --- */

static void with_nothing_under_way_it_is_ready_at_once(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    expect_told(leading);
}

static void what_is_under_way_is_committed_first(void **state)
{
    struct leading *leading = *state;
    leading_insert(leading, "key", "value");
    order_member(leading);
    assert_int_equal(told(leading), 0);
    leading_store(leading);
    assert_int_equal(told(leading), 0); /* the member has it not yet */
    leading_ack(leading, MEMBER, 2, 2, 0);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK), 1);
    expect_told(leading);
}

static void it_is_told_again_until_a_view_comes(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    for (uint32_t i = 0; i < 3; i++) {
        order_member(leading); /* asked again meanwhile: nothing new */
        assert_int_equal(told(leading), 0);
        pass(leading, FIXTURE_RETRANSMIT_MS - 1);
        assert_int_equal(told(leading), 0);
        assert_true(node_wake_ms(leading->fixture.node) <= leading->fixture.now_ms + 1);
        pass(leading, 1);
        expect_told(leading);
    }
    give_way(leading);
    assert_int_equal(leading_observe(leading).role, ROLE_SECONDARY);
    pass(leading, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(told(leading), 0);
}

/* Nobody's update fails: it waits, and is then sent to the right one. */
static void updates_wait_and_are_sent_on(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    uint64_t request = leading_insert(leading, "key", "value");
    assert_int_equal(fixture_effects_len(&leading->fixture, EFFECT_SEND), 0);
    assert_int_equal(leading_observe(leading).last.index, 0);
    give_way(leading);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, request);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_NOT_PRIMARY);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_REJECTED), 1);
    assert_int_equal(leading_observe(leading).requests_waiting, 0);
}

static void an_update_that_waits_has_its_deadline(void **state)
{
    struct leading *leading = *state;
    struct message message = fixture_message(MESSAGE_INSERT, 0, 900);
    order_member(leading);
    message.body.operation.request = 5;
    message.body.operation.deadline_ms = 50;
    fixture_deliver(&leading->fixture, FIXTURE_CLIENT_LINK, &message);
    pass(leading, 50);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, 5);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_DEADLINE);
    assert_true(fixture_equals(answer.body.operation_rejected.text,
                               "the place of the primary is being handed over"));
}

/* --- reads meanwhile --- */

/* The other one may be primary already: only a word of after the read shows that it was not. */
static void reads_need_a_fresh_word(void **state)
{
    struct leading *leading = *state;
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    leading_get(leading, "key");
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 1);
    order_member(leading);
    expect_told(leading);
    pass(leading, 5);
    leading_get(leading, "key");
    uint64_t asked_ms = leading->fixture.now_ms;
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 0);
    assert_int_equal(leading_sent_len(leading, MEMBER, SNAPSHOT_PROBE), 1);
    pass(leading, 5);
    leading_ack(leading, MEMBER, 1, 1, asked_ms); /* it may have been sent before the read came */
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 0);
    leading_ack(leading, MEMBER, 1, 1, asked_ms + 1);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 1);
}

/* Another probe is sent for a read that waits, and no lease is taken for granted after it was given
 * up: the arbiter may act on what it was told at any time. */
static void given_up_reads_still_need_one(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    for (uint32_t i = 0; i < 4; i++) {
        pass(leading, FIXTURE_RETRANSMIT_MS);
        leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    }
    leading_get(leading, "key");
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 0);
    pass(leading, FIXTURE_RETRANSMIT_MS);
    struct message probe = leading_sent(leading, MEMBER, SNAPSHOT_PROBE);
    leading_ack(leading, MEMBER, 1, 1, probe.body.snapshot.sent_ms);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 1);
    /* A new view, and it is primary in it: all is as before. */
    leading_add(leading, 23, MEMBER_CANDIDATE);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    leading_get(leading, "key");
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 1);
}

/* --- it does not --- */

static void without_a_view_updates_go_on(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    uint64_t request = leading_insert(leading, "key", "value");
    for (uint32_t i = 1; i < 4; i++) {
        pass(leading, FIXTURE_REPLICA_MS / 4);
        leading_ack(leading, MEMBER, 1, 1, 0);
        assert_int_equal(leading_observe(leading).last.index, 0);
    }
    pass(leading, FIXTURE_REPLICA_MS / 4);
    assert_int_equal(leading_observe(leading).last.index, 1);
    leading_store(leading);
    leading_ack(leading, MEMBER, 2, 2, 0);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_ACK, 0, NULL);
    assert_int_equal(answer.body.operation_ack.request, request);
    order_member(leading); /* the arbiter has not given up */
    expect_told(leading);
    leading_insert(leading, "key", "other");
    assert_int_equal(leading_observe(leading).last.index, 1);
}

/* Not ready in time, and nothing told: it may be asked again. */
static void what_does_not_drain_is_given_up(void **state)
{
    struct leading *leading = *state;
    leading_insert(leading, "key", "value");
    leading_store(leading);
    order_member(leading);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(told(leading), 0);
        pass(leading, FIXTURE_REPLICA_MS / 4);
    }
    leading_insert(leading, "key", "other");
    assert_int_equal(leading_observe(leading).last.index, 2);
    order_member(leading);
    leading_store(leading);
    leading_ack(leading, MEMBER, 3, 3, 0);
    expect_told(leading);
}

static void another_view_ends_it(void **state)
{
    struct leading *leading = *state;
    order_member(leading);
    leading_insert(leading, "key", "value");
    assert_int_equal(leading_observe(leading).last.index, 0);
    leading_add(leading, 23, MEMBER_CANDIDATE); /* somebody else came first */
    assert_int_equal(leading_observe(leading).last.index, 1);
    leading_store(leading);
    leading_ack(leading, MEMBER, 2, 2, 0);
    assert_int_equal(told(leading), 0);
    order_member(leading); /* of that view */
    expect_told(leading);
}

static void what_does_not_fit_is_counted(void **state)
{
    struct leading *leading = *state;
    uint64_t view = leading->view.number;
    uint64_t session = joined(leading, MEMBER);
    order(leading, MEMBER, session, view - 1);
    order(leading, MEMBER, session + 1, view);
    order(leading, 99, session, view);
    order(leading, FIXTURE_NODE, joined(leading, FIXTURE_NODE), view);
    assert_int_equal(fixture_counter(&leading->fixture, "messages_unexpected"), 4);
    leading_add(leading, 23, MEMBER_CANDIDATE);
    order(leading, 23, joined(leading, 23), leading->view.number);
    assert_int_equal(fixture_counter(&leading->fixture, "messages_unexpected"), 5);
    leading_insert(leading, "key", "value"); /* nothing is held */
    assert_int_equal(leading_observe(leading).last.index, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_nothing_under_way_it_is_ready_at_once),
        TEST(what_is_under_way_is_committed_first),
        TEST(it_is_told_again_until_a_view_comes),
        TEST(updates_wait_and_are_sent_on),
        TEST(an_update_that_waits_has_its_deadline),
        TEST(reads_need_a_fresh_word),
        TEST(given_up_reads_still_need_one),
        TEST(without_a_view_updates_go_on),
        TEST(what_does_not_drain_is_given_up),
        TEST(another_view_ends_it),
        TEST(what_does_not_fit_is_counted),
    };
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}

/*
 * A replica's side of membership, seen from the arbiter's end of the link: it joins until it is let
 * in, says that it lives, takes newer views only, and leaves.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_MS (FIXTURE_REPLICA_MS / 4)

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture_init(fixture, false, true);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void start_and_load(struct fixture *fixture, uint64_t view, uint64_t index)
{
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){view, index});
}

static struct node_state observe(const struct fixture *fixture)
{
    struct node_state state;
    node_observe(fixture->node, &state);
    return state;
}

/* A view of number `number`: node 22 is primary, this node a candidate since view `joined`. */
static void make_view(struct view *view, uint64_t number, uint64_t joined, uint64_t incarnation)
{
    fixture_view(view, number, 22);
    fixture_add_member(view, 22, 1, MEMBER_IN_SYNC);
    fixture_add_member(view, FIXTURE_NODE, joined, MEMBER_CANDIDATE)->incarnation = incarnation;
}

static void join_rejected(struct fixture *fixture, uint64_t incarnation, uint8_t reason,
                          uint8_t retry)
{
    struct message message = fixture_message(MESSAGE_JOIN_REJECTED, 1, 1);
    message.body.join_rejected.incarnation = incarnation;
    message.body.join_rejected.reason = reason;
    message.body.join_rejected.retry = retry;
    message.body.join_rejected.text = fixture_text("because");
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &message);
}

static uint32_t sends(const struct fixture *fixture)
{
    return fixture_effects_len(fixture, EFFECT_SEND);
}

static void assert_stops(const struct fixture *fixture, int exit_status)
{
    const struct effect *stop = fixture_effect(fixture, EFFECT_STOP, 0);
    assert_int_equal(stop->as.stop.exit_status, exit_status);
    assert_non_null(stop->as.stop.reason);
}

/* --- joining --- */

static void it_joins_when_its_content_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    fixture_start(fixture);
    const struct effect *open = fixture_effect(fixture, EFFECT_OPEN_LINK, 0);
    assert_int_equal(open->as.open_link.uris_len, 1);
    assert_string_equal(open->as.open_link.uris[0], "test://arbiter");
    assert_int_equal(sends(fixture), 0);
    fixture_link_event(fixture, EVENT_LINK_UP, fixture_arbiter_link(fixture));
    assert_int_equal(sends(fixture), 0);
    fixture_load(fixture, (struct kv_position){3, 30});
    uint64_t link;
    struct message join = fixture_sent(fixture, MESSAGE_JOIN, 0, &link);
    assert_int_equal(link, fixture_arbiter_link(fixture));
    assert_int_equal(join.sender, FIXTURE_NODE);
    assert_int_equal(join.cluster, 0);
    assert_int_equal(join.body.join.incarnation, FIXTURE_INCARNATION);
    assert_int_equal(join.body.join.starts, 1);
    assert_int_equal(join.body.join.ack, ACK_DURABLE);
    assert_int_equal(join.body.join.durable.view, 3);
    assert_int_equal(join.body.join.durable.index, 30);
    assert_true(fixture_equals(join.body.join.name, "n11"));
    assert_int_equal(join.body.join.uris_len, 1);
    assert_true(fixture_equals(join.body.join.uris[0], "test://n11"));
}

static void it_asks_again_until_it_is_let_in(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 0, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(node_wake_ms(fixture->node), fixture->now_ms + FIXTURE_RETRANSMIT_MS);
        fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS - 1);
        assert_int_equal(sends(fixture), 0);
        fixture_happens(fixture, EVENT_TICK, 1);
        assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 1);
    }
    fixture_link_event(fixture, EVENT_LINK_UP, fixture_arbiter_link(fixture)); /* at once */
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 1);
}

static void it_becomes_what_the_view_says(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    start_and_load(fixture, 0, 0);
    make_view(&view, 2, 2, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_int_equal(observe(fixture).role, ROLE_CANDIDATE);
    assert_int_equal(observe(fixture).view, 2);
    assert_int_equal(observe(fixture).primary, 22);
    assert_int_equal(fixture_effect(fixture, EFFECT_IDENTITY, 0)->as.identity.cluster,
                     FIXTURE_CLUSTER);
    view.number = 3;
    view.members[1].state = MEMBER_IN_SYNC;
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).role, ROLE_SECONDARY);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_IDENTITY), 0); /* known already */
    assert_false(observe(fixture).serves_reads);                        /* no content came yet */
}

static void the_first_joiner_serves_at_once(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    assert_int_equal(observe(fixture).role, ROLE_PRIMARY);
    assert_true(observe(fixture).serves_reads);
    assert_int_equal(fixture_effect(fixture, EFFECT_READY, 0)->as.ready.role, ROLE_PRIMARY);
}

static void an_answer_to_another_incarnation_is_not_for_it(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    start_and_load(fixture, 0, 0);
    make_view(&view, 2, 2, FIXTURE_INCARNATION - 1); /* the process before this one */
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_int_equal(observe(fixture).role, ROLE_JOINING);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).role, ROLE_JOINING);
    assert_int_equal(observe(fixture).view, 0);
}

static void a_rejection_for_the_moment_is_not_the_end(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 0, 0);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_OVERLOADED, 1);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    assert_true(fixture_effects_len(fixture, EFFECT_NOTE) > 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 1);
}

static void a_rejection_for_good_stops_with_4(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 0, 0);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_NAME_IN_USE, 0);
    assert_stops(fixture, 4);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_NAME_IN_USE, 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0); /* once is enough */
}

/* The data folder belongs to another cluster: the rejection carries that arbiter's cluster, which
 * is not this node's, and must be heard all the same. */
static void a_rejection_by_another_cluster_stops_with_4(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.cluster = FIXTURE_CLUSTER + 1;
    start_and_load(fixture, 0, 0);
    assert_int_equal(fixture_sent(fixture, MESSAGE_JOIN, 0, NULL).cluster, FIXTURE_CLUSTER + 1);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_WRONG_CLUSTER, 0);
    assert_stops(fixture, 4);
}

static void a_rejection_of_another_incarnation_is_ignored(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 0, 0);
    join_rejected(fixture, FIXTURE_INCARNATION - 1, REJECT_NAME_IN_USE, 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    assert_int_equal(fixture_counter(fixture, "messages_unexpected"), 1);
}

static void a_late_rejection_does_not_stop_a_member(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_NAME_IN_USE, 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    assert_int_equal(observe(fixture).role, ROLE_PRIMARY);
}

static void joining_gives_up_after_its_timeout(void **state)
{
    struct fixture *fixture = *state;
    uint32_t waited_ms = 0;
    fixture->config.join_timeout_ms = 450;
    start_and_load(fixture, 0, 0);
    while (fixture_effects_len(fixture, EFFECT_STOP) == 0 && waited_ms < 2000) {
        uint64_t wake_ms = node_wake_ms(fixture->node);
        assert_true(wake_ms > fixture->now_ms);
        waited_ms += (uint32_t)(wake_ms - fixture->now_ms);
        fixture_happens(fixture, EVENT_TICK, wake_ms - fixture->now_ms);
    }
    assert_stops(fixture, 4);
    assert_in_range(waited_ms, 450, 450 + FIXTURE_RETRANSMIT_MS);
}

/* It is asked to wait for others that are to come back: that is no refusal to give up on. */
static void asked_to_wait_it_waits(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.join_timeout_ms = 450;
    start_and_load(fixture, 3, 30);
    for (uint32_t i = 0; i < 20; i++) {
        join_rejected(fixture, FIXTURE_INCARNATION, REJECT_NOT_READY, 1);
        assert_int_equal(fixture_effects_len(fixture, EFFECT_NOTE), i == 0 ? 1 : 0); /* told once */
        fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
        assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
        assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 1);
    }
}

/* What its data folder is a copy of is in use: that is written into the folder, so that it is not
 * asked again at each start. */
static void a_copy_is_marked_and_stops(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 3, 30);
    join_rejected(fixture, FIXTURE_INCARNATION, REJECT_COPY, 0);
    assert_true(fixture_effect(fixture, EFFECT_IDENTITY, 0)->as.identity.is_copy);
    assert_stops(fixture, 4);
}

static void a_node_that_was_in_does_not_give_up(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture->config.join_timeout_ms = 450;
    start_and_load(fixture, 0, 0);
    make_view(&view, 2, 2, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    view.number = 3;
    view.members_len = 1;
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    for (uint32_t i = 0; i < 20; i++) {
        fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
        assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    }
}

/* --- as a member --- */

static void a_member_says_that_it_lives(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    fixture_happens(fixture, EVENT_TICK, 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct message beat = fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL);
        assert_int_equal(beat.view, 2);
        assert_int_equal(beat.body.heartbeat.incarnation, FIXTURE_INCARNATION);
        assert_int_equal(node_wake_ms(fixture->node), fixture->now_ms + HEARTBEAT_MS);
        fixture_happens(fixture, EVENT_TICK, HEARTBEAT_MS);
    }
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 0);
}

static void an_old_view_or_the_same_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    start_and_load(fixture, 0, 0);
    make_view(&view, 5, 5, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    make_view(&view, 4, 4, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).view, 5);
    make_view(&view, 5, 5, FIXTURE_INCARNATION);
    view.members_len = 1; /* no arbiter makes two views of one number */
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).role, ROLE_CANDIDATE);
}

static void taken_out_it_joins_as_another_incarnation(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    fixture_view(&view, 3, 22);
    fixture_add_member(&view, 22, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).role, ROLE_JOINING);
    assert_int_equal(observe(fixture).view, 3);
    fixture_happens(fixture, EVENT_TICK, 0);
    struct message join = fixture_sent(fixture, MESSAGE_JOIN, 0, NULL);
    assert_int_not_equal(join.body.join.incarnation, FIXTURE_INCARNATION);
    /* The answer to that brings it in again. */
    make_view(&view, 4, 4, join.body.join.incarnation);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_int_equal(observe(fixture).role, ROLE_CANDIDATE);
}

static void a_primary_that_is_taken_out_stops_being_primary(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_become_primary(fixture);
    fixture_view(&view, 2, 22);
    fixture_add_member(&view, 22, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(observe(fixture).role, ROLE_JOINING);
    assert_false(observe(fixture).serves_reads);
}

static void an_arbiter_that_forgot_is_not_followed(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    start_and_load(fixture, 7, 70); /* the store has updates of view 7 */
    make_view(&view, 2, 2, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_stops(fixture, 4);
    assert_int_equal(observe(fixture).role, ROLE_JOINING);
    assert_int_equal(observe(fixture).keys, 0);
}

static void a_view_as_old_as_the_data_is_fine(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    start_and_load(fixture, 7, 70);
    make_view(&view, 7, 7, FIXTURE_INCARNATION);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    assert_int_equal(observe(fixture).role, ROLE_CANDIDATE);
}

/* The message may say what it likes: what counts is the cluster in the view. */
static void a_view_of_another_cluster_is_not_taken(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    make_view(&view, 9, 9, FIXTURE_INCARNATION);
    view.cluster = FIXTURE_CLUSTER + 1;
    struct message message = fixture_message(MESSAGE_REPLICAS, 9, 1);
    message.cluster = 0;
    message.body.replicas.view = fixture_encode_view(fixture, &view);
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &message);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_IDENTITY), 0);
    assert_int_equal(observe(fixture).view, 2);
}

static void a_malformed_view_is_counted(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    make_view(&view, 9, 9, FIXTURE_INCARNATION);
    struct message message = fixture_message(MESSAGE_REPLICAS, 9, 1);
    message.body.replicas.view = fixture_encode_view(fixture, &view);
    message.body.replicas.view.len--;
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &message);
    assert_int_equal(observe(fixture).view, 2);
    assert_int_equal(fixture_counter(fixture, "messages_malformed"), 1);
}

/* --- leaving --- */

static void tell_without_it(struct fixture *fixture)
{
    struct view view;
    fixture_view(&view, 3, 22);
    fixture_add_member(&view, 22, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
}

static void a_secondary_leaves_and_then_stops_with_0(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    fixture_happens(fixture, EVENT_LEAVE, 0);
    struct message leave = fixture_sent(fixture, MESSAGE_LEAVE, 0, NULL);
    assert_int_equal(leave.body.leave.request, 0);
    assert_int_equal(leave.body.leave.incarnation, FIXTURE_INCARNATION);
    assert_true(fixture_equals(leave.body.leave.name, "n11"));
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS); /* lost? again */
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_LEAVE), 1);
    tell_without_it(fixture);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    assert_stops(fixture, 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_JOIN), 0); /* it stays out */
}

static void a_node_without_a_role_stops_at_once(void **state)
{
    struct fixture *fixture = *state;
    start_and_load(fixture, 0, 0);
    fixture_happens(fixture, EVENT_LEAVE, 0);
    assert_stops(fixture, 0);
}

static void an_idle_primary_stops_at_once(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    fixture_store_all(fixture); /* that it is a primary's */
    fixture_happens(fixture, EVENT_LEAVE, 0);
    assert_stops(fixture, 0);
}

static void leaving_ends_when_nobody_answers(void **state)
{
    struct fixture *fixture = *state;
    uint64_t begun_ms;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    begun_ms = fixture->now_ms;
    fixture_happens(fixture, EVENT_LEAVE, 0);
    while (fixture_effects_len(fixture, EFFECT_STOP) == 0 && fixture->now_ms < begun_ms + 20000) {
        fixture_happens(fixture, EVENT_TICK, node_wake_ms(fixture->node) - fixture->now_ms);
    }
    assert_stops(fixture, 0);
    assert_int_equal(fixture->now_ms, begun_ms + 5 * FIXTURE_OPERATION_MS);
}

static void the_arbiter_may_tell_it_to_leave(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    struct message order = fixture_message(MESSAGE_LEAVE, 2, 1);
    order.body.leave.name = fixture_text("n12");
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &order); /* another's name */
    assert_int_equal(sends(fixture), 0);
    order.body.leave.name = fixture_text("n11");
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &order);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_LEAVE), 1);
    tell_without_it(fixture);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    assert_stops(fixture, 0);
}

/* Anybody else than the arbiter cannot: on another link it is a message for an arbiter. */
static void nobody_else_may_tell_it_to_leave(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    struct message order = fixture_message(MESSAGE_LEAVE, 2, 22);
    order.body.leave.name = fixture_text("n11");
    fixture_deliver(fixture, 77, &order);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_LEAVE), 0);
    assert_int_equal(fixture_counter(fixture, "messages_unexpected"), 1);
}

static void an_insert(struct fixture *fixture)
{
    struct message insert = fixture_message(MESSAGE_INSERT, 0, 900);
    insert.cluster = 0;
    insert.body.operation.request = 7;
    insert.body.operation.key = fixture_text("key");
    insert.body.operation.value = fixture_text("value");
    fixture_deliver(fixture, FIXTURE_CLIENT_LINK, &insert);
}

/* Its replica was to leave, and the process to go on as the arbiter alone; then the other one went.
 */
static void a_primary_that_is_left_alone_stays(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture->config.is_arbiter = true;
    fixture_become_primary(fixture);
    fixture_view(&view, 2, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, 22, 2, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    struct message order = fixture_message(MESSAGE_LEAVE, 2, 1);
    order.body.leave.name = fixture_text("n11");
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &order);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_LEAVE), 1);
    fixture_view(&view, 3, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    an_insert(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_REJECTED), 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_LEAVE), 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_joins_when_its_content_is_loaded),
        TEST(it_asks_again_until_it_is_let_in),
        TEST(it_becomes_what_the_view_says),
        TEST(the_first_joiner_serves_at_once),
        TEST(an_answer_to_another_incarnation_is_not_for_it),
        TEST(a_rejection_for_the_moment_is_not_the_end),
        TEST(a_rejection_for_good_stops_with_4),
        TEST(a_rejection_by_another_cluster_stops_with_4),
        TEST(a_rejection_of_another_incarnation_is_ignored),
        TEST(a_late_rejection_does_not_stop_a_member),
        TEST(joining_gives_up_after_its_timeout),
        TEST(asked_to_wait_it_waits),
        TEST(a_copy_is_marked_and_stops),
        TEST(a_node_that_was_in_does_not_give_up),
        TEST(a_member_says_that_it_lives),
        TEST(an_old_view_or_the_same_changes_nothing),
        TEST(taken_out_it_joins_as_another_incarnation),
        TEST(a_primary_that_is_taken_out_stops_being_primary),
        TEST(an_arbiter_that_forgot_is_not_followed),
        TEST(a_view_as_old_as_the_data_is_fine),
        TEST(a_view_of_another_cluster_is_not_taken),
        TEST(a_malformed_view_is_counted),
        TEST(a_secondary_leaves_and_then_stops_with_0),
        TEST(a_node_without_a_role_stops_at_once),
        TEST(an_idle_primary_stops_at_once),
        TEST(a_primary_that_is_left_alone_stays),
        TEST(leaving_ends_when_nobody_answers),
        TEST(the_arbiter_may_tell_it_to_leave),
        TEST(nobody_else_may_tell_it_to_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

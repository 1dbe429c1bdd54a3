/*
 * Another primary: by election, after a power cut, by handover, by force; and what the arbiter does
 * when its registry or its address changes.
 */
#include "arbiter_bench.h"

#include <kvnode/status.h>
#include <string.h>

/* The primary is silent for long, the others are not. */
static void primary_goes_silent(struct bench *bench)
{
    fixture_advance(&bench->fixture, FIXTURE_REPLICA_MS);
    bench_beat(bench, 2, 10, false);
    bench_beat(bench, 3, 12, false);
}

static void assert_waits(struct bench *bench)
{
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOIN_REJECTED, 0, NULL);
    assert_int_equal(answer.body.join_rejected.reason, REJECT_NOT_READY);
    assert_int_equal(answer.body.join_rejected.retry, 1);
    assert_int_equal(bench_writes(bench), 0);
}

/* How many lines for the log contain it. */
static uint32_t notes_with(const struct bench *bench, const char *words)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < fixture_effects_len(&bench->fixture, EFFECT_NOTE); i++) {
        const struct effect *note = fixture_effect(&bench->fixture, EFFECT_NOTE, i);
        len += strstr(note->as.note.text, words) != NULL ? 1u : 0u;
    }
    return len;
}

static void the_highest_position_is_elected(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    primary_goes_silent(bench);
    assert_int_equal(bench_writes(bench), 0); /* nobody asks */
    bench_beat(bench, 2, 10, true);
    assert_int_equal(bench_sends(bench), 0);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.number, 6);
    assert_int_equal(bench->arbiter->view.primary, 3);
    assert_int_equal(bench->arbiter->view.members_len, 2);
    assert_int_equal(bench_member(bench, 2)->joined, 6);
    assert_int_equal(bench_member(bench, 3)->joined, 6);
    assert_int_equal(bench->fixture.context.counters[COUNTER_elections], 1);
}

static void a_primary_that_is_there_is_kept(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    bench_beat(bench, 2, 10, true);
    assert_int_equal(bench_writes(bench), 0);
    uint64_t wake_ms = arbiter_wake_ms(bench->arbiter);
    assert_int_equal(wake_ms, bench->fixture.now_ms + FIXTURE_REPLICA_MS);
    fixture_advance(&bench->fixture, FIXTURE_REPLICA_MS - 1);
    bench_beat(bench, 2, 10, true);
    assert_int_equal(bench_writes(bench), 0);
    fixture_advance(&bench->fixture, 1);
    arbiter_tick(bench->arbiter);
    assert_int_equal(bench_writes(bench), 1);
}

static void a_late_ask_of_an_older_view_counts_nothing(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    primary_goes_silent(bench);
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 4, 2);
    beat.body.heartbeat.incarnation = 100;
    beat.body.heartbeat.asks = 1;
    bench_deliver(bench, 2, &beat);
    assert_int_equal(bench_writes(bench), 0);
}

static void a_candidate_is_never_elected(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_grow_old(bench);
    bench_beat(bench, 3, 99, true);
    assert_int_equal(bench_writes(bench), 0);
    bench_beat(bench, 2, 10, true);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
    assert_int_equal(bench_member(bench, 3)->state, MEMBER_CANDIDATE);
}

/* Its Join says that the process before is over: nobody has to ask. */
static void a_primary_that_comes_back_is_replaced_by_a_live_one(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    bench_return(bench, "n1", 1, 0); /* its store is empty */
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
    assert_null(view_find(&bench->arbiter->view, 1));
    bench_return(bench, "n1", 1, 0);
    bench_written(bench);
    assert_int_equal(bench_member(bench, 1)->state, MEMBER_CANDIDATE);
}

static void after_a_power_cut_all_are_waited_for(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    bench_grow_old(bench);
    bench_return(bench, "n2", 2, 10);
    assert_waits(bench);
    bench_return(bench, "n1", 1, 11);
    assert_waits(bench);
    bench_return(bench, "n3", 3, 12);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 3);
    assert_int_equal(view_in_sync_len(&bench->arbiter->view), 3);
    assert_int_equal(bench_member(bench, 1)->starts, 2);
}

/* Node 2 repeats its Join until the wait is over. */
static void wait_with_node_2(struct bench *bench)
{
    bench_make_two_in_sync(bench);
    bench_grow_old(bench);
    bench_return(bench, "n2", 2, 10);
    assert_waits(bench);
    for (uint32_t ms = 0; ms < BENCH_RETURN_MS; ms += FIXTURE_RETRANSMIT_MS) {
        assert_int_equal(bench_writes(bench), 0);
        fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
        bench_return(bench, "n2", 2, 10);
    }
}

static void they_are_not_waited_for_for_ever(void **state)
{
    struct bench *bench = *state;
    wait_with_node_2(bench);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
    assert_int_equal(bench->arbiter->view.members_len, 1);
}

/* What was acknowledged may be in the primary's store alone: only an operator may do without. */
static void without_durable_acks_the_primary_is_waited_for(void **state)
{
    struct bench *bench = *state;
    struct message promote = fixture_message(MESSAGE_PROMOTE, 0, 900);
    promote.body.promote.request = 8;
    promote.body.promote.force = 1;
    promote.body.promote.name = fixture_text("n2");
    bench_make_two_in_sync(bench);
    bench->arbiter->view.ack = ACK_RECEIVED;
    bench_deliver(bench, 50, &promote);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_PRIMARY_THERE);
    bench_grow_old(bench);
    bench_return(bench, "n2", 2, 10);
    for (uint32_t ms = 0; ms < 3 * BENCH_RETURN_MS; ms += FIXTURE_RETRANSMIT_MS) {
        fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
        bench_return(bench, "n2", 2, 10);
        assert_waits(bench);
    }
    bench_deliver(bench, 50, &promote);
    assert_int_equal(notes_with(bench, "(known to be committed: -)"), 1);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
    assert_int_equal(bench->arbiter->view.members_len, 1);
    assert_int_equal(bench->arbiter->view.forced, 6);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
}

static void a_lost_store_of_the_only_member_in_sync_is_refused(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    bench_return(bench, "n1", 1, 0);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOIN_REJECTED, 0, NULL);
    assert_int_equal(answer.body.join_rejected.reason, REJECT_DATA_LOST);
    assert_int_equal(notes_with(bench, "waiting-for names=- operator=needed reason=data-lost:n1"),
                     1);
    bench_return(bench, "n1", 1, 10);
    bench_written(bench);
    assert_int_equal(bench_member(bench, 1)->incarnation, BENCH_NEXT_PROCESS);
}

/* What a member in sync has told as committed must be there. */
static void an_older_store_is_as_good_as_none(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 1, 1);
    beat.body.heartbeat.incarnation = 100;
    beat.body.heartbeat.committed_index = 10;
    bench_deliver(bench, 1, &beat);
    bench_return(bench, "n1", 1, 9);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOIN_REJECTED, 0, NULL);
    assert_int_equal(answer.body.join_rejected.reason, REJECT_DATA_LOST);
    bench_return(bench, "n1", 1, 10);
    assert_int_equal(bench_writes(bench), 1);
}

/* What is lost by force is told as far as it is known. */
static void a_forced_takeover_tells_what_was_committed(void **state)
{
    struct bench *bench = *state;
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 5, 1);
    struct message promote = fixture_message(MESSAGE_PROMOTE, 0, 900);
    bench_make_two_in_sync(bench);
    beat.body.heartbeat.incarnation = 100;
    beat.body.heartbeat.committed_index = 10;
    bench_deliver(bench, 1, &beat);
    bench_grow_old(bench);
    bench_return(bench, "n2", 2, 9);
    promote.body.promote.request = 8;
    promote.body.promote.force = 1;
    promote.body.promote.name = fixture_text("n2");
    bench_deliver(bench, 50, &promote);
    assert_int_equal(bench_writes(bench), 1);
    assert_int_equal(notes_with(bench, "after index 9 (known to be committed: 10)"), 1);
}

/* A secondary that does not ask hears the primary: by force there would be two. */
static void nothing_is_forced_while_a_secondary_hears_the_primary(void **state)
{
    struct bench *bench = *state;
    struct message promote = fixture_message(MESSAGE_PROMOTE, 0, 900);
    promote.body.promote.request = 8;
    promote.body.promote.force = 1;
    promote.body.promote.name = fixture_text("n2");
    bench_make_two_in_sync(bench);
    primary_goes_silent(bench);
    bench_deliver(bench, 50, &promote);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_PRIMARY_THERE);
    assert_int_equal(bench_writes(bench), 0);
}

/* A newcomer costs a view, and each one would give a silent primary more time. */
static void nobody_comes_in_while_the_primary_is_missed(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    primary_goes_silent(bench);
    bench_join(bench, "n9", 9, 100);
    assert_waits(bench);
}

/* An arbiter that has just started does not know yet who is there. */
static void a_young_arbiter_presumes_nobody_dead(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    fixture_advance(&bench->fixture, 0);
    uint8_t bytes[VIEW_BYTES_MAX];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    view_encode(&bench->arbiter->view, &writer);
    arbiter_destroy(bench->arbiter);
    bench->fixture.config.registry = bytes;
    bench->fixture.config.registry_len = writer.len;
    assert_int_equal(arbiter_create(&bench->fixture.context, &bench->arbiter), KV_OK);
    arbiter_start(bench->arbiter);
    bench_beat(bench, 2, 10, true);
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(arbiter_wake_ms(bench->arbiter),
                     bench->fixture.now_ms + 2 * FIXTURE_REPLICA_MS);
    fixture_advance(&bench->fixture, 2 * FIXTURE_REPLICA_MS);
    bench_beat(bench, 2, 10, true);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 2);
}

/* An order by kvctl, in both directions of Handover. */
static void a_handover_keeps_everybody(void **state)
{
    struct bench *bench = *state;
    struct message promote = fixture_message(MESSAGE_PROMOTE, 0, 900);
    promote.body.promote.request = 8;
    promote.body.promote.name = fixture_text("n3");
    bench_make_two_in_sync(bench);
    bench_deliver(bench, 50, &promote);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_HANDOVER), 1);
    fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
    arbiter_tick(bench->arbiter);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_HANDOVER), 1);
    bench_report(bench, MESSAGE_HANDOVER, 1, 5, 3);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.primary, 3);
    assert_int_equal(view_in_sync_len(&bench->arbiter->view), 3);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
    promote.body.promote.name = fixture_text("nobody");
    bench_deliver(bench, 50, &promote);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED), 1);
}

static void a_registry_that_somebody_else_wrote_is_adopted(void **state)
{
    struct bench *bench = *state;
    bench_make_two_in_sync(bench);
    struct view other = bench->arbiter->view;
    other.number = 9;
    bench_report(bench, MESSAGE_SUSPECT, 1, 5, 3);
    const struct effect *write = fixture_effect(&bench->fixture, EFFECT_REGISTRY_WRITE, 0);
    assert_int_equal(write->as.registry_write.expected, 5);
    uint8_t bytes[VIEW_BYTES_MAX];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    view_encode(&other, &writer);
    fixture_advance(&bench->fixture, 0);
    arbiter_on_registry_changed(bench->arbiter, bytes, writer.len);
    assert_int_equal(bench->arbiter->view.number, 9);
    assert_int_equal(bench->fixture.context.counters[COUNTER_registry_conflicts], 1);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 3);
    arbiter_on_written(bench->arbiter, 6); /* of the proposal that was dropped */
    assert_int_equal(bench->arbiter->view.number, 9);
    bench_report(bench, MESSAGE_SUSPECT, 1, 9, 3);
    write = fixture_effect(&bench->fixture, EFFECT_REGISTRY_WRITE, 0);
    assert_int_equal(write->as.registry_write.expected, 9);
}

/* Its state was lost while its members live: it does not begin a second cluster beside them. */
static void no_first_view_is_made_beside_another_cluster(void **state)
{
    struct bench *bench = *state;
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 4, 2);
    beat.cluster = 0xabc;
    bench_deliver(bench, 2, &beat);
    assert_int_equal(
        notes_with(bench, "members-of-another-cluster cluster=0000000000000abc advice="), 1);
    bench_deliver(bench, 2, &beat);
    assert_int_equal(bench->fixture.effects.len, 0); /* told once */
    beat.cluster = 0xdef;
    bench_deliver(bench, 3, &beat);
    assert_int_equal(notes_with(bench, "cluster=0000000000000def"), 1); /* for each */
    fixture_advance(&bench->fixture, 4 * FIXTURE_REPLICA_MS - 1);
    bench_join(bench, "n9", 9, 100);
    assert_waits(bench);
    fixture_advance(&bench->fixture, 1);
    bench_joined(bench, "n9", 9, 100);
    assert_int_equal(bench->arbiter->view.primary, 9);
}

static void an_arbiter_that_moved_calls_its_members(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_destroy(bench->arbiter);
    bench->fixture.config.registry = bench->registry;
    bench->fixture.config.registry_len = bench->registry_len;
    bench->fixture.config.uris[0] = "test://elsewhere";
    assert_int_equal(arbiter_create(&bench->fixture.context, &bench->arbiter), KV_OK);
    fixture_advance(&bench->fixture, 0);
    arbiter_start(bench->arbiter);
    bench_written(bench);
    assert_string_equal(bench->arbiter->view.arbiter_uris[0], "test://elsewhere");
    arbiter_tick(bench->arbiter);
    assert_int_equal(fixture_effects_len(&bench->fixture, EFFECT_OPEN_LINK), 3);
    uint64_t link = fixture_effect(&bench->fixture, EFFECT_OPEN_LINK, 0)->as.open_link.link;
    fixture_advance(&bench->fixture, 0);
    arbiter_on_link_up(bench->arbiter, link);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 1);
    for (uint64_t node = 1; node <= 3; node++) {
        bench_beat(bench, node, 1, false);
    }
    fixture_advance(&bench->fixture, FIXTURE_REPLICA_MS);
    arbiter_tick(bench->arbiter);
    assert_int_equal(fixture_effects_len(&bench->fixture, EFFECT_CLOSE_LINK), 3);
    assert_true(arbiter_wake_ms(bench->arbiter) == UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_highest_position_is_elected),
        TEST(a_primary_that_is_there_is_kept),
        TEST(a_late_ask_of_an_older_view_counts_nothing),
        TEST(a_candidate_is_never_elected),
        TEST(a_primary_that_comes_back_is_replaced_by_a_live_one),
        TEST(after_a_power_cut_all_are_waited_for),
        TEST(they_are_not_waited_for_for_ever),
        TEST(without_durable_acks_the_primary_is_waited_for),
        TEST(a_lost_store_of_the_only_member_in_sync_is_refused),
        TEST(an_older_store_is_as_good_as_none),
        TEST(a_forced_takeover_tells_what_was_committed),
        TEST(nothing_is_forced_while_a_secondary_hears_the_primary),
        TEST(nobody_comes_in_while_the_primary_is_missed),
        TEST(a_young_arbiter_presumes_nobody_dead),
        TEST(a_handover_keeps_everybody),
        TEST(a_registry_that_somebody_else_wrote_is_adopted),
        TEST(no_first_view_is_made_beside_another_cluster),
        TEST(an_arbiter_that_moved_calls_its_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

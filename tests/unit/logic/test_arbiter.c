/*
 * The arbiter: each row of its table for Join, one change at a time, nothing told before it is
 * durable, compare-and-set for what the primary reports.
 */
#include "arbiter_bench.h"

#include "base/alloc.h"

#include <kvnode/status.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE_MS FIXTURE_REPLICA_MS

static void assert_join_rejected(struct bench *bench, uint8_t reason, bool retry)
{
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOIN_REJECTED, 0, NULL);
    assert_int_equal(answer.body.join_rejected.reason, reason);
    assert_int_equal(answer.body.join_rejected.retry, retry);
    assert_true(answer.body.join_rejected.text.len > 0);
    assert_int_equal(bench_writes(bench), 0);
}

/* --- Join --- */

static void the_first_joiner_is_primary(void **state)
{
    struct bench *bench = *state;
    bench_join(bench, "n1", 1, 100);
    assert_int_equal(bench_writes(bench), 1);
    assert_int_equal(bench_sends(bench), 0); /* not before it is durable */
    assert_int_equal(bench->arbiter->view.number, 0);
    bench_written(bench);
    uint64_t link;
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOINED_PRIMARY, 0, &link);
    struct view view;
    assert_int_equal(link, 1);
    assert_int_equal(bench_sends(bench), 1);
    assert_int_equal(answer.cluster, FIXTURE_CLUSTER);
    assert_int_equal(answer.view, 1);
    assert_int_equal(answer.body.joined.incarnation, 100);
    assert_int_equal(view_decode(answer.body.joined.view.at, answer.body.joined.view.len, &view),
                     KV_OK);
    assert_int_equal(view.number, 1);
    assert_int_equal(view.primary, 1);
    assert_int_equal(view.cluster, FIXTURE_CLUSTER);
    assert_int_equal(view.members_len, 1);
    assert_int_equal(view.members[0].state, MEMBER_IN_SYNC);
    assert_int_equal(view.members[0].joined, 1);
    assert_string_equal(view.members[0].uris[0], "test://somewhere");
}

static void the_second_is_a_candidate(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    bench_joined(bench, "n2", 2, 100);
    uint64_t link;
    fixture_sent(&bench->fixture, MESSAGE_JOINED_SECONDARY, 0, &link);
    assert_int_equal(link, 2);
    fixture_sent(&bench->fixture, MESSAGE_REPLICAS, 0, &link);
    assert_int_equal(link, 1); /* the primary learns of it too */
    assert_int_equal(bench_member(bench, 2)->state, MEMBER_CANDIDATE);
    assert_int_equal(bench_member(bench, 2)->joined, 2);
    assert_int_equal(bench->arbiter->view.primary, 1);
}

static void the_same_incarnation_gets_the_same_answer(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_join(bench, "n2", 2, 100);
    assert_int_equal(bench_writes(bench), 0);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOINED_SECONDARY, 0, NULL);
    assert_int_equal(answer.body.joined.incarnation, 100);
    assert_int_equal(bench->arbiter->view.number, 4);
    assert_int_equal(bench_member(bench, 2)->state, MEMBER_IN_SYNC);
    bench_join(bench, "n1", 1, 100);
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_JOINED_PRIMARY), 1);
}

static void a_new_incarnation_begins_anew_as_candidate(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_joined(bench, "n3", 3, 101);
    assert_int_equal(bench->arbiter->view.number, 5);
    assert_int_equal(bench_member(bench, 3)->state, MEMBER_CANDIDATE);
    assert_int_equal(bench_member(bench, 3)->joined, 5);
    assert_int_equal(bench_member(bench, 3)->incarnation, 101);
    assert_int_equal(bench->arbiter->view.members_len, 3);
}

/* The primary's lease may rest on it: it lets go of it first. */
static void a_member_in_sync_comes_anew_with_the_primarys_word(void **state)
{
    struct bench *bench = *state;
    uint64_t link;
    bench_make_three(bench);
    bench_join(bench, "n2", 2, 101);
    assert_join_rejected(bench, REJECT_NOT_READY, true);
    struct message order = fixture_sent(&bench->fixture, MESSAGE_SUSPECT, 0, &link);
    assert_int_equal(link, 1);
    assert_int_equal(order.body.member.node, 2);
    assert_int_equal(order.body.member.joined, bench_member(bench, 2)->joined);
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2);
    bench_written(bench);
    assert_null(view_find(&bench->arbiter->view, 2));
    bench_joined(bench, "n2", 2, 101);
    assert_int_equal(bench_member(bench, 2)->state, MEMBER_CANDIDATE);
}

static void a_join_may_change_name_and_addresses(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_joined(bench, "renamed", 3, 101);
    assert_string_equal(bench_member(bench, 3)->name, "renamed");
    assert_int_equal(bench->arbiter->view.members_len, 3);
}

static void the_name_of_the_primary_is_never_given_away(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    fixture_advance(&bench->fixture, 100 * ALIVE_MS); /* however long it is silent */
    bench_join(bench, "n1", 9, 100);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, false);
    assert_int_equal(bench->arbiter->view.members_len, 1);
}

/* It says what it waits for, as time may help. */
static void the_name_of_the_primary_is_waited_for(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_join(bench, "n1", 9, 100);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_JOIN_REJECTED, 0, NULL);
    struct bytes_view text = answer.body.join_rejected.text;
    const char *end = "; waits until another node is the primary";
    assert_true(text.len > strlen(end));
    assert_memory_equal(text.at + text.len - strlen(end), end, strlen(end));
}

static void the_name_of_a_member_that_is_alive_is_taken(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    fixture_advance(&bench->fixture, ALIVE_MS - 1);
    bench_join(bench, "n2", 9, 100);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
}

static void the_name_of_a_silent_candidate_is_given_to_the_newcomer(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    fixture_advance(&bench->fixture, ALIVE_MS);
    bench_join(bench, "n3", 9, 100);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_JOIN_REJECTED), 0);
    bench_written(bench); /* first the old one goes ... */
    assert_null(view_find(&bench->arbiter->view, 3));
    bench_beat(bench, 1, 1, false);
    bench_joined(bench, "n3", 9, 100); /* ... and the newcomer, who asks again, comes in */
    assert_int_equal(bench_member(bench, 9)->state, MEMBER_CANDIDATE);
}

static void the_name_of_a_member_in_sync_is_given_with_the_primarys_word(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_on_link_down(bench->arbiter, 2); /* its link is down: it is silent */
    bench_join(bench, "n2", 9, 100);
    assert_join_rejected(bench, REJECT_NOT_READY, true);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_SUSPECT), 1);
}

/* Killed and started again, on a transport that does not notice the end of the old link: it is let
 * in as soon as its silence has lasted, and what is told of the old link later changes nothing. */
static void a_restart_waits_for_silence_at_most(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    struct message join = bench_join_of("n3", 3, BENCH_NEXT_PROCESS);
    join.body.join.starts = 2;
    fixture_advance(&bench->fixture, FIXTURE_REPLICA_MS - 1);
    bench_deliver(bench, 53, &join); /* a new link; its old one, 3, is not known to be down */
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    fixture_advance(&bench->fixture, 1);
    bench_deliver(bench, 53, &join);
    bench_written(bench);
    assert_int_equal(bench_member(bench, 3)->incarnation, BENCH_NEXT_PROCESS);
    arbiter_on_link_down(bench->arbiter, 3);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 5, 3);
    bench_written(bench);
    uint64_t link;
    fixture_sent(&bench->fixture, MESSAGE_REPLICAS, 2, &link);
    assert_int_equal(link, 53); /* it is told at its new one */
}

/* A Join that was on its way for long, from a process that has come as a later incarnation since.
 */
static void a_late_join_does_not_put_its_own_process_out(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_joined(bench, "n3", 3, 101);
    bench_join(bench, "n3", 3, 100);
    assert_int_equal(bench->fixture.effects.len, 0);
    assert_int_equal(bench_member(bench, 3)->incarnation, 101);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_unexpected], 1);
}

/* The folder counts its starts: a copy of it is behind, or has the same count in another process.
 */
static void a_copy_of_a_data_folder_is_refused(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    struct message join = bench_join_of("n3", 3, BENCH_NEXT_PROCESS);
    bench_deliver(bench, 53, &join);
    assert_join_rejected(bench, REJECT_COPY, false);
    join.body.join.starts = 0;
    bench_deliver(bench, 53, &join);
    assert_join_rejected(bench, REJECT_COPY, false);
    arbiter_on_link_down(bench->arbiter, 3);
    join.body.join.starts = 2;
    bench_deliver(bench, 53, &join);
    bench_written(bench);
    assert_int_equal(bench_member(bench, 3)->starts, 2);
}

/* The Join of a process with node 1's folder, where no other process is heard. */
static void ask_as_node_1(struct bench *bench, uint64_t link, uint64_t process, uint64_t index)
{
    struct message join = bench_join_of("n1", 1, process << INCARNATION_JOIN_BITS);
    join.cluster = FIXTURE_CLUSTER;
    join.body.join.starts = 2;
    join.body.join.durable.view = 1;
    join.body.join.durable.index = index;
    bench_deliver(bench, link, &join);
}

static void assert_node_1_is(struct bench *bench, uint64_t process)
{
    bench_written(bench);
    assert_int_equal(bench_member(bench, 1)->incarnation, process << INCARNATION_JOIN_BITS);
}

/* Both are heard for so long that the original's words cannot be those of a process that ended. */
static void a_copy_does_not_lie_in_wait(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    for (uint32_t ms = 0; ms < 2 * ALIVE_MS; ms += FIXTURE_RETRANSMIT_MS) {
        bench_heartbeat(bench, 1, 1, 100);
        ask_as_node_1(bench, 53, 8, 5);
        assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
        fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS);
    }
    ask_as_node_1(bench, 53, 8, 5); /* the original was not heard since */
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    bench_heartbeat(bench, 1, 1, 100);
    ask_as_node_1(bench, 53, 8, 5);
    assert_join_rejected(bench, REJECT_COPY, false);
    arbiter_on_link_down(bench->arbiter, 1);
    ask_as_node_1(bench, 54, 9, 10); /* the original, started again */
    assert_node_1_is(bench, 9);
}

/* The network stood still: what a process said before it ended may arrive after that. */
static void late_words_do_not_make_a_restart_a_copy(void **state)
{
    struct bench *bench = *state;
    bench_joined(bench, "n1", 1, 100);
    ask_as_node_1(bench, 54, 9, 10);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    fixture_advance(&bench->fixture, 3 * ALIVE_MS);
    bench_heartbeat(bench, 1, 1, 100);
    ask_as_node_1(bench, 54, 9, 10);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    fixture_advance(&bench->fixture, ALIVE_MS);
    ask_as_node_1(bench, 54, 9, 10);
    assert_node_1_is(bench, 9);
}

/* It has as many starts as the original that comes after it. */
static void a_copy_that_was_refused_leaves_nothing_behind(void **state)
{
    struct bench *bench = *state;
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 1, 1);
    bench_joined(bench, "n1", 1, 100);
    beat.body.heartbeat.incarnation = 100;
    beat.body.heartbeat.committed_index = 10;
    bench_deliver(bench, 1, &beat);
    arbiter_on_link_down(bench->arbiter, 1);
    ask_as_node_1(bench, 53, 8, 5);
    assert_join_rejected(bench, REJECT_DATA_LOST, false);
    ask_as_node_1(bench, 54, 9, 10);
    assert_node_1_is(bench, 9);
}

/* Of two that ask either may be the copy: no folder is marked as one. */
static void a_process_that_only_asks_is_no_proof(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench); /* node 2 is in sync, and waited for */
    for (uint64_t node = 1; node <= 3; node++) {
        arbiter_on_link_down(bench->arbiter, node);
    }
    ask_as_node_1(bench, 53, 8, 5);
    assert_join_rejected(bench, REJECT_NOT_READY, true);
    ask_as_node_1(bench, 54, 9, 10);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true);
    arbiter_on_link_down(bench->arbiter, 53);
    ask_as_node_1(bench, 54, 9, 10);
    assert_join_rejected(bench, REJECT_NOT_READY, true);
    bench_return(bench, "n2", 2, 10);
    assert_node_1_is(bench, 9);
}

static void another_cluster_is_refused_for_good(void **state)
{
    struct bench *bench = *state;
    struct message message = bench_join_of("n1", 1, 100);
    message.cluster = FIXTURE_CLUSTER + 1;
    bench_deliver(bench, 1, &message);
    assert_join_rejected(bench, REJECT_WRONG_CLUSTER, false);
    message.cluster = FIXTURE_CLUSTER;
    bench_deliver(bench, 1, &message);
    assert_int_equal(bench_writes(bench), 1);
}

static void a_full_view_refuses_for_the_moment(void **state)
{
    struct bench *bench = *state;
    char name[8];
    for (uint64_t node = 1; node <= MEMBERS_MAX; node++) {
        snprintf(name, sizeof(name), "n%u", (unsigned)node);
        bench_joined(bench, name, node, 100);
    }
    bench_join(bench, "one-more", 999, 100);
    assert_join_rejected(bench, REJECT_OVERLOADED, true);
    /* A member may begin anew all the same. */
    bench_joined(bench, "n64", 64, 101);
    assert_int_equal(bench_member(bench, 64)->incarnation, 101);
    assert_int_equal(bench->arbiter->view.members_len, MEMBERS_MAX);
}

/* 0 is no node: a member of that number would make the registry unreadable. It is refused where
 * messages are decoded, so this goes through a whole node. */
static void a_join_of_node_0_changes_nothing(void **state)
{
    struct bench *bench = *state;
    struct message message = bench_join_of("n0", 0, 100);
    fixture_start(&bench->fixture);
    fixture_deliver(&bench->fixture, 5, &message);
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(fixture_counter(&bench->fixture, "messages_malformed"), 1);
}

/* --- durable before told --- */

static void one_change_at_a_time(void **state)
{
    struct bench *bench = *state;
    bench_join(bench, "n1", 1, 100);
    struct message second = bench_join_of("n2", 2, 100);
    arbiter_on_message(bench->arbiter, 2, &second); /* the first is still being written */
    assert_int_equal(bench_writes(bench), 1);
    assert_int_equal(bench_sends(bench), 0);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.members_len, 1);
    bench_joined(bench, "n2", 2, 100); /* it asks again */
    assert_int_equal(bench->arbiter->view.members_len, 2);
}

static void a_failed_write_is_tried_again_and_tells_nobody(void **state)
{
    struct bench *bench = *state;
    bench_join(bench, "n1", 1, 100);
    fixture_advance(&bench->fixture, 0);
    arbiter_on_write_failed(bench->arbiter, 1);
    assert_int_equal(bench->fixture.effects.len, 0);
    assert_int_equal(arbiter_wake_ms(bench->arbiter),
                     bench->fixture.now_ms + FIXTURE_RETRANSMIT_MS);
    fixture_advance(&bench->fixture, FIXTURE_RETRANSMIT_MS - 1);
    arbiter_tick(bench->arbiter);
    assert_int_equal(bench_writes(bench), 0);
    fixture_advance(&bench->fixture, 1);
    arbiter_tick(bench->arbiter);
    assert_int_equal(bench_writes(bench), 1);
    assert_int_equal(bench_sends(bench), 0);
    assert_int_equal(bench->arbiter->view.number, 0);
    assert_true(arbiter_wake_ms(bench->arbiter) == UINT64_MAX);
    bench_written(bench);
    assert_int_equal(bench->arbiter->view.number, 1);
    assert_int_equal(bench_sends(bench), 1);
}

static void word_of_another_write_is_ignored(void **state)
{
    struct bench *bench = *state;
    arbiter_on_written(bench->arbiter, 0);
    arbiter_on_write_failed(bench->arbiter, 0);
    bench_join(bench, "n1", 1, 100);
    fixture_advance(&bench->fixture, 0);
    arbiter_on_written(bench->arbiter, 2);
    arbiter_on_write_failed(bench->arbiter, 2);
    assert_int_equal(bench->arbiter->view.number, 0);
    assert_true(arbiter_wake_ms(bench->arbiter) == UINT64_MAX);
    assert_int_equal(bench->fixture.effects.len, 0);
}

static void it_goes_on_from_what_is_durable(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_destroy(bench->arbiter);
    bench->arbiter = NULL;
    bench->fixture.config.registry = bench->registry;
    bench->fixture.config.registry_len = bench->registry_len;
    bench->fixture.config.new_cluster = 999; /* not used */
    assert_int_equal(arbiter_create(&bench->fixture.context, &bench->arbiter), KV_OK);
    assert_int_equal(bench->arbiter->view.number, 4);
    assert_int_equal(bench->arbiter->view.primary, 1);
    assert_int_equal(bench->arbiter->view.cluster, FIXTURE_CLUSTER);
    assert_int_equal(bench_member(bench, 2)->state, MEMBER_IN_SYNC);
    /* Its members notice nothing: a heartbeat of this view needs no answer. */
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 4, 2);
    beat.body.heartbeat.incarnation = 100;
    bench_deliver(bench, 2, &beat);
    assert_int_equal(bench->fixture.effects.len, 0);
}

static void a_damaged_registry_is_refused(void **state)
{
    struct bench *bench = *state;
    struct arbiter *arbiter = NULL;
    bench_make_three(bench);
    bench->fixture.config.registry = bench->registry;
    for (size_t len = 1; len < bench->registry_len; len++) {
        bench->fixture.config.registry_len = len;
        assert_int_equal(arbiter_create(&bench->fixture.context, &arbiter), KV_E_CORRUPT);
        assert_null(arbiter);
    }
}

/* --- what the primary reports --- */

static void caught_up_makes_a_candidate_count(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 4, 3);
    assert_int_equal(bench_sends(bench), 0);
    bench_written(bench);
    assert_int_equal(bench_member(bench, 3)->state, MEMBER_IN_SYNC);
    assert_int_equal(bench_member(bench, 3)->joined, 4); /* the same session */
    assert_int_equal(bench->arbiter->view.number, 5);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 5, 3); /* once more: nothing new */
    assert_int_equal(bench_writes(bench), 0);
}

static void suspect_takes_a_member_out(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 2);
    bench_written(bench);
    assert_null(view_find(&bench->arbiter->view, 2));
    /* It learns of that as well, and joins again. */
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 3);
}

static void a_report_of_another_view_changes_nothing(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_report(bench, MESSAGE_SUSPECT, 1, 3, 2);
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 1); /* it gets the view */
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 5, 3);
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_old_view], 2);
}

static void a_report_of_another_session_changes_nothing(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    struct message message = fixture_message(MESSAGE_CAUGHT_UP, 4, 1);
    message.body.member.node = 3;
    message.body.member.joined = 3;
    bench_deliver(bench, 1, &message);
    assert_int_equal(bench->fixture.effects.len, 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_unexpected], 1);
}

static void only_the_primary_reports_and_not_itself(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_report(bench, MESSAGE_SUSPECT, 2, 4, 3);
    bench_report(bench, MESSAGE_SUSPECT, 99, 4, 3);
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 1);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 4, 1);
    bench_report(bench, MESSAGE_SUSPECT, 1, 4, 98); /* no member */
    assert_int_equal(bench_writes(bench), 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_unexpected], 5);
}

/* --- heartbeats --- */

static void a_heartbeat_of_the_current_view_is_silent(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_heartbeat(bench, 2, 4, 100);
    assert_int_equal(bench->fixture.effects.len, 0);
}

static void a_heartbeat_that_is_behind_gets_the_view(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_heartbeat(bench, 2, 3, 100);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_REPLICAS), 1);
    bench_heartbeat(bench, 3, 3,
                    100); /* it joined with this view: that is the answer it waits for */
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_JOINED_SECONDARY), 1);
    bench_heartbeat(bench, 2, 4, 99); /* a process that is over */
    assert_int_equal(bench_sends(bench), 1);
}

static void a_heartbeat_of_a_stranger_gets_the_view(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    bench_heartbeat(bench, 99, 4, 100);
    uint64_t link;
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_REPLICAS, 0, &link);
    struct view view;
    assert_int_equal(link, 99);
    assert_int_equal(
        view_decode(answer.body.replicas.view.at, answer.body.replicas.view.len, &view), KV_OK);
    assert_null(view_find(&view, 99));
    assert_int_equal(bench_writes(bench), 0);
}

/* However many strangers come by, the members stay known. */
static void strangers_do_not_push_members_out(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    for (uint64_t node = 1000; node < 1000 + 3 * ARBITER_PEERS_MAX; node++) {
        fixture_advance(&bench->fixture, 1);
        bench_heartbeat(bench, 1, 4, 100);
        bench_heartbeat(bench, 2, 4, 100);
        bench_heartbeat(bench, 3, 4, 100);
        bench_heartbeat(bench, node, 0, 1);
    }
    assert_int_equal(bench->arbiter->peers.len, ARBITER_PEERS_MAX);
    bench_join(bench, "n2", 9, 100);
    assert_join_rejected(bench, REJECT_NAME_IN_USE, true); /* it is alive */
}

/* A heartbeat of the process before, late, on its old link: the new one is still told at its own.
 */
static void a_late_heartbeat_does_not_lead_astray(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    arbiter_on_link_down(bench->arbiter, 3);
    struct message join = bench_join_of("n3", 3, BENCH_NEXT_PROCESS);
    join.body.join.starts = 2;
    bench_deliver(bench, 53, &join);
    bench_written(bench);
    bench_heartbeat(bench, 3, 4, 100); /* on link 3; it is told that it is over */
    uint64_t link;
    fixture_sent(&bench->fixture, MESSAGE_JOINED_SECONDARY, 0, &link);
    assert_int_equal(link, 3);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 5, 3);
    bench_written(bench);
    fixture_sent(&bench->fixture, MESSAGE_REPLICAS, 2, &link);
    assert_int_equal(link, 53);
}

static void another_cluster_is_ignored_and_counted(void **state)
{
    struct bench *bench = *state;
    bench_make_three(bench);
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 3, 2);
    beat.cluster = FIXTURE_CLUSTER + 1;
    bench_deliver(bench, 2, &beat);
    assert_int_equal(bench->fixture.effects.len, 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_messages_foreign_cluster], 1);
}

static void locate_answers_with_the_view(void **state)
{
    struct bench *bench = *state;
    struct message locate = fixture_message(MESSAGE_LOCATE, 0, 900);
    struct view view;
    locate.cluster = 0;
    locate.body.request.request = 8;
    bench_deliver(bench, 50, &locate);
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_LOCATED, 0, NULL);
    assert_int_equal(view_decode(answer.body.located.view.at, answer.body.located.view.len, &view),
                     KV_OK);
    assert_int_equal(view.number, 0); /* none yet */
    bench_make_three(bench);
    bench_deliver(bench, 50, &locate);
    answer = fixture_sent(&bench->fixture, MESSAGE_LOCATED, 0, NULL);
    assert_int_equal(answer.body.located.request, 8);
    assert_int_equal(view_decode(answer.body.located.view.at, answer.body.located.view.len, &view),
                     KV_OK);
    assert_int_equal(view.number, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_joiner_is_primary),
        TEST(the_second_is_a_candidate),
        TEST(the_same_incarnation_gets_the_same_answer),
        TEST(a_new_incarnation_begins_anew_as_candidate),
        TEST(a_member_in_sync_comes_anew_with_the_primarys_word),
        TEST(a_join_may_change_name_and_addresses),
        TEST(the_name_of_the_primary_is_never_given_away),
        TEST(the_name_of_the_primary_is_waited_for),
        TEST(the_name_of_a_member_that_is_alive_is_taken),
        TEST(the_name_of_a_silent_candidate_is_given_to_the_newcomer),
        TEST(the_name_of_a_member_in_sync_is_given_with_the_primarys_word),
        TEST(a_copy_of_a_data_folder_is_refused),
        TEST(a_copy_does_not_lie_in_wait),
        TEST(late_words_do_not_make_a_restart_a_copy),
        TEST(a_copy_that_was_refused_leaves_nothing_behind),
        TEST(a_process_that_only_asks_is_no_proof),
        TEST(a_restart_waits_for_silence_at_most),
        TEST(a_late_join_does_not_put_its_own_process_out),
        TEST(another_cluster_is_refused_for_good),
        TEST(a_full_view_refuses_for_the_moment),
        TEST(a_join_of_node_0_changes_nothing),
        TEST(one_change_at_a_time),
        TEST(a_failed_write_is_tried_again_and_tells_nobody),
        TEST(word_of_another_write_is_ignored),
        TEST(it_goes_on_from_what_is_durable),
        TEST(a_damaged_registry_is_refused),
        TEST(caught_up_makes_a_candidate_count),
        TEST(suspect_takes_a_member_out),
        TEST(a_report_of_another_view_changes_nothing),
        TEST(a_report_of_another_session_changes_nothing),
        TEST(only_the_primary_reports_and_not_itself),
        TEST(a_heartbeat_of_the_current_view_is_silent),
        TEST(a_heartbeat_that_is_behind_gets_the_view),
        TEST(a_heartbeat_of_a_stranger_gets_the_view),
        TEST(strangers_do_not_push_members_out),
        TEST(a_late_heartbeat_does_not_lead_astray),
        TEST(another_cluster_is_ignored_and_counted),
        TEST(locate_answers_with_the_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

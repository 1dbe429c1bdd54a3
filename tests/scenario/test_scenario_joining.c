/* Before there is a role, when the role changes, and on the way out. */
#include "story.h"

static enum node_role role(const struct story *s)
{
    struct node_state state;
    node_observe(story_node(s), &state);
    return (enum node_role)state.role;
}

/* --- joining --- */

/* C-001, C-003, C-099: the node joins by itself, once, when its store is open. */
static void joins_by_itself(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_run_ms(s, 300);
    expect_quiet(s, ARBITER); /* not before it knows what its store has */
    story_loaded(s);
    expect_join(s);
    expect_quiet(s, ARBITER);
    story_joined_primary(s);
    story_primary_marked(s);
    assert_int_equal(role(s), ROLE_PRIMARY);
    story_run_ms(s, 3000);
    expect_quiet(s, ARBITER);
    story_end(s);
}

/* The same for one that becomes a secondary. */
static void joins_as_secondary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_joined_secondary(s);
    assert_int_equal(role(s), ROLE_CANDIDATE);
    story_run_ms(s, 3000);
    expect_quiet(s, ARBITER);
    expect_quiet(s, PRIMARY);
    story_end(s);
}

/* C-100: while nobody answers it asks about ten times a second, no more and no less. */
static void join_is_repeated(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    uint64_t begun_ms = story_now_ms(s);
    story_run_ms(s, 2000);
    assert_in_range(story_take_count(s, ARBITER, MESSAGE_JOIN, begun_ms), 15, 25);
    story_joined_primary(s);
    story_primary_marked(s);
    story_run_ms(s, 1);
    uint64_t joined_ms = story_now_ms(s);
    story_run_ms(s, 2000);
    assert_int_equal(story_take_count(s, ARBITER, MESSAGE_JOIN, joined_ms), 0);
    story_end(s);
}

/* C-099: a store that fails is no reason to join again. */
static void no_second_join_after_store_failure(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_write(s, "k=v");
    for (int i = 0; i < 20; i++) {
        story_persist_fails(s, "the plugin raised an error");
        story_run_ms(s, PERSIST_RETRY_MS_MAX);
    }
    expect_quiet(s, ARBITER);
    story_persisted(s);
    story_take_all(s, STORE);
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_end(s);
}

/* C-100: requests that come before there is a role are kept, and answered by it. */
static void requests_before_a_role(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    uint64_t get = story_get(s, CLIENT1, "k");
    uint64_t insert = story_insert(s, CLIENT2, "k", "v");
    story_loaded(s);
    uint64_t again = story_get(s, CLIENT1, "k");
    expect_quiet(s, CLIENT1);
    expect_quiet(s, CLIENT2);
    story_run_ms(s, 500);
    story_take_all(s, ARBITER);
    story_store_prompt(s, true);
    story_joined_primary(s);
    expect_result(s, CLIENT1, get, NULL);
    expect_result(s, CLIENT1, again, NULL);
    expect_ack(s, CLIENT2, insert);
    expect_get(s, CLIENT1, "k", "v");
    story_take_all(s, STORE);
    story_end(s);
}

/* The same at one that becomes a candidate: certainly not executed. */
static void requests_before_a_role_of_secondary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    uint64_t insert = story_insert(s, CLIENT1, "k", "v");
    uint64_t get = story_get(s, CLIENT2, "k");
    story_joined_secondary(s);
    expect_rejected(s, CLIENT1, insert, REJECT_NOT_PRIMARY);
    expect_rejected(s, CLIENT2, get, REJECT_NOT_READY);
    story_end(s);
}

/* And when no role comes in time: rejected at the deadline, once. */
static void no_role_in_time(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t insert = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 1500);
    assert_in_range(expect_rejected(s, CLIENT1, insert, REJECT_DEADLINE) - begun_ms,
                    STORY_FAILED_MS_MIN, STORY_FAILED_MS_MAX);
    story_joined_primary(s);
    story_primary_marked(s);
    expect_quiet(s, STORE); /* it is certainly not executed */
    expect_quiet(s, CLIENT1);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* The role comes after the deadline and before the tick that would tell: still not executed. */
static void role_after_the_deadline(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    uint64_t insert = story_insert(s, CLIENT1, "k", "v");
    story_stand_still_ms(s, 1500);
    story_joined_primary(s);
    story_primary_marked(s);
    expect_rejected(s, CLIENT1, insert, REJECT_DEADLINE);
    expect_quiet(s, STORE);
    story_run_ms(s, 500);
    expect_quiet(s, CLIENT1);
    story_end(s);
}

static void join_is_rejected_for_good(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_join_rejected(s, REJECT_WRONG_CLUSTER, false);
    expect_stop(s, 4);
    story_end(s);
}

static void join_is_rejected_for_now(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_join_rejected(s, REJECT_NAME_IN_USE, true);
    story_run_ms(s, 100);
    expect_join(s);
    story_joined_primary(s);
    story_primary_marked(s);
    story_join_rejected(s, REJECT_NAME_IN_USE, false); /* a late one: the node has joined */
    expect_quiet(s, HOST);
    assert_int_equal(role(s), ROLE_PRIMARY);
    story_end(s);
}

static void join_timeout(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->join_timeout_ms = 1000;
    story_create_node(s);
    story_loaded(s);
    story_run_ms(s, 950);
    expect_quiet(s, HOST);
    story_run_ms(s, 150);
    expect_stop(s, 4);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* --- roles --- */

/* C-102: an answer to the Join that comes again changes nothing; one that is meant for another
 * incarnation tells a view like any other, and flips no role. */
static void joined_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    story_joined_again(s, false, false);
    story_joined_again(s, true, false);
    expect_quiet(s, PRIMARY);
    story_view_unheard(s);
    story_joined_again(s, true, true);
    story_joined_again(s, false, true);
    assert_int_equal(role(s), ROLE_SECONDARY);
    expect_snapshot_ack(s, SEQ(0), SEQ(0)); /* in the new view */
    story_write(s, "k=v");
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_take_all(s, STORE);
    story_end(s);
}

/* C-102 at a primary. */
static void joined_again_as_primary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_joined_again(s, true, false);
    story_joined_again(s, false, false);
    story_joined_again(s, false, true);
    assert_int_equal(role(s), ROLE_PRIMARY);
    expect_snapshot(s, S1, SEQ(0), "k=v");
    expect_quiet(s, S1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_take_all(s, STORE);
    expect_well(s);
    story_end(s);
}

/* C-085: an update sent to a secondary: rejected; nothing is stored, forwarded or acknowledged. */
static void update_at_a_secondary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"), REJECT_NOT_PRIMARY);
    expect_rejected(s, CLIENT1, story_remove(s, CLIENT1, "k"), REJECT_NOT_PRIMARY);
    story_run_ms(s, 1500);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, STORE);
    expect_quiet(s, PRIMARY);
    expect_get(s, CLIENT1, "k", NULL);
    story_end(s);
}

/* Messages between replicas count in the view of both only; the primary's Replicas brings a member
 * up to date that the arbiter's has not reached. */
static void messages_of_another_view(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t old = story_view_number(s);
    story_view_unheard(s);
    uint64_t seq = story_write(s, "k=v");
    expect_quiet(s, PRIMARY);
    expect_quiet(s, STORE);
    story_primary_tells_view(s);
    expect_snapshot_ack(s, SEQ(0), SEQ(0));
    story_send(s, seq);
    expect_persist(s, "k=v");
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_say(s, "a Snapshot of the view that is over");
    uint64_t current = story_view_number(s);
    story_view_follows(s, old);
    story_write(s, "k=w");
    story_view_follows(s, current);
    expect_quiet(s, PRIMARY);
    expect_quiet(s, STORE);
    story_end(s);
}

/* Snapshots of a session that is over, or of a stranger, are ignored. */
static void snapshots_of_a_stranger(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    struct message message = story_message(s, MESSAGE_SNAPSHOT, S3); /* not the primary */
    message.body.snapshot.session = 2; /* the view in which the node came */
    message.body.snapshot.kind = SNAPSHOT_PROBE;
    story_deliver(s, PRIMARY, &message);
    expect_quiet(s, PRIMARY);
    message = story_message(s, MESSAGE_SNAPSHOT, PRIMARY);
    message.body.snapshot.kind = SNAPSHOT_PROBE;
    message.body.snapshot.session = 1; /* not this node's session */
    story_deliver(s, PRIMARY, &message);
    expect_quiet(s, PRIMARY);
    message.body.snapshot.session = 2;
    message.cluster = STORY_CLUSTER + 1; /* another cluster */
    story_deliver(s, PRIMARY, &message);
    expect_quiet(s, PRIMARY);
    message.cluster = STORY_CLUSTER;
    story_deliver(s, PRIMARY, &message);
    expect_snapshot_ack(s, SEQ(0), SEQ(0));
    story_end(s);
}

/* C-115: a secondary that is taken out goes on: it joins again as another incarnation, keeps its
 * content, and answers reads when it is in sync again. */
static void taken_out_and_back(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    story_write(s, "k=v");
    story_commits(s, 1);
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    expect_get(s, CLIENT1, "k", "v");
    uint64_t incarnation = story_incarnation(s);
    story_node_taken_out(s);
    story_run_ms(s, 0);
    expect_join(s);
    assert_int_not_equal(story_incarnation(s), incarnation);
    expect_node_has(s, "k", "v");
    uint64_t get = story_get(s, CLIENT1, "k"); /* it has no role: kept */
    expect_quiet(s, CLIENT1);
    story_joined_secondary(s);
    expect_rejected(s, CLIENT1, get, REJECT_NOT_READY);
    story_begin_session(s);
    expect_persist(s, "");
    expect_snapshot_ack(s, 1, 1);
    story_content(s, "k=v");
    story_node_in_sync(s);
    expect_get(s, CLIENT1, "k", "v");
    expect_content(s, STORE, "k", "v");
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* Taken out with batches to be stored: they are, in their order, before it joins again; nothing is
 * acknowledged for them. */
static void taken_out_with_a_batch_in_flight(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_write(s, "k=v");
    expect_persist(s, "k=v");
    story_write(s, "k=w");
    story_node_taken_out(s);
    story_run_ms(s, 250);
    expect_quiet(s, ARBITER);
    story_persist_fails(s, "no space left");
    story_run_ms(s, 100);
    expect_persist_again(s);
    story_persisted(s);
    expect_persist(s, "k=w");
    story_persisted(s);
    story_run_ms(s, 100);
    expect_join(s);
    story_joined_secondary(s);
    expect_quiet(s, PRIMARY);
    story_begin_session(s);
    expect_persist(s, "");
    assert_int_equal(story_batch_position(s).index, 0);
    expect_quiet(s, PRIMARY);
    story_persisted(s);
    expect_snapshot_ack(s, 1, 1);
    expect_content(s, STORE, "k", "w");
    story_end(s);
}

/* --- the way out --- */

/* A secondary asked to stop: it says so until a view without it comes, and ends when its store has
 * taken everything. */
static void secondary_stops(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_write(s, "k=v");
    expect_persist(s, "k=v");
    story_asked_to_stop(s);
    expect_leave(s);
    story_run_ms(s, 200);
    expect_leave(s);
    story_node_taken_out(s);
    expect_quiet(s, HOST);
    story_persisted(s);
    expect_stop(s, 0);
    expect_quiet(s, ARBITER); /* no Join */
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* Nobody answers it: it ends all the same, after a while. */
static void secondary_stops_without_an_answer(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_asked_to_stop(s);
    story_run_ms(s, 4900);
    expect_quiet(s, HOST);
    story_run_ms(s, 200);
    expect_stop(s, 0);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* A primary alone that is asked to stop: no new updates; those outstanding are answered; then it
 * ends. It stays the primary, and comes back as such. */
static void primary_alone_stops(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    story_asked_to_stop(s);
    expect_rejected(s, CLIENT2, story_insert(s, CLIENT2, "k", "w"), REJECT_LEAVING);
    expect_quiet(s, HOST);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    expect_stop(s, 0);
    expect_quiet(s, ARBITER);
    story_end(s);
}

/* With another one in sync it hands over first, and no request fails: it says that it wants to go,
 * goes on as long as nobody takes its place, and leaves as a secondary. */
static void primary_hands_over_and_stops(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_asked_to_stop(s);
    expect_leave(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_orders_handover(s, S1);
    uint64_t held = story_insert(s, CLIENT2, "k", "w");
    expect_quiet(s, CLIENT2);
    expect_quiet(s, ARBITER);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    expect_handover(s, S1);
    story_promotes(s, S1);
    expect_rejected(s, CLIENT2, held, REJECT_NOT_PRIMARY); /* S1 will take it */
    assert_int_equal(role(s), ROLE_SECONDARY);
    expect_get(s, CLIENT1, "k", "v");
    story_run_ms(s, 200);
    expect_leave(s);
    expect_quiet(s, HOST);
    story_node_taken_out(s);
    expect_stop(s, 0);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* An update that nobody confirms keeps a primary alone no longer than its deadline. */
static void primary_stops_after_a_failure(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_asked_to_stop(s);
    story_run_ms(s, 990);
    expect_quiet(s, HOST);
    story_run_ms(s, 20);
    expect_failed(s, CLIENT1, id);
    story_take_all(s, ARBITER); /* Leave, again and again */
    story_leaves(s, S1);        /* and S1 is gone: there is nobody to hand over to */
    story_run_ms(s, 0);
    expect_stop(s, 0);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* A store that never answers does not hold a primary for ever. */
static void primary_stops_although_store_is_silent(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    story_asked_to_stop(s);
    story_run_ms(s, 4900);
    expect_failed(s, CLIENT1, id);
    expect_quiet(s, HOST);
    story_run_ms(s, 200);
    expect_stop(s, 0);
    story_end(s);
}

/* A read that waits when the node ends is rejected, not forgotten; one that comes after the node is
 * out of the view, too. */
static void stop_with_a_read_waiting(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_write(s, "k=v");
    uint64_t waits = story_get_after(s, CLIENT1, "k", 99);
    story_asked_to_stop(s);
    expect_leave(s);
    expect_get(s, CLIENT2, "k", NULL); /* in the view it goes on to serve */
    story_node_taken_out(s);
    expect_rejected(s, CLIENT2, story_get(s, CLIENT2, "k"), REJECT_LEAVING);
    expect_quiet(s, HOST);
    story_persisted(s);
    expect_rejected(s, CLIENT1, waits, REJECT_LEAVING);
    expect_stop(s, 0);
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* The arbiter passes on the wish of an operator that the node leave. */
static void arbiter_asks_to_leave(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    struct message message = story_message(s, MESSAGE_LEAVE, ARBITER);
    message.body.leave.name.at = (const uint8_t *)"node";
    message.body.leave.name.len = 4;
    story_deliver(s, ARBITER, &message);
    expect_leave(s);
    story_deliver(s, ARBITER, &message); /* once more changes nothing */
    expect_quiet(s, ARBITER);
    story_node_taken_out(s);
    expect_stop(s, 0);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(joins_by_itself),
        STORY(joins_as_secondary),
        STORY(join_is_repeated),
        STORY(no_second_join_after_store_failure),
        STORY(requests_before_a_role),
        STORY(requests_before_a_role_of_secondary),
        STORY(no_role_in_time),
        STORY(role_after_the_deadline),
        STORY(join_is_rejected_for_good),
        STORY(join_is_rejected_for_now),
        STORY(join_timeout),
        STORY(joined_again),
        STORY(joined_again_as_primary),
        STORY(update_at_a_secondary),
        STORY(messages_of_another_view),
        STORY(snapshots_of_a_stranger),
        STORY(taken_out_and_back),
        STORY(taken_out_with_a_batch_in_flight),
        STORY(secondary_stops),
        STORY(secondary_stops_without_an_answer),
        STORY(primary_alone_stops),
        STORY(primary_hands_over_and_stops),
        STORY(primary_stops_after_a_failure),
        STORY(primary_stops_although_store_is_silent),
        STORY(stop_with_a_read_waiting),
        STORY(arbiter_asks_to_leave),
    };
    return cmocka_run_group_tests_name("scenario_joining", stories, NULL, NULL);
}

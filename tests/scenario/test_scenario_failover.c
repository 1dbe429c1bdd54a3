/* The primary is gone, gives way, or comes back: seen from the node that takes its place, from the
 * one that follows, and from the old primary itself. */
#include "story.h"

static struct node_state observe(const struct story *s)
{
    struct node_state state;
    node_observe(story_node(s), &state);
    return state;
}

static struct kv_position at(uint64_t view, uint64_t index)
{
    struct kv_position position = {view, index};
    return position;
}

/* A secondary of PR, in sync in view 4 with S1 and, if so wanted, S2; "k" = "old" is committed. */
static void start_follower(struct story *s, bool with_second)
{
    story_config(s)->replica_timeout_ms = 500;
    story_start_secondary(s);
    story_store_prompt(s, true);
    story_view_add(s, S1);
    story_view_in_sync(s, S1);
    if (with_second) {
        story_view_add(s, S2);
        story_view_in_sync(s, S2);
    }
    story_tell_view(s);
    story_write(s, "k=old");
    story_commits(s, 1);
    expect_get(s, CLIENT1, "k", "old");
    story_take_all(s, PRIMARY);
    story_take_all(s, STORE);
}

/* --- the one that takes its place --- */

/* It asks for another primary after replica_timeout, becomes one with an update that is in its
 * store and that the old one may have acknowledged, and shows it when S1 has it too. Nothing is
 * lost, and nobody reads an older state meanwhile. */
static void new_primary_with_an_open_update(void **state)
{
    struct story *s = story_begin(state, __func__);
    start_follower(s, false);
    story_write(s, "k=new"); /* PR has told nobody that it is committed */
    expect_persist(s, "k=new");
    expect_snapshot_ack(s, SEQ(2), SEQ(2));
    uint64_t silent_ms = story_now_ms(s);
    story_run_ms(s, 600);
    assert_true(story_now_ms(s) - silent_ms >= 500);
    story_view_remove(s, PRIMARY);
    story_promotes(s, HOST);
    assert_int_equal(observe(s).role, ROLE_PRIMARY);
    expect_persist(s, ""); /* it is a primary's now */
    uint64_t read = story_get(s, CLIENT1, "k");
    uint64_t write = story_insert(s, CLIENT2, "k", "newer"); /* taken at once, behind the other */
    expect_persist(s, "k=newer");
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, CLIENT2);
    story_secondary_has(s, S1, at(4, 1), at(4, 1)); /* S1 has only what was committed */
    story_resumes(s, S1);
    expect_begin_tail(s, S1, at(4, 1));
    expect_quiet(s, S1);
    story_ack(s, S1);
    expect_snapshot(s, S1, SEQ(0), "k=new k=newer");
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT2, write);
    expect_result(s, CLIENT1, read, "newer");
    expect_get(s, CLIENT1, "k", "newer");
    story_end(s);
}

/* Two others, one of them silent: nothing is committed, and no read answered, before it has said
 * how far it is or is out of the view. */
static void new_primary_with_a_silent_member(void **state)
{
    struct story *s = story_begin(state, __func__);
    start_follower(s, true);
    story_view_remove(s, PRIMARY);
    story_cut(s, S2, true);
    story_secondary_has(s, S1, at(4, 1), at(4, 1));
    story_secondary_prompt(s, S1, true);
    story_promotes(s, HOST);
    uint64_t id = story_insert(s, CLIENT1, "k", "new");
    uint64_t read = story_get(s, CLIENT2, "k");
    story_run_ms(s, 450);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, CLIENT2);
    story_run_ms(s, 100);
    expect_suspect(s, S2);
    story_leaves(s, S2);
    expect_ack(s, CLIENT1, id);
    expect_result(s, CLIENT2, read, "new");
    expect_content(s, S1, "k", "new");
    story_take_all(s, ARBITER);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* --- the one that follows --- */

/* S1 takes PR's place: the session begins with the tail, nothing is fetched, and reads are answered
 * all the time. */
static void other_secondary_goes_on_by_the_tail(void **state)
{
    struct story *s = story_begin(state, __func__);
    start_follower(s, false);
    story_write(s, "k=new");
    expect_persist(s, "k=new");
    expect_snapshot_ack(s, SEQ(2), SEQ(2));
    story_run_ms(s, 600); /* it has asked: PR is not believed any more */
    story_write(s, "k=late");
    expect_quiet(s, STORE);
    expect_quiet(s, PRIMARY);
    expect_get(s, CLIENT1, "k", "old");
    story_view_remove(s, PRIMARY);
    story_primary_has(s, 2);
    story_promotes(s, S1);
    expect_get(s, CLIENT1, "k", "old");
    story_probe(s);
    expect_resume(s, at(4, 1), at(4, 2));
    story_begin_tail(s, at(4, 2));
    expect_persist(s, "");
    expect_snapshot_ack(s, 1, 1);
    expect_get(s, CLIENT1, "k", "new"); /* that is committed by now */
    story_write(s, "k=newer");
    expect_persist(s, "k=newer");
    expect_snapshot_ack(s, 2, 2);
    story_commits(s, 3);
    expect_get(s, CLIENT1, "k", "newer");
    story_end(s);
}

/* It never goes back behind what it has shown: a primary that has less is not followed. */
static void a_primary_that_has_less_is_not_followed(void **state)
{
    struct story *s = story_begin(state, __func__);
    start_follower(s, false);
    story_primary_has(s, 0);
    story_view_remove(s, PRIMARY);
    story_promotes(s, S1);
    story_begin_session(s);
    expect_stop(s, 5);
    expect_quiet(s, STORE); /* what it has is kept */
    expect_node_has(s, "k", "old");
    story_end(s);
}

/* --- the old primary --- */

/* Cut off from everybody, it answers no read when its lease is over, acknowledges nothing, and when
 * it hears of the view that is without it, what nobody else has is taken back from its store. */
static void old_primary_is_replaced(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "old");
    expect_snapshot(s, S1, SEQ(0), "k=old");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_cut(s, S1, true);
    id = story_insert(s, CLIENT1, "k", "new");
    expect_get(s, CLIENT2, "k", "old"); /* S1 has promised to wait */
    story_run_ms(s, 300);
    uint64_t read = story_get(s, CLIENT2, "k");
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT2);
    expect_suspect(s, S1); /* the arbiter does not listen: S1 is primary already */
    story_primary_has(s, 1);
    story_promotes(s, S1);
    expect_failed(s, CLIENT1, id);
    expect_rejected(s, CLIENT2, read, REJECT_NOT_PRIMARY);
    story_probe(s);
    expect_resume(s, at(3, 1), at(3, 2));
    story_take_all(s, STORE);
    story_begin_tail(s, at(3, 1));
    expect_persist(s, "");      /* its content is no state of the log any more ... */
    expect_persist(s, "k=old"); /* ... and now it is again */
    expect_snapshot_ack(s, 1, 1);
    expect_content(s, STORE, "k", "old");
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"), REJECT_NOT_PRIMARY);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* --- giving way --- */

static void handover_seen_from_the_primary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_orders_handover(s, S1);
    uint64_t held = story_insert(s, CLIENT2, "k", "w");
    story_ack(s, S1);
    expect_quiet(s, ARBITER); /* S2 has it not yet */
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    expect_handover(s, S1);
    story_run_ms(s, 100);
    expect_handover(s, S1); /* nobody has answered */
    expect_quiet(s, CLIENT2);
    story_primary_has(s, 1);
    story_promotes(s, S1);
    expect_rejected(s, CLIENT2, held, REJECT_NOT_PRIMARY);
    story_begin_tail(s, at(5, 1));
    expect_get(s, CLIENT1, "k", "v"); /* it is in sync, and serves on */
    story_write(s, "k=w");
    story_commits(s, 2);
    expect_get(s, CLIENT1, "k", "w");
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* No view comes: updates go on, the one that was held first. */
static void handover_that_comes_to_nothing(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_orders_handover(s, S1);
    expect_handover(s, S1);
    uint64_t held = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 450);
    expect_quiet(s, CLIENT1);
    story_run_ms(s, 100);
    expect_ack(s, CLIENT1, held);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    story_take_all(s, ARBITER);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* --- after a power cut --- */

/* Restarted with what its store gives back, and named primary: what it loaded may not be
 * everybody's, so it shows and tells nothing before S1 has said that it has it too. S1's content is
 * compared: each store may have refused something. */
static void restarted_primary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->cluster = STORY_CLUSTER;
    story_create_node(s);
    story_loaded_with(s, "a=1 k=v", at(3, 2));
    expect_join(s);
    story_view_follows(s, 5);
    story_store_prompt(s, true);
    story_view_add(s, S1);
    story_view_in_sync(s, S1);
    story_joined_primary(s);
    expect_persist(s, "");
    story_links_up(s);
    uint64_t read = story_get(s, CLIENT2, "k");
    uint64_t id = story_insert(s, CLIENT1, "k", "w");
    expect_persist(s, "k=w");
    expect_quiet(s, CLIENT2);
    story_secondary_has(s, S1, at(3, 2), at(3, 2));
    story_resumes(s, S1);
    expect_begin(s, S1);
    expect_quiet(s, CLIENT2);
    story_ack(s, S1);
    expect_result(s, CLIENT2, read, "v"); /* that is everybody's */
    expect_snapshot(s, S1, SEQ(0), "k=w");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    expect_get(s, CLIENT1, "k", "w");
    expect_get(s, CLIENT1, "a", "1");
    story_end(s);
}

/* Restarted as a secondary in sync: its store may hold what was never committed, or lack what it
 * had refused: reads are answered when the primary has named as much as it loaded, and all is
 * compared. */
static void restarted_secondary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "a=1 k=v", at(1, 2));
    expect_join(s);
    story_store_prompt(s, true);
    story_joined_secondary(s);
    story_node_in_sync(s);
    story_primary_has(s, 2);
    story_probe(s);
    expect_resume(s, at(1, 2), at(1, 2));
    expect_rejected(s, CLIENT1, story_get(s, CLIENT1, "k"), REJECT_NOT_READY);
    story_begin_tail(s, at(1, 2));
    expect_rejected(s, CLIENT1, story_get(s, CLIENT1, "k"), REJECT_NOT_READY);
    story_take_all(s, STORE);
    story_content(s, "a=1 k=v");
    expect_get(s, CLIENT1, "k", "v");
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* --- coming back --- */

/* A member that was away for a short while gets what it lacks of the log, and no content. */
static void rejoin_by_the_tail(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->limits.log_bytes = 64 * 1024;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "a", "1"));
    story_secondary_prompt(s, S1, false);
    story_leaves(s, S1);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "b", "2"));
    expect_ack(s, CLIENT1, story_remove(s, CLIENT1, "a"));
    story_take_all(s, S1);
    story_secondary_has(s, S1, at(3, 1), at(3, 1));
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin_tail(s, S1, at(3, 1));
    story_ack(s, S1);
    expect_snapshot(s, S1, SEQ(0), "b=2 a=-");
    story_ack(s, S1);
    expect_caught_up(s, S1);
    expect_content(s, S1, "a", NULL);
    expect_content(s, S1, "b", "2");
    story_take_all(s, STORE);
    story_end(s);
}

/* One that has an update which nobody else has comes back as a candidate: it drops that. */
static void rejoin_with_too_much(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "a", "1"));
    story_secondary_has(s, S1, at(1, 1), at(1, 4));
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin_tail(s, S1, at(1, 1));
    story_ack(s, S1);
    expect_caught_up(s, S1);
    story_take_all(s, STORE);
    story_end(s);
}

/* As many records, but the last one is of another primary's: what counts is the position. */
static void rejoin_with_another_history(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->limits.log_bytes = 64 * 1024;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "a", "1")); /* (3, 1) */
    story_leaves(s, S1);
    story_joins(s, S2);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "b", "2")); /* (5, 2) */
    story_take_all(s, S1);
    story_secondary_prompt(s, S1, false);
    story_secondary_has(s, S1, at(3, 1), at(4, 2));
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin_tail(s, S1, at(3, 1));
    story_ack(s, S1);
    expect_snapshot(s, S1, SEQ(0), "b=2");
    story_ack(s, S1);
    expect_caught_up(s, S1);
    expect_content(s, S1, "b", "2");
    story_take_all(s, STORE);
    story_take_all(s, S2);
    story_end(s);
}

/* The source may be ahead of what the joiner knows to be committed: what it gave is complete only
 * when that is committed here, too. */
static void content_ahead_of_the_commit(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_store_prompt(s, true);
    story_joined_secondary(s);
    story_primary_has(s, 7);
    story_begin_session(s);
    story_write(s, "a=8");
    story_write(s, "b=9");
    story_node_in_sync(s);
    story_content_as_of(s, "a=8 b=9", 9);
    expect_rejected(s, CLIENT1, story_get(s, CLIENT1, "a"), REJECT_NOT_READY);
    story_commits(s, 8);
    expect_rejected(s, CLIENT1, story_get(s, CLIENT1, "a"), REJECT_NOT_READY);
    assert_int_equal(story_batch_position(s).index, 0); /* and its store says so */
    story_commits(s, 9);
    expect_get(s, CLIENT1, "a", "8");
    expect_get(s, CLIENT1, "b", "9");
    assert_int_equal(story_batch_position(s).index, 9);
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* Away for so long that the log has forgotten: the content is fetched. */
static void rejoin_by_fetching(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "a", "1"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "b", "2"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "c", "3"));
    story_secondary_has(s, S1, at(1, 1), at(1, 1));
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin(s, S1);
    story_ack(s, S1);
    story_fetches(s, S1);
    story_secondary_prompt(s, S1, true);
    expect_caught_up(s, S1);
    expect_content(s, S1, "a", "1");
    expect_content(s, S1, "b", "2");
    expect_content(s, S1, "c", "3");
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* --- reads under a lease --- */

/* While S1 has promised to wait, reads are answered at once; afterwards each waits for its word. */
static void reads_under_a_lease(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_secondary_prompt(s, S1, false);
    story_run_ms(s, 240);
    uint64_t asked_ms = story_now_ms(s);
    assert_int_equal(expect_result(s, CLIENT1, story_get_at_primary(s, CLIENT1, "k"), "v"),
                     asked_ms);
    story_run_ms(s, 20);
    uint64_t id = story_get_at_primary(s, CLIENT1, "k");
    expect_quiet(s, CLIENT1);
    story_run_ms(s, 30);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_result(s, CLIENT1, id, "v");
    expect_get(s, CLIENT2, "k", "v");
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* A secondary does not answer for the primary; for itself it does. */
static void reads_that_only_the_primary_answers(void **state)
{
    struct story *s = story_begin(state, __func__);
    start_follower(s, false);
    expect_rejected(s, CLIENT1, story_get_at_primary(s, CLIENT1, "k"), REJECT_NOT_PRIMARY);
    expect_get(s, CLIENT1, "k", "old");
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(new_primary_with_an_open_update),
        STORY(new_primary_with_a_silent_member),
        STORY(other_secondary_goes_on_by_the_tail),
        STORY(a_primary_that_has_less_is_not_followed),
        STORY(old_primary_is_replaced),
        STORY(handover_seen_from_the_primary),
        STORY(handover_that_comes_to_nothing),
        STORY(restarted_primary),
        STORY(restarted_secondary),
        STORY(rejoin_by_the_tail),
        STORY(rejoin_with_too_much),
        STORY(rejoin_with_another_history),
        STORY(rejoin_by_fetching),
        STORY(content_ahead_of_the_commit),
        STORY(reads_under_a_lease),
        STORY(reads_that_only_the_primary_answers),
    };
    return cmocka_run_group_tests_name("scenario_failover", stories, NULL, NULL);
}

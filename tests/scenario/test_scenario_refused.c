/* A store that refuses a record for good: that one update fails, nobody ever sees its value, and
 * nothing else is held up. */
#include "story.h"

/* Three updates travel together, and the store of S2 refuses the second one. It fails alone: its
 * key gets back, at all nodes, what it had. The commit index passes the void update and the record
 * that makes up for it in one go, so nobody reads what was refused. */
static void a_secondary_refuses_one_of_three(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    uint64_t old = story_insert(s, CLIENT1, "b", "old");
    story_persisted(s);
    story_ack(s, S1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, old);
    expect_persist(s, "b=old");
    story_take_all(s, S1);
    story_take_all(s, S2);

    story_secondary_refuses(s, S2, "b=new", "b is read-only here");
    story_turn_begin(s);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    uint64_t b = story_insert(s, CLIENT1, "b", "new");
    uint64_t c = story_insert(s, CLIENT2, "c", "3");
    story_turn_end(s);
    expect_persist(s, "a=1 b=new c=3");
    expect_snapshot(s, S1, SEQ(1), "a=1 b=new c=3");
    expect_snapshot(s, S2, SEQ(1), "a=1 b=new c=3");
    story_persisted(s);
    story_ack(s, S1);
    expect_quiet(s, CLIENT1);

    story_ack(s, S2); /* tells that b=new is refused; the primary makes up for it at once */
    expect_ack(s, CLIENT1, a);
    expect_persist(s, "b=old");
    expect_snapshot(s, S1, SEQ(2), "b=old");
    expect_snapshot(s, S2, SEQ(2), "b=old");
    expect_get(s, CLIENT2, "a", "1");
    expect_get(s, CLIENT2, "b", "old");
    expect_get(s, CLIENT2, "c", NULL); /* behind b=new: not yet */

    story_persisted(s);
    story_ack(s, S1);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, CLIENT2);
    story_ack(s, S2);
    expect_refused(s, CLIENT1, b, "b is read-only here");
    expect_ack(s, CLIENT2, c);
    expect_get(s, CLIENT2, "b", "old");
    expect_get(s, CLIENT2, "c", "3");
    for (enum story_peer peer = STORE; peer <= S2; peer = peer == STORE ? S1 : peer + 1) {
        expect_content(s, peer, "a", "1");
        expect_content(s, peer, "b", "old");
        expect_content(s, peer, "c", "3");
    }
    story_run_ms(s, 500);
    expect_quiet(s, ARBITER); /* nobody is suspected */
    story_end(s);
}

/* The next update of the key is there already when the primary's own store refuses the first one:
 * it makes up for it, and nothing is appended. */
static void refused_and_overwritten_at_once(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t bad = story_insert(s, CLIENT1, "k", "bad");
    uint64_t good = story_insert(s, CLIENT2, "k", "good");
    expect_persist(s, "k=bad");
    expect_snapshot(s, S1, SEQ(0), "k=bad");
    expect_snapshot(s, S1, SEQ(1), "k=good");
    story_ack(s, S1); /* its store has taken both */
    story_persisted_but(s, "k=bad", "bad is a forbidden word");
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT2, "k", NULL);
    expect_persist(s, "k=good");
    story_persisted(s);
    expect_refused(s, CLIENT1, bad, "bad is a forbidden word");
    expect_ack(s, CLIENT2, good);
    expect_get(s, CLIENT1, "k", "good");
    expect_content(s, STORE, "k", "good");
    expect_content(s, S1, "k", "good");
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    expect_quiet(s, S1);
    expect_quiet(s, ARBITER);
    story_end(s);
}

/* S1's store refuses the second of two updates of a key; while the undo is on its way, which brings
 * back the first one, the primary's own store refuses that, too. The undo is void with it, and one
 * more makes up for all: that the own store refuses the void undo as well changes nothing. */
static void an_undo_is_void_itself(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_secondary_refuses(s, S1, "k=2", "2 is too large");
    story_turn_begin(s);
    uint64_t one = story_insert(s, CLIENT1, "k", "1");
    uint64_t two = story_insert(s, CLIENT2, "k", "2");
    story_turn_end(s);
    expect_persist(s, "k=1 k=2");
    expect_snapshot(s, S1, SEQ(0), "k=1 k=2");
    story_ack(s, S1);
    expect_snapshot(s, S1, SEQ(1), "k=1");
    story_persisted_but(s, "k=1", "1 is an odd number");
    expect_persist(s, "k=1 k=-");
    expect_snapshot(s, S1, SEQ(2), "k=-");
    story_ack(s, S1);
    expect_quiet(s, CLIENT1);
    story_persisted_but(s, "k=1", "1 is an odd number");
    expect_refused(s, CLIENT1, one, "1 is an odd number");
    expect_refused(s, CLIENT2, two, "2 is too large");
    expect_get(s, CLIENT1, "k", NULL);
    expect_content(s, STORE, "k", NULL);
    expect_content(s, S1, "k", NULL);
    expect_persist_state(s, CLIENT1, PERSIST_OK, "");
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    expect_quiet(s, ARBITER);
    story_end(s);
}

/* A candidate's store refuses an update of the log that is newer than the content which comes after
 * it: this is a refusal like a member's, told until it is dealt with, not content that the cluster
 * holds. The record that makes up for it follows. */
static void a_candidate_refuses_an_update(void **state)
{
    static const char *const reason = "no new values on Sundays";
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_joined_secondary(s);
    story_primary_has(s, 7);
    story_begin_session(s);
    story_write(s, "k=new");
    story_content_as_of(s, "k=old", 7);
    expect_snapshot_ack(s, 2, 0); /* received, and complete as soon as its store is */
    expect_persist(s, "");
    story_persisted(s);
    expect_snapshot_ack(s, 2, 1);
    expect_persist(s, "k=new");
    story_persisted_but(s, "k=new", reason);
    expect_snapshot_ack_refusing(s, 2, 2, 8, reason);
    expect_persist_state(s, CLIENT1, PERSIST_OK, "");
    story_probe(s);
    expect_snapshot_ack_refusing(s, 2, 2, 8, reason);
    story_primary_deals(s, 1);
    story_write(s, "k=old"); /* made up for */
    expect_snapshot_ack(s, 3, 2);
    expect_persist(s, "k=old");
    story_persisted(s);
    expect_snapshot_ack(s, 3, 3);
    story_node_in_sync(s);
    expect_snapshot_ack(s, 3, 3);
    story_commits(s, story_index(s));
    expect_get(s, CLIENT1, "k", "old");
    expect_content(s, STORE, "k", "old");
    story_end(s);
}

/* Too few are in sync to decide, and the store of the one that comes refuses what waits for it:
 * then the update is void, and the newcomer is not kept out for what nobody else can decide. */
static void decided_by_the_one_that_comes(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->min_in_sync = 2;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_leaves(s, S1);
    story_secondary_refuses(s, S2, "k=v", "not here");
    story_brings_in(s, S2);
    story_ack(s, S2);
    expect_refused(s, CLIENT1, id, "not here");
    expect_get(s, CLIENT1, "k", NULL);
    expect_content(s, STORE, "k", NULL);
    expect_content(s, S2, "k", NULL);
    story_take_all(s, STORE);
    story_take_all(s, ARBITER);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* From Begin to the content, which it hands to its store; before that what is in doubt goes. */
static void takes_the_content(struct story *s, const char *doubtful, const char *content)
{
    story_begin_session(s);
    expect_persist(s, "");
    assert_int_equal(story_batch_position(s).index, 0);
    story_persisted(s);
    expect_snapshot_ack(s, 1, 1);
    if (doubtful != NULL) {
        expect_persist(s, doubtful);
        assert_int_equal(story_batch_position(s).index, 0);
        story_persisted(s);
    }
    story_content(s, "same=1 bad=9");
    expect_snapshot_ack(s, 1, 1); /* not complete before the store has it */
    expect_persist(s, content);
}

/* A joiner's store refuses a pair that the cluster holds: it cannot be in sync. It says so, leaves
 * the session, and joins again later and later. What it holds of that key is in doubt: it goes when
 * the next session begins, and only then. When the store takes the pair at last, all is well. */
static void joiner_whose_store_refuses_the_content(void **state)
{
    static const char *const reason = "9 is too large";
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "bad=0 same=1", (struct kv_position){1, 2});
    expect_join(s);
    story_joined_secondary(s);
    story_primary_has(s, 7);
    takes_the_content(s, NULL, "same=1 bad=9");
    uint64_t refused_ms = story_now_ms(s);
    story_persisted_but(s, "bad=9", reason);
    expect_quiet(s, PRIMARY); /* it is not complete */
    expect_content(s, STORE, "bad", "0");
    expect_persist_state(s, CLIENT1, PERSIST_REFUSING, reason);
    story_run_ms(s, 1000);
    assert_int_equal(expect_join(s) - refused_ms, STORY_RETRANSMIT_MS);
    story_take_all(s, ARBITER); /* the Join again and again */
    expect_content(s, STORE, "bad", "0");

    story_joined_secondary(s);
    takes_the_content(s, "bad=-", "same=1 bad=9");
    expect_content(s, STORE, "bad", NULL);
    refused_ms = story_now_ms(s);
    story_persisted_but(s, "bad=9", reason);
    story_run_ms(s, 1000);
    assert_int_equal(expect_join(s) - refused_ms, 2 * STORY_RETRANSMIT_MS);
    story_take_all(s, ARBITER);

    story_joined_secondary(s);
    takes_the_content(s, "bad=-", "same=1 bad=9");
    story_persisted(s);           /* somebody has made room for it */
    expect_snapshot_ack(s, 1, 1); /* complete */
    story_node_in_sync(s);
    expect_snapshot_ack(s, 1, 1);
    expect_persist_state(s, CLIENT1, PERSIST_OK, "");
    expect_get(s, CLIENT1, "bad", "9");
    expect_get(s, CLIENT1, "same", "1");
    expect_content(s, STORE, "bad", "9");
    expect_content(s, STORE, "same", "1");
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_secondary_refuses_one_of_three), STORY(refused_and_overwritten_at_once),
        STORY(an_undo_is_void_itself),           STORY(a_candidate_refuses_an_update),
        STORY(decided_by_the_one_that_comes),    STORY(joiner_whose_store_refuses_the_content),
    };
    return cmocka_run_group_tests_name("scenario_refused", stories, NULL, NULL);
}

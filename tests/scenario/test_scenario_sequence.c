/* Numbers on the link between primary and secondary: loss, repetition, reordering, on both sides.
 */
#include "story.h"

/* --- a secondary under test --- */

/* C-004, C-053: in order, numbered per link, whatever the keys; each taken one is stored, then
 * acknowledged. */
static void snapshots_in_order(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    static const char *const writes[] = {"k1=-", "k1=v1", "k2=v2", "k3=v3", "k1=v4", "k2=-"};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(story_write(s, writes[i]), SEQ(i));
        expect_persist(s, writes[i]);
        expect_snapshot_ack(s, SEQ(i + 1), SEQ(i + 1));
    }
    story_commits(s, story_index(s));
    expect_get(s, CLIENT1, "k1", "v4");
    expect_get(s, CLIENT1, "k2", NULL);
    expect_get(s, CLIENT1, "k3", "v3");
    /* A number far ahead is ignored, one that was taken is acknowledged again. */
    uint64_t far = 0;
    for (int i = 0; i < 4; i++) {
        far = story_make(s, "k9=v9");
    }
    story_send(s, far);
    expect_quiet(s, PRIMARY);
    expect_quiet(s, STORE);
    story_send(s, SEQ(1));
    expect_snapshot_ack(s, SEQ(6), SEQ(6));
    expect_quiet(s, STORE);
    expect_get(s, CLIENT1, "k1", "v4");
    story_end(s);
}

/* C-005, C-060: a Snapshot that was taken before is acknowledged at once, and changes nothing. */
static void old_snapshot_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t one = story_write(s, "k=v1");
    expect_persist(s, "k=v1");
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_write(s, "k=v2");
    expect_persist(s, "k=v2");
    expect_snapshot_ack(s, SEQ(2), SEQ(2));
    story_commits(s, 2);
    expect_get(s, CLIENT1, "k", "v2");
    uint64_t sent_ms = story_now_ms(s);
    story_send(s, one);
    assert_int_equal(expect_snapshot_ack(s, SEQ(2), SEQ(2)), sent_ms);
    expect_quiet(s, STORE);
    expect_get(s, CLIENT1, "k", "v2");
    expect_content(s, STORE, "k", "v2");
    story_end(s);
}

/* C-006: a Snapshot ahead of its turn is ignored: not answered, not remembered, never shown. */
static void future_snapshot(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t first = story_make(s, "k=first");
    uint64_t second = story_make(s, "k=second");
    story_send(s, second);
    story_run_ms(s, 300);
    expect_quiet(s, PRIMARY);
    expect_quiet(s, STORE);
    story_send(s, first);
    expect_persist(s, "k=first");
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_commits(s, 2);
    story_run_ms(s, 300);
    expect_quiet(s, PRIMARY);
    expect_get(s, CLIENT1, "k", NULL); /* the primary named the state after both, no other */
    story_send(s, second);
    expect_persist(s, "k=second");
    expect_snapshot_ack(s, SEQ(2), SEQ(2));
    expect_get(s, CLIENT1, "k", "second");
    story_end(s);
}

/* C-009, C-097: no durable acknowledgement before the store has it; readers see it when the primary
 * says that it is committed, deletions too. */
static void no_durable_ack_before_persisted(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_write(s, "k=v");
    expect_persist(s, "k=v");
    story_run_ms(s, 500);
    expect_quiet(s, PRIMARY);
    expect_get(s, CLIENT1, "k", NULL);
    story_persisted(s);
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    expect_get(s, CLIENT1, "k", NULL);
    story_commits(s, 1);
    expect_get(s, CLIENT1, "k", "v");
    story_write(s, "k=-");
    expect_persist(s, "k=-");
    expect_get(s, CLIENT1, "k", "v");
    story_persisted(s);
    expect_snapshot_ack(s, SEQ(2), SEQ(2));
    story_commits(s, 2);
    expect_get(s, CLIENT1, "k", NULL);
    story_end(s);
}

/* C-051: copies while the store is busy: the answers tell what was received, and never more than
 * the store has as durable. */
static void copies_while_persist_pending(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    uint64_t seq = story_write(s, "k=v");
    expect_persist(s, "k=v");
    expect_quiet(s, PRIMARY);
    for (int i = 0; i < 5; i++) {
        story_run_ms(s, 100);
        story_send(s, seq);
        expect_snapshot_ack(s, SEQ(1), SEQ(0));
        expect_quiet(s, STORE);
    }
    story_probe(s);
    expect_snapshot_ack(s, SEQ(1), SEQ(0));
    story_persisted(s);
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_run_ms(s, 500);
    expect_quiet(s, PRIMARY);
    expect_quiet(s, STORE);
    story_end(s);
}

/* C-010, C-052: a store that fails for 3 s is tried again all the time, with the same batch; then
 * it works, and the acknowledgement comes at once. */
static void store_fails_for_long(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t seq = story_write(s, "k=v");
    expect_persist(s, "k=v");
    for (int i = 0; i < 30; i++) {
        story_persist_fails(s, "no space left");
        uint64_t failed_ms = story_now_ms(s);
        story_send(s, seq);
        expect_snapshot_ack(s, SEQ(1), SEQ(0));
        expect_quiet(s, STORE); /* not without pause, and a longer one each time */
        uint64_t pause_ms = i < 2 ? 100u << i : i == 2 ? 400 : PERSIST_RETRY_MS_MAX;
        story_run_ms(s, (uint32_t)pause_ms);
        assert_int_equal(expect_persist_again(s) - failed_ms, pause_ms);
    }
    assert_in_range(story_now_ms(s) - begun_ms, 14000, 14300);
    expect_quiet(s, PRIMARY);
    uint64_t works_ms = story_now_ms(s);
    story_persisted(s);
    assert_int_equal(expect_snapshot_ack(s, SEQ(1), SEQ(1)), works_ms);
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    story_end(s);
}

/* C-061, the secondary's half: its acknowledgement was lost, the copy is acknowledged again. */
static void secondary_acknowledges_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t seq = story_write(s, "k=v");
    expect_persist(s, "k=v");
    expect_snapshot_ack(s, SEQ(1), SEQ(1)); /* lost */
    for (int i = 0; i < 3; i++) {
        story_run_ms(s, 100);
        story_send(s, seq);
        expect_snapshot_ack(s, SEQ(1), SEQ(1));
    }
    expect_quiet(s, STORE);
    story_end(s);
}

/* C-069: ten Snapshots in a mixed order, again and again: taken in the order of their numbers. */
static void reordered_snapshots(void **state)
{
    static const unsigned order[] = {7, 3, 0, 9, 1, 2, 8, 5, 4, 6};
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    char records[16];
    for (unsigned i = 0; i < 10; i++) {
        snprintf(records, sizeof(records), "k=%u", i);
        assert_int_equal(story_make(s, records), SEQ(i));
    }
    unsigned taken = 0;
    for (int round = 0; round < 10 && taken < 10; round++) {
        for (unsigned i = 0; i < 10; i++) {
            story_send(s, SEQ(order[i]));
            if (order[i] == taken) {
                taken++;
                story_take_all(s, STORE);
            }
            if (order[i] < taken) {
                expect_snapshot_ack(s, SEQ(taken), SEQ(taken));
            }
            expect_quiet(s, PRIMARY);
        }
    }
    assert_int_equal(taken, 10);
    expect_content(s, STORE, "k", "9");
    story_commits(s, 10);
    expect_get(s, CLIENT1, "k", "9");
    story_end(s);
}

/* Begin is numbered like all others: copies are acknowledged, and begin nothing anew. */
static void begin_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_joined_secondary(s);
    uint64_t begin = story_begin_session(s);
    expect_persist(s, "");
    story_send(s, begin);
    expect_snapshot_ack(s, 1, 0);
    story_store_prompt(s, true);
    expect_snapshot_ack(s, 1, 1);
    story_write(s, "k=v");
    expect_snapshot_ack(s, 2, 2);
    story_send(s, begin);
    expect_snapshot_ack(s, 2, 2);
    story_content_as_of(s, "", 0);
    expect_snapshot_ack(s, 2, 2); /* all is here ... */
    expect_snapshot_ack(s, 2, 2); /* ... and its store has it: complete */
    story_write(s, "k=w");
    expect_snapshot_ack(s, 3, 3);
    story_send(s, begin);
    expect_snapshot_ack(s, 3, 3);
    story_node_in_sync(s);
    story_commits(s, story_index(s));
    expect_get(s, CLIENT1, "k", "w");
    assert_int_equal(story_batch_position(s).index, story_index(s));
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* A batch in one Snapshot is taken or ignored as a whole. */
static void a_batch_is_one_number(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    uint64_t seq = story_write(s, "a=1 b=2 a=3");
    expect_persist(s, "a=1 b=2 a=3");
    story_send(s, seq);
    expect_snapshot_ack(s, SEQ(1), SEQ(0));
    story_persisted(s);
    expect_snapshot_ack(s, SEQ(1), SEQ(1));
    story_commits(s, 2); /* in the middle of it */
    expect_get(s, CLIENT1, "a", "1");
    expect_get(s, CLIENT1, "b", "2");
    story_commits(s, 3);
    expect_get(s, CLIENT1, "a", "3");
    story_end(s);
}

/* A commit index ahead of what is here shows nothing that is not here. */
static void commit_ahead_of_content(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t one = story_make(s, "k=1");
    uint64_t two = story_make(s, "k=2");
    story_commits(s, 2);
    expect_get(s, CLIENT1, "k", NULL);
    story_send(s, one);
    expect_get(s, CLIENT1, "k", NULL); /* what may be shown is the state that was named */
    story_send(s, two);
    expect_get(s, CLIENT1, "k", "2");
    story_commits(s, 1); /* a late one: never backwards */
    expect_get(s, CLIENT1, "k", "2");
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

/* --- the sender of a primary under test --- */

/* C-007, C-055: numbers count the Snapshots of the link; ids of requests are something else. */
static void numbers_are_not_ids(void **state)
{
    static const uint64_t ids[] = {900, 17, UINT64_MAX - 4, 17 + (1ull << 40)};
    static const char *const values[] = {"k1=a", "k1=b", "k1=c", "k1=d"};
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    for (unsigned i = 0; i < 4; i++) {
        story_insert_id(s, CLIENT1, ids[i], "k1", values[i] + 3);
        expect_snapshot(s, S1, SEQ(i), values[i]);
        expect_quiet(s, CLIENT1);
        story_ack(s, S1);
        expect_ack(s, CLIENT1, ids[i]);
    }
    story_take_all(s, STORE);
    story_end(s);
}

/* C-008: an unacknowledged Snapshot comes again, and again. */
static void snapshot_is_sent_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    uint64_t before_ms = expect_snapshot(s, S1, SEQ(0), "k=v");
    for (int i = 0; i < 2; i++) {
        story_run_ms(s, 100);
        uint64_t again_ms = expect_snapshot(s, S1, SEQ(0), "k=v");
        assert_in_range(again_ms - before_ms, 50, 200);
        before_ms = again_ms;
    }
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_run_ms(s, 500);
    expect_quiet(s, S1);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-070: about ten copies a second, none at once, also after the client was told that its update
 * failed, and none after the acknowledgement. */
static void rate_of_copies(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_run_ms(s, 50);
    expect_quiet(s, S1);
    story_run_ms(s, 1950);
    expect_failed(s, CLIENT1, id);
    assert_in_range(story_take_count(s, S1, MESSAGE_SNAPSHOT, begun_ms), 15, 25);
    assert_in_range(story_take_count(s, S1, MESSAGE_SNAPSHOT, begun_ms + 1100), 7, 12);
    story_ack(s, S1);
    story_run_ms(s, 500);
    expect_quiet(s, S1);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT1, "k", "v");
    story_take_all(s, STORE);
    story_end(s);
}

/* Only the oldest is repeated; when its acknowledgement shows that the rest is lost too, the rest
 * follows at once, and not when it was merely slow. */
static void only_what_is_lost_is_repeated(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_cut(s, S1, true);
    story_insert(s, CLIENT1, "a", "1");
    story_insert(s, CLIENT1, "b", "2");
    story_insert(s, CLIENT1, "c", "3");
    story_cut(s, S1, false);
    story_run_ms(s, 100);
    expect_snapshot(s, S1, SEQ(0), "a=1");
    expect_quiet(s, S1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 0);
    expect_snapshot(s, S1, SEQ(1), "b=2");
    expect_snapshot(s, S1, SEQ(2), "c=3");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 1);
    expect_ack(s, CLIENT1, 2);
    story_say(s, "now they are only slow");
    story_insert(s, CLIENT1, "d", "4");
    story_insert(s, CLIENT1, "e", "5");
    expect_snapshot(s, S1, SEQ(3), "d=4");
    expect_snapshot(s, S1, SEQ(4), "e=5");
    story_run_ms(s, 100);
    expect_snapshot(s, S1, SEQ(3), "d=4");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 3);
    expect_ack(s, CLIENT1, 4);
    story_run_ms(s, 500);
    expect_quiet(s, S1);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-056: each sender counts for itself; who comes later begins with 0. */
static void each_sender_counts_for_itself(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    for (unsigned i = 0; i < 5; i++) {
        expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
        expect_snapshot(s, S1, SEQ(i), "k=v");
    }
    story_brings_in(s, S2);
    expect_begin(s, S2);
    expect_fetched(s, S2, "k=v");
    story_secondary_prompt(s, S2, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    expect_snapshot(s, S1, SEQ(5), "k=w");
    expect_snapshot(s, S2, SEQ(0), "k=w");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-061, the sender's half: the acknowledgement is lost; the copy is acknowledged; one answer. */
static void lost_ack(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_say(s, "S1 has answered, but its answer is lost");
    story_run_ms(s, 100);
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_ack(s, S1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_run_ms(s, 1000);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, S1);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-063: acknowledgements that come twice, or of what was never sent, do nothing. */
static void odd_acks(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t one = story_insert(s, CLIENT1, "k", "1");
    story_ack(s, S1);
    story_ack(s, S1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, one);
    story_insert(s, CLIENT1, "k", "2");
    story_ack_exactly(s, S1, 99, 99);
    story_ack_exactly(s, S1, UINT64_MAX, UINT64_MAX);
    story_ack_exactly(s, S1, UINT64_MAX, 0);
    story_ack_exactly(s, S1, 0, 0);
    expect_quiet(s, CLIENT1);
    expect_snapshot(s, S1, SEQ(0), "k=1");
    expect_snapshot(s, S1, SEQ(1), "k=2");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 1);
    story_take_all(s, STORE);
    expect_well(s);
    story_end(s);
}

/* C-064: an acknowledgement counts for the link and the session that it belongs to. */
static void acks_of_another(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    story_turn_begin(s);
    for (int i = 0; i < 3; i++) {
        story_insert(s, CLIENT1, "k", "v");
    }
    story_turn_end(s);
    story_ack(s, S2);
    story_ack_of_session(s, S2, story_session(s, S1), SEQ(1), SEQ(1));
    expect_quiet(s, CLIENT1);
    /* S2's words in S1's name, but on S2's link. */
    struct message forged = story_message(s, MESSAGE_SNAPSHOT_ACK, S1);
    forged.body.snapshot_ack.session = story_session(s, S1);
    forged.body.snapshot_ack.received = SEQ(1);
    forged.body.snapshot_ack.durable = SEQ(1);
    story_deliver(s, S2, &forged);
    expect_quiet(s, CLIENT1);
    story_deliver(s, S1, &forged); /* and on its own link it is S1's */
    for (uint64_t id = 0; id < 3; id++) {
        expect_ack(s, CLIENT1, id);
    }
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(snapshots_in_order),
        STORY(old_snapshot_again),
        STORY(future_snapshot),
        STORY(no_durable_ack_before_persisted),
        STORY(copies_while_persist_pending),
        STORY(store_fails_for_long),
        STORY(secondary_acknowledges_again),
        STORY(reordered_snapshots),
        STORY(begin_again),
        STORY(a_batch_is_one_number),
        STORY(commit_ahead_of_content),
        STORY(numbers_are_not_ids),
        STORY(snapshot_is_sent_again),
        STORY(rate_of_copies),
        STORY(only_what_is_lost_is_repeated),
        STORY(each_sender_counts_for_itself),
        STORY(lost_ack),
        STORY(odd_acks),
        STORY(acks_of_another),
    };
    return cmocka_run_group_tests_name("scenario_sequence", stories, NULL, NULL);
}

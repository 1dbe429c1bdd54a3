/* Updates at a primary: who must have an update before its client is told, and what if not. */
#include "story.h"

/* --- one update --- */

/* C-011: the client is told when the own store has it, not before. */
static void no_ack_before_persisted(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t id = story_insert(s, CLIENT1, "foo", "bar");
    expect_persist(s, "foo=bar");
    story_run_ms(s, 100);
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* C-014, C-071: a secondary that never answers makes the update fail at 1 s, and that is the only
 * answer. */
static void secondary_never_answers(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    expect_persist(s, "k1=v1");
    story_persisted(s);
    assert_in_range(expect_snapshot(s, S1, SEQ(0), "k1=v1") - begun_ms, 0, 200);
    story_run_ms(s, STORY_FAILED_MS_MIN - 1);
    expect_quiet(s, CLIENT1);
    story_run_ms(s, 3001);
    uint64_t failed_ms = expect_failed(s, CLIENT1, id) - begun_ms;
    assert_in_range(failed_ms, STORY_FAILED_MS_MIN, STORY_FAILED_MS_MAX);
    expect_quiet(s, CLIENT1);
    story_take_all(s, S1);
    story_end(s);
}

/* C-015: every secondary is needed. */
static void all_secondaries_are_needed(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    expect_persist(s, "k1=v1");
    expect_snapshot(s, S1, SEQ(0), "k1=v1");
    expect_snapshot(s, S2, SEQ(0), "k1=v1");
    story_persisted(s);
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    story_run_ms(s, 40);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    expect_well(s);
    story_end(s);
}

/* C-015 the other way round: the store is the last that is waited for. */
static void the_own_store_is_needed_too(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    expect_persist(s, "k1=v1");
    expect_snapshot(s, S1, SEQ(0), "k1=v1");
    expect_snapshot(s, S2, SEQ(0), "k1=v1");
    story_ack(s, S1);
    story_ack(s, S2);
    story_run_ms(s, 400);
    expect_quiet(s, CLIENT1);
    expect_node_has(s, "k1", NULL);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    expect_node_has(s, "k1", "v1");
    story_end(s);
}

/* A secondary that has received, but not stored, is not enough. */
static void received_is_not_durable(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    story_take_all(s, STORE);
    story_persisted(s);
    expect_snapshot(s, S1, SEQ(0), "k1=v1");
    story_ack_received(s, S1);
    story_run_ms(s, 500);
    expect_quiet(s, CLIENT1);
    /* It is asked, but what it has is not sent again. */
    expect_quiet(s, S1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* C-072: with prompt peers an answer takes no time at all. */
static void answer_as_soon_as_possible(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_secondary_prompt(s, S2, true);
    uint64_t begun_ms = story_now_ms(s);
    for (int i = 0; i < 20; i++) {
        uint64_t id = story_insert(s, CLIENT1, "k", "v");
        assert_int_equal(expect_ack(s, CLIENT1, id), begun_ms);
    }
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* --- failures --- */

/* C-068: acknowledgements that come after the failure was told change nothing for the client. */
static void late_acks_after_failure(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    expect_persist(s, "k1=v1");
    story_run_ms(s, 1200);
    expect_failed(s, CLIENT1, id);
    story_take_all(s, S1);
    story_ack(s, S1);
    story_persisted(s);
    story_run_ms(s, 1000);
    expect_quiet(s, CLIENT1);
    /* It is durable everywhere after all, and so it is shown: the answer said "may". */
    expect_get(s, CLIENT1, "k1", "v1");
    expect_well(s);
    story_end(s);
}

/* C-073: ten updates fail in the same millisecond, each with its own answer. */
static void ten_fail_at_once(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t begun_ms = story_now_ms(s);
    story_turn_begin(s);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(story_insert(s, CLIENT1, keys[i], "v"), i);
    }
    story_turn_end(s);
    expect_persist(s, "a=v b=v c=v d=v e=v f=v g=v h=v i=v j=v");
    story_run_ms(s, 3000);
    for (uint64_t id = 0; id < 10; id++) {
        assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                        STORY_FAILED_MS_MAX);
    }
    expect_quiet(s, CLIENT1);
    story_end(s);
}

/* C-074, C-075: traffic postpones neither the failure nor the repetitions. */
static void traffic_postpones_nothing(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_take_all(s, STORE);
    for (int i = 0; i < 66; i++) { /* 1980 ms */
        expect_get(s, CLIENT2, "k", NULL);
        if (story_batch_in_flight(s)) {
            story_persist_fails(s, "no space");
        }
        story_run_ms(s, 30);
    }
    assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                    STORY_FAILED_MS_MAX);
    expect_quiet(s, CLIENT1);
    assert_in_range(story_take_count(s, STORE, 0, begun_ms), 5, 8); /* with growing pauses */
    assert_in_range(story_take_count(s, S1, MESSAGE_SNAPSHOT, begun_ms), 15, 20);
    story_end(s);
}

/* C-103: after a failed update of a key that has a value, the key has the old or the new one. */
static void failed_update_of_existing_key(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t a = story_insert(s, CLIENT1, "k", "a");
    story_persisted(s);
    expect_ack(s, CLIENT1, a);
    uint64_t b = story_insert(s, CLIENT1, "k", "b");
    story_run_ms(s, 1200);
    expect_failed(s, CLIENT1, b);
    expect_get(s, CLIENT1, "k", "a");
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "c"), REJECT_STORE);
    story_persisted(s); /* b */
    expect_get(s, CLIENT1, "k", "b");
    uint64_t c = story_insert(s, CLIENT1, "k", "c");
    story_persisted(s); /* c */
    expect_ack(s, CLIENT1, c);
    expect_get(s, CLIENT1, "k", "c");
    story_take_all(s, STORE);
    expect_content(s, STORE, "k", "c");
    story_end(s);
}

/* C-127: a secondary was cut off, the update failed; when the link is back, the repetition alone
 * makes all equal, and later updates are acknowledged. */
static void failed_then_repaired(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_secondary_prompt(s, S2, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "old"));
    story_cut(s, S2, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "new");
    story_run_ms(s, 1500);
    expect_failed(s, CLIENT1, id);
    expect_content(s, S2, "k", "old");
    story_cut(s, S2, false);
    story_run_ms(s, 200);
    expect_content(s, S1, "k", "new");
    expect_content(s, S2, "k", "new");
    expect_content(s, STORE, "k", "new");
    expect_get(s, CLIENT1, "k", "new");
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "newest"));
    expect_content(s, S2, "k", "newest");
    expect_quiet(s, CLIENT1);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* --- several updates --- */

/* C-076: two updates of one key; the acknowledgement of the later one is cumulative, so it tells
 * both, in order, and never only the later one. */
static void two_updates_of_one_key(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t a = story_insert(s, CLIENT1, "k", "a");
    uint64_t b = story_insert(s, CLIENT1, "k", "b");
    expect_snapshot(s, S1, SEQ(0), "k=a");
    expect_snapshot(s, S1, SEQ(1), "k=b");
    story_ack_exactly(s, S1, SEQ(1), SEQ(1));
    expect_ack(s, CLIENT1, a);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT1, "k", "a");
    story_ack_exactly(s, S1, SEQ(2), SEQ(2));
    expect_ack(s, CLIENT1, b);
    expect_get(s, CLIENT1, "k", "b");
    uint64_t c = story_insert(s, CLIENT1, "k", "c");
    uint64_t d = story_insert(s, CLIENT1, "k", "d");
    expect_snapshot(s, S1, SEQ(2), "k=c");
    expect_snapshot(s, S1, SEQ(3), "k=d");
    story_ack_exactly(s, S1, SEQ(4), SEQ(4));
    story_ack_exactly(s, S1, SEQ(3), SEQ(3)); /* overtaken on the way */
    expect_ack(s, CLIENT1, c);
    expect_ack(s, CLIENT1, d);
    expect_get(s, CLIENT1, "k", "d");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-077: answers of the members in any order: an update is told when all before it are durable too,
 * in the one order. */
static void acks_in_any_order(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    uint64_t b = story_insert(s, CLIENT2, "b", "2");
    uint64_t c = story_insert(s, CLIENT1, "c", "3");
    story_ack_exactly(s, S1, SEQ(3), SEQ(3));
    expect_quiet(s, CLIENT1);
    story_ack_exactly(s, S2, SEQ(1), SEQ(1));
    expect_ack(s, CLIENT1, a);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, CLIENT2);
    story_ack_exactly(s, S2, SEQ(3), SEQ(3));
    expect_ack(s, CLIENT1, c);
    expect_ack(s, CLIENT2, b);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* C-058, C-059: a value that another one supersedes at once is answered like any other, and ids
 * decide nothing. */
static void superseded_update_is_answered(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_turn_begin(s);
    story_insert_id(s, CLIENT1, 50, "k", "first");
    story_insert_id(s, CLIENT1, 10, "k", "second");
    story_turn_end(s);
    expect_persist(s, "k=first k=second");
    expect_snapshot(s, S1, SEQ(0), "k=first k=second");
    story_persisted(s);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 50);
    expect_ack(s, CLIENT1, 10);
    expect_get(s, CLIENT1, "k", "second");
    expect_content(s, S1, "k", "second");
    expect_content(s, STORE, "k", "second");
    story_end(s);
}

/* C-082: the removal of a key that the primary lacks goes everywhere all the same. */
static void remove_of_absent_key(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t id = story_remove(s, CLIENT1, "nobody");
    expect_persist(s, "nobody=-");
    expect_snapshot(s, S1, SEQ(0), "nobody=-");
    story_persisted(s);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    expect_get(s, CLIENT1, "nobody", NULL);
    story_end(s);
}

/* C-083: so does a value that is there already. */
static void insert_of_the_same_value(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t id = story_insert(s, CLIENT1, "k", "same");
        expect_persist(s, "k=same");
        expect_snapshot(s, S1, SEQ(i), "k=same");
        story_persisted(s);
        expect_quiet(s, CLIENT1);
        story_ack(s, S1);
        expect_ack(s, CLIENT1, id);
    }
    story_end(s);
}

/* C-084: insert, remove and insert of one key without waiting. */
static void insert_remove_insert(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t one = story_insert(s, CLIENT1, "k", "1");
    uint64_t two = story_remove(s, CLIENT1, "k");
    uint64_t three = story_insert(s, CLIENT1, "k", "3");
    expect_persist(s, "k=1"); /* what came meanwhile gathers */
    story_persisted(s);
    expect_persist(s, "k=- k=3");
    story_persisted(s);
    expect_snapshot(s, S1, SEQ(0), "k=1");
    expect_snapshot(s, S1, SEQ(1), "k=-");
    expect_snapshot(s, S1, SEQ(2), "k=3");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, one);
    expect_ack(s, CLIENT1, two);
    expect_ack(s, CLIENT1, three);
    expect_get(s, CLIENT1, "k", "3");
    expect_content(s, S1, "k", "3");
    expect_content(s, STORE, "k", "3");
    story_end(s);
}

/* C-086: a reader sees the old value until the update is committed, the new one ever after. */
static void reads_during_an_update(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "old"));
    story_secondary_prompt(s, S1, false);
    uint64_t id = story_insert(s, CLIENT1, "k", "new");
    for (int i = 0; i < 5; i++) {
        story_run_ms(s, 30);
        expect_get(s, CLIENT2, "k", "old");
    }
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    for (int i = 0; i < 5; i++) {
        story_run_ms(s, 30);
        expect_get(s, CLIENT2, "k", "new");
    }
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* C-087: the primary answers reads itself, also while a secondary is dead. */
static void reads_while_a_secondary_is_dead(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    expect_get(s, CLIENT1, "k", "v");
    story_cut(s, S1, true);
    story_run_ms(s, 700);
    uint64_t asked_ms = story_now_ms(s);
    assert_int_equal(expect_result(s, CLIENT1, story_get(s, CLIENT1, "k"), "v"), asked_ms);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* --- other promises --- */

/* ack = local: only the own store is waited for. */
static void ack_local(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->ack = ACK_LOCAL;
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    expect_snapshot(s, S1, SEQ(0), "k=v");
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* ack = received: the own store, and the memory of the others. */
static void ack_received(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->ack = ACK_RECEIVED;
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_persisted(s);
    expect_quiet(s, CLIENT1);
    story_ack_received(s, S1);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(no_ack_before_persisted),
        STORY(secondary_never_answers),
        STORY(all_secondaries_are_needed),
        STORY(the_own_store_is_needed_too),
        STORY(received_is_not_durable),
        STORY(answer_as_soon_as_possible),
        STORY(late_acks_after_failure),
        STORY(ten_fail_at_once),
        STORY(traffic_postpones_nothing),
        STORY(failed_update_of_existing_key),
        STORY(failed_then_repaired),
        STORY(two_updates_of_one_key),
        STORY(acks_in_any_order),
        STORY(superseded_update_is_answered),
        STORY(remove_of_absent_key),
        STORY(insert_of_the_same_value),
        STORY(insert_remove_insert),
        STORY(reads_during_an_update),
        STORY(reads_while_a_secondary_is_dead),
        STORY(ack_local),
        STORY(ack_received),
    };
    return cmocka_run_group_tests_name("scenario_updates", stories, NULL, NULL);
}

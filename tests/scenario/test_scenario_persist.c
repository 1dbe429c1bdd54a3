/* The store of the node: slow, silent, failing, and full of what was there before. */
#include "story.h"

/* C-012: a batch that failed is handed over again, the very same, until it is stored. */
static void failed_batch_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t id = story_insert(s, CLIENT1, "foo", "bar");
    expect_persist(s, "foo=bar");
    for (int i = 0; i < 2; i++) {
        uint64_t failed_ms = story_now_ms(s);
        story_persist_fails(s, "no space left");
        story_run_ms(s, 100u << i);
        assert_int_equal(expect_persist_again(s) - failed_ms, 100u << i);
        expect_quiet(s, CLIENT1);
    }
    story_run_ms(s, 100);
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    story_end(s);
}

/* C-013: a store that never answers: the client is told at 1 s. Nothing else is handed to the store
 * meanwhile; its one call is still going on. */
static void store_never_answers(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    story_run_ms(s, 800);
    expect_quiet(s, CLIENT1);
    story_run_ms(s, 2200);
    assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                    STORY_FAILED_MS_MAX);
    expect_quiet(s, STORE);
    expect_node_has(s, "k", NULL);
    story_end(s);
}

/* C-065: the store answers a batch twice: one answer to the client, and no other consequence. */
static void persisted_twice(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t one = story_insert(s, CLIENT1, "k", "1");
    uint64_t batch = story_batch(s);
    story_persisted(s);
    story_persist_answer(s, batch, true);
    story_persist_answer(s, batch, false);
    expect_ack(s, CLIENT1, one);
    uint64_t two = story_insert(s, CLIENT1, "k", "2");
    story_persist_answer(s, batch, true); /* does not stand for the next batch */
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, two);
    story_run_ms(s, 500);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, ARBITER); /* no Join */
    expect_persist(s, "k=1");
    expect_persist(s, "k=2");
    expect_quiet(s, STORE);
    expect_get(s, CLIENT1, "k", "2");
    story_end(s);
}

/* C-065: the first attempt failed, and its late success is told as well as the second's. */
static void late_success_of_first_attempt(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    uint64_t first = story_batch(s);
    expect_persist(s, "k=v");
    story_persist_fails(s, "time out");
    story_persist_answer(s, first, true); /* once failed, it stays so until tried again */
    expect_quiet(s, CLIENT1);
    story_run_ms(s, 100);
    expect_persist_again(s);
    story_persist_answer(s, first, true);
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* C-066: an answer to a batch that never was is ignored. */
static void answer_to_no_batch(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_persist_answer(s, 77, true);
    story_persist_answer(s, 0, false);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_persist_answer(s, story_batch(s) + 1, true);
    story_persist_answer(s, UINT64_MAX, true);
    expect_quiet(s, CLIENT1);
    expect_persist(s, "k=v");
    expect_quiet(s, STORE);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    expect_well(s);
    story_end(s);
}

/* C-067, C-094: stored after 1.2 s: failed at 1 s, no answer later; the node is well. */
static void stored_after_the_failure(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    story_run_ms(s, 1200);
    assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                    STORY_FAILED_MS_MAX);
    story_persisted(s);
    story_run_ms(s, 3000);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT1, "k", "v");
    expect_well(s);
    story_end(s);
}

/* C-093: stored after 0.7 s: acknowledged then, once. */
static void slow_store(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_secondary_prompt(s, S1, true);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_persist(s, "k=v");
    story_run_ms(s, 700);
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    assert_int_equal(expect_ack(s, CLIENT1, id) - begun_ms, 700);
    story_run_ms(s, 3000);
    expect_quiet(s, CLIENT1);
    expect_quiet(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* C-089: while the first batch is repeated the next one gathers; they are never mixed up, and the
 * order stays. */
static void retries_are_not_mixed_up(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    uint64_t b = story_insert(s, CLIENT1, "b", "2");
    expect_persist(s, "a=1");
    for (int i = 0; i < 3; i++) {
        story_persist_fails(s, "no space left");
        story_run_ms(s, 100u << i);
        expect_persist_again(s);
    }
    uint64_t c = story_insert(s, CLIENT1, "a", "3");
    story_persisted(s);
    expect_ack(s, CLIENT1, a);
    expect_quiet(s, CLIENT1);
    expect_persist(s, "b=2 a=3");
    story_persist_fails(s, "no space left");
    story_run_ms(s, 100);
    expect_persist_again(s);
    story_persisted(s);
    expect_ack(s, CLIENT1, b);
    expect_ack(s, CLIENT1, c);
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    expect_content(s, STORE, "a", "3");
    expect_content(s, STORE, "b", "2");
    story_end(s);
}

/* C-091, C-092, C-099: the store fails 20 times in a row while updates come; then it works: nothing
 * queued was lost, the node did not join again, its content is there. */
static void twenty_failures(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "before", "0"));
    expect_persist(s, "before=0");
    story_store_prompt(s, false);
    static const char *const keys[] = {"a", "b"};
    uint64_t ids[2];
    for (int i = 0; i < 20; i++) {
        if (i < 2) {
            ids[i] = story_insert(s, CLIENT1, keys[i], "v");
        }
        if (i == 0) {
            expect_persist(s, "a=v");
        } else {
            expect_persist_again(s);
        }
        story_persist_fails(s, "the plugin raised an error");
        expect_get(s, CLIENT2, "before", "0");
        story_run_ms(s, i < 3 ? 100u << i : PERSIST_RETRY_MS_MAX);
    }
    for (int i = 0; i < 2; i++) {
        expect_failed(s, CLIENT1, ids[i]);
    }
    /* The first deadline is over: what comes now does not queue, it is rejected at once. */
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "c", "v"), REJECT_STORE);
    expect_quiet(s, CLIENT1);
    expect_persist_again(s);
    story_persisted(s);
    expect_persist(s, "b=v");
    uint64_t last = story_insert(s, CLIENT1, "c", "v");
    story_persisted(s);
    expect_persist(s, "c=v");
    story_persisted(s);
    expect_ack(s, CLIENT1, last);
    for (int i = 0; i < 2; i++) {
        expect_get(s, CLIENT1, keys[i], "v");
        expect_content(s, STORE, keys[i], "v");
    }
    expect_well(s);
    story_end(s);
}

/* C-095: one order: what comes after a stuck update waits with it, and is answered with it. */
static void stuck_batch_holds_the_next(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    story_run_ms(s, 500);
    uint64_t b = story_insert(s, CLIENT2, "b", "2");
    story_run_ms(s, 700);
    expect_failed(s, CLIENT1, a);
    expect_quiet(s, CLIENT2);
    expect_persist(s, "a=1");
    expect_quiet(s, STORE);
    story_persisted(s);
    expect_persist(s, "b=2");
    story_persisted(s);
    expect_ack(s, CLIENT2, b);
    expect_quiet(s, CLIENT1);
    story_end(s);
}

/* C-096: a replica that joins costs the primary's own store nothing. */
static void joiner_does_not_touch_own_store(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    expect_persist(s, "k=v");
    story_brings_in(s, S1);
    story_run_ms(s, 500);
    expect_quiet(s, STORE);
    expect_content(s, S1, "k", "v");
    story_take_all(s, S1);
    story_end(s);
}

/* C-098: started on the store of before: the content is there, the Join tells its position, the
 * next update goes on after it. */
static void restart_on_a_store(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "a=1 b=2 a=3 b=-", (struct kv_position){4, 9});
    expect_join(s);
    story_view_follows(s, 4);
    story_joined_primary(s);
    story_primary_marked(s);
    assert_int_equal(story_batch_position(s).view, 4); /* its content is no newer than before */
    assert_int_equal(story_batch_position(s).index, 9);
    expect_get(s, CLIENT1, "a", "3");
    expect_get(s, CLIENT1, "b", NULL);
    uint64_t id = story_insert(s, CLIENT1, "c", "4");
    expect_persist(s, "c=4");
    assert_int_equal(story_batch_position(s).view, 5);
    assert_int_equal(story_batch_position(s).index, 10);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* C-098: with a store that keeps nothing a restarted node is empty, and says so. */
static void restart_without_a_store(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_joined_primary(s);
    story_primary_marked(s);
    expect_get(s, CLIENT1, "a", NULL);
    uint64_t id = story_insert(s, CLIENT1, "c", "4");
    expect_persist(s, "c=4");
    assert_int_equal(story_batch_position(s).index, 1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    story_end(s);
}

/* A new primary first makes its store a primary's. Until that is durable the data folder does not
 * belong to the cluster, and nobody is taken in: the store could still be lost unnoticed. */
static void first_batch_of_a_primary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_joined_primary(s);
    expect_persist(s, "");
    story_secondary_prompt(s, S1, true);
    story_joins(s, S1);
    story_persist_fails(s, "no space left");
    story_run_ms(s, 200);
    expect_persist_again(s);
    expect_quiet(s, ARBITER);
    expect_identity(s, false);
    story_persisted(s);
    expect_identity(s, true);
    story_run_ms(s, 100);
    expect_caught_up(s, S1);
    story_take_all(s, S1);
    story_end(s);
}

/* The arbiter's state is older than the data: going on could lose what was acknowledged. */
static void arbiter_lost_its_state(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "a=1", (struct kv_position){4, 9});
    expect_join(s);
    story_joined_primary(s); /* as view 1 */
    expect_stop(s, 4);
    expect_quiet(s, STORE);
    story_end(s);
}

/* While a content is being replaced the store knows that it is incomplete; keys that the primary
 * lacks are removed; reads are refused until all is there and the view says so. */
static void store_during_a_transfer(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "same=1 stale=2 old=3", (struct kv_position){1, 3});
    expect_join(s);
    story_joined_secondary(s);
    story_primary_has(s, 7);
    story_begin_session(s);
    expect_persist(s, "");
    assert_int_equal(story_batch_position(s).index, 0);
    story_persisted(s);
    expect_snapshot_ack(s, 1, 1);
    expect_rejected(s, CLIENT1, story_get(s, CLIENT1, "same"), REJECT_NOT_READY);
    story_write(s, "new=5");
    expect_persist(s, "new=5");
    assert_int_equal(story_batch_position(s).index, 0);
    story_persisted(s);
    expect_snapshot_ack(s, 2, 2);
    story_content_as_of(s, "same=9", 7);
    expect_snapshot_ack(s, 2, 2); /* not complete before the store has it */
    expect_persist(s, "stale=- old=- same=9");
    assert_int_equal(story_batch_position(s).index, story_index(s));
    story_persisted(s);
    expect_snapshot_ack(s, 2, 2); /* complete */
    story_node_in_sync(s);
    expect_snapshot_ack(s, 2, 2);
    expect_get(s, CLIENT1, "same", "9"); /* what is committed is there */
    expect_get(s, CLIENT1, "new", NULL);
    story_commits(s, story_index(s));
    expect_get(s, CLIENT1, "same", "9");
    expect_get(s, CLIENT1, "new", "5");
    expect_get(s, CLIENT1, "stale", NULL);
    expect_content(s, STORE, "stale", NULL);
    expect_content(s, STORE, "old", NULL);
    expect_content(s, STORE, "same", "9");
    story_end(s);
}

/* Content that is older than updates which came before it: they are put on top of it again, in
 * memory and in the store, whether committed already or not. */
static void updates_before_older_content(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded_with(s, "k=mine", (struct kv_position){1, 1});
    expect_join(s);
    story_store_prompt(s, true);
    story_joined_secondary(s);
    story_primary_has(s, 7);
    story_begin_session(s);
    story_write(s, "k=new gone=1 later=1");
    story_write(s, "gone=-");
    story_commits(s, story_index(s));
    story_write(s, "later=2");
    story_take_all(s, STORE);
    story_content_as_of(s, "k=old gone=0", 7);
    story_commits(s, story_index(s));
    story_node_in_sync(s);
    story_commits(s, story_index(s));
    expect_get(s, CLIENT1, "k", "new");
    expect_get(s, CLIENT1, "gone", NULL);
    expect_get(s, CLIENT1, "later", "2");
    expect_content(s, STORE, "k", "new");
    expect_content(s, STORE, "gone", NULL);
    expect_content(s, STORE, "later", "2");
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(failed_batch_again),
        STORY(store_never_answers),
        STORY(persisted_twice),
        STORY(late_success_of_first_attempt),
        STORY(answer_to_no_batch),
        STORY(stored_after_the_failure),
        STORY(slow_store),
        STORY(retries_are_not_mixed_up),
        STORY(twenty_failures),
        STORY(stuck_batch_holds_the_next),
        STORY(joiner_does_not_touch_own_store),
        STORY(restart_on_a_store),
        STORY(restart_without_a_store),
        STORY(first_batch_of_a_primary),
        STORY(arbiter_lost_its_state),
        STORY(store_during_a_transfer),
        STORY(updates_before_older_content),
    };
    return cmocka_run_group_tests_name("scenario_persist", stories, NULL, NULL);
}

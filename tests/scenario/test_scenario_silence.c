/* Members, links and the primary itself that fall silent, and come back. */
#include "story.h"

static void read_all(struct story *s)
{
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
}

/* C-125: a secondary dies. Updates fail, until the view lets it go; then they are acknowledged. */
static void dead_secondary(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_cut(s, S1, true);
    for (int i = 0; i < 2; i++) {
        uint64_t begun_ms = story_now_ms(s);
        uint64_t id = story_insert(s, CLIENT1, "k", "v");
        story_run_ms(s, 1100);
        assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                        STORY_FAILED_MS_MAX);
    }
    uint64_t last = story_insert(s, CLIENT1, "k", "w");
    story_leaves(s, S1);
    expect_ack(s, CLIENT1, last);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "x"));
    expect_quiet(s, CLIENT1);
    read_all(s);
    story_end(s);
}

/* With the usual replica_timeout_ms the primary has it taken out before the update would fail. */
static void silent_secondary_is_suspected(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_cut(s, S2, true);
    uint64_t begun_ms = story_now_ms(s);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 620);
    assert_in_range(expect_suspect(s, S2) - begun_ms, 500, 600);
    expect_suspect(s, S2); /* repeated, until a view shows that it was heard */
    expect_quiet(s, ARBITER);
    expect_quiet(s, CLIENT1);
    story_leaves(s, S2);
    expect_ack(s, CLIENT1, id);
    story_run_ms(s, 1000);
    expect_quiet(s, ARBITER);
    read_all(s);
    story_end(s);
}

/* Received, but never stored: that is no progress either. */
static void secondary_that_never_stores(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t begun_ms = story_now_ms(s);
    story_insert(s, CLIENT1, "k", "v");
    for (int i = 0; i < 5; i++) {
        story_ack_received(s, S1);
        story_run_ms(s, 90);
        expect_quiet(s, ARBITER);
    }
    story_ack_received(s, S1);
    story_run_ms(s, 100);
    assert_in_range(expect_suspect(s, S1) - begun_ms, 500, 600);
    story_take_all(s, ARBITER);
    story_leaves(s, S1);
    expect_ack(s, CLIENT1, 0);
    read_all(s);
    story_end(s);
}

/* Nothing to do is no silence: the primary asks, the secondary answers. */
static void quiet_is_not_silent(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_secondary_prompt(s, S1, true);
    story_run_ms(s, 3000);
    expect_quiet(s, ARBITER);
    expect_quiet(s, S1);
    story_cut(s, S1, true);
    story_run_ms(s, 650);
    expect_suspect(s, S1);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* A primary that stood still has heard nobody meanwhile: that is not the others' silence. */
static void primary_that_stood_still(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_run_ms(s, 300);
    story_stand_still_ms(s, 10000);
    story_run_ms(s, 0);
    expect_quiet(s, ARBITER);
    story_run_ms(s, 1000);
    expect_quiet(s, ARBITER);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    read_all(s);
    story_end(s);
}

/* A candidate that does not answer at all is reported like a member. */
static void candidate_never_answers(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    uint64_t begun_ms = story_now_ms(s);
    story_joins(s, S1);
    story_run_ms(s, 450);
    expect_quiet(s, ARBITER);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_run_ms(s, 100);
    assert_in_range(expect_suspect(s, S1) - begun_ms, 500, 600);
    assert_int_equal(story_take_count(s, S1, MESSAGE_SNAPSHOT, begun_ms), 0);
    assert_in_range(story_take_count(s, S1, 0, begun_ms), 4, 8); /* the view and Probes */
    story_leaves(s, S1);
    read_all(s);
    story_end(s);
}

/* A link that comes back brings at once what was not received, and nothing twice. */
static void link_comes_back(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_insert(s, CLIENT1, "a", "1");
    expect_snapshot(s, S1, SEQ(0), "a=1");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 0);
    story_cut(s, S1, true);
    story_insert(s, CLIENT1, "b", "2");
    story_insert(s, CLIENT1, "c", "3");
    story_run_ms(s, 330);
    story_cut(s, S1, false);
    uint64_t back_ms = story_now_ms(s);
    story_link_returns(s, S1);
    assert_int_equal(expect_snapshot(s, S1, SEQ(1), "b=2"), back_ms);
    assert_int_equal(expect_snapshot(s, S1, SEQ(2), "c=3"), back_ms);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 1);
    expect_ack(s, CLIENT1, 2);
    story_link_returns(s, S1);
    story_run_ms(s, 300);
    expect_quiet(s, S1);
    story_take_all(s, STORE);
    story_end(s);
}

/* A Join need not wait for its next turn when the arbiter can be reached again. */
static void arbiter_link_comes_back(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_create_node(s);
    story_loaded(s);
    expect_join(s);
    story_run_ms(s, 30);
    uint64_t back_ms = story_now_ms(s);
    story_link_returns(s, ARBITER);
    assert_int_equal(expect_join(s), back_ms);
    story_joined_primary(s);
    story_primary_marked(s);
    story_run_ms(s, 30);
    back_ms = story_now_ms(s);
    story_link_returns(s, ARBITER);
    expect_quiet(s, ARBITER);                                      /* no Join ... */
    assert_int_equal(story_take_count(s, ARBITER, 0, back_ms), 1); /* ... but a Heartbeat */
    story_end(s);
}

/* Bytes that are no message, or of another version, on a link that the node has opened itself: they
 * are ignored, and the link is kept, since nobody would open it again. */
static void junk_on_own_links(void **state)
{
    static const uint8_t foreign[28] = {'K', 'V', 9, 99};
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_deliver_bytes(s, ARBITER, "junk", 4);
    story_deliver_bytes(s, S1, "junk", 4);
    story_deliver_bytes(s, ARBITER, foreign, sizeof(foreign));
    story_deliver_bytes(s, S1, foreign, sizeof(foreign));
    assert_int_equal(story_take_count(s, ARBITER, MESSAGE_UNSUPPORTED, 0), 1);
    assert_int_equal(story_take_count(s, S1, MESSAGE_UNSUPPORTED, 0), 1);
    uint64_t junk_ms = story_now_ms(s);
    story_run_ms(s, 2000);
    expect_quiet(s, ARBITER);
    assert_in_range(story_take_count(s, ARBITER, 0, junk_ms + 1), 10, 20); /* Heartbeats */
    expect_well(s);
    story_cut(s, S1, true);
    story_run_ms(s, 650);
    expect_suspect(s, S1);
    story_take_all(s, ARBITER);
    story_end(s);
}

/* At S1's first address nobody answers (a firewall, say): the next session tries the second one,
 * and those after it stay with it for as long as somebody is heard there. */
static void address_that_leads_nowhere(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    story_has_second_address(s, S1);
    story_view_add(s, S1);
    story_tell_view(s); /* its link does not come up */
    assert_string_equal(story_first_address(s, S1), "test://S1");
    story_run_ms(s, 550);
    expect_suspect(s, S1);
    story_leaves(s, S1);
    story_brings_in(s, S1);
    assert_string_equal(story_first_address(s, S1), "second://S1");
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_say(s, "it falls silent: that alone is no reason to change");
    story_cut(s, S1, true);
    story_run_ms(s, 650);
    story_take_all(s, ARBITER); /* Suspect, some times */
    story_leaves(s, S1);
    story_joins(s, S1);
    assert_string_equal(story_first_address(s, S1), "second://S1");
    story_run_ms(s, 550);
    expect_suspect(s, S1);
    story_say(s, "not a word in a whole session: the next one, and after the last the first");
    story_leaves(s, S1);
    story_cut(s, S1, false);
    story_brings_in(s, S1);
    assert_string_equal(story_first_address(s, S1), "test://S1");
    story_take_all(s, ARBITER);
    read_all(s);
    story_end(s);
}

/* A member that comes again before its silence has lasted has no trouble with its address. */
static void restart_keeps_the_address(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 0);
    story_has_second_address(s, S1);
    for (int i = 0; i < 3; i++) {
        story_view_add(s, S1);
        story_tell_view(s);
        story_run_ms(s, 300);
        assert_string_equal(story_first_address(s, S1), "test://S1");
        story_leaves(s, S1);
    }
    read_all(s);
    story_end(s);
}

/* The process of S1 is killed and starts again, and no transport says so: its old link stays up.
 * The new session has a link of its own, and what is told of the old one later changes nothing. */
static void old_link_ends_late(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->replica_timeout_ms = 500;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_cut(s, S1, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 200);
    expect_quiet(s, CLIENT1);
    story_cut(s, S1, false);
    story_secondary_prompt(s, S1, true);
    uint64_t old_link = story_link_to(s, S1);
    story_view_remove(s, S1);
    story_view_add(s, S1);
    story_tell_view(s);
    story_links_up(s);
    assert_true(story_link_to(s, S1) != old_link);
    expect_ack(s, CLIENT1,
               id); /* what it owed before is waived; the candidate does not count yet */
    expect_caught_up(s, S1);
    story_link_goes(s, old_link);
    story_is_in_sync(s, S1);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    expect_content(s, S1, "k", "w");
    story_take_all(s, ARBITER);
    read_all(s);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(dead_secondary),
        STORY(silent_secondary_is_suspected),
        STORY(secondary_that_never_stores),
        STORY(quiet_is_not_silent),
        STORY(primary_that_stood_still),
        STORY(candidate_never_answers),
        STORY(link_comes_back),
        STORY(arbiter_link_comes_back),
        STORY(junk_on_own_links),
        STORY(address_that_leads_nowhere),
        STORY(restart_keeps_the_address),
        STORY(old_link_ends_late),
    };
    return cmocka_run_group_tests_name("scenario_silence", stories, NULL, NULL);
}

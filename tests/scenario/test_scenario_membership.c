/* Who comes and goes: views at a primary with updates outstanding. */
#include "story.h"

static uint32_t replicators(const struct story *s)
{
    struct node_state state;
    node_observe(story_node(s), &state);
    return state.replicators;
}

static void all_prompt(struct story *s)
{
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_secondary_prompt(s, S2, true);
    story_secondary_prompt(s, S3, true);
}

static void read_all(struct story *s)
{
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_take_all(s, S3);
}

/* --- those who come --- */

/* C-016: a late joiner gets the content, then the updates. */
static void late_joiner_gets_content(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "v1"));
    story_joins(s, S1);
    expect_quiet(s, S1); /* before it has told how far it is */
    story_resumes(s, S1);
    expect_begin(s, S1);
    story_ack(s, S1);
    expect_quiet(s, ARBITER);
    story_fetches(s, S1);
    expect_fetched(s, S1, "k1=v1");
    expect_quiet(s, ARBITER);
    story_ack(s, S1);
    expect_caught_up(s, S1);
    expect_content(s, S1, "k1", "v1");
    story_is_in_sync(s, S1);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v2");
    expect_snapshot(s, S1, SEQ(0), "k1=v2");
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    id = story_remove(s, CLIENT1, "k1");
    expect_snapshot(s, S1, SEQ(1), "k1=-");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    expect_content(s, S1, "k1", NULL);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-119: of an empty content nothing is fetched; then come the updates. */
static void transfer_of_nothing(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    story_brings_in(s, S1);
    expect_begin(s, S1);
    expect_fetched(s, S1, "");
    expect_quiet(s, S1);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_take_all(s, STORE);
    story_end(s);
}

/* The Probe, Begin and the content may each be lost: they come again, until the candidate has all.
 */
static void lossy_transfer(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "v1"));
    story_cut(s, S1, true);
    story_joins(s, S1); /* the Probe is lost */
    story_run_ms(s, 150);
    story_resumes(s, S1); /* Begin is lost */
    story_cut(s, S1, false);
    expect_quiet(s, S1);
    story_run_ms(s, 100);
    expect_begin(s, S1);
    story_cut(s, S1, true);
    story_fetches(s, S1); /* the answer is lost */
    story_run_ms(s, 50);
    story_cut(s, S1, false);
    story_fetches(s, S1);
    expect_fetched(s, S1, "k1=v1");
    expect_quiet(s, ARBITER);
    story_ack(s, S1);
    expect_caught_up(s, S1);
    story_is_in_sync(s, S1);
    expect_content(s, S1, "k1", "v1");
    story_take_all(s, STORE);
    expect_well(s);
    story_end(s);
}

/* Updates while the content is fetched: in whatever order they and the content arrive, the
 * candidate ends with the newest. */
static void updates_during_a_transfer(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "old"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k2", "old"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k3", "old"));
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin(s, S1);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "new"));
    expect_ack(s, CLIENT1, story_remove(s, CLIENT1, "k2"));
    expect_quiet(s, S1);
    story_ack(s, S1);
    story_fetches(s, S1);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k3", "newer"));
    story_secondary_prompt(s, S1, true);
    expect_caught_up(s, S1);
    expect_content(s, S1, "k1", "new");
    expect_content(s, S1, "k2", NULL);
    expect_content(s, S1, "k3", "newer");
    read_all(s);
    story_end(s);
}

/* C-118: a candidate does not count; from the moment when the primary reports it as caught up it
 * does, and its acknowledgements of the transfer complete no update. */
static void transfer_acks_complete_nothing(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "v"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k2", "v"));
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k3", "v"));
    story_joins(s, S2);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k9", "before"));
    story_resumes(s, S2);
    story_ack(s, S2); /* Begin, after k9 */
    uint64_t begun = story_received(s, S2);
    expect_quiet(s, ARBITER);
    uint64_t id = story_insert(s, CLIENT1, "k10", "outstanding");
    expect_ack(s, CLIENT1, id); /* it has no content yet: S2 does not count */
    id = story_insert(s, CLIENT1, "k11", "outstanding");
    expect_ack(s, CLIENT1, id);
    story_fetches(s, S2);
    story_ack_exactly(s, S2, begun + 1, begun + 1); /* all of the content, k10, not k11 */
    expect_quiet(s, ARBITER);                       /* it lacks what is committed */
    id = story_insert(s, CLIENT1, "k12", "must wait");
    expect_quiet(s, CLIENT1);
    story_ack_exactly(s, S2, begun + 2, begun + 2);
    expect_caught_up(s, S2);
    story_is_in_sync(s, S2);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    expect_well(s);
    story_end(s);
}

/* The arbiter does not hear of it at once: the report is repeated, and the member counts already.
 */
static void caught_up_is_reported_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    story_joins(s, S1);
    uint64_t told_ms = expect_caught_up(s, S1);
    story_run_ms(s, 100);
    assert_in_range(expect_caught_up(s, S1) - told_ms, 50, 200);
    story_secondary_prompt(s, S1, false);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_is_in_sync(s, S1);
    story_take_all(s, ARBITER);
    story_run_ms(s, 500);
    expect_quiet(s, ARBITER);
    read_all(s);
    story_end(s);
}

/* A candidate that would make the primary keep too much is given up; writers do not wait for it. */
static void candidate_that_holds_up_is_given_up(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->limits.inflight_bytes = 4096;
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    story_joins(s, S1);
    story_resumes(s, S1);
    expect_begin(s, S1);
    for (int i = 0; i < 50; i++) {
        expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "key", "a value of some length"));
        if (i % 10 == 0) {
            story_run_ms(s, 20);
        }
    }
    expect_suspect(s, S1);
    story_leaves(s, S1);
    assert_int_equal(replicators(s), 0);
    story_take_all(s, ARBITER);
    read_all(s);
    story_end(s);
}

/* min_in_sync: fewer are not enough to begin an update. */
static void too_few_in_sync(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->min_in_sync = 2;
    story_start_primary(s, 0);
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"), REJECT_MIN_IN_SYNC);
    expect_quiet(s, STORE);
    story_brings_in(s, S1);
    all_prompt(s);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_leaves(s, S1);
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"), REJECT_MIN_IN_SYNC);
    expect_get(s, CLIENT1, "k", "v");
    read_all(s);
    story_end(s);
}

/* And when they become fewer, what is outstanding is not acknowledged until they are enough. */
static void fewer_in_sync_meanwhile(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->min_in_sync = 2;
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_leaves(s, S1);
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT1, "k", NULL);
    story_brings_in(s, S2);
    expect_ack(s, CLIENT1, id);
    expect_content(s, S2, "k", "v");
    expect_get(s, CLIENT1, "k", "v");
    read_all(s);
    story_end(s);
}

/* --- those who go --- */

/* C-017, C-113: whoever leaves has no sender any more, and hears nothing more. */
static void nothing_is_sent_to_a_leaver(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k1", "v1");
    expect_snapshot(s, S1, SEQ(0), "k1=v1");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_insert(s, CLIENT1, "k1", "v2");
    expect_snapshot(s, S1, SEQ(1), "k1=v2");
    assert_int_equal(replicators(s), 1);
    story_run_ms(s, 10);
    uint64_t left_ms = story_now_ms(s);
    story_leaves(s, S1);
    assert_int_equal(replicators(s), 0);
    expect_ack(s, CLIENT1, 1);
    story_run_ms(s, 1000);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "v3"));
    assert_int_equal(story_take_count(s, S1, 0, left_ms), 0);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-018: what a leaver owes is waived, at once. */
static void leaver_is_waived(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t one = story_insert(s, CLIENT1, "k1", "v1");
    expect_snapshot(s, S1, SEQ(0), "k1=v1");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, one);
    uint64_t two = story_insert(s, CLIENT1, "k1", "v2");
    expect_snapshot(s, S1, SEQ(1), "k1=v2");
    story_run_ms(s, 80);
    expect_quiet(s, CLIENT1);
    uint64_t left_ms = story_now_ms(s);
    story_leaves(s, S1);
    assert_int_equal(expect_ack(s, CLIENT1, two), left_ms);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-104: one comes, one goes, in the same view. */
static void join_and_leave_in_one_view(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    all_prompt(s);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    expect_snapshot(s, S1, SEQ(0), "k=v");
    story_run_ms(s, 10);
    uint64_t left_ms = story_now_ms(s);
    story_view_remove(s, S1);
    story_view_add(s, S2);
    story_tell_view(s);
    story_links_up(s);
    expect_begin(s, S2);
    expect_fetched(s, S2, "k=v");
    expect_caught_up(s, S2);
    story_is_in_sync(s, S2);
    story_run_ms(s, 500);
    assert_int_equal(story_take_count(s, S1, 0, left_ms), 0);
    expect_content(s, S2, "k", "v");
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    expect_content(s, S2, "k", "w");
    expect_content(s, S1, "k", "v");
    read_all(s);
    story_end(s);
}

/* A member leaves and comes back in one view: another session, so it begins anew, and what is said
 * of the session before counts no more. */
static void leave_and_return_in_one_view(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    all_prompt(s);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_take_all(s, S1);
    story_secondary_prompt(s, S1, false);
    uint64_t session = story_session(s, S1);
    story_view_remove(s, S1);
    story_view_add(s, S1);
    story_tell_view(s);
    story_links_up(s);
    assert_int_not_equal(story_session(s, S1), session);
    story_resumes(s, S1);
    expect_begin(s, S1);
    story_ack_of_session(s, S1, session, 1, 1);
    story_ack_of_session(s, S1, session, SEQ(1), SEQ(1));
    expect_quiet(s, S1);
    story_secondary_prompt(s, S1, true);
    expect_fetched(s, S1, "k=v");
    expect_caught_up(s, S1);
    assert_int_equal(replicators(s), 1);
    story_is_in_sync(s, S1);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    expect_snapshot(s, S1, SEQ(0), "k=w");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-105: the order of the members means nothing. */
static void members_in_another_order(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_view_turn_round(s);
    story_tell_view(s);
    assert_int_equal(replicators(s), 2);
    story_ack(s, S2);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    expect_well(s);
    story_end(s);
}

/* C-105: a view without the primary itself: it stops being one, answers what is outstanding, and
 * joins again as another incarnation. */
static void primary_is_not_in_the_view(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_run_ms(s, 10);
    uint64_t out_ms = story_now_ms(s);
    story_node_taken_out(s);
    expect_failed(s, CLIENT1, id);
    story_run_ms(s, 200);
    expect_quiet(s, ARBITER); /* not before its store has taken what it was given */
    story_persisted(s);
    story_run_ms(s, 100);
    expect_join(s);
    assert_int_equal(replicators(s), 0);
    assert_int_equal(story_take_count(s, S1, 0, out_ms), 0);
    expect_quiet(s, CLIENT1);
    read_all(s);
    story_end(s);
}

/* C-106: when only the primary is left, all that is outstanding needs its store only. */
static void only_the_primary_is_left(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 3);
    story_store_prompt(s, true);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    uint64_t b = story_insert(s, CLIENT1, "b", "2");
    expect_quiet(s, CLIENT1);
    story_view_remove(s, S1);
    story_view_remove(s, S2);
    story_view_remove(s, S3);
    story_tell_view(s);
    expect_ack(s, CLIENT1, a);
    expect_ack(s, CLIENT1, b);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "c", "3"));
    read_all(s);
    story_end(s);
}

/* C-107: the same view again changes nothing: no second sender, nothing fetched again, no new
 * numbers. A new view with the same members repeats only what was not received. */
static void same_view_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "1");
    expect_snapshot(s, S1, SEQ(0), "k=1");
    story_tell_view_again(s);
    story_tell_view_again(s);
    expect_quiet(s, S1);
    expect_quiet(s, CLIENT1);
    story_tell_view(s);
    expect_snapshot(s, S1, SEQ(0), "k=1");
    expect_quiet(s, S1);
    assert_int_equal(replicators(s), 1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    id = story_insert(s, CLIENT1, "k", "2");
    expect_snapshot(s, S1, SEQ(1), "k=2");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, id);
    story_take_all(s, STORE);
    story_end(s);
}

/* C-108: the waiver does not stand for the own store. */
static void waiver_still_needs_the_store(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_leaves(s, S1);
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT1);
    story_persisted(s);
    expect_ack(s, CLIENT1, id);
    uint64_t begun_ms = story_now_ms(s);
    id = story_insert(s, CLIENT1, "k", "w"); /* and if the store stays silent */
    story_run_ms(s, 3000);
    assert_in_range(expect_failed(s, CLIENT1, id) - begun_ms, STORY_FAILED_MS_MIN,
                    STORY_FAILED_MS_MAX);
    read_all(s);
    story_end(s);
}

/* C-109: only the leaver is waived; one that comes meanwhile waives nobody. */
static void only_the_leaver_is_waived(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_leaves(s, S1);
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    story_joins(s, S3);
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    story_end(s);
}

/* C-110: the leaver had acknowledged already: that does not stand for another. */
static void leaver_had_acknowledged(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_ack(s, S1);
    story_leaves(s, S1);
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    story_end(s);
}

/* C-111: one that stays had acknowledged already: that is not forgotten when another leaves. */
static void stayer_had_acknowledged(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 3);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    story_ack(s, S1);
    story_leaves(s, S3);
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    story_end(s);
}

/* C-112: several updates outstanding when one leaves: each is judged for itself. */
static void several_outstanding_at_a_leave(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t a = story_insert(s, CLIENT1, "a", "1");
    uint64_t b = story_insert(s, CLIENT1, "b", "2");
    uint64_t c = story_insert(s, CLIENT1, "c", "3");
    story_ack_exactly(s, S1, SEQ(2), SEQ(2));
    story_ack_exactly(s, S2, SEQ(1), SEQ(1));
    expect_ack(s, CLIENT1, a);
    expect_quiet(s, CLIENT1);
    story_leaves(s, S2);
    expect_ack(s, CLIENT1, b);
    story_run_ms(s, 300);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    expect_ack(s, CLIENT1, c);
    read_all(s);
    story_end(s);
}

/* C-114: what comes late from a leaver is ignored, whatever view it names. */
static void late_ack_from_a_leaver(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 2);
    story_store_prompt(s, true);
    uint64_t id = story_insert(s, CLIENT1, "k", "v");
    uint64_t before = story_view_number(s);
    story_leaves(s, S1);
    story_ack_in_view(s, S1, before);
    story_ack_in_view(s, S1, story_view_number(s));
    expect_quiet(s, CLIENT1);
    /* An acknowledgement of a member counts in the view of the primary only. */
    story_ack_in_view(s, S2, before);
    story_ack_in_view(s, S2, story_view_number(s) + 1);
    expect_quiet(s, CLIENT1);
    story_ack(s, S2);
    expect_ack(s, CLIENT1, id);
    read_all(s);
    expect_well(s);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(late_joiner_gets_content),
        STORY(transfer_of_nothing),
        STORY(lossy_transfer),
        STORY(updates_during_a_transfer),
        STORY(transfer_acks_complete_nothing),
        STORY(caught_up_is_reported_again),
        STORY(candidate_that_holds_up_is_given_up),
        STORY(too_few_in_sync),
        STORY(fewer_in_sync_meanwhile),
        STORY(nothing_is_sent_to_a_leaver),
        STORY(leaver_is_waived),
        STORY(join_and_leave_in_one_view),
        STORY(leave_and_return_in_one_view),
        STORY(members_in_another_order),
        STORY(primary_is_not_in_the_view),
        STORY(only_the_primary_is_left),
        STORY(same_view_again),
        STORY(waiver_still_needs_the_store),
        STORY(only_the_leaver_is_waived),
        STORY(leaver_had_acknowledged),
        STORY(stayer_had_acknowledged),
        STORY(several_outstanding_at_a_leave),
        STORY(late_ack_from_a_leaver),
    };
    return cmocka_run_group_tests_name("scenario_membership", stories, NULL, NULL);
}

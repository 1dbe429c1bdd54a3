/*
 * The members at their primary: how their sessions begin, who may fetch, who is reported to the
 * arbiter, and why.
 */
#include "leading.h"

#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER 22u

static int setup(void **state)
{
    struct leading *leading = calloc(1, sizeof(*leading));
    leading_begin(leading);
    *state = leading;
    return 0;
}

static int teardown(void **state)
{
    leading_end(*state);
    free(*state);
    return 0;
}

/* So many updates, in the own store. */
static void update(struct leading *leading, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        leading_insert(leading, "key", "value");
        leading_store(leading);
    }
}

static uint32_t begun(struct leading *leading, uint64_t node)
{
    return leading_sent_len(leading, node, SNAPSHOT_BEGIN);
}

static void expect_suspect(struct leading *leading, uint64_t node, const char *reason)
{
    struct message suspect = fixture_sent(&leading->fixture, MESSAGE_SUSPECT, 0, NULL);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SUSPECT), 1);
    assert_int_equal(suspect.body.member.node, node);
    assert_int_equal(suspect.body.member.joined, view_find(&leading->view, node)->joined);
    bool is_noted = false;
    for (uint32_t i = 0; i < fixture_effects_len(&leading->fixture, EFFECT_NOTE); i++) {
        const char *text = fixture_effect(&leading->fixture, EFFECT_NOTE, i)->as.note.text;
        is_noted = is_noted || strstr(text, reason) != NULL;
    }
    assert_true(is_noted);
}

/* --- sessions --- */

static void a_candidate_is_asked_and_begins(void **state)
{
    struct leading *leading = *state;
    update(leading, 3);
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_sent(leading, MEMBER, SNAPSHOT_PROBE); /* with the link */
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_REPLICAS), 1);
    assert_int_equal(begun(leading, MEMBER), 0);
    leading_resume(leading, MEMBER, (struct kv_position){0, 0}, (struct kv_position){0, 0}, false);
    struct message begin = leading_sent(leading, MEMBER, SNAPSHOT_BEGIN);
    assert_int_equal(begin.body.snapshot.tail, TAIL_NONE);
    assert_int_equal(begin.body.snapshot.as_of.index, 3);
    assert_int_equal(begin.body.snapshot.committed, 3);
    assert_int_equal(begin.body.snapshot.last, 3);
    assert_true(begin.body.snapshot.base == UINT64_MAX);
    leading_resume(leading, MEMBER, (struct kv_position){0, 0}, (struct kv_position){0, 0}, false);
    assert_int_equal(begun(leading, MEMBER), 0); /* it is on its way already */
}

/* What is not committed yet is in the tail, too. */
static void a_member_goes_on_by_the_tail(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    update(leading, 2);
    leading_add(leading, 23, MEMBER_CANDIDATE); /* node 22 has nothing of it: the log is held */
    leading_resume(leading, 23, (struct kv_position){1, 0}, (struct kv_position){1, 1}, true);
    struct message begin = leading_sent(leading, 23, SNAPSHOT_BEGIN);
    assert_int_equal(begin.body.snapshot.tail, TAIL_FOLLOWS);
    assert_int_equal(begin.body.snapshot.as_of.view, 1);
    assert_int_equal(begin.body.snapshot.as_of.index, 0);
    assert_int_equal(fixture_counter(&leading->fixture, "tails_resumed"), 2);
}

static void a_resume_of_another_session_or_link_is_not_taken(void **state)
{
    struct leading *leading = *state;
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    struct message resume = fixture_message(MESSAGE_RESUME, leading->view.number, MEMBER);
    resume.body.resume.session = leading->view.number + 1;
    fixture_deliver(&leading->fixture, leading->links[MEMBER], &resume);
    assert_int_equal(begun(leading, MEMBER), 0);
    resume.body.resume.session = leading->view.number;
    fixture_deliver(&leading->fixture, 77, &resume);
    assert_int_equal(begun(leading, MEMBER), 0);
    assert_int_equal(fixture_counter(&leading->fixture, "messages_unexpected"), 2);
    resume.view--;
    fixture_deliver(&leading->fixture, leading->links[MEMBER], &resume);
    assert_int_equal(begun(leading, MEMBER), 0);
    assert_int_equal(fixture_counter(&leading->fixture, "messages_old_view"), 1);
    resume.view++;
    fixture_deliver(&leading->fixture, leading->links[MEMBER], &resume);
    assert_int_equal(begun(leading, MEMBER), 1);
}

/* --- who may fetch --- */

static void only_so_many_fetch_at_a_time(void **state)
{
    struct leading *leading = *state;
    struct kv_position none = {0, 0};
    struct kv_position last;
    update(leading, 3);
    last = leading_observe(leading).last;
    for (uint64_t node = 41; node <= 44; node++) {
        leading_add(leading, node, MEMBER_CANDIDATE);
        leading_resume(leading, node, none, none, false);
        assert_int_equal(begun(leading, node), node <= 40 + JOINERS_MAX ? 1 : 0);
    }
    /* One that needs nothing but the tail does not wait for them. */
    leading_add(leading, 45, MEMBER_CANDIDATE);
    leading_resume(leading, 45, last, last, true);
    assert_int_equal(begun(leading, 45), 1);
    leading_ack(leading, 45, 1, 1, 0);
    /* Those that wait are asked again and again. */
    fixture_happens(&leading->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(leading_sent_len(leading, 43, SNAPSHOT_PROBE), 1);
    leading_resume(leading, 43, none, none, false);
    assert_int_equal(begun(leading, 43), 0);
    leading_ack(leading, 41, 1, 1, 0); /* this one is complete */
    leading_resume(leading, 43, none, none, false);
    assert_int_equal(begun(leading, 43), 1);
    leading_resume(leading, 44, none, none, false);
    assert_int_equal(begun(leading, 44), 0);
}

/* For one whose session has not begun nothing is held: the log may be trimmed beyond what it has,
 * and that is no reason to give it up. */
static void one_that_has_not_begun_is_no_burden(void **state)
{
    struct leading leading;
    char value[FIXTURE_VALUE_BYTES_MAX];
    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    leading_begin_keeping(&leading, FIXTURE_INFLIGHT_BYTES_MAX / 2);
    leading_add(&leading, MEMBER, MEMBER_CANDIDATE);
    for (uint32_t i = 0; i < 3 * FIXTURE_INFLIGHT_BYTES_MAX / sizeof(value); i++) {
        leading_insert(&leading, "key", value);
        leading_store(&leading);
        fixture_happens(&leading.fixture, EVENT_TICK, 1);
        assert_int_equal(fixture_sent_len(&leading.fixture, MESSAGE_SUSPECT), 0);
    }
    assert_true(leading_observe(&leading).log_records < leading_observe(&leading).last.index);
    /* What is kept of the log is for members that come back. */
    struct kv_position last = leading_observe(&leading).last;
    struct kv_position before = {last.view, last.index - 10};
    leading_resume(&leading, MEMBER, before, before, true);
    assert_int_equal(leading_sent(&leading, MEMBER, SNAPSHOT_BEGIN).body.snapshot.tail,
                     TAIL_FOLLOWS);
    leading_end(&leading);
}

/* --- reports --- */

static void a_candidate_that_is_complete_is_reported(void **state)
{
    struct leading *leading = *state;
    struct kv_position none = {0, 0};
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_resume(leading, MEMBER, none, none, false);
    struct message ack = fixture_message(MESSAGE_SNAPSHOT_ACK, leading->view.number, MEMBER);
    ack.body.snapshot_ack.session = leading->view.number;
    ack.body.snapshot_ack.received = ack.body.snapshot_ack.durable = 1;
    fixture_deliver(&leading->fixture, leading->links[MEMBER], &ack); /* it fetches still */
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_CAUGHT_UP), 0);
    ack.body.snapshot_ack.complete = 1;
    fixture_deliver(&leading->fixture, leading->links[MEMBER], &ack);
    struct message caught_up = fixture_sent(&leading->fixture, MESSAGE_CAUGHT_UP, 0, NULL);
    assert_int_equal(caught_up.body.member.node, MEMBER);
    assert_int_equal(caught_up.body.member.joined, leading->view.number);
}

/* From that moment on its store is needed, whatever view comes next. */
static void it_counts_before_the_view_says_so(void **state)
{
    struct leading *leading = *state;
    struct kv_position last = leading_observe(leading).last;
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_resume(leading, MEMBER, last, last, true);
    update(leading, 1);
    assert_int_equal(leading_observe(leading).committed_index, 1); /* it does not count yet */
    leading_ack(leading, MEMBER, 1, 1, 0);
    update(leading, 1);
    assert_int_equal(leading_observe(leading).committed_index, 1);
    leading_ack(leading, MEMBER, 2, 2, 0);
    assert_int_equal(leading_observe(leading).committed_index, 2);
}

/* One in sync that lacks what the log does not hold any more. */
static void in_sync_and_behind_the_log_is_suspect(void **state)
{
    struct leading *leading = *state;
    update(leading, 3);
    leading_add(leading, MEMBER, MEMBER_IN_SYNC);
    leading_resume(leading, MEMBER, (struct kv_position){1, 1}, (struct kv_position){1, 1}, true);
    assert_int_equal(begun(leading, MEMBER), 0);
    expect_suspect(leading, MEMBER, "the-log-does-not-lead-to-it");
    for (uint32_t i = 0; i < 2; i++) { /* again, until a view shows that it was heard */
        fixture_happens(&leading->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
        assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SUSPECT), 1);
    }
    /* As a candidate it may fetch. */
    leading->view.members_len = 1;
    leading_tell(leading);
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_resume(leading, MEMBER, (struct kv_position){1, 1}, (struct kv_position){1, 1}, true);
    struct message begin = leading_sent(leading, MEMBER, SNAPSHOT_BEGIN);
    assert_int_equal(begin.body.snapshot.tail, TAIL_NONE);
    assert_int_equal(begin.body.snapshot.base, 1);
}

/* One in sync never drops anything; a candidate may. */
static void in_sync_and_beyond_the_log_is_suspect(void **state)
{
    struct leading *leading = *state;
    update(leading, 2);
    leading_add(leading, MEMBER, MEMBER_IN_SYNC);
    leading_resume(leading, MEMBER, (struct kv_position){1, 2}, (struct kv_position){1, 3}, true);
    assert_int_equal(begun(leading, MEMBER), 0);
    expect_suspect(leading, MEMBER, "the-log-does-not-lead-to-it");
    leading_add(leading, 23, MEMBER_CANDIDATE);
    leading_resume(leading, 23, (struct kv_position){1, 2}, (struct kv_position){1, 3}, true);
    struct message begin = leading_sent(leading, 23, SNAPSHOT_BEGIN);
    assert_int_equal(begin.body.snapshot.tail, TAIL_FOLLOWS);
    assert_int_equal(begin.body.snapshot.as_of.index, 2);
}

static void in_sync_and_incomplete_is_suspect(void **state)
{
    struct leading *leading = *state;
    update(leading, 1);
    leading_add(leading, MEMBER, MEMBER_IN_SYNC);
    leading_resume(leading, MEMBER, (struct kv_position){1, 1}, (struct kv_position){1, 1}, false);
    assert_int_equal(begun(leading, MEMBER), 0);
    expect_suspect(leading, MEMBER, "the-log-does-not-lead-to-it");
}

/* --- the arbiter wants its place --- */

static void release(struct leading *leading, uint64_t node, uint64_t session)
{
    struct message message = fixture_message(MESSAGE_SUSPECT, leading->view.number, 1);
    message.body.member.node = node;
    message.body.member.joined = session;
    fixture_deliver(&leading->fixture, fixture_arbiter_link(&leading->fixture), &message);
}

/* The primary's word is needed: what it owes is then waived, and not before. */
static void asked_to_let_go_it_says_so(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    update(leading, 1);
    release(leading, MEMBER, view_find(&leading->view, MEMBER)->joined);
    expect_suspect(leading, MEMBER, "the-arbiter-asks-for-it");
    assert_int_equal(leading_observe(leading).committed_index, 0);
    leading->view.members_len = 1;
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).committed_index, 1);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SUSPECT), 0);
}

static void a_release_of_another_session_is_counted(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    release(leading, MEMBER, view_find(&leading->view, MEMBER)->joined + 1);
    release(leading, 99, 1);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SUSPECT), 0);
    assert_int_equal(fixture_counter(&leading->fixture, "messages_unexpected"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_candidate_is_asked_and_begins),
        TEST(a_member_goes_on_by_the_tail),
        TEST(a_resume_of_another_session_or_link_is_not_taken),
        TEST(only_so_many_fetch_at_a_time),
        cmocka_unit_test(one_that_has_not_begun_is_no_burden),
        TEST(a_candidate_that_is_complete_is_reported),
        TEST(it_counts_before_the_view_says_so),
        TEST(in_sync_and_behind_the_log_is_suspect),
        TEST(in_sync_and_beyond_the_log_is_suspect),
        TEST(in_sync_and_incomplete_is_suspect),
        TEST(asked_to_let_go_it_says_so),
        TEST(a_release_of_another_session_is_counted),
    };
    return cmocka_run_group_tests_name("members", tests, NULL, NULL);
}

/*
 * Reads at a primary: it answers at once only while every member that counts has acknowledged what
 * was sent a moment ago; else a read waits for a fresh word of all of them, and its own deadline.
 */
#include "leading.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER   22u
#define LEASE_MS (FIXTURE_REPLICA_MS / LEASES_PER_REPLICA_TIMEOUT)

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

static uint32_t answers(struct leading *leading)
{
    return fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT);
}

static void pass(struct leading *leading, uint64_t ms)
{
    fixture_happens(&leading->fixture, EVENT_FLUSH, ms);
}

/* --- at once --- */

static void alone_it_needs_no_lease(void **state)
{
    struct leading *leading = *state;
    pass(leading, 100 * FIXTURE_REPLICA_MS);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 1);
}

static void a_candidate_that_does_not_count_is_not_asked(void **state)
{
    struct leading *leading = *state;
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 1);
}

/* It counts from the moment that it is reported, before the view says so: so does its word. */
static void a_candidate_that_counts_is_needed(void **state)
{
    struct leading *leading = *state;
    struct kv_position last = leading_observe(leading).last;
    leading_add(leading, MEMBER, MEMBER_CANDIDATE);
    leading_resume(leading, MEMBER, last, last, true);
    leading_ack(leading, MEMBER, 1, 1, 0);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_CAUGHT_UP), 1);
    pass(leading, LEASE_MS);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 0);
}

static void it_lasts_from_when_it_was_sent(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    uint64_t sent_ms = leading->fixture.now_ms;
    pass(leading, LEASE_MS - 50);
    leading_ack(leading, MEMBER, 1, 1, sent_ms); /* it took so long on its way */
    pass(leading, 49);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 1);
    pass(leading, 1);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 0);
}

static void all_that_count_must_have_said_so(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    leading_bring_in(leading, 23);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 1);
    pass(leading, LEASE_MS);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    leading_get(leading, "key");
    assert_int_equal(answers(leading), 0);
    leading_ack(leading, 23, 1, 1, leading->fixture.now_ms);
    assert_int_equal(answers(leading), 1);
}

/* --- waiting --- */

static void a_read_without_lease_asks_and_waits(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    uint64_t request = leading_get(leading, "key");
    assert_int_equal(answers(leading), 0);
    struct message probe = leading_sent(leading, MEMBER, SNAPSHOT_PROBE);
    assert_int_equal(probe.body.snapshot.sent_ms, leading->fixture.now_ms);
    leading_get(leading, "key"); /* in the same moment: asked already */
    assert_int_equal(leading_sent_len(leading, MEMBER, SNAPSHOT_PROBE), 0);
    assert_int_equal(leading_observe(leading).requests_waiting, 2);
    pass(leading, 30);
    leading_ack(leading, MEMBER, 1, 1, probe.body.snapshot.sent_ms);
    assert_int_equal(answers(leading), 2);
    assert_int_equal(
        fixture_sent(&leading->fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.request,
        request);
    assert_int_equal(fixture_counter(&leading->fixture, "reads_waited"), 2);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(answers(leading), 0); /* once each */
}

/* What it says of a time before the read, and of one so long ago that it may have asked since. */
static void an_old_word_is_not_enough(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS - 20);
    uint64_t before_ms = leading->fixture.now_ms;
    pass(leading, 20);
    pass(leading, LEASE_MS);
    leading_get(leading, "key");
    leading_ack(leading, MEMBER, 1, 1, before_ms);
    assert_int_equal(answers(leading), 0);
    leading_ack(leading, MEMBER, 1, 1,
                leading->fixture.now_ms + 1); /* nobody can have heard that */
    assert_int_equal(answers(leading), 0);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(answers(leading), 1);
}

/* What has happened while it waited is in the answer. */
static void it_shows_the_state_when_it_is_answered(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    leading_insert(leading, "key", "value");
    leading_get(leading, "key");
    leading_store(leading);
    assert_int_equal(answers(leading), 0);
    leading_ack(leading, MEMBER, 2, 2, leading->fixture.now_ms);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK), 1);
    assert_int_equal(answers(leading), 1);
    assert_true(fixture_equals(
        fixture_sent(&leading->fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.value,
        "value"));
}

static void it_is_rejected_at_its_deadline(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    uint64_t request = leading_get(leading, "key");
    uint64_t asked_ms = leading->fixture.now_ms;
    while (fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_REJECTED) == 0) {
        uint64_t wake_ms = node_wake_ms(leading->fixture.node);
        assert_true(wake_ms <= asked_ms + FIXTURE_OPERATION_MS);
        uint64_t now_ms = leading->fixture.now_ms;
        fixture_happens(&leading->fixture, EVENT_TICK, wake_ms > now_ms ? wake_ms - now_ms : 0);
    }
    assert_int_equal(leading->fixture.now_ms, asked_ms + FIXTURE_OPERATION_MS);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, request);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_DEADLINE);
    assert_true(fixture_equals(answer.body.operation_rejected.text,
                               "no member confirmed in time that this is still the primary"));
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(answers(leading), 0);
}

static void a_client_that_is_gone_is_forgotten(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    leading_get(leading, "key");
    fixture_link_event(&leading->fixture, EVENT_LINK_DOWN, FIXTURE_CLIENT_LINK);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(answers(leading), 0);
    assert_int_equal(leading_observe(leading).requests_waiting, 0);
}

/* The member whose word was missing is out of the view. */
static void a_view_without_the_silent_one_is_enough(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    leading_get(leading, "key");
    leading->view.members_len = 1;
    leading_tell(leading);
    assert_int_equal(answers(leading), 1);
}

static void deposed_it_rejects_what_waits(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    uint64_t request = leading_get(leading, "key");
    leading->view.primary = MEMBER;
    leading->view.members[0].joined = leading->view.members[1].joined = leading->view.number + 1;
    leading_tell(leading);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, request);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_NOT_PRIMARY);
    assert_int_equal(answers(leading), 0);
}

static void scans_need_one_too_and_fetches_do_not(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    pass(leading, LEASE_MS);
    struct message scan = fixture_message(MESSAGE_SCAN, 0, 900);
    scan.body.scan.request = 9;
    fixture_deliver(&leading->fixture, FIXTURE_CLIENT_LINK, &scan);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SCAN_RESULT), 0);
    struct message fetch = fixture_message(MESSAGE_FETCH, leading->view.number, 55);
    fetch.body.fetch.request = 3;
    fetch.body.fetch.base = fetch.body.fetch.high = UINT64_MAX;
    fixture_deliver(&leading->fixture, 44, &fetch);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_FETCHED), 1);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SCAN_RESULT), 1);
}

/* --- reads that only a primary answers --- */

static void nobody_else_answers_for_the_primary(void **state)
{
    static const enum member_state states[] = {MEMBER_IN_SYNC, MEMBER_CANDIDATE};
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct fixture fixture;
        struct message get = fixture_message(MESSAGE_GET, 0, 900);
        struct message scan = fixture_message(MESSAGE_SCAN, 0, 900);
        fixture_init(&fixture, false, true);
        fixture_become_secondary(&fixture, states[i]);
        get.body.operation.request = 1;
        get.body.operation.at_primary = 1;
        scan.body.scan.request = 2;
        scan.body.scan.at_primary = 1;
        fixture_deliver(&fixture, FIXTURE_CLIENT_LINK, &get);
        struct message answer = fixture_sent(&fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
        assert_int_equal(answer.body.operation_rejected.request, 1);
        assert_int_equal(answer.body.operation_rejected.reason, REJECT_NOT_PRIMARY);
        fixture_deliver(&fixture, FIXTURE_CLIENT_LINK, &scan);
        answer = fixture_sent(&fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
        assert_int_equal(answer.body.operation_rejected.request, 2);
        assert_int_equal(answer.body.operation_rejected.reason, REJECT_NOT_PRIMARY);
        fixture_close(&fixture);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alone_it_needs_no_lease),
        TEST(a_candidate_that_does_not_count_is_not_asked),
        TEST(a_candidate_that_counts_is_needed),
        TEST(it_lasts_from_when_it_was_sent),
        TEST(all_that_count_must_have_said_so),
        TEST(a_read_without_lease_asks_and_waits),
        TEST(an_old_word_is_not_enough),
        TEST(it_shows_the_state_when_it_is_answered),
        TEST(it_is_rejected_at_its_deadline),
        TEST(a_client_that_is_gone_is_forgotten),
        TEST(a_view_without_the_silent_one_is_enough),
        TEST(deposed_it_rejects_what_waits),
        TEST(scans_need_one_too_and_fetches_do_not),
        cmocka_unit_test(nobody_else_answers_for_the_primary),
    };
    return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}

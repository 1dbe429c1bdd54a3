/*
 * A primary that acknowledges what its own store has (ack = local): it does so only while no other
 * one can have taken its place, that is with a lease from every member that counts; once it has
 * given its place away, the members have to have it, too.
 */
#include "leading.h"

#include <stdlib.h>

#define MEMBER   22u
#define LEASE_MS (FIXTURE_REPLICA_MS / LEASES_PER_REPLICA_TIMEOUT)

static int setup(void **state)
{
    struct leading *leading = calloc(1, sizeof(*leading));
    leading_begin_local(leading);
    *state = leading;
    return 0;
}

static int teardown(void **state)
{
    leading_end(*state);
    free(*state);
    return 0;
}

static uint32_t acknowledged(struct leading *leading)
{
    return fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK);
}

static uint64_t committed(const struct leading *leading)
{
    return leading_observe(leading).committed_index;
}

static void alone_it_needs_nobody(void **state)
{
    struct leading *leading = *state;
    fixture_happens(&leading->fixture, EVENT_FLUSH, 100 * FIXTURE_REPLICA_MS);
    leading_insert(leading, "k", "v");
    assert_int_equal(acknowledged(leading), 0);
    leading_store(leading);
    assert_int_equal(acknowledged(leading), 1);
}

/* Nobody has the update yet: with a lease that does not matter. */
static void with_a_lease_its_own_store_is_enough(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    leading_insert(leading, "k", "v");
    leading_store(leading);
    assert_int_equal(acknowledged(leading), 1);
    assert_int_equal(committed(leading), 1);
}

/* The lease is over: it waits for a word of the member that is younger, whatever that has. */
static void without_a_lease_it_waits_for_one(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    uint64_t before_ms = leading->fixture.now_ms;
    fixture_happens(&leading->fixture, EVENT_FLUSH, LEASE_MS);
    leading_insert(leading, "k", "v");
    leading_store(leading);
    assert_int_equal(acknowledged(leading), 0);
    leading_ack(leading, MEMBER, 1, 1, before_ms); /* late: that lease is over as well */
    assert_int_equal(acknowledged(leading), 0);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(acknowledged(leading), 1);
    assert_int_equal(committed(leading), 1);
}

/* One of two is not enough: the other one may have asked for another primary. */
static void every_member_that_counts_is_needed(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    leading_bring_in(leading, 23);
    fixture_happens(&leading->fixture, EVENT_FLUSH, LEASE_MS);
    leading_insert(leading, "k", "v");
    leading_store(leading);
    leading_ack(leading, MEMBER, 2, 2, leading->fixture.now_ms);
    assert_int_equal(acknowledged(leading), 0);
    leading_ack(leading, 23, 1, 1, leading->fixture.now_ms);
    assert_int_equal(acknowledged(leading), 1);
}

static void order(struct leading *leading)
{
    struct message message = fixture_message(MESSAGE_HANDOVER, leading->view.number, 1);
    message.body.member.node = MEMBER;
    message.body.member.joined = view_find(&leading->view, MEMBER)->joined;
    fixture_deliver(&leading->fixture, fixture_arbiter_link(&leading->fixture), &message);
}

/* The member has to have it before the place is given away: an acknowledgement asks for less. */
static void it_gives_way_only_when_the_member_has_all(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    leading_insert(leading, "k", "v");
    leading_store(leading);
    assert_int_equal(committed(leading), 1);
    order(leading);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_HANDOVER), 0);
    leading_ack(leading, MEMBER, 2, 1, leading->fixture.now_ms); /* received, not durable */
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_HANDOVER), 0);
    leading_ack(leading, MEMBER, 2, 2, leading->fixture.now_ms);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_HANDOVER), 1);
}

/* Told, and given up since no view came: the word may still arrive, so no lease counts any more,
 * and whoever may become the primary must have the update. */
static void once_told_every_member_must_have_it(void **state)
{
    struct leading *leading = *state;
    leading_bring_in(leading, MEMBER);
    order(leading);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_HANDOVER), 1);
    fixture_happens(&leading->fixture, EVENT_TICK, FIXTURE_REPLICA_MS);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    leading_insert(leading, "k", "v"); /* it takes updates again */
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_REJECTED), 0);
    leading_store(leading);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(acknowledged(leading), 0);
    assert_int_equal(committed(leading), 0);
    leading_ack(leading, MEMBER, 2, 1, leading->fixture.now_ms);
    assert_int_equal(acknowledged(leading), 1);
    assert_int_equal(committed(leading), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alone_it_needs_nobody),
        TEST(with_a_lease_its_own_store_is_enough),
        TEST(without_a_lease_it_waits_for_one),
        TEST(every_member_that_counts_is_needed),
        TEST(it_gives_way_only_when_the_member_has_all),
        TEST(once_told_every_member_must_have_it),
    };
    return cmocka_run_group_tests_name("fencing", tests, NULL, NULL);
}

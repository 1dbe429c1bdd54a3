/*
 * A node that is started again on its store: how much of that is committed it does not know. It
 * tells nobody more than it knows, and says that it is ready when it serves.
 */
#include "leading.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER 33u

static int setup(void **state)
{
    struct leading *leading = calloc(1, sizeof(*leading));
    struct kv_record record = fixture_record("k", "v", 2, 12);
    fixture_init(&leading->fixture, false, true);
    fixture_start(&leading->fixture);
    fixture_load_record(&leading->fixture, &record);
    fixture_load(&leading->fixture, (struct kv_position){2, 12});
    *state = leading;
    return 0;
}

static int teardown(void **state)
{
    leading_end(*state);
    free(*state);
    return 0;
}

/* View 5: everybody in sync in a new session. */
static void tell(struct leading *leading, uint64_t primary, uint64_t other)
{
    fixture_view(&leading->view, 4, primary);
    fixture_add_member(&leading->view, FIXTURE_NODE, 5, MEMBER_IN_SYNC);
    fixture_add_member(&leading->view, other, 5, MEMBER_IN_SYNC);
    leading_tell(leading);
}

static struct message heartbeat(struct leading *leading)
{
    struct fixture *fixture = &leading->fixture;
    while (fixture_sent_len(fixture, MESSAGE_HEARTBEAT) == 0) {
        fixture_happens(fixture, EVENT_TICK, 10);
    }
    return fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL);
}

static bool is_ready(const struct leading *leading)
{
    return fixture_effects_len(&leading->fixture, EFFECT_READY) == 1;
}

/* As a primary: what it has is committed when all in sync have it. */
static void a_primary_tells_when_it_is_settled(void **state)
{
    struct leading *leading = *state;
    tell(leading, FIXTURE_NODE, MEMBER);
    assert_int_equal(leading_observe(leading).role, ROLE_PRIMARY);
    assert_false(is_ready(leading));
    struct message beat = heartbeat(leading);
    assert_int_equal(beat.body.heartbeat.last.index, 12);
    assert_int_equal(beat.body.heartbeat.committed_index, 0);
    leading_get(leading, "k");
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 0);
    leading_resume(leading, MEMBER, (struct kv_position){2, 12}, (struct kv_position){2, 12}, true);
    assert_false(is_ready(leading));
    assert_int_equal(heartbeat(leading).body.heartbeat.committed_index, 0);
    leading_ack(leading, MEMBER, 1, 1, leading->fixture.now_ms);
    assert_true(is_ready(leading));
    assert_int_equal(fixture_effect(&leading->fixture, EFFECT_READY, 0)->as.ready.role,
                     ROLE_PRIMARY);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT), 1);
    assert_int_equal(heartbeat(leading).body.heartbeat.committed_index, 12);
}

/* As a secondary: when the primary has said so. */
static void a_secondary_tells_what_it_has_heard(void **state)
{
    struct leading *leading = *state;
    struct fixture *fixture = &leading->fixture;
    tell(leading, FIXTURE_PRIMARY, FIXTURE_PRIMARY);
    assert_int_equal(leading_observe(leading).role, ROLE_SECONDARY);
    assert_false(is_ready(leading));
    struct message beat = heartbeat(leading);
    assert_int_equal(beat.body.heartbeat.last.index, 12);
    assert_int_equal(beat.body.heartbeat.durable_index, 12);
    assert_int_equal(beat.body.heartbeat.committed_index, 0);
    assert_false(leading_observe(leading).serves_reads);
    struct message commit = fixture_snapshot(fixture, 5, SNAPSHOT_COMMIT, 0);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &commit); /* it says nothing about 12 yet */
    assert_int_equal(heartbeat(leading).body.heartbeat.committed_index, 0);
    assert_false(leading_observe(leading).serves_reads);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_primary_tells_when_it_is_settled),
        TEST(a_secondary_tells_what_it_has_heard),
    };
    return cmocka_run_group_tests_name("restarted", tests, NULL, NULL);
}

/*
 * A secondary whose primary falls silent, is replaced, or comes back with less; and one that begins
 * with what its own store gives back.
 */
#include "refusing.h"

#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS (FIXTURE_REPLICA_MS / 4)

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture_init(fixture, false, true);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void probe(struct fixture *fixture, uint64_t view)
{
    struct message message = fixture_snapshot(fixture, view, SNAPSHOT_PROBE, 0);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
}

static void commit(struct fixture *fixture, uint64_t view, uint64_t committed)
{
    struct message message = fixture_snapshot(fixture, view, SNAPSHOT_COMMIT, 0);
    message.body.snapshot.committed = committed;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
}

static uint32_t acks(struct fixture *fixture)
{
    fixture_happens(fixture, EVENT_FLUSH, 0);
    return fixture_sent_len(fixture, MESSAGE_SNAPSHOT_ACK);
}

/* View `number`: the primary and this node, in sync, both with new sessions. */
static void tell(struct fixture *fixture, uint64_t number, uint64_t primary, uint64_t forced)
{
    struct view view;
    fixture_view(&view, number, primary);
    view.forced = forced;
    fixture_add_member(&view, primary, number, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, number, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
}

/* Ticks until a Heartbeat asks; returns how long that took. */
static uint64_t ask_ms(struct fixture *fixture)
{
    uint64_t begun_ms = fixture->now_ms;
    while (fixture->now_ms < begun_ms + 10 * FIXTURE_REPLICA_MS) {
        for (uint32_t i = 0; i < fixture_sent_len(fixture, MESSAGE_HEARTBEAT); i++) {
            struct message beat = fixture_sent(fixture, MESSAGE_HEARTBEAT, i, NULL);
            if (beat.body.heartbeat.asks != 0) {
                return fixture->now_ms - begun_ms;
            }
        }
        uint64_t wake_ms = node_wake_ms(fixture->node);
        fixture_happens(fixture, EVENT_TICK,
                        wake_ms > fixture->now_ms ? wake_ms - fixture->now_ms : 0);
    }
    fail_msg("it does not ask");
    return 0;
}

/* --- silence --- */

static void after_silence_it_asks(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    probe(fixture, 2);
    assert_int_equal(ask_ms(fixture), FIXTURE_REPLICA_MS); /* at once, not with the next one due */
    struct message beat = fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL);
    assert_int_equal(beat.body.heartbeat.last.view, 1);
    assert_int_equal(beat.body.heartbeat.last.index, 10);
    assert_int_equal(beat.body.heartbeat.committed_index, 10);
    for (uint32_t i = 0; i < 3; i++) { /* and with each that follows */
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        beat = fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL);
        assert_int_equal(beat.body.heartbeat.asks, 1);
    }
    assert_int_equal(fixture_counter(fixture, "primaries_missed"), 1);
}

/* Any Snapshot shows that the primary is there, a commit or a copy of an old one, too. */
static void any_word_of_the_primary_is_enough(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    for (uint32_t i = 0; i < 4; i++) {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        if (i % 2 == 0) {
            commit(fixture, 2, 10);
        } else {
            fixture_begin(fixture, 2, TAIL_NONE, (struct kv_position){1, 10});
        }
    }
    assert_int_equal(fixture_counter(fixture, "primaries_missed"), 0);
    assert_int_equal(ask_ms(fixture), FIXTURE_REPLICA_MS);
}

/* What was sent in an older view, or by somebody else, is no word of the primary. */
static void only_the_primary_counts(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    fixture_happens(fixture, EVENT_TICK, TICK_MS);
    struct message old = fixture_snapshot(fixture, 1, SNAPSHOT_PROBE, 0);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &old);
    struct message other = fixture_snapshot(fixture, 2, SNAPSHOT_PROBE, 0);
    other.sender = 55;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &other);
    assert_int_equal(ask_ms(fixture), FIXTURE_REPLICA_MS - TICK_MS);
}

/* A late word must not make the old primary believe that it has its lease still. */
static void having_asked_it_takes_nothing_more(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[128];
    struct kv_record record = fixture_record("k", "v", 2, 11);
    struct message records;
    fixture_become_complete(fixture);
    ask_ms(fixture);
    probe(fixture, 2);
    assert_int_equal(acks(fixture), 0);
    records = fixture_snapshot(fixture, 2, SNAPSHOT_RECORDS, 1);
    record_encode(&record, bytes);
    records.body.snapshot.count = 1;
    records.body.snapshot.records.at = bytes;
    records.body.snapshot.records.len = record_size(&record);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &records);
    assert_int_equal(acks(fixture), 0);
    assert_int_equal(refusing_observe(fixture).last.index, 10);
    assert_int_equal(fixture_counter(fixture, "messages_unexpected"), 2);
    /* It goes on serving reads. */
    assert_true(refusing_observe(fixture).serves_reads);
    fixture_happens(fixture, EVENT_TICK, TICK_MS);
    assert_int_equal(fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL).body.heartbeat.asks, 1);
}

static void a_new_view_ends_the_asking(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    ask_ms(fixture);
    tell(fixture, 3, 33, 0);
    fixture_happens(fixture, EVENT_TICK, TICK_MS);
    assert_int_equal(fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL).body.heartbeat.asks, 0);
    struct message message = fixture_snapshot(fixture, 3, SNAPSHOT_PROBE, 0);
    message.sender = 33;
    fixture_deliver(fixture, 66, &message);
    uint64_t link;
    fixture_sent(fixture, MESSAGE_RESUME, 0, &link);
    assert_int_equal(link, 66);
    assert_int_equal(ask_ms(fixture), FIXTURE_REPLICA_MS);
}

/* The same primary, in a view without somebody else: the session goes on where it was. */
static void a_view_of_the_same_primary_ends_it_too(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_become_complete(fixture);
    ask_ms(fixture);
    fixture_view(&view, 3, FIXTURE_PRIMARY);
    fixture_add_member(&view, FIXTURE_PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
    struct message message = fixture_snapshot(fixture, 3, SNAPSHOT_PROBE, 0);
    message.body.snapshot.session = 2;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
    assert_int_equal(acks(fixture), 1);
    assert_int_equal(
        fixture_sent(fixture, MESSAGE_SNAPSHOT_ACK, 0, NULL).body.snapshot_ack.received, 1);
}

static void a_pause_of_its_own_is_not_the_primarys_silence(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    fixture_happens(fixture, EVENT_TICK, 100 * FIXTURE_REPLICA_MS);
    assert_int_equal(fixture_counter(fixture, "primaries_missed"), 0);
    assert_int_equal(ask_ms(fixture), FIXTURE_REPLICA_MS);
    /* Once it has asked, no pause takes that back: the primary may have been replaced. */
    fixture_happens(fixture, EVENT_TICK, 100 * FIXTURE_REPLICA_MS);
    probe(fixture, 2);
    assert_int_equal(acks(fixture), 0);
}

/* One that is not in sync cannot be promoted, and asks for nothing. */
static void a_candidate_does_not_ask(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_CANDIDATE);
    for (uint32_t i = 0; i < 20; i++) {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        assert_int_equal(fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL).body.heartbeat.asks, 0);
    }
}

/* --- what it tells --- */

static void it_acknowledges_the_latest_time_it_has_heard(void **state)
{
    static const uint64_t heard_ms[] = {FIXTURE_START_MS, FIXTURE_START_MS + 7,
                                        FIXTURE_START_MS + 7};
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    for (uint32_t i = 0; i < 3; i++) {
        struct message message = fixture_snapshot(fixture, 2, SNAPSHOT_PROBE, 0);
        message.body.snapshot.sent_ms = FIXTURE_START_MS + (i == 1 ? 7 : 0);
        fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
        assert_int_equal(acks(fixture), 1);
        assert_int_equal(
            fixture_sent(fixture, MESSAGE_SNAPSHOT_ACK, 0, NULL).body.snapshot_ack.heard_ms,
            heard_ms[i]);
    }
    tell(fixture, 3, FIXTURE_PRIMARY, 0); /* another session: another clock, maybe */
    fixture_begin(fixture, 3, TAIL_FOLLOWS, (struct kv_position){1, 10});
    struct message message = fixture_snapshot(fixture, 3, SNAPSHOT_PROBE, 0);
    message.body.snapshot.sent_ms = 3;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
    assert_int_equal(acks(fixture), 1);
    assert_int_equal(
        fixture_sent(fixture, MESSAGE_SNAPSHOT_ACK, 0, NULL).body.snapshot_ack.heard_ms,
        FIXTURE_START_MS);
}

/* --- a primary that has less --- */

static void expect_stop(struct fixture *fixture, bool stops)
{
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), stops ? 1 : 0);
    if (stops) {
        assert_int_equal(fixture_effect(fixture, EFFECT_STOP, 0)->as.stop.exit_status, 5);
    }
}

/* It knows that 10 was committed: no primary can have less, unless an operator has said so. */
static void less_than_was_acknowledged_stops_it(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    tell(fixture, 3, FIXTURE_PRIMARY, 0);
    fixture_begin(fixture, 3, TAIL_NONE, (struct kv_position){1, 9});
    expect_stop(fixture, true);
    assert_int_equal(refusing_observe(fixture).committed_index, 10); /* all is as it was */
}

static void what_an_operator_forces_is_taken(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    tell(fixture, 3, FIXTURE_PRIMARY, 3);
    fixture_begin(fixture, 3, TAIL_NONE, (struct kv_position){1, 9});
    expect_stop(fixture, false);
    assert_int_equal(refusing_observe(fixture).committed_index, 9);
    assert_false(refusing_observe(fixture).serves_reads);
    tell(fixture, 4, FIXTURE_PRIMARY, 3); /* the same one, once more: nothing new is forgiven */
    commit(fixture, 4, 9);
    fixture_begin(fixture, 4, TAIL_NONE, (struct kv_position){1, 8});
    expect_stop(fixture, true);
}

/* --- restarted --- */

/* Its store gives back k = v as of (1, 10). */
static void restart(struct fixture *fixture)
{
    struct kv_record record = fixture_record("k", "v", 1, 4);
    struct view view;
    fixture_start(fixture);
    fixture_load_record(fixture, &record);
    fixture_load(fixture, (struct kv_position){1, 10});
    fixture_view(&view, 2, FIXTURE_PRIMARY);
    fixture_add_member(&view, FIXTURE_PRIMARY, 2, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
}

/* What the store held may never have been committed: nobody reads it before that is known. */
static void restarted_it_serves_when_it_is_told_enough(void **state)
{
    struct fixture *fixture = *state;
    struct kv_record pair = fixture_record("k", "v", 1, 4);
    pair.client = pair.request = 0;
    restart(fixture);
    assert_false(refusing_observe(fixture).serves_reads);
    struct message begin = fixture_snapshot(fixture, 2, SNAPSHOT_BEGIN, 0);
    begin.body.snapshot.tail = TAIL_FOLLOWS;
    begin.body.snapshot.as_of = (struct kv_position){1, 10};
    begin.body.snapshot.last = 12;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &begin); /* of what is committed: nothing */
    assert_true(fixture_fetched(fixture, (struct kv_position){1, 10}, &pair, 1) > 0);
    while (fixture_store_all(fixture) > 0) {
    }
    assert_false(refusing_observe(fixture).serves_reads);
    commit(fixture, 2, 9);
    assert_false(refusing_observe(fixture).serves_reads);
    commit(fixture, 2, 10);
    assert_true(refusing_observe(fixture).serves_reads);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_READY), 1);
    refusing_expect(fixture, "k", "v");
}

/* Its store may have refused what others took: the content is compared before anybody reads it. */
static void restarted_it_compares_its_content(void **state)
{
    struct fixture *fixture = *state;
    struct kv_record pair = fixture_record("k", "w", 1, 6);
    pair.client = pair.request = 0;
    restart(fixture);
    probe(fixture, 2);
    struct message resume = fixture_sent(fixture, MESSAGE_RESUME, 0, NULL);
    assert_int_equal(resume.body.resume.committed.index, 10);
    assert_int_equal(resume.body.resume.last.view, 1);
    assert_int_equal(resume.body.resume.last.index, 10);
    assert_int_equal(resume.body.resume.complete, 1);
    fixture_begin(fixture, 2, TAIL_FOLLOWS, (struct kv_position){1, 10});
    fixture_happens(fixture, EVENT_FLUSH, 0);
    fixture_link_event(fixture, EVENT_LINK_UP,
                       fixture_effect(fixture, EFFECT_OPEN_LINK, 0)->as.open_link.link);
    assert_true(fixture_sent_len(fixture, MESSAGE_FETCH) > 0);
    assert_false(refusing_observe(fixture).serves_reads);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_REPLICA_MS / 2); /* lost: asked again */
    assert_true(fixture_sent_len(fixture, MESSAGE_FETCH) > 0);
}

/* --- the arbiter's address --- */

static uint64_t opened(struct fixture *fixture, const char *uri)
{
    for (uint32_t i = 0; i < fixture_effects_len(fixture, EFFECT_OPEN_LINK); i++) {
        const struct effect *open = fixture_effect(fixture, EFFECT_OPEN_LINK, i);
        if (strcmp(open->as.open_link.uris[0], uri) == 0) {
            return open->as.open_link.link;
        }
    }
    return 0;
}

/* Ticks until a link to that address is opened; returns it. */
static uint64_t wait_for_link(struct fixture *fixture, const char *uri)
{
    for (uint32_t i = 0; i < 100; i++) {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        if (opened(fixture, uri) != 0) {
            return opened(fixture, uri);
        }
    }
    fail_msg("no link to %s", uri);
    return 0;
}

/* View `number`, of an arbiter that listens at these addresses. */
static void tell_addresses(struct fixture *fixture, uint64_t number, const char *first,
                           const char *second)
{
    struct view view;
    fixture_view(&view, number, FIXTURE_PRIMARY);
    fixture_add_member(&view, FIXTURE_PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, MEMBER_IN_SYNC);
    view.arbiter_uris_len = second == NULL ? 1 : 2;
    snprintf(view.arbiter_uris[0], sizeof(view.arbiter_uris[0]), "%s", first);
    if (second != NULL) {
        snprintf(view.arbiter_uris[1], sizeof(view.arbiter_uris[1]), "%s", second);
    }
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
}

/* Where the next Heartbeat goes. */
static uint64_t heartbeat_link(struct fixture *fixture)
{
    uint64_t link;
    do {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
    } while (fixture_sent_len(fixture, MESSAGE_HEARTBEAT) == 0);
    fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &link);
    return link;
}

/* Silent for long, it is looked for at the other addresses that it may have, one after the other;
 * meanwhile the link that was in use stays. */
static void a_silent_arbiter_is_looked_for(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    tell_addresses(fixture, 3, "test://moved", "test://also");
    uint64_t told_ms = fixture->now_ms;
    /* First it is asked for an answer, as by one that knows no view. */
    while (fixture_sent_len(fixture, MESSAGE_HEARTBEAT) == 0 ||
           fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL).view != 0) {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0);
        assert_true(fixture->now_ms < told_ms + 3 * FIXTURE_REPLICA_MS);
    }
    assert_true(fixture->now_ms >= told_ms + 2 * FIXTURE_REPLICA_MS);
    uint64_t moved = wait_for_link(fixture, "test://moved");
    assert_int_equal(fixture_effects_len(fixture, EFFECT_CLOSE_LINK), 0);
    assert_int_equal(heartbeat_link(fixture), fixture_arbiter_link(fixture));
    wait_for_link(fixture, "test://also");
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link, moved);
    wait_for_link(fixture, "test://n22"); /* a member may know more */
    moved = wait_for_link(fixture, "test://moved");
    /* There it is: it answers. */
    uint64_t link;
    fixture_link_event(fixture, EVENT_LINK_UP, moved);
    struct message beat = fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &link);
    assert_int_equal(link, moved);
    assert_int_equal(beat.view, 0);
    struct view view;
    fixture_view(&view, 3, FIXTURE_PRIMARY);
    fixture_add_member(&view, FIXTURE_PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, MEMBER_IN_SYNC);
    struct message answer = fixture_message(MESSAGE_REPLICAS, 3, 1);
    answer.body.replicas.view = fixture_encode_view(fixture, &view);
    fixture_deliver(fixture, moved, &answer);
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     fixture_arbiter_link(fixture));
    assert_int_equal(heartbeat_link(fixture), moved);
}

/* A view tells that it listens elsewhere now: there it is asked at once. */
static void an_arbiter_that_moves_is_followed(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    tell_addresses(fixture, 3, "test://arbiter", NULL);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0);
    tell_addresses(fixture, 4, "test://moved", "test://also");
    uint64_t link = opened(fixture, "test://moved");
    assert_true(link != 0);
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     fixture_arbiter_link(fixture));
    assert_int_equal(heartbeat_link(fixture), link);
}

/* Nothing is known of another address: its link is kept, whoever else is asked. */
static void the_one_address_is_kept(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_complete(fixture);
    for (uint32_t i = 0; i < 100; i++) {
        fixture_happens(fixture, EVENT_TICK, TICK_MS);
        for (uint32_t j = 0; j < fixture_effects_len(fixture, EFFECT_CLOSE_LINK); j++) {
            assert_int_not_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, j)->as.close_link.link,
                                 fixture_arbiter_link(fixture));
        }
    }
    assert_int_equal(heartbeat_link(fixture), fixture_arbiter_link(fixture));
}

/* A session that was fetching ends while its log is behind what it fetched: "k=old" was in the
 * store before content that has a newer k. The memory shows it now, so the store gets it again. */
static void what_content_was_put_over_is_told_to_the_store_again(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[128];
    struct kv_record old = fixture_record("k", "old", 2, 11);
    struct kv_record newer = fixture_record("k", "newer", 2, 15);
    fixture_become_secondary(fixture, MEMBER_CANDIDATE);
    fixture_begin(fixture, 2, TAIL_NONE, (struct kv_position){1, 10});
    struct message records = fixture_snapshot(fixture, 2, SNAPSHOT_RECORDS, 1);
    record_encode(&old, bytes);
    records.body.snapshot.count = 1;
    records.body.snapshot.records.at = bytes;
    records.body.snapshot.records.len = record_size(&old);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &records);
    assert_true(fixture_fetched(fixture, (struct kv_position){2, 20}, &newer, 1) > 0);
    refusing_stores(fixture, "k=old k=newer");
    tell(fixture, 3, FIXTURE_PRIMARY, 0);
    fixture_begin(fixture, 3, TAIL_NONE, (struct kv_position){2, 30});
    refusing_stores(fixture, "");
    refusing_stores(fixture, "k=old");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_content_was_put_over_is_told_to_the_store_again),
        TEST(after_silence_it_asks),
        TEST(any_word_of_the_primary_is_enough),
        TEST(only_the_primary_counts),
        TEST(having_asked_it_takes_nothing_more),
        TEST(a_new_view_ends_the_asking),
        TEST(a_view_of_the_same_primary_ends_it_too),
        TEST(a_pause_of_its_own_is_not_the_primarys_silence),
        TEST(a_candidate_does_not_ask),
        TEST(it_acknowledges_the_latest_time_it_has_heard),
        TEST(less_than_was_acknowledged_stops_it),
        TEST(what_an_operator_forces_is_taken),
        TEST(restarted_it_serves_when_it_is_told_enough),
        TEST(restarted_it_compares_its_content),
        TEST(a_silent_arbiter_is_looked_for),
        TEST(an_arbiter_that_moves_is_followed),
        TEST(the_one_address_is_kept),
    };
    return cmocka_run_group_tests_name("following", tests, NULL, NULL);
}

/*
 * What clients ask of a replica, seen from the client's link: what is answered, what waits, what is
 * rejected and why. Each request gets exactly one answer.
 */
#include "fixture.h"

#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define LINK FIXTURE_CLIENT_LINK

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

static struct message operation(uint8_t type, uint64_t request, const char *key, const char *value)
{
    struct message message = fixture_message(type, 0, 900);
    message.cluster = 0; /* a client need not know it */
    message.body.operation.request = request;
    message.body.operation.key = fixture_text(key);
    if (value != NULL) {
        message.body.operation.value = fixture_text(value);
    }
    return message;
}

static void ask(struct fixture *fixture, uint8_t type, uint64_t request, const char *key,
                const char *value)
{
    struct message message = operation(type, request, key, value);
    fixture_deliver(fixture, LINK, &message);
}

static void ask_get_at(struct fixture *fixture, uint64_t request, const char *key,
                       uint64_t min_index, uint32_t deadline_ms)
{
    struct message message = operation(MESSAGE_GET, request, key, NULL);
    message.body.operation.min_index = min_index;
    message.body.operation.deadline_ms = deadline_ms;
    fixture_deliver(fixture, LINK, &message);
}

static uint32_t sends(const struct fixture *fixture)
{
    return fixture_effects_len(fixture, EFFECT_SEND);
}

static void assert_rejected(struct fixture *fixture, uint64_t request, uint8_t reason, bool again)
{
    uint64_t link;
    struct message answer = fixture_sent(fixture, MESSAGE_OPERATION_REJECTED, 0, &link);
    assert_int_equal(sends(fixture), 1);
    assert_int_equal(link, LINK);
    assert_int_equal(answer.body.operation_rejected.request, request);
    assert_int_equal(answer.body.operation_rejected.reason, reason);
    assert_int_equal(answer.body.operation_rejected.retry_after_ms,
                     again ? FIXTURE_RETRANSMIT_MS : 0);
}

static void assert_late(struct fixture *fixture, uint64_t request, const char *text)
{
    struct message answer = fixture_sent(fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_rejected(fixture, request, REJECT_DEADLINE, false);
    assert_true(fixture_equals(answer.body.operation_rejected.text, text));
}

/* A secondary of view 2 whose empty content is complete as of index 10. */
static void become_complete(struct fixture *fixture)
{
    struct node_state observed;
    fixture_become_complete(fixture);
    node_observe(fixture->node, &observed);
    assert_true(observed.serves_reads);
    assert_int_equal(observed.committed_index, 10);
}

/* The primary sends one insertion and its commit. */
static void replicate(struct fixture *fixture, uint64_t seq, uint64_t index, const char *key,
                      uint64_t committed)
{
    uint8_t bytes[256];
    struct kv_record record = fixture_record(key, "value", 2, index);
    record_encode(&record, bytes);
    struct message snapshot = fixture_snapshot(fixture, 2, SNAPSHOT_RECORDS, seq);
    snapshot.body.snapshot.committed = committed;
    snapshot.body.snapshot.count = 1;
    snapshot.body.snapshot.records.at = bytes;
    snapshot.body.snapshot.records.len = record_size(&record);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &snapshot);
}

/* --- at the primary --- */

static void an_update_is_acknowledged_when_it_is_stored(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    assert_int_equal(sends(fixture), 0);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_PERSIST), 1);
    assert_int_equal(sends(fixture), 0);
    /* Nobody sees it before it is stored. */
    ask(fixture, MESSAGE_GET, 2, "key", NULL);
    assert_int_equal(fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.found, 0);
    struct event event = {.kind = EVENT_PERSISTED};
    event.as.persist.batch = 1;
    fixture_step(fixture, &event);
    uint64_t link;
    struct message answer = fixture_sent(fixture, MESSAGE_OPERATION_ACK, 0, &link);
    assert_int_equal(link, LINK);
    assert_int_equal(sends(fixture), 1);
    assert_int_equal(answer.body.operation_ack.request, 1);
    assert_int_equal(answer.body.operation_ack.position.view, 1);
    assert_int_equal(answer.body.operation_ack.position.index, 1);
    ask(fixture, MESSAGE_GET, 3, "key", NULL);
    answer = fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL);
    assert_int_equal(answer.body.get_result.request, 3);
    assert_int_equal(answer.body.get_result.found, 1);
    assert_true(fixture_equals(answer.body.get_result.value, "value"));
    assert_int_equal(answer.body.get_result.position.index, 1);
}

static void a_removal_is_an_update(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    fixture_store_all(fixture);
    ask(fixture, MESSAGE_REMOVE, 2, "key", NULL);
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), 1);
    ask(fixture, MESSAGE_GET, 3, "key", NULL);
    struct message answer = fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL);
    assert_int_equal(answer.body.get_result.found, 0);
    assert_int_equal(answer.body.get_result.position.index, 2); /* of the state read */
}

static void a_key_or_value_above_the_limit_is_rejected(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t bytes[FIXTURE_VALUE_BYTES_MAX + 1];
    fixture_become_primary(fixture);
    struct message message = operation(MESSAGE_INSERT, 1, "", "");
    message.body.operation.key.at = bytes;
    message.body.operation.key.len = FIXTURE_KEY_BYTES_MAX + 1;
    fixture_deliver(fixture, LINK, &message);
    assert_rejected(fixture, 1, REJECT_TOO_LARGE, false);
    message.type = MESSAGE_REMOVE;
    fixture_deliver(fixture, LINK, &message);
    assert_rejected(fixture, 1, REJECT_TOO_LARGE, false);
    message.type = MESSAGE_INSERT;
    message.body.operation.key.len = FIXTURE_KEY_BYTES_MAX;
    message.body.operation.value.at = bytes;
    message.body.operation.value.len = FIXTURE_VALUE_BYTES_MAX + 1;
    fixture_deliver(fixture, LINK, &message);
    assert_rejected(fixture, 1, REJECT_TOO_LARGE, false);
    message.body.operation.value.len = FIXTURE_VALUE_BYTES_MAX; /* exactly: fine */
    fixture_deliver(fixture, LINK, &message);
    assert_int_equal(sends(fixture), 0);
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), 1);
}

static void updates_under_way_are_limited_in_number(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    for (uint64_t i = 1; i <= FIXTURE_INFLIGHT_OPS_MAX; i++) {
        ask(fixture, MESSAGE_INSERT, i, "key", "value");
        assert_int_equal(sends(fixture), 0);
    }
    ask(fixture, MESSAGE_INSERT, 99, "key", "value");
    assert_rejected(fixture, 99, REJECT_OVERLOADED, true);
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), FIXTURE_INFLIGHT_OPS_MAX);
    ask(fixture, MESSAGE_INSERT, 99, "key", "value");
    assert_int_equal(sends(fixture), 0);
}

static void updates_under_way_are_limited_in_bytes(void **state)
{
    struct fixture *fixture = *state;
    uint8_t value[FIXTURE_VALUE_BYTES_MAX] = {0};
    struct message message = operation(MESSAGE_INSERT, 1, "key", "");
    fixture->config.limits.inflight_ops = 1000;
    fixture_become_primary(fixture);
    message.body.operation.value.at = value;
    message.body.operation.value.len = sizeof(value);
    uint32_t taken = 0;
    for (; taken < 1000; taken++) {
        fixture_deliver(fixture, LINK, &message);
        if (sends(fixture) > 0) {
            break;
        }
    }
    assert_rejected(fixture, 1, REJECT_OVERLOADED, true);
    struct node_state observed;
    node_observe(fixture->node, &observed);
    assert_in_range(observed.log_bytes, FIXTURE_INFLIGHT_BYTES_MAX - 2 * sizeof(value),
                    FIXTURE_INFLIGHT_BYTES_MAX + RECORD_HEADER_BYTES);
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), taken);
}

static void too_few_in_sync_is_rejected(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.min_in_sync = 2;
    fixture_become_primary(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    assert_rejected(fixture, 1, REJECT_MIN_IN_SYNC, true);
    ask(fixture, MESSAGE_GET, 2, "key", NULL); /* reads go on */
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_GET_RESULT), 1);
}

static void a_primary_that_leaves_takes_no_more_updates(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    fixture_happens(fixture, EVENT_LEAVE, 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_STOP), 0); /* one is under way */
    ask(fixture, MESSAGE_INSERT, 2, "key", "value");
    assert_rejected(fixture, 2, REJECT_LEAVING, false);
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), 1);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    assert_int_equal(fixture_effect(fixture, EFFECT_STOP, 0)->as.stop.exit_status, 0);
}

static void an_update_fails_at_its_deadline_and_once(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_primary(fixture);
    struct message message = operation(MESSAGE_INSERT, 1, "key", "value");
    message.body.operation.deadline_ms = 60;
    fixture_deliver(fixture, LINK, &message);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    assert_true(node_wake_ms(fixture->node) <= fixture->now_ms + 60);
    fixture_happens(fixture, EVENT_TICK, 59);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_FAILED), 0);
    fixture_happens(fixture, EVENT_TICK, 1);
    struct message answer = fixture_sent(fixture, MESSAGE_OPERATION_FAILED, 0, NULL);
    assert_int_equal(answer.body.operation_failed.request, 1);
    assert_int_equal(answer.body.operation_failed.reason, FAIL_TIMEOUT);
    struct event event = {.kind = EVENT_PERSISTED};
    event.as.persist.batch = 1;
    fixture_step(fixture, &event);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), 0);
}

/* --- elsewhere --- */

static void a_secondary_takes_no_updates(void **state)
{
    struct fixture *fixture = *state;
    become_complete(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    assert_rejected(fixture, 1, REJECT_NOT_PRIMARY, false);
    ask(fixture, MESSAGE_REMOVE, 2, "key", NULL);
    assert_rejected(fixture, 2, REJECT_NOT_PRIMARY, false);
}

static void without_complete_content_nothing_is_read(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    ask(fixture, MESSAGE_GET, 1, "key", NULL);
    assert_rejected(fixture, 1, REJECT_NOT_READY, true);
}

static void a_candidate_serves_no_reads(void **state)
{
    struct fixture *fixture = *state;
    fixture_become_secondary(fixture, MEMBER_CANDIDATE);
    ask(fixture, MESSAGE_GET, 1, "key", NULL);
    assert_rejected(fixture, 1, REJECT_NOT_READY, true);
}

static void a_read_waits_for_its_position(void **state)
{
    struct fixture *fixture = *state;
    become_complete(fixture);
    ask_get_at(fixture, 1, "key", 10, 0);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_GET_RESULT), 1);
    ask_get_at(fixture, 2, "key", 11, 0);
    assert_int_equal(sends(fixture), 0);
    replicate(fixture, 1, 11, "key", 10); /* here, and not committed */
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_GET_RESULT), 0);
    replicate(fixture, 2, 12, "other", 11);
    struct message answer = fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL);
    assert_int_equal(answer.body.get_result.request, 2);
    assert_int_equal(answer.body.get_result.found, 1);
    assert_int_equal(answer.body.get_result.position.index, 11);
}

static void a_read_whose_position_does_not_come_is_rejected_in_time(void **state)
{
    struct fixture *fixture = *state;
    become_complete(fixture);
    ask_get_at(fixture, 1, "key", 11, 50);
    assert_true(node_wake_ms(fixture->node) <= fixture->now_ms + 50);
    fixture_happens(fixture, EVENT_TICK, 49);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_REJECTED), 0);
    fixture_happens(fixture, EVENT_TICK, 1);
    assert_late(fixture, 1, "the node has only got to index 10");
    replicate(fixture, 1, 11, "key", 11);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_GET_RESULT), 0);
}

static void the_longest_wait_is_the_nodes_own(void **state)
{
    struct fixture *fixture = *state;
    become_complete(fixture);
    ask_get_at(fixture, 1, "key", 11, 100 * FIXTURE_OPERATION_MS);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_OPERATION_MS);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_REJECTED), 1);
}

/* --- before there is a role --- */

static void requests_wait_for_a_role_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    ask(fixture, MESSAGE_INSERT, 1, "key", "one");
    ask(fixture, MESSAGE_INSERT, 2, "key", "two");
    ask(fixture, MESSAGE_GET, 3, "key", NULL);
    assert_int_equal(sends(fixture), 0);
    fixture_view(&view, 1, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_JOINED_PRIMARY, &view);
    assert_int_equal(fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.request, 3);
    fixture_store_all(fixture);
    for (uint32_t i = 0; i < 2; i++) {
        struct message answer = fixture_sent(fixture, MESSAGE_OPERATION_ACK, i, NULL);
        assert_int_equal(answer.body.operation_ack.request, i + 1);
        assert_int_equal(answer.body.operation_ack.position.index, i + 1);
    }
    ask(fixture, MESSAGE_GET, 4, "key", NULL);
    assert_true(fixture_equals(
        fixture_sent(fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.value, "two"));
}

static void waiting_uses_up_the_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    struct message message = operation(MESSAGE_INSERT, 1, "key", "value");
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    message.body.operation.deadline_ms = 150;
    fixture_deliver(fixture, LINK, &message);
    fixture_happens(fixture, EVENT_TICK, 100);
    fixture_view(&view, 1, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_JOINED_PRIMARY, &view);
    fixture_happens(fixture, EVENT_FLUSH, 0);
    fixture_happens(fixture, EVENT_TICK, 49);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_FAILED), 0);
    fixture_happens(fixture, EVENT_TICK, 1); /* 150 ms from its receipt */
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_FAILED), 1);
}

/* The role comes after the deadline, and before the tick that would have rejected the request. */
static void what_waited_too_long_is_not_begun(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    struct message message = operation(MESSAGE_INSERT, 1, "key", "value");
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    message.body.operation.deadline_ms = 150;
    fixture_deliver(fixture, LINK, &message);
    fixture->now_ms += 150;
    fixture_view(&view, 1, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_JOINED_PRIMARY, &view);
    assert_rejected(fixture, 1, REJECT_DEADLINE, false);
    struct node_state observed;
    node_observe(fixture->node, &observed);
    assert_int_equal(observed.last.index, 0);
}

static void a_role_that_does_not_come_is_a_rejection_in_time(void **state)
{
    struct fixture *fixture = *state;
    fixture_start(fixture);
    ask(fixture, MESSAGE_GET, 1, "key", NULL); /* not even loaded */
    fixture_happens(fixture, EVENT_TICK, FIXTURE_OPERATION_MS);
    assert_late(fixture, 1, "the node is not let in yet");
}

static void a_client_that_is_gone_gets_no_answer(void **state)
{
    struct fixture *fixture = *state;
    fixture_start(fixture);
    ask(fixture, MESSAGE_GET, 1, "key", NULL);
    fixture_link_event(fixture, EVENT_LINK_DOWN, LINK);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_OPERATION_MS);
    assert_int_equal(sends(fixture), 0);
}

static void a_node_that_leaves_without_a_role_rejects(void **state)
{
    struct fixture *fixture = *state;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    ask(fixture, MESSAGE_GET, 1, "key", NULL);
    fixture_happens(fixture, EVENT_LEAVE, 0);
    assert_rejected(fixture, 1, REJECT_LEAVING, false); /* what waited */
    ask(fixture, MESSAGE_INSERT, 2, "key", "value");
    assert_rejected(fixture, 2, REJECT_LEAVING, false); /* and what comes */
}

static void what_waits_is_limited(void **state)
{
    struct fixture *fixture = *state;
    fixture_start(fixture);
    for (uint64_t i = 1; i <= WAITING_REQUESTS_MAX; i++) {
        ask(fixture, MESSAGE_GET, i, "key", NULL);
        assert_int_equal(sends(fixture), 0);
    }
    ask(fixture, MESSAGE_GET, 9999, "key", NULL);
    assert_rejected(fixture, 9999, REJECT_OVERLOADED, true);
}

static void status_is_answered_at_any_time(void **state)
{
    struct fixture *fixture = *state;
    struct message status = fixture_message(MESSAGE_STATUS, 0, 900);
    status.body.request.request = 5;
    fixture_start(fixture);
    fixture_deliver(fixture, LINK, &status);
    struct message answer = fixture_sent(fixture, MESSAGE_STATUS_RESULT, 0, NULL);
    assert_int_equal(answer.body.status_result.request, 5);
    assert_int_equal(answer.body.status_result.role, ROLE_JOINING);
    assert_int_equal(answer.body.status_result.persist_state, PERSIST_LOADING);
    assert_true(fixture_equals(answer.body.status_result.name, "n11"));
    assert_true(fixture_equals(answer.body.status_result.persist_plugin, "persist-test"));
    assert_int_equal(answer.body.status_result.counters_len, COUNTERS_LEN);
}

static void status_tells_of_a_store_that_fails(void **state)
{
    struct fixture *fixture = *state;
    struct message status = fixture_message(MESSAGE_STATUS, 0, 900);
    struct event event = {.kind = EVENT_PERSIST_FAILED};
    fixture_become_primary(fixture);
    ask(fixture, MESSAGE_INSERT, 1, "key", "value");
    fixture_happens(fixture, EVENT_FLUSH, 0);
    event.as.persist.batch = 1;
    event.as.persist.status = -5;
    event.as.persist.error = "no space left";
    fixture_step(fixture, &event);
    fixture_deliver(fixture, LINK, &status);
    struct message answer = fixture_sent(fixture, MESSAGE_STATUS_RESULT, 0, NULL);
    assert_int_equal(answer.body.status_result.persist_state, PERSIST_RETRYING);
    assert_true(fixture_equals(answer.body.status_result.persist_error, "no space left"));
    assert_int_equal(answer.body.status_result.keys, 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_PERSIST), 1);
    event.kind = EVENT_PERSISTED;
    event.as.persist.batch = 2;
    event.as.persist.status = 0;
    fixture_step(fixture, &event);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), 1);
    fixture_deliver(fixture, LINK, &status);
    answer = fixture_sent(fixture, MESSAGE_STATUS_RESULT, 0, NULL);
    assert_int_equal(answer.body.status_result.persist_state, PERSIST_OK);
    assert_int_equal(answer.body.status_result.keys, 1);
    assert_int_equal(answer.body.status_result.durable_index, 1);
}

/* --- scans --- */

#define COLLIDING_KEY_BYTES 32u

/* Stores 64 pairs "key0" ... in a primary whose limits allow that, or 4 keys of one hash. */
static void fill(struct fixture *fixture, uint32_t pairs, bool collide)
{
    fixture->config.limits.inflight_ops = 1000;
    fixture_become_primary(fixture);
    for (uint32_t i = 0; i < pairs; i++) {
        char text[16];
        uint8_t key[COLLIDING_KEY_BYTES];
        struct message message = operation(MESSAGE_INSERT, i + 1, "", "value");
        snprintf(text, sizeof(text), "key%u", i);
        message.body.operation.key = fixture_text(text);
        if (collide) {
            /* XXH3 of 17 to 32 bytes: a first word equal to its public secret hides the second. */
            memset(key, 1, sizeof(key));
            memcpy(key, "\xb8\xfe\x6c\x39\x23\xa4\x4b\xbe", 8);
            key[8] = (uint8_t)i;
            message.body.operation.key.at = key;
            message.body.operation.key.len = sizeof(key);
        }
        fixture_deliver(fixture, LINK, &message);
    }
    fixture_store_all(fixture);
    assert_int_equal(fixture_sent_len(fixture, MESSAGE_OPERATION_ACK), pairs);
}

/* Scans to the end with that limit; returns how many pairs came, at most limit_max in one answer.
 */
static uint32_t scan_all(struct fixture *fixture, const char *prefix, uint32_t limit,
                         uint32_t limit_max)
{
    struct message scan = fixture_message(MESSAGE_SCAN, 0, 900);
    uint32_t sum = 0;
    scan.body.scan.request = 3;
    scan.body.scan.limit = limit;
    scan.body.scan.prefix = fixture_text(prefix);
    for (uint32_t rounds = 0; rounds < 1000; rounds++) {
        fixture_deliver(fixture, LINK, &scan);
        struct message answer = fixture_sent(fixture, MESSAGE_SCAN_RESULT, 0, NULL);
        assert_int_equal(answer.body.scan_result.request, 3);
        assert_true(answer.body.scan_result.count <= limit_max);
        sum += answer.body.scan_result.count;
        if (answer.body.scan_result.end != 0) {
            return sum;
        }
        assert_true(answer.body.scan_result.next > scan.body.scan.cursor);
        scan.body.scan.cursor = answer.body.scan_result.next;
    }
    fail_msg("the scan does not end");
    return 0;
}

static void a_scan_goes_on_where_it_stopped(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 64, false);
    assert_int_equal(scan_all(fixture, "", 0, 64), 64);
    assert_int_equal(scan_all(fixture, "", 10, 10), 64);
    assert_int_equal(scan_all(fixture, "", 1, 1), 64);
    assert_int_equal(scan_all(fixture, "key1", 3, 3), 11);
    assert_int_equal(scan_all(fixture, "none", 0, 0), 0);
}

static void a_scan_loses_no_keys_of_one_hash(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 4, true);
    assert_int_equal(scan_all(fixture, "", 0, 4), 4);
    assert_int_equal(scan_all(fixture, "", 1, 4), 4);
}

static void a_scan_is_rejected_like_a_read(void **state)
{
    struct fixture *fixture = *state;
    struct message scan = fixture_message(MESSAGE_SCAN, 0, 900);
    scan.body.scan.request = 3;
    fixture_become_secondary(fixture, MEMBER_CANDIDATE);
    fixture_deliver(fixture, LINK, &scan);
    assert_rejected(fixture, 3, REJECT_NOT_READY, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_update_is_acknowledged_when_it_is_stored),
        TEST(a_removal_is_an_update),
        TEST(a_key_or_value_above_the_limit_is_rejected),
        TEST(updates_under_way_are_limited_in_number),
        TEST(updates_under_way_are_limited_in_bytes),
        TEST(too_few_in_sync_is_rejected),
        TEST(a_primary_that_leaves_takes_no_more_updates),
        TEST(an_update_fails_at_its_deadline_and_once),
        TEST(a_secondary_takes_no_updates),
        TEST(without_complete_content_nothing_is_read),
        TEST(a_candidate_serves_no_reads),
        TEST(a_read_waits_for_its_position),
        TEST(a_read_whose_position_does_not_come_is_rejected_in_time),
        TEST(the_longest_wait_is_the_nodes_own),
        TEST(requests_wait_for_a_role_in_order),
        TEST(waiting_uses_up_the_deadline),
        TEST(what_waited_too_long_is_not_begun),
        TEST(a_role_that_does_not_come_is_a_rejection_in_time),
        TEST(a_client_that_is_gone_gets_no_answer),
        TEST(a_node_that_leaves_without_a_role_rejects),
        TEST(what_waits_is_limited),
        TEST(status_is_answered_at_any_time),
        TEST(status_tells_of_a_store_that_fails),
        TEST(a_scan_goes_on_where_it_stopped),
        TEST(a_scan_loses_no_keys_of_one_hash),
        TEST(a_scan_is_rejected_like_a_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

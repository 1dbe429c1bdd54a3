/* What clients are told: one answer each, to the one who asked, whatever they send. */
#include "story.h"

#include <string.h>

/* C-002: a primary alone; every answer carries its request's id. */
static void insert_remove_get(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_get(s, CLIENT1, "k1", NULL);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k1", "v1"));
    expect_get(s, CLIENT1, "k1", "v1");
    expect_get(s, CLIENT1, "k2", NULL);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k2", "v2"));
    expect_get(s, CLIENT1, "k2", "v2");
    expect_ack(s, CLIENT1, story_remove(s, CLIENT1, "k1"));
    expect_get(s, CLIENT1, "k1", NULL);
    expect_get(s, CLIENT1, "k2", "v2");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-071: for each outcome there is one answer, however long one listens. */
static void exactly_one_answer(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"));
    story_run_ms(s, 3000);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT1, "k", "v");
    story_run_ms(s, 3000);
    expect_quiet(s, CLIENT1);
    story_cut(s, S1, true);
    uint64_t id = story_remove(s, CLIENT1, "k");
    story_run_ms(s, 4000);
    expect_failed(s, CLIENT1, id);
    expect_quiet(s, CLIENT1);
    story_cut(s, S1, false);
    story_run_ms(s, 3000);
    expect_quiet(s, CLIENT1);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* C-078: two clients use the same id at once: each gets its own answer. */
static void two_clients_same_id(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_insert_id(s, CLIENT1, 0, "a", "1");
    story_insert_id(s, CLIENT2, 0, "b", "2");
    story_ack_exactly(s, S1, SEQ(1), SEQ(1));
    expect_ack(s, CLIENT1, 0);
    expect_quiet(s, CLIENT2);
    story_ack_exactly(s, S1, SEQ(2), SEQ(2));
    expect_ack(s, CLIENT2, 0);
    expect_quiet(s, CLIENT1);
    expect_node_has(s, "a", "1");
    expect_node_has(s, "b", "2");
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* C-079: two clients, ids of their own, one key: the later update wins, not the higher id. */
static void two_clients_one_key(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_insert_id(s, CLIENT1, 100, "k", "first");
    story_insert_id(s, CLIENT2, 0, "k", "last");
    story_ack(s, S1);
    expect_ack(s, CLIENT1, 100);
    expect_ack(s, CLIENT2, 0);
    expect_node_has(s, "k", "last");
    expect_content(s, S1, "k", "last");
    expect_content(s, STORE, "k", "last");
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* An id is used again, also while the first request waits: two requests, two answers. */
static void id_used_again(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_insert_id(s, CLIENT1, 5, "k", "1");
    story_insert_id(s, CLIENT1, 5, "k", "2");
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, 5);
    expect_ack(s, CLIENT1, 5);
    story_insert_id(s, CLIENT1, 5, "k", "3");
    expect_ack(s, CLIENT1, 5);
    expect_node_has(s, "k", "3");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-081: odd ids, also while a replica joins, whose transfer completes none of them. */
static void odd_ids(void **state)
{
    static const uint64_t ids[] = {0, UINT64_MAX, 1ull << 63, (1ull << 63) - 1};
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    for (size_t i = 0; i < 4; i++) {
        story_insert_id(s, CLIENT1, ids[i], "k", "v");
    }
    story_secondary_prompt(s, S2, true);
    story_joins(s, S2);
    story_run_ms(s, 50);
    expect_quiet(s, CLIENT1);
    story_ack(s, S1);
    for (size_t i = 0; i < 4; i++) {
        expect_ack(s, CLIENT1, ids[i]);
    }
    expect_caught_up(s, S2);
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_take_all(s, S2);
    story_end(s);
}

/* C-130: stuck updates of two clients, mixed: each client hears of its own only. */
static void answers_go_to_the_requester(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t one[3];
    uint64_t two[3];
    for (int i = 0; i < 3; i++) {
        story_insert_id(s, CLIENT1, one[i] = 10 + (uint64_t)i, "one", "v");
        story_insert_id(s, CLIENT2, two[i] = 20 + (uint64_t)i, "two", "v");
        story_run_ms(s, 100);
    }
    expect_get(s, CLIENT2, "one", NULL);
    story_persisted(s); /* the first alone */
    expect_ack(s, CLIENT1, one[0]);
    expect_quiet(s, CLIENT2);
    story_run_ms(s, 2000);
    for (int i = 1; i < 3; i++) {
        expect_failed(s, CLIENT1, one[i]);
    }
    for (int i = 0; i < 3; i++) {
        expect_failed(s, CLIENT2, two[i]);
    }
    story_persisted(s);
    story_take_all(s, STORE);
    story_end(s);
}

/* A client that has gone costs the others nothing; its update is carried out. */
static void client_goes(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    story_insert(s, CLIENT1, "k", "v");
    story_client_goes(s, CLIENT1);
    uint64_t id = story_insert(s, CLIENT2, "l", "w");
    story_store_prompt(s, true);
    expect_ack(s, CLIENT2, id);
    expect_get(s, CLIENT2, "k", "v");
    story_take_all(s, STORE);
    story_end(s);
}

/* C-088: empty key, empty value, any bytes: all are ordinary. */
static void odd_keys_and_values(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    story_store_prompt(s, true);
    story_secondary_prompt(s, S1, true);
    static const char *const keys[] = {"", "\xc3\xa4\xe2\x82\xac", "\xff\x01\x7f", " = -"};
    static const char *const values[] = {"", "\xe2\x82\xac", "\x01", "-"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            expect_ack(s, CLIENT1, story_insert(s, CLIENT1, keys[i], values[j]));
            expect_get(s, CLIENT1, keys[i], values[j]);
            expect_content(s, S1, keys[i], values[j]);
            expect_content(s, STORE, keys[i], values[j]);
        }
        expect_ack(s, CLIENT1, story_remove(s, CLIENT1, keys[i]));
        expect_get(s, CLIENT1, keys[i], NULL);
    }
    story_take_all(s, STORE);
    story_take_all(s, S1);
    story_end(s);
}

/* Above a limit: rejected at once, nothing executed; exactly at it: taken. */
static void too_large(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->limits.key_bytes = 8;
    story_config(s)->limits.value_bytes = 8;
    story_start_primary(s, 0);
    story_store_prompt(s, true);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "12345678", "12345678"));
    story_take_all(s, STORE);
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "123456789", "v"), REJECT_TOO_LARGE);
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "123456789"), REJECT_TOO_LARGE);
    expect_rejected(s, CLIENT1, story_remove(s, CLIENT1, "123456789"), REJECT_TOO_LARGE);
    expect_quiet(s, STORE);
    expect_get(s, CLIENT1, "12345678", "12345678");
    story_end(s);
}

/* As many updates as may be outstanding; the next one is rejected at once, and taken later. */
static void overloaded(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_config(s)->limits.inflight_ops = 4;
    story_start_primary(s, 0);
    for (uint64_t id = 0; id < 4; id++) {
        assert_int_equal(story_insert(s, CLIENT1, "k", "v"), id);
    }
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"), REJECT_OVERLOADED);
    story_run_ms(s, 2000);
    for (uint64_t id = 0; id < 4; id++) {
        expect_failed(s, CLIENT1, id);
    }
    /* The store has taken nothing for so long: that is told before anything else. */
    expect_rejected(s, CLIENT1, story_insert(s, CLIENT1, "k", "v"), REJECT_STORE);
    story_store_prompt(s, true);
    story_run_ms(s, 10);
    expect_ack(s, CLIENT1, story_insert(s, CLIENT1, "k", "w"));
    expect_get(s, CLIENT1, "k", "w");
    story_take_all(s, STORE);
    story_end(s);
}

/* A read from a state at or after an index waits for it; at the primary and at a secondary. */
static void read_after_an_index(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_secondary(s);
    story_store_prompt(s, true);
    uint64_t id = story_get_after(s, CLIENT1, "k", 2);
    story_write(s, "k=1");
    story_commits(s, 1);
    expect_quiet(s, CLIENT1);
    expect_get(s, CLIENT2, "k", "1");
    story_write(s, "k=2");
    expect_quiet(s, CLIENT1);
    story_commits(s, 2);
    expect_result(s, CLIENT1, id, "2");
    id = story_get_after(s, CLIENT1, "k", 2);
    expect_result(s, CLIENT1, id, "2");
    uint64_t asked_ms = story_now_ms(s);
    id = story_get_after(s, CLIENT1, "k", 99);
    story_run_ms(s, 2000);
    assert_in_range(expect_rejected(s, CLIENT1, id, REJECT_DEADLINE) - asked_ms,
                    STORY_FAILED_MS_MIN, STORY_FAILED_MS_MAX);
    story_take_all(s, STORE);
    story_take_all(s, PRIMARY);
    story_end(s);
}

static void send_insert_with_deadline(struct story *s, uint64_t id, uint32_t deadline_ms)
{
    struct message message = story_message(s, MESSAGE_INSERT, CLIENT1);
    message.body.operation.request = id;
    message.body.operation.deadline_ms = deadline_ms;
    message.body.operation.key.at = (const uint8_t *)"k";
    message.body.operation.key.len = 1;
    message.body.operation.value.at = (const uint8_t *)"v";
    message.body.operation.value.len = 1;
    story_deliver(s, CLIENT1, &message);
}

/* A request's own deadline counts when it is shorter than the node's. */
static void own_deadline(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    uint64_t begun_ms = story_now_ms(s);
    send_insert_with_deadline(s, 1, 5000);
    send_insert_with_deadline(s, 2, 300);
    send_insert_with_deadline(s, 3, 50);
    story_run_ms(s, 2000);
    assert_in_range(expect_failed(s, CLIENT1, 3) - begun_ms, 50, 150);
    assert_in_range(expect_failed(s, CLIENT1, 2) - begun_ms, 300, 400);
    assert_in_range(expect_failed(s, CLIENT1, 1) - begun_ms, STORY_FAILED_MS_MIN,
                    STORY_FAILED_MS_MAX);
    story_take_all(s, STORE);
    story_end(s);
}

/* What is no message of this protocol costs its sender the connection, and nobody else anything. */
static void malformed_message(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    static const uint8_t junk[] = {'K', 'V', MESSAGE_VERSION,
                                   32,  0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   0,   0,
                                   0,   1};
    story_deliver_bytes(s, CLIENT2, "", 0);
    story_deliver_bytes(s, CLIENT2, junk, sizeof(junk));
    expect_quiet(s, CLIENT2);
    expect_quiet(s, STORE);
    expect_well(s);
    story_end(s);
}

/* Another version of the protocol: told which one this node speaks, then the connection ends. */
static void foreign_version(void **state)
{
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 0);
    static const uint8_t header[28] = {'K', 'V', 9, 99};
    story_deliver_bytes(s, CLIENT2, header, sizeof(header));
    assert_int_equal(story_take_count(s, CLIENT2, MESSAGE_UNSUPPORTED, 0), 1);
    expect_quiet(s, STORE);
    expect_well(s);
    story_end(s);
}

/* Messages that a primary has no use for, from anybody: nothing happens, but that one which takes
 * it for an arbiter is told where that is. */
static void stray_messages(void **state)
{
    static const uint8_t types[] = {MESSAGE_HEARTBEAT,    MESSAGE_CAUGHT_UP,  MESSAGE_SUSPECT,
                                    MESSAGE_SNAPSHOT_ACK, MESSAGE_SNAPSHOT,   MESSAGE_OPERATION_ACK,
                                    MESSAGE_GET_RESULT,   MESSAGE_UNSUPPORTED};
    struct story *s = story_begin(state, __func__);
    story_start_primary(s, 1);
    for (size_t i = 0; i < sizeof(types); i++) {
        struct message message = story_message(s, types[i], CLIENT2);
        message.view = story_view_number(s);
        if (types[i] == MESSAGE_SNAPSHOT) {
            message.body.snapshot.kind = SNAPSHOT_BEGIN;
        } else if (types[i] == MESSAGE_CAUGHT_UP || types[i] == MESSAGE_SUSPECT) {
            message.body.member.node = 1;
        }
        story_deliver(s, CLIENT2, &message);
    }
    assert_int_equal(story_take_count(s, CLIENT2, MESSAGE_LOCATED, 0), 1);
    expect_quiet(s, CLIENT2);
    expect_quiet(s, S1);
    expect_quiet(s, STORE);
    expect_well(s);
    story_end(s);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(insert_remove_get),
        STORY(exactly_one_answer),
        STORY(two_clients_same_id),
        STORY(two_clients_one_key),
        STORY(id_used_again),
        STORY(odd_ids),
        STORY(answers_go_to_the_requester),
        STORY(client_goes),
        STORY(odd_keys_and_values),
        STORY(too_large),
        STORY(overloaded),
        STORY(read_after_an_index),
        STORY(own_deadline),
        STORY(malformed_message),
        STORY(foreign_version),
        STORY(stray_messages),
    };
    return cmocka_run_group_tests_name("scenario_clients", stories, NULL, NULL);
}

/*
 * A primary and a store that refuses records for good, its own or a secondary's: that update fails,
 * with that store's reason, once it is undone everywhere; nobody reads it before or after; whatever
 * numbers a secondary tells, the primary stays well or has it taken out. And a store that takes
 * nothing: new updates are rejected at once.
 */
#include "refusing.h"

#include "base/rand.h"
#include "logic/node.h"
#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define SECONDARY 22u
#define SESSION   2u

struct bench {
    struct fixture fixture;
    uint64_t link;     /* to the secondary */
    uint64_t requests; /* of the client so far */
    uint64_t received; /* numbers of Snapshots that the secondary has */
};

static int setup_keeping(void **state, uint64_t log_bytes)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    fixture_init(&bench->fixture, false, true);
    bench->fixture.config.limits.log_bytes = log_bytes;
    fixture_become_primary(&bench->fixture);
    fixture_store_all(&bench->fixture);
    *state = bench;
    return 0;
}

static int setup(void **state)
{
    return setup_keeping(state, 0);
}

/* Of its log it keeps enough for members that come back. */
static int setup_with_log(void **state)
{
    return setup_keeping(state, 10000);
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

/* --- what happens to it --- */

/* Returns the request's id, which is the index of the update, too, while there are no undos. */
static uint64_t insert(struct bench *bench, const char *key, const char *value)
{
    struct message message = fixture_message(MESSAGE_INSERT, 0, 900);
    message.cluster = 0;
    message.body.operation.request = ++bench->requests;
    message.body.operation.key = fixture_text(key);
    message.body.operation.value = fixture_text(value);
    fixture_deliver(&bench->fixture, FIXTURE_CLIENT_LINK, &message);
    return bench->requests;
}

static void ack_exactly(struct bench *bench, uint64_t received, uint64_t durable, uint64_t first,
                        const uint64_t *indexes, uint32_t len)
{
    uint8_t bytes[4096];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    for (uint32_t i = 0; i < len; i++) {
        struct message_refusal refusal = {indexes[i], fixture_text("no room for it")};
        message_write_refusal(&writer, &refusal);
    }
    assert_false(writer.failed);
    struct message message =
        fixture_message(MESSAGE_SNAPSHOT_ACK, refusing_observe(&bench->fixture).view, SECONDARY);
    message.body.snapshot_ack.session = SESSION;
    message.body.snapshot_ack.received = received;
    message.body.snapshot_ack.durable = durable;
    message.body.snapshot_ack.complete = 1;
    message.body.snapshot_ack.refusals_first = first;
    message.body.snapshot_ack.refusals_len = len;
    message.body.snapshot_ack.refusals.at = bytes;
    message.body.snapshot_ack.refusals.len = writer.len;
    fixture_deliver(&bench->fixture, bench->link, &message);
}

/* All that was sent is durable there, but for the refused ones. */
static void ack(struct bench *bench, uint64_t first, const uint64_t *indexes, uint32_t len)
{
    ack_exactly(bench, bench->received, bench->received, first, indexes, len);
}

static void ack_all(struct bench *bench)
{
    ack(bench, 0, NULL, 0);
}

/* Ends the turn: these records go to the own store and to the secondary. Returns the batch. */
static uint64_t flush(struct bench *bench, const char *records)
{
    char given[256];
    uint64_t batch = refusing_flush(&bench->fixture, given, sizeof(given));
    assert_true(batch != 0);
    assert_string_equal(given, records);
    uint32_t len = fixture_sent_len(&bench->fixture, MESSAGE_SNAPSHOT);
    for (uint32_t i = 0; i < len; i++) {
        struct message sent = fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT, i, NULL);
        bench->received += sent.body.snapshot.kind == SNAPSHOT_RECORDS ? 1 : 0;
    }
    return batch;
}

static void store(struct bench *bench, const char *records)
{
    refusing_persisted(&bench->fixture, flush(bench, records), NULL, 0, NULL);
}

/* The secondary joins with what there is, and is in sync. */
static void bring_in(struct bench *bench)
{
    struct view view;
    fixture_view(&view, 2, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    struct member *member = fixture_add_member(&view, SECONDARY, SESSION, MEMBER_CANDIDATE);
    fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
    bench->link = fixture_effect(&bench->fixture, EFFECT_OPEN_LINK, 0)->as.open_link.link;
    fixture_link_event(&bench->fixture, EVENT_LINK_UP, bench->link);
    struct message resume = fixture_message(MESSAGE_RESUME, 2, SECONDARY);
    resume.body.resume.session = SESSION;
    resume.body.resume.committed = resume.body.resume.last = refusing_observe(&bench->fixture).last;
    resume.body.resume.complete = 1;
    fixture_deliver(&bench->fixture, bench->link, &resume);
    assert_int_equal(fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT, 0, NULL).body.snapshot.tail,
                     TAIL_FOLLOWS);
    bench->received = 1;
    ack_all(bench);
    view.number = 3;
    member->state = MEMBER_IN_SYNC;
    fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(refusing_observe(&bench->fixture).replicators, 1);
}

/* --- what it does --- */

static void expect_failed(struct bench *bench, uint64_t request, uint8_t reason, const char *text)
{
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_FAILED, 0, NULL);
    assert_int_equal(answer.body.operation_failed.request, request);
    assert_int_equal(answer.body.operation_failed.reason, reason);
    if (!fixture_equals(answer.body.operation_failed.text, text)) {
        fail_msg("\"%.*s\", not \"%s\"", (int)answer.body.operation_failed.text.len,
                 (const char *)answer.body.operation_failed.text.at, text);
    }
}

static void expect_no_answer(struct bench *bench)
{
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_FAILED), 0);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 0);
}

static void expect_rejected(struct bench *bench, uint64_t request, uint8_t reason, const char *text)
{
    struct message answer = fixture_sent(&bench->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, request);
    assert_int_equal(answer.body.operation_rejected.reason, reason);
    assert_true(fixture_equals(answer.body.operation_rejected.text, text));
    assert_true(answer.body.operation_rejected.retry_after_ms > 0);
}

/* At the next tick that is due it asks the arbiter to take the secondary out, or it does not. */
static void expect_suspect(struct bench *bench, bool is_suspect)
{
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_SUSPECT), is_suspect ? 1 : 0);
    if (is_suspect) {
        uint64_t link;
        struct message suspect = fixture_sent(&bench->fixture, MESSAGE_SUSPECT, 0, &link);
        assert_int_equal(link, fixture_arbiter_link(&bench->fixture));
        assert_int_equal(suspect.body.member.node, SECONDARY);
        assert_int_equal(suspect.body.member.joined, SESSION);
    }
}

/* --- the own store refuses --- */

static void own_store_refuses(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    insert(bench, "k", "old");
    store(bench, "k=old");
    uint64_t request = insert(bench, "k", "bad");
    refusing_persisted(&bench->fixture, flush(bench, "k=bad"), first, 1, "bad is forbidden");
    expect_no_answer(bench);
    refusing_expect(&bench->fixture, "k", "old");
    store(bench, "k=old");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_FAILED), 1);
    expect_failed(bench, request, FAIL_REFUSED, "bad is forbidden");
    refusing_expect(&bench->fixture, "k", "old");
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 3);
    assert_int_equal(fixture_counter(&bench->fixture, "operations_refused"), 1);
    assert_int_equal(fixture_counter(&bench->fixture, "operations_undone"), 1);
    refusing_expect_persistence(&bench->fixture, PERSIST_OK, "");
}

/* Of one batch the middle one is refused: the first is acknowledged, the last one waits for the
 * undo. A key that was absent is absent again. No reason was given: none is told. */
static void the_rest_of_the_batch_is_stored(void **state)
{
    static const uint32_t second[] = {1};
    struct bench *bench = *state;
    insert(bench, "a", "1");
    uint64_t request = insert(bench, "b", "2");
    insert(bench, "c", "3");
    refusing_persisted(&bench->fixture, flush(bench, "a=1 b=2 c=3"), second, 1, NULL);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
    refusing_expect(&bench->fixture, "a", "1");
    refusing_expect(&bench->fixture, "b", NULL);
    refusing_expect(&bench->fixture, "c", NULL);
    store(bench, "b=-");
    expect_failed(bench, request, FAIL_REFUSED, "");
    struct message acked = fixture_sent(&bench->fixture, MESSAGE_OPERATION_ACK, 0, NULL);
    assert_int_equal(acked.body.operation_ack.request, 3);
    refusing_expect(&bench->fixture, "b", NULL);
    refusing_expect(&bench->fixture, "c", "3");
}

/* The undo is not stored in time: the client is told at its deadline, with the reason, and once. */
static void the_deadline_comes_first(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    uint64_t request = insert(bench, "k", "bad");
    refusing_persisted(&bench->fixture, flush(bench, "k=bad"), first, 1, "bad is forbidden");
    uint64_t batch = flush(bench, "k=-");
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_OPERATION_MS);
    expect_failed(bench, request, FAIL_TIMEOUT,
                  "a store refuses it, and it is not undone everywhere yet: bad is forbidden");
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    expect_no_answer(bench);
    refusing_expect(&bench->fixture, "k", NULL);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 2);
}

/* A store that refuses a value that it held is asked again and again: nothing else can be done. */
static void own_store_refuses_the_undo(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    insert(bench, "k", "old");
    store(bench, "k=old");
    uint64_t request = insert(bench, "k", "bad");
    refusing_persisted(&bench->fixture, flush(bench, "k=bad"), first, 1, "no");
    refusing_persisted(&bench->fixture, flush(bench, "k=old"), first, 1, "now old is bad, too");
    expect_no_answer(bench);
    refusing_expect_persistence(&bench->fixture, PERSIST_RETRYING, "now old is bad, too");
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(fixture_effects_len(&bench->fixture, EFFECT_PERSIST), 1);
    uint64_t batch = fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    expect_failed(bench, request, FAIL_REFUSED, "no");
    refusing_expect(&bench->fixture, "k", "old");
}

/* --- a secondary's store refuses --- */

static void a_secondary_refuses(void **state)
{
    static const uint64_t refused[] = {2};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "old");
    store(bench, "k=old");
    ack_all(bench);
    uint64_t request = insert(bench, "k", "bad");
    store(bench, "k=bad");
    ack(bench, 0, refused, 1);
    expect_no_answer(bench);
    refusing_expect(&bench->fixture, "k", "old");
    uint64_t batch = flush(bench, "k=old");
    struct message sent = fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT, 0, NULL);
    assert_int_equal(sent.body.snapshot.refusals, 1);
    assert_int_equal(sent.body.snapshot.committed, 1);
    struct bytes_reader reader =
        bytes_reader_init(sent.body.snapshot.records.at, sent.body.snapshot.records.len);
    struct kv_record undo;
    assert_true(record_decode(&reader, &undo));
    assert_int_equal(undo.client, 0);
    assert_int_equal(undo.request, 2);
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    expect_no_answer(bench);
    ack_all(bench);
    expect_failed(bench, request, FAIL_REFUSED, "no room for it");
    refusing_expect(&bench->fixture, "k", "old");
    expect_suspect(bench, false);
}

/* Refusals are numbered: what was told before, alone or with something new, does nothing again. */
static void told_again_does_nothing_again(void **state)
{
    static const uint64_t refused[] = {1, 2};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "a", "1");
    insert(bench, "b", "2");
    store(bench, "a=1 b=2");
    for (uint32_t i = 0; i < 3; i++) {
        ack(bench, 0, refused, 1);
        assert_int_equal(refusing_observe(&bench->fixture).last.index, 3);
    }
    for (uint32_t i = 0; i < 3; i++) {
        ack(bench, 0, refused, 2);
        assert_int_equal(refusing_observe(&bench->fixture).last.index, 4);
    }
    store(bench, "a=- b=-");
    ack(bench, 1, refused + 1, 1); /* late */
    assert_int_equal(fixture_counter(&bench->fixture, "operations_undone"), 2);
    ack(bench, 0, refused, 2);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 4);
    assert_int_equal(fixture_counter(&bench->fixture, "operations_undone"), 2);
    assert_int_equal(fixture_counter(&bench->fixture, "operations_refused"), 2);
    expect_suspect(bench, false);
}

/* Both stores refuse the same: it is void once. */
static void refused_by_both(void **state)
{
    static const uint32_t first[] = {0};
    static const uint64_t refused[] = {1};
    struct bench *bench = *state;
    bring_in(bench);
    uint64_t request = insert(bench, "k", "bad");
    refusing_persisted(&bench->fixture, flush(bench, "k=bad"), first, 1, "mine says no");
    ack(bench, 0, refused, 1);
    store(bench, "k=-");
    ack_all(bench);
    expect_failed(bench, request, FAIL_REFUSED, "mine says no");
    assert_int_equal(fixture_counter(&bench->fixture, "operations_undone"), 1);
    expect_suspect(bench, false);
}

/* --- what cannot be undone --- */

static void a_committed_one_is_refused(void **state)
{
    static const uint64_t refused[] = {1};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "v");
    store(bench, "k=v");
    ack_all(bench);
    refusing_expect(&bench->fixture, "k", "v");
    ack(bench, 0, refused, 1);
    expect_suspect(bench, true);
    refusing_expect(&bench->fixture, "k", "v");
    assert_int_equal(refusing_observe(&bench->fixture).last.index, 1);
}

/* Whatever it was that a later record gave its key: that member's store has that, too. */
static void a_committed_one_that_is_written_over_may_be_refused(void **state)
{
    static const uint64_t refused[] = {1};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "v");
    insert(bench, "k", "w");
    store(bench, "k=v k=w");
    ack_all(bench);
    refusing_expect(&bench->fixture, "k", "w");
    ack(bench, 0, refused, 1);
    expect_suspect(bench, false);
}

static void an_undo_is_refused(void **state)
{
    static const uint64_t refused[] = {1, 2};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "bad");
    store(bench, "k=bad");
    ack(bench, 0, refused, 1);
    store(bench, "k=-");
    ack(bench, 1, refused + 1, 1);
    expect_suspect(bench, true);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 0);
    assert_int_equal(refusing_observe(&bench->fixture).last.index, 2);
}

/* What it says afterwards counts no more, until it is out of the view; then the others go on. */
static void one_that_has_to_go_holds_nothing_up(void **state)
{
    static const uint64_t nowhere[] = {77};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "v");
    store(bench, "k=v");
    ack(bench, 0, nowhere, 1);
    ack_all(bench);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 0);
    expect_suspect(bench, true);
    struct view view;
    fixture_view(&view, 4, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
    refusing_expect(&bench->fixture, "k", "v");
}

/* An undo that brings back a value which is refused itself: it is void with it, and that a store
 * refuses it, too, changes nothing. */
static void an_undo_that_is_void_may_be_refused(void **state)
{
    static const uint32_t first[] = {0};
    static const uint64_t refused[] = {2, 3};
    struct bench *bench = *state;
    bring_in(bench);
    insert(bench, "k", "1");
    uint64_t second = insert(bench, "k", "2");
    uint64_t batch = flush(bench, "k=1 k=2");
    ack(bench, 0, refused, 1); /* undone by index 3: k=1 */
    refusing_persisted(&bench->fixture, batch, first, 1, "1 is forbidden");
    batch = flush(bench, "k=1 k=-"); /* index 3 is void with index 1; index 4 is for both */
    refusing_persisted(&bench->fixture, batch, first, 1, "1 is forbidden");
    expect_no_answer(bench);
    ack(bench, 1, refused + 1, 1);
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_FAILED), 2);
    expect_failed(bench, second - 1, FAIL_REFUSED, "1 is forbidden");
    refusing_expect(&bench->fixture, "k", NULL);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 4);
    refusing_expect_persistence(&bench->fixture, PERSIST_OK, "");
    expect_suspect(bench, false);
}

/* --- garbage --- */

/* Numbers that no secondary can mean: nothing changes, or it has to go. */
static void odd_numbers(void **state)
{
    static const uint64_t odd[] = {0,         1, 3, 4, INDEX_MAX, INDEX_MAX + 1, UINT64_MAX - 1,
                                   UINT64_MAX};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        for (uint64_t first = 0; first < 4; first++) {
            struct bench *bench = *state;
            bring_in(bench);
            insert(bench, "k", "1");
            store(bench, "k=1");
            ack_all(bench);
            insert(bench, "k", "2");
            store(bench, "k=2");
            uint64_t told = first == 3 ? UINT64_MAX : first;
            ack_exactly(bench, bench->received, 2, told, odd + i, 1);
            refusing_expect(&bench->fixture, "k", "1");
            assert_int_equal(refusing_observe(&bench->fixture).last.index, 2);
            assert_int_equal(refusing_observe(&bench->fixture).committed_index, 1);
            expect_suspect(bench, first == 0); /* the others come too early: not looked at */
            teardown(state);
            setup(state);
        }
    }
}

/* Whatever a secondary tells, in any order: what is committed stays, the log's own order too. */
static void random_numbers(void **state)
{
    struct rand rand = {7};
    for (uint32_t round = 0; round < 200; round++) {
        struct bench *bench = *state;
        bring_in(bench);
        insert(bench, "base", "0");
        store(bench, "base=0");
        ack_all(bench);
        for (uint32_t step = 0; step < 30; step++) {
            uint64_t indexes[4];
            struct node_state before = refusing_observe(&bench->fixture);
            if (rand_below(&rand, 2) == 0) {
                insert(bench, rand_below(&rand, 2) == 0 ? "k" : "l", "v");
            }
            char given[512];
            uint64_t batch = refusing_flush(&bench->fixture, given, sizeof(given));
            if (batch != 0) {
                refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
            }
            for (uint32_t i = 0; i < 4; i++) {
                indexes[i] = rand_below(&rand, 12) + (rand_below(&rand, 50) == 0 ? INDEX_MAX : 0);
            }
            uint64_t received = rand_below(&rand, 12);
            ack_exactly(bench, received, rand_below(&rand, received + 1), rand_below(&rand, 6),
                        indexes, (uint32_t)rand_below(&rand, 5));
            struct node_state after = refusing_observe(&bench->fixture);
            assert_true(after.committed_index >= before.committed_index);
            assert_true(after.last.index >= before.last.index);
            refusing_expect(&bench->fixture, "base", "0");
        }
        fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
        teardown(state);
        setup(state);
    }
}

/* --- a store that takes nothing --- */

/* Once a batch has waited for operation_timeout: rejected at once, with the store's own words. */
static void a_failing_store_rejects(void **state)
{
    struct bench *bench = *state;
    uint64_t request = insert(bench, "k", "v");
    refusing_persist_failed(&bench->fixture, flush(bench, "k=v"), "no space left");
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_OPERATION_MS - 1);
    uint64_t batch = fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    refusing_persist_failed(&bench->fixture, batch, "no space left");
    insert(bench, "l", "v");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED),
                     0); /* not yet */
    fixture_happens(&bench->fixture, EVENT_TICK, 1);
    expect_failed(bench, request, FAIL_TIMEOUT,
                  "not in the primary's own store yet: no space left");
    expect_rejected(bench, insert(bench, "m", "v"), REJECT_STORE, "no space left");
    refusing_expect_persistence(&bench->fixture, PERSIST_RETRYING, "no space left");
    fixture_happens(&bench->fixture, EVENT_TICK, PERSIST_RETRY_MS_MAX);
    batch = fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    insert(bench, "m", "v");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED), 0);
    store(bench, "l=v m=v");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 2);
    refusing_expect_persistence(&bench->fixture, PERSIST_OK, "");
}

/* The same of a store that does not answer: it has no words. */
static void a_hanging_store_rejects(void **state)
{
    struct bench *bench = *state;
    uint64_t request = insert(bench, "k", "v");
    uint64_t batch = flush(bench, "k=v");
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_OPERATION_MS);
    expect_failed(bench, request, FAIL_TIMEOUT, "not in the primary's own store yet");
    expect_rejected(bench, insert(bench, "l", "v"), REJECT_STORE, "");
    refusing_expect_persistence(&bench->fixture, PERSIST_HANGING, "");
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    insert(bench, "l", "v");
    store(bench, "l=v");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 1);
    refusing_expect_persistence(&bench->fixture, PERSIST_OK, "");
}

/* A void update that is not passed for a while: nothing new is taken until it is. */
static void a_barrier_drains(void **state)
{
    static const uint32_t first[] = {0};
    const uint32_t drain_ms = FIXTURE_OPERATION_MS / BARRIERS_PER_OPERATION_TIMEOUT;
    struct bench *bench = *state;
    insert(bench, "k", "bad");
    refusing_persisted(&bench->fixture, flush(bench, "k=bad"), first, 1, "no");
    uint64_t batch = flush(bench, "k=-");
    fixture_happens(&bench->fixture, EVENT_TICK, drain_ms - 1);
    insert(bench, "l", "v"); /* still taken */
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_REJECTED), 0);
    fixture_happens(&bench->fixture, EVENT_TICK, 1);
    expect_rejected(bench, insert(bench, "m", "v"), REJECT_OVERLOADED, "");
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    expect_failed(bench, 1, FAIL_REFUSED, "no");
    insert(bench, "m", "v");
    store(bench, "l=v m=v");
    assert_int_equal(fixture_sent_len(&bench->fixture, MESSAGE_OPERATION_ACK), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(own_store_refuses),
        TEST(the_rest_of_the_batch_is_stored),
        TEST(the_deadline_comes_first),
        TEST(own_store_refuses_the_undo),
        TEST(a_secondary_refuses),
        TEST(told_again_does_nothing_again),
        TEST(refused_by_both),
        TEST(a_committed_one_is_refused),
        cmocka_unit_test_setup_teardown(a_committed_one_that_is_written_over_may_be_refused,
                                        setup_with_log, teardown),
        TEST(an_undo_is_refused),
        TEST(an_undo_that_is_void_may_be_refused),
        TEST(one_that_has_to_go_holds_nothing_up),
        TEST(odd_numbers),
        TEST(random_numbers),
        TEST(a_failing_store_rejects),
        TEST(a_hanging_store_rejects),
        TEST(a_barrier_drains),
    };
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}

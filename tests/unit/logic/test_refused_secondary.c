/*
 * A secondary and its store that refuses records for good: what is refused of the log is told until
 * the primary has dealt with it; a node whose store refuses what the cluster holds is not in sync
 * and says why; only states that the primary has named are shown.
 */
#include "refusing.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "logic/node.h"
#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define PRIMARY      FIXTURE_PRIMARY
#define PRIMARY_LINK FIXTURE_PRIMARY_LINK
#define RECORDS_MAX  300u

struct bench {
    struct fixture fixture;
    uint64_t session;
    uint64_t view;
    uint64_t seq;        /* of the next Snapshot */
    uint64_t index;      /* of the last record sent */
    uint64_t index_view; /* ... and its view */
    uint64_t dealt;      /* refusals that the primary has dealt with */
    uint64_t committed;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    bench->index_view = 1;
    fixture_init(&bench->fixture, false, true);
    bench->fixture.config.operation_timeout_ms = 60000; /* no store is stuck here */
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

/* --- the primary --- */

static struct message snapshot(struct bench *bench, uint8_t kind)
{
    struct message message = fixture_message(MESSAGE_SNAPSHOT, bench->view, PRIMARY);
    message.body.snapshot.session = bench->session;
    message.body.snapshot.kind = kind;
    message.body.snapshot.committed = bench->committed;
    message.body.snapshot.refusals = bench->dealt;
    if (kind != SNAPSHOT_COMMIT && kind != SNAPSHOT_PROBE) {
        message.body.snapshot.seq = bench->seq++;
    }
    return message;
}

static void tell(struct bench *bench, uint8_t kind)
{
    struct message message = snapshot(bench, kind);
    fixture_deliver(&bench->fixture, PRIMARY_LINK, &message);
}

/* tail TAIL_NONE: the content is to be fetched. */
static void tell_begin(struct bench *bench, uint8_t tail)
{
    struct message message = snapshot(bench, SNAPSHOT_BEGIN);
    message.body.snapshot.as_of = (struct kv_position){bench->index_view, bench->index};
    message.body.snapshot.tail = tail;
    message.body.snapshot.base = tail == TAIL_NONE ? UINT64_MAX : 0;
    message.body.snapshot.last = bench->index;
    fixture_deliver(&bench->fixture, PRIMARY_LINK, &message);
}

/* One pair, of the whole content. value NULL: there is none. */
static void tell_content(struct bench *bench, const char *key, const char *value)
{
    struct kv_position as_of = {bench->index_view, bench->index};
    struct kv_record record = fixture_record(key, value, 1, bench->index);
    record.client = record.request = 0;
    assert_true(fixture_fetched(&bench->fixture, as_of, &record, value == NULL ? 0 : 1) > 0);
}

/* So many insertions of one key each ("key0", "key1", ...) in one Snapshot. */
static void tell_records(struct bench *bench, uint32_t len, const char *value)
{
    struct buffer records;
    struct message message = snapshot(bench, SNAPSHOT_RECORDS);
    buffer_init(&records);
    for (uint32_t i = 0; i < len; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key%u", i);
        struct kv_record record = fixture_record(key, value, bench->view, ++bench->index);
        bench->index_view = bench->view;
        record_encode(&record, buffer_room(&records, record_size(&record)));
    }
    message.body.snapshot.count = len;
    message.body.snapshot.records.at = records.bytes;
    message.body.snapshot.records.len = records.len;
    fixture_deliver(&bench->fixture, PRIMARY_LINK, &message);
    buffer_close(&records);
}

static void tell_commit(struct bench *bench, uint64_t committed)
{
    bench->committed = committed;
    tell(bench, SNAPSHOT_COMMIT);
}

/* --- the node --- */

static uint64_t flush(struct bench *bench)
{
    uint64_t batch = refusing_flush(&bench->fixture, NULL, 0);
    assert_true(batch != 0);
    return batch;
}

static void store(struct bench *bench)
{
    refusing_persisted(&bench->fixture, flush(bench), NULL, 0, NULL);
}

/* In sync, with an empty content; one Snapshot was taken. */
static void start(struct bench *bench)
{
    fixture_become_secondary(&bench->fixture, MEMBER_IN_SYNC);
    bench->session = bench->view = 2;
    tell_begin(bench, TAIL_NONE);
    tell_content(bench, "", NULL);
    while (fixture_store_all(&bench->fixture) > 0) {
    }
    assert_true(refusing_observe(&bench->fixture).serves_reads);
}

/* What the node acknowledges when it is asked. ret_first_refused may be NULL. */
static struct message probe(struct bench *bench, struct message_refusal *ret_first_refused)
{
    tell(bench, SNAPSHOT_PROBE);
    fixture_happens(&bench->fixture, EVENT_FLUSH, 0);
    struct message ack = fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT_ACK, 0, NULL);
    if (ret_first_refused != NULL) {
        struct bytes_view bytes = ack.body.snapshot_ack.refusals;
        struct bytes_reader reader = bytes_reader_init(bytes.at, bytes.len);
        assert_true(message_read_refusal(&reader, ret_first_refused));
    }
    return ack;
}

static void expect_ack(struct bench *bench, uint64_t received, uint64_t durable, uint64_t first,
                       uint32_t len)
{
    struct message ack = probe(bench, NULL);
    assert_int_equal(ack.body.snapshot_ack.received, received);
    assert_int_equal(ack.body.snapshot_ack.durable, durable);
    assert_int_equal(ack.body.snapshot_ack.refusals_first, first);
    assert_int_equal(ack.body.snapshot_ack.refusals_len, len);
}

/* --- records of the log --- */

/* Durable is told together with what was refused, again and again, until it is dealt with. */
static void what_is_refused_is_told(void **state)
{
    static const uint32_t second[] = {1};
    struct bench *bench = *state;
    start(bench);
    tell_records(bench, 3, "v");
    refusing_persisted(&bench->fixture, flush(bench), second, 1, "key1 is read-only");
    for (uint32_t i = 0; i < 2; i++) {
        struct message_refusal refusal;
        probe(bench, &refusal);
        assert_int_equal(refusal.index, 2);
        assert_true(fixture_equals(refusal.text, "key1 is read-only"));
        expect_ack(bench, 2, 2, 0, 1);
    }
    bench->dealt = 1;
    expect_ack(bench, 2, 2, 1, 0);
    tell_records(bench, 2, "w");
    refusing_persisted(&bench->fixture, flush(bench), second, 1, NULL);
    expect_ack(bench, 3, 3, 1, 1);
    bench->dealt = 0; /* late: what was dealt with stays so */
    expect_ack(bench, 3, 3, 1, 1);
    bench->dealt = 99; /* so many were never told */
    expect_ack(bench, 3, 3, 1, 1);
    bench->dealt = 2;
    expect_ack(bench, 3, 3, 2, 0);
    assert_int_equal(fixture_counter(&bench->fixture, "records_refused"), 2);
    assert_int_equal(refusing_observe(&bench->fixture).role, ROLE_SECONDARY);
}

/* More than one acknowledgement holds: what is durable is told as far as refusals are told. */
static void many_refusals_hold_back_durable(void **state)
{
    struct bench *bench = *state;
    uint32_t all[RECORDS_MAX];
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        all[i] = i;
    }
    start(bench);
    tell_records(bench, RECORDS_MAX, "v");
    refusing_persisted(&bench->fixture, flush(bench), all, RECORDS_MAX, "no");
    tell_records(bench, 1, "v");
    store(bench);
    expect_ack(bench, 3, 1, 0, ACK_REFUSALS_MAX);
    bench->dealt = 1;
    expect_ack(bench, 3, 1, 1, ACK_REFUSALS_MAX);
    bench->dealt = ACK_REFUSALS_MAX;
    expect_ack(bench, 3, 3, ACK_REFUSALS_MAX, RECORDS_MAX - ACK_REFUSALS_MAX);
    bench->dealt = RECORDS_MAX;
    expect_ack(bench, 3, 3, RECORDS_MAX, 0);
}

/* key0 and key1 are refused; a later record of key0 makes up for it, and the other one is in doubt.
 * Then another session begins. */
static void begin_again(struct bench *bench, uint8_t tail)
{
    static const uint32_t both[] = {0, 1};
    struct view view;
    start(bench);
    tell_records(bench, 2, "v");
    refusing_persisted(&bench->fixture, flush(bench), both, 2, "no");
    tell_records(bench, 1, "w");
    store(bench);
    fixture_happens(&bench->fixture, EVENT_FLUSH, 0);
    fixture_view(&view, 3, PRIMARY);
    fixture_add_member(&view, PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 3, MEMBER_CANDIDATE);
    fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
    assert_int_equal(refusing_flush(&bench->fixture, NULL, 0), 0); /* not before it begins */
    bench->session = bench->view = 3;
    bench->seq = bench->dealt = 0;
    tell_begin(bench, tail);
}

/* It goes from memory and store, and comes back with what is fetched. */
static void what_is_not_made_up_for_is_in_doubt(void **state)
{
    char given[64];
    struct kv_record pairs[] = {fixture_record("key0", "w", 2, 3),
                                fixture_record("key1", "u", 1, 0)};
    struct bench *bench = *state;
    if (hash_bytes("key0", 4) > hash_bytes("key1", 4)) {
        struct kv_record first = pairs[0];
        pairs[0] = pairs[1];
        pairs[1] = first;
    }
    begin_again(bench, TAIL_NONE);
    uint64_t batch = refusing_flush(&bench->fixture, given, sizeof(given));
    assert_string_equal(given, ""); /* from here on the store's content is a mixture */
    assert_int_equal(fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.position.view,
                     0);
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    batch = refusing_flush(&bench->fixture, given, sizeof(given));
    assert_string_equal(given, "key1=-");
    assert_int_equal(fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.position.view,
                     0);
    refusing_expect(&bench->fixture, "key0", "w");
    refusing_expect(&bench->fixture, "key1", NULL);
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    expect_ack(bench, 1, 1, 0, 0); /* refusals are numbered anew */
    while (fixture_effects_len(&bench->fixture, EFFECT_OPEN_LINK) == 0) { /* to the source, anew */
        fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
        assert_true(bench->fixture.now_ms < FIXTURE_START_MS + 10 * FIXTURE_REPLICA_MS);
    }
    fixture_link_event(&bench->fixture, EVENT_LINK_UP,
                       fixture_effect(&bench->fixture, EFFECT_OPEN_LINK, 0)->as.open_link.link);
    assert_true(fixture_sent_len(&bench->fixture, MESSAGE_FETCH) > 0);
}

/* While nothing of it is committed it is as it was: what the primary has not dealt with, and what
 * was dealt with in another session, is told anew, so that a new primary knows it. */
static void refusals_are_told_anew(void **state)
{
    struct message_refusal refusal;
    struct bench *bench = *state;
    begin_again(bench, TAIL_FOLLOWS);
    while (fixture_store_all(&bench->fixture) > 0) {
    }
    refusing_expect(&bench->fixture, "key1", NULL);
    expect_ack(bench, 1, 1, 0, 2);
    probe(bench, &refusal);
    assert_int_equal(refusal.index, 1);
    bench->dealt = 2;
    expect_ack(bench, 1, 1, 2, 0);
}

/* One that is committed and not made up for leaves memory and store apart: the content is said to
 * be incomplete, so that it is fetched. */
static void doubts_are_told_before_a_session(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    struct view view;
    start(bench);
    tell_records(bench, 1, "v");
    refusing_persisted(&bench->fixture, flush(bench), first, 1, "no");
    for (uint64_t number = 3; number <= 4; number++) {
        fixture_view(&view, number, PRIMARY);
        fixture_add_member(&view, PRIMARY, 1, MEMBER_IN_SYNC);
        fixture_add_member(&view, FIXTURE_NODE, number, MEMBER_IN_SYNC);
        fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
        bench->session = bench->view = number;
        bench->seq = 0;
        tell(bench, SNAPSHOT_PROBE);
        struct message resume = fixture_sent(&bench->fixture, MESSAGE_RESUME, 0, NULL);
        assert_int_equal(resume.body.resume.complete, number == 3 ? 1 : 0);
        if (number == 3) {
            tell_begin(bench, TAIL_FOLLOWS);
            tell_commit(bench, 1);
            refusing_expect(&bench->fixture, "key0", "v");
        }
    }
}

/* A candidate's store may take by now what it has refused: its content is fetched, also of what is
 * not committed yet. */
static void a_candidate_with_a_refusal_fetches(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    struct view view;
    start(bench);
    tell_records(bench, 1, "v");
    refusing_persisted(&bench->fixture, flush(bench), first, 1, "no");
    fixture_view(&view, 3, PRIMARY);
    fixture_add_member(&view, PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 3, MEMBER_CANDIDATE);
    fixture_tell_view(&bench->fixture, MESSAGE_REPLICAS, &view);
    bench->session = bench->view = 3;
    bench->seq = 0;
    tell(bench, SNAPSHOT_PROBE);
    struct message resume = fixture_sent(&bench->fixture, MESSAGE_RESUME, 0, NULL);
    assert_int_equal(resume.body.resume.committed.index, 0);
    assert_int_equal(resume.body.resume.complete, 0);
}

/* --- content of the cluster --- */

/* Joins, takes the piece, and its store refuses it. Returns how long it waited before it joined
 * again. */
static uint64_t refuse_a_session(struct bench *bench, uint64_t incarnation)
{
    static const uint32_t last[] = {0};
    static const uint32_t behind_removal[] = {1};
    struct view view;
    fixture_view(&view, ++bench->view, PRIMARY);
    fixture_add_member(&view, PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, bench->view, MEMBER_CANDIDATE)->incarnation =
        incarnation;
    fixture_tell_view(&bench->fixture, MESSAGE_JOINED_SECONDARY, &view);
    assert_int_equal(refusing_observe(&bench->fixture).role, ROLE_CANDIDATE);
    bench->session = bench->view;
    bench->seq = 0;
    tell_begin(bench, TAIL_NONE);
    tell_content(bench, "k", "v");
    char given[64];
    uint64_t batch = refusing_flush(&bench->fixture, given, sizeof(given));
    bool has_removal = strcmp(given, "k=- k=v") == 0;
    if (!has_removal) {
        assert_string_equal(given, "k=v");
    }
    refusing_persisted(&bench->fixture, batch, has_removal ? behind_removal : last, 1,
                       "v is no number");
    assert_int_equal(refusing_observe(&bench->fixture).role, ROLE_JOINING);
    uint64_t refused_ms = bench->fixture.now_ms;
    do {
        uint64_t wake_ms = node_wake_ms(bench->fixture.node);
        assert_true(wake_ms != UINT64_MAX && wake_ms >= bench->fixture.now_ms);
        fixture_happens(&bench->fixture, EVENT_TICK, wake_ms - bench->fixture.now_ms);
    } while (fixture_sent_len(&bench->fixture, MESSAGE_JOIN) == 0);
    struct message join = fixture_sent(&bench->fixture, MESSAGE_JOIN, 0, NULL);
    assert_int_equal(join.body.join.incarnation, incarnation + 1);
    return bench->fixture.now_ms - refused_ms;
}

static void content_refused_again_and_again(void **state)
{
    static const uint64_t pauses_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
    struct bench *bench = *state;
    bench->index = 5;
    bench->view = 1;
    fixture_start(&bench->fixture);
    fixture_load(&bench->fixture, (struct kv_position){0, 0});
    for (uint32_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        assert_int_equal(refuse_a_session(bench, FIXTURE_INCARNATION + i), pauses_ms[i]);
        refusing_expect_persistence(&bench->fixture, PERSIST_REFUSING, "v is no number");
    }
}

/* A removal that is refused cannot be made good by anything: it is tried again. */
static void a_removal_is_refused(void **state)
{
    static const uint32_t first[] = {0};
    struct bench *bench = *state;
    struct kv_record record = fixture_record("old", "1", 1, 1);
    fixture_start(&bench->fixture);
    fixture_load_record(&bench->fixture, &record);
    fixture_load(&bench->fixture, (struct kv_position){1, 1});
    struct view view;
    fixture_view(&view, 2, PRIMARY);
    fixture_add_member(&view, PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, MEMBER_CANDIDATE);
    fixture_tell_view(&bench->fixture, MESSAGE_JOINED_SECONDARY, &view);
    bench->session = bench->view = 2;
    bench->index = 5;
    tell_begin(bench, TAIL_NONE);
    tell_content(bench, "", NULL);
    refusing_persisted(&bench->fixture, flush(bench), first, 1, "old is kept");
    assert_int_equal(refusing_observe(&bench->fixture).role, ROLE_CANDIDATE);
    refusing_expect_persistence(&bench->fixture, PERSIST_RETRYING, "old is kept");
    assert_int_equal(probe(bench, NULL).body.snapshot_ack.complete, 0);
    fixture_happens(&bench->fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    uint64_t batch = fixture_effect(&bench->fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    refusing_persisted(&bench->fixture, batch, NULL, 0, NULL);
    assert_int_equal(probe(bench, NULL).body.snapshot_ack.complete, 1);
    refusing_expect_persistence(&bench->fixture, PERSIST_OK, "");
}

/* --- what is shown --- */

/* Only what the primary has named: between two of these states there may be a value that failed. */
static void only_named_states_are_shown(void **state)
{
    struct bench *bench = *state;
    start(bench);
    tell_records(bench, 2, "1"); /* key0, key1: indexes 1 and 2 */
    tell_commit(bench, 3);       /* index 3 is not here yet */
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 0);
    refusing_expect(&bench->fixture, "key0", NULL);
    tell_commit(bench, 1);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 1);
    refusing_expect(&bench->fixture, "key0", "1");
    refusing_expect(&bench->fixture, "key1", NULL);
    tell_records(bench, 2, "2"); /* 3 and 4; 3 was named before */
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 3);
    refusing_expect(&bench->fixture, "key0", "2");
    refusing_expect(&bench->fixture, "key1", "1");
    tell_commit(bench, UINT64_MAX); /* nothing like that is here, ever */
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 3);
    tell_commit(bench, 4);
    assert_int_equal(refusing_observe(&bench->fixture).committed_index, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_refused_is_told),
        TEST(many_refusals_hold_back_durable),
        TEST(what_is_not_made_up_for_is_in_doubt),
        TEST(refusals_are_told_anew),
        TEST(doubts_are_told_before_a_session),
        TEST(a_candidate_with_a_refusal_fetches),
        TEST(content_refused_again_and_again),
        TEST(a_removal_is_refused),
        TEST(only_named_states_are_shown),
    };
    return cmocka_run_group_tests_name("refused_secondary", tests, NULL, NULL);
}

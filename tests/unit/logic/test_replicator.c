/*
 * The primary's sender for one secondary: numbers from 0, a window bounded in messages, bytes and
 * pieces, retransmission that repairs a loss without repeating what merely was slow.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "logic/limits.h"
#include "logic/replicator.h"

#include <stdlib.h>
#include <string.h>

#define SESSION   5u
#define SECONDARY 22u
#define COMMITTED 100u

static uint8_t filler[WINDOW_BYTES_MAX];

struct bench {
    struct fixture fixture;
    struct replicator replicator;
    struct log *log;
    struct store *store;
    struct replicator_source source;
};

static const struct index_set no_stops;

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct kv_position committed = {3, COMMITTED};
    fixture_init(&bench->fixture, false, true);
    bench->log = log_create(committed);
    bench->store = store_create();
    bench->source = (struct replicator_source){bench->log, bench->store, &no_stops, committed};
    const char *uri = "test://n22";
    replicator_init(&bench->replicator, &bench->fixture.context, SECONDARY, SESSION,
                    context_open_link(&bench->fixture.context, &uri, 1), committed);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fixture_advance(&bench->fixture, 0);
    replicator_close(&bench->replicator, &bench->fixture.context);
    assert_int_equal(fixture_effect(&bench->fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     bench->replicator.link);
    log_unref(bench->log);
    store_destroy(bench->store);
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

static void add_records(struct bench *bench, uint32_t len, size_t value_len)
{
    for (uint32_t i = 0; i < len; i++) {
        struct kv_record record = {.value = filler,
                                   .value_len = (uint32_t)value_len,
                                   .kind = KV_RECORD_INSERT,
                                   .position = {3, log_last_index(bench->log) + 1}};
        log_append(bench->log, &record);
    }
}

static void pump(struct bench *bench)
{
    fixture_advance(&bench->fixture, 0);
    replicator_pump(&bench->replicator, &bench->fixture.context, &bench->source);
}

static void tick(struct bench *bench, uint64_t later_ms)
{
    fixture_advance(&bench->fixture, later_ms);
    replicator_tick(&bench->replicator, &bench->fixture.context, &bench->source);
}

static bool ack(struct bench *bench, uint64_t received, uint64_t durable)
{
    struct message message = fixture_message(MESSAGE_SNAPSHOT_ACK, 3, SECONDARY);
    message.body.snapshot_ack.session = SESSION;
    message.body.snapshot_ack.received = received;
    message.body.snapshot_ack.durable = durable;
    fixture_advance(&bench->fixture, 0);
    return replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source, &message);
}

/* BEGIN, the only (empty) piece and END are stored there: only records follow. */
static void bring_up(struct bench *bench)
{
    assert_true(ack(bench, 1, 1));
    pump(bench);
    pump(bench);
    assert_true(ack(bench, 3, 3));
    assert_true(bench->replicator.transferred);
}

static uint32_t sent(struct bench *bench)
{
    return fixture_sent_len(&bench->fixture, MESSAGE_SNAPSHOT);
}

/* The Snapshot number place of the last step must have this kind and number. */
static struct message assert_sent(struct bench *bench, uint32_t place, uint8_t kind, uint64_t seq)
{
    uint64_t link = 0;
    struct message message = fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT, place, &link);
    assert_int_equal(link, bench->replicator.link);
    assert_int_equal(message.body.snapshot.session, SESSION);
    assert_int_equal(message.body.snapshot.kind, kind);
    assert_int_equal(message.body.snapshot.seq, seq);
    return message;
}

/* One Snapshot of one record each, so many, none acknowledged. */
static void send_singly(struct bench *bench, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        add_records(bench, 1, 10);
        pump(bench);
        assert_int_equal(sent(bench), 1);
    }
}

/* --- the happy path --- */

static void it_has_a_link_and_sends_nothing_yet(void **state)
{
    struct bench *bench = *state;
    const struct effect *open = fixture_effect(&bench->fixture, EFFECT_OPEN_LINK, 0);
    assert_int_equal(open->as.open_link.link, bench->replicator.link);
    assert_true((bench->replicator.link & LINK_OPENED_BIT) != 0);
    assert_int_equal(bench->replicator.durable_index, COMMITTED);
    assert_int_equal(bench->fixture.context.counters[COUNTER_transfers_started], 1);
    add_records(bench, 3, 10);
    pump(bench);
    assert_int_equal(sent(bench), 0); /* the peer has not answered yet */
}

static void begin_goes_out_when_the_link_is_up(void **state)
{
    struct bench *bench = *state;
    fixture_advance(&bench->fixture, 0);
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    struct message begin = assert_sent(bench, 0, SNAPSHOT_BEGIN, 0);
    assert_int_equal(begin.body.snapshot.as_of.view, 3);
    assert_int_equal(begin.body.snapshot.as_of.index, COMMITTED);
    assert_sent(bench, 1, SNAPSHOT_PROBE, 0);
    assert_int_equal(sent(bench), 2);
}

static void the_session_is_numbered_from_0(void **state)
{
    struct bench *bench = *state;
    add_records(bench, 2, 10);
    assert_true(ack(bench, 1, 1));
    pump(bench);
    struct message records = assert_sent(bench, 0, SNAPSHOT_RECORDS, 1);
    assert_int_equal(records.body.snapshot.count, 2);
    assert_int_equal(records.body.snapshot.committed, COMMITTED);
    struct message piece = assert_sent(bench, 1, SNAPSHOT_PIECE, 2);
    assert_int_equal(piece.body.snapshot.low, 0);
    assert_true(piece.body.snapshot.high == UINT64_MAX);
    assert_int_equal(piece.body.snapshot.as_of.index, COMMITTED);
    assert_int_equal(sent(bench), 2);
    pump(bench);
    assert_sent(bench, 0, SNAPSHOT_END, 3);
    assert_int_equal(sent(bench), 1);
    pump(bench);
    assert_int_equal(sent(bench), 0);

    assert_false(bench->replicator.transferred);
    assert_true(ack(bench, 4, 2));
    assert_int_equal(bench->replicator.received_index, COMMITTED + 2);
    assert_int_equal(bench->replicator.durable_index, COMMITTED + 2);
    assert_true(ack(bench, 4, 4));
    assert_true(bench->replicator.transferred);
    assert_true(replicator_is_close(&bench->replicator, bench->log));
}

static void what_gathers_is_one_snapshot(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 1000, 10);
    pump(bench);
    assert_int_equal(sent(bench), 1);
    assert_int_equal(assert_sent(bench, 0, SNAPSHOT_RECORDS, 3).body.snapshot.count, 1000);
    assert_int_equal(bench->replicator.next_index, COMMITTED + 1001);
}

static void a_large_tail_is_cut_into_snapshots(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 10, 100 * 1024); /* two fit in one, by the limit of bytes */
    pump(bench);
    assert_int_equal(sent(bench), 5);
    for (uint32_t i = 0; i < 5; i++) {
        struct message message = assert_sent(bench, i, SNAPSHOT_RECORDS, 3 + i);
        assert_int_equal(message.body.snapshot.count, 2);
        assert_true(message.body.snapshot.records.len <= SNAPSHOT_BYTES_MAX);
    }
}

static void commit_is_told_outside_the_numbering(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    uint64_t next = bench->replicator.next;
    fixture_advance(&bench->fixture, 0);
    replicator_send_commit(&bench->replicator, &bench->fixture.context, &bench->source);
    struct message commit = assert_sent(bench, 0, SNAPSHOT_COMMIT, 0);
    assert_int_equal(commit.body.snapshot.committed, bench->source.committed.index);
    assert_int_equal(bench->replicator.next, next);
}

/* --- the window --- */

static void the_window_is_limited_in_messages(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, WINDOW_MESSAGES_MAX);
    add_records(bench, 1, 10);
    pump(bench);
    assert_int_equal(sent(bench), 0);
    /* Room comes with what is durable, not with what is received. */
    uint64_t first = bench->replicator.durable;
    assert_true(ack(bench, first + 5, first));
    pump(bench);
    assert_int_equal(sent(bench), 0);
    assert_true(ack(bench, first + 5, first + 1));
    add_records(bench, 1, 10);
    pump(bench);
    assert_int_equal(sent(bench), 1);
    struct message message = assert_sent(bench, 0, SNAPSHOT_RECORDS, first + WINDOW_MESSAGES_MAX);
    assert_int_equal(message.body.snapshot.count, 2); /* what gathered goes together */
}

static void the_window_is_limited_in_bytes(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 200, SNAPSHOT_BYTES_MAX - 1000);
    pump(bench);
    uint32_t len = sent(bench);
    assert_true(len < WINDOW_MESSAGES_MAX);
    assert_true(bench->replicator.window_bytes >= WINDOW_BYTES_MAX);
    assert_true(bench->replicator.window_bytes < WINDOW_BYTES_MAX + SNAPSHOT_BYTES_MAX);
    pump(bench);
    assert_int_equal(sent(bench), 0);
    assert_true(ack(bench, 3 + len, 3 + len));
    assert_int_equal(bench->replicator.window_bytes, 0);
    assert_true(bench->replicator.window_bytes_max_seen < WINDOW_BYTES_MAX + SNAPSHOT_BYTES_MAX);
    pump(bench);
    assert_int_equal(sent(bench), len);
}

static void a_record_larger_than_the_window_still_goes(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 1, WINDOW_BYTES_MAX);
    add_records(bench, 1, 10);
    pump(bench);
    assert_int_equal(sent(bench), 1);
    assert_true(ack(bench, 4, 4));
    pump(bench);
    assert_int_equal(sent(bench), 1);
}

static void fill_store(struct bench *bench, uint32_t pairs)
{
    for (uint32_t i = 0; i < pairs; i++) {
        store_put(bench->store, &i, sizeof(i), filler, 100 * 1024, (struct kv_position){3, i + 1});
    }
}

static void a_transfer_is_paced_in_pieces(void **state)
{
    struct bench *bench = *state;
    fill_store(bench, 20); /* ten pieces */
    assert_true(ack(bench, 1, 1));
    uint64_t low = 0;
    for (uint32_t i = 0; i < WINDOW_PIECES_MAX; i++) {
        pump(bench);
        assert_int_equal(sent(bench), 1); /* one in each turn */
        struct message piece = assert_sent(bench, 0, SNAPSHOT_PIECE, 1 + i);
        assert_int_equal(piece.body.snapshot.low, low);
        assert_true(piece.body.snapshot.records.len <= SNAPSHOT_BYTES_MAX);
        low = piece.body.snapshot.high + 1;
    }
    pump(bench);
    assert_int_equal(sent(bench), 0);
    /* Updates do not wait for the pieces. */
    add_records(bench, 1, 10);
    pump(bench);
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_RECORDS, 1 + WINDOW_PIECES_MAX);
    assert_true(ack(bench, 2, 2));
    pump(bench);
    struct message piece = assert_sent(bench, 0, SNAPSHOT_PIECE, 2 + WINDOW_PIECES_MAX);
    assert_int_equal(piece.body.snapshot.low, low);
}

/* --- loss --- */

static void nothing_is_sent_again_before_its_time(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 3);
    tick(bench, FIXTURE_RETRANSMIT_MS - 1);
    assert_int_equal(sent(bench), 0);
}

static void the_oldest_alone_is_sent_again(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(sent(bench), 1);
    struct message again = assert_sent(bench, 0, SNAPSHOT_RECORDS, 3);
    assert_int_equal(again.body.snapshot.count, 1);
    assert_int_equal(bench->fixture.context.counters[COUNTER_snapshots_resent], 1);
    tick(bench, FIXTURE_RETRANSMIT_MS - 1);
    assert_int_equal(sent(bench), 0);
    tick(bench, 1);
    assert_int_equal(sent(bench), 1);
}

/* It was merely slow: the ack covers all of them, and nothing is repeated. */
static void a_slow_peer_gets_nothing_twice(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_true(ack(bench, 8, 3));
    assert_int_equal(sent(bench), 0);
    assert_int_equal(bench->replicator.received, 8);
}

/* The ack covers the one that was repeated, and not what was sent behind it before: that is lost.
 */
/* A large one may merely take its time: a PROBE asks. Its answer shows that it is lost, or that it
 * has come. */
static void a_large_one_is_asked_for_first(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 1, 100000);
    pump(bench);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_false(ack(bench, 3, 3)); /* lost */
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_RECORDS, 3);
    assert_false(ack(bench, 3, 3)); /* the answer to nothing brings no copy more */
    assert_int_equal(sent(bench), 0);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_true(ack(bench, 4, 4)); /* it was slow */
    assert_int_equal(sent(bench), 0);
}

static void an_ack_that_shows_the_loss_brings_the_rest(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_true(ack(bench, 4, 4));
    assert_int_equal(sent(bench), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_sent(bench, i, SNAPSHOT_RECORDS, 4 + i);
    }
    /* The acks of these say nothing new. */
    assert_true(ack(bench, 6, 4));
    assert_int_equal(sent(bench), 0);
    assert_true(ack(bench, 8, 8));
    assert_int_equal(sent(bench), 0);
}

static void a_large_loss_is_repaired_bit_by_bit(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 40, 200 * 1024); /* 8 MiB, one Snapshot each */
    pump(bench);
    assert_int_equal(sent(bench), 40);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_false(ack(bench, 3, 3));
    assert_int_equal(sent(bench), 1);
    uint64_t received = 4;
    uint32_t rounds = 0;
    uint32_t repeated = 1;
    while (received < 43) {
        assert_true(ack(bench, received, received));
        uint32_t len = sent(bench);
        assert_in_range(len, 1, 12); /* at most about 2 MiB at once, and never nothing */
        assert_sent(bench, 0, SNAPSHOT_RECORDS, received);
        received += len;
        repeated += len;
        rounds++;
    }
    assert_int_equal(repeated, 40); /* each once */
    assert_true(rounds > 2);
    assert_true(ack(bench, 43, 43));
}

static void new_traffic_does_not_put_off_a_retransmission(void **state)
{
    struct bench *bench = *state;
    uint32_t again = 0;
    bring_up(bench);
    send_singly(bench, 1); /* lost */
    for (uint32_t ms = 0; ms < FIXTURE_RETRANSMIT_MS; ms += 10) {
        tick(bench, 10);
        again += sent(bench);
        send_singly(bench, 1);
    }
    assert_int_equal(again, 1);
}

/* Records trimmed from the log in the meantime would be a mistake of the primary; what is durable
 * there is never asked for. */
static void what_is_received_is_not_sent_again(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    assert_true(ack(bench, 6, 4));
    fixture_advance(&bench->fixture, 0);
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    assert_int_equal(sent(bench), 3);
    assert_sent(bench, 0, SNAPSHOT_RECORDS, 6);
    assert_sent(bench, 1, SNAPSHOT_RECORDS, 7);
    assert_sent(bench, 2, SNAPSHOT_PROBE, 0);
}

static void a_peer_that_received_and_did_not_store_is_asked(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 2);
    assert_true(ack(bench, 5, 3));
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_int_equal(bench->replicator.next, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS - 1);
    assert_int_equal(sent(bench), 0);
    tick(bench, 1);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
}

static void pieces_are_sent_again_as_they_were(void **state)
{
    struct bench *bench = *state;
    store_put(bench->store, "key", 3, "then", 4, (struct kv_position){3, 50});
    assert_true(ack(bench, 1, 1));
    pump(bench);
    assert_sent(bench, 0, SNAPSHOT_PIECE, 1);
    store_put(bench->store, "key", 3, "now!", 4, (struct kv_position){3, COMMITTED + 1});
    bench->source.committed.index = COMMITTED + 1;
    tick(bench, FIXTURE_RETRANSMIT_MS);
    struct message again = assert_sent(bench, 0, SNAPSHOT_PIECE, 1);
    assert_int_equal(again.body.snapshot.as_of.index, COMMITTED);
    assert_int_equal(again.body.snapshot.count, 1);
    assert_memory_equal(again.body.snapshot.records.at + again.body.snapshot.records.len - 4,
                        "then", 4);
    assert_int_equal(again.body.snapshot.committed, COMMITTED); /* all that was sent */
}

/* --- acknowledgements --- */

static void acks_out_of_range_are_counted_and_ignored(void **state)
{
    struct bench *bench = *state;
    const uint64_t *unexpected = &bench->fixture.context.counters[COUNTER_messages_unexpected];
    bring_up(bench);
    send_singly(bench, 2);
    bench->fixture.now_ms += 50;
    uint64_t heard_ms = bench->replicator.heard_ms;
    assert_false(ack(bench, 6, 3)); /* number 5 was never sent */
    assert_int_equal(*unexpected, 1);
    assert_false(ack(bench, UINT64_MAX, UINT64_MAX));
    assert_int_equal(*unexpected, 2);
    assert_false(ack(bench, 4, 5));
    assert_int_equal(*unexpected, 3);
    struct message other = fixture_message(MESSAGE_SNAPSHOT_ACK, 3, SECONDARY);
    other.body.snapshot_ack.session = SESSION + 1;
    other.body.snapshot_ack.received = 5;
    other.body.snapshot_ack.durable = 5;
    assert_false(
        replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source, &other));
    assert_int_equal(*unexpected, 4);
    assert_int_equal(bench->replicator.received, 3);
    assert_int_equal(bench->replicator.durable, 3);
    assert_int_equal(bench->replicator.heard_ms, heard_ms);
}

static void an_old_ack_moves_nothing_back(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 4);
    assert_true(ack(bench, 6, 5));
    assert_false(ack(bench, 4, 3));
    assert_false(ack(bench, 6, 5));
    assert_int_equal(bench->replicator.received, 6);
    assert_int_equal(bench->replicator.durable, 5);
    assert_int_equal(bench->replicator.received_index, COMMITTED + 3);
    assert_int_equal(bench->replicator.durable_index, COMMITTED + 2);
}

static void durable_alone_moves_too(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 3);
    assert_true(ack(bench, 6, 3));
    assert_int_equal(bench->replicator.received_index, COMMITTED + 3);
    assert_int_equal(bench->replicator.durable_index, COMMITTED);
    assert_true(ack(bench, 6, 6));
    assert_int_equal(bench->replicator.durable_index, COMMITTED + 3);
}

/* --- silence --- */

static bool is_silent(struct bench *bench, uint64_t later_ms)
{
    fixture_advance(&bench->fixture, later_ms);
    return replicator_is_silent(&bench->replicator, &bench->fixture.context);
}

static void silence_begins_at_the_beginning(void **state)
{
    struct bench *bench = *state;
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    assert_true(is_silent(bench, 1));
    replicator_forgive(&bench->replicator, &bench->fixture.context);
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    assert_true(is_silent(bench, 1));
}

static void an_idle_peer_must_answer(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    assert_false(ack(bench, 3, 3)); /* nothing moves, but it is heard */
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    assert_true(is_silent(bench, 1));
}

/* Talking is not enough: with something in the window, only what it stores counts. */
static void a_peer_that_talks_and_stores_nothing_is_silent(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 2);
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS / 2));
    assert_true(ack(bench, 5, 3));
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS / 2 - 1));
    assert_true(is_silent(bench, 1));
    assert_true(ack(bench, 5, 4));
    assert_false(is_silent(bench, 0));
}

/* Idle for long and then busy: the time counts from when there was something to do. */
static void progress_is_measured_from_the_first_in_the_window(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    fixture_advance(&bench->fixture, 10 * FIXTURE_REPLICA_MS);
    send_singly(bench, 1);
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    send_singly(bench, 1);
    assert_true(is_silent(bench, 1));
}

static void close_means_transferred_and_nearly_there(void **state)
{
    struct bench *bench = *state;
    assert_false(replicator_is_close(&bench->replicator, bench->log));
    bring_up(bench);
    add_records(bench, 16384, 0);
    assert_true(replicator_is_close(&bench->replicator, bench->log));
    add_records(bench, 1, 0);
    assert_false(replicator_is_close(&bench->replicator, bench->log));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_has_a_link_and_sends_nothing_yet),
        TEST(begin_goes_out_when_the_link_is_up),
        TEST(the_session_is_numbered_from_0),
        TEST(what_gathers_is_one_snapshot),
        TEST(a_large_tail_is_cut_into_snapshots),
        TEST(commit_is_told_outside_the_numbering),
        TEST(the_window_is_limited_in_messages),
        TEST(the_window_is_limited_in_bytes),
        TEST(a_record_larger_than_the_window_still_goes),
        TEST(a_transfer_is_paced_in_pieces),
        TEST(nothing_is_sent_again_before_its_time),
        TEST(the_oldest_alone_is_sent_again),
        TEST(a_slow_peer_gets_nothing_twice),
        TEST(a_large_one_is_asked_for_first),
        TEST(an_ack_that_shows_the_loss_brings_the_rest),
        TEST(a_large_loss_is_repaired_bit_by_bit),
        TEST(new_traffic_does_not_put_off_a_retransmission),
        TEST(what_is_received_is_not_sent_again),
        TEST(a_peer_that_received_and_did_not_store_is_asked),
        TEST(pieces_are_sent_again_as_they_were),
        TEST(acks_out_of_range_are_counted_and_ignored),
        TEST(an_old_ack_moves_nothing_back),
        TEST(durable_alone_moves_too),
        TEST(silence_begins_at_the_beginning),
        TEST(an_idle_peer_must_answer),
        TEST(a_peer_that_talks_and_stores_nothing_is_silent),
        TEST(progress_is_measured_from_the_first_in_the_window),
        TEST(close_means_transferred_and_nearly_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The primary's sender for one secondary: numbers from 0, a window bounded in messages and bytes,
 * retransmission that repairs a loss without repeating what merely was slow.
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
#define KNOWN     90u /* to be in the secondary's store before it has said anything */

static uint8_t filler[WINDOW_BYTES_MAX];

struct bench {
    struct fixture fixture;
    struct replicator replicator;
    struct log *log;
    struct replicator_source source;
};

static const struct index_set no_stops;

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    fixture_init(&bench->fixture, false, true);
    bench->log = log_create((struct kv_position){3, COMMITTED});
    bench->source = (struct replicator_source){bench->log, &no_stops, COMMITTED};
    const char *uri = "test://n22";
    replicator_init(&bench->replicator, &bench->fixture.context, SECONDARY, SESSION,
                    context_open_link(&bench->fixture.context, &uri, 1), KNOWN);
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

static void begin(struct bench *bench, uint8_t tail)
{
    struct replicator_start start = {.as_of = {3, COMMITTED}, .tail = tail};
    fixture_advance(&bench->fixture, 0);
    replicator_begin(&bench->replicator, &bench->fixture.context, &bench->source, &start);
}

/* BEGIN is stored there: only records follow. */
static void bring_up(struct bench *bench)
{
    begin(bench, TAIL_FOLLOWS);
    assert_true(ack(bench, 1, 1));
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
    assert_int_equal(bench->replicator.durable_index, KNOWN);
    assert_false(bench->replicator.begun);
    add_records(bench, 3, 10);
    pump(bench);
    assert_int_equal(sent(bench), 0); /* the peer has not told how far it is */
}

/* It asks for a Resume, when the link is up and again and again. */
static void before_it_begins_it_asks(void **state)
{
    struct bench *bench = *state;
    fixture_advance(&bench->fixture, 0);
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    struct message probe = assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_int_equal(probe.body.snapshot.committed, 0); /* nothing is known to be there */
    assert_int_equal(probe.body.snapshot.sent_ms, bench->fixture.now_ms);
    assert_int_equal(sent(bench), 1);
    for (uint32_t i = 0; i < 3; i++) {
        tick(bench, FIXTURE_RETRANSMIT_MS - 1);
        assert_int_equal(sent(bench), 0);
        tick(bench, 1);
        assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
        assert_int_equal(sent(bench), 1);
    }
}

static void begin_says_where_the_log_goes_on(void **state)
{
    struct bench *bench = *state;
    add_records(bench, 7, 10);
    begin(bench, TAIL_FOLLOWS);
    struct message message = assert_sent(bench, 0, SNAPSHOT_BEGIN, 0);
    assert_int_equal(sent(bench), 1);
    assert_int_equal(message.body.snapshot.as_of.view, 3);
    assert_int_equal(message.body.snapshot.as_of.index, COMMITTED);
    assert_int_equal(message.body.snapshot.tail, TAIL_FOLLOWS);
    assert_int_equal(message.body.snapshot.last, COMMITTED + 7);
    assert_int_equal(message.body.snapshot.committed, COMMITTED);
    assert_int_equal(bench->replicator.durable_index, COMMITTED); /* what it holds back */
    assert_int_equal(bench->fixture.context.counters[COUNTER_tails_resumed], 1);
    assert_int_equal(bench->fixture.context.counters[COUNTER_transfers_started], 0);
    tick(bench, FIXTURE_RETRANSMIT_MS); /* lost: again as it was */
    message = assert_sent(bench, 0, SNAPSHOT_BEGIN, 0);
    assert_int_equal(message.body.snapshot.as_of.index, COMMITTED);
    assert_int_equal(message.body.snapshot.tail, TAIL_FOLLOWS);
    fixture_advance(&bench->fixture, 0); /* the link came up again */
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    assert_sent(bench, 0, SNAPSHOT_BEGIN, 0);
    assert_sent(bench, 1, SNAPSHOT_PROBE, 0);
}

static void begin_says_what_may_be_kept_of_content(void **state)
{
    struct bench *bench = *state;
    struct replicator_start start = {.as_of = {3, COMMITTED}, .tail = TAIL_NONE, .base = 77};
    fixture_advance(&bench->fixture, 0);
    replicator_begin(&bench->replicator, &bench->fixture.context, &bench->source, &start);
    struct message message = assert_sent(bench, 0, SNAPSHOT_BEGIN, 0);
    assert_int_equal(message.body.snapshot.tail, TAIL_NONE);
    assert_int_equal(message.body.snapshot.base, 77);
    assert_int_equal(bench->fixture.context.counters[COUNTER_transfers_started], 1);
}

/* What one that counts vouches for is never guessed: it stays what is known until it says more. */
static void one_that_counts_vouches_for_what_it_says(void **state)
{
    struct bench *bench = *state;
    bench->replicator.counted = true;
    begin(bench, TAIL_FOLLOWS);
    assert_int_equal(bench->replicator.durable_index, KNOWN);
    assert_int_equal(bench->replicator.received_index, KNOWN);
    assert_true(ack(bench, 1, 0));
    assert_int_equal(bench->replicator.durable_index, KNOWN);
    assert_int_equal(bench->replicator.received_index, COMMITTED);
    assert_true(ack(bench, 1, 1));
    assert_int_equal(bench->replicator.durable_index, COMMITTED);
}

static void the_session_is_numbered_from_0(void **state)
{
    struct bench *bench = *state;
    add_records(bench, 2, 10);
    begin(bench, TAIL_FOLLOWS);
    pump(bench);
    assert_int_equal(sent(bench), 0); /* the peer has not taken BEGIN yet */
    assert_true(ack(bench, 1, 1));
    pump(bench);
    struct message records = assert_sent(bench, 0, SNAPSHOT_RECORDS, 1);
    assert_int_equal(records.body.snapshot.count, 2);
    assert_int_equal(records.body.snapshot.committed, COMMITTED);
    assert_int_equal(records.body.snapshot.tail, 0);
    assert_int_equal(records.body.snapshot.last, 0);
    assert_int_equal(sent(bench), 1);
    pump(bench);
    assert_int_equal(sent(bench), 0);
    assert_true(ack(bench, 2, 1));
    assert_int_equal(bench->replicator.received_index, COMMITTED + 2);
    assert_int_equal(bench->replicator.durable_index, COMMITTED);
    assert_true(ack(bench, 2, 2));
    assert_int_equal(bench->replicator.durable_index, COMMITTED + 2);
}

static void what_gathers_is_one_snapshot(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 1000, 10);
    pump(bench);
    assert_int_equal(sent(bench), 1);
    assert_int_equal(assert_sent(bench, 0, SNAPSHOT_RECORDS, 1).body.snapshot.count, 1000);
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
        struct message message = assert_sent(bench, i, SNAPSHOT_RECORDS, 1 + i);
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
    assert_int_equal(commit.body.snapshot.committed, bench->source.committed);
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
    assert_true(ack(bench, 1 + len, 1 + len));
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
    assert_true(ack(bench, 2, 2));
    pump(bench);
    assert_int_equal(sent(bench), 1);
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
    struct message again = assert_sent(bench, 0, SNAPSHOT_RECORDS, 1);
    assert_int_equal(again.body.snapshot.count, 1);
    assert_int_equal(bench->fixture.context.counters[COUNTER_snapshots_resent], 1);
    tick(bench, FIXTURE_RETRANSMIT_MS - 1);
    assert_int_equal(sent(bench), 0);
    tick(bench, 1);
    assert_int_equal(sent(bench), 1);
}

static void a_slow_peer_gets_nothing_twice(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_true(ack(bench, 6, 1));
    assert_int_equal(sent(bench), 0);
    assert_int_equal(bench->replicator.received, 6);
}

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
    assert_false(ack(bench, 1, 1)); /* lost */
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_RECORDS, 1);
    assert_false(ack(bench, 1, 1)); /* the answer to nothing brings no copy more */
    assert_int_equal(sent(bench), 0);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_true(ack(bench, 2, 2)); /* it was slow */
    assert_int_equal(sent(bench), 0);
}

/* The ack covers the one that was repeated, and not what was sent behind it before: that is lost.
 */
static void an_ack_that_shows_the_loss_brings_the_rest(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_true(ack(bench, 2, 2));
    assert_int_equal(sent(bench), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_sent(bench, i, SNAPSHOT_RECORDS, 2 + i);
    }
    assert_true(ack(bench, 4, 2));
    assert_int_equal(sent(bench), 0);
    assert_true(ack(bench, 6, 6));
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
    assert_false(ack(bench, 1, 1));
    assert_int_equal(sent(bench), 1);
    uint64_t received = 2;
    uint32_t rounds = 0;
    uint32_t repeated = 1;
    while (received < 41) {
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
    assert_true(ack(bench, 41, 41));
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

static void what_is_received_is_not_sent_again(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 5);
    assert_true(ack(bench, 4, 2));
    fixture_advance(&bench->fixture, 0);
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    assert_int_equal(sent(bench), 3);
    assert_sent(bench, 0, SNAPSHOT_RECORDS, 4);
    assert_sent(bench, 1, SNAPSHOT_RECORDS, 5);
    assert_sent(bench, 2, SNAPSHOT_PROBE, 0);
}

static void a_peer_that_received_and_did_not_store_is_asked(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 2);
    assert_true(ack(bench, 3, 1));
    tick(bench, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(sent(bench), 1);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
    assert_int_equal(bench->replicator.next, 3);
    tick(bench, FIXTURE_RETRANSMIT_MS - 1);
    assert_int_equal(sent(bench), 0);
    tick(bench, 1);
    assert_sent(bench, 0, SNAPSHOT_PROBE, 0);
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
    assert_false(ack(bench, 4, 1)); /* number 3 was never sent */
    assert_int_equal(*unexpected, 1);
    assert_false(ack(bench, UINT64_MAX, UINT64_MAX));
    assert_int_equal(*unexpected, 2);
    assert_false(ack(bench, 2, 3));
    assert_int_equal(*unexpected, 3);
    struct message other = fixture_message(MESSAGE_SNAPSHOT_ACK, 3, SECONDARY);
    other.body.snapshot_ack.session = SESSION + 1;
    other.body.snapshot_ack.received = 3;
    other.body.snapshot_ack.durable = 3;
    assert_false(
        replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source, &other));
    assert_int_equal(*unexpected, 4);
    assert_int_equal(bench->replicator.received, 1);
    assert_int_equal(bench->replicator.durable, 1);
    assert_int_equal(bench->replicator.heard_ms, heard_ms);
}

static void an_old_ack_moves_nothing_back(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 4);
    assert_true(ack(bench, 4, 3));
    assert_false(ack(bench, 2, 1));
    assert_false(ack(bench, 4, 3));
    assert_int_equal(bench->replicator.received, 4);
    assert_int_equal(bench->replicator.durable, 3);
    assert_int_equal(bench->replicator.received_index, COMMITTED + 3);
    assert_int_equal(bench->replicator.durable_index, COMMITTED + 2);
}

static void durable_alone_moves_too(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 3);
    assert_true(ack(bench, 4, 1));
    assert_int_equal(bench->replicator.received_index, COMMITTED + 3);
    assert_int_equal(bench->replicator.durable_index, COMMITTED);
    assert_true(ack(bench, 4, 4));
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
    assert_false(ack(bench, 1, 1)); /* nothing moves, but it is heard */
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS - 1));
    assert_true(is_silent(bench, 1));
}

static void a_peer_that_talks_and_stores_nothing_is_silent(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    send_singly(bench, 2);
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS / 2));
    assert_true(ack(bench, 3, 1));
    assert_false(is_silent(bench, FIXTURE_REPLICA_MS / 2 - 1));
    assert_true(is_silent(bench, 1));
    assert_true(ack(bench, 3, 2));
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

/* Complete is what the member says; it is close with that and little left to send. */
static void close_means_complete_and_nearly_there(void **state)
{
    struct bench *bench = *state;
    assert_false(replicator_is_close(&bench->replicator, bench->log));
    bring_up(bench);
    assert_false(replicator_is_close(&bench->replicator, bench->log));
    struct message message = fixture_message(MESSAGE_SNAPSHOT_ACK, 3, SECONDARY);
    message.body.snapshot_ack.session = SESSION;
    message.body.snapshot_ack.received = message.body.snapshot_ack.durable = 1;
    message.body.snapshot_ack.complete = 1;
    fixture_advance(&bench->fixture, 0);
    assert_true(replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source,
                                  &message)); /* that is news */
    assert_false(
        replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source, &message));
    add_records(bench, 16384, 0);
    assert_true(replicator_is_close(&bench->replicator, bench->log));
    add_records(bench, 1, 0);
    assert_false(replicator_is_close(&bench->replicator, bench->log));
}

/* --- the time of sending comes back --- */

static void echo(struct bench *bench, uint64_t heard_ms)
{
    struct message message = fixture_message(MESSAGE_SNAPSHOT_ACK, 3, SECONDARY);
    message.body.snapshot_ack.session = SESSION;
    message.body.snapshot_ack.received = message.body.snapshot_ack.durable = 1;
    message.body.snapshot_ack.heard_ms = heard_ms;
    replicator_on_ack(&bench->replicator, &bench->fixture.context, &bench->source, &message);
}

/* It only grows, and is believed only as far as it can be: nothing is heard before it is sent. */
static void the_latest_time_heard_counts(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    assert_int_equal(bench->replicator.echo_ms, 0);
    echo(bench, FIXTURE_START_MS);
    assert_int_equal(bench->replicator.echo_ms, FIXTURE_START_MS);
    fixture_advance(&bench->fixture, 50);
    echo(bench, FIXTURE_START_MS + 40);
    echo(bench, FIXTURE_START_MS + 20);
    assert_int_equal(bench->replicator.echo_ms, FIXTURE_START_MS + 40);
    echo(bench, FIXTURE_START_MS + 51);
    echo(bench, UINT64_MAX);
    assert_int_equal(bench->replicator.echo_ms, FIXTURE_START_MS + 40);
}

static void all_that_is_sent_has_its_time(void **state)
{
    struct bench *bench = *state;
    bring_up(bench);
    add_records(bench, 1, 10);
    fixture_advance(&bench->fixture, 30);
    replicator_pump(&bench->replicator, &bench->fixture.context, &bench->source);
    replicator_send_commit(&bench->replicator, &bench->fixture.context, &bench->source);
    replicator_probe(&bench->replicator, &bench->fixture.context, &bench->source);
    assert_int_equal(sent(bench), 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct message message = fixture_sent(&bench->fixture, MESSAGE_SNAPSHOT, i, NULL);
        assert_int_equal(message.body.snapshot.sent_ms, FIXTURE_START_MS + 30);
    }
    /* What is sent again is sent then. */
    fixture_advance(&bench->fixture, 30);
    replicator_resend(&bench->replicator, &bench->fixture.context, &bench->source);
    struct message again = assert_sent(bench, 0, SNAPSHOT_RECORDS, 1);
    assert_int_equal(again.body.snapshot.sent_ms, FIXTURE_START_MS + 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_has_a_link_and_sends_nothing_yet),
        TEST(before_it_begins_it_asks),
        TEST(begin_says_where_the_log_goes_on),
        TEST(begin_says_what_may_be_kept_of_content),
        TEST(one_that_counts_vouches_for_what_it_says),
        TEST(the_session_is_numbered_from_0),
        TEST(what_gathers_is_one_snapshot),
        TEST(a_large_tail_is_cut_into_snapshots),
        TEST(commit_is_told_outside_the_numbering),
        TEST(the_window_is_limited_in_messages),
        TEST(the_window_is_limited_in_bytes),
        TEST(a_record_larger_than_the_window_still_goes),
        TEST(nothing_is_sent_again_before_its_time),
        TEST(the_oldest_alone_is_sent_again),
        TEST(a_slow_peer_gets_nothing_twice),
        TEST(a_large_one_is_asked_for_first),
        TEST(an_ack_that_shows_the_loss_brings_the_rest),
        TEST(a_large_loss_is_repaired_bit_by_bit),
        TEST(new_traffic_does_not_put_off_a_retransmission),
        TEST(what_is_received_is_not_sent_again),
        TEST(a_peer_that_received_and_did_not_store_is_asked),
        TEST(acks_out_of_range_are_counted_and_ignored),
        TEST(an_old_ack_moves_nothing_back),
        TEST(durable_alone_moves_too),
        TEST(silence_begins_at_the_beginning),
        TEST(an_idle_peer_must_answer),
        TEST(a_peer_that_talks_and_stores_nothing_is_silent),
        TEST(progress_is_measured_from_the_first_in_the_window),
        TEST(close_means_complete_and_nearly_there),
        TEST(the_latest_time_heard_counts),
        TEST(all_that_is_sent_has_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "logic/replicator.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"
#include "logic/transfer.h"

#include <string.h>

/* A candidate is close when it lacks no more than this many records of the log. */
#define REPLICATOR_CLOSE_RECORDS 16384u

/* One retransmission sends at most so much of the window again. */
#define REPLICATOR_RESEND_BYTES_MAX (2u * 1024u * 1024u)

/* A larger Snapshot is not sent again before a PROBE has shown that it is lost: on a busy network
 * it takes its time, and a copy would take as much again. */
#define REPLICATOR_ASK_FIRST_BYTES 32768u

/* A Snapshot of the log's records is at most this many slices of it. */
#define REPLICATOR_SLICES_MAX 8u

struct window_entry {
    uint8_t kind; /* enum snapshot_kind */
    uint32_t count;
    uint64_t first; /* RECORDS: first index and last index */
    uint64_t last;
    struct kv_position as_of;
    uint64_t low; /* PIECE */
    uint64_t high;
    uint8_t *bytes; /* PIECE: its records; RECORDS are borrowed from the log when sent */
    size_t len;
};

static struct window_entry *replicator_entry(const struct replicator *replicator, uint64_t seq)
{
    KV_CHECK(seq >= replicator->durable && seq < replicator->next);
    return &replicator->window[seq % WINDOW_MESSAGES_MAX];
}

/* Appends an entry to the window, which has room. */
static struct window_entry *replicator_add(struct replicator *replicator,
                                           const struct context *context, uint8_t kind)
{
    KV_CHECK(replicator->next - replicator->durable < WINDOW_MESSAGES_MAX);
    if (replicator->durable == replicator->next) {
        replicator->progress_ms = context->now_ms;
    }
    if (replicator->received == replicator->next) {
        replicator->asked_ms = context->now_ms;
    }
    uint64_t seq = replicator->next++;
    struct window_entry *entry = replicator_entry(replicator, seq);
    memset(entry, 0, sizeof(*entry));
    entry->kind = kind;
    return entry;
}

void replicator_init(struct replicator *replicator, struct context *context, uint64_t node,
                     uint64_t session, uint64_t link, struct kv_position committed)
{
    memset(replicator, 0, sizeof(*replicator));
    replicator->node = node;
    replicator->session = session;
    replicator->link = link;
    replicator->window = alloc_zeroed(WINDOW_MESSAGES_MAX, sizeof(*replicator->window));
    replicator->transferring = true;
    replicator->next_index = committed.index + 1;
    replicator->durable_index = committed.index;
    replicator->received_index = committed.index;
    replicator->heard_ms = context->now_ms;
    struct window_entry *begin = replicator_add(replicator, context, SNAPSHOT_BEGIN);
    begin->as_of = committed;
    context_count(context, COUNTER_transfers_started);
}

static void replicator_drop_first(struct replicator *replicator)
{
    struct window_entry *entry = replicator_entry(replicator, replicator->durable);
    replicator->window_bytes -= entry->len;
    if (entry->kind == SNAPSHOT_PIECE) {
        replicator->pieces--;
        alloc_free(entry->bytes);
        entry->bytes = NULL;
    }
    replicator->durable++;
}

void replicator_close(struct replicator *replicator, struct context *context)
{
    while (replicator->durable < replicator->next) {
        replicator_drop_first(replicator);
    }
    alloc_free(replicator->window);
    replicator->window = NULL;
    if (context != NULL) {
        context_close_link(context, replicator->link);
    }
}

/* --- sending --- */

/* sent: the last index of the log that the receiver has once it has this message. It must find a
 * legal stop among what it has. */
static struct message replicator_message(const struct replicator *replicator,
                                         const struct context *context, uint8_t kind,
                                         const struct replicator_source *source, uint64_t sent)
{
    struct message message = context_message(context, MESSAGE_SNAPSHOT);
    uint64_t committed = sent < source->committed.index ? sent : source->committed.index;
    message.body.snapshot.session = replicator->session;
    message.body.snapshot.kind = kind;
    message.body.snapshot.committed =
        BUG(show_failed) ? source->committed.index : index_set_floor(source->stops, committed);
    message.body.snapshot.refusals = replicator->refusals;
    return message;
}

static void replicator_send(struct replicator *replicator, struct context *context, uint64_t seq,
                            const struct replicator_source *source)
{
    const struct window_entry *entry = replicator_entry(replicator, seq);
    bool has_records = entry->kind == SNAPSHOT_RECORDS;
    struct message message =
        replicator_message(replicator, context, entry->kind, source,
                           has_records ? entry->last : replicator->next_index - 1);
    message.body.snapshot.seq = seq;
    message.body.snapshot.as_of = entry->as_of;
    message.body.snapshot.low = entry->low;
    message.body.snapshot.high = entry->high;
    message.body.snapshot.count = entry->count;
    message.body.snapshot.records.len = entry->len;
    struct kv_slice slices[REPLICATOR_SLICES_MAX];
    uint32_t slices_len = 0;
    if (has_records) {
        size_t bytes;
        uint64_t last = log_slices(source->log, entry->first, entry->last, SIZE_MAX, slices,
                                   REPLICATOR_SLICES_MAX, &slices_len, &bytes);
        KV_CHECK(last == entry->last && bytes == entry->len);
    } else if (entry->len > 0) {
        slices[0].bytes = entry->bytes;
        slices[0].len = entry->len;
        slices_len = 1;
    }
    context_send_records(context, replicator->link, &message, slices, slices_len);
}

static void replicator_send_outside(struct replicator *replicator, struct context *context,
                                    uint8_t kind, const struct replicator_source *source)
{
    struct message message =
        replicator_message(replicator, context, kind, source, replicator->next_index - 1);
    context_send(context, replicator->link, &message);
}

static bool replicator_has_room(const struct replicator *replicator)
{
    return replicator->next - replicator->durable < WINDOW_MESSAGES_MAX &&
           replicator->window_bytes < WINDOW_BYTES_MAX;
}

static void replicator_account(struct replicator *replicator, struct context *context,
                               struct window_entry *entry, const struct replicator_source *source)
{
    replicator->window_bytes += entry->len;
    if (replicator->window_bytes > replicator->window_bytes_max_seen) {
        replicator->window_bytes_max_seen = replicator->window_bytes;
    }
    replicator_send(replicator, context, replicator->next - 1, source);
}

static void replicator_send_new_records(struct replicator *replicator, struct context *context,
                                        const struct replicator_source *source)
{
    struct kv_slice slices[REPLICATOR_SLICES_MAX];
    uint32_t slices_len;
    struct window_entry *entry = replicator_add(replicator, context, SNAPSHOT_RECORDS);
    entry->first = replicator->next_index;
    entry->last = log_slices(source->log, entry->first, UINT64_MAX, SNAPSHOT_BYTES_MAX, slices,
                             REPLICATOR_SLICES_MAX, &slices_len, &entry->len);
    entry->count = (uint32_t)(entry->last - entry->first + 1);
    replicator->next_index = entry->last + 1;
    replicator_account(replicator, context, entry, source);
    if (BUG(reuse_sequence) && replicator->next % 5 == 0) {
        replicator->window_bytes -= entry->len;
        replicator->next--;
    }
}

/* The next range of the transfer, or its END when none is left. */
static void replicator_send_new_piece(struct replicator *replicator, struct context *context,
                                      const struct replicator_source *source)
{
    if (replicator->all_cut) {
        struct window_entry *end = replicator_add(replicator, context, SNAPSHOT_END);
        end->as_of = source->committed;
        replicator->transferring = false;
        replicator_account(replicator, context, end, source);
        return;
    }
    struct buffer records;
    buffer_init(&records);
    struct window_entry *entry = replicator_add(replicator, context, SNAPSHOT_PIECE);
    entry->as_of = source->committed;
    entry->low = replicator->cursor;
    entry->high =
        transfer_cut(source->store, entry->low, SNAPSHOT_BYTES_MAX, &records, &entry->count);
    entry->bytes = buffer_take(&records, &entry->len);
    replicator->all_cut = entry->high == UINT64_MAX;
    replicator->cursor = entry->high + 1;
    replicator->pieces++;
    context_count(context, COUNTER_transfer_pieces);
    replicator_account(replicator, context, entry, source);
}

void replicator_pump(struct replicator *replicator, struct context *context,
                     const struct replicator_source *source)
{
    /* Nothing but BEGIN before the peer has answered for the first time. */
    if (replicator->received == 0) {
        return;
    }
    while (replicator->next_index <= log_last_index(source->log) &&
           replicator_has_room(replicator)) {
        replicator_send_new_records(replicator, context, source);
    }
    if (replicator->transferring && replicator->pieces < WINDOW_PIECES_MAX &&
        replicator_has_room(replicator)) {
        replicator_send_new_piece(replicator, context, source);
    }
}

void replicator_send_commit(struct replicator *replicator, struct context *context,
                            const struct replicator_source *source)
{
    replicator_send_outside(replicator, context, SNAPSHOT_COMMIT, source);
}

/* Sends again what is not received, oldest first, until bytes_max are reached. */
static void replicator_resend_bytes(struct replicator *replicator, struct context *context,
                                    const struct replicator_source *source, size_t bytes_max)
{
    size_t bytes = 0;
    uint64_t seq = replicator->received;
    for (; seq < replicator->next && bytes < bytes_max; seq++) {
        replicator_send(replicator, context, seq, source);
        context_count(context, COUNTER_snapshots_resent);
        bytes += replicator_entry(replicator, seq)->len + MESSAGE_HEADER_BYTES;
    }
    replicator->resent_until = seq;
    replicator->asked_ms = context->now_ms;
}

void replicator_resend(struct replicator *replicator, struct context *context,
                       const struct replicator_source *source)
{
    replicator->recover_until = replicator->next;
    replicator_resend_bytes(replicator, context, source, REPLICATOR_RESEND_BYTES_MAX);
    replicator_send_outside(replicator, context, SNAPSHOT_PROBE, source);
}

void replicator_tick(struct replicator *replicator, struct context *context,
                     const struct replicator_source *source)
{
    if (context->now_ms - replicator->asked_ms < context->config->retransmit_ms) {
        return;
    }
    replicator->asks_first =
        replicator->received < replicator->next &&
        replicator_entry(replicator, replicator->received)->len > REPLICATOR_ASK_FIRST_BYTES;
    if (replicator->received < replicator->next && !replicator->asks_first) {
        /* The oldest alone: if it was merely slow, its ack says so and nothing else is sent twice.
         */
        replicator->recover_until = replicator->next;
        replicator_resend_bytes(replicator, context, source, 1);
    } else {
        replicator_send_outside(replicator, context, SNAPSHOT_PROBE, source);
        replicator->asked_ms = context->now_ms;
    }
}

/* --- acknowledgements --- */

static void replicator_move_received(struct replicator *replicator, uint64_t received)
{
    for (uint64_t seq = replicator->received; seq < received; seq++) {
        const struct window_entry *entry = replicator_entry(replicator, seq);
        if (entry->kind == SNAPSHOT_RECORDS) {
            replicator->received_index = entry->last;
        }
    }
    replicator->received = received;
}

static void replicator_move_durable(struct replicator *replicator, uint64_t durable)
{
    while (replicator->durable < durable) {
        const struct window_entry *entry = replicator_entry(replicator, replicator->durable);
        switch (entry->kind) {
        case SNAPSHOT_RECORDS:
            replicator->durable_index = entry->last;
            break;
        case SNAPSHOT_END:
            replicator->transferred = true;
            break;
        default:
            break;
        }
        replicator_drop_first(replicator);
    }
}

bool replicator_on_ack(struct replicator *replicator, struct context *context,
                       const struct replicator_source *source, const struct message *ack)
{
    uint64_t received = ack->body.snapshot_ack.received;
    uint64_t durable = ack->body.snapshot_ack.durable;
    if (ack->body.snapshot_ack.session != replicator->session || received > replicator->next ||
        durable > received) {
        context_count(context, COUNTER_messages_unexpected);
        return false;
    }
    replicator->heard = true;
    replicator->heard_ms = context->now_ms;
    bool moved = false;
    if (received > replicator->received) {
        replicator_move_received(replicator, received);
        replicator->asks_first = false;
        replicator->asked_ms = context->now_ms;
        moved = true;
        if (received < replicator->recover_until && received >= replicator->resent_until) {
            replicator_resend_bytes(replicator, context, source, REPLICATOR_RESEND_BYTES_MAX);
        }
    }
    if (replicator->asks_first) { /* the PROBE has arrived, and what was sent before it has not */
        replicator->asks_first = false;
        replicator->recover_until = replicator->next;
        replicator_resend_bytes(replicator, context, source, 1);
    }
    if (durable > replicator->durable) {
        replicator_move_durable(replicator, durable);
        replicator->progress_ms = context->now_ms;
        moved = true;
    }
    return moved;
}

bool replicator_is_silent(const struct replicator *replicator, const struct context *context)
{
    uint64_t since_ms =
        replicator->durable < replicator->next ? replicator->progress_ms : replicator->heard_ms;
    return context->now_ms - since_ms >= context->config->replica_timeout_ms;
}

void replicator_forgive(struct replicator *replicator, const struct context *context)
{
    replicator->heard_ms = context->now_ms;
    replicator->progress_ms = context->now_ms;
}

bool replicator_is_close(const struct replicator *replicator, const struct log *log)
{
    return replicator->transferred &&
           log_last_index(log) - replicator->durable_index <= REPLICATOR_CLOSE_RECORDS;
}

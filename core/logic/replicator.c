#include "logic/replicator.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"

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
    uint8_t kind; /* BEGIN or RECORDS */
    uint32_t count;
    uint64_t first; /* RECORDS: first index and last index, borrowed from the log when sent */
    uint64_t last;
    size_t len;
    struct replicator_start start; /* BEGIN */
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
                     uint64_t session, uint64_t link, uint64_t durable_index)
{
    memset(replicator, 0, sizeof(*replicator));
    replicator->node = node;
    replicator->session = session;
    replicator->link = link;
    replicator->window = alloc_zeroed(WINDOW_MESSAGES_MAX, sizeof(*replicator->window));
    replicator->durable_index = durable_index;
    replicator->received_index = durable_index;
    replicator->heard_ms = context->now_ms;
}

static void replicator_drop_first(struct replicator *replicator)
{
    struct window_entry *entry = replicator_entry(replicator, replicator->durable);
    replicator->window_bytes -= entry->len;
    replicator->durable++;
}

void replicator_close(struct replicator *replicator, struct context *context)
{
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
    uint64_t committed = sent < source->committed ? sent : source->committed;
    message.body.snapshot.session = replicator->session;
    message.body.snapshot.kind = kind;
    message.body.snapshot.committed =
        BUG(show_failed) ? source->committed : index_set_floor(source->stops, committed);
    message.body.snapshot.refusals = replicator->refusals;
    message.body.snapshot.sent_ms = context->now_ms;
    return message;
}

static void replicator_send_begin(struct replicator *replicator, struct context *context,
                                  const struct replicator_start *start,
                                  const struct replicator_source *source)
{
    struct message message =
        replicator_message(replicator, context, SNAPSHOT_BEGIN, source, start->as_of.index);
    message.body.snapshot.as_of = start->as_of;
    message.body.snapshot.tail = start->tail;
    message.body.snapshot.base = start->base;
    message.body.snapshot.last = log_last_index(source->log);
    context_send(context, replicator->link, &message);
}

static void replicator_send(struct replicator *replicator, struct context *context, uint64_t seq,
                            const struct replicator_source *source)
{
    const struct window_entry *entry = replicator_entry(replicator, seq);
    if (entry->kind == SNAPSHOT_BEGIN) {
        replicator_send_begin(replicator, context, &entry->start, source);
        return;
    }
    struct message message =
        replicator_message(replicator, context, SNAPSHOT_RECORDS, source, entry->last);
    message.body.snapshot.seq = seq;
    message.body.snapshot.count = entry->count;
    message.body.snapshot.records.len = entry->len;
    struct kv_slice slices[REPLICATOR_SLICES_MAX];
    uint32_t slices_len;
    size_t bytes;
    uint64_t last = log_slices(source->log, entry->first, entry->last, SIZE_MAX, slices,
                               REPLICATOR_SLICES_MAX, &slices_len, &bytes);
    KV_CHECK(last == entry->last && bytes == entry->len);
    context_send_records(context, replicator->link, &message, slices, slices_len);
}

/* The member has all records of the log below next_index, or is on the way to. */
static void replicator_send_outside(struct replicator *replicator, struct context *context,
                                    uint8_t kind, const struct replicator_source *source)
{
    struct message message = replicator_message(replicator, context, kind, source,
                                                replicator->begun ? replicator->next_index - 1 : 0);
    context_send(context, replicator->link, &message);
}

void replicator_begin(struct replicator *replicator, struct context *context,
                      const struct replicator_source *source, const struct replicator_start *start)
{
    KV_CHECK(!replicator->begun && replicator->next == 0);
    struct window_entry *entry = replicator_add(replicator, context, SNAPSHOT_BEGIN);
    entry->start = *start;
    replicator->begun = true;
    replicator->begin_index = start->as_of.index;
    /* What it holds back of the log, until it counts; one that counts may have come back with less
     * than what it was taken to have. */
    if (!replicator->counted || replicator->durable_index > start->as_of.index) {
        replicator->durable_index = start->as_of.index;
        replicator->received_index = start->as_of.index;
    }
    replicator->next_index = start->as_of.index + 1;
    context_count(context,
                  start->tail != TAIL_NONE ? COUNTER_tails_resumed : COUNTER_transfers_started);
    replicator_send(replicator, context, 0, source);
}

void replicator_hear(struct replicator *replicator, const struct context *context)
{
    replicator->heard = true;
    replicator->heard_ms = context->now_ms;
}

void replicator_probe(struct replicator *replicator, struct context *context,
                      const struct replicator_source *source)
{
    replicator_send_outside(replicator, context, SNAPSHOT_PROBE, source);
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
        uint64_t index = entry->kind == SNAPSHOT_RECORDS ? entry->last : replicator->begin_index;
        if (index > replicator->received_index) {
            replicator->received_index = index;
        }
    }
    replicator->received = received;
}

static void replicator_move_durable(struct replicator *replicator, uint64_t durable)
{
    while (replicator->durable < durable) {
        const struct window_entry *entry = replicator_entry(replicator, replicator->durable);
        uint64_t index = entry->kind == SNAPSHOT_RECORDS ? entry->last : replicator->begin_index;
        if (index > replicator->durable_index) {
            replicator->durable_index = index;
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
    replicator_hear(replicator, context);
    bool moved = ack->body.snapshot_ack.complete != 0 && !replicator->complete;
    replicator->complete = ack->body.snapshot_ack.complete != 0;
    if (ack->body.snapshot_ack.heard_ms > replicator->echo_ms &&
        ack->body.snapshot_ack.heard_ms <= context->now_ms) {
        replicator->echo_ms = ack->body.snapshot_ack.heard_ms;
    }
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
    return replicator->complete &&
           log_last_index(log) - replicator->durable_index <= REPLICATOR_CLOSE_RECORDS;
}

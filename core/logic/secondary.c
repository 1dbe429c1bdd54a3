#include "logic/secondary.h"

#include "base/check.h"
#include "logic/bug.h"
#include "logic/membership.h"
#include "logic/record.h"
#include "logic/transfer.h"

#include <stdio.h>
#include <string.h>

/* A secondary whose store is behind by so much takes no more; the primary sends it again later. */
#define SECONDARY_PERSIST_BYTES_MAX (2u * (uint64_t)WINDOW_BYTES_MAX)

static void secondary_acknowledge(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    secondary->ack_wanted = false;
    struct message ack = context_message(replica->context, MESSAGE_SNAPSHOT_ACK);
    ack.body.snapshot_ack.session = secondary->session;
    ack.body.snapshot_ack.received = secondary->expected;
    ack.body.snapshot_ack.durable = BUG(ack_on_receipt) ? secondary->expected : secondary->durable;
    struct buffer refusals;
    uint64_t durable_max;
    buffer_init(&refusals);
    refusals_encode(&secondary->refusals, &refusals, &ack.body.snapshot_ack.refusals_first,
                    &ack.body.snapshot_ack.refusals_len, &durable_max);
    ack.body.snapshot_ack.refusals.at = refusals.bytes;
    ack.body.snapshot_ack.refusals.len = refusals.len;
    if (durable_max < ack.body.snapshot_ack.durable) {
        ack.body.snapshot_ack.durable = durable_max;
    }
    context_send(replica->context, secondary->link, &ack);
    buffer_close(&refusals);
}

/* Trims what is committed, in the own store, and not needed after a piece any more. */
static void secondary_trim(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t index = replica->committed < secondary->durable_index ? replica->committed
                                                                   : secondary->durable_index;
    if (secondary->transferring && secondary->piece_as_of < index) {
        index = secondary->piece_as_of;
    }
    log_trim(replica->log, index);
    refusals_trim(&secondary->refusals, log_first_index(replica->log));
}

/* Shows what the primary has committed, as far as it is here. Only a state that the primary has
 * named is shown: one between two of them may hold a value that has failed (undo.h). */
static void secondary_commit(struct replica *replica, uint64_t committed)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t last = log_last_index(replica->log);
    if (secondary->begun && committed > secondary->announced) {
        secondary->announced = committed;
    }
    uint64_t index = replica->committed;
    if (secondary->announced <= last) {
        index = secondary->announced;
    } else if (committed <= last || BUG(show_failed)) {
        index = committed < last ? committed : last;
    }
    if (index > replica->committed) {
        replica_commit(replica, index);
        secondary_trim(replica);
    }
    if (secondary->begun && !secondary->transferring && !secondary->complete &&
        replica->committed >= secondary->complete_index) {
        secondary->complete = true;
        replica_commit(replica, replica->committed); /* readers may have waited for this */
    }
}

/* --- refused records --- */

/* The store has refused a record of this key: memory and store may hold different things of it. It
 * goes from both when the next session begins (not before: until then the store is as good as it
 * was), and comes back with the transfer. */
static void secondary_doubt_key(struct replica *replica, const void *key, uint32_t key_len)
{
    struct kv_record removal = {.key = key,
                                .key_len = key_len,
                                .kind = KV_RECORD_REMOVE,
                                .position = log_last(replica->log)};
    if (!BUG(keep_refused)) {
        record_encode(&removal, buffer_room(&replica->doubtful, record_size(&removal)));
        replica->doubtful_len++;
    }
}

/* At the end of a session: what was refused in it and is not made up for. */
static void secondary_doubt_refused(struct replica *replica)
{
    const struct refusals *refusals = &replica->secondary.refusals;
    for (uint32_t i = 0; i < refusals->len; i++) {
        if (!refusals->items[i].is_made_up) {
            secondary_doubt_key(replica, refusals->items[i].key, refusals->items[i].key_len);
        }
    }
}

/* At the beginning of a session: the keys in doubt go from the memory and from the store. */
static void secondary_drop_doubtful(struct replica *replica)
{
    struct bytes_reader reader = bytes_reader_init(replica->doubtful.bytes, replica->doubtful.len);
    struct kv_record removal;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &removal));
        store_remove(replica->store, removal.key, removal.key_len);
    }
    if (replica->doubtful_len > 0) {
        size_t len;
        uint8_t *bytes = buffer_take(&replica->doubtful, &len);
        persister_add_bytes(&replica->persister, bytes, len, replica->doubtful_len,
                            (struct kv_position){0, 0}, 0);
        replica->doubtful_len = 0;
    }
}

/* A later record of the same key is in the log. */
static bool secondary_is_made_up(const struct replica *replica, const struct refused *refused)
{
    for (uint64_t index = refused->index + 1; index <= log_last_index(replica->log); index++) {
        struct kv_record later = log_get(replica->log, index);
        if (record_has_key(&later, refused->record.key, refused->record.key_len)) {
            return true;
        }
    }
    return false;
}

/* refused[i] is a record of the session's log, or one that was refused as such, in this batch or
 * before, and is written again because of a piece. */
static bool secondary_is_reported(const struct replica *replica, const struct refused *refused,
                                  uint32_t len, uint32_t i)
{
    struct kv_position position = refused[i].record.position;
    if (refused[i].index != 0 || refusals_has(&replica->secondary.refusals, position)) {
        return true;
    }
    for (uint32_t other = 0; other < len; other++) {
        if (refused[other].index != 0 &&
            position_compare(refused[other].record.position, position) == 0) {
            return true;
        }
    }
    return false;
}

/* The store refuses content of the cluster: this node cannot be in sync. It leaves the session and
 * tries again later. */
static void secondary_give_up(struct replica *replica, const struct refused *refused, uint32_t len)
{
    const char *reason = "";
    for (uint32_t i = 0; i < len; i++) {
        if (!secondary_is_reported(replica, refused, len, i)) {
            reason = refused[i].reason == NULL ? "" : refused[i].reason;
        }
    }
    snprintf(replica->refused, sizeof(replica->refused), "%s",
             reason[0] == '\0' ? "a record that the cluster holds is refused" : reason);
    effects_note(replica->context->effects, NOTE_WARN,
                 "store-refuses-content records=%u reason=\"%s\"", len,
                 context_quotable(replica->context, replica->refused, strlen(replica->refused)));
    for (uint32_t i = 0; i < len; i++) {
        secondary_doubt_key(replica, refused[i].record.key, refused[i].record.key_len);
    }
    membership_rejoin(replica);
}

bool secondary_on_refused(struct replica *replica, const struct refused *refused, uint32_t len)
{
    struct secondary *secondary = &replica->secondary;
    bool gives_up = false;
    for (uint32_t i = 0; i < len; i++) {
        bool is_reported = secondary_is_reported(replica, refused, len, i);
        /* A removal that is refused cannot be made good by a removal. */
        if (!is_reported && refused[i].record.kind == KV_RECORD_REMOVE) {
            return false;
        }
        gives_up = gives_up || !is_reported;
    }
    if (gives_up) {
        secondary_give_up(replica, refused, len);
        return true;
    }
    for (uint32_t i = 0; i < len; i++) {
        if (refused[i].index != 0 && !BUG(forget_refusal)) {
            refusals_add(&secondary->refusals, &refused[i].record, refused[i].reason,
                         secondary->durable, secondary_is_made_up(replica, &refused[i]));
            context_count(replica->context, COUNTER_records_refused);
        }
    }
    return true;
}

/* --- session --- */

void secondary_start(struct replica *replica, uint64_t session)
{
    struct secondary *secondary = &replica->secondary;
    if (session != 0 && secondary->session == session) {
        return;
    }
    /* What the store was told and the memory does not show yet is shown now, so that the transfer
     * compares with what the store will really hold. Nobody reads here meanwhile. */
    for (uint64_t index = replica->committed + 1; index <= log_last_index(replica->log); index++) {
        struct kv_record record = log_get(replica->log, index);
        replica_apply(replica, &record);
    }
    secondary_doubt_refused(replica);
    struct kv_position last = log_last(replica->log);
    replica->committed = last.index;
    replica->committed_view = last.view;
    log_unref(replica->log); /* what the store is still to be told of, the jobs hold */
    replica->log = log_create(last);
    persister_void_marks(&replica->persister);
    uint64_t announced = secondary->announced;
    refusals_close(&secondary->refusals);
    memset(secondary, 0, sizeof(*secondary));
    secondary->announced = announced;
    secondary->session = session;
}

void secondary_stop(struct replica *replica)
{
    secondary_start(replica, 0);
}

/* --- Snapshots --- */

static void secondary_begin(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    struct kv_position start = message->body.snapshot.as_of;
    log_unref(replica->log);
    replica->log = log_create(start);
    replica->committed = start.index;
    replica->committed_view = start.view;
    secondary->begun = true;
    secondary->transferring = true;
    secondary->complete = false;
    secondary->piece_as_of = start.index;
    secondary->durable_index = start.index;
    /* From here on, and until END, the store's content is a mixture. */
    persister_add_bytes(&replica->persister, NULL, 0, 0, (struct kv_position){0, 0},
                        secondary->expected + 1);
    secondary_drop_doubtful(replica);
}

/* The records of a Snapshot follow the log without a gap, in an order that positions allow. */
static bool secondary_records_fit(const struct replica *replica, struct bytes_view records)
{
    struct bytes_reader reader = bytes_reader_init(records.at, records.len);
    struct kv_position last = log_last(replica->log);
    struct kv_record record;
    while (reader.left > 0) {
        if (!record_decode(&reader, &record) || record.position.index != last.index + 1 ||
            record.position.view < last.view) {
            return false;
        }
        last = record.position;
    }
    return true;
}

static bool secondary_take_records(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    struct bytes_view records = message->body.snapshot.records;
    if (records.len == 0 || !secondary_records_fit(replica, records)) {
        return BUG(accept_future);
    }
    uint64_t first = log_last_index(replica->log) + 1;
    struct bytes_reader reader = bytes_reader_init(records.at, records.len);
    struct kv_record record;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record));
        log_append(replica->log, &record);
        refusals_on_record(&secondary->refusals, &record);
    }
    persister_add_log(&replica->persister, replica->log, first, log_last_index(replica->log),
                      !secondary->transferring, secondary->expected + 1);
    return true;
}

static bool secondary_take_piece(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    struct transfer_piece piece = {
        .low = message->body.snapshot.low,
        .high = message->body.snapshot.high,
        .as_of = message->body.snapshot.as_of.index,
        .records = message->body.snapshot.records.at,
        .len = message->body.snapshot.records.len,
        .count = message->body.snapshot.count,
    };
    /* Whatever is committed at the primary was sent before the piece. */
    if (!secondary->transferring || piece.as_of < secondary->piece_as_of ||
        piece.as_of > log_last_index(replica->log)) {
        return false;
    }
    struct buffer records;
    uint32_t count = 0;
    buffer_init(&records);
    if (!transfer_apply(replica->store, replica->log, replica->committed, &piece, &records,
                        &count)) {
        buffer_close(&records);
        return false;
    }
    secondary->piece_as_of = piece.as_of;
    size_t len;
    uint8_t *bytes = buffer_take(&records, &len);
    persister_add_bytes(&replica->persister, bytes, len, count, (struct kv_position){0, 0},
                        secondary->expected + 1);
    return true;
}

static bool secondary_take_end(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    if (!secondary->transferring ||
        message->body.snapshot.as_of.index > log_last_index(replica->log)) {
        return false;
    }
    secondary->transferring = false;
    secondary->complete_index = message->body.snapshot.as_of.index;
    persister_add_bytes(&replica->persister, NULL, 0, 0, log_last(replica->log),
                        secondary->expected + 1);
    return true;
}

/* Takes the expected Snapshot; false: it does not fit, and nothing has changed. */
static bool secondary_take(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    uint8_t kind = message->body.snapshot.kind;
    if (secondary->begun != (kind != SNAPSHOT_BEGIN)) {
        return false;
    }
    if (kind == SNAPSHOT_BEGIN && message->body.snapshot.as_of.index > INDEX_MAX) {
        return false;
    }
    if (kind == SNAPSHOT_BEGIN && message->body.snapshot.as_of.index < secondary->announced) {
        membership_stop(replica, EXIT_STORAGE_FAILED,
                        "the primary has come back with less than it had acknowledged: this node "
                        "keeps its store as it is and stops; do not start it again before the "
                        "primary's store is brought back");
        return false;
    }
    if (kind == SNAPSHOT_BEGIN) {
        secondary_begin(replica, message);
        return true;
    }
    if (persister_bytes(&replica->persister) > SECONDARY_PERSIST_BYTES_MAX ||
        log_bytes(replica->log) > replica->context->config->limits.inflight_bytes) {
        return false;
    }
    switch (kind) {
    case SNAPSHOT_RECORDS:
        return secondary_take_records(replica, message);
    case SNAPSHOT_PIECE:
        return secondary_take_piece(replica, message);
    case SNAPSHOT_END:
        return secondary_take_end(replica, message);
    default:
        return false;
    }
}

/* The mistake of BUG(apply_old_retry): what a late copy says is believed. */
static void secondary_apply_again(struct replica *replica, struct bytes_view records)
{
    struct bytes_reader reader = bytes_reader_init(records.at, records.len);
    struct kv_record record;
    while (reader.left > 0 && record_decode(&reader, &record)) {
        replica_apply(replica, &record);
    }
}

static void secondary_on_numbered(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t seq = message->body.snapshot.seq;
    if (seq < secondary->expected) {
        if (BUG(apply_old_retry)) {
            secondary_apply_again(replica, message->body.snapshot.records);
        }
        context_count(replica->context, COUNTER_snapshots_repeated);
        secondary->ack_wanted = true;
        return;
    }
    if (seq > secondary->expected && !BUG(accept_future)) {
        context_count(replica->context, COUNTER_snapshots_early);
        return;
    }
    if (!secondary_take(replica, message)) {
        context_count(replica->context, COUNTER_snapshots_refused);
        return;
    }
    secondary->expected = (BUG(accept_future) ? seq : secondary->expected) + 1;
    secondary_commit(replica, message->body.snapshot.committed);
}

void secondary_on_snapshot(struct replica *replica, uint64_t link, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    if (secondary->session == 0 || message->body.snapshot.session != secondary->session ||
        message->sender != replica->view.primary) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    secondary->link = link;
    if (refusals_on_dealt(&secondary->refusals, message->body.snapshot.refusals)) {
        refusals_trim(&secondary->refusals, log_first_index(replica->log));
        secondary->ack_wanted = true; /* there may be more to tell */
    }
    switch (message->body.snapshot.kind) {
    case SNAPSHOT_COMMIT:
        secondary_commit(replica, message->body.snapshot.committed);
        break;
    case SNAPSHOT_PROBE:
        secondary_commit(replica, message->body.snapshot.committed);
        secondary->ack_wanted = true;
        break;
    default:
        secondary_on_numbered(replica, message);
        break;
    }
}

void secondary_on_persisted(struct replica *replica, const struct persist_done *done)
{
    struct secondary *secondary = &replica->secondary;
    KV_CHECK(done->mark <= secondary->expected);
    if (done->mark > secondary->durable) {
        secondary->durable = done->mark;
        secondary->ack_wanted = true;
    }
    if (secondary->begun && done->index > secondary->durable_index) {
        secondary->durable_index = done->index;
        secondary_trim(replica);
    }
}

void secondary_on_view(struct replica *replica)
{
    replica->secondary.ack_wanted = replica->secondary.begun;
}

void secondary_flush(struct replica *replica)
{
    persister_pump(&replica->persister, replica->context);
    if (replica->secondary.ack_wanted) {
        secondary_acknowledge(replica);
    }
}

#include "logic/secondary.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"
#include "logic/membership.h"
#include "logic/record.h"
#include "logic/tail.h"

#include <stdio.h>
#include <string.h>

/* A secondary whose store is behind by so much takes no more; the primary sends it again later. */
#define SECONDARY_PERSIST_BYTES_MAX (2u * (uint64_t)WINDOW_BYTES_MAX)

/* The content is complete, and so is what the store holds. Of a member in sync it does not count
 * that it is still to be compared: what may differ then was never acknowledged, and it may be
 * compared only with a state that is committed, for which this very node may be needed. A
 * candidate's store may lack what was acknowledged without it. */
static bool secondary_is_complete(const struct replica *replica)
{
    bool is_sure = replica->compared || replica->role == ROLE_SECONDARY;
    return replica->whole && is_sure && replica->secondary.durable > 0 &&
           replica->persister.stored.view != 0;
}

static void secondary_acknowledge(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    secondary->ack_wanted = false;
    secondary->told_complete = secondary_is_complete(replica);
    struct message ack = context_message(replica->context, MESSAGE_SNAPSHOT_ACK);
    ack.body.snapshot_ack.session = secondary->session;
    ack.body.snapshot_ack.received = secondary->expected;
    ack.body.snapshot_ack.durable = BUG(ack_on_receipt) ? secondary->expected : secondary->durable;
    ack.body.snapshot_ack.heard_ms = secondary->sent_ms;
    ack.body.snapshot_ack.complete = secondary->told_complete ? 1 : 0;
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

/* Trims what is committed, in the own store, and not needed after an answer that is under way. */
static void secondary_trim(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t index = replica->committed < secondary->durable_index ? replica->committed
                                                                   : secondary->durable_index;
    if (secondary->catchup.going) {
        secondary->catchup.min_index = index;
        index = context_earlier(index, catchup_floor(&secondary->catchup));
    }
    log_trim(replica->log, index, replica->context->config->limits.log_bytes);
    refusals_trim(&secondary->refusals, log_first_index(replica->log));
}

/* All is fetched, and the log is applied up to the newest state that was seen: from here on the
 * content, and what the store is told, is that of the log. */
static void secondary_finish(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    if (!secondary->begun || !catchup_is_done(&secondary->catchup) ||
        (replica->committed < secondary->catchup.as_of && !BUG(complete_early))) {
        return;
    }
    catchup_end(&secondary->catchup, replica->context);
    if (!replica->whole) {
        persister_add_bytes(&replica->persister, NULL, 0, 0, log_last(replica->log),
                            secondary->expected);
    }
    replica->whole = true;
    replica->compared = true;
    secondary->ack_wanted = true;
    effects_note(replica->context->effects, NOTE_INFO, "caught-up index=%llu",
                 (unsigned long long)replica->committed);
    replica_commit(replica, replica->committed); /* readers may have waited for this */
}

static void secondary_take_answer(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    struct catchup_target target = {replica->store, replica->log, replica->committed};
    struct kv_position none = {0, 0};
    struct buffer records;
    uint32_t count = 0;
    buffer_init(&records);
    if (!catchup_on_fetched(&secondary->catchup, replica->context, &target, message, &records,
                            &count)) {
        context_count(replica->context, COUNTER_messages_unexpected);
    } else if (count > 0) {
        size_t len;
        uint8_t *bytes = buffer_take(&records, &len);
        persister_add_bytes(&replica->persister, bytes, len, count,
                            replica->whole ? log_last(replica->log) : none, 0);
    }
    buffer_close(&records);
}

/* Takes the answers that waited for their state to be committed here, and ends what is complete. */
static void secondary_take_fetched(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    struct waiting_request *waited;
    while ((waited = waiting_take_reached(&secondary->fetched, replica->committed)) != NULL) {
        struct message message;
        KV_CHECK(message_decode(waited->bytes, waited->len, &message) == KV_OK);
        secondary_take_answer(replica, &message);
        alloc_free(waited);
    }
    secondary_finish(replica);
}

/* Shows what the primary has committed, as far as it is here. Only a state that the primary has
 * named is shown: one between two of them may hold a value that has failed (undo.h). */
static void secondary_commit(struct replica *replica, uint64_t committed)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t last = log_last_index(replica->log);
    if (committed > secondary->announced) {
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
    secondary_take_fetched(replica);
    replica_tell_ready(replica);
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

/* The store may lack what the memory shows, or the other way round. A candidate whose store has
 * refused something that nothing makes up for fetches as well: so its store is asked again. */
static bool secondary_has_doubts(const struct replica *replica)
{
    const struct refusals *refusals = &replica->secondary.refusals;
    for (uint32_t i = 0; i < refusals->len; i++) {
        bool is_shown = refusals->items[i].position.index <= replica->committed;
        if (!refusals->items[i].is_made_up && (is_shown || replica->role != ROLE_SECONDARY)) {
            return true;
        }
    }
    return replica->doubtful_len > 0;
}

void secondary_start(struct replica *replica, uint64_t session)
{
    struct secondary *secondary = &replica->secondary;
    if (session != 0 && secondary->session == session) {
        return;
    }
    catchup_end(&secondary->catchup, replica->context);
    waiting_close(&secondary->fetched);
    persister_void_marks(&replica->persister);
    secondary->session = session;
    secondary->begun = false;
    secondary->told_complete = false;
    secondary->asked = false;
    secondary->begin_index = 0;
    secondary->expected = 0;
    secondary->durable = 0;
    secondary->heard_ms = replica->context->now_ms;
    secondary->sent_ms = 0;
    secondary->link = 0;
    secondary->ack_wanted = false;
    /* Where an acknowledgement vouches for less than every store, a change of the primary may lose
     * some, and what was heard of them. */
    if (replica->view.ack != ACK_DURABLE) {
        secondary->announced = 0;
    }
}

void secondary_stop(struct replica *replica)
{
    secondary_start(replica, 0);
}

/* Tells how far this node is, so that the primary can choose how the session begins. */
static void secondary_send_resume(struct replica *replica)
{
    struct message resume = context_message(replica->context, MESSAGE_RESUME);
    resume.body.resume.session = replica->secondary.session;
    resume.body.resume.committed.view = replica->committed_view;
    resume.body.resume.committed.index = replica->committed;
    resume.body.resume.last = log_last(replica->log);
    resume.body.resume.complete = replica->whole && !secondary_has_doubts(replica) ? 1 : 0;
    context_send(replica->context, replica->secondary.link, &resume);
}

/* --- Snapshots --- */

/* The primary's log goes on from what is here. What is here beyond that is dropped, and taken back
 * from the store, where it may be already. */
static bool secondary_begin_tail(struct replica *replica, struct kv_position as_of)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t last = log_last_index(replica->log);
    if (!replica->whole || as_of.index < replica->committed || as_of.index > last ||
        as_of.index + 1 < log_first_index(replica->log)) {
        return false;
    }
    if (!BUG(tail_by_index) &&
        position_compare(log_position_at(replica->log, as_of.index), as_of) != 0) {
        return false;
    }
    struct buffer records;
    uint32_t count = 0;
    size_t len;
    buffer_init(&records);
    if (as_of.index < last) {
        tail_undo(replica->log, replica->store, replica->committed, as_of.index, &records, &count);
        struct log *kept = tail_cut(replica->log, as_of.index);
        log_unref(replica->log); /* what the store is still to be told of, the jobs hold */
        replica->log = kept;
        replica->context->counters[COUNTER_records_dropped] += last - as_of.index;
        /* A store may skip what does not lead beyond its position, so that goes first. */
        persister_add_bytes(&replica->persister, NULL, 0, 0, (struct kv_position){0, 0}, 0);
        persister_end_batch(&replica->persister);
    }
    uint8_t *bytes = buffer_take(&records, &len);
    if (BUG(keep_tail)) {
        alloc_free(bytes);
        bytes = NULL;
        len = 0;
        count = 0;
    }
    persister_add_bytes(&replica->persister, bytes, len, count, as_of, secondary->expected + 1);
    refusals_restart(&secondary->refusals, replica->log, replica->committed);
    secondary->durable_index =
        secondary->durable_index < as_of.index ? secondary->durable_index : as_of.index;
    return true;
}

/* The content is to be fetched. What the store was told and the memory does not show yet is shown
 * now, so that both hold the same when ranges are compared. Nobody reads here meanwhile. In a
 * session that was fetching, the store was told of it before content that the memory took already:
 * it is told once more, so that for each key both took the same last. */
static void secondary_begin_fetch(struct replica *replica, struct kv_position as_of)
{
    struct secondary *secondary = &replica->secondary;
    struct log *ended = replica->log;
    uint64_t unshown = replica->committed + 1;
    bool tells_again = !replica->whole && unshown <= log_last_index(ended);
    for (uint64_t index = replica->committed + 1; index <= log_last_index(replica->log); index++) {
        struct kv_record record = log_get(replica->log, index);
        replica_apply(replica, &record);
    }
    secondary_doubt_refused(replica);
    refusals_close(&secondary->refusals);
    replica->log = log_create(as_of);
    replica->committed = as_of.index;
    replica->committed_view = as_of.view;
    replica->whole = false;
    /* A primary that is not settled yet gives what it has loaded, which nobody may have committed:
     * it is shown when that much is told to be. */
    secondary->shown_from = as_of.index;
    secondary->durable_index = as_of.index;
    /* From here on, and until all is fetched, the store's content is a mixture. */
    persister_add_bytes(&replica->persister, NULL, 0, 0, (struct kv_position){0, 0},
                        secondary->expected + 1);
    persister_end_batch(&replica->persister);
    if (tells_again) {
        persister_add_log(&replica->persister, ended, unshown, log_last_index(ended), false, 0);
    }
    log_unref(ended); /* what the store is still to be told of, the jobs hold */
    secondary_drop_doubtful(replica);
}

static bool secondary_begin(struct replica *replica, const struct message *message)
{
    struct secondary *secondary = &replica->secondary;
    struct kv_position as_of = message->body.snapshot.as_of;
    if (as_of.index > INDEX_MAX || message->body.snapshot.last > INDEX_MAX) {
        return false;
    }
    if (message->body.snapshot.last < secondary->announced) {
        membership_stop(replica, EXIT_STORAGE_FAILED,
                        "the primary has come back with less than it had acknowledged: this node "
                        "keeps its store as it is and stops; do not start it again before the "
                        "primary's store is brought back");
        return false;
    }
    if (message->body.snapshot.tail == TAIL_NONE) {
        secondary_begin_fetch(replica, as_of);
    } else if (!secondary_begin_tail(replica, as_of)) {
        return false;
    }
    replica->compared = replica->compared && message->body.snapshot.tail == TAIL_FOLLOWS;
    if (!replica->compared) {
        uint64_t base =
            message->body.snapshot.tail == TAIL_NONE ? message->body.snapshot.base : UINT64_MAX;
        catchup_begin(&secondary->catchup, replica->store, replica->committed, base);
        /* After a power cut all the others compare as well, and answer nobody meanwhile. */
        secondary->catchup.primary_first = replica->whole;
    }
    secondary->begun = true;
    secondary->begin_index = as_of.index;
    return true;
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
                      replica->whole, secondary->expected + 1);
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
    if (kind == SNAPSHOT_BEGIN) {
        return secondary_begin(replica, message);
    }
    const struct node_limits *limits = &replica->context->config->limits;
    bool has_room = persister_bytes(&replica->persister) <= SECONDARY_PERSIST_BYTES_MAX &&
                    log_bytes(replica->log) <= limits->inflight_bytes + limits->log_bytes;
    return has_room && secondary_take_records(replica, message);
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
        message->sender != replica->view.primary || (secondary->asked && !BUG(ack_after_ask))) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    secondary->link = link;
    secondary->heard_ms = replica->context->now_ms;
    if (message->body.snapshot.sent_ms > secondary->sent_ms) {
        secondary->sent_ms = message->body.snapshot.sent_ms;
    }
    if (!secondary->begun && message->body.snapshot.kind != SNAPSHOT_BEGIN) {
        secondary_send_resume(replica);
        return;
    }
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

void secondary_on_fetched(struct replica *replica, const struct message *message, const void *bytes,
                          size_t len)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t as_of = message->body.fetched.as_of.index;
    /* A store whose position says that it is complete must not get what lies beyond that. */
    if (replica->whole && as_of > replica->committed && secondary->catchup.going) {
        waiting_add(&secondary->fetched, 0, message->body.fetched.request, as_of, UINT64_MAX, bytes,
                    len);
        return;
    }
    secondary_take_answer(replica, message);
    secondary_finish(replica);
    secondary_trim(replica);
}

void secondary_on_persisted(struct replica *replica, const struct persist_done *done)
{
    struct secondary *secondary = &replica->secondary;
    KV_CHECK(done->mark <= secondary->expected);
    if (done->mark > secondary->durable) {
        secondary->durable = done->mark;
        secondary->ack_wanted = true;
        if (secondary->begin_index > secondary->durable_index) {
            secondary->durable_index = secondary->begin_index;
        }
    }
    if (done->index > secondary->durable_index) {
        secondary->durable_index = done->index;
    }
    if (!secondary->told_complete && secondary_is_complete(replica)) {
        secondary->ack_wanted = true;
    }
    secondary_trim(replica);
}

/* --- time and views --- */

/* Nothing was heard of the primary for replica_timeout_ms: another one is asked for. From now on,
 * and as long as this view lasts, nothing is taken from it and nothing acknowledged, so that it can
 * never believe again in a promise that is over (lease.h). */
static void secondary_ask(struct replica *replica)
{
    const struct member *primary = view_find(&replica->view, replica->view.primary);
    replica->secondary.asked = true;
    context_count(replica->context, COUNTER_primaries_missed);
    effects_note(replica->context->effects, NOTE_WARN, "primary-silent name=%s",
                 primary == NULL ? "?" : primary->name);
    membership_send_now(replica);
}

static bool secondary_watches(const struct replica *replica)
{
    return replica->role == ROLE_SECONDARY && !replica->secondary.asked;
}

void secondary_tick(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    uint64_t silent_ms = replica->context->now_ms - secondary->heard_ms;
    if (secondary_watches(replica) && silent_ms >= replica->context->config->replica_timeout_ms) {
        secondary_ask(replica);
    }
    catchup_tick(&secondary->catchup, replica->context, &replica->view);
}

uint64_t secondary_wake_ms(const struct replica *replica)
{
    uint64_t wake_ms = catchup_wake_ms(&replica->secondary.catchup, replica->context);
    if (secondary_watches(replica)) {
        wake_ms = context_earlier(wake_ms, replica->secondary.heard_ms +
                                               replica->context->config->replica_timeout_ms);
    }
    return wake_ms;
}

void secondary_forgive(struct replica *replica)
{
    replica->secondary.heard_ms = replica->context->now_ms;
}

void secondary_on_view(struct replica *replica)
{
    replica->secondary.asked = false;
    replica->secondary.ack_wanted = replica->secondary.begun;
}

void secondary_flush(struct replica *replica)
{
    struct secondary *secondary = &replica->secondary;
    persister_pump(&replica->persister, replica->context);
    if (secondary->catchup.going) {
        bool has_room = persister_bytes(&replica->persister) < SECONDARY_PERSIST_BYTES_MAX / 2;
        catchup_pump(&secondary->catchup, replica->context, &replica->view, has_room);
    }
    if (secondary->ack_wanted) {
        secondary_acknowledge(replica);
    }
}

#include "logic/primary.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "logic/bug.h"
#include "logic/handover.h"
#include "logic/lease.h"
#include "logic/members.h"
#include "logic/record.h"
#include "logic/requests.h"
#include "logic/secondary.h"
#include "logic/tail.h"
#include "logic/undo.h"

#include <stdio.h>
#include <string.h>

/* Told by the persister when the store has taken its first position as a primary's. */
#define PRIMARY_MARK 1u

/* --- answers --- */

static void primary_acknowledge(struct replica *replica, uint64_t index)
{
    struct operations *operations = &replica->primary.operations;
    struct operation *operation = operations_at(operations, index);
    struct message answer = context_message(replica->context, MESSAGE_OPERATION_ACK);
    answer.body.operation_ack.request = operation->request;
    answer.body.operation_ack.position = log_get(replica->log, index).position;
    context_send(replica->context, operation->link, &answer);
    if (BUG(double_answer) && index % 5 == 0) {
        context_send(replica->context, operation->link, &answer);
    }
    context_count(replica->context, COUNTER_operations_acknowledged);
    operation->answered = true;
    operations->waiting--;
}

static struct bytes_view primary_text(const char *text)
{
    struct bytes_view view = {(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
    return view;
}

/* text: more of the reason. */
static void primary_fail(struct replica *replica, struct operation *operation, uint8_t reason,
                         const char *text)
{
    struct message answer = context_message(replica->context, MESSAGE_OPERATION_FAILED);
    answer.body.operation_failed.request = operation->request;
    answer.body.operation_failed.reason = reason;
    answer.body.operation_failed.text = primary_text(text);
    if (reason == FAIL_REFUSED) {
        context_count(replica->context, COUNTER_operations_refused);
    }
    context_send(replica->context, operation->link, &answer);
    context_count(replica->context, COUNTER_operations_failed);
    operation->answered = true;
    replica->primary.operations.waiting--;
}

/* Answers the update at an index that is being committed, unless its deadline came first. */
static void primary_answer(struct replica *replica, uint64_t index)
{
    struct operation *operation = operations_at(&replica->primary.operations, index);
    if (!operation->answered && operation->is_void) {
        primary_fail(replica, operation, FAIL_REFUSED, operation->reason);
    } else if (!operation->answered) {
        primary_acknowledge(replica, index);
    }
    operations_done(&replica->primary.operations, index);
}

/* --- commit --- */

/* Members are told of what is committed only when that is certain: of what a restarted node's store
 * holds it is not, before all in sync have it. */
struct replicator_source primary_source(const struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    struct replicator_source source = {replica->log, &primary->stops,
                                       primary->known || primary->settled ? replica->committed : 0};
    return source;
}

/* The index that a counted secondary vouches for, by the acknowledgement mode. */
static uint64_t primary_vouched_index(const struct replica *replica,
                                      const struct replicator *replicator)
{
    switch (replica->context->config->ack) {
    case ACK_RECEIVED:
        return replicator->received_index;
    case ACK_LOCAL: /* as long as nobody else can be the primary */
        if (replica->primary.handover.told) {
            return replicator->received_index; /* one of them may be it: it must have it */
        }
        return lease_is_held(replica) ? UINT64_MAX : replica->committed;
    default:
        return replicator->durable_index;
    }
}

/* Highest index that is durable at the primary and vouched for by every counted secondary. */
static uint64_t primary_commit_index(const struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    uint64_t index = primary->durable_index;
    if (BUG(ack_before_persist)) {
        index = log_last_index(replica->log);
    }
    uint64_t highest = 0;
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        if (replicator->counted) {
            uint64_t vouched = primary_vouched_index(replica, replicator);
            highest = vouched > highest ? vouched : highest;
            index = vouched < index || BUG(count_not_set) ? vouched : index;
        }
    }
    if (BUG(count_not_set) && highest > 0) {
        index = highest < primary->durable_index ? highest : primary->durable_index;
    }
    return index;
}

/* Trims what nobody needs: committed, in the own store, durable at every replica. */
static void primary_trim(struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    uint64_t index =
        replica->committed < primary->durable_index ? replica->committed : primary->durable_index;
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        if (replicator->abandoned || (!replicator->begun && !replicator->counted)) {
            continue;
        }
        index = replicator->durable_index < index ? replicator->durable_index : index;
    }
    log_trim(replica->log, index, replica->context->config->limits.log_bytes);
    index_set_trim(&replica->primary.voids, index);
    index_set_trim(&replica->primary.stops, index);
}

/* All that this node took over is in the store of everybody in sync: reads may show it. */
static void primary_settle(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    primary->settled = true;
    primary->commit_moved = true;
    effects_note(replica->context->effects, NOTE_INFO, "settled index=%llu",
                 (unsigned long long)primary->inherited);
    requests_take_confirmed(replica);
    replica_tell_ready(replica);
}

/* Until a shared store was written by this primary, it may be written by the one before, and what
 * this node had in flight as a secondary was not written at all. */
static bool primary_has_store(const struct replica *replica)
{
    return replica->primary.marked || !replica->context->config->persist_shared;
}

static void primary_try_commit(struct replica *replica)
{
    uint64_t vouched = primary_commit_index(replica);
    uint64_t inherited = replica->primary.inherited;
    bool enough = view_in_sync_len(&replica->view) >= replica->context->config->min_in_sync;
    /* What was taken over may have been acknowledged before, and nobody waits for it: it is
     * committed also while too few are in sync. */
    uint64_t index = index_set_floor(&replica->primary.stops,
                                     enough || vouched < inherited ? vouched : inherited);
    if (index > replica->committed) {
        for (uint64_t next = replica->committed + 1; next <= index; next++) {
            primary_answer(replica, next);
        }
        replica_commit(replica, index);
        replica->primary.commit_moved = true;
        if (!index_set_reaches(&replica->primary.stops, index)) {
            replica->primary.barrier_ms = 0;
        }
        handover_drive(replica);
    }
    if (!replica->primary.settled && primary_has_store(replica) &&
        index >= replica->primary.inherited && replica->committed >= replica->primary.inherited) {
        primary_settle(replica);
    }
    primary_trim(replica);
}

/* --- life --- */

void primary_on_view(struct replica *replica)
{
    members_on_view(replica);
    handover_on_view(replica);
    primary_try_commit(replica);
    requests_take_confirmed(replica);
}

/* Hands to the persister what the log has taken since the last time. */
static void primary_queue(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    uint64_t last = log_last_index(replica->log);
    if (last > primary->queued_index) {
        persister_add_log(&replica->persister, replica->log, primary->queued_index + 1, last, true,
                          0);
        primary->queued_index = last;
    }
}

/* The records that this node took over and that are not committed yet become its own: nobody waits
 * for an answer, and what its store refuses of them is undone. */
static void primary_adopt_tail(struct replica *replica)
{
    struct operations *operations = &replica->primary.operations;
    const struct refusals *refusals = &replica->secondary.refusals;
    uint64_t last = log_last_index(replica->log);
    for (uint64_t index = replica->committed + 1; index <= last; index++) {
        struct kv_record record = log_get(replica->log, index);
        uint64_t hash = hash_bytes(record.key, record.key_len);
        operations_add(operations, replica->committed + 1, index - 1, hash)->answered = true;
    }
    for (uint64_t index = replica->committed + 1; index <= last; index++) {
        undo_adopt(replica, index);
    }
    for (uint32_t i = 0; i < refusals->len; i++) {
        uint64_t index = refusals->items[i].position.index;
        if (undo_is_possible(replica, index)) {
            undo_refuse(replica, index, primary_text(refusals->items[i].reason));
        }
    }
}

/* The first primary of a cluster begins the log in its view, so that every complete store says that
 * it is one by its position. */
static void primary_begin_log(struct replica *replica)
{
    if (log_last(replica->log).view == 0) {
        struct kv_position first = {replica->view.number, log_last_index(replica->log)};
        log_unref(replica->log);
        replica->log = log_create(first);
        replica->committed_view = first.view;
    }
}

/* A store that only the primary writes has not got from this node what is not committed yet: it is
 * written once more, from a log that the jobs so far know nothing of. */
static void primary_write_again(struct replica *replica)
{
    struct log *log = tail_cut(replica->log, log_last_index(replica->log));
    log_unref(replica->log);
    replica->log = log;
    replica->primary.queued_index = replica->committed;
    replica->primary.durable_index = replica->committed;
}

void primary_start(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    KV_CHECK(primary->replicators_len == 0 && primary->operations.waiting == 0);
    primary->known = replica_is_shown(replica);
    primary->loaded = replica->whole && !replica->compared;
    primary->settled = false;
    secondary_stop(replica);
    primary_begin_log(replica);
    replica->whole = true;
    replica->compared = true;
    primary->inherited = log_last_index(replica->log);
    primary->queued_index = primary->inherited;
    primary->durable_index = replica->secondary.durable_index;
    if (replica->context->config->persist_shared) {
        primary_write_again(replica);
    }
    primary->commit_moved = true;
    replica->persister.is_primary = true;
    replica->role = ROLE_PRIMARY;
    primary_adopt_tail(replica);
    /* Its store is told that it is complete, whatever it was before. */
    persister_add_bytes(&replica->persister, NULL, 0, 0,
                        log_position_at(replica->log, primary->queued_index), PRIMARY_MARK);
    refusals_close(&replica->secondary.refusals);
    primary_on_view(replica);
}

void primary_fail_waiting(struct replica *replica)
{
    if (replica->primary.operations.waiting == 0) {
        return;
    }
    for (uint64_t index = replica->committed + 1; index <= log_last_index(replica->log); index++) {
        struct operation *operation = operations_at(&replica->primary.operations, index);
        if (!operation->answered) {
            primary_fail(replica, operation, FAIL_STOPPED, "");
        }
    }
}

/* What was void here, as a secondary tells it: the next primary may have such an update without
 * what makes up for it. */
static void primary_keep_refusals(struct replica *replica)
{
    const struct operations *operations = &replica->primary.operations;
    for (uint64_t index = replica->committed + 1; index <= log_last_index(replica->log); index++) {
        const struct operation *operation = operations_at(operations, index);
        if (operation->is_void) {
            struct kv_record record = log_get(replica->log, index);
            refusals_add(&replica->secondary.refusals, &record, operation->reason, 0, false);
        }
    }
}

void primary_stop(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    struct secondary *secondary = &replica->secondary;
    primary_queue(replica); /* the store is told of everything that the log took */
    primary_fail_waiting(replica);
    requests_reject_reads(replica, REJECT_NOT_PRIMARY);
    primary_keep_refusals(replica);
    secondary->durable_index = primary->durable_index;
    if (primary->settled || primary->known) {
        secondary->announced =
            replica->committed > secondary->announced ? replica->committed : secondary->announced;
    } else {
        secondary->shown_from = primary->inherited;
    }
    members_close(replica);
    operations_close(&primary->operations, replica->committed + 1, log_last_index(replica->log));
    index_set_close(&primary->voids);
    index_set_close(&primary->stops);
    memset(primary, 0, sizeof(*primary));
    operations_init(&primary->operations);
    waiting_init(&primary->reads);
    replica->persister.is_primary = false;
}

/* Updates that are refused may come faster than the commit index gets past them: each one prolongs
 * the wait of all others. Then nothing new is taken until they are passed. */
static bool primary_is_draining(const struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    return primary->barrier_ms != 0 &&
           replica->context->now_ms - primary->barrier_ms >=
               replica->context->config->operation_timeout_ms / BARRIERS_PER_OPERATION_TIMEOUT;
}

static uint8_t primary_refusal(const struct replica *replica, const struct message *message)
{
    const struct node_config *config = replica->context->config;
    size_t key_len = message->body.operation.key.len;
    size_t value_len = message->body.operation.value.len;
    uint64_t inflight = log_last_index(replica->log) - replica->committed;
    if (key_len > config->limits.key_bytes || value_len > config->limits.value_bytes) {
        return REJECT_TOO_LARGE;
    }
    if (replica->membership.leaving && view_in_sync_len(&replica->view) == 1) {
        return REJECT_LEAVING; /* else it hands over, and goes on until then */
    }
    if (view_in_sync_len(&replica->view) < config->min_in_sync) {
        return REJECT_MIN_IN_SYNC;
    }
    if (persister_is_stuck(&replica->persister, replica->context)) {
        return REJECT_STORE;
    }
    if (primary_is_draining(replica)) {
        return REJECT_OVERLOADED;
    }
    if (inflight >= config->limits.inflight_ops ||
        log_bytes(replica->log) + key_len + value_len >
            config->limits.inflight_bytes + config->limits.log_bytes) {
        return REJECT_OVERLOADED;
    }
    return 0;
}

void primary_on_update(struct replica *replica, uint64_t link, const struct message *message,
                       uint64_t deadline_ms)
{
    struct context *context = replica->context;
    uint64_t request = message->body.operation.request;
    uint8_t refusal = primary_refusal(replica, message);
    if (refusal != 0) {
        bool passing = refusal == REJECT_OVERLOADED || refusal == REJECT_MIN_IN_SYNC ||
                       refusal == REJECT_STORE;
        context_reject_with(context, link, request, refusal,
                            passing ? context->config->retransmit_ms : 0,
                            refusal == REJECT_STORE ? replica->persister.error : "");
        return;
    }
    struct kv_record record = {
        .key = message->body.operation.key.at,
        .key_len = (uint32_t)message->body.operation.key.len,
        .kind = message->type == MESSAGE_INSERT ? KV_RECORD_INSERT : KV_RECORD_REMOVE,
        .position = {replica->view.number, log_last_index(replica->log) + 1},
        .client = message->sender,
        .request = request,
    };
    if (record.kind == KV_RECORD_INSERT) {
        record.value = message->body.operation.value.at;
        record.value_len = (uint32_t)message->body.operation.value.len;
    }
    struct operations *operations = &replica->primary.operations;
    struct operation *operation =
        operations_add(operations, replica->committed + 1, log_last_index(replica->log),
                       hash_bytes(record.key, record.key_len));
    log_append(replica->log, &record);
    operation->link = link;
    operation->request = request;
    operation->deadline_ms = deadline_ms;
    operations->waiting++;
    operations->earliest_ms = context_earlier(operations->earliest_ms, deadline_ms);
}

enum primary_refusals {
    REFUSALS_DEALT_WITH, /* all that it tells */
    REFUSALS_WAIT,       /* what becomes of one is not known yet: it will be told again */
    REFUSALS_FATAL,      /* one cannot be undone: the member has to go */
};

/* A committed update that was undone in the time of an earlier primary, or is written over: a later
 * record gives the key what it has to have, at that member too. */
static bool primary_is_made_up(const struct replica *replica, uint64_t index)
{
    if (index < log_first_index(replica->log) || index > replica->committed) {
        return false;
    }
    struct kv_record record = log_get(replica->log, index);
    for (uint64_t later = index + 1; later <= replica->committed; later++) {
        struct kv_record other = log_get(replica->log, later);
        if (record_has_key(&other, record.key, record.key_len)) {
            return true;
        }
    }
    return false;
}

/* Deals with one refusal. A member that does not count harms nobody: whether an update that its
 * store refuses is void or committed, the others decide; then it has the same, or goes. Where they
 * are too few to decide (min_in_sync), the update waits for this very member: then it is void. */
static enum primary_refusals primary_take_refusal(struct replica *replica,
                                                  struct replicator *replicator,
                                                  const struct message_refusal *refusal)
{
    if (index_set_has(&replica->primary.voids, refusal->index) ||
        primary_is_made_up(replica, refusal->index)) {
        return REFUSALS_DEALT_WITH;
    }
    if (!undo_is_possible(replica, refusal->index)) {
        replicator->refuses = true;
        effects_note(
            replica->context->effects, NOTE_WARN, "member-refuses index=%llu text=\"%s\"",
            (unsigned long long)refusal->index,
            context_quotable(replica->context, (const char *)refusal->text.at, refusal->text.len));
        return REFUSALS_FATAL;
    }
    bool others_decide = view_in_sync_len(&replica->view) >= replica->context->config->min_in_sync;
    if (!replicator->counted && others_decide) {
        return REFUSALS_WAIT;
    }
    undo_refuse(replica, refusal->index, refusal->text);
    return REFUSALS_DEALT_WITH;
}

/* Deals with the refusals that an acknowledgement tells for the first time; they come before what
 * it says about durability. */
static enum primary_refusals primary_take_refusals(struct replica *replica,
                                                   struct replicator *replicator,
                                                   const struct message *ack)
{
    struct bytes_reader reader =
        bytes_reader_init(ack->body.snapshot_ack.refusals.at, ack->body.snapshot_ack.refusals.len);
    uint64_t number = ack->body.snapshot_ack.refusals_first;
    enum primary_refusals outcome = REFUSALS_DEALT_WITH;
    struct message_refusal refusal;
    while (outcome == REFUSALS_DEALT_WITH && reader.left > 0 &&
           message_read_refusal(&reader, &refusal)) {
        if (number++ < replicator->refusals) {
            continue;
        }
        outcome = primary_take_refusal(replica, replicator, &refusal);
        if (outcome == REFUSALS_DEALT_WITH) {
            replicator->refusals = number;
            replica->primary.commit_moved = true;
            replicator->progress_ms = replica->context->now_ms;
        }
    }
    return outcome;
}

void primary_on_ack(struct replica *replica, uint64_t link, const struct message *message)
{
    struct replicator *replicator = members_find(&replica->primary, message->sender);
    struct message partly; /* what counts of a message whose refusals have to wait */
    if (replicator == NULL || replicator->link != link || replicator->abandoned ||
        message->body.snapshot_ack.session != replicator->session ||
        message->body.snapshot_ack.refusals_first > replicator->refusals) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    if (replicator->refuses) {
        return; /* members_check() has it taken out */
    }
    enum primary_refusals outcome = primary_take_refusals(replica, replicator, message);
    if (outcome == REFUSALS_FATAL) {
        return;
    }
    if (outcome == REFUSALS_WAIT && message->body.snapshot_ack.durable > replicator->durable) {
        partly = *message;
        partly.body.snapshot_ack.durable = replicator->durable < partly.body.snapshot_ack.received
                                               ? replicator->durable
                                               : partly.body.snapshot_ack.received;
        message = &partly;
        replicator->progress_ms = replica->context->now_ms;
    }
    struct replicator_source source = primary_source(replica);
    bool has_moved = replicator_on_ack(replicator, replica->context, &source, message);
    if (has_moved && !replicator->in_sync) {
        members_promote(replica, replicator);
    }
    if (has_moved || replica->context->config->ack == ACK_LOCAL) {
        primary_try_commit(replica);
        handover_drive(replica);
    }
    requests_take_confirmed(replica);
}

bool primary_on_refused(struct replica *replica, const struct refused *refused, uint32_t len)
{
    /* In ascending order: an undo that brings back a refused value is void by then, and that its
     * own record is refused too is as it should be. A repeat finds void what it has dealt with. */
    for (uint32_t i = 0; i < len; i++) {
        uint64_t index = refused[i].index;
        if (index != 0 && undo_is_possible(replica, index)) {
            undo_refuse(replica, index, primary_text(refused[i].reason));
        } else if (index == 0 || !index_set_has(&replica->primary.voids, index)) {
            return false;
        }
    }
    return true;
}

void primary_on_persisted(struct replica *replica, const struct persist_done *done)
{
    if (done->mark == PRIMARY_MARK && !replica->primary.marked) {
        replica->primary.marked = true;
        effects_add(replica->context->effects, EFFECT_IDENTITY)->as.identity.cluster =
            replica->context->cluster;
        primary_try_commit(replica);
    }
    if (done->index > replica->primary.durable_index && primary_has_store(replica)) {
        replica->primary.durable_index = done->index;
        primary_try_commit(replica);
    }
}

void primary_flush(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    primary_queue(replica);
    persister_pump(&replica->persister, replica->context);
    struct replicator_source source = primary_source(replica);
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        struct replicator *replicator = primary->replicators[i];
        if (replicator->abandoned) {
            continue;
        }
        uint64_t next = replicator->next;
        replicator_pump(replicator, replica->context, &source);
        if (primary->commit_moved && replicator->next == next) {
            replicator_send_commit(replicator, replica->context, &source);
        }
    }
    primary->commit_moved = false;
}

/* Why the update at an index is not committed yet, as far as it is known here. */
static const char *primary_holdup(const struct replica *replica, uint64_t index, char *text,
                                  size_t size)
{
    const struct primary *primary = &replica->primary;
    const struct operation *operation = operations_at(&primary->operations, index);
    text[0] = '\0';
    if (operation->is_void) {
        snprintf(text, size, "a store refuses it, and it is not undone everywhere yet: %s",
                 operation->reason == NULL ? "no reason given" : operation->reason);
        return text;
    }
    if (primary->durable_index < index) {
        const char *error = replica->persister.error;
        snprintf(text, size, "not in the primary's own store yet%s%s", error[0] == '\0' ? "" : ": ",
                 error);
        return text;
    }
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        const struct member *member = view_find(&replica->view, replicator->node);
        if (replicator->counted && member != NULL &&
            primary_vouched_index(replica, replicator) < index) {
            snprintf(text, size, "%s has not confirmed it", member->name);
            return text;
        }
    }
    return text;
}

/* Answers the updates whose deadline has come; their records stay in the log. */
static void primary_expire(struct replica *replica)
{
    struct operations *operations = &replica->primary.operations;
    uint64_t now_ms = replica->context->now_ms;
    char text[TEXT_MAX + 64];
    if (now_ms < operations->earliest_ms) {
        return;
    }
    operations->earliest_ms = UINT64_MAX;
    for (uint64_t index = replica->committed + 1; index <= log_last_index(replica->log); index++) {
        struct operation *operation = operations_at(operations, index);
        if (operation->answered) {
            continue;
        }
        if (operation->deadline_ms <= now_ms) {
            primary_fail(replica, operation, FAIL_TIMEOUT,
                         primary_holdup(replica, index, text, sizeof(text)));
        } else {
            operations->earliest_ms =
                context_earlier(operations->earliest_ms, operation->deadline_ms);
        }
    }
}

void primary_tick(struct replica *replica)
{
    struct replicator_source source = primary_source(replica);
    primary_expire(replica);
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        struct replicator *replicator = replica->primary.replicators[i];
        if (!replicator->abandoned) {
            replicator_tick(replicator, replica->context, &source);
        }
        members_check(replica, replicator);
    }
    handover_drive(replica);
}

uint64_t primary_wake_ms(const struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    uint64_t wake_ms =
        primary->operations.waiting > 0 ? primary->operations.earliest_ms : UINT64_MAX;
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        uint64_t since_ms = replicator->abandoned ? replicator->reported_ms : replicator->asked_ms;
        wake_ms = context_earlier(wake_ms, since_ms + replica->context->config->retransmit_ms);
    }
    wake_ms = context_earlier(wake_ms, handover_wake_ms(replica));
    return wake_ms;
}

bool primary_is_idle(const struct replica *replica)
{
    return replica->primary.operations.waiting == 0 && persister_idle(&replica->persister);
}

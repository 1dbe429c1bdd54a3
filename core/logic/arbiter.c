#include "logic/arbiter.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/arbiter_calls.h"
#include "logic/arbiter_change.h"
#include "logic/arbiter_join.h"
#include "logic/arbiter_orders.h"
#include "logic/record.h"

#include <string.h>

int32_t arbiter_create(struct context *context, struct arbiter **ret_arbiter)
{
    const struct node_config *config = context->config;
    struct arbiter *arbiter = alloc_zeroed(1, sizeof(*arbiter));
    arbiter->context = context;
    arbiter->view.cluster = config->new_cluster;
    arbiter->election_ms = UINT64_MAX;
    arbiter->calls_ms = UINT64_MAX;
    if (config->registry_len > 0 &&
        view_decode(config->registry, config->registry_len, &arbiter->view) != KV_OK) {
        alloc_free(arbiter);
        return KV_E_CORRUPT;
    }
    arbiter->stored = arbiter->view.number;
    *ret_arbiter = arbiter;
    return KV_OK;
}

void arbiter_destroy(struct arbiter *arbiter)
{
    alloc_free(arbiter);
}

void arbiter_start(struct arbiter *arbiter)
{
    arbiter->started_ms = arbiter->context->now_ms;
    arbiter->view_ms = arbiter->context->now_ms;
    arbiter->primary_ms = arbiter->context->now_ms;
    arbiter_start_calls(arbiter);
}

bool arbiter_is_for(uint8_t type)
{
    return type == MESSAGE_JOIN || type == MESSAGE_LEAVE || type == MESSAGE_HEARTBEAT ||
           type == MESSAGE_CAUGHT_UP || type == MESSAGE_SUSPECT || type == MESSAGE_HANDOVER ||
           type == MESSAGE_LOCATE || type == MESSAGE_PROMOTE;
}

/* --- the registry --- */

static void arbiter_take(struct arbiter *arbiter, const struct view *view)
{
    arbiter_install(arbiter, view);
    arbiter_finish_orders(arbiter);
    arbiter_elect(arbiter);
}

void arbiter_on_written(struct arbiter *arbiter, uint64_t number)
{
    if (!arbiter->writing || number != arbiter->next.number) {
        return;
    }
    arbiter->writing = false;
    arbiter->write_failed = false;
    arbiter->stored = number;
    arbiter_take(arbiter, &arbiter->next);
}

void arbiter_on_write_failed(struct arbiter *arbiter, uint64_t number)
{
    if (arbiter->writing && number == arbiter->next.number) {
        arbiter->write_failed = true;
        arbiter->retry_ms = arbiter->context->now_ms + arbiter->context->config->retransmit_ms;
    }
}

void arbiter_on_registry_changed(struct arbiter *arbiter, const void *bytes, size_t len)
{
    struct view *view = arena_alloc(&arbiter->context->effects->arena, sizeof(*view));
    memset(view, 0, sizeof(*view));
    context_count(arbiter->context, COUNTER_registry_conflicts);
    if (len > 0 && view_decode(bytes, len, view) != KV_OK) {
        effects_note(arbiter->context->effects, NOTE_ERROR, "registry-changed to=unreadable");
        arbiter_on_write_failed(arbiter, arbiter->next.number);
        return;
    }
    if (view->number > 0 && arbiter->view.number > 0 && view->cluster != arbiter->view.cluster) {
        effects_note(arbiter->context->effects, NOTE_ERROR, "registry-changed to=another-cluster");
        arbiter_on_write_failed(arbiter, arbiter->next.number);
        return;
    }
    effects_note(arbiter->context->effects, NOTE_WARN, "registry-changed from=%llu to=%llu",
                 (unsigned long long)arbiter->view.number, (unsigned long long)view->number);
    arbiter->writing = false;
    arbiter->write_failed = false;
    arbiter->stored = view->number;
    if (view->number > arbiter->view.number) {
        arbiter_take(arbiter, view);
    } else {
        arbiter_elect(arbiter);
    }
}

/* --- from the primary, and heartbeats --- */

/* Another incarnation, whose word was late, say, or which does not know yet that it is over: the
 * way to the one that is there now does not lead over this link. */
static bool arbiter_is_over(const struct arbiter *arbiter, const struct member *member,
                            const struct message *message)
{
    const struct arbiter_peer *peer = arbiter_peers_get(&arbiter->peers, message->sender);
    uint64_t incarnation = message->body.heartbeat.incarnation;
    return (member != NULL && member->incarnation != incarnation) ||
           (peer != NULL && peer->joining && peer->incarnation != incarnation &&
            arbiter_peer_is_alive(peer, arbiter->context->now_ms,
                                  arbiter->context->config->replica_timeout_ms));
}

/* What a member says of itself. Of an older view it counts nothing. */
static void arbiter_keep_heartbeat(struct arbiter *arbiter, struct arbiter_peer *peer,
                                   const struct member *member, const struct message *message)
{
    if (message->view > peer->beat_view) {
        peer->beat_view = message->view;
        peer->last = message->body.heartbeat.last;
    } else if (message->view == peer->beat_view &&
               position_compare(message->body.heartbeat.last, peer->last) > 0) {
        peer->last = message->body.heartbeat.last;
    }
    if (message->view != arbiter->view.number) {
        return;
    }
    peer->current_ms = arbiter->context->now_ms;
    if (message->body.heartbeat.asks != 0) {
        peer->asks_view = message->view;
    }
    /* Only of a member in sync is the commit index what it says. */
    if (member->state == MEMBER_IN_SYNC &&
        message->body.heartbeat.committed_index > peer->committed) {
        peer->committed = message->body.heartbeat.committed_index;
    }
}

static void arbiter_on_heartbeat(struct arbiter *arbiter, uint64_t link,
                                 const struct message *message)
{
    const struct member *member = view_find(&arbiter->view, message->sender);
    if (arbiter_is_over(arbiter, member, message)) {
        arbiter_send_view(arbiter, message->sender, link);
        return;
    }
    struct arbiter_peer *peer = arbiter_peers_hear(&arbiter->peers, &arbiter->view, message->sender,
                                                   link, arbiter->context->now_ms);
    if (peer->incarnation != message->body.heartbeat.incarnation) {
        peer->incarnation = message->body.heartbeat.incarnation;
        peer->starts = member == NULL ? peer->starts : member->starts;
        peer->beat_view = 0;
        peer->asks_view = 0;
    }
    peer->joining = false;
    if (member != NULL) {
        arbiter_keep_heartbeat(arbiter, peer, member, message);
    }
    if (member == NULL || message->view != arbiter->view.number) {
        arbiter_send_view(arbiter, message->sender, link);
    }
    arbiter_elect(arbiter);
}

static void arbiter_on_handed_over(struct arbiter *arbiter, const struct member *member)
{
    struct view *next = NULL;
    if (member->state == MEMBER_IN_SYNC && arbiter_is_live(arbiter, member)) {
        next = arbiter_next(arbiter);
    }
    if (next != NULL) {
        arbiter_name_primary(arbiter, next, member->node);
        effects_note(arbiter->context->effects, NOTE_INFO, "handover name=%s", member->name);
        arbiter_propose(arbiter);
    }
}

static void arbiter_on_caught_up(struct arbiter *arbiter, const struct member *member)
{
    struct view *next = member->state == MEMBER_CANDIDATE ? arbiter_next(arbiter) : NULL;
    if (next != NULL) {
        arbiter_member(next, member->node)->state = MEMBER_IN_SYNC;
        effects_note(arbiter->context->effects, NOTE_INFO, "member-in-sync name=%s", member->name);
        arbiter_propose(arbiter);
    }
}

/* CaughtUp, Suspect, Handover: compare-and-set on the view's number. */
static void arbiter_on_member_report(struct arbiter *arbiter, uint64_t link,
                                     const struct message *message)
{
    if (message->sender != arbiter->view.primary) {
        context_count(arbiter->context, COUNTER_messages_unexpected);
        return;
    }
    const struct member *member = view_find(&arbiter->view, message->body.member.node);
    if (message->view != arbiter->view.number) {
        context_count(arbiter->context, COUNTER_messages_old_view);
        arbiter_send_view(arbiter, message->sender, link);
        return;
    }
    if (member == NULL || member->joined != message->body.member.joined ||
        member->node == arbiter->view.primary) {
        context_count(arbiter->context, COUNTER_messages_unexpected);
        return;
    }
    if (message->type == MESSAGE_SUSPECT) {
        arbiter_remove(arbiter, member->node, "suspected-by-primary");
    } else if (message->type == MESSAGE_HANDOVER) {
        arbiter_on_handed_over(arbiter, member);
    } else {
        arbiter_on_caught_up(arbiter, member);
    }
}

static void arbiter_on_locate(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    struct message answer = arbiter_message(arbiter, MESSAGE_LOCATED);
    answer.body.located.request = message->body.request.request;
    answer.body.located.view = context_encode_view(arbiter->context, &arbiter->view);
    context_send(arbiter->context, link, &answer);
}

/* With a view it is they who are wrong; without one it is more likely this arbiter. */
static void arbiter_on_foreign(struct arbiter *arbiter, const struct message *message)
{
    struct arbiter_foreign *foreign = &arbiter->foreign;
    if (arbiter->view.number != 0 || message->type != MESSAGE_HEARTBEAT) {
        return;
    }
    foreign->heard_ms = arbiter->context->now_ms;
    for (uint32_t i = 0; i < foreign->clusters_len; i++) {
        if (foreign->clusters[i] == message->cluster) {
            return;
        }
    }
    if (foreign->clusters_len < ARBITER_FOREIGN_MAX) {
        foreign->clusters[foreign->clusters_len++] = message->cluster;
        effects_note(arbiter->context->effects, NOTE_WARN,
                     "members-of-another-cluster cluster=%016llx advice=\"this arbiter's state was "
                     "lost or is another's: stop it and bring its data folder back\"",
                     (unsigned long long)message->cluster);
    }
}

void arbiter_on_message(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    if (message->type != MESSAGE_JOIN && message->cluster != 0 &&
        message->cluster != arbiter->view.cluster) {
        arbiter_on_foreign(arbiter, message);
        context_count(arbiter->context, COUNTER_messages_foreign_cluster);
        return;
    }
    switch (message->type) {
    case MESSAGE_JOIN:
        arbiter_on_join(arbiter, link, message);
        break;
    case MESSAGE_LEAVE:
        arbiter_on_leave(arbiter, link, message);
        break;
    case MESSAGE_HEARTBEAT:
        arbiter_on_heartbeat(arbiter, link, message);
        break;
    case MESSAGE_CAUGHT_UP:
    case MESSAGE_SUSPECT:
    case MESSAGE_HANDOVER:
        arbiter_on_member_report(arbiter, link, message);
        break;
    case MESSAGE_LOCATE:
        arbiter_on_locate(arbiter, link, message);
        break;
    case MESSAGE_PROMOTE:
        arbiter_on_promote(arbiter, link, message);
        break;
    default:
        KV_CHECK(false);
    }
}

/* --- links and time --- */

void arbiter_on_link_up(struct arbiter *arbiter, uint64_t link)
{
    arbiter_on_call_up(arbiter, link);
}

void arbiter_on_link_down(struct arbiter *arbiter, uint64_t link)
{
    arbiter_peers_lose_link(&arbiter->peers, link);
    arbiter_forget_orders(arbiter, link);
    arbiter_elect(arbiter);
}

void arbiter_forgive(struct arbiter *arbiter, uint64_t gap_ms)
{
    arbiter_peers_forgive(&arbiter->peers, gap_ms);
    arbiter->foreign.heard_ms += arbiter->foreign.heard_ms == 0 ? 0 : gap_ms;
}

void arbiter_tick(struct arbiter *arbiter)
{
    uint64_t now_ms = arbiter->context->now_ms;
    if (arbiter->write_failed && now_ms >= arbiter->retry_ms) {
        arbiter_write(arbiter);
    }
    if (now_ms >= arbiter->election_ms) {
        arbiter_elect(arbiter);
    }
    arbiter_tick_orders(arbiter);
    arbiter_tick_calls(arbiter);
}

uint64_t arbiter_wake_ms(const struct arbiter *arbiter)
{
    uint64_t wake_ms = arbiter->write_failed ? arbiter->retry_ms : UINT64_MAX;
    wake_ms = context_earlier(wake_ms, arbiter->election_ms);
    if (!arbiter->writing) { /* until it is written nobody is called */
        wake_ms = context_earlier(wake_ms, arbiter->calls_ms);
    }
    return arbiter->orders_len > 0 ? context_earlier(wake_ms, arbiter->orders_ms) : wake_ms;
}

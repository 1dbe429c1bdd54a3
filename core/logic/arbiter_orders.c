/*
 * An order is kept until the view shows that it is done, and pressed every retransmit_ms: whoever
 * has to act is asked again. What cannot be done is rejected at once; what does not come through
 * fails after ARBITER_ORDER_MS.
 */
#include "logic/arbiter_orders.h"

#include "logic/arbiter_change.h"
#include "logic/record.h"

#include <stdio.h>
#include <string.h>

/* How long a client's order is pressed. */
#define ARBITER_ORDER_MS 10000u

/* Who is asked to leave has more time than one silence, so that one that is there goes by itself.
 */
#define ARBITER_LEAVE_TIMEOUTS 2u

static void arbiter_answer_order(struct arbiter *arbiter, uint32_t place, uint8_t type)
{
    const struct arbiter_order *order = &arbiter->orders[place];
    struct message answer = arbiter_message(arbiter, type);
    if (type == MESSAGE_OPERATION_ACK) {
        answer.body.operation_ack.request = order->request;
    } else {
        answer.body.operation_failed.request = order->request;
        answer.body.operation_failed.reason = FAIL_TIMEOUT;
    }
    context_send(arbiter->context, order->link, &answer);
    arbiter->orders[place] = arbiter->orders[--arbiter->orders_len];
}

static bool arbiter_order_is_done(const struct arbiter *arbiter, const struct arbiter_order *order)
{
    return order->type == MESSAGE_LEAVE ? view_find(&arbiter->view, order->node) == NULL
                                        : arbiter->view.primary == order->node;
}

void arbiter_finish_orders(struct arbiter *arbiter)
{
    for (uint32_t i = 0; i < arbiter->orders_len;) {
        if (arbiter_order_is_done(arbiter, &arbiter->orders[i])) {
            arbiter_answer_order(arbiter, i, MESSAGE_OPERATION_ACK);
        } else {
            i++;
        }
    }
}

/* --- handover --- */

/* One that leaves itself takes no other's place: two that leave would go on handing over to each
 * other for ever. */
static bool arbiter_is_leaving(const struct arbiter *arbiter, const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_get(&arbiter->peers, member->node);
    return peer != NULL && peer->leaves_ms != 0 &&
           arbiter->context->now_ms - peer->leaves_ms <
               arbiter->context->config->replica_timeout_ms;
}

/* The live secondary in sync with the highest position; NULL: none. */
static const struct member *arbiter_best_successor(struct arbiter *arbiter)
{
    const struct member *best = NULL;
    struct kv_position best_last = {0, 0};
    for (uint32_t i = 0; i < arbiter->view.members_len; i++) {
        const struct member *member = &arbiter->view.members[i];
        if (member->state != MEMBER_IN_SYNC || member->node == arbiter->view.primary ||
            !arbiter_is_live(arbiter, member) || arbiter_is_leaving(arbiter, member)) {
            continue;
        }
        struct kv_position last = arbiter_peers_find(&arbiter->peers, member->node)->last;
        int order = best == NULL ? 1 : position_compare(last, best_last);
        if (order > 0 || (order == 0 && member->node < best->node)) {
            best = member;
            best_last = last;
        }
    }
    return best;
}

/* Asks the primary to give way to this member (NULL: to the best), one at a time: while one was
 * asked for a moment ago, and is still there, that one is asked for again. */
static void arbiter_ask_handover(struct arbiter *arbiter, const struct member *member)
{
    struct arbiter_handover *handover = &arbiter->handover;
    const struct arbiter_peer *primary = arbiter_peers_find(&arbiter->peers, arbiter->view.primary);
    uint64_t now_ms = arbiter->context->now_ms;
    const struct member *before = view_find(&arbiter->view, handover->node);
    if (before != NULL && handover->view == arbiter->view.number &&
        now_ms - handover->asked_ms < arbiter->context->config->replica_timeout_ms &&
        arbiter_is_live(arbiter, before) && !arbiter_is_leaving(arbiter, before)) {
        member = before;
    } else if (member == NULL) {
        member = arbiter_best_successor(arbiter);
    }
    if (member == NULL || primary == NULL || !arbiter_is_live(arbiter, member)) {
        return;
    }
    handover->view = arbiter->view.number;
    handover->node = member->node;
    handover->asked_ms = now_ms;
    struct message message = arbiter_message(arbiter, MESSAGE_HANDOVER);
    message.body.member.node = member->node;
    message.body.member.joined = member->joined;
    context_send(arbiter->context, primary->link, &message);
}

/* --- Leave --- */

/* A node that is there is told to leave by itself, a primary after it has handed over; one that is
 * not is taken out. One in sync that waits to be let in is left alone while there is no primary: it
 * may be the one that has the data. */
static void arbiter_press_leave(struct arbiter *arbiter, const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, member->node);
    uint64_t alive_ms =
        ARBITER_LEAVE_TIMEOUTS * (uint64_t)arbiter->context->config->replica_timeout_ms;
    if (member->node == arbiter->view.primary) {
        arbiter_ask_handover(arbiter, NULL);
    } else if (peer != NULL && peer->joining && member->state == MEMBER_IN_SYNC &&
               !arbiter_primary_is_current(arbiter)) {
        return;
    } else if (arbiter_peer_is_alive(peer, arbiter->context->now_ms, alive_ms)) {
        struct message message = arbiter_message(arbiter, MESSAGE_LEAVE);
        message.body.leave.name.at = (const uint8_t *)member->name;
        message.body.leave.name.len = strlen(member->name);
        context_send(arbiter->context, peer->link, &message);
    } else {
        arbiter_release(arbiter, member, "leave-of-absent");
    }
}

static void arbiter_press(struct arbiter *arbiter, const struct arbiter_order *order)
{
    const struct member *member = view_find(&arbiter->view, order->node);
    if (member == NULL || arbiter->writing) {
        return;
    }
    if (order->type == MESSAGE_LEAVE) {
        arbiter_press_leave(arbiter, member);
    } else if (member->state == MEMBER_IN_SYNC && member->node != arbiter->view.primary) {
        arbiter_ask_handover(arbiter, member);
    }
}

static void arbiter_keep_order(struct arbiter *arbiter, uint8_t type, uint64_t link,
                               uint64_t request, uint64_t node)
{
    struct arbiter_order *order = &arbiter->orders[arbiter->orders_len++];
    order->type = type;
    order->link = link;
    order->request = request;
    order->node = node;
    order->deadline_ms = arbiter->context->now_ms + ARBITER_ORDER_MS;
    arbiter->orders_ms = arbiter->context->now_ms + arbiter->context->config->retransmit_ms;
    arbiter_press(arbiter, order);
}

static void arbiter_on_leave_of_other(struct arbiter *arbiter, uint64_t link,
                                      const struct message *message, const struct member *member)
{
    uint64_t request = message->body.leave.request;
    uint8_t reason = 0;
    if (member == NULL) {
        reason = REJECT_NOT_FOUND;
    } else if (member->node == arbiter->view.primary && view_in_sync_len(&arbiter->view) == 1) {
        reason = REJECT_IS_PRIMARY;
    } else if (arbiter->orders_len == LEAVE_REQUESTS_MAX) {
        reason = REJECT_OVERLOADED;
    }
    if (reason != 0) {
        context_reject(arbiter->context, link, request, reason, 0);
        return;
    }
    arbiter_keep_order(arbiter, MESSAGE_LEAVE, link, request, member->node);
}

void arbiter_on_leave(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    char name[NODE_NAME_MAX + 1] = {0};
    memcpy(name, message->body.leave.name.at, message->body.leave.name.len);
    const struct member *member = view_find_name(&arbiter->view, name);
    if (message->body.leave.request != 0) {
        arbiter_on_leave_of_other(arbiter, link, message, member);
        return;
    }
    if (member == NULL || member->node != message->sender) {
        arbiter_send_view(arbiter, message->sender, link);
        return;
    }
    const struct arbiter_peer *later = arbiter_peers_get(&arbiter->peers, message->sender);
    if (member->incarnation != message->body.leave.incarnation ||
        (later != NULL && later->joining && later->incarnation != member->incarnation)) {
        context_count(arbiter->context, COUNTER_messages_unexpected);
        return; /* another process than the one that is there now */
    }
    struct arbiter_peer *peer = arbiter_peers_hear(&arbiter->peers, &arbiter->view, message->sender,
                                                   link, arbiter->context->now_ms);
    peer->incarnation = member->incarnation;
    peer->leaves_ms = arbiter->context->now_ms;
    if (member->node != arbiter->view.primary) {
        arbiter_release(arbiter, member, "left");
    } else if (view_in_sync_len(&arbiter->view) > 1) {
        arbiter_ask_handover(arbiter, NULL);
    } else {
        arbiter_send_view(arbiter, message->sender, link);
    }
}

/* --- Promote --- */

static void arbiter_hand_over(struct arbiter *arbiter, uint64_t link, uint64_t request,
                              const struct member *member)
{
    uint8_t reason = REJECT_NOT_READY;
    const char *text = "";
    if (member == NULL) {
        reason = REJECT_NOT_FOUND;
    } else if (member->state != MEMBER_IN_SYNC) {
        text = "the node is not in sync yet";
    } else if (!arbiter_primary_is_current(arbiter)) {
        text = "the primary is not there to hand over: another one is chosen when a secondary in "
               "sync misses it; kvctl takeover NAME --force is the last resort";
    } else if (member->node != arbiter->view.primary && !arbiter_is_live(arbiter, member)) {
        text = "the node was not heard for replica_timeout_ms";
    } else if (arbiter->orders_len == LEAVE_REQUESTS_MAX) {
        reason = REJECT_OVERLOADED;
    } else {
        arbiter_keep_order(arbiter, MESSAGE_PROMOTE, link, request, member->node);
        if (member->node == arbiter->view.primary) {
            arbiter_finish_orders(arbiter);
        }
        return;
    }
    context_reject_with(arbiter->context, link, request, reason, 0, text);
}

/* A node that may be forced: a member that is heard, or one whose Join waits here. */
static const struct arbiter_peer *arbiter_find_waiting(const struct arbiter *arbiter,
                                                       const char *name)
{
    const struct member *member = view_find_name(&arbiter->view, name);
    if (member != NULL) {
        return arbiter_peers_get(&arbiter->peers, member->node);
    }
    for (uint32_t i = 0; i < arbiter->peers.len; i++) {
        if (arbiter->peers.items[i].joining && strcmp(arbiter->peers.items[i].as.name, name) == 0) {
            return &arbiter->peers.items[i];
        }
    }
    return NULL;
}

/* What speaks against it; NULL: nothing. */
static const char *arbiter_objection(const struct arbiter *arbiter, const struct arbiter_peer *peer,
                                     const struct member *member, uint8_t *ret_reason)
{
    struct election_input input = arbiter_election_input(arbiter);
    bool is_waiting = member == NULL || peer == NULL || peer->incarnation != member->incarnation;
    *ret_reason = REJECT_PRIMARY_THERE;
    if (election_primary_is_current(&input)) {
        return "the primary was heard a moment ago: hand over instead";
    }
    if (!election_primary_is_dead(&input) && election_witness(&input) != NULL) {
        return "a secondary in sync hears the primary: stop the primary first; then that secondary "
               "takes its place by itself";
    }
    *ret_reason = REJECT_NOT_READY;
    if (arbiter->writing) {
        return "another change of the view is being made durable: again in a moment";
    }
    if (!arbiter_peer_is_alive(peer, input.now_ms, input.replica_timeout_ms) ||
        (is_waiting && !peer->joining)) {
        return "the node was not heard for replica_timeout_ms: start it first";
    }
    if (is_waiting && peer->durable.view == 0) {
        *ret_reason = REJECT_DATA_LOST;
        return "the node's store is empty or incomplete: it cannot be the primary of a cluster "
               "that has held data";
    }
    if (!is_waiting && member->state == MEMBER_CANDIDATE) {
        return "the node is a candidate, its content may be incomplete: start it again; then its "
               "store tells whether it is";
    }
    return NULL;
}

static void arbiter_note_force(struct arbiter *arbiter, const struct member *chosen,
                               struct kv_position position)
{
    uint64_t missing = 0;
    for (uint32_t i = 0; i < arbiter->view.members_len; i++) {
        const struct member *member = &arbiter->view.members[i];
        if (member->state == MEMBER_IN_SYNC && member->node != chosen->node) {
            missing |= 1ull << i;
        }
    }
    uint64_t committed = arbiter_peers_committed(&arbiter->peers, &arbiter->view);
    char known[24] = "-"; /* nobody in sync has told since this arbiter started */
    if (committed != 0) {
        snprintf(known, sizeof(known), "%llu", (unsigned long long)committed);
    }
    effects_note(arbiter->context->effects, NOTE_WARN,
                 "forced-takeover name=%s position=%llu/%llu missing=%s may-be-lost=\"what was "
                 "acknowledged after index %llu (known to be committed: %s)\"",
                 chosen->name, (unsigned long long)position.view,
                 (unsigned long long)position.index,
                 missing == 0 ? "-" : arbiter_names(arbiter, missing),
                 (unsigned long long)position.index, known);
}

static void arbiter_take_over(struct arbiter *arbiter, uint64_t link, uint64_t request,
                              const char *name)
{
    const struct arbiter_peer *peer = arbiter_find_waiting(arbiter, name);
    const struct member *member = view_find(&arbiter->view, peer == NULL ? 0 : peer->node);
    uint8_t reason = REJECT_NOT_FOUND;
    const char *text = "";
    if (peer != NULL || view_find_name(&arbiter->view, name) != NULL) {
        text = arbiter_objection(arbiter, peer, member, &reason);
    }
    if (arbiter->view.primary == 0 || text != NULL || arbiter->orders_len == LEAVE_REQUESTS_MAX) {
        context_reject_with(arbiter->context, link, request,
                            text == NULL ? REJECT_OVERLOADED : reason, 0, text == NULL ? "" : text);
        return;
    }
    struct view *next = arbiter_next(arbiter);
    bool is_waiting = member == NULL || peer->incarnation != member->incarnation;
    struct member chosen = is_waiting ? peer->as : *member;
    chosen.state = MEMBER_IN_SYNC;
    arbiter_note_force(arbiter, &chosen, is_waiting ? peer->durable : peer->last);
    next->members[0] = chosen;
    next->members_len = 1;
    next->forced = next->number;
    arbiter_name_primary(arbiter, next, chosen.node);
    arbiter_propose(arbiter);
    arbiter_keep_order(arbiter, MESSAGE_PROMOTE, link, request, chosen.node);
}

void arbiter_on_promote(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    char name[NODE_NAME_MAX + 1] = {0};
    uint64_t request = message->body.promote.request;
    memcpy(name, message->body.promote.name.at, message->body.promote.name.len);
    if (message->body.promote.force != 0) {
        arbiter_take_over(arbiter, link, request, name);
    } else {
        arbiter_hand_over(arbiter, link, request, view_find_name(&arbiter->view, name));
    }
}

/* --- links and time --- */

void arbiter_forget_orders(struct arbiter *arbiter, uint64_t link)
{
    for (uint32_t i = 0; i < arbiter->orders_len;) {
        if (arbiter->orders[i].link == link) {
            arbiter->orders[i] = arbiter->orders[--arbiter->orders_len];
        } else {
            i++;
        }
    }
}

void arbiter_tick_orders(struct arbiter *arbiter)
{
    uint64_t now_ms = arbiter->context->now_ms;
    if (arbiter->orders_len == 0 || now_ms < arbiter->orders_ms) {
        return;
    }
    arbiter->orders_ms = now_ms + arbiter->context->config->retransmit_ms;
    for (uint32_t i = 0; i < arbiter->orders_len;) {
        if (now_ms >= arbiter->orders[i].deadline_ms) {
            arbiter_answer_order(arbiter, i, MESSAGE_OPERATION_FAILED);
        } else {
            arbiter_press(arbiter, &arbiter->orders[i]);
            i++;
        }
    }
}

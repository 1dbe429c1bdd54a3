/*
 * A newcomer becomes a candidate. A member in sync that comes again as another process may be
 * needed for an election; when the primary is there, the primary lets go of it first, and it comes
 * in as a candidate. What does not fit is refused with a text that says what to do.
 */
#include "logic/arbiter_join.h"

#include "logic/arbiter_change.h"
#include "logic/bug.h"

#include <stdio.h>
#include <string.h>

static void arbiter_reject(struct arbiter *arbiter, uint64_t link, const struct message *join,
                           uint8_t reason, bool retry, const char *text)
{
    struct message answer = arbiter_message(arbiter, MESSAGE_JOIN_REJECTED);
    answer.body.join_rejected.incarnation = join->body.join.incarnation;
    answer.body.join_rejected.reason = reason;
    answer.body.join_rejected.retry = retry ? 1 : 0;
    answer.body.join_rejected.text.at = (const uint8_t *)text;
    answer.body.join_rejected.text.len = strlen(text);
    context_count(arbiter->context, COUNTER_requests_rejected);
    context_send(arbiter->context, link, &answer);
}

/* --- is it what it says --- */

/* Which of two processes with one data folder is the later one: the folder counts its starts, and a
 * process counts its joins in the low bits of the incarnation. */
enum arbiter_order_of { ORDER_LATER, ORDER_SAME, ORDER_LATE, ORDER_COPY };

static enum arbiter_order_of arbiter_order_of(const struct message *join, uint64_t starts,
                                              uint64_t incarnation)
{
    uint64_t told = join->body.join.incarnation;
    if (join->body.join.starts != starts) {
        return join->body.join.starts > starts ? ORDER_LATER : ORDER_COPY;
    }
    if (told >> INCARNATION_JOIN_BITS != incarnation >> INCARNATION_JOIN_BITS) {
        return ORDER_COPY;
    }
    if (told == incarnation) {
        return ORDER_SAME;
    }
    return told > incarnation ? ORDER_LATER : ORDER_LATE;
}

static bool arbiter_process_fits(struct arbiter *arbiter, uint64_t link, const struct message *join,
                                 const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    enum arbiter_order_of order = ORDER_LATER;
    if (member != NULL) {
        order = arbiter_order_of(join, member->starts, member->incarnation);
    }
    if (peer != NULL && peer->starts != 0 && order <= ORDER_SAME) {
        enum arbiter_order_of other = arbiter_order_of(join, peer->starts, peer->incarnation);
        order = other > order ? other : order;
    }
    if (order == ORDER_COPY) {
        arbiter_reject(arbiter, link, join, REJECT_COPY, false,
                       "this data folder is a copy of one that is, or was later, in use, or an "
                       "older state of it: start this node with an empty folder");
    } else if (order == ORDER_LATE) {
        /* It was on its way for long: taken, it would put out what is there now. */
        context_count(arbiter->context, COUNTER_messages_unexpected);
    }
    return order <= ORDER_SAME;
}

/* Refuses a node whose data does not fit what this arbiter knows of the cluster. */
static bool arbiter_data_fits(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    if (join->cluster != 0 && join->cluster != arbiter->view.cluster) {
        arbiter_reject(arbiter, link, join, REJECT_WRONG_CLUSTER, false,
                       "this node's data folder belongs to another cluster than this arbiter's");
        return false;
    }
    if (join->body.join.durable.view > arbiter->view.number) {
        arbiter_reject(
            arbiter, link, join, REJECT_NEWER_DATA, false,
            "the node's store is of a later view than this arbiter's: the arbiter's state "
            "was lost or restored from an older copy, or the store is another cluster's");
        return false;
    }
    return true;
}

static void arbiter_wait(struct arbiter *arbiter, uint64_t link, const struct message *join,
                         const char *format, const char *names);

static bool arbiter_name_is_free(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    char name[NODE_NAME_MAX + 1] = {0};
    memcpy(name, join->body.join.name.at, join->body.join.name.len);
    const struct member *other = view_find_name(&arbiter->view, name);
    if (other == NULL || other->node == join->sender) {
        return true;
    }
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, other->node);
    if (other->node == arbiter->view.primary) {
        /* Another one in sync may take its place, and then this node may have the name. */
        bool is_alone = view_in_sync_len(&arbiter->view) == 1;
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, !is_alone,
                       "the primary has this name and another identity: give this node another "
                       "name, or bring back the primary's data folder");
    } else if (arbiter_peer_is_alive(peer, arbiter->context->now_ms,
                                     arbiter->context->config->replica_timeout_ms)) {
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                       "another node of this name is a member and alive");
    } else {
        bool is_in_sync = other->state == MEMBER_IN_SYNC && !BUG(drop_unasked);
        arbiter_release(arbiter, other, "replaced");
        if (is_in_sync) {
            arbiter_wait(arbiter, link, join,
                         "another node of this name, %s, is in sync: waits "
                         "until the primary lets go of it",
                         name);
        }
    }
    return false;
}

/* A node that is alive at another link as another process: of a copied folder, say. A process that
 * has ended is not alive: its link is down, or it has been silent for long enough. */
static bool arbiter_identity_is_free(struct arbiter *arbiter, uint64_t link,
                                     const struct message *join, const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    if (peer == NULL || (member == NULL && !peer->joining) || peer->link == link ||
        peer->incarnation >> INCARNATION_JOIN_BITS ==
            join->body.join.incarnation >> INCARNATION_JOIN_BITS ||
        !arbiter_peer_is_alive(peer, arbiter->context->now_ms,
                               arbiter->context->config->replica_timeout_ms)) {
        return true;
    }
    arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                   "a member with the identity of this data folder was heard a moment ago: after a "
                   "crash this passes within replica_timeout_ms; if it does not, the folder is a "
                   "copy: start this node with an empty one");
    return false;
}

/* --- letting in --- */

static void arbiter_add(struct arbiter *arbiter, const struct message *join)
{
    struct view *next = arbiter_next(arbiter);
    if (next == NULL) {
        return; /* it asks again */
    }
    struct member *member = arbiter_member(next, join->sender);
    if (member == NULL) {
        member = &next->members[next->members_len++];
    }
    arbiter_peer_fill_member(member, join, next->number);
    if (next->primary == 0) {
        next->primary = member->node;
        next->ack = join->body.join.ack;
        member->state = MEMBER_IN_SYNC;
    }
    effects_note(arbiter->context->effects, NOTE_INFO, "member-in name=%s as=%s", member->name,
                 next->primary == member->node ? "primary" : "candidate");
    arbiter_propose(arbiter);
}

/* NotReady: whom it waits for, and what the operator may do. One %s in the format. */
static void arbiter_wait(struct arbiter *arbiter, uint64_t link, const struct message *join,
                         const char *format, const char *names)
{
    char *text = arena_alloc(&arbiter->context->effects->arena, TEXT_MAX + 1);
    snprintf(text, TEXT_MAX + 1, format, names);
    arbiter_reject(arbiter, link, join, REJECT_NOT_READY, true, text);
}

/* The primary is not there: whoever joins is told what has to happen first. */
static void arbiter_wait_for_primary(struct arbiter *arbiter, uint64_t link,
                                     const struct message *join)
{
    struct election_input input = arbiter_election_input(arbiter);
    struct election election;
    if (arbiter->writing) {
        return; /* it asks again */
    }
    if (join->sender == arbiter->view.primary && election_data_is_lost(&input)) {
        arbiter_reject(arbiter, link, join, REJECT_DATA_LOST, false,
                       "this node is the primary, and its store is empty or lacks updates that "
                       "were acknowledged: bring its store back; taken as it is, it would remove "
                       "the data of all others");
        return;
    }
    election_decide(&input, &election);
    const char *names = arbiter_names(arbiter, election.missing);
    if (election.verdict == ELECTION_WAIT && election.needs_operator) {
        arbiter_wait(arbiter, link, join,
                     "waits for members that were in sync (%s): only with them it is sure that "
                     "nothing is lost; kvctl takeover NAME --force goes on without them",
                     names[0] == '\0' ? "their data is lost" : names);
    } else if (election.verdict == ELECTION_WAIT) {
        arbiter_wait(arbiter, link, join,
                     "waits for members that were in sync (%s), for return_wait_ms at most; "
                     "kvctl takeover NAME --force goes on without them",
                     names);
    } else {
        arbiter_wait(arbiter, link, join,
                     "waits for the primary (%s), or for a secondary in sync to miss it; kvctl "
                     "takeover NAME --force goes on without it",
                     view_find(&arbiter->view, arbiter->view.primary)->name);
    }
}

/* A member in sync as another process than before. */
static void arbiter_on_return(struct arbiter *arbiter, uint64_t link, const struct message *join,
                              const struct member *member)
{
    arbiter_elect(arbiter);
    if (arbiter->writing) {
        return; /* the answer comes with the view */
    }
    if (member->node != arbiter->view.primary && arbiter_primary_is_current(arbiter)) {
        if (BUG(drop_unasked)) {
            arbiter_add(arbiter, join);
            return;
        }
        arbiter_release(arbiter, member, "returned");
        arbiter_wait(arbiter, link, join, "%s was in sync: waits until the primary lets go of it",
                     member->name);
    } else {
        arbiter_wait_for_primary(arbiter, link, join);
    }
}

void arbiter_on_join(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    struct context *context = arbiter->context;
    const struct member *member = view_find(&arbiter->view, join->sender);
    if (!arbiter_process_fits(arbiter, link, join, member) ||
        !arbiter_data_fits(arbiter, link, join) ||
        !arbiter_identity_is_free(arbiter, link, join, member) ||
        !arbiter_name_is_free(arbiter, link, join)) {
        return;
    }
    struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    uint64_t before_ms = peer == NULL ? 0 : peer->heard_ms;
    peer = arbiter_peers_hear(&arbiter->peers, &arbiter->view, join->sender, link, before_ms);
    arbiter_peer_keep_join(peer, join, context->now_ms, context->config->replica_timeout_ms);
    peer->heard_ms = context->now_ms;
    if (member != NULL && member->incarnation == join->body.join.incarnation) {
        peer->joining = false;
        arbiter_send_joined(arbiter, member, link);
        return;
    }
    if (member == NULL && arbiter->view.members_len == MEMBERS_MAX) {
        arbiter_reject(arbiter, link, join, REJECT_OVERLOADED, true,
                       "the view is full: a member has to leave first");
    } else if (member != NULL && member->state == MEMBER_IN_SYNC) {
        arbiter_on_return(arbiter, link, join, member);
    } else if (arbiter->view.primary == 0 || arbiter_primary_is_current(arbiter)) {
        arbiter_add(arbiter, join);
    } else {
        arbiter_wait_for_primary(arbiter, link, join);
    }
}

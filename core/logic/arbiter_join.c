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

/* For how long two processes with one identity have to be heard side by side until it is certain
 * that the earlier one has not ended: its last words may be late. */
#define COPY_TIMEOUTS 2u

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

static bool arbiter_is_one_process(uint64_t incarnation, uint64_t other)
{
    return incarnation >> INCARNATION_JOIN_BITS == other >> INCARNATION_JOIN_BITS;
}

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
    if (!arbiter_is_one_process(told, incarnation)) {
        return ORDER_COPY;
    }
    if (told == incarnation) {
        return ORDER_SAME;
    }
    return told > incarnation ? ORDER_LATER : ORDER_LATE;
}

static void arbiter_reject_copy(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    arbiter_reject(arbiter, link, join, REJECT_COPY, false,
                   "this data folder is a copy of one that is, or was later, in use, or an "
                   "older state of it: start this node with an empty folder");
}

/* Only the view tells for certain: a process that merely asked may be of the copy itself. */
static bool arbiter_process_fits(struct arbiter *arbiter, uint64_t link, const struct message *join,
                                 const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    enum arbiter_order_of order = ORDER_LATER;
    if (member != NULL) {
        order = arbiter_order_of(join, member->starts, member->incarnation);
    }
    if (peer != NULL && order <= ORDER_SAME && join->body.join.incarnation < peer->incarnation &&
        arbiter_is_one_process(join->body.join.incarnation, peer->incarnation)) {
        order = ORDER_LATE;
    }
    if (order == ORDER_COPY) {
        arbiter_reject_copy(arbiter, link, join);
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
                       is_alone ? "the primary has this name and another identity: give this node "
                                  "another name, or bring back the primary's data folder"
                                : "the primary has this name and another identity: give this node "
                                  "another name, or bring back the primary's data folder; waits "
                                  "until another node is the primary");
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

/* Another process asks with the identity of one that is heard. The other one is the copy when the
 * process that the view names is still heard long after: a process that has ended is not. */
static bool arbiter_is_copy(const struct arbiter *arbiter, struct arbiter_peer *peer,
                            const struct message *join, const struct member *member)
{
    uint64_t now_ms = arbiter->context->now_ms;
    uint64_t timeout_ms = arbiter->context->config->replica_timeout_ms;
    uint64_t rival = join->body.join.incarnation >> INCARNATION_JOIN_BITS;
    if (member == NULL || !arbiter_is_one_process(member->incarnation, peer->incarnation)) {
        return false;
    }
    /* When it was not heard for a while, the same silence may have kept old words back. */
    if (peer->rival_ms == 0 || peer->rival != rival || now_ms - peer->rival_last_ms >= timeout_ms) {
        peer->rival = rival;
        peer->rival_ms = now_ms;
    }
    peer->rival_last_ms = now_ms;
    return peer->heard_ms >= peer->rival_ms + COPY_TIMEOUTS * timeout_ms;
}

/* A node that is alive at another link as another process: of a copied folder, say. A process that
 * has ended is not alive: its link is down, or it has been silent for long enough. */
static bool arbiter_identity_is_free(struct arbiter *arbiter, uint64_t link,
                                     const struct message *join, const struct member *member)
{
    struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    if (peer == NULL || (member == NULL && !peer->joining) || peer->link == link ||
        arbiter_is_one_process(peer->incarnation, join->body.join.incarnation) ||
        !arbiter_peer_is_alive(peer, arbiter->context->now_ms,
                               arbiter->context->config->replica_timeout_ms)) {
        return true;
    }
    if (arbiter_is_copy(arbiter, peer, join, member)) {
        arbiter_reject_copy(arbiter, link, join);
    } else if (peer->joining) {
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                       "another process with the identity of this data folder asks to be let in: "
                       "one of the two folders is a copy: stop the node that runs on the copy");
    } else {
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                       "a member with the identity of this data folder was heard a moment ago: "
                       "after a crash this passes within replica_timeout_ms; if it does not, the "
                       "folder is a copy: start this node with an empty one");
    }
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

/* There is no cluster yet, but nodes of another one take this for their arbiter: a first view here
 * would be that of a second cluster at the address of the first. */
static bool arbiter_is_elsewhere(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    if (arbiter->view.primary != 0 || !arbiter_hears_foreign(arbiter)) {
        return false;
    }
    arbiter_wait(arbiter, link, join, "%s",
                 "nodes of another cluster report to this arbiter, which knows no cluster yet: its "
                 "state was lost or is another's: stop it and bring its data folder back");
    return true;
}

/* The primary is not there: whoever joins is told what has to happen first. Refused for good, it
 * leaves nothing behind that another process of this identity would be compared with. */
static void arbiter_wait_for_primary(struct arbiter *arbiter, uint64_t link,
                                     const struct message *join, const struct arbiter_peer *before)
{
    struct election_input input = arbiter_election_input(arbiter);
    struct election election;
    if (arbiter->writing) {
        return; /* it asks again */
    }
    if (join->sender == arbiter->view.primary && election_data_is_lost(&input)) {
        *arbiter_peers_find(&arbiter->peers, join->sender) = *before;
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
                              const struct member *member, const struct arbiter_peer *before)
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
        arbiter_wait_for_primary(arbiter, link, join, before);
    }
}

void arbiter_on_join(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    struct context *context = arbiter->context;
    const struct member *member = view_find(&arbiter->view, join->sender);
    if (!arbiter_process_fits(arbiter, link, join, member) ||
        !arbiter_data_fits(arbiter, link, join) ||
        !arbiter_identity_is_free(arbiter, link, join, member) ||
        !arbiter_name_is_free(arbiter, link, join) || arbiter_is_elsewhere(arbiter, link, join)) {
        return;
    }
    struct arbiter_peer before = {.node = join->sender};
    struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, join->sender);
    if (peer != NULL) {
        before = *peer;
    }
    peer = arbiter_peers_hear(&arbiter->peers, &arbiter->view, join->sender, link, before.heard_ms);
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
        arbiter_on_return(arbiter, link, join, member, &before);
    } else if (arbiter->view.primary == 0 || arbiter_primary_is_current(arbiter)) {
        arbiter_add(arbiter, join);
    } else {
        arbiter_wait_for_primary(arbiter, link, join, &before);
    }
}

#include "logic/arbiter.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"

#include <string.h>

/* How long `kvctl leave` waits for a node that is there to go by itself. */
#define ARBITER_LEAVE_MS 10000u

/* A node that was heard within so many replica_timeouts is taken to be there. A link that is down
 * tells it at once, but a transport may notice that only after seconds: then this is all there is.
 * So a Join that takes the place of another one waits for as long as silence is borne anywhere,
 * since that is how long a process that was killed and started again stays out; who is asked to
 * leave has more time, so that one that is there goes by itself. */
#define ARBITER_ALIVE_TIMEOUTS_JOIN  1u
#define ARBITER_ALIVE_TIMEOUTS_LEAVE 2u

int32_t arbiter_create(struct context *context, struct arbiter **ret_arbiter)
{
    const struct node_config *config = context->config;
    struct arbiter *arbiter = alloc_zeroed(1, sizeof(*arbiter));
    arbiter->context = context;
    arbiter->view.cluster = config->new_cluster;
    if (config->registry_len > 0 &&
        view_decode(config->registry, config->registry_len, &arbiter->view) != KV_OK) {
        alloc_free(arbiter);
        return KV_E_CORRUPT;
    }
    *ret_arbiter = arbiter;
    return KV_OK;
}

void arbiter_destroy(struct arbiter *arbiter)
{
    alloc_free(arbiter);
}

bool arbiter_is_for(uint8_t type)
{
    return type == MESSAGE_JOIN || type == MESSAGE_LEAVE || type == MESSAGE_HEARTBEAT ||
           type == MESSAGE_CAUGHT_UP || type == MESSAGE_SUSPECT || type == MESSAGE_LOCATE;
}

/* --- what is sent --- */

static struct message arbiter_message(const struct arbiter *arbiter, uint8_t type)
{
    struct message message = context_message(arbiter->context, type);
    message.cluster = arbiter->view.cluster;
    message.view = arbiter->view.number;
    return message;
}

/* The answer to a member's Join. */
static void arbiter_send_joined(struct arbiter *arbiter, const struct member *member, uint64_t link)
{
    bool is_primary = arbiter->view.primary == member->node;
    struct message message =
        arbiter_message(arbiter, is_primary ? MESSAGE_JOINED_PRIMARY : MESSAGE_JOINED_SECONDARY);
    message.body.joined.incarnation = member->incarnation;
    message.body.joined.view = context_encode_view(arbiter->context, &arbiter->view);
    context_send(arbiter->context, link, &message);
}

/* The view, as the answer to its Join when the member has joined with this view, or as Replicas. */
static void arbiter_send_view(struct arbiter *arbiter, uint64_t node, uint64_t link)
{
    const struct member *member = view_find(&arbiter->view, node);
    if (member != NULL && member->joined == arbiter->view.number) {
        arbiter_send_joined(arbiter, member, link);
        return;
    }
    struct message message = arbiter_message(arbiter, MESSAGE_REPLICAS);
    message.body.replicas.view = context_encode_view(arbiter->context, &arbiter->view);
    context_send(arbiter->context, link, &message);
}

static void arbiter_broadcast(struct arbiter *arbiter)
{
    for (uint32_t i = 0; i < arbiter->peers_len; i++) {
        if (arbiter->peers[i].link != 0) {
            arbiter_send_view(arbiter, arbiter->peers[i].node, arbiter->peers[i].link);
        }
    }
}

/* --- peers --- */

static struct arbiter_peer *arbiter_peer(struct arbiter *arbiter, uint64_t node)
{
    for (uint32_t i = 0; i < arbiter->peers_len; i++) {
        if (arbiter->peers[i].node == node) {
            return &arbiter->peers[i];
        }
    }
    return NULL;
}

/* Remembers where a node was heard; the one silent for longest makes room. */
static struct arbiter_peer *arbiter_hear(struct arbiter *arbiter, uint64_t node, uint64_t link)
{
    struct arbiter_peer *peer = arbiter_peer(arbiter, node);
    if (peer == NULL && arbiter->peers_len < ARBITER_PEERS_MAX) {
        peer = &arbiter->peers[arbiter->peers_len++];
    } else if (peer == NULL) {
        peer = &arbiter->peers[0];
        for (uint32_t i = 1; i < arbiter->peers_len; i++) {
            peer = arbiter->peers[i].heard_ms < peer->heard_ms ? &arbiter->peers[i] : peer;
        }
    }
    if (peer->node != node) {
        peer->committed = 0;
    }
    if (peer->node != node || peer->link != link) {
        peer->incarnation = 0;
    }
    peer->node = node;
    peer->link = link;
    peer->heard_ms = arbiter->context->now_ms;
    return peer;
}

static bool arbiter_is_alive(struct arbiter *arbiter, uint64_t node, uint32_t timeouts)
{
    const struct arbiter_peer *peer = arbiter_peer(arbiter, node);
    uint64_t alive_ms = timeouts * (uint64_t)arbiter->context->config->replica_timeout_ms;
    return peer != NULL && peer->link != 0 && arbiter->context->now_ms - peer->heard_ms < alive_ms;
}

/* --- changing the view --- */

/* Begins a change: the caller edits arbiter->next and calls arbiter_propose(). NULL: another change
 * is being made durable. */
static struct view *arbiter_next(struct arbiter *arbiter)
{
    if (arbiter->writing) {
        return NULL;
    }
    arbiter->next = arbiter->view;
    arbiter->next.number++;
    return &arbiter->next;
}

static void arbiter_write(struct arbiter *arbiter)
{
    struct bytes_view encoded = context_encode_view(arbiter->context, &arbiter->next);
    struct effect *effect = effects_add(arbiter->context->effects, EFFECT_REGISTRY_WRITE);
    effect->as.registry_write.number = arbiter->next.number;
    effect->as.registry_write.bytes = encoded.at;
    effect->as.registry_write.len = encoded.len;
    arbiter->writing = true;
    arbiter->write_failed = false;
}

static void arbiter_propose(struct arbiter *arbiter)
{
    arbiter_write(arbiter);
    if (BUG(registry_late)) {
        arbiter->view = arbiter->next;
        arbiter_broadcast(arbiter);
    }
}

static void arbiter_finish_leaves(struct arbiter *arbiter);

void arbiter_on_written(struct arbiter *arbiter, uint64_t number)
{
    if (!arbiter->writing || number != arbiter->next.number) {
        return;
    }
    arbiter->writing = false;
    arbiter->view = arbiter->next;
    effects_note(arbiter->context->effects, NOTE_INFO,
                 "view-made number=%llu members=%u in_sync=%u", (unsigned long long)number,
                 arbiter->view.members_len, view_in_sync_len(&arbiter->view));
    arbiter_broadcast(arbiter);
    arbiter_finish_leaves(arbiter);
}

void arbiter_on_write_failed(struct arbiter *arbiter, uint64_t number)
{
    if (arbiter->writing && number == arbiter->next.number) {
        arbiter->write_failed = true;
        arbiter->retry_ms = arbiter->context->now_ms + arbiter->context->config->retransmit_ms;
    }
}

static struct member *arbiter_member(struct view *view, uint64_t node)
{
    for (uint32_t i = 0; i < view->members_len; i++) {
        if (view->members[i].node == node) {
            return &view->members[i];
        }
    }
    return NULL;
}

static void arbiter_drop_member(struct view *view, uint64_t node)
{
    struct member *member = arbiter_member(view, node);
    if (member != NULL) {
        struct member *end = &view->members[view->members_len];
        memmove(member, member + 1, (size_t)(end - (member + 1)) * sizeof(*member));
        view->members_len--;
    }
}

static void arbiter_remove(struct arbiter *arbiter, uint64_t node, const char *why)
{
    struct view *next = arbiter_next(arbiter);
    if (next == NULL) {
        return;
    }
    const struct member *member = view_find(next, node);
    KV_CHECK(member != NULL && node != next->primary);
    effects_note(arbiter->context->effects, NOTE_INFO, "member-out name=%s reason=%s", member->name,
                 why);
    arbiter_drop_member(next, node);
    arbiter_propose(arbiter);
}

/* --- Join --- */

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

static void arbiter_fill_member(struct member *member, const struct message *join, uint64_t number)
{
    memset(member, 0, sizeof(*member));
    member->node = join->sender;
    member->incarnation = join->body.join.incarnation;
    member->joined = number;
    member->state = MEMBER_CANDIDATE;
    memcpy(member->name, join->body.join.name.at, join->body.join.name.len);
    member->uris_len = (uint8_t)join->body.join.uris_len;
    for (uint32_t i = 0; i < join->body.join.uris_len; i++) {
        memcpy(member->uris[i], join->body.join.uris[i].at, join->body.join.uris[i].len);
    }
}

/* The primary came back: its store is what counts, so all others begin anew as candidates. Every
 * acknowledged update is in it (rule 2); what only they have was never acknowledged. */
static void arbiter_primary_again(struct view *next, struct member *primary)
{
    primary->state = MEMBER_IN_SYNC;
    for (uint32_t i = 0; i < next->members_len; i++) {
        if (&next->members[i] != primary) {
            next->members[i].state = MEMBER_CANDIDATE;
            next->members[i].joined = next->number;
        }
    }
}

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
    arbiter_fill_member(member, join, next->number);
    if (next->primary == 0) {
        next->primary = member->node;
    }
    if (next->primary == member->node) {
        arbiter_primary_again(next, member);
    }
    effects_note(arbiter->context->effects, NOTE_INFO, "member-in name=%s as=%s", member->name,
                 next->primary == member->node ? "primary" : "candidate");
    arbiter_propose(arbiter);
}

static bool arbiter_name_is_free(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    char name[NODE_NAME_MAX + 1] = {0};
    memcpy(name, join->body.join.name.at, join->body.join.name.len);
    const struct member *other = view_find_name(&arbiter->view, name);
    if (other == NULL || other->node == join->sender) {
        return true;
    }
    if (other->node == arbiter->view.primary) {
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, false,
                       "the primary has this name and another identity: give this node another "
                       "name, or bring back the primary's data folder");
    } else if (arbiter_is_alive(arbiter, other->node, ARBITER_ALIVE_TIMEOUTS_JOIN)) {
        arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                       "another node of this name is a member and alive");
    } else {
        arbiter_remove(arbiter, other->node, "replaced");
    }
    return false;
}

/* The highest commit index that a member in sync has told of since this arbiter started. */
static uint64_t arbiter_committed(const struct arbiter *arbiter)
{
    uint64_t committed = 0;
    for (uint32_t i = 0; i < arbiter->peers_len; i++) {
        const struct arbiter_peer *peer = &arbiter->peers[i];
        const struct member *member = view_find(&arbiter->view, peer->node);
        if (member != NULL && member->state == MEMBER_IN_SYNC && peer->committed > committed) {
            committed = peer->committed;
        }
    }
    return committed;
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
    if (join->sender == arbiter->view.primary &&
        join->body.join.durable.index < arbiter_committed(arbiter)) {
        arbiter_reject(arbiter, link, join, REJECT_DATA_LOST, false,
                       "this node is the primary, and its store lacks updates that were "
                       "acknowledged: bring its store back; taken as it is, it would remove them "
                       "from all others");
        return false;
    }
    /* Rule 7: an empty node never is primary of a cluster that has held data. The store of a
     * primary that has served says so with its position, and its data folder with the cluster. */
    if (join->sender == arbiter->view.primary && join->cluster != 0 &&
        join->body.join.durable.view == 0) {
        arbiter_reject(arbiter, link, join, REJECT_DATA_LOST, false,
                       "this node is the primary, and its store is empty or incomplete: bring its "
                       "store back; taken as it is, it would remove the data of all others");
        return false;
    }
    return true;
}

/* A member that is alive at another link: two processes with one identity, say, of a copied folder.
 * A process that has ended is not alive: its link is down, or it has been silent for long enough.
 */
static bool arbiter_identity_is_free(struct arbiter *arbiter, uint64_t link,
                                     const struct message *join, const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peer(arbiter, join->sender);
    if (member == NULL || member->incarnation == join->body.join.incarnation ||
        !arbiter_is_alive(arbiter, join->sender, ARBITER_ALIVE_TIMEOUTS_JOIN) ||
        peer->link == link) {
        return true;
    }
    arbiter_reject(arbiter, link, join, REJECT_NAME_IN_USE, true,
                   "a member with the identity of this data folder was heard a moment ago: after a "
                   "crash this passes within replica_timeout_ms; if it does not, the folder is a "
                   "copy: start this node with an empty one");
    return false;
}

/* A Join that was late: the process at this link has come as a later incarnation since (it counts
 * them up). Taken, it would put out what is there now. */
static bool arbiter_is_late_join(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    const struct arbiter_peer *peer = arbiter_peer(arbiter, join->sender);
    return peer != NULL && peer->link == link && join->body.join.incarnation < peer->incarnation;
}

static void arbiter_on_join(struct arbiter *arbiter, uint64_t link, const struct message *join)
{
    const struct member *member = view_find(&arbiter->view, join->sender);
    if (arbiter_is_late_join(arbiter, link, join)) {
        context_count(arbiter->context, COUNTER_messages_unexpected);
        return;
    }
    if (!arbiter_data_fits(arbiter, link, join) || !arbiter_name_is_free(arbiter, link, join) ||
        !arbiter_identity_is_free(arbiter, link, join, member)) {
        return;
    }
    if (member == NULL && arbiter->view.members_len == MEMBERS_MAX) {
        arbiter_reject(arbiter, link, join, REJECT_OVERLOADED, true,
                       "the view is full: a member has to leave first");
        return;
    }
    arbiter_hear(arbiter, join->sender, link)->incarnation = join->body.join.incarnation;
    if (member != NULL && member->incarnation == join->body.join.incarnation) {
        arbiter_send_joined(arbiter, member, link);
        return;
    }
    arbiter_add(arbiter, join);
}

/* --- Leave --- */

static void arbiter_answer_leave(struct arbiter *arbiter, uint32_t place, uint8_t type)
{
    const struct arbiter_leave *leave = &arbiter->leaves[place];
    struct message answer = arbiter_message(arbiter, type);
    if (type == MESSAGE_OPERATION_ACK) {
        answer.body.operation_ack.request = leave->request;
    } else {
        answer.body.operation_failed.request = leave->request;
        answer.body.operation_failed.reason = FAIL_TIMEOUT;
    }
    context_send(arbiter->context, leave->link, &answer);
    arbiter->leaves[place] = arbiter->leaves[--arbiter->leaves_len];
}

static void arbiter_finish_leaves(struct arbiter *arbiter)
{
    for (uint32_t i = 0; i < arbiter->leaves_len;) {
        if (view_find(&arbiter->view, arbiter->leaves[i].node) == NULL) {
            arbiter_answer_leave(arbiter, i, MESSAGE_OPERATION_ACK);
        } else {
            i++;
        }
    }
}

/* A node that is there is told to leave by itself; one that is not is taken out. */
static void arbiter_press_leave(struct arbiter *arbiter, const struct arbiter_leave *leave)
{
    const struct member *member = view_find(&arbiter->view, leave->node);
    if (member == NULL || leave->node == arbiter->view.primary) {
        return;
    }
    if (arbiter_is_alive(arbiter, leave->node, ARBITER_ALIVE_TIMEOUTS_LEAVE)) {
        struct message message = arbiter_message(arbiter, MESSAGE_LEAVE);
        message.body.leave.name.at = (const uint8_t *)member->name;
        message.body.leave.name.len = strlen(member->name);
        context_send(arbiter->context, arbiter_peer(arbiter, leave->node)->link, &message);
    } else {
        arbiter_remove(arbiter, leave->node, "leave-of-absent");
    }
}

static void arbiter_on_leave_of_other(struct arbiter *arbiter, uint64_t link,
                                      const struct message *message, const struct member *member)
{
    uint64_t request = message->body.leave.request;
    uint8_t reason = 0;
    if (member == NULL) {
        reason = REJECT_NOT_FOUND;
    } else if (member->node == arbiter->view.primary) {
        reason = REJECT_IS_PRIMARY;
    } else if (arbiter->leaves_len == LEAVE_REQUESTS_MAX) {
        reason = REJECT_OVERLOADED;
    }
    if (reason != 0) {
        context_reject(arbiter->context, link, request, reason, 0);
        return;
    }
    struct arbiter_leave *leave = &arbiter->leaves[arbiter->leaves_len++];
    leave->link = link;
    leave->request = request;
    leave->node = member->node;
    leave->deadline_ms = arbiter->context->now_ms + ARBITER_LEAVE_MS;
    arbiter->leaves_ms = arbiter->context->now_ms + arbiter->context->config->retransmit_ms;
    arbiter_press_leave(arbiter, leave);
}

static void arbiter_on_leave(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    char name[NODE_NAME_MAX + 1] = {0};
    memcpy(name, message->body.leave.name.at, message->body.leave.name.len);
    const struct member *member = view_find_name(&arbiter->view, name);
    if (message->body.leave.request != 0) {
        arbiter_on_leave_of_other(arbiter, link, message, member);
        return;
    }
    if (member != NULL && member->node == message->sender &&
        member->node != arbiter->view.primary) {
        arbiter_hear(arbiter, message->sender, link);
        arbiter_remove(arbiter, member->node, "left");
    } else {
        arbiter_send_view(arbiter, message->sender, link);
    }
}

/* --- from the primary, and heartbeats --- */

static void arbiter_on_heartbeat(struct arbiter *arbiter, uint64_t link,
                                 const struct message *message)
{
    const struct member *member = view_find(&arbiter->view, message->sender);
    bool is_other = member != NULL && member->incarnation != message->body.heartbeat.incarnation;
    /* Another incarnation, whose word was late, say, or which does not know yet that it is over:
     * the way to the member that is there now does not lead over this link. */
    if (!is_other) {
        arbiter_hear(arbiter, message->sender, link);
    }
    bool is_current = message->view == arbiter->view.number && member != NULL && !is_other;
    if (!is_current) {
        arbiter_send_view(arbiter, message->sender, link);
        return;
    }
    /* Only of a member in sync is the commit index what it says; see arbiter_committed(). */
    struct arbiter_peer *peer = arbiter_peer(arbiter, message->sender);
    if (member->state == MEMBER_IN_SYNC &&
        message->body.heartbeat.committed_index > peer->committed) {
        peer->committed = message->body.heartbeat.committed_index;
    }
}

/* CaughtUp and Suspect: compare-and-set on the view's number. */
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
        return;
    }
    struct view *next = member->state == MEMBER_CANDIDATE ? arbiter_next(arbiter) : NULL;
    if (next != NULL) {
        arbiter_member(next, member->node)->state = MEMBER_IN_SYNC;
        effects_note(arbiter->context->effects, NOTE_INFO, "member-in-sync name=%s", member->name);
        arbiter_propose(arbiter);
    }
}

static void arbiter_on_locate(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    struct message answer = arbiter_message(arbiter, MESSAGE_LOCATED);
    answer.body.located.request = message->body.request.request;
    answer.body.located.view = context_encode_view(arbiter->context, &arbiter->view);
    context_send(arbiter->context, link, &answer);
}

void arbiter_on_message(struct arbiter *arbiter, uint64_t link, const struct message *message)
{
    if (message->type != MESSAGE_JOIN && message->cluster != 0 &&
        message->cluster != arbiter->view.cluster) {
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
        arbiter_on_member_report(arbiter, link, message);
        break;
    case MESSAGE_LOCATE:
        arbiter_on_locate(arbiter, link, message);
        break;
    default:
        KV_CHECK(false);
    }
}

/* --- links and time --- */

void arbiter_on_link_down(struct arbiter *arbiter, uint64_t link)
{
    for (uint32_t i = 0; i < arbiter->peers_len; i++) {
        if (arbiter->peers[i].link == link) {
            arbiter->peers[i].link = 0;
        }
    }
    for (uint32_t i = 0; i < arbiter->leaves_len;) {
        if (arbiter->leaves[i].link == link) {
            arbiter->leaves[i] = arbiter->leaves[--arbiter->leaves_len];
        } else {
            i++;
        }
    }
}

void arbiter_tick(struct arbiter *arbiter)
{
    uint64_t now_ms = arbiter->context->now_ms;
    if (arbiter->write_failed && now_ms >= arbiter->retry_ms) {
        arbiter_write(arbiter);
    }
    if (arbiter->leaves_len == 0 || now_ms < arbiter->leaves_ms) {
        return;
    }
    arbiter->leaves_ms = now_ms + arbiter->context->config->retransmit_ms;
    for (uint32_t i = 0; i < arbiter->leaves_len;) {
        if (now_ms >= arbiter->leaves[i].deadline_ms) {
            arbiter_answer_leave(arbiter, i, MESSAGE_OPERATION_FAILED);
        } else {
            arbiter_press_leave(arbiter, &arbiter->leaves[i]);
            i++;
        }
    }
}

uint64_t arbiter_wake_ms(const struct arbiter *arbiter)
{
    uint64_t wake_ms = arbiter->write_failed ? arbiter->retry_ms : UINT64_MAX;
    return arbiter->leaves_len > 0 ? context_earlier(wake_ms, arbiter->leaves_ms) : wake_ms;
}

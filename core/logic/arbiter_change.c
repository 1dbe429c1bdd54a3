#include "logic/arbiter_change.h"

#include "base/check.h"
#include "logic/bug.h"

#include <stdio.h>
#include <string.h>

#define NAMES_BYTES_MAX 120u

/* For how long no first view is made after a member of another cluster was heard. */
#define FOREIGN_TIMEOUTS 4u

/* --- what is sent --- */

struct message arbiter_message(const struct arbiter *arbiter, uint8_t type)
{
    struct message message = context_message(arbiter->context, type);
    message.cluster = arbiter->view.cluster;
    message.view = arbiter->view.number;
    return message;
}

void arbiter_send_joined(struct arbiter *arbiter, const struct member *member, uint64_t link)
{
    bool is_primary = arbiter->view.primary == member->node;
    struct message message =
        arbiter_message(arbiter, is_primary ? MESSAGE_JOINED_PRIMARY : MESSAGE_JOINED_SECONDARY);
    message.body.joined.incarnation = member->incarnation;
    message.body.joined.view = context_encode_view(arbiter->context, &arbiter->view);
    context_send(arbiter->context, link, &message);
}

void arbiter_send_view(struct arbiter *arbiter, uint64_t node, uint64_t link)
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

void arbiter_broadcast(struct arbiter *arbiter)
{
    for (uint32_t i = 0; i < arbiter->peers.len; i++) {
        if (arbiter->peers.items[i].link != 0) {
            arbiter_send_view(arbiter, arbiter->peers.items[i].node, arbiter->peers.items[i].link);
        }
    }
}

/* --- changing the view --- */

struct view *arbiter_next(struct arbiter *arbiter)
{
    const struct node_config *config = arbiter->context->config;
    if (arbiter->writing) {
        return NULL;
    }
    struct view *next = &arbiter->next;
    *next = arbiter->view;
    next->number++;
    memset(next->arbiter_uris, 0, sizeof(next->arbiter_uris));
    next->arbiter_uris_len = (uint8_t)config->uris_len;
    for (uint32_t i = 0; i < config->uris_len; i++) {
        memcpy(next->arbiter_uris[i], config->uris[i], strlen(config->uris[i]));
    }
    return next;
}

void arbiter_write(struct arbiter *arbiter)
{
    struct bytes_view encoded = context_encode_view(arbiter->context, &arbiter->next);
    struct effect *effect = effects_add(arbiter->context->effects, EFFECT_REGISTRY_WRITE);
    effect->as.registry_write.expected = arbiter->stored;
    effect->as.registry_write.number = arbiter->next.number;
    effect->as.registry_write.bytes = encoded.at;
    effect->as.registry_write.len = encoded.len;
    arbiter->writing = true;
    arbiter->write_failed = false;
}

void arbiter_propose(struct arbiter *arbiter)
{
    arbiter_write(arbiter);
    if (BUG(registry_late)) {
        arbiter->view = arbiter->next;
        arbiter_broadcast(arbiter);
    }
}

void arbiter_install(struct arbiter *arbiter, const struct view *view)
{
    uint64_t now_ms = arbiter->context->now_ms;
    if (view->primary != arbiter->view.primary) {
        arbiter->primary_ms = now_ms;
    }
    bool may_lose = view->primary != arbiter->view.primary && view->ack != ACK_DURABLE;
    if (view->forced != arbiter->view.forced || may_lose) {
        /* What was committed before it may be lost: no store has to have it any more. */
        for (uint32_t i = 0; i < arbiter->peers.len; i++) {
            arbiter->peers.items[i].committed = 0;
        }
    }
    arbiter->view = *view;
    arbiter->view_ms = now_ms;
    for (uint32_t i = 0; i < arbiter->peers.len; i++) {
        struct arbiter_peer *peer = &arbiter->peers.items[i];
        const struct member *member = view_find(view, peer->node);
        if (member != NULL && member->incarnation == peer->incarnation) {
            peer->joining = false;
        }
    }
    const struct member *primary = view_find(view, view->primary);
    struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, view->primary);
    if (primary != NULL && peer != NULL && primary->joined == view->number) {
        peer->current_ms = now_ms;
    }
    effects_note(arbiter->context->effects, NOTE_INFO,
                 "view-made number=%llu members=%u in_sync=%u", (unsigned long long)view->number,
                 view->members_len, view_in_sync_len(view));
    arbiter_broadcast(arbiter);
}

struct member *arbiter_member(struct view *view, uint64_t node)
{
    for (uint32_t i = 0; i < view->members_len; i++) {
        if (view->members[i].node == node) {
            return &view->members[i];
        }
    }
    return NULL;
}

void arbiter_name_primary(struct arbiter *arbiter, struct view *next, uint64_t node)
{
    const struct arbiter_peer *peer = arbiter_peers_find(&arbiter->peers, node);
    next->primary = node;
    next->ack = peer != NULL && peer->ack != 0 ? peer->ack : next->ack;
    for (uint32_t i = 0; i < next->members_len; i++) {
        next->members[i].joined = next->number;
    }
}

void arbiter_remove(struct arbiter *arbiter, uint64_t node, const char *why)
{
    struct view *next = arbiter_next(arbiter);
    if (next == NULL) {
        return;
    }
    struct member *member = arbiter_member(next, node);
    KV_CHECK(member != NULL && node != next->primary);
    effects_note(arbiter->context->effects, NOTE_INFO, "member-out name=%s reason=%s", member->name,
                 why);
    struct member *end = &next->members[next->members_len];
    memmove(member, member + 1, (size_t)(end - (member + 1)) * sizeof(*member));
    next->members_len--;
    arbiter_propose(arbiter);
}

void arbiter_release(struct arbiter *arbiter, const struct member *member, const char *why)
{
    if (member->state == MEMBER_CANDIDATE || BUG(drop_unasked)) {
        arbiter_remove(arbiter, member->node, why);
        return;
    }
    const struct arbiter_peer *primary = arbiter_peers_find(&arbiter->peers, arbiter->view.primary);
    if (primary != NULL) {
        struct message message = arbiter_message(arbiter, MESSAGE_SUSPECT);
        message.body.member.node = member->node;
        message.body.member.joined = member->joined;
        context_send(arbiter->context, primary->link, &message);
    }
}

/* --- elections --- */

struct election_input arbiter_election_input(const struct arbiter *arbiter)
{
    const struct node_config *config = arbiter->context->config;
    struct election_input input = {
        .view = &arbiter->view,
        .peers = &arbiter->peers,
        .committed = arbiter_peers_committed(&arbiter->peers, &arbiter->view),
        .now_ms = arbiter->context->now_ms,
        .started_ms = arbiter->started_ms,
        .view_ms = arbiter->view_ms,
        .primary_ms = arbiter->primary_ms,
        .replica_timeout_ms = config->replica_timeout_ms,
        .return_wait_ms = config->return_wait_ms,
    };
    return input;
}

bool arbiter_primary_is_current(const struct arbiter *arbiter)
{
    struct election_input input = arbiter_election_input(arbiter);
    return election_primary_is_current(&input);
}

bool arbiter_is_live(const struct arbiter *arbiter, const struct member *member)
{
    struct election_input input = arbiter_election_input(arbiter);
    return election_standing(&input, member) == STANDING_LIVE;
}

const char *arbiter_names(struct arbiter *arbiter, uint64_t members)
{
    char *names = arena_alloc(&arbiter->context->effects->arena, NAMES_BYTES_MAX);
    size_t len = 0;
    names[0] = '\0';
    for (uint32_t i = 0; i < arbiter->view.members_len; i++) {
        if ((members >> i & 1) == 0) {
            continue;
        }
        const char *name = arbiter->view.members[i].name;
        if (len + strlen(name) + sizeof(",,...") > NAMES_BYTES_MAX) {
            snprintf(names + len, NAMES_BYTES_MAX - len, ",...");
            break;
        }
        len +=
            (size_t)snprintf(names + len, NAMES_BYTES_MAX - len, "%s%s", len == 0 ? "" : ",", name);
    }
    return names;
}

bool arbiter_hears_foreign(const struct arbiter *arbiter)
{
    uint64_t silence_ms = arbiter->context->now_ms - arbiter->foreign.heard_ms;
    return arbiter->view.number == 0 && arbiter->foreign.heard_ms != 0 &&
           silence_ms < FOREIGN_TIMEOUTS * (uint64_t)arbiter->context->config->replica_timeout_ms;
}

static void arbiter_note_waiting(struct arbiter *arbiter, const struct election *election)
{
    uint64_t view = arbiter->view.number;
    if (arbiter->waiting_view == view && arbiter->waiting_missing == election->missing &&
        arbiter->waiting_lost == election->lost) {
        return; /* it is looked at again and again: told once */
    }
    arbiter->waiting_view = view;
    arbiter->waiting_missing = election->missing;
    arbiter->waiting_lost = election->lost;
    effects_note(
        arbiter->context->effects, NOTE_WARN, "waiting-for names=%s operator=%s%s%s",
        election->missing == 0 ? "-" : arbiter_names(arbiter, election->missing),
        election->needs_operator ? "needed" : "not-needed",
        election->lost == 0 ? "" : " reason=data-lost:", arbiter_names(arbiter, election->lost));
}

void arbiter_elect(struct arbiter *arbiter)
{
    struct election election;
    struct election_input input = arbiter_election_input(arbiter);
    arbiter->election_ms = UINT64_MAX;
    if (arbiter->writing) {
        return; /* looked at again when it is written */
    }
    election_decide(&input, &election);
    arbiter->election_ms = election.again_ms;
    if (election.verdict == ELECTION_WAIT) {
        arbiter_note_waiting(arbiter, &election);
    }
    struct view *next = election.verdict == ELECTION_CHOOSE ? arbiter_next(arbiter) : NULL;
    if (next == NULL) {
        return;
    }
    election_apply(&input, election.node, next);
    context_count(arbiter->context, COUNTER_elections);
    effects_note(arbiter->context->effects, NOTE_INFO,
                 "election name=%s position=%llu/%llu reason=%s",
                 view_find(next, election.node)->name, (unsigned long long)election.position.view,
                 (unsigned long long)election.position.index, election.reason);
    arbiter_propose(arbiter);
}

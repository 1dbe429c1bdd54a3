#include "logic/membership.h"

#include "base/check.h"
#include "logic/handover.h"
#include "logic/members.h"
#include "logic/primary.h"
#include "logic/requests.h"
#include "logic/secondary.h"

#include <stdio.h>
#include <string.h>

/* A Join, a Heartbeat and a Leave are repeated: nothing else is needed against their loss. */
#define HEARTBEATS_PER_REPLICA_TIMEOUT 4u

#define REJOIN_BACKOFF_MS_MAX          1000u

/* After so many replica_timeouts without a word of the arbiter it is asked for one, and then it is
 * looked for elsewhere as well, an address for each further replica_timeout. */
#define ASK_TIMEOUTS   2u
#define PROBE_TIMEOUTS 3u

/* A clean stop that does not come through ends after this, in operation_timeouts. */
#define LEAVE_OPERATION_TIMEOUTS 5u

/* Also soon enough to find that a View was lost, however long replica_timeout_ms is: until its
 * primary has the new one, a cluster stands still. */
static uint64_t membership_heartbeat_ms(const struct replica *replica)
{
    const struct node_config *config = replica->context->config;
    uint64_t often_ms = config->replica_timeout_ms / HEARTBEATS_PER_REPLICA_TIMEOUT;
    uint64_t ms = often_ms < 2ull * config->retransmit_ms ? often_ms : 2ull * config->retransmit_ms;
    return ms == 0 ? 1 : ms;
}

void membership_stop(struct replica *replica, int exit_status, const char *reason)
{
    if (replica->membership.stopped) {
        return;
    }
    replica->membership.stopped = true;
    requests_reject_waiting(replica, REJECT_LEAVING);
    primary_fail_waiting(replica);
    struct effect *effect = effects_add(replica->context->effects, EFFECT_STOP);
    effect->as.stop.exit_status = exit_status;
    effect->as.stop.reason = reason;
}

/* --- the arbiter's address --- */

static void membership_open(struct replica *replica, const char *const *uris, uint32_t uris_len)
{
    struct membership *membership = &replica->membership;
    context_close_link(replica->context, membership->arbiter);
    snprintf(membership->arbiter_uri, sizeof(membership->arbiter_uri), "%s",
             uris_len == 1 ? uris[0] : "");
    membership->arbiter_ms = replica->context->now_ms;
    membership->arbiter = context_open_link(replica->context, uris, uris_len);
}

/* Where the arbiter, or somebody who knows where it is, may be found: the address in the
 * configuration, those that a view told, then the other members' (in this node's own place, the one
 * in use). NULL: beyond the last. */
static const char *membership_address(const struct replica *replica, uint32_t place)
{
    const struct membership *membership = &replica->membership;
    const struct view *view = &replica->view;
    if (place == 0) {
        return replica->context->config->arbiter_uri;
    }
    if (place <= membership->told_uris_len) {
        return membership->told_uris[place - 1];
    }
    place -= 1u + membership->told_uris_len;
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct member *member = &view->members[i];
        if (place < member->uris_len) {
            bool is_self = member->node == replica->context->config->node;
            return is_self ? membership->arbiter_uri : member->uris[place];
        }
        place -= member->uris_len;
    }
    return NULL;
}

static void membership_close_probe(struct replica *replica)
{
    context_close_link(replica->context, replica->membership.probe);
    replica->membership.probe = 0;
}

/* The next address, if it is not the one in use. */
static void membership_open_probe(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    const char *uri = membership_address(replica, ++membership->probe_place);
    if (uri == NULL) {
        membership->probe_place = 0;
        uri = membership_address(replica, 0);
    }
    membership_close_probe(replica);
    membership->probe_ms = replica->context->now_ms;
    if (strcmp(uri, membership->arbiter_uri) != 0 && uri[0] != '\0') {
        snprintf(membership->probe_uri, sizeof(membership->probe_uri), "%s", uri);
        membership->probe = context_open_link(replica->context, &uri, 1);
    }
}

/* The arbiter has answered over the probe: this is the link to it now. */
static void membership_take_probe(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    context_close_link(replica->context, membership->arbiter);
    memcpy(membership->arbiter_uri, membership->probe_uri, sizeof(membership->arbiter_uri));
    membership->arbiter = membership->probe;
    membership->probe = 0;
}

/* It listens elsewhere than was told before: goes there, and says so once. */
static void membership_follow(struct replica *replica, const struct view *view)
{
    struct membership *membership = &replica->membership;
    const char *config_uri = replica->context->config->arbiter_uri;
    bool is_configured = false;
    bool is_in_use = false;
    bool is_first = membership->told_view == 0;
    if (view->number <= membership->told_view || view->arbiter_uris_len == 0) {
        return;
    }
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        const char *uri = view->arbiter_uris[i];
        is_configured = is_configured || strcmp(uri, config_uri) == 0;
        is_in_use = is_in_use || strcmp(uri, membership->arbiter_uri) == 0;
    }
    bool is_same = view->arbiter_uris_len == membership->told_uris_len &&
                   memcmp(view->arbiter_uris, membership->told_uris,
                          view->arbiter_uris_len * sizeof(view->arbiter_uris[0])) == 0;
    memcpy(membership->told_uris, view->arbiter_uris, sizeof(membership->told_uris));
    membership->told_uris_len = view->arbiter_uris_len;
    membership->told_view = view->number;
    if (is_first || is_same || is_in_use) {
        return;
    }
    if (!is_configured) {
        effects_note(replica->context->effects, NOTE_WARN,
                     "arbiter-moved from=%s to=%s advice=\"change node.arbiter before this node is "
                     "started again\"",
                     config_uri, view->arbiter_uris[0]);
    }
    /* Whichever of them this node has a transport for. */
    const char *uris[URIS_MAX];
    for (uint32_t i = 0; i < view->arbiter_uris_len; i++) {
        uris[i] = membership->told_uris[i];
    }
    membership_close_probe(replica);
    membership_open(replica, uris, membership->told_uris_len);
}

/* The arbiter has said nothing for so many replica_timeouts. It speaks only when something changes,
 * or when it is asked. */
static bool membership_is_unheard(const struct replica *replica, uint64_t timeouts)
{
    uint64_t silent_ms = replica->context->now_ms - replica->membership.arbiter_ms;
    return silent_ms >= timeouts * replica->context->config->replica_timeout_ms;
}

/* --- what is sent --- */

static void membership_send_join(struct replica *replica, uint64_t link)
{
    const struct node_config *config = replica->context->config;
    struct message join = context_message(replica->context, MESSAGE_JOIN);
    join.body.join.incarnation = replica->membership.incarnation;
    join.body.join.starts = config->starts;
    join.body.join.ack = (uint8_t)config->ack;
    join.body.join.durable = replica->persister.stored;
    join.body.join.name.at = (const uint8_t *)config->name;
    join.body.join.name.len = strlen(config->name);
    join.body.join.uris_len = config->uris_len;
    for (uint32_t i = 0; i < config->uris_len; i++) {
        join.body.join.uris[i].at = (const uint8_t *)config->uris[i];
        join.body.join.uris[i].len = strlen(config->uris[i]);
    }
    context_send(replica->context, link, &join);
}

static void membership_send_heartbeat(struct replica *replica, uint64_t link)
{
    struct message beat = context_message(replica->context, MESSAGE_HEARTBEAT);
    beat.body.heartbeat.incarnation = replica->membership.incarnation;
    beat.body.heartbeat.last = log_last(replica->log);
    beat.body.heartbeat.asks = replica->role == ROLE_SECONDARY && replica->secondary.asked ? 1 : 0;
    beat.body.heartbeat.durable_index = replica_durable_index(replica);
    /* The arbiter takes no primary back whose store has less: so only what is in a store counts. */
    beat.body.heartbeat.committed_index =
        context_earlier(replica_known_index(replica), replica_durable_index(replica));
    if (membership_is_unheard(replica, ASK_TIMEOUTS)) {
        /* One that knows no view is told: so the arbiter answers, if it is there. */
        beat.view = 0;
        context_send(replica->context, link, &beat);
        beat.view = replica->context->view;
        if (beat.body.heartbeat.asks == 0) {
            return;
        }
    }
    context_send(replica->context, link, &beat);
}

static void membership_send_leave(struct replica *replica)
{
    const char *name = replica->context->config->name;
    struct message leave = context_message(replica->context, MESSAGE_LEAVE);
    leave.body.leave.incarnation = replica->membership.incarnation;
    leave.body.leave.name.at = (const uint8_t *)name;
    leave.body.leave.name.len = strlen(name);
    context_send(replica->context, replica->membership.arbiter, &leave);
}

/* A primary that nobody can take the place of. */
static bool membership_is_alone(const struct replica *replica)
{
    return replica->role == ROLE_PRIMARY && view_in_sync_len(&replica->view) == 1;
}

/* Asked by an operator to leave the view, and meanwhile the others have gone: nobody can take its
 * place any more, so it stays, and takes updates again. */
static void membership_stay(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    if (membership->leaving && !membership->stops && membership_is_alone(replica)) {
        effects_note(replica->context->effects, NOTE_WARN, "leave-given-up reason=\"%s\"",
                     message_reject_text(REJECT_IS_PRIMARY));
        membership->leaving = false;
    }
}

/* Sends what is due in this state, and says when to do so again. */
static void membership_send(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    uint64_t again_ms = replica->context->config->retransmit_ms;
    if (membership->leaving && membership->joined && !membership_is_alone(replica)) {
        membership_send_leave(replica); /* a primary is then asked to hand over */
    }
    if (membership->joined) {
        membership_send_heartbeat(replica, membership->arbiter);
        again_ms = membership_heartbeat_ms(replica);
    } else if (!membership->leaving && persister_idle(&replica->persister)) {
        /* Only then: a store that takes nothing would gather one session's jobs after the other. */
        membership_send_join(replica, membership->arbiter);
    } else if (membership->leaving) {
        again_ms = membership_heartbeat_ms(replica); /* it stays out: nothing is due */
    }
    membership->next_ms = replica->context->now_ms + again_ms;
}

void membership_send_now(struct replica *replica)
{
    if (replica->membership.joined) {
        membership_send_heartbeat(replica, replica->membership.arbiter);
    }
}

static void membership_send_probe(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    if (membership->joined) {
        membership_send_heartbeat(replica, membership->probe);
    } else if (!membership->leaving && persister_idle(&replica->persister)) {
        membership_send_join(replica, membership->probe);
    }
}

/* --- views --- */

static void membership_note_view(const struct replica *replica)
{
    const struct view *view = &replica->view;
    const struct member *primary = view_find(view, view->primary);
    uint32_t in_sync = view_in_sync_len(view);
    effects_note(replica->context->effects, NOTE_INFO,
                 "view number=%llu primary=%s in_sync=%u candidates=%u",
                 (unsigned long long)view->number, primary == NULL ? "-" : primary->name, in_sync,
                 view->members_len - in_sync);
}

static void membership_note_role(const struct replica *replica)
{
    effects_note(replica->context->effects, NOTE_INFO, "role role=%s view=%llu",
                 message_role_name((uint8_t)replica->role),
                 (unsigned long long)replica->view.number);
}

static void membership_become(struct replica *replica, const struct member *self)
{
    enum node_role before = replica->role;
    bool is_primary = self != NULL && replica->view.primary == self->node;
    if (before == ROLE_PRIMARY && !is_primary) {
        primary_stop(replica);
    }
    if (is_primary) {
        if (before == ROLE_PRIMARY) {
            primary_on_view(replica);
        } else {
            primary_start(replica);
        }
    } else if (self != NULL) {
        secondary_start(replica, self->joined);
        secondary_on_view(replica);
        replica->role = self->state == MEMBER_IN_SYNC ? ROLE_SECONDARY : ROLE_CANDIDATE;
    } else {
        secondary_stop(replica);
        replica->role = ROLE_JOINING;
    }
    if (replica->role != before) {
        membership_note_role(replica);
    }
    membership_stay(replica);
    replica_tell_ready(replica);
    requests_take_waiting(replica);
}

/* A view says something about this process only when it names this very incarnation. */
static const struct member *membership_self(const struct replica *replica, const struct view *view)
{
    const struct member *self = view_find(view, replica->context->config->node);
    return self != NULL && self->incarnation == replica->membership.incarnation ? self : NULL;
}

/* Taken out for the first time it joins again at once; then after pauses that double, since every
 * join costs the others a view and the primary a transfer. */
static uint64_t membership_next_backoff_ms(const struct replica *replica)
{
    uint64_t backoff_ms = 2 * replica->membership.backoff_ms;
    uint64_t most_ms = replica->refused[0] == '\0' ? REJOIN_BACKOFF_MS_MAX : REFUSED_BACKOFF_MS_MAX;
    if (backoff_ms == 0) {
        return replica->context->config->retransmit_ms;
    }
    return backoff_ms < most_ms ? backoff_ms : most_ms;
}

/* Out of the view: it begins anew, as another incarnation, unless it wanted to go. */
static void membership_start_over(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    membership->joined = false;
    membership->incarnation++;
    membership->next_ms = replica->context->now_ms + membership->backoff_ms;
    membership->backoff_ms = membership_next_backoff_ms(replica);
}

void membership_rejoin(struct replica *replica)
{
    if (!replica->membership.joined) {
        return;
    }
    if (replica->membership.backoff_ms == 0) {
        replica->membership.backoff_ms = membership_next_backoff_ms(replica);
    }
    membership_start_over(replica);
    membership_become(replica, NULL);
}

static void membership_install(struct replica *replica, const struct view *view)
{
    struct membership *membership = &replica->membership;
    struct context *context = replica->context;
    const struct member *self = membership_self(replica, view);
    if (view->number <= replica->view.number || (self == NULL && !membership->joined)) {
        return;
    }
    if (context->cluster != 0 && view->cluster != context->cluster) {
        context_count(context, COUNTER_messages_foreign_cluster);
        return;
    }
    if (view->number < replica->loaded_position.view) {
        membership_stop(replica, EXIT_JOIN_FAILED,
                        "the arbiter's view is older than this node's data: its state was lost "
                        "or restored from an older copy");
        return;
    }
    if (context->cluster == 0) {
        context->cluster = view->cluster;
        if (self == NULL || self->node != view->primary) { /* the primary: see primary_start() */
            effects_add(context->effects, EFFECT_IDENTITY)->as.identity.cluster = view->cluster;
        }
    }
    bool is_forced = view->forced != replica->view.forced;
    replica->view = *view;
    context->view = view->number;
    context_count(context, COUNTER_views_installed);
    membership_note_view(replica);
    if (self == NULL) {
        membership_start_over(replica);
    } else if (!membership->joined) {
        membership->joined = true;
        membership->ever_joined = true;
        membership->next_ms = context->now_ms;
    }
    if (self != NULL && self->state == MEMBER_IN_SYNC) {
        membership->backoff_ms = 0;
        replica->refused[0] = '\0';
    }
    membership_become(replica, view_find(&replica->view, self == NULL ? 0 : self->node));
    if (is_forced) {
        replica->secondary.announced = 0; /* what was committed may be lost: the operator knows */
    }
}

static void membership_on_view(struct replica *replica, struct bytes_view bytes)
{
    struct view view;
    if (view_decode(bytes.at, bytes.len, &view) != KV_OK) {
        context_count(replica->context, COUNTER_messages_malformed);
        return;
    }
    if (replica->context->cluster == 0 || view.cluster == replica->context->cluster) {
        membership_follow(replica, &view);
    }
    membership_install(replica, &view);
}

static void membership_on_rejected(struct replica *replica, const struct message *message)
{
    struct membership *membership = &replica->membership;
    if (membership->joined || !membership->started || membership->leaving ||
        message->body.join_rejected.incarnation != membership->incarnation) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    struct bytes_view text = message->body.join_rejected.text;
    char refusal[sizeof(membership->refusal)];
    snprintf(refusal, sizeof(refusal), "%.*s", (int)text.len,
             text.len == 0 ? "" : (const char *)text.at);
    if (strcmp(refusal, membership->refusal) != 0) { /* it is asked again and again: told once */
        memcpy(membership->refusal, refusal, sizeof(refusal));
        effects_note(replica->context->effects, NOTE_WARN,
                     "join-rejected reason=\"%s\" text=\"%s\"",
                     message_reject_text(message->body.join_rejected.reason),
                     context_quotable(replica->context, refusal, strlen(refusal)));
    }
    if (message->body.join_rejected.reason == REJECT_NOT_READY) {
        membership->started_ms = replica->context->now_ms; /* it is asked to wait, not refused */
    }
    if (message->body.join_rejected.reason == REJECT_COPY) {
        struct effect *effect = effects_add(replica->context->effects, EFFECT_IDENTITY);
        effect->as.identity.cluster = replica->context->cluster;
        effect->as.identity.is_copy = true;
    }
    if (message->body.join_rejected.retry == 0) {
        membership_stop(replica, EXIT_JOIN_FAILED, "the arbiter does not let this node join");
    }
}

void membership_on_message(struct replica *replica, uint64_t link, const struct message *message)
{
    struct membership *membership = &replica->membership;
    /* A member tells of a view with a Located, so this is an arbiter's word. */
    if (link == membership->probe && message->type != MESSAGE_LOCATED) {
        membership_take_probe(replica);
    }
    if (link == membership->arbiter) {
        membership->arbiter_ms = replica->context->now_ms;
        membership_close_probe(replica);
    }
    switch (message->type) {
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
        /* For another incarnation it still is the newest view, which may say that this one is out.
         */
        if (membership->started) {
            membership_on_view(replica, message->body.joined.view);
        }
        break;
    case MESSAGE_REPLICAS:
        if (membership->started) {
            membership_on_view(replica, message->body.replicas.view);
        }
        break;
    case MESSAGE_LOCATED:
        if (membership->started) {
            membership_on_view(replica, message->body.located.view);
        }
        break;
    case MESSAGE_JOIN_REJECTED:
        membership_on_rejected(replica, message);
        break;
    case MESSAGE_SUSPECT:
        members_on_release(replica, message);
        break;
    case MESSAGE_HANDOVER:
        handover_on_message(replica, message);
        break;
    case MESSAGE_LEAVE:
        if (message->body.leave.name.len == strlen(replica->context->config->name) &&
            memcmp(message->body.leave.name.at, replica->context->config->name,
                   message->body.leave.name.len) == 0) {
            /* A process that is the arbiter too goes on as that alone. */
            membership_leave(replica, !replica->context->config->is_arbiter);
        }
        break;
    default:
        KV_CHECK(false);
    }
}

/* --- life --- */

void membership_init(struct replica *replica)
{
    struct context *context = replica->context;
    replica->membership.incarnation = context->config->incarnation;
    membership_open(replica, &context->config->arbiter_uri, 1);
}

void membership_start(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    membership->started = true;
    membership->started_ms = replica->context->now_ms;
    membership_send(replica);
}

void membership_leave(struct replica *replica, bool stops)
{
    struct membership *membership = &replica->membership;
    const struct node_config *config = replica->context->config;
    if (membership->leaving && (membership->stops || !stops)) {
        return;
    }
    membership->leaving = true;
    membership->stops = stops;
    membership->leave_until_ms = replica->context->now_ms +
                                 LEAVE_OPERATION_TIMEOUTS * (uint64_t)config->operation_timeout_ms;
    effects_note(replica->context->effects, NOTE_INFO, "leaving role=%s",
                 message_role_name((uint8_t)replica->role));
    membership_send(replica);
    membership_tick(replica);
}

void membership_on_link_up(struct replica *replica, uint64_t link)
{
    if (link == replica->membership.arbiter && replica->membership.started) {
        membership_send(replica);
    } else if (link == replica->membership.probe && replica->membership.started) {
        membership_send_probe(replica);
    }
}

/* A clean stop is complete: out of the view (a primary: all answered), and everything stored. */
static bool membership_has_left(const struct replica *replica)
{
    if (replica->role == ROLE_PRIMARY) {
        return membership_is_alone(replica) && primary_is_idle(replica);
    }
    return !replica->membership.joined && persister_idle(&replica->persister);
}

static void membership_give_up(struct replica *replica)
{
    const struct node_config *config = replica->context->config;
    const char *refusal = replica->membership.refusal;
    char text[2 * TEXT_MAX + 128];
    int len = snprintf(
        text, sizeof(text),
        "could not join at the arbiter %s in %u ms (replication.join_timeout_ms): %s",
        config->arbiter_uri, config->join_timeout_ms, refusal[0] == '\0' ? "no answer" : refusal);
    KV_CHECK(len > 0);
    char *reason = arena_alloc(&replica->context->effects->arena, sizeof(text));
    memcpy(reason, text, sizeof(text));
    membership_stop(replica, EXIT_JOIN_FAILED, reason);
}

void membership_tick(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    const struct node_config *config = replica->context->config;
    uint64_t now_ms = replica->context->now_ms;
    if (membership->leaving && membership->stops) {
        if (membership_has_left(replica)) {
            membership_stop(replica, EXIT_DONE, "left");
        } else if (now_ms >= membership->leave_until_ms) {
            membership_stop(replica, EXIT_DONE,
                            "stopped before the arbiter answered, or with "
                            "updates that the store did not take in time");
        }
    } else if (membership->started && !membership->ever_joined && config->join_timeout_ms > 0 &&
               now_ms - membership->started_ms >= config->join_timeout_ms) {
        membership_give_up(replica);
    }
    if (membership->started && now_ms >= membership->next_ms) {
        membership_send(replica);
    }
    if (membership->started && membership_is_unheard(replica, PROBE_TIMEOUTS) &&
        now_ms - membership->probe_ms >= config->replica_timeout_ms) {
        membership_open_probe(replica);
    }
}

uint64_t membership_wake_ms(const struct replica *replica)
{
    const struct membership *membership = &replica->membership;
    uint64_t wake_ms = membership->started ? membership->next_ms : UINT64_MAX;
    if (membership->leaving && membership->stops && !membership->stopped) {
        wake_ms = context_earlier(wake_ms, membership->leave_until_ms);
    }
    return wake_ms;
}

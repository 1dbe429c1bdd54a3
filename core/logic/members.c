#include "logic/members.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"
#include "logic/primary.h"
#include "logic/resume.h"

struct replicator *members_find(const struct primary *primary, uint64_t node)
{
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        if (primary->replicators[i]->node == node) {
            return primary->replicators[i];
        }
    }
    return NULL;
}

static void members_add(struct replica *replica, const struct member *member)
{
    struct primary *primary = &replica->primary;
    KV_CHECK(primary->replicators_len < MEMBERS_MAX);
    struct replicator *replicator = alloc_bytes(sizeof(*replicator));
    /* One in sync has what was committed before this node became primary, but no more is known of
     * it before it has resumed. */
    uint64_t durable_index = primary_source(replica).committed;
    if (BUG(vouch_early)) {
        durable_index = log_last_index(replica->log);
    }
    replicator_init(replicator, replica->context, member->node, member->joined,
                    routes_open_link(&primary->routes, replica->context, member), durable_index);
    replicator->in_sync = member->state == MEMBER_IN_SYNC;
    replicator->counted = replicator->in_sync;
    primary->replicators[primary->replicators_len++] = replicator;
}

static void members_drop(struct replica *replica, uint32_t place)
{
    struct primary *primary = &replica->primary;
    replicator_close(primary->replicators[place], replica->context);
    alloc_free(primary->replicators[place]);
    primary->replicators[place] = primary->replicators[--primary->replicators_len];
}

static void members_send_view(struct replica *replica, const struct replicator *replicator)
{
    struct message message = context_message(replica->context, MESSAGE_REPLICAS);
    message.body.replicas.view = context_encode_view(replica->context, &replica->view);
    context_send(replica->context, replicator->link, &message);
}

static void members_send_all(struct replica *replica, struct replicator *replicator)
{
    if (replicator->abandoned) {
        return;
    }
    struct replicator_source source = primary_source(replica);
    members_send_view(replica, replicator);
    replicator_resend(replicator, replica->context, &source);
}

/* The mistake of BUG(waive_stayers). */
static void members_waive_all(struct replica *replica)
{
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        replica->primary.replicators[i]->durable_index = log_last_index(replica->log);
    }
}

void members_on_view(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    for (uint32_t i = 0; i < primary->replicators_len;) {
        const struct replicator *replicator = primary->replicators[i];
        const struct member *member = view_find(&replica->view, replicator->node);
        if (member == NULL || member->joined != replicator->session) {
            routes_on_session_end(&primary->routes, replicator);
            members_drop(replica, i);
            if (BUG(waive_stayers)) {
                members_waive_all(replica);
            }
        } else {
            i++;
        }
    }
    for (uint32_t i = 0; i < replica->view.members_len; i++) {
        const struct member *member = &replica->view.members[i];
        if (member->node == replica->context->config->node) {
            continue;
        }
        struct replicator *replicator = members_find(primary, member->node);
        if (replicator == NULL) {
            members_add(replica, member);
            continue;
        }
        replicator->in_sync = member->state == MEMBER_IN_SYNC;
        replicator->counted = replicator->counted || replicator->in_sync;
        /* What it ignored because the view was over, or not known there yet, comes again. */
        members_send_all(replica, replicator);
    }
}

/* Tells the arbiter, and again every retransmit_ms until a view shows that it knows. */
static void members_report(struct replica *replica, struct replicator *replicator, uint8_t type)
{
    struct context *context = replica->context;
    if (replicator->reported_ms != 0 &&
        context->now_ms - replicator->reported_ms < context->config->retransmit_ms) {
        return;
    }
    replicator->reported_ms = context->now_ms;
    struct message message = context_message(context, type);
    message.body.member.node = replicator->node;
    message.body.member.joined = replicator->session;
    context_send(context, replica->membership.arbiter, &message);
}

static void members_suspect(struct replica *replica, struct replicator *replicator)
{
    struct context *context = replica->context;
    if (!replicator->suspected) {
        const struct member *member = view_find(&replica->view, replicator->node);
        effects_note(context->effects, NOTE_WARN, "member-suspected name=%s reason=%s",
                     member == NULL ? "?" : member->name,
                     replicator->abandoned  ? "too-far-behind"
                     : replicator->refuses  ? "its-store-refuses-what-is-committed"
                     : replicator->behind   ? "the-log-does-not-lead-to-it"
                     : replicator->released ? "the-arbiter-asks-for-it"
                                            : "silent");
        context_count(context, COUNTER_members_suspected);
        replicator->suspected = true;
        replicator->reported_ms = 0;
    }
    members_report(replica, replicator, MESSAGE_SUSPECT);
}

/* A candidate that has caught up counts from now on, before anybody is told that it is in sync: so
 * each update acknowledged from here on is in its store, whichever view the arbiter makes next. */
void members_promote(struct replica *replica, struct replicator *replicator)
{
    if (!replicator->counted && !replicator_is_close(replicator, replica->log)) {
        return;
    }
    if (!replicator->counted && !BUG(commit_without_candidate)) {
        replicator->counted = true;
        replicator->counted_from = replica->committed;
    }
    bool has_all = replicator->durable_index >= replicator->counted_from;
    if ((has_all && replica->primary.marked) || BUG(commit_without_candidate)) {
        members_report(replica, replicator, MESSAGE_CAUGHT_UP);
    }
}

/* A candidate on whose account alone the log is kept so far back that it takes half of its limit:
 * writers must not pay for it. What is not committed yet is the writers' own. */
static bool members_is_burden(const struct replica *replica, const struct replicator *replicator)
{
    uint64_t burden_max = replica->context->config->limits.inflight_bytes / 2;
    if (replicator->counted || replicator->abandoned || !replicator->begun ||
        log_bytes(replica->log) <= burden_max) {
        return false;
    }
    uint64_t bytes = 0;
    uint64_t index = replicator->durable_index + 1;
    index = index < log_first_index(replica->log) ? log_first_index(replica->log) : index;
    for (; index <= replica->committed && bytes <= burden_max; index++) {
        bytes += log_record_bytes(replica->log, index);
    }
    return bytes > burden_max;
}

void members_check(struct replica *replica, struct replicator *replicator)
{
    if (members_is_burden(replica, replicator)) {
        replicator->abandoned = true;
    }
    if (replicator->abandoned || replicator->refuses || replicator->behind ||
        replicator->released || replicator_is_silent(replicator, replica->context)) {
        members_suspect(replica, replicator);
    } else if (!replicator->in_sync) {
        members_promote(replica, replicator);
    }
}

/* So many candidates fetch content; more of them would only slow each other down. */
static bool members_may_fetch(const struct primary *primary)
{
    uint32_t joiners = 0;
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        joiners += replicator->begun && !replicator->complete && !replicator->counted ? 1u : 0u;
    }
    return joiners < JOINERS_MAX;
}

void members_on_resume(struct replica *replica, uint64_t link, const struct message *message)
{
    struct replicator *replicator = members_find(&replica->primary, message->sender);
    if (replicator == NULL || replicator->link != link || replicator->abandoned ||
        message->body.resume.session != replicator->session) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    replicator_hear(replicator, replica->context);
    if (replicator->begun || replicator->behind) {
        return; /* BEGIN is on its way */
    }
    struct kv_position committed = {replica->committed_view, replica->committed};
    bool drops;
    struct replicator_start start = resume_choose(replica->log, committed, message, &drops);
    if (!replicator->in_sync && start.tail != TAIL_NONE &&
        message->body.resume.committed.index > committed.index) {
        /* Its content is fixed beyond what is committed here, and may have to be compared with a
         * state that cannot be reached without it: it fetches what differs now. */
        start = (struct replicator_start){
            .as_of = committed, .tail = TAIL_NONE, .base = start.as_of.index};
    }
    if (replicator->in_sync && (start.tail == TAIL_NONE || drops)) {
        /* Nothing may go from the store of one that counts: it comes again as a candidate. */
        replicator->behind = true;
        members_check(replica, replicator);
    } else if (start.tail != TAIL_NONE || members_may_fetch(&replica->primary)) {
        if (start.tail != TAIL_NONE && replica->primary.loaded) {
            start.tail = TAIL_COMPARE;
        }
        struct replicator_source source = primary_source(replica);
        replicator_begin(replicator, replica->context, &source, &start);
    }
}

void members_on_release(struct replica *replica, const struct message *message)
{
    struct replicator *replicator = replica->role == ROLE_PRIMARY
                                        ? members_find(&replica->primary, message->body.member.node)
                                        : NULL;
    if (replicator == NULL || replicator->session != message->body.member.joined) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    replicator->released = true;
    members_check(replica, replicator);
}

void members_probe(struct replica *replica)
{
    struct replicator_source source = primary_source(replica);
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        replicator_probe(replica->primary.replicators[i], replica->context, &source);
    }
}

void members_on_link_up(struct replica *replica, uint64_t link)
{
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        if (replica->primary.replicators[i]->link == link) {
            members_send_all(replica, replica->primary.replicators[i]);
        }
    }
}

void members_forgive(struct replica *replica)
{
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        replicator_forgive(replica->primary.replicators[i], replica->context);
    }
}

void members_close(struct replica *replica)
{
    while (replica->primary.replicators_len > 0) {
        members_drop(replica, replica->primary.replicators_len - 1);
    }
}

#include "logic/handover.h"

#include "logic/requests.h"

void handover_on_message(struct replica *replica, const struct message *message)
{
    struct handover *handover = &replica->primary.handover;
    const struct member *member = view_find(&replica->view, message->body.member.node);
    bool fits = replica->role == ROLE_PRIMARY && message->view == replica->view.number &&
                member != NULL && member->state == MEMBER_IN_SYNC &&
                member->joined == message->body.member.joined &&
                member->node != replica->context->config->node;
    if (!fits) {
        context_count(replica->context, COUNTER_messages_unexpected);
        return;
    }
    if (handover->node == member->node) {
        return; /* under way */
    }
    effects_note(replica->context->effects, NOTE_INFO, "handover to=%s", member->name);
    handover->node = member->node;
    handover->joined = member->joined;
    handover->since_ms = replica->context->now_ms;
    handover->told_ms = 0;
    handover_drive(replica);
}

bool handover_holds_updates(const struct replica *replica)
{
    return replica->primary.handover.node != 0;
}

static void handover_tell(struct replica *replica)
{
    struct handover *handover = &replica->primary.handover;
    uint64_t now_ms = replica->context->now_ms;
    if (handover->told_ms != 0 &&
        now_ms - handover->told_ms < replica->context->config->retransmit_ms) {
        return;
    }
    handover->told = true;
    handover->told_ms = now_ms;
    struct message message = context_message(replica->context, MESSAGE_HANDOVER);
    message.body.member.node = handover->node;
    message.body.member.joined = handover->joined;
    context_send(replica->context, replica->membership.arbiter, &message);
}

/* All is committed, and in the store of every member that counts, whatever an acknowledgement asks
 * for. */
static bool handover_is_ready(const struct replica *replica)
{
    uint64_t last = log_last_index(replica->log);
    bool is_ready = replica->committed == last;
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        const struct replicator *replicator = replica->primary.replicators[i];
        is_ready = is_ready && (!replicator->counted || replicator->durable_index == last);
    }
    return is_ready;
}

void handover_drive(struct replica *replica)
{
    struct handover *handover = &replica->primary.handover;
    if (handover->node == 0) {
        return;
    }
    if (replica->context->now_ms - handover->since_ms >=
        replica->context->config->replica_timeout_ms) {
        /* No view came. Updates go on, as nobody else can commit one meanwhile without this node
         * knowing; reads need a fresh word of every member until a view comes (lease.h). */
        effects_note(replica->context->effects, NOTE_WARN, "handover-given-up told=%u",
                     handover->told ? 1u : 0u);
        handover->node = 0;
        requests_take_waiting(replica);
    } else if (replica->primary.settled && handover_is_ready(replica)) {
        handover_tell(replica);
    }
}

uint64_t handover_wake_ms(const struct replica *replica)
{
    const struct handover *handover = &replica->primary.handover;
    if (handover->node == 0) {
        return UINT64_MAX;
    }
    uint64_t give_up_ms = handover->since_ms + replica->context->config->replica_timeout_ms;
    return handover->told_ms == 0
               ? give_up_ms
               : context_earlier(give_up_ms,
                                 handover->told_ms + replica->context->config->retransmit_ms);
}

void handover_on_view(struct replica *replica)
{
    struct handover none = {0};
    bool held = handover_holds_updates(replica);
    replica->primary.handover = none;
    if (held) {
        requests_take_waiting(replica);
    }
}

#include "logic/arbiter_calls.h"

#include "logic/arbiter_change.h"

#include <string.h>

/* Members find an arbiter that is where it was within this time. */
#define CALLS_AFTER_TIMEOUTS 2u

static bool arbiter_has_moved(const struct arbiter *arbiter)
{
    const struct node_config *config = arbiter->context->config;
    if (arbiter->view.arbiter_uris_len != config->uris_len) {
        return true;
    }
    for (uint32_t i = 0; i < config->uris_len; i++) {
        if (strcmp(arbiter->view.arbiter_uris[i], config->uris[i]) != 0) {
            return true;
        }
    }
    return false;
}

void arbiter_start_calls(struct arbiter *arbiter)
{
    const struct node_config *config = arbiter->context->config;
    uint64_t now_ms = arbiter->context->now_ms;
    arbiter->calls_ms = UINT64_MAX;
    if (arbiter->view.number == 0 || config->uris_len == 0) {
        return;
    }
    /* The process before may have ended before all had learned that it moved. */
    arbiter->calls_ms = now_ms + CALLS_AFTER_TIMEOUTS * (uint64_t)config->replica_timeout_ms;
    if (arbiter_has_moved(arbiter) && arbiter_next(arbiter) != NULL) {
        arbiter->calls_ms = now_ms;
        effects_note(arbiter->context->effects, NOTE_INFO, "arbiter-moved to=%s", config->uris[0]);
        arbiter_propose(arbiter);
    }
}

/* Its current process has said something here since this arbiter started. */
static bool arbiter_was_heard(const struct arbiter *arbiter, uint64_t node)
{
    return node == arbiter->context->config->node ||
           arbiter_peers_get(&arbiter->peers, node) != NULL;
}

static void arbiter_hang_up(struct arbiter *arbiter)
{
    for (uint32_t i = 0; i < arbiter->calls_len;) {
        const struct arbiter_call *call = &arbiter->calls[i];
        if (arbiter_was_heard(arbiter, call->node) ||
            view_find(&arbiter->view, call->node) == NULL) {
            context_close_link(arbiter->context, call->link);
            arbiter->calls[i] = arbiter->calls[--arbiter->calls_len];
        } else {
            i++;
        }
    }
}

static void arbiter_call(struct arbiter *arbiter, const struct member *member)
{
    for (uint32_t i = 0; i < arbiter->calls_len; i++) {
        if (arbiter->calls[i].node == member->node) {
            arbiter_send_view(arbiter, member->node, arbiter->calls[i].link);
            return;
        }
    }
    const char *uris[URIS_MAX];
    for (uint32_t i = 0; i < member->uris_len; i++) {
        uris[i] = member->uris[i];
    }
    struct arbiter_call *call = &arbiter->calls[arbiter->calls_len++];
    call->node = member->node;
    call->link = context_open_link(arbiter->context, uris, member->uris_len);
}

void arbiter_tick_calls(struct arbiter *arbiter)
{
    if (arbiter->context->now_ms < arbiter->calls_ms || arbiter->writing) {
        return;
    }
    arbiter_hang_up(arbiter);
    for (uint32_t i = 0; i < arbiter->view.members_len; i++) {
        if (!arbiter_was_heard(arbiter, arbiter->view.members[i].node)) {
            arbiter_call(arbiter, &arbiter->view.members[i]);
        }
    }
    arbiter->calls_ms = arbiter->calls_len == 0 ? UINT64_MAX
                                                : arbiter->context->now_ms +
                                                      arbiter->context->config->replica_timeout_ms;
}

void arbiter_on_call_up(struct arbiter *arbiter, uint64_t link)
{
    for (uint32_t i = 0; i < arbiter->calls_len; i++) {
        if (arbiter->calls[i].link == link) {
            arbiter_send_view(arbiter, arbiter->calls[i].node, link);
        }
    }
}

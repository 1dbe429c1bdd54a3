#include "logic/lease.h"

#include "logic/bug.h"
#include "logic/members.h"

/* What has been heard by every member that counts was sent then, or later; UINT64_MAX: there is no
 * such member. */
static uint64_t lease_echo_ms(const struct replica *replica)
{
    const struct primary *primary = &replica->primary;
    uint64_t echo_ms = UINT64_MAX;
    for (uint32_t i = 0; i < primary->replicators_len; i++) {
        const struct replicator *replicator = primary->replicators[i];
        if (replicator->counted) {
            echo_ms = context_earlier(echo_ms, replicator->echo_ms);
        }
    }
    return echo_ms;
}

bool lease_is_held(const struct replica *replica)
{
    const struct context *context = replica->context;
    uint64_t lease_ms = context->config->replica_timeout_ms / LEASES_PER_REPLICA_TIMEOUT;
    uint64_t echo_ms = lease_echo_ms(replica);
    return echo_ms == UINT64_MAX || context->now_ms - echo_ms < lease_ms || BUG(read_without_lease);
}

bool lease_allows_reads(const struct replica *replica)
{
    if (!replica->primary.settled && !BUG(read_unsettled)) {
        return false;
    }
    /* While another one may take over without asking first, promises do not count. */
    return lease_is_held(replica) && (!replica->primary.handover.told || BUG(read_without_lease));
}

void lease_ask(struct replica *replica)
{
    struct primary *primary = &replica->primary;
    if (primary->lease_asked_ms == replica->context->now_ms) {
        return;
    }
    primary->lease_asked_ms = replica->context->now_ms;
    members_probe(replica);
}

uint64_t lease_confirmed_ms(const struct replica *replica)
{
    if (lease_allows_reads(replica)) {
        return UINT64_MAX;
    }
    return replica->primary.settled ? lease_echo_ms(replica) : 0;
}

/*
 * The primary dies; a secondary in sync hears nothing for replica_timeout and asks; the arbiter has
 * not heard the primary either; of those in sync that live, the one with the highest position is
 * chosen. When none of them lives, they are waited for: they come back with their stores.
 */
#include "logic/election.h"

#include "base/check.h"
#include "logic/bug.h"
#include "logic/context.h"
#include "logic/record.h"

#include <string.h>

/* A member's heartbeats reach a restarted arbiter a little later than they would have. */
#define ELECTION_YOUNG_TIMEOUTS 2u

/* A primary that has not learned of the newest view may be late, but not from one view to the next
 * for ever. */
#define ELECTION_BEHIND_TIMEOUTS 2u

_Static_assert(MEMBERS_MAX <= 64, "a member has a bit in election.missing");

/* --- standing --- */

static uint64_t election_young_until_ms(const struct election_input *input)
{
    return input->started_ms + ELECTION_YOUNG_TIMEOUTS * (uint64_t)input->replica_timeout_ms;
}

/* A complete store of a cluster that has held data has a position. One that was never more than the
 * only member may come with nothing, when its folder does not even know the cluster: then nothing
 * was ever acknowledged. */
static bool election_store_is_whole(const struct election_input *input, const struct member *member,
                                    const struct arbiter_peer *peer)
{
    bool is_primary = member->node == input->view->primary;
    if (BUG(elect_empty) && is_primary) {
        return true;
    }
    if (peer->durable.view == 0) {
        return is_primary && !peer->had_cluster && view_in_sync_len(input->view) == 1;
    }
    return peer->durable.index >= input->committed;
}

enum election_standing election_standing(const struct election_input *input,
                                         const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, member->node);
    if (peer == NULL) {
        return input->now_ms < election_young_until_ms(input) ? STANDING_PRESUMED : STANDING_ABSENT;
    }
    if (!arbiter_peer_is_alive(peer, input->now_ms, input->replica_timeout_ms)) {
        return STANDING_ABSENT;
    }
    if (peer->incarnation == member->incarnation) {
        return STANDING_LIVE;
    }
    if (!peer->joining) {
        return STANDING_ABSENT;
    }
    return election_store_is_whole(input, member, peer) ? STANDING_RETURNED : STANDING_LOST;
}

static const struct member *election_primary(const struct election_input *input)
{
    return view_find(input->view, input->view->primary);
}

bool election_primary_is_dead(const struct election_input *input)
{
    const struct member *primary = election_primary(input);
    if (primary == NULL) {
        return false;
    }
    enum election_standing standing = election_standing(input, primary);
    return standing == STANDING_RETURNED || standing == STANDING_LOST;
}

/* Until when the primary counts as there if nothing more is heard of it; 0: it does not. */
static uint64_t election_primary_until_ms(const struct election_input *input)
{
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, input->view->primary);
    uint64_t timeout_ms = input->replica_timeout_ms;
    if (input->view->primary == 0 || election_primary_is_dead(input)) {
        return 0;
    }
    uint64_t until_ms = election_young_until_ms(input);
    if (peer != NULL && peer->link == 0) {
        return until_ms;
    }
    uint64_t named_ms = input->primary_ms + timeout_ms;
    until_ms = named_ms > until_ms ? named_ms : until_ms;
    if (peer != NULL && peer->current_ms != 0) {
        uint64_t heard_ms = peer->current_ms + timeout_ms;
        uint64_t behind_ms = context_earlier(
            input->view_ms + timeout_ms, peer->current_ms + ELECTION_BEHIND_TIMEOUTS * timeout_ms);
        until_ms = heard_ms > until_ms ? heard_ms : until_ms;
        until_ms = behind_ms > until_ms ? behind_ms : until_ms;
    }
    return until_ms;
}

bool election_primary_is_current(const struct election_input *input)
{
    return input->now_ms < election_primary_until_ms(input);
}

static bool election_asks(const struct election_input *input, const struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, member->node);
    return peer != NULL && peer->asks_view == input->view->number;
}

static bool election_is_secondary(const struct election_input *input, const struct member *member)
{
    return member->state == MEMBER_IN_SYNC && member->node != input->view->primary;
}

const struct member *election_witness(const struct election_input *input)
{
    for (uint32_t i = 0; i < input->view->members_len; i++) {
        const struct member *member = &input->view->members[i];
        if (election_is_secondary(input, member) && !election_asks(input, member) &&
            election_standing(input, member) == STANDING_LIVE) {
            return member;
        }
    }
    return NULL;
}

bool election_data_is_lost(const struct election_input *input)
{
    const struct member *primary = election_primary(input);
    if (primary == NULL || election_standing(input, primary) != STANDING_LOST) {
        return false;
    }
    for (uint32_t i = 0; i < input->view->members_len; i++) {
        const struct member *member = &input->view->members[i];
        if (member->state == MEMBER_IN_SYNC && election_standing(input, member) != STANDING_LOST) {
            return false;
        }
    }
    return true;
}

/* --- counting those in sync --- */

struct election_count {
    uint32_t live;  /* secondaries */
    uint32_t fresh; /* ... of these, heard since the primary is known to be dead */
    uint32_t asking;
    uint32_t returned; /* with their stores, the primary included */
    uint64_t since_ms; /* when the first of them came back */
    uint64_t missing;
    uint64_t lost;
    uint64_t live_until_ms; /* when the first of the live ones is silent for too long */
    bool primary_returned;
};

/* When the later process of the primary's identity came; only while it is dead. */
static uint64_t election_dead_since_ms(const struct election_input *input)
{
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, input->view->primary);
    return peer == NULL ? 0 : peer->joining_ms;
}

static void election_count_one(const struct election_input *input, uint32_t place,
                               struct election_count *count)
{
    const struct member *member = &input->view->members[place];
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, member->node);
    bool is_primary = member->node == input->view->primary;
    switch (election_standing(input, member)) {
    case STANDING_LIVE:
        if (!is_primary) {
            count->live++;
            count->fresh += peer->heard_ms >= election_dead_since_ms(input) ? 1u : 0u;
            count->asking += election_asks(input, member) ? 1u : 0u;
            count->live_until_ms =
                context_earlier(count->live_until_ms, peer->heard_ms + input->replica_timeout_ms);
        } else {
            count->missing |= 1ull << place; /* heard, and it counts no longer */
        }
        break;
    case STANDING_RETURNED:
        count->returned++;
        count->since_ms = context_earlier(count->since_ms, peer->joining_ms);
        count->primary_returned = count->primary_returned || is_primary;
        break;
    case STANDING_LOST:
        count->lost |= 1ull << place; /* it is here; waiting brings nothing more */
        break;
    default:
        count->missing |= 1ull << place;
        break;
    }
}

static struct election_count election_count(const struct election_input *input)
{
    struct election_count count = {.since_ms = UINT64_MAX, .live_until_ms = UINT64_MAX};
    for (uint32_t i = 0; i < input->view->members_len; i++) {
        if (input->view->members[i].state == MEMBER_IN_SYNC) {
            election_count_one(input, i, &count);
        }
    }
    return count;
}

/* --- choosing --- */

struct election_choice {
    const struct member *member; /* NULL: none yet */
    struct kv_position position;
};

static void election_consider(const struct member *member, struct kv_position position,
                              struct election_choice *choice)
{
    int order = choice->member == NULL ? 1 : position_compare(position, choice->position);
    if (BUG(elect_candidate) && choice->member != NULL && member->state != choice->member->state) {
        order = member->state == MEMBER_CANDIDATE ? 1 : -1;
    }
    if (BUG(elect_empty) && choice->member != NULL && choice->position.view == 0) {
        order = -1;
    } else if (BUG(elect_empty) && position.view == 0) {
        order = 1;
    }
    if (order > 0 || (order == 0 && member->node < choice->member->node)) {
        choice->member = member;
        choice->position = position;
    }
}

/* Of those that live; of the returned ones too when `returned` says so. An update that is
 * acknowledged with ack = local may be in the primary's store alone: then that one is considered,
 * whoever lives. */
static void election_choose(const struct election_input *input, bool returned,
                            struct election *election)
{
    struct election_choice choice = {NULL, {0, 0}};
    for (uint32_t i = 0; i < input->view->members_len; i++) {
        const struct member *member = &input->view->members[i];
        const struct arbiter_peer *peer = arbiter_peers_get(input->peers, member->node);
        bool is_primary = member->node == input->view->primary;
        enum election_standing standing = election_standing(input, member);
        if (member->state != MEMBER_IN_SYNC && !BUG(elect_candidate)) {
            continue;
        }
        if (standing == STANDING_LIVE && !is_primary) {
            election_consider(member, peer->last, &choice);
        } else if (standing == STANDING_RETURNED && member->state == MEMBER_IN_SYNC &&
                   (returned ||
                    (is_primary && (input->view->ack == ACK_LOCAL || BUG(elect_empty))))) {
            election_consider(member, peer->durable, &choice);
        }
    }
    KV_CHECK(choice.member != NULL);
    election->verdict = ELECTION_CHOOSE;
    election->node = choice.member->node;
    election->position = choice.position;
    election->again_ms = UINT64_MAX;
}

/* Nobody in sync lives. Those that came back are enough when each of them has everything that was
 * acknowledged, or the primary is among them; the others are waited for, since one of them may have
 * more, but not for ever. */
static void election_among_returned(const struct election_input *input,
                                    const struct election_count *count, struct election *election)
{
    bool is_sure = input->view->ack == ACK_DURABLE || count->primary_returned;
    uint64_t wait_ms = input->return_wait_ms > input->replica_timeout_ms
                           ? input->return_wait_ms
                           : input->replica_timeout_ms;
    bool is_over = input->now_ms - count->since_ms >= wait_ms;
    if (is_sure &&
        (count->missing == 0 || is_over || (BUG(elect_empty) && count->primary_returned))) {
        election_choose(input, true, election);
        election->reason = count->missing == 0 ? "all-returned" : "return-wait-over";
        return;
    }
    election->verdict = ELECTION_WAIT;
    election->missing = count->missing;
    election->lost = count->lost;
    election->needs_operator = !is_sure;
    election->again_ms = is_sure ? count->since_ms + wait_ms : UINT64_MAX;
}

void election_decide(const struct election_input *input, struct election *ret_election)
{
    struct election_count count = election_count(input);
    bool is_dead = election_primary_is_dead(input);
    uint64_t primary_until_ms = election_primary_until_ms(input);
    memset(ret_election, 0, sizeof(*ret_election));
    ret_election->verdict = ELECTION_NOT_DUE;
    ret_election->again_ms = UINT64_MAX;
    if (input->view->primary == 0 || (count.asking == 0 && count.returned == 0 && !is_dead)) {
        return;
    }
    if (input->now_ms < primary_until_ms) {
        ret_election->again_ms = primary_until_ms;
    } else if (count.live > 0 && ((is_dead && count.fresh == count.live) || count.asking > 0)) {
        /* Of a dead primary's members the positions are told anew first: so the choice falls on
         * the one that has most, and none of the others has to be left behind. */
        election_choose(input, false, ret_election);
        ret_election->reason = is_dead ? "primary-ended" : "primary-silent";
    } else if (count.live > 0) {
        ret_election->again_ms = count.live_until_ms;
    } else if (count.returned > 0) {
        election_among_returned(input, &count, ret_election);
    } else {
        ret_election->verdict = ELECTION_WAIT;
        ret_election->missing = count.missing;
        ret_election->lost = count.lost;
        ret_election->needs_operator = count.missing == 0;
    }
}

/* --- the view that comes of it --- */

static bool election_name_is_taken(const struct view *view, const struct view *next,
                                   const struct member *member, const char *name)
{
    const struct member *before = view_find_name(view, name);
    return (before != NULL && before->node != member->node) || view_find_name(next, name) != NULL;
}

/* Comes back as the process that waits. A new name that somebody else has by now is not taken. */
static void election_take_back(const struct election_input *input, const struct view *next,
                               struct member *member)
{
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, member->node);
    struct member as = peer->as;
    if (election_name_is_taken(input->view, next, member, as.name)) {
        memcpy(as.name, member->name, sizeof(as.name));
    }
    as.state = MEMBER_IN_SYNC;
    *member = as;
}

void election_apply(const struct election_input *input, uint64_t node, struct view *next)
{
    uint32_t len = next->members_len;
    next->members_len = 0;
    for (uint32_t i = 0; i < len; i++) {
        struct member member = next->members[i];
        enum election_standing standing = election_standing(input, &member);
        bool is_there = standing == STANDING_LIVE || standing == STANDING_PRESUMED;
        if (standing == STANDING_RETURNED && member.state == MEMBER_IN_SYNC) {
            election_take_back(input, next, &member);
        } else if (!is_there || member.node == input->view->primary) {
            continue;
        }
        member.joined = next->number;
        if (member.node == node) {
            member.state = MEMBER_IN_SYNC;
        }
        next->members[next->members_len++] = member;
    }
    const struct arbiter_peer *peer = arbiter_peers_get(input->peers, node);
    next->primary = node;
    next->ack = peer != NULL && peer->ack != 0 ? peer->ack : next->ack;
    KV_CHECK(view_find(next, node) != NULL);
}

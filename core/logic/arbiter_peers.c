#include "logic/arbiter_peers.h"

#include <string.h>

struct arbiter_peer *arbiter_peers_find(struct arbiter_peers *peers, uint64_t node)
{
    for (uint32_t i = 0; i < peers->len; i++) {
        if (peers->items[i].node == node) {
            return &peers->items[i];
        }
    }
    return NULL;
}

const struct arbiter_peer *arbiter_peers_get(const struct arbiter_peers *peers, uint64_t node)
{
    for (uint32_t i = 0; i < peers->len; i++) {
        if (peers->items[i].node == node) {
            return &peers->items[i];
        }
    }
    return NULL;
}

/* Twice as many places as a view has: one of them is no member's. */
static struct arbiter_peer *arbiter_peers_make_room(struct arbiter_peers *peers,
                                                    const struct view *view)
{
    struct arbiter_peer *longest = NULL;
    for (uint32_t i = 0; i < peers->len; i++) {
        struct arbiter_peer *peer = &peers->items[i];
        if (view_find(view, peer->node) == NULL &&
            (longest == NULL || peer->heard_ms < longest->heard_ms)) {
            longest = peer;
        }
    }
    return longest == NULL ? &peers->items[0] : longest;
}

struct arbiter_peer *arbiter_peers_hear(struct arbiter_peers *peers, const struct view *view,
                                        uint64_t node, uint64_t link, uint64_t now_ms)
{
    struct arbiter_peer *peer = arbiter_peers_find(peers, node);
    if (peer == NULL) {
        peer = peers->len < ARBITER_PEERS_MAX ? &peers->items[peers->len++]
                                              : arbiter_peers_make_room(peers, view);
        memset(peer, 0, sizeof(*peer));
        peer->node = node;
    }
    peer->link = link;
    peer->heard_ms = now_ms;
    return peer;
}

void arbiter_peer_fill_member(struct member *member, const struct message *join, uint64_t number)
{
    memset(member, 0, sizeof(*member));
    member->node = join->sender;
    member->starts = join->body.join.starts;
    member->incarnation = join->body.join.incarnation;
    member->joined = number;
    member->state = MEMBER_CANDIDATE;
    memcpy(member->name, join->body.join.name.at, join->body.join.name.len);
    member->uris_len = (uint8_t)join->body.join.uris_len;
    for (uint32_t i = 0; i < join->body.join.uris_len; i++) {
        memcpy(member->uris[i], join->body.join.uris[i].at, join->body.join.uris[i].len);
    }
}

void arbiter_peer_keep_join(struct arbiter_peer *peer, const struct message *join, uint64_t now_ms,
                            uint64_t alive_ms)
{
    if (!peer->joining || peer->incarnation != join->body.join.incarnation ||
        now_ms - peer->heard_ms >= alive_ms) {
        peer->joining_ms = now_ms;
    }
    if (peer->incarnation != join->body.join.incarnation) {
        peer->beat_view = 0;
        peer->asks_view = 0;
        memset(&peer->last, 0, sizeof(peer->last));
    }
    peer->joining = true;
    peer->incarnation = join->body.join.incarnation;
    peer->starts = join->body.join.starts;
    peer->ack = join->body.join.ack;
    peer->had_cluster = join->cluster != 0;
    peer->durable = join->body.join.durable;
    arbiter_peer_fill_member(&peer->as, join, 0);
}

void arbiter_peers_lose_link(struct arbiter_peers *peers, uint64_t link)
{
    for (uint32_t i = 0; i < peers->len; i++) {
        if (peers->items[i].link == link) {
            peers->items[i].link = 0;
        }
    }
}

void arbiter_peers_forgive(struct arbiter_peers *peers, uint64_t gap_ms)
{
    for (uint32_t i = 0; i < peers->len; i++) {
        struct arbiter_peer *peer = &peers->items[i];
        peer->heard_ms += gap_ms;
        peer->rival_ms += peer->rival_ms == 0 ? 0 : gap_ms;
        peer->rival_last_ms += peer->rival_ms == 0 ? 0 : gap_ms;
        peer->joining_ms += gap_ms;
        peer->leaves_ms += peer->leaves_ms == 0 ? 0 : gap_ms;
        peer->current_ms += peer->current_ms == 0 ? 0 : gap_ms;
    }
}

bool arbiter_peer_is_alive(const struct arbiter_peer *peer, uint64_t now_ms, uint64_t alive_ms)
{
    return peer != NULL && peer->link != 0 && now_ms - peer->heard_ms < alive_ms;
}

uint64_t arbiter_peers_committed(const struct arbiter_peers *peers, const struct view *view)
{
    uint64_t committed = 0;
    for (uint32_t i = 0; i < peers->len; i++) {
        const struct arbiter_peer *peer = &peers->items[i];
        if (peer->committed <= committed) {
            continue;
        }
        const struct member *member = view_find(view, peer->node);
        if (member != NULL && member->state == MEMBER_IN_SYNC) {
            committed = peer->committed;
        }
    }
    return committed;
}

/*
 * Whom the arbiter has heard, where, and what they said last. Kept in memory only: heartbeats and
 * Joins renew it. For the arbiter's own modules; decides nothing.
 */
#ifndef LOGIC_ARBITER_PEERS_H
#define LOGIC_ARBITER_PEERS_H

#include "logic/message.h"

#define ARBITER_PEERS_MAX (2 * MEMBERS_MAX)

struct arbiter_peer {
    uint64_t node;
    uint64_t link; /* 0: none at present */
    uint64_t heard_ms;
    uint64_t incarnation; /* the latest of its processes and joins; 0: none has told yet */
    uint64_t starts;      /* likewise; 0: not told */
    /* another process with this identity, that asks while this one is heard */
    uint64_t rival;         /* its incarnation without the count of its joins */
    uint64_t rival_ms;      /* when it asked first, and has gone on since; 0: nobody did */
    uint64_t rival_last_ms; /* when it asked last */
    /* what its heartbeats said */
    uint64_t beat_view;      /* of the latest one; 0: none of this incarnation */
    uint64_t current_ms;     /* when one came last that had the newest view; 0: never */
    uint64_t asks_view;      /* in which it asked for another primary; 0: in none */
    struct kv_position last; /* of its log */
    uint64_t committed;      /* highest commit index that it told of as a member in sync */
    /* what its Join said */
    uint8_t ack;                /* enum ack_mode; 0: not heard since the arbiter started */
    bool joining;               /* its last word was a Join that no view has answered yet */
    uint64_t joining_ms;        /* ... and the first such came then */
    uint64_t leaves_ms;         /* its Leave came last then; 0: never */
    bool had_cluster;           /* its data folder knows the cluster */
    struct kv_position durable; /* of its store; (0, 0): empty or incomplete */
    struct member as;           /* name, addresses */
};

struct arbiter_peers {
    struct arbiter_peer items[ARBITER_PEERS_MAX];
    uint32_t len;
};

/* NULL when it was not heard. */
struct arbiter_peer *arbiter_peers_find(struct arbiter_peers *peers, uint64_t node);
const struct arbiter_peer *arbiter_peers_get(const struct arbiter_peers *peers, uint64_t node);

/* Remembers where a node was heard. When the table is full, the one silent for longest of those
 * that are no members makes room. */
struct arbiter_peer *arbiter_peers_hear(struct arbiter_peers *peers, const struct view *view,
                                        uint64_t node, uint64_t link, uint64_t now_ms);

/* Keeps what a Join says; its process counts as waiting from now on, or since it began to. */
void arbiter_peer_keep_join(struct arbiter_peer *peer, const struct message *join, uint64_t now_ms,
                            uint64_t alive_ms);

/* The member that a Join asks to be: a candidate that joins with the view of that number. */
void arbiter_peer_fill_member(struct member *member, const struct message *join, uint64_t number);

/* A link ended: nobody is heard there any more. */
void arbiter_peers_lose_link(struct arbiter_peers *peers, uint64_t link);

/* This process stood still for so long: nobody was silent meanwhile. */
void arbiter_peers_forgive(struct arbiter_peers *peers, uint64_t gap_ms);

/* Heard over a link that is up, less than alive_ms ago, whoever it is. */
bool arbiter_peer_is_alive(const struct arbiter_peer *peer, uint64_t now_ms, uint64_t alive_ms);

/* The highest commit index that a member in sync has told of since this arbiter started. */
uint64_t arbiter_peers_committed(const struct arbiter_peers *peers, const struct view *view);

#endif

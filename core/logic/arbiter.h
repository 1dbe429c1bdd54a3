/*
 * The arbiter: keeps the view, decides membership and who is primary; knows no data. Each new view
 * is made durable before anybody is told of it (SYSTEM.md section 3, rules 3 and 8). One change at
 * a time: what comes meanwhile is asked again by whoever wants it.
 */
#ifndef LOGIC_ARBITER_H
#define LOGIC_ARBITER_H

#include "logic/context.h"

/* Where a replica can be told something. Kept in memory only: heartbeats renew it. */
struct arbiter_peer {
    uint64_t node;
    uint64_t link; /* 0: none at present */
    uint64_t heard_ms;
    uint64_t incarnation; /* the latest that came over this link; 0: none has told yet */
    uint64_t committed;   /* highest commit index that it told of */
};

/* A `kvctl leave` that waits until the node has gone. */
struct arbiter_leave {
    uint64_t link;
    uint64_t request;
    uint64_t node;
    uint64_t deadline_ms;
};

#define ARBITER_PEERS_MAX (2 * MEMBERS_MAX)

struct arbiter {
    struct context *context;
    struct view view; /* durable */
    struct view next; /* being made durable */
    bool writing;
    bool write_failed; /* again at retry_ms */
    uint64_t retry_ms;
    struct arbiter_peer peers[ARBITER_PEERS_MAX];
    uint32_t peers_len;
    struct arbiter_leave leaves[LEAVE_REQUESTS_MAX];
    uint32_t leaves_len;
    uint64_t leaves_ms; /* when to look at them again */
};

/* KV_E_CORRUPT: the registry's bytes are no view. */
int32_t arbiter_create(struct context *context, struct arbiter **ret_arbiter);
void arbiter_destroy(struct arbiter *arbiter);

/* True for the messages that arbiter_on_message() takes. */
bool arbiter_is_for(uint8_t type);

void arbiter_on_message(struct arbiter *arbiter, uint64_t link, const struct message *message);
void arbiter_on_written(struct arbiter *arbiter, uint64_t number);
void arbiter_on_write_failed(struct arbiter *arbiter, uint64_t number);
void arbiter_on_link_down(struct arbiter *arbiter, uint64_t link);
void arbiter_tick(struct arbiter *arbiter);
uint64_t arbiter_wake_ms(const struct arbiter *arbiter);

#endif

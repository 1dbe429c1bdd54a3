/*
 * The arbiter: keeps the view, decides membership and who is primary; knows no data. Each new view
 * is made durable before anybody is told of it (SYSTEM.md section 3, rules 3 and 8). One change at
 * a time: what comes meanwhile is asked again by whoever wants it.
 *
 * Its parts: arbiter_change (one change, from the proposal to the telling), arbiter_join,
 * arbiter_orders (leave, handover, takeover), arbiter_peers, election.
 */
#ifndef LOGIC_ARBITER_H
#define LOGIC_ARBITER_H

#include "logic/arbiter_peers.h"
#include "logic/context.h"

#define ARBITER_FOREIGN_MAX 8u

/* What a client wants done, and waits for. */
struct arbiter_order {
    uint8_t type; /* MESSAGE_LEAVE, MESSAGE_PROMOTE */
    uint64_t link;
    uint64_t request;
    uint64_t node;
    uint64_t deadline_ms;
};

/* The member that the primary was asked last to give way to. */
struct arbiter_handover {
    uint64_t view;
    uint64_t node;
    uint64_t asked_ms;
};

/* A member that is told the view where it listens, as it does not find this arbiter by itself. */
struct arbiter_call {
    uint64_t node;
    uint64_t link;
};

/* Other clusters whose members take this arbiter for theirs while it has no view. */
struct arbiter_foreign {
    uint64_t clusters[ARBITER_FOREIGN_MAX]; /* those that were noted */
    uint32_t clusters_len;
    uint64_t heard_ms; /* when one of any was heard last; 0: never */
};

struct arbiter {
    struct context *context;
    struct view view; /* durable */
    struct view next; /* being made durable */
    uint64_t stored;  /* number of the view that is stored, as far as this arbiter knows */
    bool writing;
    bool write_failed; /* again at retry_ms */
    uint64_t retry_ms;
    uint64_t started_ms;
    uint64_t view_ms;      /* when the view was made */
    uint64_t primary_ms;   /* when its primary was named */
    uint64_t election_ms;  /* when to look again whether there has to be an election */
    uint64_t waiting_view; /* what was noted last of whom an election waits for */
    uint64_t waiting_missing;
    uint64_t waiting_lost;
    struct arbiter_peers peers;
    struct arbiter_foreign foreign;
    struct arbiter_handover handover;
    struct arbiter_order orders[LEAVE_REQUESTS_MAX];
    uint32_t orders_len;
    uint64_t orders_ms; /* when to look at them again */
    struct arbiter_call calls[MEMBERS_MAX];
    uint32_t calls_len;
    uint64_t calls_ms; /* when to call again; UINT64_MAX: not at all */
};

/* KV_E_CORRUPT: the registry's bytes are no view. */
int32_t arbiter_create(struct context *context, struct arbiter **ret_arbiter);
void arbiter_destroy(struct arbiter *arbiter);

/* At EVENT_START. */
void arbiter_start(struct arbiter *arbiter);

/* True for the messages that arbiter_on_message() takes. */
bool arbiter_is_for(uint8_t type);

void arbiter_on_message(struct arbiter *arbiter, uint64_t link, const struct message *message);
void arbiter_on_written(struct arbiter *arbiter, uint64_t number);
void arbiter_on_write_failed(struct arbiter *arbiter, uint64_t number);

/* What is stored was written by somebody else; a write under way is not stored. */
void arbiter_on_registry_changed(struct arbiter *arbiter, const void *bytes, size_t len);

void arbiter_on_link_up(struct arbiter *arbiter, uint64_t link);
void arbiter_on_link_down(struct arbiter *arbiter, uint64_t link);

/* This process stood still for so long: nobody was silent meanwhile. */
void arbiter_forgive(struct arbiter *arbiter, uint64_t gap_ms);

void arbiter_tick(struct arbiter *arbiter);
uint64_t arbiter_wake_ms(const struct arbiter *arbiter);

#endif

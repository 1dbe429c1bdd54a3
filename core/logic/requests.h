/*
 * What clients ask of a replica: updates (passed on to the primary's logic), reads, scans, status,
 * the view; and what joiners ask: content.
 * A request that comes before the node has a role, or that reads from a position not reached yet,
 * waits in order; each gets exactly one answer.
 */
#ifndef LOGIC_REQUESTS_H
#define LOGIC_REQUESTS_H

#include "logic/replica.h"

/* True for the messages that requests_on_message() takes. */
bool requests_is_request(uint8_t type);

/* bytes: the message itself, for keeping it. */
void requests_on_message(struct replica *replica, uint64_t link, const struct message *message,
                         const void *bytes, size_t len);

/* Takes up, in order, what waited for a role; nothing happens while there is none. */
void requests_take_waiting(struct replica *replica);

/* Answers the reads whose position is reached. */
void requests_take_reached(struct replica *replica);

/* Answers the reads at a primary that a lease, or words of the members, now allow. */
void requests_take_confirmed(struct replica *replica);

/* Rejects those that wait for that. */
void requests_reject_reads(struct replica *replica, uint8_t reason);

/* Rejects everything that waits. */
void requests_reject_waiting(struct replica *replica, uint8_t reason);

/* Rejects what waited too long. */
void requests_tick(struct replica *replica);
uint64_t requests_wake_ms(const struct replica *replica);

/* The client behind the link is gone. */
void requests_on_link_down(struct replica *replica, uint64_t link);

/* A status answer; replica NULL: this node is an arbiter only. */
void requests_answer_status(struct context *context, const struct replica *replica, uint64_t link,
                            uint64_t request);

/* The view, as this node knows it. */
void requests_answer_locate(struct context *context, const struct view *view, uint64_t link,
                            uint64_t request);

#endif

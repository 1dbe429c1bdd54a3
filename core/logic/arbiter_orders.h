/*
 * Orders: a node wants to leave, or a client wants a node to leave, to become the primary by
 * handover, or to take over by force.
 */
#ifndef LOGIC_ARBITER_ORDERS_H
#define LOGIC_ARBITER_ORDERS_H

#include "logic/arbiter.h"

void arbiter_on_leave(struct arbiter *arbiter, uint64_t link, const struct message *message);
void arbiter_on_promote(struct arbiter *arbiter, uint64_t link, const struct message *message);

/* A new view: what is done is answered. */
void arbiter_finish_orders(struct arbiter *arbiter);

/* The client has gone. */
void arbiter_forget_orders(struct arbiter *arbiter, uint64_t link);

void arbiter_tick_orders(struct arbiter *arbiter);

#endif

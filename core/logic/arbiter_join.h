/*
 * A node wants to join: who is let in, as what, and what is said to those that have to wait.
 */
#ifndef LOGIC_ARBITER_JOIN_H
#define LOGIC_ARBITER_JOIN_H

#include "logic/arbiter.h"

void arbiter_on_join(struct arbiter *arbiter, uint64_t link, const struct message *join);

#endif

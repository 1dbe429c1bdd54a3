/*
 * An arbiter that listens elsewhere than its members think calls them where they listen, and tells
 * them the view, which says where it is, until they are heard.
 */
#ifndef LOGIC_ARBITER_CALLS_H
#define LOGIC_ARBITER_CALLS_H

#include "logic/arbiter.h"

/* At the start: when it has moved, the view that says so; and when to call. */
void arbiter_start_calls(struct arbiter *arbiter);

/* Calls whoever of the members was not heard yet, and hangs up on those that were. */
void arbiter_tick_calls(struct arbiter *arbiter);
void arbiter_on_call_up(struct arbiter *arbiter, uint64_t link);

#endif

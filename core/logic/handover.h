/*
 * A primary gives way to a member that the arbiter names, without a failed request: it takes no new
 * update (they wait), commits what it has, tells the arbiter, and goes on as a secondary with the
 * view that comes. When none comes it takes updates again.
 */
#ifndef LOGIC_HANDOVER_H
#define LOGIC_HANDOVER_H

#include "logic/replica.h"

/* A Handover from the arbiter: make ready for this member. */
void handover_on_message(struct replica *replica, const struct message *message);

/* Updates wait: the place is about to be given away. */
bool handover_holds_updates(const struct replica *replica);

/* Goes on with it, as time and commits do. */
void handover_drive(struct replica *replica);
uint64_t handover_wake_ms(const struct replica *replica);

/* A new view: what was told in the one before is void. */
void handover_on_view(struct replica *replica);

#endif

/* What the arbiter has made durable, noted for the checkers. The simulator only. */
#ifndef SIM_REGISTRY_VIEW_H
#define SIM_REGISTRY_VIEW_H

#include "world.h"

/* A Suspect that a node sends: the word of the primary, if it is that. */
struct message;
void registry_view_on_let_go(struct world *world, const struct machine *machine,
                             const struct message *message);

/* Decodes the registry's bytes and notes the view; anything but a view is a failure. */
void registry_view_note(struct world *world, const void *bytes, size_t len);

#endif

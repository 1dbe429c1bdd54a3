/* Messages as lines of the trace, and the views they tell. The simulator only. */
#ifndef SIM_DESCRIBE_H
#define SIM_DESCRIBE_H

#include "world.h"

void describe_message(struct world *world, const char *who, const char *arrow, uint64_t link,
                      const struct message *message);

/* Shows every view number in a message that a machine sends to the checker of views. */
void describe_views(struct world *world, struct machine *machine, const struct message *message);

#endif

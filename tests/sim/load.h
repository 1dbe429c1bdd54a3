/*
 * The clients of the simulated world: each keeps several requests outstanding, to the primary
 * mostly and to any node now and then, with ids that are also odd ones. The simulator only.
 */
#ifndef SIM_LOAD_H
#define SIM_LOAD_H

#include "net.h"
#include "world.h"

void load_init(struct world *world);
void load_close(struct world *world);

/* The client's next request, if it may have one more. */
void load_on_client(struct world *world, uint32_t client);

/* The clients stop waiting for what was lost while the network was bad. */
void load_forget(struct world *world);

/* An answer arrives at a client. */
void load_on_packet(struct world *world, uint32_t client, const struct packet *packet);

/* Asks the arbiter to make a node the primary. */
void load_promote(struct world *world, const char *name, bool force);

/* Asks the arbiter to let a node go. */
void load_leave(struct world *world, const char *name);

/* Reads the whole content of a machine. */
void load_scan(struct world *world, uint32_t machine, uint64_t cursor);

#endif

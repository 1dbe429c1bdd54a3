/*
 * A machine: its process is one node, run as the host runs it (events in, effects carried out in
 * their order, a flush at the end of each turn of the loop, ticks when they are wanted), and it may
 * be killed and started again on the same disk. The simulator only.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "net.h"
#include "world.h"

/* A machine without a process, on an empty disk. */
struct machine *machine_add(struct world *world, const char *name, bool arbiter, bool replica);

/* Starts its process; does nothing when it runs. */
void machine_start(struct world *world, struct machine *machine);

/* The process dies on the spot. */
void machine_kill(struct world *world, struct machine *machine);

/* Its process stands still for so long; what comes meanwhile waits. */
void machine_pause(struct world *world, struct machine *machine, uint64_t pause_us);

/* A machine with a copy of its data folder, not started yet; NULL: there is no room for one. */
struct machine *machine_copy(struct world *world, struct machine *machine);

/* Of a data folder that is in use twice, one gives way for good: not the process that the view
 * knows. */
void machine_end_copy(struct world *world, struct machine *machine);

/* The machine, which is down, gets other addresses. */
void machine_move(struct world *world, struct machine *machine);

/* Somebody else has written what the arbiter keeps. */
void machine_meddle(struct world *world, struct machine *machine);

void machine_close(struct machine *machine);

/* Asks the process to leave. */
void machine_leave(struct world *world, struct machine *machine);

/* Messages, links and time come from the heap. */
void machine_on_packet(struct world *world, uint32_t index, uint64_t link,
                       const struct packet *packet);
void machine_on_link(struct world *world, const struct wake *wake);
void machine_on_tick(struct world *world, const struct wake *wake);
void machine_on_flush(struct world *world, const struct wake *wake);
void machine_on_loaded(struct world *world, const struct wake *wake);
void machine_on_disk(struct world *world, const struct wake *wake);
void machine_on_registry(struct world *world, const struct wake *wake);

/* Bytes that came on a link of it (0: none) from nowhere. */
void machine_on_garbage(struct world *world, struct machine *machine, uint64_t link,
                        const void *bytes, size_t len);

#endif

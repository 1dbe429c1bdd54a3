/*
 * The checkers: each promise of SYSTEM.md section 4 that this version makes, one file each. They
 * watch what nodes hand over and what node_observe() shows; a broken promise ends the run with
 * world_fail(). They never change a node. The simulator only.
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "world.h"

/* G1, check_durable.c: what is committed is in the store of the primary and of every in-sync
 * secondary, and stays there. */
void check_durable_after_step(struct world *world, struct machine *machine);
void check_durable_on_ack(struct world *world, struct machine *machine, uint32_t op,
                          struct kv_position position);
/* The primary tells that its log is committed up to an index. */
void check_durable_on_committed(struct world *world, struct machine *machine, uint64_t index);
/* What it tells the arbiter of: by that a member is held to be too old to be elected. */
void check_durable_on_heartbeat(struct world *world, struct machine *machine,
                                const struct message *message);
void check_durable_at_end(struct world *world);

/* G2, check_order.c: one total order, the same everywhere, without gaps. */
/* Right after a step: has the node begun to append in a view? */
void check_order_on_append(struct world *world, struct machine *machine);
/* A Snapshot that it sends. */
void check_order_on_send(struct world *world, struct machine *machine,
                         const struct message *message);
void check_order_on_batch(struct world *world, struct machine *machine);
void check_order_on_stored(struct world *world, struct machine *machine, struct kv_position before);
/* The node tells that its content is complete, in its store too. */
void check_order_on_complete(struct world *world, struct machine *machine);
void check_order_after_step(struct world *world, struct machine *machine);
/* Is the disk's content the state at its position? Tells the first difference. With `strict` also
 * where the store has refused a record, or holds one that it has not reached: else the one may
 * still be made up for, and the rest of the other's batch may still come. */
bool check_order_content(struct world *world, const struct machine *machine, bool strict, char *why,
                         size_t why_size);

/* G3, check_converged.c: when all is quiet, all are members, in sync, with the same content in
 * memory and in their stores. */
bool check_converged(struct world *world, char *why, size_t why_size);

/* G4 for what a store refuses, check_undone.c: it is not acknowledged, nobody sees it, and what
 * undoes it overwrites nothing newer. */
void check_undone_on_refused(struct world *world, struct machine *machine,
                             const struct kv_record *record);
void check_undone_on_stored(struct world *world, struct machine *machine,
                            const struct kv_record *record);
void check_undone_on_ack(struct world *world, struct machine *machine, struct kv_position position);
void check_undone_on_failed(struct world *world, uint32_t op);
/* A record of the primary's own, new on the line. */
void check_undone_on_record(struct world *world, uint32_t record);
/* A new primary has the history that ends with a record. */
void check_undone_on_new_primary(struct world *world, uint32_t last);
void check_undone_after_step(struct world *world, struct machine *machine);

/* G6, check_primary.c: one node acknowledges at a time, views are told when they are durable and
 * never go back. */
void check_primary_on_ack(struct world *world, struct machine *machine, uint64_t view,
                          struct kv_position position);
void check_primary_on_view(struct world *world, struct machine *machine, const char *type,
                           uint64_t number);
/* A message of primary or secondary whose view was over when it came changes nothing. */
void check_primary_on_stale(struct world *world, struct machine *machine);
void check_primary_after_step(struct world *world, struct machine *machine);

/* G6 and G7, check_reads.c: a read shows a committed state, never an older one than before, and at
 * the primary all that was settled when the read came. */
void check_reads_on_get(struct world *world, struct machine *machine, const struct pending *pending,
                        const struct message *message);
/* It tells its host that it answers from now on. */
void check_reads_on_ready(struct world *world, struct machine *machine);
void check_reads_on_scan(struct world *world, struct machine *machine,
                         const struct pending *pending, const struct message *message);

/* G8, check_bounds.c: nothing grows beyond its limit. */
void check_bounds_after_step(struct world *world, struct machine *machine);
void check_bounds_on_batch(struct world *world, struct machine *machine);
void check_bounds_on_send(struct world *world, struct machine *machine,
                          const struct message *message, size_t len);

/* G9, check_answers.c: each request gets one answer in time, of the right kind. */
void check_answers_on_request(struct world *world, struct machine *machine, uint64_t link,
                              uint32_t op);
void check_answers_on_answer(struct world *world, struct machine *machine, uint64_t link,
                             const struct message *message);
void check_answers_on_due(struct world *world, uint64_t serial);
void check_answers_on_link_gone(struct world *world, struct machine *machine, uint64_t link);
void check_answers_on_process_gone(struct world *world, struct machine *machine, bool clean);
/* A record that is new on the line must have been asked for. */
void check_answers_on_record(struct world *world, const struct kv_record *record, uint32_t id);

#endif

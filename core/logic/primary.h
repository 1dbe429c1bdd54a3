/*
 * The primary: gives each update the next index, hands it in parallel to its own store and to the
 * replicators, and answers it when it is committed: durable here and at every counted secondary
 * (SYSTEM.md section 3, rules 1 and 2), or failed at its deadline. What queues while one batch is
 * on its way is the next batch.
 */
#ifndef LOGIC_PRIMARY_H
#define LOGIC_PRIMARY_H

#include "logic/replica.h"

/* Becomes primary of the view in replica->view, with the log that it has. */
void primary_start(struct replica *replica);

/* Answers every update that waits as failed: the process is about to end. */
void primary_fail_waiting(struct replica *replica);

/* Stops being primary: every update that waits is answered as failed, its replicators end. */
void primary_stop(struct replica *replica);

/* The view has changed, and this node still is its primary: replicators begin and end. */
void primary_on_view(struct replica *replica);

/* An Insert or Remove from a client, to be answered by deadline_ms. */
void primary_on_update(struct replica *replica, uint64_t link, const struct message *message,
                       uint64_t deadline_ms);

void primary_on_ack(struct replica *replica, uint64_t link, const struct message *message);

/* The own store refuses these records of the batch in flight for good; called before
 * primary_on_persisted(). False: one of them cannot be undone, the batch is
 * to be tried again. */
bool primary_on_refused(struct replica *replica, const struct refused *refused, uint32_t len);

void primary_on_persisted(struct replica *replica, const struct persist_done *done);

/* End of a turn: hands over what has gathered. */
void primary_flush(struct replica *replica);

void primary_tick(struct replica *replica);
uint64_t primary_wake_ms(const struct replica *replica);

/* What the members' replicators work on. */
struct replicator_source primary_source(const struct replica *replica);

/* Every update is answered and in the own store. */
bool primary_is_idle(const struct replica *replica);

#endif

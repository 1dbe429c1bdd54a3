/*
 * A secondary or candidate: takes the primary's Snapshots in their order, each exactly once, writes
 * them to its own store, acknowledges when they are durable, and shows what is committed. Where the
 * log's tail does not lead from what it has to what the primary has, it fetches the content
 * (catchup.h). When the primary falls silent it asks the arbiter for another one.
 */
#ifndef LOGIC_SECONDARY_H
#define LOGIC_SECONDARY_H

#include "logic/replica.h"

/* A new session, named by the view in which this node became a candidate. */
void secondary_start(struct replica *replica, uint64_t session);

/* No session any more; content, log and store stay as they are. */
void secondary_stop(struct replica *replica);

void secondary_on_snapshot(struct replica *replica, uint64_t link, const struct message *message);
/* The own store refuses these records of the batch in flight for good; called before
 * secondary_on_persisted(). False, with nothing changed: the batch is to be tried again. */
bool secondary_on_refused(struct replica *replica, const struct refused *refused, uint32_t len);

void secondary_on_persisted(struct replica *replica, const struct persist_done *done);

/* An answer of a source of content. */
void secondary_on_fetched(struct replica *replica, const struct message *message, const void *bytes,
                          size_t len);

/* The primary's silence; and what is being fetched. */
void secondary_tick(struct replica *replica);
uint64_t secondary_wake_ms(const struct replica *replica);

/* This process was stopped for a while: the primary's silence does not count. */
void secondary_forgive(struct replica *replica);

/* The view has changed: tell the primary at once what is here. */
void secondary_on_view(struct replica *replica);

void secondary_flush(struct replica *replica);

#endif

/*
 * Undo: what a primary does about an update that a store refuses for good. The update is void: it
 * fails, and a later record of the log gives its key back what it had before, unless a newer update
 * of that key is there already. The commit index never stops between the two (index_set.h), so
 * nobody ever reads the value, at any node.
 *
 * Positions are never taken back: a node that has stored the update stores the later record after
 * it, the one that refused it stores the later record alone, and both then hold the same. An undo
 * that brings back the value of an update that itself becomes void later is void with it, and
 * another one is made. Called by the primary only.
 */
#ifndef LOGIC_UNDO_H
#define LOGIC_UNDO_H

#include "logic/replica.h"

/* True when undo_refuse() can do it: not committed, and an update of a client's. */
bool undo_is_possible(const struct replica *replica, uint64_t index);

/* A new primary takes over a record of the log that is not committed: an undo among them makes void
 * what it undoes, as at the primary before. In ascending order. */
void undo_adopt(struct replica *replica, uint64_t index);

/* A store refuses the update at index (again is fine). reason: TEXT_MAX bytes count; "": none. */
void undo_refuse(struct replica *replica, uint64_t index, struct bytes_view reason);

#endif

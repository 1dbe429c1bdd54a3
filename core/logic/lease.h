/*
 * Reads at a primary, so that they are linearizable: it answers one at once only while every member
 * that counts has promised, by an acknowledgement of something sent a moment ago, not to ask for
 * another primary yet; and only once all that it took over is committed. Else the read waits: until
 * there is a lease again, or until every member that counts has heard something that was sent after
 * the read came, which shows as well that there was no other primary then. docs/protocol.md has the
 * argument, and what it asks of clocks.
 */
#ifndef LOGIC_LEASE_H
#define LOGIC_LEASE_H

#include "logic/replica.h"

/* Every member that counts has promised, a moment ago, not to ask for another primary yet. */
bool lease_is_held(const struct replica *replica);

/* A read may be answered from the state of this moment. */
bool lease_allows_reads(const struct replica *replica);

/* Asks the members for an acknowledgement, since a read waits; once in a millisecond. */
void lease_ask(struct replica *replica);

/* Reads that came before this time of the node's clock may be answered; UINT64_MAX: all; 0: none.
 */
uint64_t lease_confirmed_ms(const struct replica *replica);

#endif

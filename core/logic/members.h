/*
 * The members at their primary: a replicator for each, begun and ended with the view; who counts,
 * who is reported to the arbiter as caught up or as suspect, and how a session begins. What is
 * committed is primary.h's.
 */
#ifndef LOGIC_MEMBERS_H
#define LOGIC_MEMBERS_H

#include "logic/replica.h"

/* The view has changed: replicators begin and end. */
void members_on_view(struct replica *replica);

/* Ends all of them: this node is not the primary any more. */
void members_close(struct replica *replica);

/* The member's replicator; NULL when there is none. */
struct replicator *members_find(const struct primary *primary, uint64_t node);

/* A member tells how far it is: its session begins. */
void members_on_resume(struct replica *replica, uint64_t link, const struct message *message);

/* The arbiter asks to let go of a member: it is reported as suspect. */
void members_on_release(struct replica *replica, const struct message *message);

/* A candidate's acknowledgement may make it one that counts. */
void members_promote(struct replica *replica, struct replicator *replicator);

/* Reports what is to be reported of it. */
void members_check(struct replica *replica, struct replicator *replicator);

/* Asks all members for an acknowledgement. */
void members_probe(struct replica *replica);

/* A link is up: what the member lacks is sent. */
void members_on_link_up(struct replica *replica, uint64_t link);

/* This process was stopped for a while: nobody's silence counts. */
void members_forgive(struct replica *replica);

#endif

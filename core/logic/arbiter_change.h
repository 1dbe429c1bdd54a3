/*
 * One change of the view: proposed, made durable, told. For the arbiter's own modules.
 */
#ifndef LOGIC_ARBITER_CHANGE_H
#define LOGIC_ARBITER_CHANGE_H

#include "logic/arbiter.h"
#include "logic/election.h"

struct message arbiter_message(const struct arbiter *arbiter, uint8_t type);

/* The answer to a member's Join. */
void arbiter_send_joined(struct arbiter *arbiter, const struct member *member, uint64_t link);

/* The view, as the answer to its Join when the member has joined with this view, or as Replicas. */
void arbiter_send_view(struct arbiter *arbiter, uint64_t node, uint64_t link);
void arbiter_broadcast(struct arbiter *arbiter);

/* Begins a change: the caller edits arbiter->next and calls arbiter_propose(). NULL: another change
 * is being made durable. */
struct view *arbiter_next(struct arbiter *arbiter);
void arbiter_propose(struct arbiter *arbiter);

/* Hands a write that failed over again. */
void arbiter_write(struct arbiter *arbiter);

/* Another primary: new sessions for all. */
void arbiter_name_primary(struct arbiter *arbiter, struct view *next, uint64_t node);

struct member *arbiter_member(struct view *view, uint64_t node);
void arbiter_remove(struct arbiter *arbiter, uint64_t node, const char *why);

/* A member's place is wanted. A candidate's is taken at once; one in sync counts for the primary,
 * whose lease may rest on it, so the primary is asked to let go of it. */
void arbiter_release(struct arbiter *arbiter, const struct member *member, const char *why);

/* The view is this one from now on: bookkeeping, and telling everybody. */
void arbiter_install(struct arbiter *arbiter, const struct view *view);

struct election_input arbiter_election_input(const struct arbiter *arbiter);
bool arbiter_primary_is_current(const struct arbiter *arbiter);
bool arbiter_is_live(const struct arbiter *arbiter, const struct member *member);

/* Members of another cluster were heard a moment ago, and this arbiter has no view. */
bool arbiter_hears_foreign(const struct arbiter *arbiter);

/* Looks whether there has to be another primary, and names it. */
void arbiter_elect(struct arbiter *arbiter);

/* "n1,n2" for those members of the view whose bit is set; lives as long as the step's effects. */
const char *arbiter_names(struct arbiter *arbiter, uint64_t members);

#endif

/*
 * What the tests of a primary and its members share: a node that leads, whose members are played by
 * hand. On top of fixture.h.
 */
#ifndef LOGIC_LEADING_H
#define LOGIC_LEADING_H

#include "fixture.h"

#define LEADING_LINKS_MAX 100u /* members are numbered below */

struct leading {
    struct fixture fixture;
    struct view view;                  /* the last one told */
    uint64_t links[LEADING_LINKS_MAX]; /* to each member */
    uint64_t requests;                 /* of the client so far */
};

/* Primary of view 1, alone; its store knows that. Of its log it keeps log_bytes for members that
 * come back. */
void leading_begin_keeping(struct leading *leading, uint64_t log_bytes);
void leading_begin(struct leading *leading); /* nothing */

/* It acknowledges what its own store has. */
void leading_begin_local(struct leading *leading);

/* Becomes primary, in view 3, of what a secondary had: empty content, complete and committed as of
 * (1, 10), and then these records of view 2, in its store and not committed. Members in sync of
 * view 3: itself and, when others is not 0, nodes 33, 34, ... so many. */
void leading_take_over(struct leading *leading, const struct kv_record *records,
                       uint32_t records_len, uint32_t others);

/* ... and it takes updates only with so many in sync. */
void leading_take_over_needing(struct leading *leading, const struct kv_record *records,
                               uint32_t records_len, uint32_t others, uint32_t min_in_sync);

/* ... and its store is one that only the primary writes. */
void leading_take_over_shared(struct leading *leading, const struct kv_record *records,
                              uint32_t records_len, uint32_t others);

void leading_end(struct leading *leading);

/* The next view: another member, which joins in it. */
void leading_add(struct leading *leading, uint64_t node, enum member_state state);

/* The next view: that member is in sync. */
void leading_promote(struct leading *leading, uint64_t node);

/* Tells leading->view as the next one, and notes the links that are opened; they are up. */
void leading_tell(struct leading *leading);

/* A member tells how far it is. */
void leading_resume(struct leading *leading, uint64_t node, struct kv_position committed,
                    struct kv_position last, bool complete);

/* ... and what it has of its session; heard_ms: what was sent until then has arrived there. */
void leading_ack(struct leading *leading, uint64_t node, uint64_t received, uint64_t durable,
                 uint64_t heard_ms);

/* From nothing to in sync, with all that the node has: two views. One Snapshot was taken. */
void leading_bring_in(struct leading *leading, uint64_t node);

/* A client's request; returns its id. */
uint64_t leading_insert(struct leading *leading, const char *key, const char *value);
uint64_t leading_get(struct leading *leading, const char *key);

/* The Snapshot of that kind sent to the member in the last step; it must be there. */
struct message leading_sent(struct leading *leading, uint64_t node, uint8_t kind);
uint32_t leading_sent_len(struct leading *leading, uint64_t node, uint8_t kind);

/* Ends the turn; the batch that is handed over with it is stored. The effects are those of that. */
void leading_store(struct leading *leading);

struct node_state leading_observe(const struct leading *leading);

#endif

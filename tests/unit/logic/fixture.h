/*
 * What the tests of the logic's modules share: a configuration with small, round numbers, a context
 * for modules tested alone, a whole node driven by hand, and ways to look at the effects.
 * One per test; a mistake in the test itself fails it.
 */
#ifndef LOGIC_FIXTURE_H
#define LOGIC_FIXTURE_H

#include "logic/context.h"
#include "logic/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define FIXTURE_NODE               11u /* identity of the node under test */
#define FIXTURE_INCARNATION        100u
#define FIXTURE_CLUSTER            77u
#define FIXTURE_START_MS           1000u
#define FIXTURE_RETRANSMIT_MS      100u
#define FIXTURE_REPLICA_MS         400u /* replica_timeout; no silence counts below half of it */
#define FIXTURE_OPERATION_MS       1000u
#define FIXTURE_KEY_BYTES_MAX      64u
#define FIXTURE_VALUE_BYTES_MAX    1024u
#define FIXTURE_INFLIGHT_OPS_MAX   8u
#define FIXTURE_INFLIGHT_BYTES_MAX (64u * 1024u)
#define FIXTURE_CLIENT_LINK        5u
#define FIXTURE_PRIMARY            22u /* the primary of a node that is a secondary ... */
#define FIXTURE_PRIMARY_LINK       33u /* ... and its link */

struct fixture {
    struct node_config config;
    struct context context; /* of a module tested alone */
    struct effects effects; /* of the step going on, or of the last one */
    struct node *node;
    uint64_t now_ms;
    int64_t alloc_before;
};

/* A configuration and a context, time FIXTURE_START_MS; no node yet. */
void fixture_init(struct fixture *fixture, bool is_arbiter, bool is_replica);

/* Shows that no allocation is left. */
void fixture_close(struct fixture *fixture);

/* A new step of a module tested alone, so many ms later: the effects before are forgotten. */
void fixture_advance(struct fixture *fixture, uint64_t ms);

/* --- effects of the last step --- */

uint32_t fixture_effects_len(const struct fixture *fixture, enum effect_kind kind);

/* The effect of that kind number place, from 0; it must be there. */
const struct effect *fixture_effect(const struct fixture *fixture, enum effect_kind kind,
                                    uint32_t place);

/* How many messages of that type were sent. */
uint32_t fixture_sent_len(struct fixture *fixture, uint8_t type);

/* The message of that type number place, from 0; it must be there. ret_link may be NULL. Valid
 * until the next step. */
struct message fixture_sent(struct fixture *fixture, uint8_t type, uint32_t place,
                            uint64_t *ret_link);

/* --- messages, records, views --- */

/* A zeroed message of the fixture's cluster. */
struct message fixture_message(uint8_t type, uint64_t view, uint64_t sender);

struct bytes_view fixture_text(const char *text);

bool fixture_equals(struct bytes_view bytes, const char *text);

/* An insertion; a removal with value NULL. */
struct kv_record fixture_record(const char *key, const char *value, uint64_t view, uint64_t index);

/* A view of the fixture's cluster without members. */
void fixture_view(struct view *view, uint64_t number, uint64_t primary);

/* Named "n" and the node's number, listening on "test://n" and the number; its incarnation is
 * FIXTURE_INCARNATION. */
struct member *fixture_add_member(struct view *view, uint64_t node, uint64_t joined,
                                  enum member_state state);

/* Encodes into the memory of the last step. */
struct bytes_view fixture_encode_view(struct fixture *fixture, const struct view *view);

/* --- a whole node --- */

/* Creates the node of fixture->config and starts it. */
void fixture_start(struct fixture *fixture);

/* Every step is checked for the order rule of effect.h. */
void fixture_step(struct fixture *fixture, const struct event *event);

/* An event without further content, so many ms later. */
void fixture_happens(struct fixture *fixture, enum event_kind kind, uint64_t later_ms);

void fixture_link_event(struct fixture *fixture, enum event_kind kind, uint64_t link);

void fixture_deliver(struct fixture *fixture, uint64_t link, const struct message *message);

void fixture_deliver_bytes(struct fixture *fixture, uint64_t link, const void *bytes, size_t len);

/* The store is open, empty, at that position. */
void fixture_load(struct fixture *fixture, struct kv_position position);

/* The link that the node has opened to its arbiter; call it after fixture_start(). */
uint64_t fixture_arbiter_link(const struct fixture *fixture);

/* Tells the node a view as the arbiter would: as the answer to its Join when `joined`. */
void fixture_tell_view(struct fixture *fixture, uint8_t type, const struct view *view);

/* From nothing to primary of view 1, alone; or to a member of view 2 whose primary is
 * FIXTURE_PRIMARY. */
void fixture_become_primary(struct fixture *fixture);
void fixture_become_secondary(struct fixture *fixture, enum member_state state);

/* Records that the store gives back before fixture_load(). */
void fixture_load_record(struct fixture *fixture, const struct kv_record *record);

/* A Snapshot of the primary of that view, in which the node's session began. */
struct message fixture_snapshot(const struct fixture *fixture, uint64_t view, uint8_t kind,
                                uint64_t seq);

/* The primary begins the session there: with tail TAIL_NONE the node has to fetch its content. */
void fixture_begin(struct fixture *fixture, uint64_t view, uint8_t tail, struct kv_position as_of);

/* Ends the turn and answers whatever the node then asks of the source: these pairs are all there is
 * (in ascending order of their hash), as of that position. A batch that is a position alone is
 * stored on the way. Returns how many answers that took. */
uint32_t fixture_fetched(struct fixture *fixture, struct kv_position as_of,
                         const struct kv_record *pairs, uint32_t pairs_len);

/* fixture_become_secondary(), in sync, and its empty content is complete as of (1, 10), in its
 * store too: the next number in its session is 1. */
void fixture_become_complete(struct fixture *fixture);

/* Ends the turn and reports each batch of the persistence as stored until none is in flight.
 * Returns how many there were. The effects are those of the last step. */
uint32_t fixture_store_all(struct fixture *fixture);

/* A counter of the node, as its status tells it. */
uint64_t fixture_counter(struct fixture *fixture, const char *name);

#endif

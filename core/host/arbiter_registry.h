/*
 * Between the arbiter in this node and its registry, whoever provides that: carries out
 * EFFECT_REGISTRY_WRITE as a compare-and-set, and turns outcomes and changes into EVENT_REGISTRY_.
 * A change that is noticed while a write is under way is told after that write's outcome, so that
 * the logic may take each EVENT_REGISTRY_CHANGED as the end of its write. Loop thread.
 */
#ifndef HOST_ARBITER_REGISTRY_H
#define HOST_ARBITER_REGISTRY_H

#include "host/clock.h"
#include "host/registry.h"
#include "logic/effect.h"
#include "logic/event.h"

struct arbiter_registry;

/* Gives the event, without its time, to the node. */
typedef void (*arbiter_registry_step_fn)(void *ctx, struct event *event);

/* Takes the registry over. clock is borrowed. */
struct arbiter_registry *arbiter_registry_create(struct registry *registry, struct clock *clock,
                                                 arbiter_registry_step_fn step, void *ctx);

/* As registry_ops.read: blocks, before anything else. ret_bytes is for alloc_free(). */
int32_t arbiter_registry_read(struct arbiter_registry *self, const uint8_t **ret_bytes,
                              size_t *ret_len, char *ret_error);

/* From now on changes by others are told. */
void arbiter_registry_watch(struct arbiter_registry *self);

/* One at a time. The bytes are copied. */
void arbiter_registry_write(struct arbiter_registry *self, const struct effect *effect);

/* stopped comes after the outcome of a write under way; perhaps from within. */
void arbiter_registry_stop(struct arbiter_registry *self, registry_stopped_fn stopped, void *ctx);

/* Once stopped, or before watch and write. NULL is fine. */
void arbiter_registry_destroy(struct arbiter_registry *self);

#endif

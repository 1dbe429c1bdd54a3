/*
 * The deadlines of all outstanding requests: a coarse timing wheel, constant time to add and to
 * remove. A request is told at most WHEEL_TICK_MS after its deadline, never before it. Also the one
 * place that knows every request that still waits for its answer. Loop thread; allocates once.
 */
#ifndef CLIENT_WHEEL_H
#define CLIENT_WHEEL_H

#include "list.h"

#include <stdint.h>

#define WHEEL_TICK_MS 5u
#define WHEEL_SLOTS   1024u

struct wheel {
    struct list *slots;
    uint64_t tick; /* every slot up to this tick was looked at */
    uint32_t len;
};

/* A member's place; embed it. */
struct wheel_entry {
    struct list link;
    uint64_t deadline_ms;
};

/* entry is in the wheel no more. May add and remove entries. */
typedef void (*wheel_expired_fn)(void *ctx, struct wheel_entry *entry);

void wheel_init(struct wheel *wheel);
void wheel_close(struct wheel *wheel);

/* entry->deadline_ms is set; one that has passed already expires at the next tick. */
void wheel_add(struct wheel *wheel, struct wheel_entry *entry, uint64_t now_ms);
void wheel_remove(struct wheel *wheel, struct wheel_entry *entry);

/* Tells of every entry whose deadline has passed. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_expired_fn on_expired, void *ctx);

/* Takes out any entry; NULL when there is none. */
struct wheel_entry *wheel_take(struct wheel *wheel);

#endif

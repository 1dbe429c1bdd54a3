/*
 * The links by the time at which each wants to be looked at: a binary heap, so that one timer
 * serves them all. Pure; owned by one endpoint. A link knows its place in the heap.
 */
#ifndef TRANSPORT_UDP_DEADLINES_H
#define TRANSPORT_UDP_DEADLINES_H

#include <stdint.h>

#include <kvnode/transport.h>

#define DEADLINES_NONE  UINT32_MAX /* place of one that is not in the heap */
#define DEADLINES_NEVER UINT64_MAX

/* Member of what waits. */
struct deadline {
    uint64_t at_us;
    uint32_t place;
};

struct deadlines {
    const struct kv_host *host;
    struct deadline **heap;
    uint32_t len;
    uint32_t capacity;
};

void deadlines_init(struct deadlines *deadlines, const struct kv_host *host);
void deadlines_close(struct deadlines *deadlines);

/* Before the first deadlines_set(). */
void deadline_init(struct deadline *deadline);

/* Room for one more that waits, so that deadlines_set() cannot fail: once for each. */
int32_t deadlines_reserve(struct deadlines *deadlines, uint32_t len);

/* DEADLINES_NEVER takes it out. */
void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, uint64_t at_us);

/* The earliest, or NULL. */
struct deadline *deadlines_first(const struct deadlines *deadlines);

#endif

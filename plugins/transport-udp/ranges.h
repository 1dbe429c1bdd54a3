/*
 * A set of 64-bit numbers as sorted, disjoint ranges that do not touch: packet numbers that came,
 * bytes of a stream that are there, lost or acknowledged. Pure; owned by one link.
 *
 * Memory grows with the number of gaps; a user that must bound it looks at `len`.
 */
#ifndef TRANSPORT_UDP_RANGES_H
#define TRANSPORT_UDP_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include <kvnode/transport.h>

/* [from, to); never empty. */
struct range {
    uint64_t from;
    uint64_t to;
};

struct ranges {
    const struct kv_host *host;
    struct range *at; /* ascending */
    uint32_t len;
    uint32_t capacity;
};

void ranges_init(struct ranges *ranges, const struct kv_host *host);
void ranges_close(struct ranges *ranges);

/* Empties it and gives its memory back. */
void ranges_clear(struct ranges *ranges);

/* Adds [from, to); an empty one adds nothing. KV_E_NOMEM: nothing changed. */
int32_t ranges_add(struct ranges *ranges, uint64_t from, uint64_t to);

/* Takes [from, to) out. KV_E_NOMEM (a range would become two): nothing changed. */
int32_t ranges_remove(struct ranges *ranges, uint64_t from, uint64_t to);

bool ranges_has(const struct ranges *ranges, uint64_t number);

/* The first range that ends above `from`, or NULL. Valid until the set changes. */
const struct range *ranges_find(const struct ranges *ranges, uint64_t from);

/* Numbers in all ranges together. */
uint64_t ranges_total(const struct ranges *ranges);

#endif

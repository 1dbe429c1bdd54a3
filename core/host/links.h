/*
 * The table of links: the logic's number <-> the guard's link. Both ways cost one look: a guard's
 * link carries a pointer to its struct link, a number leads to it by index or by a small hash.
 * Loop thread only. It calls no transport.
 *
 * Numbers are never used twice. Those of accepted links count up (bit 63 clear; the low
 * LINKS_SLOT_BITS bits are the link's place in the table); those of opened links are the logic's.
 */
#ifndef HOST_LINKS_H
#define HOST_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#define LINKS_SLOT_BITS    20u
#define LINKS_ACCEPTED_MAX (1u << LINKS_SLOT_BITS)

struct guard_link;
struct guard_transport;

struct link {
    uint64_t number;
    struct guard_transport *transport;
    struct guard_link *guard;
    uint32_t place;         /* accepted: in the table */
    struct link *next_free; /* while it is not in use */
};

struct links {
    struct link **accepted; /* by place */
    uint32_t accepted_capacity;
    uint32_t accepted_used; /* places that were ever in use */
    uint32_t accepted_len;
    uint32_t accepted_max;
    struct link *accepted_free;
    uint64_t accepted_count;
    struct link **opened; /* hash by number, linear probing */
    uint32_t opened_capacity;
    uint32_t opened_len;
};

/* accepted_max: at most LINKS_ACCEPTED_MAX. */
void links_init(struct links *links, uint32_t accepted_max);

/* Frees the table; what the guards own is none of its business. */
void links_close(struct links *links);

/* A link that a peer made gets a number. NULL when accepted_max are there. */
struct link *links_accept(struct links *links, struct guard_transport *transport,
                          struct guard_link *guard);

/* A link of that number, which has bit 63 set and is not in the table. */
struct link *links_open(struct links *links, uint64_t number, struct guard_transport *transport);

/* NULL when there is none of that number, or no more. */
struct link *links_find(const struct links *links, uint64_t number);

/* Takes it out and frees it. */
void links_remove(struct links *links, struct link *link);

bool link_is_accepted(const struct link *link);

#endif

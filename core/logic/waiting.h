/*
 * Requests that cannot be answered yet: the node has no role, or has not reached the position that
 * a read asks for. Kept in order of arrival, bounded in number and bytes, each with a deadline.
 */
#ifndef LOGIC_WAITING_H
#define LOGIC_WAITING_H

#include "logic/context.h"

struct waiting_request {
    struct waiting_request *next;
    uint64_t link;
    uint64_t request;
    uint64_t min_index; /* 0: it waits for a role */
    uint64_t deadline_ms;
    size_t len;
    uint8_t bytes[]; /* the message */
};

struct waiting {
    struct waiting_request *first;
    struct waiting_request **end;
    uint32_t len;
    uint64_t bytes;
    uint64_t earliest_ms; /* not later than the earliest deadline; UINT64_MAX when empty */
};

void waiting_init(struct waiting *waiting);
void waiting_close(struct waiting *waiting);

/* Keeps a copy of the message. False when a limit is reached. */
bool waiting_add(struct waiting *waiting, uint64_t link, uint64_t request, uint64_t min_index,
                 uint64_t deadline_ms, const void *bytes, size_t len);

/* Takes the oldest request with min_index <= reached out of the queue; NULL when there is none. The
 * caller frees it with alloc_free(). */
struct waiting_request *waiting_take_reached(struct waiting *waiting, uint64_t reached);

/* Likewise the oldest whose deadline is at or before now_ms. */
struct waiting_request *waiting_take_expired(struct waiting *waiting, uint64_t now_ms);

/* Drops what came on a link that is gone: nobody is there to be answered. */
void waiting_drop_link(struct waiting *waiting, uint64_t link);

#endif

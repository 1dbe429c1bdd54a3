/*
 * Which of a member's addresses the primary tries first: the one that it was heard at last. An
 * address at which a whole session passed without a word (a firewall that lets one transport
 * through only, say) gives way to the next one when that member comes again. Used by the primary.
 *
 * It stands here, and not behind connect(), since a transport goes on trying the one address that
 * it was given, and does not know how long a member may be silent or what other addresses it has.
 * It costs no timer of its own: a silent member is taken out of the view and joins again, and each
 * session opens a link of its own.
 */
#ifndef LOGIC_ROUTES_H
#define LOGIC_ROUTES_H

#include "logic/replicator.h"

/* A node whose first address is not the one to begin with. */
struct route {
    uint64_t node;
    uint32_t first; /* number of the address, from 0; may be beyond the last: they go round */
};

/* All zero: every member is tried at its first address. */
struct routes {
    struct route items[MEMBERS_MAX]; /* the one that changed last comes last */
    uint32_t len;
};

/* A session with a node is over: did anything at all come back at the address tried first? */
void routes_on_session_end(struct routes *routes, const struct replicator *replicator);

/* Opens a link to the member, best address first, and returns its number. */
uint64_t routes_open_link(const struct routes *routes, struct context *context,
                          const struct member *member);

#endif

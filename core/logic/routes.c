#include "logic/routes.h"

#include "base/check.h"

#include <string.h>

/* Place of the node, or len. */
static uint32_t routes_find(const struct routes *routes, uint64_t node)
{
    uint32_t place = 0;
    while (place < routes->len && routes->items[place].node != node) {
        place++;
    }
    return place;
}

void routes_on_session_end(struct routes *routes, const struct replicator *replicator)
{
    /* One that ended early, since the member came anew, say, has shown nothing. */
    if (replicator->heard || !replicator->suspected) {
        return;
    }
    struct route route = {.node = replicator->node};
    uint32_t place = routes_find(routes, route.node);
    if (place < routes->len) {
        route = routes->items[place];
    } else if (routes->len < MEMBERS_MAX) {
        routes->len++;
    } else {
        place = 0; /* the one that has not changed for longest is forgotten */
    }
    uint32_t later = routes->len - 1 - place;
    memmove(&routes->items[place], &routes->items[place + 1], later * sizeof(route));
    route.first++;
    routes->items[routes->len - 1] = route;
}

uint64_t routes_open_link(const struct routes *routes, struct context *context,
                          const struct member *member)
{
    const char *uris[URIS_MAX];
    uint32_t place = routes_find(routes, member->node);
    uint32_t first = place < routes->len ? routes->items[place].first : 0;
    KV_CHECK(member->uris_len >= 1 && member->uris_len <= URIS_MAX);
    for (uint32_t i = 0; i < member->uris_len; i++) {
        uris[i] = member->uris[(first + i) % member->uris_len];
    }
    return context_open_link(context, uris, member->uris_len);
}

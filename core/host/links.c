#include "host/links.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/effect.h"

#include <stddef.h>

#define LINKS_CAPACITY_MIN 64u

void links_init(struct links *links, uint32_t accepted_max)
{
    KV_CHECK(accepted_max <= LINKS_ACCEPTED_MAX);
    *links = (struct links){.accepted_max = accepted_max};
    links->opened_capacity = LINKS_CAPACITY_MIN;
    links->opened = alloc_zeroed(LINKS_CAPACITY_MIN, sizeof(struct link *));
}

void links_close(struct links *links)
{
    for (uint32_t place = 0; place < links->accepted_used; place++) {
        alloc_free(links->accepted[place]);
    }
    for (uint32_t at = 0; at < links->opened_capacity; at++) {
        alloc_free(links->opened[at]);
    }
    alloc_free(links->accepted);
    alloc_free(links->opened);
    *links = (struct links){0};
}

bool link_is_accepted(const struct link *link)
{
    return (link->number & LINK_OPENED_BIT) == 0;
}

/* A struct link that is not in use, at a place of its own. */
static struct link *links_take_place(struct links *links)
{
    struct link *link = links->accepted_free;
    if (link != NULL) {
        links->accepted_free = link->next_free;
        return link;
    }
    if (links->accepted_used == links->accepted_capacity) {
        links->accepted_capacity =
            links->accepted_capacity == 0 ? LINKS_CAPACITY_MIN : links->accepted_capacity * 2;
        links->accepted =
            alloc_resize(links->accepted, links->accepted_capacity * sizeof(struct link *));
    }
    link = alloc_zeroed(1, sizeof(*link));
    link->place = links->accepted_used;
    links->accepted[links->accepted_used++] = link;
    return link;
}

struct link *links_accept(struct links *links, struct guard_transport *transport,
                          struct guard_link *guard)
{
    if (links->accepted_len == links->accepted_max) {
        return NULL;
    }
    struct link *link = links_take_place(links);
    links->accepted_len++;
    links->accepted_count++;
    link->number = links->accepted_count << LINKS_SLOT_BITS | link->place;
    KV_CHECK(link_is_accepted(link));
    link->transport = transport;
    link->guard = guard;
    link->next_free = NULL;
    return link;
}

/* Where a number's search begins: the logic counts its links up, so neighbours do not collide. */
static uint32_t links_home(const struct links *links, uint64_t number)
{
    return (uint32_t)number & (links->opened_capacity - 1);
}

/* Place of the number, or the free one at which its search ends. */
static uint32_t links_probe(const struct links *links, uint64_t number)
{
    uint32_t at = links_home(links, number);
    while (links->opened[at] != NULL && links->opened[at]->number != number) {
        at = (at + 1) & (links->opened_capacity - 1);
    }
    return at;
}

static void links_grow(struct links *links)
{
    struct link **before = links->opened;
    uint32_t capacity_before = links->opened_capacity;
    links->opened_capacity *= 2;
    links->opened = alloc_zeroed(links->opened_capacity, sizeof(struct link *));
    for (uint32_t at = 0; at < capacity_before; at++) {
        if (before[at] != NULL) {
            links->opened[links_probe(links, before[at]->number)] = before[at];
        }
    }
    alloc_free(before);
}

struct link *links_open(struct links *links, uint64_t number, struct guard_transport *transport)
{
    KV_CHECK((number & LINK_OPENED_BIT) != 0);
    if (links->opened_len * 2 >= links->opened_capacity) {
        links_grow(links);
    }
    uint32_t at = links_probe(links, number);
    KV_CHECK(links->opened[at] == NULL);
    struct link *link = alloc_zeroed(1, sizeof(*link));
    link->number = number;
    link->transport = transport;
    links->opened[at] = link;
    links->opened_len++;
    return link;
}

struct link *links_find(const struct links *links, uint64_t number)
{
    if ((number & LINK_OPENED_BIT) != 0) {
        return links->opened[links_probe(links, number)];
    }
    uint64_t place = number & (LINKS_ACCEPTED_MAX - 1);
    if (place >= links->accepted_used || links->accepted[place]->number != number) {
        return NULL;
    }
    return links->accepted[place];
}

/* Moves up what could not stand at its home because of the entry that goes. */
static void links_remove_opened(struct links *links, struct link *link)
{
    uint32_t mask = links->opened_capacity - 1;
    uint32_t hole = links_probe(links, link->number);
    KV_CHECK(links->opened[hole] == link);
    for (uint32_t at = (hole + 1) & mask; links->opened[at] != NULL; at = (at + 1) & mask) {
        uint32_t home = links_home(links, links->opened[at]->number);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            links->opened[hole] = links->opened[at];
            hole = at;
        }
    }
    links->opened[hole] = NULL;
    links->opened_len--;
    alloc_free(link);
}

void links_remove(struct links *links, struct link *link)
{
    if (!link_is_accepted(link)) {
        links_remove_opened(links, link);
        return;
    }
    KV_CHECK(links_find(links, link->number) == link && link->number != 0);
    link->number = 0;
    link->guard = NULL;
    link->next_free = links->accepted_free;
    links->accepted_free = link;
    links->accepted_len--;
}

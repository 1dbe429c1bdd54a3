/* Intrusive doubly linked lists. A node outside every list points to itself, so that list_remove()
 * is always allowed. Loop thread only; never allocates. */
#ifndef PLUGINS_COMMON_LIST_H
#define PLUGINS_COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* The struct that contains the list node. */
#define LIST_ENTRY(node, type, member) \
    ((struct type *)(void *)((char *)(node)-offsetof(struct type, member)))

static inline void list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *list, struct list *node)
{
    node->next = list;
    node->prev = list->prev;
    list->prev->next = node;
    list->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all nodes of `from` into the empty list `to`. */
static inline void list_move(struct list *from, struct list *to)
{
    list_init(to);
    if (!list_is_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

#endif

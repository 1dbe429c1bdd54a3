/* Doubly linked lists whose links live in their members. Used by the client library only; no
 * allocation. A list is the head; a member that is in no list links to itself. */
#ifndef CLIENT_LIST_H
#define CLIENT_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *previous;
    struct list *next;
};

#define LIST_ENTRY(link, type, member) ((type *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->previous = list;
    list->next = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

/* Puts link before `at`; before the head is at the end. */
static inline void list_insert(struct list *at, struct list *link)
{
    link->previous = at->previous;
    link->next = at;
    at->previous->next = link;
    at->previous = link;
}

static inline void list_append(struct list *list, struct list *link)
{
    list_insert(list, link);
}

/* Does nothing to a link that is in no list. */
static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

/* Moves all members of `from` to the end of `to`. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

#endif

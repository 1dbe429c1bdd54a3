/*
 * The updates of a primary that are not committed yet, one per index of the log above the committed
 * one: who waits for it, until when, and what became of it. A ring; the primary's modules only.
 */
#ifndef LOGIC_OPERATIONS_H
#define LOGIC_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* What an update is at the primary, from its receipt to its commit. */
struct operation {
    uint64_t link;
    uint64_t request;
    uint64_t deadline_ms;
    uint64_t restores; /* undo: the update whose value it brings back; 0: a committed one */
    char *reason;      /* refused: the store's, owned; NULL: none was given */
    bool answered;
    bool is_undo;    /* made by undo.c, no client waits for it */
    bool is_pending; /* undo.c: void, and nothing makes up for it yet */
    bool is_void;    /* failed for good: passed together with what makes up for it */
};

struct operations {
    struct operation *items; /* the one of index i is at i & (capacity - 1) */
    uint64_t *hashes;        /* of its key, likewise: looked through by undo.c, so close together */
    uint64_t capacity;       /* a power of two, or 0 */
    uint64_t waiting;        /* not answered yet */
    uint64_t earliest_ms;    /* not later than the earliest deadline of those */
    uint64_t undos;          /* how many are undo records */
};

void operations_init(struct operations *operations);

/* first to last: those that are not committed. */
void operations_close(struct operations *operations, uint64_t first, uint64_t last);

struct operation *operations_at(const struct operations *operations, uint64_t index);

/* Hash of the key of the update at index. */
uint64_t operations_hash(const struct operations *operations, uint64_t index);

/* A zeroed one for index last + 1, whose key has this hash; first to last are not committed and
 * stay. */
struct operation *operations_add(struct operations *operations, uint64_t first, uint64_t last,
                                 uint64_t hash);

/* Its index is committed. */
void operations_done(struct operations *operations, uint64_t index);

#endif

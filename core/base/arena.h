/*
 * Memory that is given back all at once: pieces stay where they are until arena_reset().
 * Chunks are kept for the next round, so that a steady load allocates nothing. One thread at a
 * time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *first;
    struct arena_chunk *current;
};

void arena_init(struct arena *arena);
void arena_close(struct arena *arena);

/* Uninitialised, aligned to 8; never NULL. */
void *arena_alloc(struct arena *arena, size_t size);

/* Takes back everything; keeps ordinary chunks, frees the oversized ones. */
void arena_reset(struct arena *arena);

#endif

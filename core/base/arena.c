#include "base/arena.h"

#include "base/alloc.h"

#define ARENA_CHUNK_BYTES (64u * 1024u)
#define ARENA_CHUNKS_KEPT 16u

struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity;
    size_t used;
    _Alignas(8) unsigned char bytes[];
};

void arena_init(struct arena *arena)
{
    arena->first = NULL;
    arena->current = NULL;
}

void arena_close(struct arena *arena)
{
    struct arena_chunk *chunk = arena->first;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        alloc_free(chunk);
        chunk = next;
    }
    arena_init(arena);
}

/* Puts a chunk of at least size bytes behind the current one and makes it current. */
static struct arena_chunk *arena_grow(struct arena *arena, size_t size)
{
    size_t capacity = size > ARENA_CHUNK_BYTES ? size : ARENA_CHUNK_BYTES;
    struct arena_chunk *chunk = alloc_bytes(sizeof(*chunk) + capacity);
    chunk->capacity = capacity;
    chunk->used = 0;
    if (arena->current == NULL) {
        chunk->next = arena->first;
        arena->first = chunk;
    } else {
        chunk->next = arena->current->next;
        arena->current->next = chunk;
    }
    arena->current = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size = (size + 7u) & ~(size_t)7u;
    struct arena_chunk *chunk = arena->current;
    if (chunk != NULL && size > chunk->capacity - chunk->used && chunk->next != NULL &&
        size <= chunk->next->capacity) {
        chunk = chunk->next; /* left over from an earlier round, and empty */
        arena->current = chunk;
    }
    if (chunk == NULL || size > chunk->capacity - chunk->used) {
        chunk = arena_grow(arena, size);
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk **link = &arena->first;
    size_t kept = 0;
    while (*link != NULL) {
        struct arena_chunk *chunk = *link;
        if (chunk->capacity > ARENA_CHUNK_BYTES || kept == ARENA_CHUNKS_KEPT) {
            *link = chunk->next;
            alloc_free(chunk);
        } else {
            chunk->used = 0;
            kept++;
            link = &chunk->next;
        }
    }
    arena->current = arena->first;
}

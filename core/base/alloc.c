#include "base/alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int64_t alloc_count;

static _Noreturn void alloc_fail(size_t size)
{
    fprintf(stderr, "out of memory: %zu bytes asked for\n", size);
    fflush(stderr);
    abort();
}

static void *alloc_counted(void *memory, size_t size)
{
    if (memory == NULL) {
        alloc_fail(size);
    }
    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    return memory;
}

void *alloc_bytes(size_t size)
{
    return alloc_counted(malloc(size == 0 ? 1 : size), size);
}

void *alloc_zeroed(size_t count, size_t size)
{
    return alloc_counted(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size), size);
}

void *alloc_resize(void *memory, size_t size)
{
    if (memory == NULL) {
        return alloc_bytes(size);
    }
    void *moved = realloc(memory, size == 0 ? 1 : size);
    if (moved == NULL) {
        alloc_fail(size);
    }
    return moved;
}

char *alloc_string(const char *text, size_t len)
{
    char *copy = alloc_bytes(len + 1);
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

void alloc_free(void *memory)
{
    if (memory != NULL) {
        atomic_fetch_sub_explicit(&alloc_count, 1, memory_order_relaxed);
        free(memory);
    }
}

int64_t alloc_live(void)
{
    return atomic_load_explicit(&alloc_count, memory_order_relaxed);
}

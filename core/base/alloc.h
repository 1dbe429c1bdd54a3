/*
 * Memory of the core. Running out of memory ends the process with a message: every queue and table
 * of the core has a limit, so memory is planned for, and a half-executed step could not be undone.
 * Allocations are counted so that tests can show that nothing is kept. Any thread.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Uninitialised memory; never NULL; size 0 is fine. */
void *alloc_bytes(size_t size);

/* Zeroed memory for count items; the product is checked for overflow. */
void *alloc_zeroed(size_t count, size_t size);

/* As realloc(), never NULL. */
void *alloc_resize(void *memory, size_t size);

/* Copies len bytes and appends a NUL. */
char *alloc_string(const char *text, size_t len);

/* NULL is fine. */
void alloc_free(void *memory);

/* How many allocations are live. */
int64_t alloc_live(void);

#endif

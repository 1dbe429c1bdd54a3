/*
 * A growing piece of memory. Any code of kvctl, one thread. A command-line tool cannot go on
 * without memory: when there is none, the process ends with a message.
 */
#ifndef KVCTL_BUFFER_H
#define KVCTL_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* Zero it before first use. */
struct buffer {
    uint8_t *bytes;
    size_t len;
    size_t capacity;
};

/* As malloc(), calloc(), but never NULL. */
void *memory_allocate(size_t size);
void *memory_allocate_zero(size_t count, size_t size);

/* Room for len more bytes behind those already there; they count once `len` is raised. */
uint8_t *buffer_room(struct buffer *buffer, size_t len);

void buffer_append(struct buffer *buffer, const void *bytes, size_t len);
void buffer_append_byte(struct buffer *buffer, uint8_t byte);
void buffer_append_text(struct buffer *buffer, const char *text);

/* Frees the memory and makes it empty again. */
void buffer_close(struct buffer *buffer);

#endif

/*
 * A growing piece of memory. Any code of kvctl, one thread. A command-line tool cannot go on
 * without memory: when there is none, the process ends with a message.
 */
#ifndef KVCTL_TEXT_BUFFER_H
#define KVCTL_TEXT_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* Zero it before first use. */
struct text_buffer {
    uint8_t *bytes;
    size_t len;
    size_t capacity;
};

/* As malloc(), calloc(), but never NULL. */
void *memory_allocate(size_t size);
void *memory_allocate_zero(size_t count, size_t size);

/* Room for len more bytes behind those already there; they count once `len` is raised. */
uint8_t *text_buffer_room(struct text_buffer *buffer, size_t len);

void text_buffer_append(struct text_buffer *buffer, const void *bytes, size_t len);
void text_buffer_append_byte(struct text_buffer *buffer, uint8_t byte);
void text_buffer_append_text(struct text_buffer *buffer, const char *text);

/* Frees the memory and makes it empty again. */
void text_buffer_close(struct text_buffer *buffer);

#endif

#include "text_buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *memory_checked(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(3); /* "failed", of all tools */
    }
    return memory;
}

void *memory_allocate(size_t size)
{
    return memory_checked(malloc(size == 0 ? 1 : size));
}

void *memory_allocate_zero(size_t count, size_t size)
{
    return memory_checked(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

uint8_t *text_buffer_room(struct text_buffer *buffer, size_t len)
{
    size_t needed = buffer->len + len;
    if (needed < len) {
        memory_checked(NULL);
    }
    if (needed > buffer->capacity || buffer->bytes == NULL) {
        size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
        while (capacity < needed) {
            capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
        }
        buffer->bytes = memory_checked(realloc(buffer->bytes, capacity));
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->len;
}

void text_buffer_append(struct text_buffer *buffer, const void *bytes, size_t len)
{
    uint8_t *room = text_buffer_room(buffer, len);
    if (len > 0) {
        memcpy(room, bytes, len);
        buffer->len += len;
    }
}

void text_buffer_append_byte(struct text_buffer *buffer, uint8_t byte)
{
    *text_buffer_room(buffer, 1) = byte;
    buffer->len++;
}

void text_buffer_append_text(struct text_buffer *buffer, const char *text)
{
    text_buffer_append(buffer, text, strlen(text));
}

void text_buffer_close(struct text_buffer *buffer)
{
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->len = 0;
    buffer->capacity = 0;
}

/* Bytes that grow at the end. Owned by whoever initialised it; buffer_take() hands them over. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes;
    size_t len;
    size_t capacity;
};

void buffer_init(struct buffer *buffer);
void buffer_close(struct buffer *buffer);

/* Room for len more bytes, counted as written; valid until the next call. */
uint8_t *buffer_room(struct buffer *buffer, size_t len);

/* Hands the bytes (alloc_free() them; NULL when empty) to the caller and begins anew. */
uint8_t *buffer_take(struct buffer *buffer, size_t *ret_len);

#endif

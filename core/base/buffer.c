#include "base/buffer.h"

#include "base/alloc.h"

#define BUFFER_BYTES_MIN 256u

void buffer_init(struct buffer *buffer)
{
    buffer->bytes = NULL;
    buffer->len = 0;
    buffer->capacity = 0;
}

void buffer_close(struct buffer *buffer)
{
    alloc_free(buffer->bytes);
    buffer_init(buffer);
}

uint8_t *buffer_room(struct buffer *buffer, size_t len)
{
    if (len > buffer->capacity - buffer->len) {
        size_t capacity = buffer->capacity < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : buffer->capacity;
        while (capacity - buffer->len < len) {
            capacity *= 2;
        }
        buffer->bytes = alloc_resize(buffer->bytes, capacity);
        buffer->capacity = capacity;
    }
    uint8_t *at = buffer->bytes + buffer->len;
    buffer->len += len;
    return at;
}

uint8_t *buffer_take(struct buffer *buffer, size_t *ret_len)
{
    uint8_t *bytes = buffer->bytes;
    *ret_len = buffer->len;
    buffer_init(buffer);
    return bytes;
}

/*
 * Reading and writing little-endian numbers and byte strings in a bounded piece of memory.
 *
 * Both sides keep going after a fault and remember it: check `failed` once at the end. A failed
 * reader gives zeros and empty strings; a failed writer writes nothing more. No allocation.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void bytes_put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline void bytes_put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline uint32_t bytes_get_u32(const uint8_t *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value |= (uint32_t)at[i] << (8 * i);
    }
    return value;
}

static inline uint64_t bytes_get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

struct bytes_reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

/* Borrowed bytes; at is NULL only when len is 0. */
struct bytes_view {
    const uint8_t *at;
    size_t len;
};

static inline struct bytes_reader bytes_reader_init(const void *bytes, size_t len)
{
    struct bytes_reader reader = {bytes, len, false};
    return reader;
}

/* The next len bytes, or NULL and failed. */
static inline const uint8_t *bytes_read(struct bytes_reader *reader, size_t len)
{
    if (reader->failed || len > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += len;
    reader->left -= len;
    return at;
}

static inline uint8_t bytes_read_u8(struct bytes_reader *reader)
{
    const uint8_t *at = bytes_read(reader, 1);
    return at == NULL ? 0 : *at;
}

static inline uint32_t bytes_read_u32(struct bytes_reader *reader)
{
    const uint8_t *at = bytes_read(reader, 4);
    return at == NULL ? 0 : bytes_get_u32(at);
}

static inline uint64_t bytes_read_u64(struct bytes_reader *reader)
{
    const uint8_t *at = bytes_read(reader, 8);
    return at == NULL ? 0 : bytes_get_u64(at);
}

/* A u32 length and as many bytes. */
static inline struct bytes_view bytes_read_view(struct bytes_reader *reader)
{
    struct bytes_view view = {NULL, 0};
    uint32_t len = bytes_read_u32(reader);
    const uint8_t *at = bytes_read(reader, len);
    if (at != NULL) {
        view.at = at;
        view.len = len;
    }
    return view;
}

struct bytes_writer {
    uint8_t *start;
    size_t len;
    size_t capacity;
    bool failed;
};

static inline struct bytes_writer bytes_writer_init(void *memory, size_t capacity)
{
    struct bytes_writer writer = {memory, 0, capacity, false};
    return writer;
}

/* Room for len bytes, or NULL and failed. */
static inline uint8_t *bytes_write_room(struct bytes_writer *writer, size_t len)
{
    if (writer->failed || len > writer->capacity - writer->len) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *at = writer->start + writer->len;
    writer->len += len;
    return at;
}

static inline void bytes_write(struct bytes_writer *writer, const void *bytes, size_t len)
{
    uint8_t *at = bytes_write_room(writer, len);
    if (at != NULL && len > 0) {
        memcpy(at, bytes, len);
    }
}

static inline void bytes_write_u8(struct bytes_writer *writer, uint8_t value)
{
    bytes_write(writer, &value, 1);
}

static inline void bytes_write_u32(struct bytes_writer *writer, uint32_t value)
{
    uint8_t *at = bytes_write_room(writer, 4);
    if (at != NULL) {
        bytes_put_u32(at, value);
    }
}

static inline void bytes_write_u64(struct bytes_writer *writer, uint64_t value)
{
    uint8_t *at = bytes_write_room(writer, 8);
    if (at != NULL) {
        bytes_put_u64(at, value);
    }
}

static inline void bytes_write_view(struct bytes_writer *writer, const void *bytes, size_t len)
{
    bytes_write_u32(writer, (uint32_t)len);
    bytes_write(writer, bytes, len);
}

#endif

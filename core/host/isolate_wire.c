#include "host/isolate_wire.h"

#include "base/alloc.h"
#include "host/guard_persist.h"

#include <sys/socket.h>

#define ISOLATE_READER_BYTES 262144u

/* flags of a record */
#define ISOLATE_KEY_NULL   0x1u
#define ISOLATE_VALUE_NULL 0x2u
#define ISOLATE_KEY_LONG   0x4u
#define ISOLATE_VALUE_LONG 0x8u
#define ISOLATE_NO_RECORD  0x10u
#define ISOLATE_FLAGS      0x1fu

void isolate_reader_init(struct isolate_reader *reader, int fd)
{
    *reader = (struct isolate_reader){.fd = fd, .capacity = ISOLATE_READER_BYTES};
    reader->bytes = alloc_bytes(reader->capacity);
}

void isolate_reader_close(struct isolate_reader *reader)
{
    alloc_free(reader->bytes);
    reader->bytes = NULL;
}

ssize_t isolate_reader_fill(struct isolate_reader *reader, int flags)
{
    size_t len = reader->to - reader->from;
    if (len == 0) {
        reader->from = 0;
        reader->to = 0;
    } else if (reader->to == reader->capacity && reader->from > 0) {
        memmove(reader->bytes, reader->bytes + reader->from, len);
        reader->from = 0;
        reader->to = len;
    } else if (reader->to == reader->capacity) {
        reader->capacity *= 2; /* less than twice of a frame that the taker allowed */
        reader->bytes = alloc_resize(reader->bytes, reader->capacity);
    }
    ssize_t received =
        recv(reader->fd, reader->bytes + reader->to, reader->capacity - reader->to, flags);
    if (received > 0) {
        reader->to += (size_t)received;
    }
    return received;
}

enum isolate_taken isolate_reader_take(struct isolate_reader *reader, uint64_t len_max,
                                       struct isolate_frame *ret_frame)
{
    size_t len = reader->to - reader->from;
    const uint8_t *at = reader->bytes + reader->from;
    if (len < ISOLATE_HEADER_BYTES) {
        return ISOLATE_PART;
    }
    uint64_t frame_len = bytes_get_u64(at + 16);
    if (bytes_get_u32(at) != ISOLATE_MAGIC || bytes_get_u32(at + 12) != 0 || frame_len > len_max) {
        return ISOLATE_MALFORMED;
    }
    if (frame_len > len - ISOLATE_HEADER_BYTES) {
        return ISOLATE_PART;
    }
    *ret_frame = (struct isolate_frame){.type = bytes_get_u32(at + 4),
                                        .call = bytes_get_u32(at + 8),
                                        .bytes = at + ISOLATE_HEADER_BYTES,
                                        .len = frame_len};
    reader->from += ISOLATE_HEADER_BYTES + frame_len;
    return ISOLATE_TAKEN;
}

void isolate_put_header(uint8_t *at, uint32_t type, uint32_t call, uint64_t len)
{
    bytes_put_u32(at, ISOLATE_MAGIC);
    bytes_put_u32(at + 4, type);
    bytes_put_u32(at + 8, call);
    bytes_put_u32(at + 12, 0);
    bytes_put_u64(at + 16, len);
}

struct isolate_record_form isolate_record_form(const struct kv_record *record)
{
    struct isolate_record_form form = {0, 0, 0};
    if (record == NULL) {
        form.flags = ISOLATE_NO_RECORD;
        return form;
    }
    form.flags = (record->key == NULL ? ISOLATE_KEY_NULL : 0) |
                 (record->value == NULL ? ISOLATE_VALUE_NULL : 0) |
                 (record->key_len > GUARD_KEY_BYTES_MAX ? ISOLATE_KEY_LONG : 0) |
                 (record->value_len > GUARD_VALUE_BYTES_MAX ? ISOLATE_VALUE_LONG : 0);
    form.key_bytes = (form.flags & (ISOLATE_KEY_NULL | ISOLATE_KEY_LONG)) ? 0 : record->key_len;
    form.value_bytes =
        (form.flags & (ISOLATE_VALUE_NULL | ISOLATE_VALUE_LONG)) ? 0 : record->value_len;
    return form;
}

void isolate_put_record(uint8_t *at, const struct kv_record *record,
                        const struct isolate_record_form *form)
{
    memset(at, 0, ISOLATE_RECORD_BYTES);
    bytes_put_u32(at, form->flags);
    if (record == NULL) {
        return;
    }
    bytes_put_u32(at + 4, record->kind);
    bytes_put_u32(at + 8, record->key_len);
    bytes_put_u32(at + 12, record->value_len);
    bytes_put_u32(at + 16, record->reserved);
    bytes_put_u64(at + 24, record->position.view);
    bytes_put_u64(at + 32, record->position.index);
    bytes_put_u64(at + 40, record->client);
    bytes_put_u64(at + 48, record->request);
}

/* A key or a value: NULL, too long (a pointer that is not read), or so many bytes of the reader. */
static const void *isolate_read_member(struct bytes_reader *reader, bool is_null, bool is_long,
                                       uint32_t len, uint32_t len_max)
{
    if ((len > len_max) != is_long) {
        reader->failed = true;
    }
    if (is_null || reader->failed) {
        return NULL;
    }
    return is_long ? (const void *)"" : bytes_read(reader, len);
}

bool isolate_read_record(struct bytes_reader *reader, struct kv_record *ret_record,
                         bool *ret_is_null)
{
    const uint8_t *at = bytes_read(reader, ISOLATE_RECORD_BYTES);
    if (at == NULL) {
        return false;
    }
    uint32_t flags = bytes_get_u32(at);
    if ((flags & ~ISOLATE_FLAGS) != 0) {
        return false;
    }
    *ret_is_null = (flags & ISOLATE_NO_RECORD) != 0;
    ret_record->kind = bytes_get_u32(at + 4);
    ret_record->key_len = bytes_get_u32(at + 8);
    ret_record->value_len = bytes_get_u32(at + 12);
    ret_record->reserved = bytes_get_u32(at + 16);
    ret_record->position.view = bytes_get_u64(at + 24);
    ret_record->position.index = bytes_get_u64(at + 32);
    ret_record->client = bytes_get_u64(at + 40);
    ret_record->request = bytes_get_u64(at + 48);
    ret_record->key = isolate_read_member(reader, (flags & ISOLATE_KEY_NULL) != 0,
                                          (flags & ISOLATE_KEY_LONG) != 0, ret_record->key_len,
                                          GUARD_KEY_BYTES_MAX);
    ret_record->value = isolate_read_member(reader, (flags & ISOLATE_VALUE_NULL) != 0,
                                            (flags & ISOLATE_VALUE_LONG) != 0,
                                            ret_record->value_len, GUARD_VALUE_BYTES_MAX);
    return !reader->failed;
}

void isolate_append(struct buffer *out, uint32_t type, uint32_t call, const void *head,
                    size_t head_len, const void *tail, size_t tail_len)
{
    uint8_t *at = buffer_room(out, ISOLATE_HEADER_BYTES + head_len + tail_len);
    isolate_put_header(at, type, call, head_len + tail_len);
    at += ISOLATE_HEADER_BYTES;
    if (head_len > 0) {
        memcpy(at, head, head_len);
    }
    if (tail_len > 0) {
        memcpy(at + head_len, tail, tail_len);
    }
}

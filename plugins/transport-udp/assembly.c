/*
 * Happy path: nothing is buffered and the piece is the next one. Its whole messages are handed on
 * in place; the beginning of a message at its end is buffered. The next piece gives the buffer just
 * the rest of that message, and is itself the next one again.
 *
 * A piece that comes too early is copied to its place in the buffer, which is a flat view of the
 * stream from `base` on, with holes; `have` knows what is there. When the hole at the front closes,
 * the messages behind it are handed on out of the buffer.
 *
 * What is handed on moves `start`, not the bytes. They are moved to the front when that frees half
 * of the buffer, or when the buffer is as large as it may be and the room is needed. The largest
 * buffer is larger than the window, so that even then `start` has come far: else a peer could have
 * a whole window moved with each datagram.
 *
 * Failure: when memory runs out in the middle of a piece, what was handed on or kept of it stays
 * so; it comes again, as the peer gets no acknowledgement for it, and the rest is new then.
 */
#include "assembly.h"

#include "bug.h"

#include <string.h>

#define CAPACITY_MIN  4096u
#define CAPACITY_KEEP 16384u /* a larger buffer goes back when it is empty */

/* A piece, or what is left of it. */
struct piece {
    uint64_t offset;
    const uint8_t *bytes;
    size_t len;
};

void assembly_init(struct assembly *assembly, const struct kv_host *host, uint32_t message_max)
{
    *assembly = (struct assembly){.host = host, .message_max = message_max};
    ranges_init(&assembly->have, host);
}

void assembly_close(struct assembly *assembly)
{
    assembly->host->release(assembly->host->ctx, assembly->bytes);
    assembly->bytes = NULL;
    assembly->start = 0;
    assembly->capacity = 0;
    ranges_close(&assembly->have);
}

uint64_t assembly_window(uint32_t message_max)
{
    return (uint64_t)message_max + ASSEMBLY_HEADER_LEN + ASSEMBLY_AHEAD_LEN;
}

uint64_t assembly_limit(const struct assembly *assembly)
{
    return assembly->base + assembly_window(assembly->message_max);
}

static void advance(struct piece *piece, size_t len)
{
    piece->offset += len;
    piece->bytes += len;
    piece->len -= len;
}

static uint32_t get_message_len(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* Bytes that are there from base on without a hole. */
static size_t get_ready(const struct assembly *assembly)
{
    const struct ranges *have = &assembly->have;
    bool is_first = have->len > 0 && have->at[0].from == assembly->base;
    return is_first ? (size_t)(have->at[0].to - assembly->base) : 0;
}

/* Bytes that the buffer must keep, holes included. */
static size_t get_held(const struct assembly *assembly)
{
    const struct ranges *have = &assembly->have;
    return have->len > 0 ? (size_t)(have->at[have->len - 1].to - assembly->base) : 0;
}

static void move_to_front(struct assembly *assembly)
{
    memmove(assembly->bytes, assembly->bytes + assembly->start, get_held(assembly));
    assembly->start = 0;
}

/* Room for `need` bytes of the stream from base on. */
static int32_t make_room(struct assembly *assembly, size_t need)
{
    if (need <= assembly->capacity - assembly->start) {
        return KV_OK;
    }
    if (need <= assembly->capacity && assembly->start >= assembly->capacity / 2) {
        move_to_front(assembly);
        return KV_OK;
    }
    size_t window = (size_t)assembly_window(assembly->message_max);
    size_t capacity_max = window + window / ASSEMBLY_SPARE_SHARE;
    size_t capacity = assembly->capacity * 2;
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    capacity = capacity < need ? need : capacity;
    capacity = capacity > capacity_max ? capacity_max : capacity;
    uint8_t *bytes = NULL;
    if (capacity > assembly->capacity) {
        bytes = assembly->host->allocate(assembly->host->ctx, capacity);
    }
    if (bytes != NULL) {
        if (assembly->bytes != NULL) {
            memcpy(bytes, assembly->bytes + assembly->start, get_held(assembly));
        }
        assembly->host->release(assembly->host->ctx, assembly->bytes);
        assembly->bytes = bytes;
        assembly->start = 0;
        assembly->capacity = capacity;
        return KV_OK;
    }
    if (need <= assembly->capacity) {
        move_to_front(assembly);
        return KV_OK;
    }
    return KV_E_NOMEM;
}

/* An empty buffer begins at its front again, or goes back. */
static void tidy(struct assembly *assembly)
{
    if (assembly->have.len > 0) {
        return;
    }
    assembly->start = 0;
    if (assembly->capacity > CAPACITY_KEEP) {
        assembly->host->release(assembly->host->ctx, assembly->bytes);
        assembly->bytes = NULL;
        assembly->capacity = 0;
        ranges_clear(&assembly->have);
    }
}

/* Whether it would split a hole, or make one behind all that is there. At base it only makes one
 * smaller. */
static bool opens_gap(const struct assembly *assembly, const struct piece *piece)
{
    if (piece->offset == assembly->base) {
        return false;
    }
    const struct range *near = ranges_find(&assembly->have, piece->offset - 1);
    return near == NULL || near->from > piece->offset + piece->len;
}

/* Copies what is new of `len` bytes of the piece to its place. All or nothing. */
static int32_t store(struct assembly *assembly, const struct piece *piece, size_t len)
{
    uint64_t end = piece->offset + len;
    int32_t status = make_room(assembly, (size_t)(end - assembly->base));
    if (status != KV_OK) {
        return status;
    }
    uint8_t *to = assembly->bytes + assembly->start;
    uint64_t offset = piece->offset;
    while (offset < end) {
        const struct range *known = ranges_find(&assembly->have, offset);
        uint64_t upto = known != NULL && known->from < end ? known->from : end;
        if (offset < upto) {
            memcpy(to + (offset - assembly->base), piece->bytes + (offset - piece->offset),
                   (size_t)(upto - offset));
        }
        offset = upto < end ? known->to : end;
    }
    return ranges_add(&assembly->have, piece->offset, end);
}

/* Hands on the whole messages at the front of the piece, which begins at base. */
static int32_t deliver_piece(struct assembly *assembly, struct piece *piece, assembly_fn deliver,
                             void *ctx)
{
    while (piece->len >= ASSEMBLY_HEADER_LEN) {
        uint32_t len = get_message_len(piece->bytes);
        if (len > assembly->message_max) {
            return KV_E_TOO_LARGE;
        }
        if (piece->len - ASSEMBLY_HEADER_LEN < len) {
            break;
        }
        const uint8_t *message = piece->bytes + ASSEMBLY_HEADER_LEN;
        advance(piece, ASSEMBLY_HEADER_LEN + (size_t)len);
        assembly->base = piece->offset;
        if (!deliver(ctx, message, len)) {
            return KV_E_CLOSED;
        }
    }
    return KV_OK;
}

/* Hands on the whole messages at the front of the buffer. */
static int32_t deliver_buffer(struct assembly *assembly, assembly_fn deliver, void *ctx)
{
    size_t ready = get_ready(assembly);
    while (ready >= ASSEMBLY_HEADER_LEN) {
        const uint8_t *front = assembly->bytes + assembly->start;
        uint32_t len = get_message_len(front);
        if (len > assembly->message_max) {
            return KV_E_TOO_LARGE;
        }
        size_t size = ASSEMBLY_HEADER_LEN + (size_t)len;
        if (ready < size) {
            break;
        }
        ready -= size;
        assembly->start += size;
        assembly->base += size;
        /* Never KV_E_NOMEM: nothing lies below base, so no range becomes two. */
        ranges_remove(&assembly->have, 0, assembly->base);
        if (!deliver(ctx, front + ASSEMBLY_HEADER_LEN, len)) {
            return KV_E_CLOSED;
        }
    }
    tidy(assembly);
    return KV_OK;
}

/* How much of the piece the buffer needs. When all that is there is the beginning of one message,
 * and the piece continues it: what completes its length, or it. Else all. */
static size_t get_share(const struct assembly *assembly, const struct piece *piece)
{
    size_t ready = get_ready(assembly);
    if (assembly->have.len != 1 || ready == 0 || piece->offset != assembly->base + ready) {
        return piece->len;
    }
    size_t size = ASSEMBLY_HEADER_LEN;
    if (ready >= ASSEMBLY_HEADER_LEN) {
        size += get_message_len(assembly->bytes + assembly->start);
    }
    size_t missing = size - ready;
    return piece->len < missing ? piece->len : missing;
}

int32_t assembly_add(struct assembly *assembly, uint64_t offset, const uint8_t *bytes, size_t len,
                     assembly_fn deliver, void *ctx)
{
    struct piece piece = {offset, bytes, len};
    uint64_t limit = assembly_limit(assembly);
    if (offset > limit || len > limit - offset) {
        return KV_E_MALFORMED;
    }
    if (BUG(deliver_twice) && offset + len == assembly->base) {
        assembly->base = offset;
    }
    if (len == 0 || offset + len <= assembly->base) {
        return KV_OK;
    }
    if (offset < assembly->base) {
        advance(&piece, (size_t)(assembly->base - offset));
    }
    uint32_t gaps_len = assembly->have.len - (get_ready(assembly) > 0 ? 1 : 0);
    if (gaps_len >= ASSEMBLY_GAPS_MAX && opens_gap(assembly, &piece)) {
        return KV_E_RETRY;
    }
    int32_t status = KV_OK;
    while (piece.len > 0 && status == KV_OK) {
        if (assembly->have.len == 0 && piece.offset == assembly->base) {
            status = deliver_piece(assembly, &piece, deliver, ctx);
            if (status != KV_OK || piece.len == 0) {
                return status;
            }
        }
        size_t share = get_share(assembly, &piece);
        status = store(assembly, &piece, share);
        if (status == KV_OK) {
            advance(&piece, share);
            status = deliver_buffer(assembly, deliver, ctx);
        }
    }
    if (status == KV_E_NOMEM) {
        tidy(assembly);
    }
    return status;
}

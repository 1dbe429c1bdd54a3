/*
 * The incoming stream of a link: pieces come in any order, some twice; whole messages go out in
 * order, once each. Pure; owned by one link.
 *
 * The stream is one message after the other: its length in 4 bytes, little-endian, then its bytes.
 * A message that lies whole and in order in the piece at hand is handed on in place; all others are
 * put together in a buffer that grows with what has come, never above the window and an eighth, and
 * goes back when nothing is left in it.
 */
#ifndef TRANSPORT_UDP_ASSEMBLY_H
#define TRANSPORT_UDP_ASSEMBLY_H

#include "ranges.h"

#include <stddef.h>

#define ASSEMBLY_HEADER_LEN 4u
/* Beyond one longest message, the window has room for so much that came too early. */
#define ASSEMBLY_AHEAD_LEN (1024u * 1024u)
/* Of the window: by so much the largest buffer is larger than it. */
#define ASSEMBLY_SPARE_SHARE 8u
/* Gaps that are kept; a piece that would open a further one is not taken. */
#define ASSEMBLY_GAPS_MAX 1024u

/* One message, borrowed for the call. False: the link is gone, deliver nothing more. */
typedef bool (*assembly_fn)(void *ctx, const uint8_t *bytes, uint32_t len);

struct assembly {
    const struct kv_host *host;
    uint32_t message_max;
    uint64_t base;  /* offset of the first byte that was not delivered: begin of a message */
    uint8_t *bytes; /* holds the stream from base on, beginning at `start` */
    size_t start;
    size_t capacity;
    struct ranges have; /* what is in the buffer, by offset */
};

void assembly_init(struct assembly *assembly, const struct kv_host *host, uint32_t message_max);
void assembly_close(struct assembly *assembly);

/* Bytes beyond `base` that are taken: one message of message_max, its header, and
 * ASSEMBLY_AHEAD_LEN. */
uint64_t assembly_window(uint32_t message_max);

/* base + window: the peer may send below it. Never goes back. */
uint64_t assembly_limit(const struct assembly *assembly);

/*
 * Takes a piece of the stream and hands on what it completes. Bytes that were there already are
 * left out (the first that came count). KV_OK: taken, or nothing new in it. KV_E_RETRY: a gap too
 * many, nothing taken; KV_E_NOMEM: not all taken, it has to come again (what was handed on is not
 * handed on again). KV_E_MALFORMED: beyond the limit;
 * KV_E_TOO_LARGE: a message above message_max is announced: for both the stream is at its end.
 * KV_E_CLOSED: deliver() said so; the assembly was perhaps closed meanwhile and is not touched.
 */
int32_t assembly_add(struct assembly *assembly, uint64_t offset, const uint8_t *bytes, size_t len,
                     assembly_fn deliver, void *ctx);

#endif

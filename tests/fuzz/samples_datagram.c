/*
 * Samples for harness_datagram(): what a peer could send, step by step. Tokens, proofs and
 * checksums are left to the control byte, so that these bytes stay the same.
 */
#include "samples_datagram.h"

#include "base/buffer.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "harness_datagram.h"
#include "wire.h"

#include <string.h>

#define UP       0u
#define HALF     1u
#define SOUGHT   2u
#define STRANGER 3u
#define PATCHED  (DATAGRAM_CONTROL_TOKENS | DATAGRAM_CONTROL_CRC)

static uint32_t host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

static const struct kv_host sample_host = {.size = sizeof(sample_host), .crc32c = host_crc32c};

static void add_step(struct buffer *buffer, uint8_t control, const uint8_t *bytes, size_t len)
{
    uint8_t *step = buffer_room(buffer, DATAGRAM_STEP_HEADER + len);
    step[0] = control;
    step[1] = (uint8_t)len;
    step[2] = (uint8_t)(len >> 8);
    if (bytes != NULL) {
        memcpy(step + DATAGRAM_STEP_HEADER, bytes, len);
    }
}

/* So many times 256 us. */
static void add_time(struct buffer *buffer, uint16_t units)
{
    uint8_t *step = buffer_room(buffer, DATAGRAM_STEP_HEADER);
    step[0] = DATAGRAM_CONTROL_TIME;
    step[1] = (uint8_t)units;
    step[2] = (uint8_t)(units >> 8);
}

static void add_kind(struct buffer *buffer, uint8_t control, enum wire_kind kind)
{
    struct wire_datagram datagram = {.kind = kind,
                                     .from = 0x7700,
                                     .version = WIRE_VERSION,
                                     .reason = WIRE_REASON_CLOSED,
                                     .cookie = {5, 6},
                                     .hello = {4096, 1472, 1u << 20}};
    uint8_t bytes[WIRE_BYTES_MAX];
    add_step(buffer, control, bytes, wire_encode(&sample_host, &datagram, bytes));
}

static void add_packet(struct buffer *buffer, uint8_t control, struct wire_packet *packet,
                       const uint8_t *piece, size_t piece_len)
{
    struct wire_datagram datagram = {.kind = WIRE_DATA, .packet = *packet};
    struct kv_slice slice = {piece, piece_len};
    uint8_t bytes[WIRE_BYTES_MAX + 512];
    KV_CHECK(piece_len <= 512);
    size_t len =
        wire_encode_packet(&sample_host, &datagram, &slice, piece_len > 0 ? 1 : 0, 0, bytes);
    if (piece_len > 0) {
        memcpy(bytes + len, piece, piece_len);
    }
    add_step(buffer, control, bytes, len + piece_len);
}

/* A message of `len` bytes, cut in three that come in the wrong order, one twice. offset: where the
 * stream is. */
static void add_message(struct buffer *buffer, uint8_t control, uint64_t number, uint64_t offset,
                        uint8_t len)
{
    uint8_t piece[4 + 255] = {len};
    memset(piece + 4, 'm', len);
    uint32_t size = 4u + len;
    const uint32_t cuts[4] = {0, 1, size / 2, size};
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t part = (uint32_t[]){2, 0, 2, 1}[i];
        struct wire_packet packet = {
            .number = number + i, .has_stream = true, .offset = offset + cuts[part]};
        add_packet(buffer, control, &packet, piece + cuts[part], cuts[part + 1] - cuts[part]);
    }
}

static void make_data(struct buffer *buffer)
{
    /* Behind what the harness sent to bring the link up: one packet of 31 bytes. */
    add_message(buffer, UP | PATCHED, 1, 31, 40);
    add_message(buffer, UP | PATCHED, 5, 31 + 44, 0);
    add_message(buffer, UP | PATCHED, 5, 31 + 48, 200);
    struct wire_packet probe = {.number = 40, .is_probe = true};
    add_packet(buffer, UP | PATCHED, &probe, NULL, 0);
    add_message(buffer, HALF | PATCHED, 0, 0, 10);
    add_time(buffer, 40);
}

static void make_ack(struct buffer *buffer)
{
    add_message(buffer, UP | PATCHED, 1, 31, 40);
    struct wire_packet packet = {
        .number = 9,
        .has_ack = true,
        .ack = {.delay_us = 500, .limit = 1u << 21, .ranges_len = 1, .ranges = {{0, 1}}}};
    add_packet(buffer, UP | PATCHED, &packet, NULL, 0);
    packet.number = 10;
    packet.ack.ranges_len = 2;
    packet.ack.ranges[0] = (struct range){7, 9};
    packet.ack.ranges[1] = (struct range){0, 5};
    add_packet(buffer, UP | PATCHED, &packet, NULL, 0); /* of what was never sent */
    add_time(buffer, 4000);
}

static void make_forged(struct buffer *buffer)
{
    struct wire_packet packet = {.number = 1, .has_stream = true, .offset = 31};
    const uint8_t piece[5] = {1, 0, 0, 0, 'x'};
    for (uint8_t peer = UP; peer <= STRANGER; peer++) {
        add_packet(buffer, peer | DATAGRAM_CONTROL_CRC, &packet, piece, sizeof(piece));
        add_packet(buffer, peer, &packet, piece, sizeof(piece));
        add_kind(buffer, peer | DATAGRAM_CONTROL_CRC, WIRE_CLOSE);
        add_kind(buffer, peer | DATAGRAM_CONTROL_CRC, WIRE_UNKNOWN);
    }
}

static void make_handshake(struct buffer *buffer)
{
    for (uint8_t peer = UP; peer <= STRANGER; peer++) {
        add_kind(buffer, peer | DATAGRAM_CONTROL_CRC, WIRE_HELLO);
        add_kind(buffer, peer | PATCHED, WIRE_OPEN);
        add_kind(buffer, peer | DATAGRAM_CONTROL_CRC, WIRE_OPEN);
    }
    add_time(buffer, 30000);
}

static void make_answers(struct buffer *buffer)
{
    add_kind(buffer, SOUGHT | PATCHED, WIRE_COOKIE);
    add_kind(buffer, SOUGHT | PATCHED, WIRE_ACCEPT);
    struct wire_packet packet = {.number = 0, .has_stream = true};
    const uint8_t piece[5] = {1, 0, 0, 0, 'x'};
    add_packet(buffer, SOUGHT | PATCHED, &packet, piece, sizeof(piece));
    add_kind(buffer, SOUGHT | PATCHED, WIRE_CLOSE);
    add_time(buffer, 3000);
    add_kind(buffer, SOUGHT | PATCHED, WIRE_REFUSE);
    add_kind(buffer, UP | PATCHED, WIRE_CLOSE);
    add_kind(buffer, HALF | PATCHED, WIRE_UNKNOWN);
}

static void make_too_much(struct buffer *buffer)
{
    const uint8_t piece[4] = {0xff, 0xff, 0xff, 0x7f};
    struct wire_packet packet = {.number = 1, .has_stream = true, .offset = 31};
    add_packet(buffer, UP | PATCHED, &packet, piece, sizeof(piece)); /* above message_max */
    packet.offset = 1ull << 40;
    add_packet(buffer, HALF | PATCHED, &packet, piece, sizeof(piece)); /* beyond the limit */
}

static const struct {
    const char *name;
    void (*make)(struct buffer *buffer);
} rows[] = {
    {"data", make_data},           {"ack", make_ack},         {"forged", make_forged},
    {"handshake", make_handshake}, {"answers", make_answers}, {"too-much", make_too_much},
};

size_t samples_datagram_len(void)
{
    return sizeof(rows) / sizeof(rows[0]);
}

const char *samples_datagram_make(size_t i, uint8_t **ret_bytes, size_t *ret_len)
{
    struct buffer buffer;
    buffer_init(&buffer);
    rows[i].make(&buffer);
    *ret_bytes = buffer_take(&buffer, ret_len);
    return rows[i].name;
}

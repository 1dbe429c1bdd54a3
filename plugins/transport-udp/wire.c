#include "wire.h"

#include "bug.h"

#include "mtu.h"

#include <string.h>

#define WIRE_CRC_AT      1u
#define WIRE_FLAG_ACK    1u
#define WIRE_FLAG_STREAM 2u
#define WIRE_FLAG_PROBE  4u
#define WIRE_OFFSET_MAX  (1ull << 62) /* of a stream, and of a packet's number: sums never wrap */

static const uint8_t wire_zero_bytes[MTU_MAX];

const uint8_t *wire_zeros(void)
{
    return wire_zero_bytes;
}

/* --- writing --- */

struct wire_writer {
    uint8_t *bytes; /* WIRE_BYTES_MAX */
    size_t len;
};

static void wire_put(struct wire_writer *writer, uint64_t number, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        writer->bytes[writer->len++] = (uint8_t)(number >> (8 * i));
    }
}

static struct wire_writer wire_begin(const struct wire_datagram *datagram, uint8_t *bytes)
{
    struct wire_writer writer = {bytes, 0};
    wire_put(&writer, datagram->kind, 1);
    wire_put(&writer, 0, 4);
    wire_put(&writer, datagram->to, 8);
    wire_put(&writer, datagram->from, 8);
    return writer;
}

static void wire_put_crc(struct wire_writer *writer, uint32_t crc)
{
    struct wire_writer at = {writer->bytes, WIRE_CRC_AT};
    wire_put(&at, crc, 4);
}

static void wire_fill(struct wire_writer *writer, size_t len)
{
    while (writer->len < len) {
        wire_put(writer, 0, 1);
    }
}

static void wire_put_hello(struct wire_writer *writer, const struct wire_hello *hello)
{
    wire_put(writer, hello->message_max, 4);
    wire_put(writer, hello->datagram_max, 4);
    wire_put(writer, hello->limit, 8);
}

static void wire_put_cookie(struct wire_writer *writer, const struct cookie *cookie)
{
    wire_put(writer, cookie->time_s, 4);
    wire_put(writer, cookie->proof, 8);
}

size_t wire_encode(const struct kv_host *host, const struct wire_datagram *datagram, uint8_t *bytes)
{
    struct wire_writer writer = wire_begin(datagram, bytes);
    switch (datagram->kind) {
    case WIRE_HELLO:
        wire_put(&writer, WIRE_MAGIC, 4);
        wire_put(&writer, datagram->version, 4);
        wire_fill(&writer, WIRE_OPEN_LEN);
        break;
    case WIRE_COOKIE:
        wire_put(&writer, datagram->version, 4);
        wire_put_cookie(&writer, &datagram->cookie);
        break;
    case WIRE_OPEN:
        wire_put(&writer, WIRE_MAGIC, 4);
        wire_put(&writer, datagram->version, 4);
        wire_put_cookie(&writer, &datagram->cookie);
        wire_put_hello(&writer, &datagram->hello);
        wire_fill(&writer, WIRE_OPEN_LEN);
        break;
    case WIRE_ACCEPT:
        wire_put_hello(&writer, &datagram->hello);
        break;
    case WIRE_REFUSE:
        wire_put(&writer, datagram->version, 4);
        wire_put(&writer, datagram->reason, 4);
        break;
    case WIRE_CLOSE:
        wire_put(&writer, datagram->reason, 4);
        break;
    case WIRE_UNKNOWN:
    case WIRE_DATA: /* wire_encode_packet() */
        break;
    }
    wire_put_crc(&writer, host->crc32c(host->ctx, 0, bytes, writer.len));
    return writer.len;
}

size_t wire_packet_len(const struct wire_packet *packet)
{
    size_t len = WIRE_HEADER_LEN + 9;
    if (packet->has_ack) {
        len += 13 + 16 * (size_t)packet->ack.ranges_len;
    }
    return packet->has_stream ? len + 8 : len;
}

size_t wire_encode_packet(const struct kv_host *host, const struct wire_datagram *datagram,
                          const struct kv_slice *slices, uint32_t slices_len, uint32_t filling,
                          uint8_t *bytes)
{
    const struct wire_packet *packet = &datagram->packet;
    struct wire_writer writer = wire_begin(datagram, bytes);
    wire_put(&writer, packet->number, 8);
    wire_put(&writer,
             (packet->has_ack ? WIRE_FLAG_ACK : 0) | (packet->has_stream ? WIRE_FLAG_STREAM : 0) |
                 (packet->is_probe ? WIRE_FLAG_PROBE : 0),
             1);
    if (packet->has_ack) {
        const struct wire_ack *ack = &packet->ack;
        wire_put(&writer, ack->delay_us, 4);
        wire_put(&writer, ack->limit, 8);
        wire_put(&writer, ack->ranges_len, 1);
        for (uint32_t i = 0; i < ack->ranges_len; i++) {
            wire_put(&writer, ack->ranges[i].from, 8);
            wire_put(&writer, ack->ranges[i].to, 8);
        }
    }
    if (packet->has_stream) {
        wire_put(&writer, packet->offset, 8);
    }
    uint32_t crc = host->crc32c(host->ctx, 0, bytes, writer.len);
    for (uint32_t i = 0; i < slices_len; i++) {
        crc = host->crc32c(host->ctx, crc, slices[i].bytes, slices[i].len);
    }
    if (filling > 0) {
        crc = host->crc32c(host->ctx, crc, wire_zero_bytes, filling);
    }
    wire_put_crc(&writer, crc);
    return writer.len;
}

/* --- reading --- */

struct wire_reader {
    const uint8_t *bytes;
    size_t len;  /* that are left */
    bool is_bad; /* there was less than wanted, or a number was out of its range */
};

static uint64_t wire_get(struct wire_reader *reader, size_t len)
{
    if (reader->len < len) {
        reader->is_bad = true;
        reader->len = 0;
        return 0;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++) {
        number |= (uint64_t)reader->bytes[i] << (8 * i);
    }
    reader->bytes += len;
    reader->len -= len;
    return number;
}

static struct wire_hello wire_get_hello(struct wire_reader *reader)
{
    struct wire_hello hello;
    hello.message_max = (uint32_t)wire_get(reader, 4);
    hello.datagram_max = (uint32_t)wire_get(reader, 4);
    hello.limit = wire_get(reader, 8);
    reader->is_bad =
        reader->is_bad || hello.datagram_max < MTU_BASE || hello.limit > WIRE_OFFSET_MAX;
    return hello;
}

static struct cookie wire_get_cookie(struct wire_reader *reader)
{
    struct cookie cookie;
    cookie.time_s = (uint32_t)wire_get(reader, 4);
    cookie.proof = wire_get(reader, 8);
    return cookie;
}

/* Descending, and with a gap between each two. */
static bool wire_get_ack(struct wire_reader *reader, struct wire_ack *ret_ack)
{
    ret_ack->delay_us = (uint32_t)wire_get(reader, 4);
    ret_ack->limit = wire_get(reader, 8);
    ret_ack->ranges_len = (uint32_t)wire_get(reader, 1);
    if (ret_ack->ranges_len == 0 || ret_ack->ranges_len > WIRE_RANGES_MAX ||
        ret_ack->limit > WIRE_OFFSET_MAX) {
        return false;
    }
    uint64_t below = WIRE_OFFSET_MAX;
    for (uint32_t i = 0; i < ret_ack->ranges_len; i++) {
        struct range *range = &ret_ack->ranges[i];
        range->from = wire_get(reader, 8);
        range->to = wire_get(reader, 8);
        if (range->from >= range->to || range->to >= below) {
            return false;
        }
        below = range->from;
    }
    return !reader->is_bad;
}

static bool wire_get_packet(struct wire_reader *reader, struct wire_packet *ret_packet)
{
    *ret_packet = (struct wire_packet){.number = wire_get(reader, 8)};
    uint64_t flags = wire_get(reader, 1);
    ret_packet->has_ack = (flags & WIRE_FLAG_ACK) != 0;
    ret_packet->has_stream = (flags & WIRE_FLAG_STREAM) != 0;
    ret_packet->is_probe = (flags & WIRE_FLAG_PROBE) != 0;
    if (reader->is_bad || ret_packet->number >= WIRE_OFFSET_MAX || flags == 0 ||
        flags > (WIRE_FLAG_ACK | WIRE_FLAG_STREAM | WIRE_FLAG_PROBE) ||
        (ret_packet->is_probe && ret_packet->has_stream) ||
        (ret_packet->has_ack && !wire_get_ack(reader, &ret_packet->ack))) {
        return false;
    }
    if (ret_packet->has_stream) {
        ret_packet->offset = wire_get(reader, 8);
        ret_packet->bytes = reader->bytes;
        ret_packet->len = (uint32_t)reader->len;
        return !reader->is_bad && reader->len > 0 && ret_packet->offset < WIRE_OFFSET_MAX;
    }
    return ret_packet->is_probe || reader->len == 0;
}

/* What follows the header. False: not of that kind. HELLO and OPEN may be longer than needed, so
 * that a later version can say more. */
static bool wire_get_body(struct wire_reader *reader, size_t len, struct wire_datagram *datagram)
{
    switch (datagram->kind) {
    case WIRE_HELLO:
        if (wire_get(reader, 4) != WIRE_MAGIC || len < WIRE_OPEN_LEN) {
            return false;
        }
        datagram->version = (uint32_t)wire_get(reader, 4);
        return true;
    case WIRE_COOKIE:
        datagram->version = (uint32_t)wire_get(reader, 4);
        datagram->cookie = wire_get_cookie(reader);
        break;
    case WIRE_OPEN:
        if (wire_get(reader, 4) != WIRE_MAGIC || len < WIRE_OPEN_LEN) {
            return false;
        }
        datagram->version = (uint32_t)wire_get(reader, 4);
        if (datagram->version == WIRE_VERSION) {
            datagram->cookie = wire_get_cookie(reader);
            datagram->hello = wire_get_hello(reader);
        }
        return !reader->is_bad;
    case WIRE_ACCEPT:
        datagram->hello = wire_get_hello(reader);
        break;
    case WIRE_REFUSE:
        datagram->version = (uint32_t)wire_get(reader, 4);
        datagram->reason = (uint32_t)wire_get(reader, 4);
        break;
    case WIRE_DATA:
        return wire_get_packet(reader, &datagram->packet);
    case WIRE_CLOSE:
        datagram->reason = (uint32_t)wire_get(reader, 4);
        break;
    case WIRE_UNKNOWN:
        break;
    default:
        return false;
    }
    return !reader->is_bad && reader->len == 0;
}

bool wire_decode_tokens(const uint8_t *bytes, size_t len, uint64_t *ret_to, uint64_t *ret_from)
{
    if (len < WIRE_HEADER_LEN) {
        return false;
    }
    struct wire_reader reader = {bytes + 5, len - 5, false};
    *ret_to = wire_get(&reader, 8);
    *ret_from = wire_get(&reader, 8);
    return true;
}

int32_t wire_decode(const struct kv_host *host, const uint8_t *bytes, size_t len,
                    struct wire_datagram *ret_datagram)
{
    if (len < WIRE_HEADER_LEN) {
        return KV_E_CORRUPT;
    }
    struct wire_reader reader = {bytes, len, false};
    /* Not cleared as a whole: `packet` is large, and each kind sets the members that it has. */
    ret_datagram->kind = (enum wire_kind)wire_get(&reader, 1);
    uint32_t crc = (uint32_t)wire_get(&reader, 4);
    uint32_t real = host->crc32c(host->ctx, 0, bytes, WIRE_CRC_AT);
    real = host->crc32c(host->ctx, real, wire_zero_bytes, 4);
    real = host->crc32c(host->ctx, real, reader.bytes, reader.len);
    if (crc != real && !BUG(skip_crc)) {
        return KV_E_CORRUPT;
    }
    ret_datagram->to = wire_get(&reader, 8);
    ret_datagram->from = wire_get(&reader, 8);
    ret_datagram->version = 0;
    ret_datagram->reason = 0;
    return wire_get_body(&reader, len, ret_datagram) ? KV_OK : KV_E_MALFORMED;
}

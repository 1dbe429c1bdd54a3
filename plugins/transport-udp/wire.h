/*
 * The datagrams of this transport as bytes; README.md has the tables. Pure.
 *
 * Each begins with its kind, a CRC-32C of all its bytes (with the CRC itself as 0), the token of
 * the link that it is for (`to`) and the sender's own (`from`). Tokens are 64 random bits that a
 * link's two ends tell each other in the handshake: who has not seen them cannot forge a datagram.
 */
#ifndef TRANSPORT_UDP_WIRE_H
#define TRANSPORT_UDP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cookie.h"
#include "ranges.h"

#define WIRE_VERSION    1u
#define WIRE_MAGIC      0x5554564bu /* "KVTU" */
#define WIRE_HEADER_LEN 21u
/* HELLO and OPEN are filled up to it, so that no answer to them is longer than they are. */
#define WIRE_OPEN_LEN   64u
#define WIRE_RANGES_MAX 32u
/* The longest DATA without its piece of the stream. */
#define WIRE_BYTES_MAX (WIRE_HEADER_LEN + 9u + 13u + 16u * WIRE_RANGES_MAX + 8u)

enum wire_kind {
    WIRE_HELLO = 0xb1, /* a peer that wants a link; from: its token */
    WIRE_COOKIE,       /* the answer: prove that you get this */
    WIRE_OPEN,         /* the cookie back, and what this end takes */
    WIRE_ACCEPT,       /* the link is there; from: the other end's token */
    WIRE_REFUSE,       /* no link; why */
    WIRE_DATA,         /* packets of a link */
    WIRE_CLOSE,        /* the link is at its end */
    WIRE_UNKNOWN,      /* no link has the token that a DATA was for; from: that token */
};

/* Why, in REFUSE and CLOSE. */
enum wire_reason {
    WIRE_REASON_CLOSED = 1,
    WIRE_REASON_FULL,
    WIRE_REASON_VERSION,
    WIRE_REASON_MALFORMED,
    WIRE_REASON_TOO_LARGE,
    WIRE_REASON_NOMEM,
    WIRE_REASON_TIMEOUT,
};

/* What an end says of itself in OPEN and ACCEPT. */
struct wire_hello {
    uint32_t message_max;  /* bytes of one message that it takes */
    uint32_t datagram_max; /* bytes of one datagram that it takes */
    uint64_t limit;        /* bytes of the stream that it takes at first */
};

/* Acknowledgement. ranges: of packet numbers, descending; at least one. */
struct wire_ack {
    uint32_t delay_us; /* since the packet with the highest number came */
    uint64_t limit;    /* the peer may send bytes of the stream below this offset */
    uint32_t ranges_len;
    struct range ranges[WIRE_RANGES_MAX];
};

struct wire_packet {
    uint64_t number;
    bool is_probe; /* the rest is filling: a trial of a datagram's size, or a sign of life */
    bool has_ack;
    bool has_stream;
    struct wire_ack ack;
    uint64_t offset;      /* of the piece in the stream */
    const uint8_t *bytes; /* decoded: points into the datagram */
    uint32_t len;
};

struct wire_datagram {
    enum wire_kind kind;
    uint64_t to;
    uint64_t from;
    uint32_t version;          /* HELLO, COOKIE, OPEN, REFUSE */
    uint32_t reason;           /* REFUSE, CLOSE */
    struct cookie cookie;      /* COOKIE, OPEN */
    struct wire_hello hello;   /* OPEN, ACCEPT */
    struct wire_packet packet; /* DATA */
};

/* Writes all but DATA into bytes (WIRE_BYTES_MAX), with its CRC; returns its length. */
size_t wire_encode(const struct kv_host *host, const struct wire_datagram *datagram,
                   uint8_t *bytes);

/*
 * Writes what stands before the piece of the stream of a DATA into bytes (WIRE_BYTES_MAX), with the
 * CRC over it and the piece's slices (none for a probe, which is filled with zeros up to the
 * datagram's size: filling says how many). Returns its length.
 */
size_t wire_encode_packet(const struct kv_host *host, const struct wire_datagram *datagram,
                          const struct kv_slice *slices, uint32_t slices_len, uint32_t filling,
                          uint8_t *bytes);

/* Bytes that wire_encode_packet() writes for it. */
size_t wire_packet_len(const struct wire_packet *packet);

/* A filling of zeros for probes: MTU_MAX bytes. */
const uint8_t *wire_zeros(void);

/* The tokens of a datagram of which perhaps only the beginning is there. False: too short. */
bool wire_decode_tokens(const uint8_t *bytes, size_t len, uint64_t *ret_to, uint64_t *ret_from);

/* KV_E_CORRUPT: the CRC is wrong, or too short to have one; KV_E_MALFORMED: the CRC is right and
 * the content is not ours. The version is not looked at: it is the receiver's to refuse one. */
int32_t wire_decode(const struct kv_host *host, const uint8_t *bytes, size_t len,
                    struct wire_datagram *ret_datagram);

#endif

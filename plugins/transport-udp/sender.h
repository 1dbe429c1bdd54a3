/*
 * The sending half of a link: cuts the outgoing stream into packets, remembers each until it is
 * acknowledged or lost, and sends the bytes of lost ones again under a new number. Loss is found as
 * in RFC 9002: three later packets or 9/8 of a round trip later; when no acknowledgement comes at
 * all, a probe. Pure; owned by one link; it writes no datagram itself.
 */
#ifndef TRANSPORT_UDP_SENDER_H
#define TRANSPORT_UDP_SENDER_H

#include "congestion.h"
#include "mtu.h"
#include "queue.h"
#include "wire.h"

/* Packets that are remembered; with so many on their way, more wait. */
#define SENDER_PACKETS_MAX 16384u

enum sender_packet_state { SENDER_FLYING, SENDER_ACKED, SENDER_LOST };

struct sender_packet {
    uint64_t offset; /* of its piece of the stream */
    uint32_t len;    /* of its piece; 0: a probe */
    uint32_t size;   /* of the datagram */
    uint64_t sent_us;
    uint8_t state;
    bool is_mtu_probe;
};

struct sender {
    const struct kv_host *host;
    struct queue queue;
    uint64_t next;                 /* offset of the first byte that was never sent */
    uint64_t peer_limit;           /* the peer takes bytes below it */
    struct ranges acked;           /* above queue.base */
    struct ranges lost;            /* to be sent again */
    struct sender_packet *packets; /* a ring by number */
    uint32_t packets_capacity;     /* a power of two */
    uint64_t first_number;         /* of the oldest one that is remembered */
    uint64_t next_number;
    bool has_largest;
    uint64_t largest_acked;
    uint64_t large_acked;  /* behind the highest number acknowledged of one above MTU_BASE */
    uint32_t large_lost;   /* packets above MTU_BASE that were lost behind it */
    uint64_t loss_us;      /* when the next packet is lost by time; UINT64_MAX: none */
    uint64_t eliciting_us; /* when the last packet that wants an acknowledgement was sent */
    uint64_t pacing_us;    /* pacing holds packets back until then; UINT64_MAX: it does not */
    uint32_t probes;       /* probe time-outs since the last acknowledgement */
    uint32_t probes_due;   /* packets that may be sent beyond the window now */
    bool is_limited;       /* more was ready than the window let out */
    struct congestion congestion;
    struct mtu mtu;
    uint64_t packets_lost; /* totals, for the log */
    uint64_t bytes_repeated;
};

/* What is to be sent next. */
struct sender_piece {
    uint64_t offset;
    uint32_t len;       /* 0: a probe that only asks for an acknowledgement */
    uint32_t mtu_probe; /* not 0: the size of a probe of the path's datagram size */
    uint32_t slices_len;
    struct kv_slice slices[QUEUE_SLICES_MAX];
};

/* datagram_max: what both ends take. */
int32_t sender_init(struct sender *sender, const struct kv_host *host, uint32_t datagram_max,
                    uint64_t peer_limit, uint64_t now_us);
void sender_close(struct sender *sender);

/* Appends a message, its length before it. KV_E_NOMEM: nothing taken. */
int32_t sender_append(struct sender *sender, const struct kv_slice *slices, uint32_t slices_len,
                      uint32_t len);

/* Bytes of the stream that the peer has not acknowledged. */
uint64_t sender_queued(const struct sender *sender);

/* Whether a packet may go now, and which: `room` bytes are taken by headers in a datagram. */
bool sender_take(struct sender *sender, uint32_t room, uint64_t now_us,
                 struct sender_piece *ret_piece);

/* The piece was given to the socket in a datagram of `size` bytes; returns its number.
 * The number to write into it is next_number before the call. */
void sender_on_sent(struct sender *sender, const struct sender_piece *piece, uint32_t size,
                    uint64_t now_us);

/* KV_E_MALFORMED: it acknowledges what was never sent. KV_E_NOMEM: the link cannot go on. */
int32_t sender_on_ack(struct sender *sender, const struct wire_ack *ack, uint64_t now_us);

/* The time has come that sender_deadline_us() told. KV_E_NOMEM: the link cannot go on. */
int32_t sender_on_time(struct sender *sender, uint64_t now_us);
uint64_t sender_deadline_us(const struct sender *sender);

/* A probe is wanted: to see whether the peer is still there. */
void sender_ask(struct sender *sender);

#endif

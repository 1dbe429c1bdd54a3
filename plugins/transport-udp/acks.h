/*
 * Which packets of the peer have come, and when to tell it. Pure; owned by one link.
 *
 * A packet that carries something is acknowledged at once when it is the second that waits for it,
 * or when it shows a gap or fills one (RFC 9000, 13.2); else after a short while, since a packet
 * with data of our own, which takes the acknowledgement along, is likely to follow: twice as long
 * as that took of late, from ACKS_DELAY_US to ACKS_DELAY_MAX_US. The peer sees how long it takes.
 */
#ifndef TRANSPORT_UDP_ACKS_H
#define TRANSPORT_UDP_ACKS_H

#include "wire.h"

#define ACKS_DELAY_US     500u
#define ACKS_DELAY_MAX_US 5000u
/* Lost packets leave gaps that never close, since their bytes come again under new numbers: the
 * oldest ranges are forgotten when so many acknowledgements have told them. */
#define ACKS_TOLD_MAX 8u

struct acks {
    struct range ranges[WIRE_RANGES_MAX]; /* of packet numbers, newest (highest) first */
    uint8_t told[WIRE_RANGES_MAX];        /* acknowledgements that had the range as it is */
    uint32_t ranges_len;
    uint64_t largest_us; /* when the highest number came */
    uint32_t waiting;    /* packets that want an acknowledgement and have none yet */
    bool is_urgent;
    uint64_t due_us;    /* when `waiting` is not 0 */
    uint64_t asked_us;  /* when the first packet came that no data of ours followed yet; 0: none */
    uint64_t answer_us; /* after which data of our own follows: smoothed */
};

void acks_init(struct acks *acks);

/* A packet came and was taken. The oldest ranges are forgotten when there are too many. */
void acks_on_packet(struct acks *acks, uint64_t number, bool is_eliciting, uint64_t now_us);

/* When an acknowledgement has to go out even by itself; UINT64_MAX: none is wanted. */
uint64_t acks_due_us(const struct acks *acks);

/* Fills ret_ack but for `limit`; false: no packet has come yet. */
bool acks_get(const struct acks *acks, uint64_t now_us, struct wire_ack *ret_ack);

/* What acks_get() gave was sent. */
void acks_on_sent(struct acks *acks);

/* Data of our own was sent. */
void acks_on_answer(struct acks *acks, uint64_t now_us);

#endif

/*
 * How much may be on its way to a peer, how fast it is sent, and how long its answer takes. Pure;
 * owned by one link.
 *
 * Round-trip times, the window and pacing are those of RFC 9002 (loss detection and congestion
 * control of QUIC: NewReno by bytes). One thing is added. A loss while hardly anything waits in the
 * path's queues is taken for chance, not for congestion (C. P. Fu, S. C. Liew: TCP Veno, IEEE JSAC
 * 21/2, 2003), and costs half of the share that was lost instead of half of the window (as marks do
 * in DCTCP, RFC 8257, 3.3). So the link keeps its speed on a lossy path and yields to others on a
 * full one.
 */
#ifndef TRANSPORT_UDP_CONGESTION_H
#define TRANSPORT_UDP_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

#define CONGESTION_GRANULARITY_US 250u   /* of the alarm; RFC 9002, kGranularity, has 1 ms */
#define CONGESTION_INITIAL_RTT_US 50000u /* before the first sample; a node's peers are near */
#define CONGESTION_WINDOW_MAX     (16u * 1024u * 1024u)
#define CONGESTION_QUEUED_MAX     3u /* datagrams in the path's queues: Veno's beta */
/* Differences of round trips that say nothing of the path: what the turns of the two ends take, or
 * four times the variation (as in the probe time-out) if that is more. */
#define CONGESTION_NOISE_US 250u

struct congestion {
    /* round-trip times */
    bool has_sample;
    uint64_t latest_us;
    uint64_t smoothed_us;
    uint64_t variation_us;
    uint64_t least_us;
    uint64_t delay_us; /* that the peer takes for an acknowledgement: its largest of late */
    /* the window */
    uint32_t datagram; /* bytes of a full one */
    uint64_t window;
    uint64_t threshold;   /* slow start below it */
    uint64_t in_flight;   /* bytes sent and neither acknowledged nor lost */
    uint64_t recovery_us; /* losses of what was sent before it are one event with an earlier one */
    uint64_t acked;       /* bytes since the last such event */
    uint64_t lost;
    /* pacing: a bucket of bytes that may go now */
    uint64_t bucket;
    uint64_t bucket_us;
};

void congestion_init(struct congestion *congestion, uint32_t datagram, uint64_t now_us);

/* Full datagrams have another size from now on. */
void congestion_set_datagram(struct congestion *congestion, uint32_t datagram);

/* A sample of the round-trip time: of the newest packet acknowledged, without the peer's delay. */
void congestion_on_rtt(struct congestion *congestion, uint64_t rtt_us, uint64_t delay_us);

void congestion_on_sent(struct congestion *congestion, uint32_t bytes);

/* is_limited: the window, not the lack of data, kept more from being sent. */
void congestion_on_acked(struct congestion *congestion, uint32_t bytes, uint64_t sent_us,
                         bool is_limited);

/* bytes leave the window's account; a loss of a packet that counts makes the window smaller, once
 * for all that was sent before. */
void congestion_on_lost(struct congestion *congestion, uint32_t bytes, uint64_t sent_us,
                        uint64_t now_us);

/* A packet that is given up without being a sign of congestion (a probe). */
void congestion_on_forgotten(struct congestion *congestion, uint32_t bytes);

/* Nothing came through for long (RFC 9002, 7.6): begin again with the smallest window. */
void congestion_on_persistent(struct congestion *congestion);

/* Bytes that may be sent now. *ret_next_us: when it is 0 because of pacing, the time to look again;
 * else UINT64_MAX. */
uint64_t congestion_allowance(struct congestion *congestion, uint64_t now_us,
                              uint64_t *ret_next_us);

/* After it without an acknowledgement, a probe is sent (RFC 9002, 6.2.1), without back-off. */
uint64_t congestion_probe_us(const struct congestion *congestion);

/* A packet so much older than one acknowledged is lost (RFC 9002, 6.1.2). */
uint64_t congestion_loss_us(const struct congestion *congestion);

#endif

/*
 * A bulk sender that behaves on the network as TCP does, for fairness tests: NewReno (RFC 6582) or
 * CUBIC (RFC 9438), one acknowledgement per segment with selective information, a retransmission
 * time-out. Segments carry no content: what is acknowledged counts as delivered. Virtual time only.
 */
#ifndef UDP_SIM_TCP_H
#define UDP_SIM_TCP_H

#include "sim_network.h"

#define SIM_TCP_SEGMENT 1472u  /* as a datagram of the network: 1500 with its headers */
#define SIM_TCP_RING    16384u /* segments that are remembered */

struct sim_tcp_segment {
    uint64_t sent_us;
    bool is_out; /* neither acknowledged nor lost */
};

struct sim_tcp {
    struct sim_network *network;
    uint32_t from, to;
    bool is_cubic;
    double window, threshold;      /* segments */
    double cubic_max;              /* the window before the last cut */
    uint64_t cubic_us;             /* when it was cut */
    uint64_t next, first, highest; /* numbers; highest: behind the highest acknowledged one */
    uint64_t recover;              /* a loss below it belongs to a cut already made */
    uint32_t flying;
    uint64_t smoothed_us, variation_us;
    uint64_t heard_us;
    uint64_t delivered; /* segments */
    struct sim_tcp_segment ring[SIM_TCP_RING];
};

void sim_tcp_start(struct sim_tcp *tcp);

/* A datagram between the two addresses arrived: a segment, or an acknowledgement. */
void sim_tcp_receive(struct sim_tcp *tcp, const struct sim_datagram *datagram);

#endif

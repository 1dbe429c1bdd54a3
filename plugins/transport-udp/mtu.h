/*
 * How large a datagram may be on the path to a peer (RFC 8899, DPLPMTUD: probes of growing size
 * that carry nothing, on datagrams that routers must not split). Pure; owned by one link.
 *
 * It begins at MTU_BASE, which every IPv6 path and nearly every IPv4 path takes, and tries the
 * sizes of real paths one after the other, up to what this end and the peer allow. A size is given
 * up after three lost probes, and tried again after MTU_RAISE_US. When nothing comes through any
 * more, it begins again at MTU_BASE, as the path may have changed.
 */
#ifndef TRANSPORT_UDP_MTU_H
#define TRANSPORT_UDP_MTU_H

#include <stdbool.h>
#include <stdint.h>

#define MTU_BASE     1200u        /* bytes of UDP payload; RFC 8899, BASE_PLPMTU */
#define MTU_MAX      65507u       /* what a datagram over IPv4 can hold; over IPv6 a little more */
#define MTU_PROBES   3u           /* RFC 8899, MAX_PROBES */
#define MTU_RAISE_US 600000000ull /* RFC 8899, PMTU_RAISE_TIMER: 600 s */

struct mtu {
    uint32_t size; /* bytes of UDP payload that pass */
    uint32_t max;
    uint32_t probe_size; /* the size that is tried; 0: none */
    uint32_t probes_lost;
    bool is_probing;  /* a probe is on its way */
    uint64_t next_us; /* no probe before */
};

/* max: the smaller of what both ends take, at least MTU_BASE. */
void mtu_init(struct mtu *mtu, uint32_t max);

/* The size of a probe that is wanted now, else 0. */
uint32_t mtu_get_probe(const struct mtu *mtu, uint64_t now_us);

void mtu_on_probe_sent(struct mtu *mtu);
/* size: of the probe, which may be an old one. */
void mtu_on_probe_acked(struct mtu *mtu, uint32_t size, uint64_t now_us);
void mtu_on_probe_lost(struct mtu *mtu, uint64_t now_us);

/* The system refused a datagram of that size (EMSGSIZE). */
void mtu_on_too_large(struct mtu *mtu, uint32_t size, uint64_t now_us);

/* Several probe time-outs in a row: nothing comes through. */
void mtu_on_black_hole(struct mtu *mtu, uint64_t now_us);

#endif

/*
 * A machine in the test's own network that sends UDP datagrams under other machines' addresses, and
 * what is needed to judge the answers: datagrams overheard at a host, and sockets that count what
 * comes to an address that never asked. IPv4 only.
 *
 * For a cmocka test; what is read from the network is never trusted. Nothing here waits.
 */
#ifndef CLUSTER_FORGE_H
#define CLUSTER_FORGE_H

#include "netns.h"

#define FORGE_BYTES_MAX 1472u /* what fits in one frame */

struct forge_datagram {
    uint32_t from; /* address and port that it seems to come from */
    uint16_t from_port;
    uint16_t len;
    uint8_t bytes[FORGE_BYTES_MAX];
};

/* The address of a host of the network. */
uint32_t forge_address(uint32_t host);

/* Overhears the datagrams to that host and port from now on; the socket to close(). */
int forge_tap(struct netns *net, uint32_t host, uint16_t port);

/* Takes up to max overheard datagrams, in their order. Returns how many. */
uint32_t forge_take(int tap, struct forge_datagram *ret_datagrams, uint32_t max);

/* What sends forged datagrams out of that host; the socket to close(). */
int forge_open(struct netns *net, uint32_t host);

void forge_send(int forger, const struct forge_datagram *datagram, uint32_t to_host,
                uint16_t to_port);

/* A socket of the host with that port; to close(). */
int forge_victim(struct netns *net, uint32_t host, uint16_t port);

/* Bytes in datagrams that came to it since the last time. */
uint64_t forge_count(int victim);

#endif

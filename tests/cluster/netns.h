/*
 * Machines of a network that the test makes for itself: each host is a network namespace with one
 * interface, eth0, and all of them hang on one bridge in a further namespace, the hub. Host 0 has
 * the addresses 10.77.0.1 and fd00:77::1, host 1 has 10.77.0.2 and fd00:77::2, and so on; at the
 * hub, eth0 of host 0 ends in v1.
 *
 * For a cmocka test of one thread: the program stands in one of the hosts, its home, and what it
 * starts runs there. The namespaces have no names and nothing of the machine's own network is
 * touched: they are gone with the program and the processes it started, however it ends.
 */
#ifndef CLUSTER_NETNS_H
#define CLUSTER_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETNS_HOSTS_MAX 5u
#define NETNS_HUB       NETNS_HOSTS_MAX
#define NETNS_TEXT_MAX  128u

struct netns {
    int fds[NETNS_HOSTS_MAX + 1]; /* the namespaces; the last is the hub's */
    uint32_t hosts_len;
    uint32_t home; /* where the program is */
};

/* Whether this system lets us make such a network; false: ret_reason (NETNS_TEXT_MAX bytes) says
 * what it refused. To be called once, before the other functions: a program that is not root goes
 * into a user namespace of its own here, and every program leaves the machine's network. */
bool netns_is_possible(char *ret_reason);

/* Makes a network of hosts_len hosts, all up, MTU 1500, and stands in the hub. */
void netns_open(struct netns *net, uint32_t hosts_len);

/* One that was not opened (all zero) is fine. */
void netns_close(struct netns *net);

/* Goes to a host or to NETNS_HUB: the new home. */
void netns_go(struct netns *net, uint32_t host);

/* Runs lines of `ip -batch` in a host or in NETNS_HUB; each must succeed. */
void netns_ip(struct netns *net, uint32_t host, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A tap at the host's eth0, to be close()d: it counts IPv4 frames, in either direction, that are
 * for the host `to` and longer than len bytes. */
int netns_tap(struct netns *net, uint32_t host, uint32_t to, uint32_t len);

/* What the tap has counted since the last look. */
uint32_t netns_tap_count(int tap);

#endif

/*
 * One process of the simulated network: an endpoint with a host, a clock, a timer and a resolver of
 * virtual time, and the checks that hold for any endpoint at any moment: no callback from within an
 * operation, no timer that spins, no more in flight than the window, memory counted.
 */
#ifndef UDP_SIM_NODE_H
#define UDP_SIM_NODE_H

#include "endpoint.h"
#include "link.h"
#include "sim_network.h"

#define SIM_OUTBOX_LEN    64u
#define SIM_RESOLVING_MAX 64u
#define SIM_FLIGHTS_MAX   64u

struct sim_node;

/* A datagram leaves (before the network looks at it). */
typedef void (*sim_sent_fn)(void *ctx, struct sim_node *node, const struct sim_datagram *datagram);
/* A check failed. */
typedef void (*sim_fail_fn)(void *ctx, struct sim_node *node, const char *text);

struct sim_pending {
    uint32_t to;
    size_t header_len;
    uint32_t slices_len;
    uint8_t header[WIRE_BYTES_MAX];
    struct kv_slice slices[QUEUE_SLICES_MAX];
};

struct sim_resolving {
    struct kv_link *link;
    uint64_t serial;
};

/* What a link had in flight before a flush. */
struct sim_flight {
    const struct kv_link *link;
    uint64_t in_flight;
};

struct sim_node {
    struct sim_network *network;
    uint32_t number; /* of its address */
    bool is_alive;
    bool is_stopping;
    struct kv_host host;
    struct endpoint endpoint;
    struct endpoint_options options;
    struct kv_transport_limits limits;
    const struct kv_transport_events *events;
    void *ctx; /* of the three functions and of events: see sim_node_start() */
    sim_sent_fn on_sent;
    sim_fail_fn on_fail;

    uint64_t clock_us;      /* its clock is so much ahead of the network's */
    uint32_t timer_us;      /* its timer goes off at multiples of it */
    uint32_t turn_max_us;   /* longest time from an event to the flush behind it */
    uint32_t interface_max; /* longer datagrams are refused by the system; 0: none */
    uint32_t resolve_max_us;
    uint32_t resolve_fail_permille;
    uint32_t nomem_permille; /* of allocations that fail */

    uint64_t serial; /* of timers, flushes, resolutions; a restart makes older ones void */
    uint64_t timer_serial, timer_at_us;
    bool is_timer_set, is_flush_set;
    uint64_t flush_serial;
    uint64_t spin_ms;
    uint32_t spin_calls;
    uint32_t past_calls;
    uint32_t in_operation;
    uint64_t callbacks;          /* counted by sim_node_on_callback() */
    uint64_t memory, memory_max; /* bytes */
    uint32_t pending_len;
    struct sim_pending pending[SIM_OUTBOX_LEN];
    uint32_t flights_len;
    struct sim_flight flights[SIM_FLIGHTS_MAX];
    uint32_t resolving_len;
    struct sim_resolving resolving[SIM_RESOLVING_MAX];
};

/* Fill in network, number, options, limits, events, ctx, on_sent, on_fail and the traits first.
 * The endpoint's callbacks get the node as ctx. */
void sim_node_start(struct sim_node *node);

/* As if the process ended: endpoint_close() without a word to anybody. */
void sim_node_kill(struct sim_node *node);

uint64_t sim_node_now_us(const struct sim_node *node);

/* A datagram came. */
void sim_node_receive(struct sim_node *node, const struct sim_datagram *datagram);

/* Nobody is at that address, where a datagram of these first bytes went. */
void sim_node_unreachable(struct sim_node *node, uint32_t to, const uint8_t *bytes, size_t len);

/* The host's operations, each followed by a flush at the end of the turn. */
int32_t sim_node_connect(struct sim_node *node, uint32_t to, void *user, struct kv_link **ret_link);
int32_t sim_node_send(struct sim_node *node, struct kv_link *link, const struct kv_slice *slices,
                      uint32_t slices_len);
void sim_node_close_link(struct sim_node *node, struct kv_link *link);
void sim_node_stop(struct sim_node *node);

/* Every callback of the host calls it first. */
void sim_node_on_callback(struct sim_node *node);

void sim_node_fail(struct sim_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

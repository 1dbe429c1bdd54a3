/*
 * A node as a pure step function: one event in, a list of effects out. It may be an arbiter, a
 * replica, or both (then it talks to itself over a link, like to any other node).
 *
 * Who calls it: core/host/runtime on the loop's thread, and the simulator. It never does I/O, reads
 * a clock, starts a thread or logs. The same configuration and events give the same effects.
 */
#ifndef LOGIC_NODE_H
#define LOGIC_NODE_H

#include "logic/effect.h"
#include "logic/event.h"
#include "logic/message.h"

enum ack_mode {
    ACK_DURABLE = 1,  /* in the store of every in-sync node */
    ACK_RECEIVED = 2, /* in the primary's store and in memory at every in-sync node */
    ACK_LOCAL = 3,    /* in the primary's store */
};

struct node_limits {
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t inflight_ops;   /* updates that have a position and are not committed */
    uint64_t inflight_bytes; /* the same in bytes; also what a node's log may hold */
    uint64_t log_bytes;      /* of committed records kept for members that come back */
};

#define INCARNATION_JOIN_BITS 20u

struct node_config {
    bool is_arbiter;
    bool is_replica;
    uint64_t node;        /* identity of the data folder, not 0 */
    uint64_t starts;      /* of processes with this data folder, this one included; counted there */
    uint64_t incarnation; /* drawn at random at each start of the process; the lowest
                             INCARNATION_JOIN_BITS are 0: they count joins */
    uint64_t cluster;     /* kept in the data folder; 0: never joined one */
    const char *name;
    const char *arbiter_uri;
    const char *uris[URIS_MAX]; /* where this node listens, real ports */
    uint32_t uris_len;
    enum ack_mode ack;
    uint32_t min_in_sync;
    uint32_t operation_timeout_ms;
    uint32_t retransmit_ms;
    uint32_t replica_timeout_ms;
    uint32_t join_timeout_ms; /* give up joining after this; 0: never */
    uint32_t return_wait_ms;  /* arbiter: when all replicas were down, how long it waits for those
                                 in sync that do not come back; at least replica_timeout_ms */
    struct node_limits limits;
    const char *persist_plugin; /* its name, for the status */
    bool persist_shared;        /* one store for several nodes: only the primary writes */
    /* arbiter: what it made durable last (EFFECT_REGISTRY_WRITE), or NULL with len 0 */
    const void *registry;
    size_t registry_len;
    uint64_t new_cluster; /* arbiter: number for a new cluster, drawn at random, not 0 */
};

struct node;

/* Everything is copied. *ret_node is touched only on success. KV_E_CORRUPT: the registry's bytes
 * are no view. KV_E_INVALID: neither arbiter nor replica, or a name or address that is not valid.
 */
int32_t node_create(const struct node_config *config, struct node **ret_node);
void node_destroy(struct node *node);

/* effects is reset first. */
void node_step(struct node *node, const struct event *event, struct effects *effects);

/* When the next EVENT_TICK is wanted, on the events' clock; UINT64_MAX: not at all. */
uint64_t node_wake_ms(const struct node *node);

/* The longest message that a node with these limits sends or takes. */
uint32_t node_message_max(const struct node_limits *limits);

/* --- for tests, the simulator and metrics: what an observer may see; never changes the node --- */

struct node_state {
    uint8_t role; /* enum node_role */
    uint64_t view;
    uint64_t primary;        /* node */
    struct kv_position last; /* of its log */
    uint64_t durable_index;
    uint64_t committed_index;
    uint64_t keys;
    uint64_t digest;
    bool serves_reads;
    uint32_t operations_waiting; /* updates that wait for their outcome */
    uint32_t requests_waiting;   /* requests that wait for a role or a position */
    uint64_t log_records;
    uint64_t log_bytes;
    uint32_t replicators;
    uint64_t window_bytes_max_seen; /* highest of all replicators so far */
};

void node_observe(const struct node *node, struct node_state *ret_state);

/* Reads one committed pair; false when absent. The value is borrowed until the next step. */
bool node_peek(const struct node *node, const void *key, uint32_t key_len,
               struct bytes_view *ret_value, struct kv_position *ret_position);

#endif

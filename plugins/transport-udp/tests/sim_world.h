/*
 * One seed of the simulator: endpoints with an application each on a bad network, and the checks of
 * what the transport promises. world.c draws and runs it, app.c is the applications with the checks
 * of what they see, fault.c makes the faults, attack.c is an attacker who reads all datagrams,
 * sends any to any address in any name, and knows no secret.
 */
#ifndef UDP_SIM_WORLD_H
#define UDP_SIM_WORLD_H

#include "bug.h"
#include "sim_node.h"
#include "trace.h"

#define WORLD_NODES_MAX    5u
#define WORLD_VICTIMS      3u /* addresses where nobody is, behind those of the nodes */
#define WORLD_RECORDS_MAX  256u
#define WORLD_PROOFS_MAX   256u
#define WORLD_FAILURE_MAX  400u
#define WORLD_LINKS_PLENTY 64u /* links_max that no seed needs */

struct world_end;

/* What one end of a link sends from on_up (or on_accept) to on_down. */
struct world_stream {
    uint64_t id; /* place in world.streams */
    uint32_t from, to;
    struct world_end *sender;
    struct world_end *receiver; /* NULL: no message came yet */
    uint32_t *lens;             /* of the messages that send() took */
    uint32_t sent, capacity;
    uint32_t received;
    bool is_drained; /* closed by its sender on a good network: all of it has to come */
};

/* One end of a link, as the host sees it. */
struct world_end {
    struct sim_node *node;
    uint64_t node_epoch;
    struct kv_link *link; /* NULL: gone */
    uint32_t peer;
    bool is_accepted;
    bool is_up;
    bool wants_writable;
    uint32_t probes; /* its sender's time-outs in a row, when they were looked at last */
    uint64_t up_us;
    struct world_stream *out; /* while it is up */
    struct world_stream *in;
};

/* What a node and an address know of each other. */
struct world_pair {
    uint64_t bytes_in, bytes_out;
    bool is_proved; /* it answered with a cookie, or the node itself asked for it */
    uint64_t heard_us;
    uint64_t silent_s; /* the second in which `silent` is counted */
    uint32_t silent;   /* datagrams sent in it while nothing came */
    uint32_t accepts, ups;
    uint32_t proofs_len;
    uint64_t proofs[WORLD_PROOFS_MAX]; /* a ring: cookies given out */
};

enum world_fault {
    FAULT_PARTITION,
    FAULT_LOSS,
    FAULT_CORRUPT,
    FAULT_REORDER,
    FAULT_DOUBLE,
    FAULT_MTU,
    FAULT_RESTART,
    FAULT_NOMEM,
    FAULT_RESOLVE,
    FAULT_CLOSE, /* the host closes links */
    FAULT_REJECT,
    FAULT_ATTACK,
    FAULTS_LEN,
};

struct world_plan {
    uint32_t nodes;
    uint32_t links;    /* made by connect() */
    uint32_t faults;   /* bits */
    uint32_t fault_ms; /* then they stop */
    uint32_t fault_pause_max_ms;
    uint32_t links_max;
    bool is_bulk;
    bool has_answers;
    uint32_t send_pause_max_us;
    uint32_t burst_max;
    uint32_t size_max;
    uint64_t timeout_us;
    uint64_t budget; /* bytes of load in all */
};

struct world_result {
    bool failed;
    char failure[WORLD_FAILURE_MAX];
    uint64_t messages, bytes, datagrams, virtual_ms, settled_ms, trace_hash;
};

struct world {
    struct sim_network network;
    struct trace *trace;
    struct world_plan plan;
    struct sim_node nodes[WORLD_NODES_MAX];
    uint64_t epochs[WORLD_NODES_MAX];
    struct world_pair pairs[WORLD_NODES_MAX][SIM_ADDRESSES_MAX];
    struct world_end **ends; /* all there ever were */
    uint32_t ends_len, ends_capacity;
    struct world_stream **streams;
    uint32_t streams_len, streams_capacity;
    struct sim_path base[SIM_ADDRESSES_MAX][SIM_ADDRESSES_MAX]; /* without faults */
    bool is_faulty, is_loading, is_ending, is_stopping;
    uint8_t arriving_kind; /* of the datagram that is being received; 0: none */
    struct sim_datagram records[WORLD_RECORDS_MAX]; /* what the attacker saw; a ring */
    uint64_t records_seen;
    uint64_t sent, messages, bytes;
    uint8_t *scratch; /* one longest message */
    bool failed;
    char failure[WORLD_FAILURE_MAX];
};

/* --- sim_world.c --- */
void world_run(uint64_t seed, struct trace *trace, struct world_result *ret_result);
/* The first one counts. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t world_draw(struct world *world, uint64_t low, uint64_t high);
bool world_percent(struct world *world, uint32_t percent);
bool world_has(const struct world *world, enum world_fault fault);
void world_note(struct world *world, const struct sim_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- sim_app.c --- */
extern const struct kv_transport_events world_events;
void app_connect(struct world *world, uint32_t from, uint32_t to);
/* Sends messages on a random link of the node. */
void app_load(struct world *world, uint32_t node);
/* Sends one message of that length; false: not taken. */
bool app_send(struct world *world, struct world_end *end, uint32_t len);
void app_close(struct world *world, struct world_end *end);
/* The node is gone: so are its ends, without a word. */
void app_forget(struct world *world, uint32_t node);

/* --- sim_fault.c --- */
void fault_draw_network(struct world *world);
void fault_start(struct world *world);
/* All are over for good. */
void fault_stop(struct world *world);
void fault_start_node(struct world *world, uint32_t node);

/* --- sim_attack.c --- */
void attack_record(struct world *world, const struct sim_datagram *datagram);
void attack_once(struct world *world);
void attack_close(struct world *world);

/* --- sim_check.c: at the border of the endpoints --- */
void check_on_sent(void *ctx, struct sim_node *node, const struct sim_datagram *datagram);
void check_on_fail(void *ctx, struct sim_node *node, const char *text);
void check_arrive(void *ctx, const struct sim_datagram *datagram);
/* What holds at any time, looked at now and then. */
void check_tick(struct world *world);
/* Whether all that was sent has come and all that should be up is; else *ret_why. */
bool check_settled(struct world *world, char *why, size_t why_size);

#endif

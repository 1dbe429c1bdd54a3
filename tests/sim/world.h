/*
 * The simulated world of one seed: machines with a process and a disk, the network between them,
 * clients, faults, and the checkers' notes. One thread, virtual time, one source of randomness, so
 * the same seed gives the same run. Each part works on this structure; see the header of each.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "heap.h"
#include "model.h"
#include "plan.h"
#include "trace.h"

#include "base/rand.h"
#include "logic/event.h"
#include "logic/node.h"

#define MACHINES_MAX 9u /* an arbiter, five replicas, two spares, one that was wiped */
#define CLIENTS_MAX  4u
#define ENDS_MAX     (MACHINES_MAX + CLIENTS_MAX) /* clients are numbered after the machines */
#define OP_NONE      UINT32_MAX
#define FAILURE_MAX  1024u

/* --- disks (disk.h) --- */

struct disk_entry {
    bool present;
    struct kv_position position;
    uint64_t refused; /* index of a record of the key that was refused since; 0: none */
    uint8_t *value;
    uint32_t value_len;
};

struct disk_job {
    uint64_t serial; /* 0: none */
    uint64_t batch;
    struct kv_position position;
    const struct kv_slice *slices; /* the node's memory: must stay as it is */
    uint32_t slices_len;
    uint64_t hash;
    uint8_t *bytes; /* a copy */
    size_t len;
    uint32_t records_len;
    uint8_t outcome;                  /* enum disk_outcome */
    struct persist_refusal *refusals; /* made when the job is over */
    uint32_t refusals_len;
};

struct disk {
    struct disk_entry *entries; /* by the key's number in the model */
    uint32_t entries_len;
    struct kv_position position;
    uint64_t cluster;
    uint8_t *registry;
    size_t registry_len;
    uint64_t registry_number; /* of the view in it */
    struct disk_job job;
    uint64_t registry_serial; /* of the write going on; 0: none */
    uint8_t *registry_next;
    size_t registry_next_len;
    uint64_t registry_next_number;
    uint8_t registry_outcome;
    /* troubles, set by faults */
    uint32_t slow_us;
    uint32_t fail_left;      /* so many batches fail */
    bool fail_unknown;       /* ... after being stored, or a part of them */
    uint32_t hang_us;        /* the next batch takes so long */
    uint32_t refuse_percent; /* of the records, by what is in them */
    uint64_t refuse_salt;
    uint32_t registry_fail_left;
    uint32_t registry_slow_us;
};

/* --- machines (machine.h) --- */

struct machine {
    uint32_t index;
    char name[16];
    char uri[40];        /* of the scheme that every machine has a transport for */
    char second_uri[40]; /* of the second scheme; "" when it has no transport for that */
    bool arbiter, replica;
    bool second_is_first; /* of its addresses */
    bool wanted;          /* should run when the faults have stopped */
    uint64_t node_id;
    struct disk disk;
    struct node *node; /* NULL: the process is down */
    uint64_t epoch;    /* number of the process */
    struct effects effects;
    uint64_t clock_ms;   /* added to the world's clock */
    uint64_t tick_at_us; /* the earliest tick under way; UINT64_MAX: none */
    bool flush_due;
    bool loaded;
    bool leaving;
    uint64_t next_accepted;
    struct node_state state;    /* after the latest step */
    struct node_state previous; /* before it */
    /* checkers */
    uint64_t acked_index; /* of the newest acknowledgement of this process */
    uint64_t ticks_at_ms, ticks;
};

/* --- network (net.h) --- */

struct conn {
    bool in_use;
    bool up;
    uint32_t serial;     /* of the use of this place */
    uint32_t generation; /* grows whenever it goes down */
    bool second;         /* by the second scheme */
    uint32_t opener;     /* machine, or MACHINES_MAX + client */
    uint64_t opener_epoch;
    uint64_t opener_link; /* the machine's number of it */
    uint32_t acceptor;
    uint64_t acceptor_epoch;
    uint64_t acceptor_link;
    uint64_t last_us[2]; /* latest arrival so far, per direction: for ordered links */
};

/* --- clients (load.h) --- */

struct operation {
    uint32_t client; /* its place */
    uint8_t type;    /* enum message_type of the request */
    uint32_t machine;
    uint64_t request;
    uint32_t deadline_ms;
    uint32_t key;
    uint8_t *value;
    uint32_t value_len;
    uint64_t cursor;
    uint64_t min_index;
    uint64_t sent_us;
    uint32_t deliveries; /* how often a node received it */
    uint32_t records;    /* how often it is in the log, abandoned ones included */
    uint32_t rejections;
    bool open;    /* the client still waits */
    bool counted; /* a part of the complete scan at the end */
};

/* A request that a node has received and must answer. */
struct pending {
    uint64_t serial;
    uint32_t op;
    uint32_t machine;
    uint64_t epoch;
    uint64_t link;
    uint64_t arrival;     /* order of arrival */
    uint64_t received_ms; /* the node's clock */
    bool twin; /* another one of the same id waits on the same link: which one is answered? */
    bool gone; /* its link is: nobody waits any more */
};

struct client {
    uint64_t id;
    uint32_t outstanding;
    uint64_t next_request;
    uint32_t conns[MACHINES_MAX]; /* place + 1; 0: none yet */
};

/* An update that was acknowledged. */
struct acked {
    uint32_t op;
    struct kv_position position;
};

/* A record that some store has refused. */
struct refused_record {
    struct kv_position position;
    uint32_t machine;
    bool was_stored; /* later, when the batch was repeated */
};

/* An update whose client was told that it is refused: nobody may ever see it. */
struct void_record {
    uint64_t index;
    uint32_t key;
    uint32_t op;
};

/* What the arbiter made durable. */
struct view_note {
    uint64_t number;
    uint64_t primary;
    uint32_t members_len;
    uint64_t nodes[MACHINES_MAX];
    uint8_t states[MACHINES_MAX];
    uint64_t acknowledger; /* who has acknowledged updates in it; 0: nobody */
};

enum world_phase { PHASE_SAFETY = 1, PHASE_CALM, PHASE_SETTLE, PHASE_READ, PHASE_DONE };

struct world {
    uint64_t seed;
    struct plan plan;
    struct rand rand;
    struct trace *trace;
    uint64_t now_us;
    struct heap heap;
    struct model model;
    struct machine machines[MACHINES_MAX];
    uint32_t machines_len;
    struct conn *conns;
    uint32_t conns_len, conns_capacity;
    struct client clients[CLIENTS_MAX];
    struct operation *ops;
    uint32_t ops_len, ops_capacity;
    struct pending *pendings;
    uint32_t pendings_len, pendings_capacity;
    struct acked *acked;
    uint32_t acked_len, acked_capacity;
    struct refused_record *refused;
    uint32_t refused_len, refused_capacity;
    struct void_record *voids;
    uint32_t voids_len, voids_capacity;
    struct view_note *views;
    uint32_t views_len, views_capacity;
    /* network troubles */
    bool blocked[ENDS_MAX][ENDS_MAX];
    bool firewalled[ENDS_MAX][ENDS_MAX]; /* nothing connects there by the first scheme */
    bool datagrams;                      /* see the plan; no more when the faults have stopped */
    uint32_t delay_max_us;
    uint32_t loss_percent, double_percent, late_percent;
    uint64_t next_serial;
    uint32_t next_node;
    enum world_phase phase;
    uint64_t healed_us;
    uint64_t settled_us; /* how long it took after the faults and the load had stopped */
    uint32_t acks_calm;
    uint32_t updates_calm; /* that a node received since the faults have stopped, and since the
                              primary has, if that was asked to while there were faults */
    /* the complete scan of every machine at the end */
    uint32_t scan_machine;
    uint64_t read_last; /* the newest index when it began */
    uint64_t scan_found;
    bool failed;
    char failure[FAILURE_MAX];
};

/* Notes the first failure: what was promised and how it was broken. The run ends after the step. */
void world_fail(struct world *world, const char *promise, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A time in [low, high]. */
uint64_t world_draw(struct world *world, uint64_t low, uint64_t high);

/* The machine of a node; NULL when it was wiped or never was. */
struct machine *world_machine_of(struct world *world, uint64_t node_id);

/* Runs, and takes part: an arbiter whose replica was asked to leave goes on without it. */
bool world_is_replica(const struct machine *machine);

/* The view of that number; NULL when the arbiter never made it durable. */
struct view_note *world_view(struct world *world, uint64_t number);

/* The newest durable one; NULL when there is none. */
struct view_note *world_newest_view(struct world *world);

/* The machine that is primary in it; NULL when none is. */
struct machine *world_primary(struct world *world);

/* What a run of one seed came to. */
struct world_result {
    bool failed;
    char failure[FAILURE_MAX];
    uint64_t trace_hash;
    uint64_t settled_ms;
    uint64_t operations, acknowledged;
    uint64_t virtual_ms;
};

/* Runs one seed from beginning to end. */
void world_run(uint64_t seed, struct trace *trace, struct world_result *ret_result);

#endif

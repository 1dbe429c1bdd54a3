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

#define MACHINES_MAX 9u /* an arbiter, five replicas, two spares, a copy */
#define CLIENTS_MAX  4u
#define ENDS_MAX     (MACHINES_MAX + CLIENTS_MAX) /* clients are numbered after the machines */
#define OP_NONE      UINT32_MAX
#define ODD_IDS      5u
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
    bool mixed; /* the content is another state than the position says */
    bool lost;  /* the content was, and nothing complete has come in its place yet */
    uint64_t cluster;
    uint64_t starts; /* of processes with this data folder */
    uint8_t *registry;
    size_t registry_len;
    uint64_t registry_number; /* of the view in it */
    struct disk_job job;
    uint64_t registry_serial; /* of the write going on; 0: none */
    uint8_t *registry_next;
    size_t registry_next_len;
    uint64_t registry_next_number;
    uint64_t registry_expected; /* the write is for nothing when another one is stored */
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

enum machine_wiped {
    WIPED_NOT = 0,
    WIPED_STORE,  /* the content is lost */
    WIPED_FOLDER, /* and the identity */
};

struct machine {
    uint32_t index;
    char name[16]; /* in the trace */
    char node_name[16];
    uint32_t moves;      /* to other addresses, so far */
    bool retires;        /* the data folder is in use by another */
    char uri[40];        /* of the scheme that every machine has a transport for */
    char second_uri[40]; /* of the second scheme; "" when it has no transport for that */
    bool arbiter, replica;
    bool second_is_first; /* of its addresses */
    bool wanted;          /* should run when the faults have stopped */
    bool gone;            /* stays down for ever, where that may be */
    uint8_t wiped;        /* enum machine_wiped: before the next start, where that may be */
    bool copied;          /* its data folder is in use twice: one of the two is refused */
    bool was_copied;      /* ... or was, and an operator has ended one: maybe the one let in last */
    uint64_t incarnation;
    uint64_t paused_until_us; /* until then the process stands still */
    uint64_t node_id;
    struct disk disk;
    struct node *node; /* NULL: the process is down */
    uint64_t epoch;    /* number of the process */
    struct effects effects;
    uint64_t clock_ms;   /* added to the world's clock */
    uint64_t tick_at_us; /* the earliest tick under way; UINT64_MAX: none */
    bool flush_due;
    bool loaded;
    bool comparing; /* a session has begun, and its content is not known to be complete yet */
    bool leaving;
    uint64_t compared_index; /* 0, or the end of what a store that was mixed must have reached */
    uint64_t next_accepted;
    struct node_state state;    /* after the latest step */
    struct node_state previous; /* before it */
    /* checkers */
    uint64_t acked_index; /* of the newest acknowledgement of this process */
    uint32_t shown;       /* the newest state that a read was answered from, see check_reads.c */
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
    bool at_primary;
    uint64_t sent_us;
    uint32_t deliveries; /* how often a node received it */
    uint32_t records;    /* how often it was appended, dropped ones included */
    uint32_t record;     /* the latest of these */
    uint32_t rejections;
    uint32_t next_open; /* of the client's list of those that may be open; OP_NONE: the last one */
    bool open;          /* the client still waits */
    bool counted;       /* a part of the complete scan at the end */
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
    uint32_t settled;     /* what a linearizable read must show at least: see world.settled */
    bool twin; /* another one of the same id waits on the same link: which one is answered? */
    bool gone; /* its link is: nobody waits any more */
};

struct client {
    uint64_t id;
    uint32_t outstanding;
    uint32_t first_open; /* the latest operation of a list, see there */
    uint64_t next_request;
    uint64_t odd_us[ODD_IDS];     /* when these ids may be used again */
    uint32_t conns[MACHINES_MAX]; /* place + 1; 0: none yet */
};

/* An update that was acknowledged. */
struct acked {
    uint32_t op;
    uint32_t record;
    bool lost; /* with what the decision of somebody, or the mode, does not keep */
};

/* A record that some store has refused. */
struct refused_record {
    struct kv_position position;
    uint32_t machine;
    bool was_stored; /* later, when the batch was repeated */
};

/* An update whose client was told that it is refused: nobody may ever see it. */
struct void_record {
    uint32_t record;
    uint32_t key;
    uint32_t op;
};

/* What the arbiter made durable. */
struct view_note {
    uint64_t number;
    uint64_t primary;
    uint64_t forced;
    uint32_t members_len;
    uint64_t nodes[MACHINES_MAX];
    uint64_t incarnations[MACHINES_MAX];
    uint8_t states[MACHINES_MAX];
    uint64_t acknowledger;         /* who has acknowledged updates in it; 0: nobody */
    uint64_t let_go[MACHINES_MAX]; /* nodes that its primary has asked to take out */
    uint32_t let_go_len;
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
    uint32_t settled;  /* the newest record that is acknowledged or was shown at a primary */
    uint64_t ack_view; /* the highest view in which anybody has acknowledged, and who that was */
    uint64_t ack_node;
    uint64_t primary_view; /* in which the newest primary has begun */
    bool loss_excused;     /* the next primary may lack what was committed */
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

/* The machine of a node, of the process in the view where there are copies; NULL when it was wiped
 * or never was. */
struct machine *world_machine_of(struct world *world, uint64_t node_id);

/* Runs, and takes part: an arbiter whose replica was asked to leave goes on without it. */
bool world_is_replica(const struct machine *machine);

/* The view of that number; NULL when the arbiter never made it durable. */
struct view_note *world_view(struct world *world, uint64_t number);

/* The newest durable one; NULL when there is none. */
struct view_note *world_newest_view(struct world *world);

/* The machine that is primary in it; NULL when none is. */
struct machine *world_primary(struct world *world);

/* Is its process a member of the newest view? */
bool world_is_member(struct world *world, const struct machine *machine);

/* Is the machine in sync in that view? */
bool world_is_in_sync(const struct view_note *view, const struct machine *machine);

/* The record that ends the state which the node calls committed. */
uint32_t world_committed(struct world *world, const struct machine *machine);

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

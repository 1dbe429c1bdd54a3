/*
 * What one seed draws before the run begins: the cluster, its options and limits, the load, the
 * network, the stores, and which kinds of fault may happen ("swarm": each seed enables a random
 * subset, so that rare combinations get their turn). Plain data. The simulator only.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "base/rand.h"
#include "logic/node.h"

enum fault_kind {
    FAULT_LOSS = 0,      /* for a while, messages are lost, doubled or late */
    FAULT_PARTITION,     /* nothing passes from one machine to another */
    FAULT_LINK,          /* a connection breaks */
    FAULT_DISK_SLOW,     /* a store takes its time */
    FAULT_DISK_FAIL,     /* a store fails some times in a row */
    FAULT_DISK_UNKNOWN,  /* ... after having stored the batch, or a part */
    FAULT_DISK_HANG,     /* one batch takes seconds */
    FAULT_DISK_REFUSE,   /* for a while, a store refuses some records for good */
    FAULT_CRASH,         /* a replica that is not the primary is killed, and comes back */
    FAULT_CRASH_PRIMARY, /* the primary is killed, and comes back */
    FAULT_CRASH_ARBITER, /* the arbiter is killed, and comes back */
    FAULT_LEAVE,         /* a process is asked to stop cleanly, and may come back */
    FAULT_LEAVE_REQUEST, /* somebody asks the arbiter to let a node go */
    FAULT_JOIN,          /* a machine that was never there joins */
    FAULT_CLOCK,         /* a machine's clock jumps forward */
    FAULT_REGISTRY,      /* the arbiter's own store is slow and fails */
    FAULT_GARBAGE,       /* bytes that are no message, or an altered one, arrive */
    FAULT_WIPE,          /* a replica loses its store, or its data folder, while it is down */
    FAULT_FIREWALL,      /* for a while, one machine cannot connect to another's first scheme */
    FAULT_POWER,         /* all machines are down at once, and come back in any order */
    FAULT_PAUSE,         /* a process stands still for a while */
    FAULT_PAUSE_PRIMARY, /* that of the primary */
    FAULT_CUT_PRIMARY,   /* the primary and the arbiter, or the others, do not hear each other */
    FAULT_HANDOVER,      /* somebody asks for another primary */
    FAULT_FORCE,         /* the primary is down for long, and somebody forces another one */
    FAULT_COPY,          /* a copy of a data folder is started beside the original */
    FAULT_MOVE,          /* the arbiter is killed, and comes back at another address */
    FAULT_CONFLICT,      /* somebody else writes the arbiter's registry */
    FAULTS_LEN,
};

/* A short run of faults in a row that chance hardly ever gives; such a run has no others. */
enum drill {
    DRILL_NONE = 0,
    DRILL_EMPTY_PRIMARY, /* the primary loses its store, and is back at once */
    DRILL_REFUSE_JOINER, /* a replica loses its store, which then refuses content for a while */
    DRILL_QUICK_RETURN,  /* a secondary in sync is back at once, and then the primary is killed */
    DRILLS_LEN,
};

struct plan {
    uint32_t replicas; /* started at the beginning */
    uint32_t spares;   /* more that may join later */
    bool combined;     /* the arbiter and the first replica are one node */
    enum ack_mode ack;
    uint32_t min_in_sync;
    uint32_t operation_timeout_ms;
    uint32_t retransmit_ms;
    uint32_t replica_timeout_ms;
    uint32_t return_wait_ms;
    struct node_limits limits;

    bool late_downs;  /* the end of a link is noticed seconds later, or not at all */
    bool two_schemes; /* some machines have a second transport, and so a second address */
    bool datagrams;   /* messages overtake each other and outlive their connection */
    uint32_t delay_min_us;
    uint32_t delay_max_us;
    uint32_t flush_max_us; /* how long a turn of the loop may be */

    uint32_t disk_min_us;
    uint32_t disk_max_us;
    bool disk_atomic;        /* else a crash or a failure may keep the first part of a batch */
    uint32_t refuse_percent; /* of all records, for good: a rule that all stores have; 0: none */
    bool disk_tombstones;    /* a store that gives removals back when it is loaded */

    uint32_t clients;
    uint32_t outstanding; /* per client */
    uint32_t keys;
    uint32_t value_max;
    uint32_t pause_max_us; /* between two requests of a client */
    uint32_t update_percent;
    bool odd_ids;

    bool only_handover; /* no other fault: then no update may fail */
    uint32_t faults;    /* bits: 1 << enum fault_kind */
    uint8_t drill;      /* enum drill */
    uint32_t fault_pause_max_ms;
    uint32_t safety_ms; /* then the faults stop */
};

void plan_draw(struct plan *plan, struct rand *rand);

/* "crash-primary" */
const char *plan_fault_name(uint32_t fault);

#endif

/*
 * What a replica has in any role: its content in memory, its log, the queue towards its store, its
 * view, the requests that wait. The roles (primary.h, secondary.h) and the ways in (membership.h,
 * reads.h) work on it. One per node that is a replica; the logic's own modules only.
 */
#ifndef LOGIC_REPLICA_H
#define LOGIC_REPLICA_H

#include "logic/catchup.h"
#include "logic/operations.h"
#include "logic/persister.h"
#include "logic/refusals.h"
#include "logic/replicator.h"
#include "logic/routes.h"
#include "logic/index_set.h"
#include "logic/waiting.h"

/* The place is about to be given to another node (handover.h). */
struct handover {
    uint64_t node; /* 0: no */
    uint64_t joined;
    uint64_t since_ms;
    uint64_t told_ms; /* the arbiter was told that all is ready; 0: not yet */
    bool told;        /* ... in this view, whatever became of it */
};

struct primary {
    struct operations operations; /* those of the log's records above the committed one */
    uint64_t inherited;           /* last index of the log when this node became primary */
    bool settled;                 /* ... and all of that is committed */
    bool known;                   /* what was committed here then was known to be so everywhere */
    bool loaded; /* the content was what the own store gave back: members compare theirs */
    struct handover handover;
    struct waiting reads; /* for a lease; their min_index is when they may be answered, in ms */
    uint64_t lease_asked_ms;
    struct index_set voids; /* updates that failed for good, as far as the log is held */
    struct index_set stops; /* where the commit index may not stand, likewise */
    uint64_t
        barrier_ms; /* since when something void is not passed by the commit index; 0: nothing is */
    bool marked;    /* the own store knows that it is a primary's */
    uint64_t queued_index;  /* highest index handed to the persister */
    uint64_t durable_index; /* highest index durable in the own store */
    bool commit_moved;      /* or refusals were dealt with: the secondaries do not know yet */
    struct replicator *replicators[MEMBERS_MAX];
    uint32_t replicators_len;
    struct routes routes;
};

struct secondary {
    /* kept over sessions */
    uint64_t announced;     /* highest commit index heard of in sessions that had begun */
    uint64_t shown_from;    /* the content may show what is not committed until that is announced */
    uint64_t durable_index; /* of the log, in the own store */
    struct refusals refusals;
    struct catchup catchup; /* what is still to be fetched */
    struct waiting fetched; /* answers of a state that is not committed here yet */
    /* of this session */
    uint64_t session;     /* member.joined of this node in the view; 0: none */
    bool begun;           /* BEGIN was taken */
    bool told_complete;   /* the primary knows that the content is complete */
    bool asked;           /* for another primary: nothing is taken from this one in this view */
    uint64_t begin_index; /* of BEGIN's as_of */
    uint64_t expected;    /* seq of the next Snapshot to take */
    uint64_t durable;     /* every seq below is in the own store */
    uint64_t heard_ms;    /* last word of the primary */
    uint64_t sent_ms;     /* ... and the latest of the primary's times of sending */
    uint64_t link;        /* the primary's last one */
    bool ack_wanted;      /* at the end of this turn */
};

struct membership {
    uint64_t arbiter;              /* link */
    uint64_t arbiter_ms;           /* last word of it, or when the link was opened */
    char arbiter_uri[URI_MAX + 1]; /* where it leads; "": to one of told_uris */
    /* where the arbiter listens, as the newest view said that was seen, a member's or not */
    uint64_t told_view;
    uint8_t told_uris_len;
    char told_uris[URIS_MAX][URI_MAX + 1];
    /* while it is silent, its other addresses, and other members, are asked in turn */
    uint64_t probe; /* link; 0: none */
    uint64_t probe_ms;
    uint32_t probe_place; /* see membership_address() */
    char probe_uri[URI_MAX + 1];
    uint64_t incarnation;
    bool started; /* joining began: the content is loaded */
    bool joined;  /* this node is in its view */
    bool ever_joined;
    bool leaving; /* and, once it is not joined any more, staying out */
    bool stops;   /* ... and then the process ends */
    bool stopped; /* EFFECT_STOP was emitted */
    uint64_t started_ms;
    uint64_t next_ms;    /* of the next Join, Heartbeat or Leave */
    uint64_t backoff_ms; /* before joining again, when taken out once more */
    uint64_t leave_until_ms;
    char refusal[TEXT_MAX + 1]; /* why the arbiter last refused this node; "" when it did not */
};

/* The longest pause of a node whose store refuses what the cluster holds: each try costs the
 * primary a transfer, and only somebody's hand can help. */
#define REFUSED_BACKOFF_MS_MAX 10000u

struct replica {
    struct context *context;
    enum node_role role;
    uint8_t ready_role; /* told with EFFECT_READY; 0: not yet */
    bool loaded;
    struct kv_position loaded_position;
    struct store *store;
    bool whole;    /* the content is that of `committed`, not a mixture while it is fetched */
    bool compared; /* ... and is not merely what the store gave back, which may have refused what
                      others have */
    struct log *log;
    uint64_t committed;      /* index up to which the log is applied to the store */
    uint64_t committed_view; /* view of the record there */
    struct persister persister;
    struct buffer
        doubtful; /* removals of the keys of which memory and store may hold different
                     things, since the store has refused a record; made in the next session */
    uint32_t doubtful_len;
    char refused[TEXT_MAX + 1]; /* why the store refuses what the cluster holds; "": it does not */
    struct view view;
    struct waiting role_waiting;  /* for a role */
    struct waiting index_waiting; /* for a position */
    struct primary primary;
    struct secondary secondary;
    struct membership membership;
};

struct replica *replica_create(struct context *context);
void replica_destroy(struct replica *replica);

/* Applies the log's records up to index to the content in memory and answers the reads that waited
 * for it. index is at most the last one's. */
void replica_commit(struct replica *replica, uint64_t index);

/* Applies one record to the content in memory. */
void replica_apply(struct replica *replica, const struct kv_record *record);

/* The content is complete, and all of it is known to be committed. */
bool replica_is_shown(const struct replica *replica);

/* True when reads may be answered here: all committed updates up to `committed` are in, no other.
 */
bool replica_serves_reads(const struct replica *replica);

/* Emits READY when the node serves for the first time. */
void replica_tell_ready(struct replica *replica);

/* The index up to which the own store is complete, for the status. */
uint64_t replica_durable_index(const struct replica *replica);

/* What is known here to be committed: not, at first, what a restarted node has loaded. */
uint64_t replica_known_index(const struct replica *replica);

/* Deadline of a request on this node's clock. */
uint64_t replica_deadline_ms(const struct replica *replica, uint32_t asked_ms);

#endif

/*
 * The primary's sender for one secondary: numbers its Snapshots from 0 in each session, keeps what
 * is not durable there in a window, and sends it again.
 *
 * Happy path of a session: a PROBE, which the member answers with a Resume; BEGIN, from where that
 * says (resume.h); then RECORDS as the log grows; SnapshotAcks move the window. It never holds back
 * the primary: it borrows records from the log, and its window is bounded in messages and bytes.
 * Failure modes: a lost Snapshot or ack (sent again after retransmit_ms; a large one when
 * a PROBE has shown that it is lost, since it may merely take its time), a peer that has
 * received but not stored (asked again with a PROBE), silence (replicator_is_silent(); the primary
 * then has it taken out of the view).
 */
#ifndef LOGIC_REPLICATOR_H
#define LOGIC_REPLICATOR_H

#include "logic/context.h"
#include "logic/index_set.h"
#include "logic/log.h"

struct window_entry;

struct replicator {
    uint64_t node;
    uint64_t session; /* member.joined */
    uint64_t link;
    bool heard;            /* in this session */
    bool begun;            /* BEGIN is in the window or was */
    bool complete;         /* all of the content is there, in its store too */
    bool counted;          /* its acknowledgement is needed for commit */
    uint64_t counted_from; /* ... of what is beyond this index */
    bool in_sync;          /* and the view says so */
    bool suspected;        /* the arbiter was asked to take it out */
    bool abandoned;        /* nothing is sent or held for it any more; it waits to be taken out */
    bool refuses;          /* its store refuses what cannot be undone; it waits to be taken out */
    bool behind;           /* it is in sync, and the log does not lead from where it is to here */
    bool released;         /* the arbiter has asked to let go of it */
    uint64_t refusals;     /* how many of the session's refusals are dealt with */

    struct window_entry *window; /* ring of WINDOW_MESSAGES_MAX; entry of seq s at s modulo that */
    uint64_t durable;            /* every seq below is in the secondary's store */
    uint64_t received;           /* every seq below has arrived there */
    uint64_t next;               /* seq of the next Snapshot */
    uint64_t window_bytes;
    uint64_t window_bytes_max_seen;

    uint64_t next_index;     /* of the log, not sent yet */
    uint64_t begin_index;    /* of BEGIN's as_of */
    uint64_t durable_index;  /* highest log index durable there; at first, what is known of it */
    uint64_t received_index; /* the same for received */

    uint64_t echo_ms;       /* the latest sending, on this node's clock, that was heard there for
                               certain: for the lease */
    uint64_t heard_ms;      /* last word of this session */
    uint64_t progress_ms;   /* last time that durable moved, or the window was empty */
    uint64_t asked_ms;      /* since when the oldest Snapshot not received there waits; last
                               retransmission or PROBE */
    bool asks_first;        /* a PROBE is to show whether the oldest one is lost: it is large */
    uint64_t recover_until; /* every seq below may be lost: see replicator_on_ack() */
    uint64_t resent_until;  /* and those below this one were sent again */
    uint64_t reported_ms;   /* last CaughtUp or Suspect for it */
};

/* link: to the member, opened for this session; the replicator closes it. durable_index: what the
 * member is known to have in its store. */
void replicator_init(struct replicator *replicator, struct context *context, uint64_t node,
                     uint64_t session, uint64_t link, uint64_t durable_index);
void replicator_close(struct replicator *replicator, struct context *context);

/* What a pump reads. */
struct replicator_source {
    const struct log *log;
    const struct index_set *stops; /* where `committed` may not stand */
    uint64_t committed;            /* members may show this state; 0: none yet */
};

/* How a session begins: the log is sent from as_of on. */
struct replicator_start {
    struct kv_position as_of;
    uint8_t tail;  /* enum snapshot_tail; with TAIL_NONE the member fetches the content ... */
    uint64_t base; /* ... and may rely on what it has up to this index */
};

/* Sends BEGIN; once in a session. */
void replicator_begin(struct replicator *replicator, struct context *context,
                      const struct replicator_source *source, const struct replicator_start *start);

/* The member was heard in some other way than by an acknowledgement. */
void replicator_hear(struct replicator *replicator, const struct context *context);

/* Asks for an acknowledgement at once, or for a Resume where nothing has begun. */
void replicator_probe(struct replicator *replicator, struct context *context,
                      const struct replicator_source *source);

/* Sends the records that the window takes. */
void replicator_pump(struct replicator *replicator, struct context *context,
                     const struct replicator_source *source);

/* Only the committed index; no answer wanted. */
void replicator_send_commit(struct replicator *replicator, struct context *context,
                            const struct replicator_source *source);

/* Sends again, or asks, what is overdue. */
void replicator_tick(struct replicator *replicator, struct context *context,
                     const struct replicator_source *source);

/* Sends everything not yet received again, now: the link came up, or a new view began. */
void replicator_resend(struct replicator *replicator, struct context *context,
                       const struct replicator_source *source);

/* True when durable or received moved. After a retransmission, an ack that still lacks what was
 * sent before it shows a loss: then the rest is sent again at once. */
bool replicator_on_ack(struct replicator *replicator, struct context *context,
                       const struct replicator_source *source, const struct message *ack);

/* Overdue by replica_timeout_ms. */
bool replicator_is_silent(const struct replicator *replicator, const struct context *context);

/* Begins the silence anew: this process itself was stopped for a while. */
void replicator_forgive(struct replicator *replicator, const struct context *context);

/* Its content is complete and it is close enough behind to be counted. */
bool replicator_is_close(const struct replicator *replicator, const struct log *log);

#endif

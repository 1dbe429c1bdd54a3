/*
 * The primary's sender for one secondary: numbers its Snapshots from 0 in each session, keeps what
 * is not durable there in a window, sends it again, and brings a candidate up by a transfer while
 * updates flow.
 *
 * Happy path of a session: BEGIN, then RECORDS as the log grows, with one PIECE of the transfer per
 * pump in between until END; SnapshotAcks move the window. It never holds back the primary: it
 * borrows records from the log, and its window is bounded in messages and bytes.
 * Failure modes: a lost Snapshot or ack (sent again after retransmit_ms; a large one when
 * a PROBE has shown that it is lost, since it may merely take its time), a peer that has
 * received but not stored (asked again with a PROBE), silence (replicator_is_silent(); the primary
 * then has it taken out of the view).
 */
#ifndef LOGIC_REPLICATOR_H
#define LOGIC_REPLICATOR_H

#include "logic/context.h"
#include "logic/log.h"
#include "logic/index_set.h"
#include "logic/store.h"

struct window_entry;

struct replicator {
    uint64_t node;
    uint64_t session; /* member.joined */
    uint64_t link;
    bool heard;            /* in this session */
    bool counted;          /* its acknowledgement is needed for commit */
    uint64_t counted_from; /* ... of what is beyond this index */
    bool in_sync;          /* and the view says so */
    bool suspected;        /* the arbiter was asked to take it out */
    bool abandoned;        /* nothing is sent or held for it any more; it waits to be taken out */
    bool refuses;          /* its store refuses what cannot be undone; it waits to be taken out */
    uint64_t refusals;     /* how many of the session's refusals are dealt with */

    struct window_entry *window; /* ring of WINDOW_MESSAGES_MAX; entry of seq s at s modulo that */
    uint64_t durable;            /* every seq below is in the secondary's store */
    uint64_t received;           /* every seq below has arrived there */
    uint64_t next;               /* seq of the next Snapshot */
    uint64_t window_bytes;
    uint64_t window_bytes_max_seen;
    uint32_t pieces; /* of the transfer, in the window */

    uint64_t next_index; /* of the log, not sent yet */
    uint64_t
        durable_index; /* highest log index durable there; at first the one before the session */
    uint64_t received_index; /* the same for received */
    bool transferring;       /* END is not sent yet */
    bool all_cut;            /* no range is left to be sent */
    bool transferred;        /* END is durable there */
    uint64_t cursor;         /* hash at which the next piece begins */

    uint64_t heard_ms;      /* last acknowledgement of this session */
    uint64_t progress_ms;   /* last time that durable moved, or the window was empty */
    uint64_t asked_ms;      /* since when the oldest Snapshot not received there waits; last
                               retransmission or PROBE */
    bool asks_first;        /* a PROBE is to show whether the oldest one is lost: it is large */
    uint64_t recover_until; /* every seq below may be lost: see replicator_on_ack() */
    uint64_t resent_until;  /* and those below this one were sent again */
    uint64_t reported_ms;   /* last CaughtUp or Suspect for it */
};

/* link: to the member, opened for this session; the replicator closes it. The log is sent from
 * committed + 1 on; everything up to there is in the store that the transfer walks. */
void replicator_init(struct replicator *replicator, struct context *context, uint64_t node,
                     uint64_t session, uint64_t link, struct kv_position committed);
void replicator_close(struct replicator *replicator, struct context *context);

/* What a pump reads. */
struct replicator_source {
    const struct log *log;
    const struct store *store;     /* committed content */
    const struct index_set *stops; /* where `committed` may not stand */
    struct kv_position committed;
};

/* Sends what the window takes: records first, then at most one piece. */
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

/* The transfer is done and the secondary is close enough behind to be counted. */
bool replicator_is_close(const struct replicator *replicator, const struct log *log);

#endif

/*
 * What every part of a node shares during a step: its configuration, the time, where effects go,
 * the counters. One per node; the logic's own modules only.
 */
#ifndef LOGIC_CONTEXT_H
#define LOGIC_CONTEXT_H

#include "logic/node.h"

/* X(name): counted since the node was created, shown in its status. */
#define COUNTER_TABLE(X)                                                                          \
    X(messages_malformed)       /* no message of this protocol */                                 \
    X(messages_foreign_version) /* another protocol version */                                    \
    X(messages_foreign_cluster) /* another cluster's */                                           \
    X(messages_old_view)        /* sent in a view that is over */                                 \
    X(messages_future_view)     /* sent in a view not known here yet */                           \
    X(messages_unexpected)      /* nothing that this node, in its role, takes from that sender */ \
    X(snapshots_repeated)       /* number below the expected one */                               \
    X(snapshots_early)          /* number above the expected one */                               \
    X(snapshots_refused)        /* content that does not fit, or no room */                       \
    X(snapshots_resent)                                                                           \
    X(tails_resumed)     /* sessions that went on with the tail of the log */                     \
    X(transfers_started) /* sessions that had to fetch content */                                 \
    X(ranges_fetched)                                                                             \
    X(ranges_answered)                                                                            \
    X(records_dropped) /* of this node's log: the new primary's has others in their place */      \
    X(operations_acknowledged)                                                                    \
    X(operations_failed)                                                                          \
    X(operations_refused) /* ... of these, by a store, for good */                                \
    X(operations_undone)  /* records that make up for them */                                     \
    X(records_refused)    /* by this node's store, for good, as a secondary */                    \
    X(requests_rejected)                                                                          \
    X(reads_answered)                                                                             \
    X(reads_waited) /* for a lease */                                                             \
    X(persist_batches)                                                                            \
    X(persist_failures)                                                                           \
    X(views_installed)                                                                            \
    X(members_suspected)                                                                          \
    X(primaries_missed) /* silent for replica_timeout: another one was asked for */               \
    X(elections)        /* primaries named without the one before */                              \
    X(registry_conflicts)

#define COUNTER_CONSTANT_(name) COUNTER_##name,
enum counter { COUNTER_TABLE(COUNTER_CONSTANT_) COUNTERS_LEN };
#undef COUNTER_CONSTANT_

_Static_assert(COUNTERS_LEN <= COUNTERS_MAX, "all counters fit in a StatusResult");

struct context {
    const struct node_config *config;
    struct effects *effects; /* of the step going on */
    uint64_t now_ms;
    uint64_t cluster; /* 0: not known yet */
    uint64_t view;    /* number of the view that messages of this node carry */
    uint64_t next_link;
    uint64_t counters[COUNTERS_LEN];
};

void context_count(struct context *context, enum counter counter);

/* A zeroed message of that type with cluster, view and sender filled in. */
struct message context_message(const struct context *context, uint8_t type);

/* The byte form of a view, in memory that lives as long as the step's effects. */
struct bytes_view context_encode_view(struct context *context, const struct view *view);

/* Encodes the message and adds a SEND. */
void context_send(struct context *context, uint64_t link, const struct message *message);

/* The same for a Snapshot whose records (message->body.snapshot.records.len bytes) are the slices
 * given; they are borrowed until the effects are carried out. */
void context_send_records(struct context *context, uint64_t link, struct message *message,
                          const struct kv_slice *slices, uint32_t slices_len);

/* Adds an OPEN_LINK to a peer with these addresses (1 to URIS_MAX, best first; copied) and returns
 * the new link's number. */
uint64_t context_open_link(struct context *context, const char *const *uris, uint32_t uris_len);

/* Adds a CLOSE_LINK; 0 is fine. */
void context_close_link(struct context *context, uint64_t link);

/* Answers to a client's request; text: more of the reason, TEXT_MAX bytes of it. */
void context_reject_with(struct context *context, uint64_t link, uint64_t request, uint8_t reason,
                         uint32_t retry_after_ms, const char *text);
void context_reject(struct context *context, uint64_t link, uint64_t request, uint8_t reason,
                    uint32_t retry_after_ms);

/* A copy of somebody's text, fit to stand between quotes in a note; lives as long as the step's
 * effects. len bytes; NULL with len 0 is fine. */
const char *context_quotable(struct context *context, const char *text, size_t len);

/* The earlier of two times, for node_wake_ms(). */
uint64_t context_earlier(uint64_t a_ms, uint64_t b_ms);

#endif

/*
 * The whole cluster at a glance: the arbiter's view, and what each node of it says of itself. Asks
 * all nodes at once; one that does not answer in time is down.
 */
#ifndef KVCTL_CLUSTER_H
#define KVCTL_CLUSTER_H

#include "session.h"

/* A node that is not up has zeros and empty texts behind `reason`. */
struct cluster_node {
    char *name;
    char *role; /* in the view: "primary", "secondary", "candidate" */
    char *says; /* what it calls itself: also "joining": it waits to be let in */
    char **uris;
    uint32_t uris_len;
    struct outcome outcome; /* of asking it */
    bool is_up;
    char *reason; /* why it is not up; "" when it is */
    struct kv_position position;
    uint64_t durable_index;
    uint64_t committed_index;
    uint64_t keys;
    uint64_t digest;
    char *persist_plugin;
    char *persist_state;
    char *persist_error;
    char **counter_names;
    uint64_t *counter_values;
    uint32_t counters_len;
};

struct cluster {
    uint64_t id;
    uint64_t view;
    uint64_t forced;     /* number of the last view that an operator forced; 0: none */
    char *told_by;       /* the member that told the view; "": the arbiter */
    char **arbiter_uris; /* where the view says that the arbiter is */
    uint32_t arbiter_uris_len;
    char *primary; /* its name; "" when there is none */
    struct cluster_node *nodes;
    uint32_t nodes_len;
};

/* Asks the arbiter within the session's usual timeout, 2 s at most, then each node for at most
 * node_ms. On KV_OK in ret_outcome->status, *ret_cluster is to be closed. */
void cluster_ask(struct session *session, uint32_t node_ms, struct outcome *ret_outcome,
                 struct cluster *ret_cluster);

void cluster_close(struct cluster *cluster);

/* Whether a member told the view and the arbiter answers at none of its addresses, each of which is
 * asked for at most within_ms. */
bool cluster_lacks_arbiter(struct session *session, const struct cluster *cluster,
                           uint32_t within_ms);

/* Whether the node is up but waits to be let in. */
bool cluster_is_waiting(const struct cluster_node *node);

/* Whether the view's primary answers, and as one that was let in. */
bool cluster_has_primary(const struct cluster *cluster);

/* Whether the node counts: a primary or a secondary, not a candidate. */
bool cluster_is_in_sync(const struct cluster_node *node);

/* The node of that name; NULL: none. */
const struct cluster_node *cluster_find(const struct cluster *cluster, const char *name);

#endif

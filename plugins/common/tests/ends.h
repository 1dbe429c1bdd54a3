/*
 * The commonest world: a node that listens, one that connects, and nothing between them. One
 * thread.
 */
#ifndef PLUGINS_COMMON_TESTS_ENDS_H
#define PLUGINS_COMMON_TESTS_ENDS_H

#include "world.h"

struct ends {
    struct world world;
    struct node *server;
    struct node *client;
    char uri[KV_URI_MAX]; /* of the server */
};

/* limits: NULL for the usual ones; settings as for node_open(). Both nodes get the same. */
void ends_open(struct ends *ends, const struct kv_transport_limits *limits,
               const char *const *settings);
void ends_close(struct ends *ends);
/* A link that is up at both ends; the server's end is the newest of its peers. */
struct peer *ends_connect(struct ends *ends);

#endif

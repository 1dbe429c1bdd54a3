/*
 * A world with a node that listens, one that connects, and a relay between them. One thread.
 */
#ifndef TRANSPORT_UDP_TESTS_PAIR_H
#define TRANSPORT_UDP_TESTS_PAIR_H

#include "raw.h"

struct pair {
    struct world world;
    struct node *server;
    struct node *client;
    struct raw_relay relay;
    char uri[KV_URI_MAX]; /* of the relay */
    uint16_t server_port;
};

/* limits: NULL for the usual ones; settings as for node_open(). Both ends get the same. */
void pair_open(struct pair *pair, const struct kv_transport_limits *limits,
               const char *const *settings);
void pair_close(struct pair *pair);
/* A link by way of the relay, up at both ends; the server's end is the newest of its peers. */
struct peer *pair_connect(struct pair *pair);

#endif

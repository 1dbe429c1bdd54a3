#include "pair.h"

#include <stdio.h>

void pair_open(struct pair *pair, const struct kv_transport_limits *limits,
               const char *const *settings)
{
    struct kv_transport_limits standard = world_default_limits();
    world_init(&pair->world);
    pair->server = node_open(&pair->world, limits != NULL ? limits : &standard, settings);
    pair->client = node_open(&pair->world, limits != NULL ? limits : &standard, settings);
    pair->server_port = node_listen(pair->server, NULL);
    raw_relay_open(&pair->relay, &pair->world, pair->server_port);
    snprintf(pair->uri, sizeof pair->uri, "udp://127.0.0.1:%u", pair->relay.port);
}

void pair_close(struct pair *pair)
{
    node_close(pair->client);
    node_close(pair->server);
    raw_relay_close(&pair->relay);
    world_close(&pair->world);
}

struct peer *pair_connect(struct pair *pair)
{
    uint32_t accepted = pair->server->accepted_len;
    struct peer *peer = node_connect(pair->client, pair->uri);
    WAIT_FOR(&pair->world, peer->is_up && pair->server->accepted_len == accepted + 1);
    return peer;
}

#include "ends.h"

void ends_open(struct ends *ends, const struct kv_transport_limits *limits,
               const char *const *settings)
{
    struct kv_transport_limits standard = world_default_limits();
    world_init(&ends->world);
    ends->server = node_open(&ends->world, limits != NULL ? limits : &standard, settings);
    ends->client = node_open(&ends->world, limits != NULL ? limits : &standard, settings);
    node_listen(ends->server, ends->uri);
}

void ends_close(struct ends *ends)
{
    node_close(ends->client);
    node_close(ends->server);
    world_close(&ends->world);
}

struct peer *ends_connect(struct ends *ends)
{
    uint32_t accepted = ends->server->accepted_len;
    struct peer *peer = node_connect(ends->client, ends->uri);
    WAIT_FOR(&ends->world, peer->is_up && ends->server->accepted_len == accepted + 1);
    return peer;
}

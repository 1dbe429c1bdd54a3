/*
 * Prints messages per second over loopback, both ends in one thread: a ping-pong of 64 bytes, a
 * one-way flood of 150 bytes over 50 links, and large messages over one link. Not a test:
 * registered nowhere. PLUGIN_CALLS is the plugin's counter of calls that send.
 */
#include "world.h"

#include <stdio.h>

#define DURATION_MS 3000u

static uint8_t bytes[100000];

static void pong(struct peer *peer, const uint8_t *message, uint32_t len)
{
    peer_send(peer, message, len);
}

static void bench_ping_pong(void)
{
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    server->on_message = pong;
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up);
    client->on_message = pong;
    peer_send(peer, bytes, 64);
    uint64_t begin_ms = world_now_ms();
    world_run_ms(&world, DURATION_MS);
    uint64_t took_ms = world_now_ms() - begin_ms;
    printf("ping-pong, 64 bytes, 1 link: %.0f round trips/s (%.0f messages/s)\n",
           (double)peer->messages_len * 1000 / (double)took_ms,
           (double)peer->messages_len * 2000 / (double)took_ms);
    client->on_message = NULL;
    node_close(client);
    node_close(server);
    world_close(&world);
}

static void bench_flood(void)
{
    enum { LINKS = 50 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    struct peer *peers[LINKS];
    for (int i = 0; i < LINKS; i++) {
        peers[i] = node_connect(client, uri);
    }
    WAIT_FOR(&world, node_count_up(client) == LINKS && server->accepted_len == LINKS);
    uint64_t begin_ms = world_now_ms();
    uint64_t end_ms = begin_ms + DURATION_MS;
    while (world_now_ms() < end_ms) {
        for (int i = 0; i < LINKS; i++) {
            for (int j = 0; j < 100 && peer_send(peers[i], bytes, 150) == KV_OK; j++) {
            }
        }
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    uint64_t received = 0;
    for (struct peer *peer = server->peers; peer != NULL; peer = peer->next) {
        received += peer->messages_len;
    }
    uint64_t took_ms = world_now_ms() - begin_ms;
    node_stop(client);
    WAIT_FOR(&world, client->is_stopped);
    printf("flood, 150 bytes, 50 links: %.0f messages/s received, %.1f messages per call, "
           "peak memory %zu KiB at the sender, %zu KiB at the receiver\n",
           (double)received * 1000 / (double)took_ms,
           (double)node_get_counter(client, "messages_sent") /
               (double)node_get_counter(client, PLUGIN_CALLS),
           client->peak_bytes / 1024, server->peak_bytes / 1024);
    node_close(client);
    node_close(server);
    world_close(&world);
}

static void bench_bulk(void)
{
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up && server->accepted_len == 1);
    uint64_t begin_ms = world_now_ms();
    uint64_t end_ms = begin_ms + DURATION_MS;
    while (world_now_ms() < end_ms) {
        while (peer_send(peer, bytes, sizeof bytes) == KV_OK) {
        }
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    uint64_t took_ms = world_now_ms() - begin_ms;
    printf("bulk, 100,000 bytes, 1 link: %.0f MB/s received\n",
           (double)server->peers->bytes_len / 1000 / (double)took_ms);
    node_close(client);
    node_close(server);
    world_close(&world);
}

int main(void)
{
    bench_ping_pong();
    bench_flood();
    bench_bulk();
    return 0;
}

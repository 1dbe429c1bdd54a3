/*
 * Prints messages per second over loopback, both ends in one thread: a ping-pong of 64 bytes, a
 * one-way flood of 150 bytes over 50 links, and large messages over one link. Not a test:
 * registered nowhere. PLUGIN_CALLS is the plugin's counter of calls that send.
 */
#include "ends.h"

#include <stdio.h>

#define DURATION_MS 3000u

static uint8_t bytes[100000];

static void pong(struct peer *peer, const uint8_t *message, uint32_t len)
{
    peer_send(peer, message, len);
}

static void bench_ping_pong(void)
{
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    ends.server->on_message = pong;
    struct peer *peer = ends_connect(&ends);
    ends.client->on_message = pong;
    peer_send(peer, bytes, 64);
    uint64_t begin_ms = world_now_ms();
    world_run_ms(&ends.world, DURATION_MS);
    uint64_t took_ms = world_now_ms() - begin_ms;
    printf("ping-pong, 64 bytes, 1 link: %.0f round trips/s (%.0f messages/s)\n",
           (double)peer->messages_len * 1000 / (double)took_ms,
           (double)peer->messages_len * 2000 / (double)took_ms);
    ends.client->on_message = NULL;
    ends_close(&ends);
}

static void bench_flood(void)
{
    enum { LINKS = 50 };
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    struct peer *peers[LINKS];
    for (int i = 0; i < LINKS; i++) {
        peers[i] = ends_connect(&ends);
    }
    uint64_t begin_ms = world_now_ms();
    uint64_t end_ms = begin_ms + DURATION_MS;
    while (world_now_ms() < end_ms) {
        for (int i = 0; i < LINKS; i++) {
            for (int j = 0; j < 100 && peer_send(peers[i], bytes, 150) == KV_OK; j++) {
            }
        }
        uv_run(&ends.world.loop, UV_RUN_NOWAIT);
    }
    uint64_t received = 0;
    for (struct peer *peer = ends.server->peers; peer != NULL; peer = peer->next) {
        received += peer->messages_len;
    }
    uint64_t took_ms = world_now_ms() - begin_ms;
    uint64_t sent = node_stop_and_count(ends.client, "messages_sent");
    printf("flood, 150 bytes, 50 links: %.0f messages/s received, %.1f messages per call, "
           "peak memory %zu KiB at the sender, %zu KiB at the receiver\n",
           (double)received * 1000 / (double)took_ms,
           (double)sent / (double)node_get_counter(ends.client, PLUGIN_CALLS),
           ends.client->peak_bytes / 1024, ends.server->peak_bytes / 1024);
    ends_close(&ends);
}

static void bench_bulk(void)
{
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    struct peer *peer = ends_connect(&ends);
    uint64_t begin_ms = world_now_ms();
    uint64_t end_ms = begin_ms + DURATION_MS;
    while (world_now_ms() < end_ms) {
        while (peer_send(peer, bytes, sizeof bytes) == KV_OK) {
        }
        uv_run(&ends.world.loop, UV_RUN_NOWAIT);
    }
    uint64_t took_ms = world_now_ms() - begin_ms;
    printf("bulk, 100,000 bytes, 1 link: %.0f MB/s received\n",
           (double)ends.server->peers->bytes_len / 1000 / (double)took_ms);
    ends_close(&ends);
}

int main(void)
{
    bench_ping_pong();
    bench_flood();
    bench_bulk();
    return 0;
}

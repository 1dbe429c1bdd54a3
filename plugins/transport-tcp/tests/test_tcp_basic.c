/* Links between two well-behaved ends: messages of all sizes, batching, reconnecting, addresses. */
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"

static void echo(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    assert_int_equal(peer_send(peer, bytes, len), KV_OK);
}

static void test_descriptor(void **state)
{
    (void)state;
    const struct kv_plugin *plugin = world_get_plugin();
    assert_int_equal(plugin->magic, KV_ABI_MAGIC);
    assert_int_equal(plugin->abi_major, KV_ABI_MAJOR);
    assert_int_equal(plugin->plugin_size, sizeof(struct kv_plugin));
    assert_int_equal(plugin->ops_size, sizeof(struct kv_transport_ops));
    assert_int_equal(plugin->kind, KV_KIND_TRANSPORT);
    assert_int_equal(plugin->capabilities, KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE);
    assert_int_equal(plugin->host_features, KV_HOST_LOOP);
    assert_int_equal(plugin->libuv_loop_size, sizeof(uv_loop_t));
    assert_string_equal(plugin->name, "transport-tcp");
    assert_int_equal(plugin->options_len, 5);
}

static void test_settings(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    static const char *const bad[][6] = {
        {"connect_retry_ms", "0", NULL},
        {"connect_retry_ms", "ten", NULL},
        {"keepalive_s", "-1", NULL},
        {"keepalive_s", "99999999999999999999", NULL},
        {"colour", "1", NULL},
        {"connect_retry_ms", "100", "connect_retry_max_ms", "99", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(node_try_open(&world, &limits, bad[i], 0));
    }
    static const char *const good[] = {"keepalive_s", "0", "connect_timeout_ms", "5", NULL};
    node_close(node_open(&world, &limits, good));
    world_close(&world);
}

static void test_echo(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    server->on_message = echo;
    client->is_recording = true;
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up);

    static const uint32_t large[] = {4088,  16375, 16376, 16377,  16384,  16385,   65527,
                                     65528, 65529, 65536, 131072, 300000, 1048575, 1048576};
    uint8_t *bytes = malloc(limits.message_max + 1);
    assert_non_null(bytes);
    for (uint32_t i = 0; i <= limits.message_max; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    for (uint32_t i = 0; i < 600 + sizeof large / sizeof large[0]; i++) {
        uint32_t len = i < 600 ? i : large[i - 600];
        uint64_t before = peer->messages_len;
        peer->received_len = 0;
        assert_int_equal(peer_send(peer, bytes, len), KV_OK);
        WAIT_FOR(&world, peer->messages_len > before);
        assert_int_equal(peer->received_len, len);
        if (len > 0) {
            assert_memory_equal(peer->received, bytes, len);
        }
    }
    assert_int_equal(peer_send(peer, bytes, limits.message_max + 1), KV_E_TOO_LARGE);
    free(bytes);
    /* What the large messages needed was given back. */
    assert_true(client->live_bytes < 150000);
    assert_true(server->live_bytes < 150000);
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* Each side says how long a message it takes; a longer one is refused where it would be sent, and
 * the link stays. */
static void test_peer_message_max(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *client = node_open(&world, &limits, NULL);
    limits.message_max = 1000;
    struct node *server = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up);
    static const char bytes[1001];
    assert_int_equal(peer_send(peer, bytes, 1001), KV_E_TOO_LARGE);
    assert_int_equal(peer_send(peer, bytes, 1000), KV_OK);
    WAIT_FOR(&world, server->accepted_len == 1 && server->peers->messages_len == 1);
    assert_true(peer->is_up);
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* 20 000 messages queued before one flush: in order, and with few write calls. */
static void test_batching(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    server->is_recording = true;
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up && server->accepted_len == 1);
    client->is_no_flush = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t bytes[12] = {0};
        bytes_put_u32(bytes + 4, i);
        assert_int_equal(peer_send(peer, bytes, sizeof bytes), KV_OK);
    }
    world_run_ms(&world, 20);
    assert_int_equal(server->peers->messages_len, 0); /* nothing goes out without flush */
    node_flush(client);
    WAIT_FOR(&world, server->peers->messages_len == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(bytes_get_u32(server->peers->received + (size_t)12 * i + 4), i);
    }
    /* Seen before the node is freed: stop, then read the line. */
    node_stop(client);
    WAIT_FOR(&world, client->is_stopped);
    assert_int_equal(node_get_counter(client, "messages_sent"), COUNT);
    assert_true(node_get_counter(client, "writes") <= 12);
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* Small messages in one flush leave as one piece: a plain socket gets them with one read. */
static void test_one_write(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *client = node_open(&world, &limits, NULL);
    uint16_t port = 0;
    int listener = raw_listen(&port);
    char uri[KV_URI_MAX];
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", port);
    struct peer *peer = node_connect(client, uri);
    int fd = raw_accept(&world, listener);
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, peer->is_up);
    uint8_t expected[100 * 18];
    for (uint8_t i = 0; i < 100; i++) {
        uint8_t bytes[10];
        memset(bytes, i, sizeof bytes);
        raw_encode(expected + (size_t)18 * i, bytes, sizeof bytes);
        assert_int_equal(peer_send(peer, bytes, sizeof bytes), KV_OK);
    }
    node_stop(client);
    uint8_t got[sizeof expected];
    assert_int_equal(raw_receive(&world, fd, got, sizeof got), sizeof got);
    assert_memory_equal(got, expected, sizeof got);
    assert_int_equal(raw_wait_end(&world, fd), 0);
    close(fd);
    WAIT_FOR(&world, client->is_stopped);
    assert_int_equal(node_get_counter(client, "writes"), 2); /* preamble, and all the rest */
    node_close(client);
    close(listener);
    world_close(&world);
}

static void test_reconnect(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *client = node_open(&world, &limits, NULL);
    struct node *server = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    char again[KV_URI_MAX];
    node_listen(server, uri);
    struct peer *peer = node_connect(client, uri);
    assert_int_equal(peer_send(peer, "x", 1), KV_E_CLOSED);
    for (uint32_t round = 1; round <= 3; round++) {
        WAIT_FOR(&world, peer->is_up);
        assert_int_equal(peer->up_count, round);
        assert_int_equal(peer_send(peer, "hello", 5), KV_OK);
        WAIT_FOR(&world, server->peers != NULL && server->peers->messages_len == 1);
        node_close(server);
        WAIT_FOR(&world, !peer->is_up);
        assert_int_equal(peer->down_count, round);
        assert_int_equal(peer->reason, KV_E_CLOSED);
        assert_int_equal(peer_send(peer, "x", 1), KV_E_CLOSED);
        server = node_open(&world, &limits, NULL);
        assert_int_equal(node_try_listen(server, uri, again), KV_OK); /* at once, SO_REUSEADDR */
        assert_string_equal(again, uri);
    }
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* Nobody there: attempts with growing pauses, one line of log, no callback. */
static void test_dead_port(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    static const char *const settings[] = {"connect_retry_ms", "10", "connect_retry_max_ms", "80",
                                           NULL};
    struct node *client = node_open(&world, &limits, settings);
    uint16_t port = 0;
    close(raw_listen(&port));
    char uri[KV_URI_MAX];
    char bound[KV_URI_MAX];
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", port);
    struct peer *peer = node_connect(client, uri);
    uint64_t begin_ms = world_now_ms();
    WAIT_FOR(&world, node_count_logged(client, "cannot connect") >= 15);
    /* Pauses of 5-10, 10-20, 20-40, then 40-80 ms: 14 of them last so long at least. */
    assert_true(world_now_ms() - begin_ms >= 5 + 10 + 20 + 11 * 40 - 14);
    assert_int_equal(peer->up_count + peer->down_count, 0);
    struct node *server = node_open(&world, &limits, NULL);
    assert_int_equal(node_try_listen(server, uri, bound), KV_OK);
    WAIT_FOR(&world, peer->is_up);
    node_close(client);
    node_close(server);
    world_close(&world);
}

static void test_listen_refusals(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *node = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    char other[KV_URI_MAX] = "untouched";
    struct peer *peer = NULL;
    node_listen(node, uri);
    assert_int_equal(node_try_listen(node, uri, other), KV_E_EXISTS);
    assert_string_equal(other, "untouched");
    assert_true(node_has_logged(node, uri));
    assert_true(node_has_logged(node, "Address already in use"));
    assert_int_equal(node_try_listen(node, "tcp://192.0.2.1:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "tcp://example.org:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "udp://127.0.0.1:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "tcp://127.0.0.1", other), KV_E_INVALID);
    assert_int_equal(node_try_connect(node, "tcp://127.0.0.1:0", &peer), KV_E_INVALID);
    assert_int_equal(node_try_connect(node, "udp://127.0.0.1:1", &peer), KV_E_INVALID);
    assert_null(peer);
    assert_int_equal(node_try_listen(node, "tcp://localhost:0", other), KV_OK);
    node_close(node);
    world_close(&world);
}

/* A host name is resolved, and the addresses that it has are tried one after the other. */
static void test_names(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *node = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    uint16_t port = node_listen(node, NULL);
    snprintf(uri, sizeof uri, "tcp://localhost:%u", port);
    struct peer *peer = node_connect(node, uri);
    struct peer *lost = node_connect(node, "tcp://no-such-host.invalid:1");
    WAIT_FOR(&world, peer->is_up);
    WAIT_FOR(&world, node_has_logged(node, "cannot connect to tcp://no-such-host.invalid:1"));
    assert_int_equal(lost->up_count + lost->down_count, 0);
    peer_close(lost);
    /* Ended while the resolver is at it. */
    peer_close(node_connect(node, "tcp://other-host.invalid:1"));
    node_connect(node, "tcp://third-host.invalid:1");
    node_close(node);
    world_close(&world);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *node = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    if (node_try_listen(node, "tcp://[::1]:0", uri) != KV_OK) {
        node_close(node);
        world_close(&world);
        print_message("SKIPPED: no IPv6 loopback on this machine\n");
        skip();
    }
    assert_memory_equal(uri, "tcp://[::1]:", 12);
    node->on_message = NULL;
    struct peer *peer = node_connect(node, uri);
    WAIT_FOR(&world, peer->is_up && node->accepted_len == 1);
    assert_int_equal(peer_send(peer, "six", 3), KV_OK);
    WAIT_FOR(&world, node->peers->messages_len == 1);
    /* The same port of the other family is free. */
    char other[KV_URI_MAX];
    char v4[KV_URI_MAX];
    snprintf(v4, sizeof v4, "tcp://127.0.0.1:%s", strrchr(uri, ':') + 1);
    assert_int_equal(node_try_listen(node, v4, other), KV_OK);
    node_close(node);
    world_close(&world);
}

static void test_200_links(void **state)
{
    (void)state;
    enum { LINKS = 200, ROUNDS = 20 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    char uris[2][KV_URI_MAX];
    node_listen(server, uris[0]);
    node_listen(server, uris[1]);
    server->on_message = echo;
    struct peer *peers[LINKS];
    for (int i = 0; i < LINKS; i++) {
        peers[i] = node_connect(client, uris[i % 2]);
    }
    WAIT_FOR(&world, node_count_up(client) == LINKS);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LINKS; i++) {
            assert_int_equal(peer_send(peers[i], &round, sizeof round), KV_OK);
        }
    }
    for (int i = 0; i < LINKS; i++) {
        WAIT_FOR(&world, peers[i]->messages_len == ROUNDS);
    }
    node_stop(client);
    WAIT_FOR(&world, client->is_stopped);
    assert_true(node_get_counter(client, "writes") <=
                (uint64_t)2 * LINKS); /* preamble, one flush */
    node_close(client);
    node_close(server);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_peer_message_max),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_batching),
        cmocka_unit_test(test_one_write),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_dead_port),
        cmocka_unit_test(test_listen_refusals),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_200_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

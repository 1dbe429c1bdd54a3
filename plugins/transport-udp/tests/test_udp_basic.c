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
    assert_string_equal(plugin->name, "transport-udp");
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
        {"timeout_ms", "-1", NULL},
        {"timeout_ms", "99999999999999999999", NULL},
        {"datagram_max", "1199", NULL},
        {"datagram_max", "65508", NULL},
        {"colour", "1", NULL},
        {"connect_retry_ms", "100", "connect_retry_max_ms", "99", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(node_try_open(&world, &limits, bad[i], 0));
    }
    static const char *const good[] = {"datagram_max", "1200", "timeout_ms", "500", NULL};
    node_close(node_open(&world, &limits, good));
    world_close(&world);
}

/* Every allocation of an instance and a first exchange fails once: nothing leaks, nothing hangs. */
static void test_no_memory_to_start(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    for (uint64_t fail_at = 1; fail_at <= 2; fail_at++) {
        assert_null(node_try_open(&world, &limits, NULL, fail_at));
    }
    for (uint64_t fail_at = 3; fail_at <= 16; fail_at++) {
        struct node *node = node_try_open(&world, &limits, NULL, fail_at);
        assert_non_null(node);
        char uri[KV_URI_MAX];
        struct peer *peer = NULL;
        if (node_try_listen(node, "udp://127.0.0.1:0", uri) == KV_OK &&
            node_try_connect(node, uri, &peer) == KV_OK) {
            WAIT_FOR(&world, peer->is_up && node->accepted_len == 1);
            int32_t status = peer_send(peer, "hello", 5);
            while (status == KV_E_NOMEM) {
                status = peer_send(peer, "hello", 5);
            }
            assert_true(status == KV_OK || status == KV_E_CLOSED);
        } else {
            assert_true(node->has_failed);
        }
        node_close(node);
    }
    world_close(&world);
}

static void check_echo(const char *const *settings)
{
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, settings);
    struct node *client = node_open(&world, &limits, settings);
    char uri[KV_URI_MAX];
    node_listen(server, uri);
    server->on_message = echo;
    client->is_recording = true;
    size_t server_idle = server->live_bytes;
    size_t client_idle = client->live_bytes;
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up);

    static const uint32_t large[] = {1196,  1200,  4088,  16375, 16376,  16377,  16384,   16385,
                                     65527, 65528, 65529, 65536, 131072, 300000, 1048575, 1048576};
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
    /* What the large messages needed is given back, as soon as the last of it is acknowledged. */
    WAIT_FOR(&world, client->live_bytes < client_idle + 300000 &&
                         server->live_bytes < server_idle + 300000);
    node_close(client);
    node_close(server);
    world_close(&world);
}

static void test_echo(void **state)
{
    (void)state;
    check_echo(NULL);
}

static void test_echo_small_datagrams(void **state)
{
    (void)state;
    static const char *const settings[] = {"datagram_max", "1200", NULL};
    check_echo(settings);
}

static void test_echo_large_datagrams(void **state)
{
    (void)state;
    static const char *const settings[] = {"datagram_max", "65507", NULL};
    check_echo(settings);
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
    assert_int_equal(peer_send(server->peers, bytes, 1001), KV_E_TOO_LARGE);
    assert_int_equal(peer_send(server->peers, bytes, 1000), KV_OK);
    WAIT_FOR(&world, peer->messages_len == 1);
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* 20 000 messages queued before one flush: in order, and with few datagrams and system calls. */
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
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t bytes[12] = {0};
        bytes_put_u32(bytes + 4, i);
        assert_int_equal(peer_send(peer, bytes, sizeof bytes), KV_OK);
    }
    node_flush(client);
    WAIT_FOR(&world, server->peers->messages_len == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(bytes_get_u32(server->peers->received + (size_t)12 * i + 4), i);
    }
    /* Seen before the node is freed: stop, then read the line. */
    node_stop(client);
    WAIT_FOR(&world, client->is_stopped);
    assert_int_equal(node_get_counter(client, "messages_sent"), COUNT);
    /* 320 000 bytes are 267 datagrams of the smallest size, and as many again for what is lost and
     * acknowledged. */
    assert_true(node_get_counter(client, "datagrams_sent") < 600);
    node_close(client);
    node_close(server);
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
        assert_int_equal(node_try_listen(server, uri, again), KV_OK);
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
    close(raw_open(&port));
    char uri[KV_URI_MAX];
    char bound[KV_URI_MAX];
    snprintf(uri, sizeof uri, "udp://127.0.0.1:%u", port);
    struct peer *peer = node_connect(client, uri);
    uint64_t begin_ms = world_now_ms();
    WAIT_FOR(&world, node_count_logged(client, "cannot connect") >= 10);
    /* Each attempt fails at once, as the system says that the port is closed. */
    assert_true(world_now_ms() - begin_ms >= 6 * 40);
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
    assert_int_equal(node_try_listen(node, "udp://192.0.2.1:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "udp://example.org:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "tcp://127.0.0.1:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, "udp://127.0.0.1", other), KV_E_INVALID);
    assert_int_equal(node_try_connect(node, "udp://127.0.0.1:0", &peer), KV_E_INVALID);
    assert_int_equal(node_try_connect(node, "tcp://127.0.0.1:1", &peer), KV_E_INVALID);
    assert_null(peer);
    assert_int_equal(node_try_listen(node, "udp://localhost:0", other), KV_OK);
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
    snprintf(uri, sizeof uri, "udp://localhost:%u", port);
    struct peer *peer = node_connect(node, uri);
    struct peer *lost = node_connect(node, "udp://no-such-host.invalid:1");
    WAIT_FOR(&world, peer->is_up);
    WAIT_FOR(&world, node_has_logged(node, "cannot connect to udp://no-such-host.invalid:1"));
    assert_int_equal(lost->up_count + lost->down_count, 0);
    peer_close(lost);
    /* Ended while the resolver is at it. */
    peer_close(node_connect(node, "udp://other-host.invalid:1"));
    node_connect(node, "udp://third-host.invalid:1");
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
    if (node_try_listen(node, "udp://[::1]:0", uri) != KV_OK) {
        node_close(node);
        world_close(&world);
        print_message("SKIPPED: no IPv6 loopback on this machine\n");
        skip();
    }
    assert_memory_equal(uri, "udp://[::1]:", 12);
    node->is_recording = true;
    struct peer *peer = node_connect(node, uri);
    WAIT_FOR(&world, peer->is_up && node->accepted_len == 1);
    uint8_t *bytes = calloc(1, limits.message_max);
    assert_non_null(bytes);
    bytes[limits.message_max - 1] = 6;
    assert_int_equal(peer_send(peer, bytes, limits.message_max), KV_OK);
    WAIT_FOR(&world, node->peers->messages_len == 1);
    assert_int_equal(node->peers->received_len, limits.message_max);
    assert_memory_equal(node->peers->received, bytes, limits.message_max);
    free(bytes);
    /* The same port of the other family is free. */
    char other[KV_URI_MAX];
    char v4[KV_URI_MAX];
    snprintf(v4, sizeof v4, "udp://127.0.0.1:%s", strrchr(uri, ':') + 1);
    assert_int_equal(node_try_listen(node, v4, other), KV_OK);
    struct peer *second = node_connect(node, other);
    WAIT_FOR(&world, second->is_up && node->accepted_len == 2);
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
    /* Fewer system calls than datagrams. */
    assert_true(node_get_counter(client, "calls") < node_get_counter(client, "datagrams_sent"));
    node_close(client);
    node_close(server);
    world_close(&world);
}

/* Who does not listen takes nobody in, by whatever port the peer has found it. */
static void test_outgoing_socket_takes_nobody(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *server = node_open(&world, &limits, NULL);
    struct node *client = node_open(&world, &limits, NULL);
    struct node *other = node_open(&world, &limits, NULL);
    struct raw_relay relay;
    raw_relay_open(&relay, &world, node_listen(server, NULL));
    char uri[KV_URI_MAX];
    snprintf(uri, sizeof uri, "udp://127.0.0.1:%u", relay.port);
    struct peer *peer = node_connect(client, uri);
    WAIT_FOR(&world, peer->is_up);
    snprintf(uri, sizeof uri, "udp://127.0.0.1:%u", relay.client_port);
    struct peer *lost = node_connect(other, uri);
    world_run_ms(&world, 300);
    assert_false(lost->is_up);
    assert_int_equal(client->accepted_len, 0);
    assert_true(peer->is_up);
    node_close(other);
    node_close(client);
    node_close(server);
    raw_relay_close(&relay);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_no_memory_to_start),
        cmocka_unit_test(test_peer_message_max),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_echo_small_datagrams),
        cmocka_unit_test(test_echo_large_datagrams),
        cmocka_unit_test(test_batching),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_dead_port),
        cmocka_unit_test(test_listen_refusals),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_200_links),
        cmocka_unit_test(test_outgoing_socket_takes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "shared_tests.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

static void echo(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    assert_int_equal(peer_send(peer, bytes, len), KV_OK);
}

/* A world with one node, which may connect to itself. */
static struct node *open_one(struct world *world)
{
    struct kv_transport_limits limits = world_default_limits();
    world_init(world);
    return node_open(world, &limits, NULL);
}

/* ---- the plugin and its settings ---- */

void shared_test_descriptor(void **state)
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
    assert_string_equal(plugin->name, "transport-" PLUGIN_SCHEME);
}

static void check_refused(struct world *world, const char *const (*bad)[SHARED_SETTINGS_MAX],
                          size_t bad_len)
{
    struct kv_transport_limits limits = world_default_limits();
    for (size_t i = 0; i < bad_len; i++) {
        assert_null(node_try_open(world, &limits, bad[i], 0));
    }
}

void shared_check_settings(const char *const (*bad)[SHARED_SETTINGS_MAX], size_t bad_len,
                           const char *const *good)
{
    static const char *const always_bad[][SHARED_SETTINGS_MAX] = {
        {"connect_retry_ms", "0", NULL},
        {"connect_retry_ms", "ten", NULL},
        {"colour", "1", NULL},
        {"connect_retry_ms", "100", "connect_retry_max_ms", "99", NULL},
    };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    check_refused(&world, always_bad, sizeof always_bad / sizeof always_bad[0]);
    check_refused(&world, bad, bad_len);
    node_close(node_open(&world, &limits, good));
    world_close(&world);
}

/* ---- messages ---- */

void shared_check_echo(struct ends *ends)
{
    static const uint32_t large[] = {1196,  1200,  4088,  16375, 16376,  16377,  16384,   16385,
                                     65527, 65528, 65529, 65536, 131072, 300000, 1048575, 1048576};
    uint32_t message_max = ends->client->limits.message_max;
    ends->server->on_message = echo;
    ends->client->is_recording = true;
    struct peer *peer = ends_connect(ends);
    uint8_t *bytes = malloc(message_max + 1);
    assert_non_null(bytes);
    for (uint32_t i = 0; i <= message_max; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    for (uint32_t i = 0; i < 600 + sizeof large / sizeof large[0]; i++) {
        uint32_t len = i < 600 ? i : large[i - 600];
        uint64_t before = peer->messages_len;
        peer->received_len = 0;
        assert_int_equal(peer_send(peer, bytes, len), KV_OK);
        WAIT_FOR(&ends->world, peer->messages_len > before);
        assert_int_equal(peer->received_len, len);
        if (len > 0) {
            assert_memory_equal(peer->received, bytes, len);
        }
    }
    assert_int_equal(peer_send(peer, bytes, message_max + 1), KV_E_TOO_LARGE);
    free(bytes);
}

/* Each side says how long a message it takes; a longer one is refused where it would be sent, and
 * the link stays. */
void shared_test_peer_message_max(void **state)
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

void shared_queue_batch(struct ends *ends)
{
    ends->server->is_recording = true;
    struct peer *peer = ends_connect(ends);
    for (uint32_t i = 0; i < SHARED_BATCH_LEN; i++) {
        uint8_t bytes[12] = {0};
        bytes_put_u32(bytes + 4, i);
        assert_int_equal(peer_send(peer, bytes, sizeof bytes), KV_OK);
    }
}

void shared_check_batch(struct ends *ends)
{
    const struct peer *accepted = ends->server->peers;
    node_flush(ends->client);
    WAIT_FOR(&ends->world, accepted->messages_len == SHARED_BATCH_LEN);
    for (uint32_t i = 0; i < SHARED_BATCH_LEN; i++) {
        assert_int_equal(bytes_get_u32(accepted->received + (size_t)12 * i + 4), i);
    }
    assert_int_equal(node_stop_and_count(ends->client, "messages_sent"), SHARED_BATCH_LEN);
}

void shared_check_many_links(struct ends *ends)
{
    enum { ROUNDS = 20 };
    char second[KV_URI_MAX];
    node_listen(ends->server, second);
    ends->server->on_message = echo;
    struct peer *peers[SHARED_LINKS_LEN];
    for (int i = 0; i < SHARED_LINKS_LEN; i++) {
        peers[i] = node_connect(ends->client, i % 2 == 0 ? ends->uri : second);
    }
    WAIT_FOR(&ends->world, node_count_up(ends->client) == SHARED_LINKS_LEN);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SHARED_LINKS_LEN; i++) {
            assert_int_equal(peer_send(peers[i], &round, sizeof round), KV_OK);
        }
    }
    for (int i = 0; i < SHARED_LINKS_LEN; i++) {
        WAIT_FOR(&ends->world, peers[i]->messages_len == ROUNDS);
    }
    node_stop(ends->client);
    WAIT_FOR(&ends->world, ends->client->is_stopped);
}

/* ---- coming up again ---- */

void shared_test_reconnect(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    char again[KV_URI_MAX];
    struct peer *peer = node_connect(ends.client, ends.uri);
    assert_int_equal(peer_send(peer, "x", 1), KV_E_CLOSED);
    for (uint32_t round = 1; round <= 3; round++) {
        WAIT_FOR(&ends.world, peer->is_up);
        assert_int_equal(peer->up_count, round);
        assert_int_equal(peer_send(peer, "hello", 5), KV_OK);
        WAIT_FOR(&ends.world, ends.server->peers != NULL && ends.server->peers->messages_len == 1);
        node_close(ends.server);
        WAIT_FOR(&ends.world, !peer->is_up);
        assert_int_equal(peer->down_count, round);
        assert_int_equal(peer->reason, KV_E_CLOSED);
        assert_int_equal(peer_send(peer, "x", 1), KV_E_CLOSED);
        ends.server = node_open(&ends.world, &limits, NULL);
        /* At once, although the port was just in use. */
        assert_int_equal(node_try_listen(ends.server, ends.uri, again), KV_OK);
        assert_string_equal(again, ends.uri);
    }
    ends_close(&ends);
}

/* Nobody there: attempts with growing pauses, one line of log, no callback. */
void shared_test_dead_port(void **state)
{
    (void)state;
    static const char *const settings[] = {"connect_retry_ms", "10", "connect_retry_max_ms", "80",
                                           NULL};
    struct kv_transport_limits limits = world_default_limits();
    struct ends ends;
    ends_open(&ends, NULL, settings);
    node_close(ends.server);
    struct peer *peer = node_connect(ends.client, ends.uri);
    uint64_t begin_ms = world_now_ms();
    WAIT_FOR(&ends.world, node_count_logged(ends.client, "cannot connect") >= 15);
    /* Each attempt fails at once. Pauses of 5-10, 10-20, 20-40, then 40-80 ms: 14 of them last so
     * long at least. */
    assert_true(world_now_ms() - begin_ms >= 5 + 10 + 20 + 11 * 40 - 14);
    assert_int_equal(peer->up_count + peer->down_count, 0);
    char bound[KV_URI_MAX];
    ends.server = node_open(&ends.world, &limits, NULL);
    assert_int_equal(node_try_listen(ends.server, ends.uri, bound), KV_OK);
    WAIT_FOR(&ends.world, peer->is_up);
    ends_close(&ends);
}

/* ---- addresses ---- */

void shared_test_listen_refusals(void **state)
{
    (void)state;
    const char *foreign = strcmp(PLUGIN_SCHEME, "tcp") == 0 ? "udp" : "tcp";
    struct world world;
    struct node *node = open_one(&world);
    char uri[KV_URI_MAX];
    char other[KV_URI_MAX] = "untouched";
    char wrong[KV_URI_MAX];
    struct peer *peer = NULL;
    node_listen(node, uri);
    assert_int_equal(node_try_listen(node, uri, other), KV_E_EXISTS);
    assert_string_equal(other, "untouched");
    assert_true(node_has_logged(node, uri));
    assert_true(node_has_logged(node, "Address already in use"));
    assert_int_equal(node_try_listen(node, PLUGIN_SCHEME "://192.0.2.1:0", other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, PLUGIN_SCHEME "://example.org:0", other), KV_E_INVALID);
    snprintf(wrong, sizeof wrong, "%s://127.0.0.1:0", foreign);
    assert_int_equal(node_try_listen(node, wrong, other), KV_E_INVALID);
    assert_int_equal(node_try_listen(node, PLUGIN_SCHEME "://127.0.0.1", other), KV_E_INVALID);
    assert_int_equal(node_try_connect(node, PLUGIN_SCHEME "://127.0.0.1:0", &peer), KV_E_INVALID);
    snprintf(wrong, sizeof wrong, "%s://127.0.0.1:1", foreign);
    assert_int_equal(node_try_connect(node, wrong, &peer), KV_E_INVALID);
    assert_null(peer);
    assert_int_equal(node_try_listen(node, PLUGIN_SCHEME "://localhost:0", other), KV_OK);
    node_close(node);
    world_close(&world);
}

/* A host name is resolved, and the addresses that it has are tried one after the other. */
void shared_test_names(void **state)
{
    (void)state;
    struct world world;
    struct node *node = open_one(&world);
    char uri[KV_URI_MAX];
    uint16_t port = node_listen(node, NULL);
    snprintf(uri, sizeof uri, PLUGIN_SCHEME "://localhost:%u", port);
    struct peer *peer = node_connect(node, uri);
    struct peer *lost = node_connect(node, PLUGIN_SCHEME "://no-such-host.invalid:1");
    WAIT_FOR(&world, peer->is_up);
    WAIT_FOR(&world,
             node_has_logged(node, "cannot connect to " PLUGIN_SCHEME "://no-such-host.invalid:1"));
    assert_int_equal(lost->up_count + lost->down_count, 0);
    peer_close(lost);
    /* Ended while the resolver is at it. */
    peer_close(node_connect(node, PLUGIN_SCHEME "://other-host.invalid:1"));
    node_connect(node, PLUGIN_SCHEME "://third-host.invalid:1");
    node_close(node);
    world_close(&world);
}

void shared_test_ipv6(void **state)
{
    (void)state;
    struct world world;
    struct node *node = open_one(&world);
    uint32_t message_max = node->limits.message_max;
    char uri[KV_URI_MAX];
    if (node_try_listen(node, PLUGIN_SCHEME "://[::1]:0", uri) != KV_OK) {
        node_close(node);
        world_close(&world);
        print_message("SKIPPED: no IPv6 loopback on this machine\n");
        skip();
    }
    assert_memory_equal(uri, PLUGIN_SCHEME "://[::1]:", strlen(PLUGIN_SCHEME "://[::1]:"));
    node->is_recording = true;
    struct peer *peer = node_connect(node, uri);
    WAIT_FOR(&world, peer->is_up && node->accepted_len == 1);
    uint8_t *bytes = calloc(1, message_max);
    assert_non_null(bytes);
    bytes[message_max - 1] = 6;
    assert_int_equal(peer_send(peer, bytes, message_max), KV_OK);
    WAIT_FOR(&world, node->peers->messages_len == 1);
    assert_int_equal(node->peers->received_len, message_max);
    assert_memory_equal(node->peers->received, bytes, message_max);
    free(bytes);
    /* The same port of the other family is free. */
    char other[KV_URI_MAX];
    char v4[KV_URI_MAX];
    snprintf(v4, sizeof v4, PLUGIN_SCHEME "://127.0.0.1:%s", strrchr(uri, ':') + 1);
    assert_int_equal(node_try_listen(node, v4, other), KV_OK);
    struct peer *second = node_connect(node, other);
    WAIT_FOR(&world, second->is_up && node->accepted_len == 2);
    node_close(node);
    world_close(&world);
}

/* ---- ending from within callbacks ---- */

static void do_close(struct peer *peer)
{
    if (peer->link != NULL) {
        peer_close(peer);
    }
}

static void do_close_all(struct peer *peer)
{
    for (struct peer *at = peer->node->peers; at != NULL; at = at->next) {
        do_close(at);
    }
}

static void do_stop(struct peer *peer)
{
    node_stop(peer->node);
}

static void do_stop_after_send(struct peer *peer)
{
    peer_send(peer, "last", 4);
    node_flush(peer->node);
    node_stop(peer->node);
    assert_int_equal(peer_send(peer, "later", 5), KV_E_CLOSED);
}

static const peer_fn endings[] = {do_close, do_close_all, do_stop, do_stop_after_send};
static peer_fn ending; /* of the case that runs */

static void end_on_message(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    (void)len;
    ending(peer);
    assert_int_equal(bytes[0], 'm'); /* still there after the link was ended */
}

enum place { ON_ACCEPT, ON_UP, ON_MESSAGE, ON_DOWN, ON_WRITABLE, PLACES_LEN };

static void hook(struct node *node, enum place place)
{
    peer_fn *table[] = {&node->on_accept, &node->on_up, NULL, &node->on_down, &node->on_writable};
    if (place == ON_MESSAGE) {
        node->on_message = end_on_message;
    } else {
        *table[place] = ending;
    }
}

static bool is_one_ended(const struct node *node)
{
    for (const struct peer *peer = node->peers; peer != NULL; peer = peer->next) {
        if (peer->link == NULL || peer->down_count > 0) {
            return true;
        }
    }
    return node->is_stopped;
}

static void provoke(struct ends *ends, enum place place, struct node *subject)
{
    static const uint8_t piece[60000];
    struct node *other = subject == ends->server ? ends->client : ends->server;
    switch (place) {
    case ON_MESSAGE:
        for (struct peer *peer = other->peers; peer != NULL; peer = peer->next) {
            for (int i = 0; i < 10; i++) {
                assert_int_equal(peer_send(peer, "more", 4), KV_OK);
            }
        }
        break;
    case ON_DOWN:
        do_close_all(other->peers);
        break;
    case ON_WRITABLE:
        for (struct peer *peer = subject->peers; peer != NULL; peer = peer->next) {
            while (peer_send(peer, piece, sizeof piece) == KV_OK) {
            }
        }
        break;
    default:
        node_connect(ends->client, ends->uri);
        break;
    }
}

/* Each ending in each callback, at the server or at the client; both must still close cleanly. */
static void check_ending(enum place place, peer_fn how, bool at_server)
{
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 200000;
    struct ends ends;
    ends_open(&ends, &limits, NULL);
    struct node *subject = at_server ? ends.server : ends.client;
    ends_connect(&ends);
    node_listen(ends.server, ends.uri); /* a second socket */
    ends_connect(&ends);
    ending = how;
    hook(subject, place);
    provoke(&ends, place, subject);
    WAIT_FOR(&ends.world, is_one_ended(subject));
    world_run_ms(&ends.world, 10);
    for (struct peer *peer = subject->peers; peer != NULL; peer = peer->next) {
        assert_true(peer->messages_len <= 1); /* nothing that came behind the first */
    }
    ends_close(&ends);
}

void shared_test_endings_in_callbacks(void **state)
{
    (void)state;
    for (enum place place = ON_ACCEPT; place < PLACES_LEN; place++) {
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            if (place != ON_UP) {
                check_ending(place, endings[i], true);
            }
            if (place != ON_ACCEPT) {
                check_ending(place, endings[i], false);
            }
        }
    }
}

/* stop() right after start(), and what is asked of a stopped instance. */
void shared_test_unused(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    node_close(node_open(&world, &limits, NULL));
    struct node *node = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    node_listen(node, uri);
    node_connect(node, uri);
    node_stop(node);
    node_stop(node); /* idle */
    struct peer *peer = NULL;
    assert_int_equal(node_try_connect(node, uri, &peer), KV_E_CLOSED);
    assert_int_equal(node_try_listen(node, uri, uri), KV_E_CLOSED);
    node_close(node);
    world_close(&world);
}

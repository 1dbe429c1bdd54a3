/* Links between two well-behaved ends: what is particular to this transport; the rest is in
 * shared_tests.c. */
#include "raw.h"
#include "shared_tests.h"

#include <stdio.h>

static void test_settings(void **state)
{
    (void)state;
    static const char *const bad[][SHARED_SETTINGS_MAX] = {
        {"timeout_ms", "-1", NULL},
        {"timeout_ms", "99999999999999999999", NULL},
        {"datagram_max", "1199", NULL},
        {"datagram_max", "65508", NULL},
    };
    static const char *const good[] = {"datagram_max", "1200", "timeout_ms", "500", NULL};
    assert_int_equal(world_get_plugin()->options_len, 5);
    shared_check_settings(bad, sizeof bad / sizeof bad[0], good);
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
    struct ends ends;
    ends_open(&ends, NULL, settings);
    size_t server_idle = ends.server->live_bytes;
    size_t client_idle = ends.client->live_bytes;
    shared_check_echo(&ends);
    /* What the large messages needed is given back, as soon as the last of it is acknowledged. */
    WAIT_FOR(&ends.world, ends.client->live_bytes < client_idle + 300000 &&
                              ends.server->live_bytes < server_idle + 300000);
    ends_close(&ends);
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

/* Many messages before one flush: few datagrams. */
static void test_batching(void **state)
{
    (void)state;
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    shared_queue_batch(&ends);
    shared_check_batch(&ends);
    /* 320 000 bytes are 267 datagrams of the smallest size, and as many again for what is lost and
     * acknowledged. */
    assert_true(node_get_counter(ends.client, "datagrams_sent") < 600);
    ends_close(&ends);
}

static void test_200_links(void **state)
{
    (void)state;
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    shared_check_many_links(&ends);
    /* Fewer system calls than datagrams. */
    assert_true(node_get_counter(ends.client, "calls") <
                node_get_counter(ends.client, "datagrams_sent"));
    ends_close(&ends);
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
        SHARED_LINK_TESTS,
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_no_memory_to_start),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_echo_small_datagrams),
        cmocka_unit_test(test_echo_large_datagrams),
        cmocka_unit_test(test_batching),
        cmocka_unit_test(test_200_links),
        cmocka_unit_test(test_outgoing_socket_takes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

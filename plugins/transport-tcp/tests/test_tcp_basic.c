/* Links between two well-behaved ends: what is particular to this transport; the rest is in
 * shared_tests.c. */
#include "raw.h"
#include "shared_tests.h"

#include <stdio.h>
#include <unistd.h>

static void test_settings(void **state)
{
    (void)state;
    static const char *const bad[][SHARED_SETTINGS_MAX] = {
        {"keepalive_s", "-1", NULL},
        {"keepalive_s", "99999999999999999999", NULL},
    };
    static const char *const good[] = {"keepalive_s", "0", "connect_timeout_ms", "5", NULL};
    assert_int_equal(world_get_plugin()->options_len, 5);
    shared_check_settings(bad, sizeof bad / sizeof bad[0], good);
}

static void test_echo(void **state)
{
    (void)state;
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    shared_check_echo(&ends);
    /* What the large messages needed was given back. */
    assert_true(ends.client->live_bytes < 150000);
    assert_true(ends.server->live_bytes < 150000);
    ends_close(&ends);
}

/* Many messages before one flush, the only one: few write calls. */
static void test_batching(void **state)
{
    (void)state;
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    shared_queue_batch(&ends);
    ends.client->is_no_flush = true;
    world_run_ms(&ends.world, 20);
    assert_int_equal(ends.server->peers->messages_len, 0); /* nothing goes out without flush */
    shared_check_batch(&ends);
    assert_true(node_get_counter(ends.client, "writes") <= 12);
    ends_close(&ends);
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

static void test_200_links(void **state)
{
    (void)state;
    struct ends ends;
    ends_open(&ends, NULL, NULL);
    shared_check_many_links(&ends);
    assert_true(node_get_counter(ends.client, "writes") <=
                (uint64_t)2 * SHARED_LINKS_LEN); /* preamble, one flush */
    ends_close(&ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARED_LINK_TESTS,
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_batching),
        cmocka_unit_test(test_one_write),
        cmocka_unit_test(test_200_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

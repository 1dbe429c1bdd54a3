/* Back-pressure, limits, peers that fall silent, and ending links and instances in every state;
 * those ended from within callbacks are in shared_tests.c. */
#include "pair.h"
#include "shared_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"

static uint8_t piece[65536];

static int32_t send_numbered(struct peer *peer, uint32_t number, uint32_t len)
{
    bytes_put_u32(piece, number);
    return peer_send(peer, piece, len);
}

/* ---- back-pressure ---- */

/* A peer that takes nothing: the queue fills up to its limit, and drains when the peer goes on. */
static void test_slow_peer(void **state)
{
    (void)state;
    enum { LEN = 10000 };
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1u << 20;
    struct pair f;
    pair_open(&f, &limits, NULL);
    struct peer *peer = pair_connect(&f);
    size_t before = f.client->live_bytes;
    f.relay.is_cut = true;
    uint32_t sent = 0;
    while (send_numbered(peer, sent, LEN) == KV_OK) {
        sent++;
    }
    assert_in_range(sent, limits.queue_bytes_max / LEN - 1, limits.queue_bytes_max / LEN + 1);
    world_run_ms(&f.world, 200);
    assert_int_equal(send_numbered(peer, sent, LEN), KV_E_BUSY);
    assert_int_equal(peer->writable_count, 0);
    assert_true(f.client->live_bytes < before + limits.queue_bytes_max + 300000);
    f.relay.is_cut = false;
    struct peer *accepted = f.server->peers;
    WAIT_FOR(&f.world, accepted->messages_len == sent);
    WAIT_FOR(&f.world, peer->writable_count == 1);
    world_run_ms(&f.world, 20);
    assert_int_equal(peer->writable_count, 1); /* once */
    assert_int_equal(accepted->bytes_len, (uint64_t)sent * LEN);
    assert_int_equal(send_numbered(peer, sent, LEN), KV_OK);
    WAIT_FOR(&f.world, accepted->messages_len == sent + 1);
    WAIT_FOR(&f.world, f.client->live_bytes < before + 200000); /* given back */
    pair_close(&f);
}

/* A queue smaller than a message: one at a time, each taken while the queue is empty. */
static void test_tiny_queue(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 100;
    struct pair f;
    pair_open(&f, &limits, NULL);
    struct peer *peer = pair_connect(&f);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(send_numbered(peer, i, 60000), KV_OK);
        assert_int_equal(send_numbered(peer, 99, 50), KV_E_BUSY);
        WAIT_FOR(&f.world, peer->writable_count == i + 1);
        WAIT_FOR(&f.world, f.server->peers->messages_len == i + 1);
    }
    pair_close(&f);
}

/* Both ends send as fast as they may, all of it from on_writable and the loop. */
static void test_both_ways_at_once(void **state)
{
    (void)state;
    enum { COUNT = 400, LEN = 60000 };
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1u << 20;
    struct pair f;
    pair_open(&f, &limits, NULL);
    struct peer *ends[2];
    ends[0] = pair_connect(&f);
    ends[1] = f.server->peers;
    f.server->is_recording = false;
    uint32_t sent[2] = {0, 0};
    world_begin_wait(&f.world);
    while (ends[0]->messages_len < COUNT || ends[1]->messages_len < COUNT) {
        for (int i = 0; i < 2; i++) {
            while (sent[i] < COUNT && send_numbered(ends[i], sent[i], LEN) == KV_OK) {
                sent[i]++;
            }
        }
        assert_true(world_turn(&f.world));
    }
    assert_int_equal(ends[0]->bytes_len, (uint64_t)COUNT * LEN);
    assert_int_equal(ends[1]->bytes_len, (uint64_t)COUNT * LEN);
    pair_close(&f);
}

static void flush_at_once(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    (void)bytes;
    (void)len;
    node_flush(peer->node);
}

/* A host that flushes within on_message: what it got is acknowledged all the same, so that the
 * sender repeats nothing. */
static void test_flush_in_callback(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct pair f;
    pair_open(&f, NULL, NULL);
    f.server->on_message = flush_at_once;
    struct peer *peer = pair_connect(&f);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(send_numbered(peer, i, 100), KV_OK);
        WAIT_FOR(&f.world, f.server->peers->messages_len == i + 1);
        world_run_ms(&f.world, 100);
    }
    assert_true(node_stop_and_count(f.client, "bytes_repeated") < 5 * 104);
    pair_close(&f);
}

static void set_flag(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void stop_once(uv_prepare_t *prepare)
{
    struct node *node = prepare->data;
    uv_prepare_stop(prepare);
    node_stop(node);
}

/* A host that stops in its own hook before the loop sleeps: nothing else is to wake the loop. */
static void test_stop_before_the_loop_sleeps(void **state)
{
    (void)state;
    static const char *const settings[] = {"timeout_ms", "600000", NULL};
    struct pair f;
    uv_prepare_t prepare;
    uv_timer_t late;
    bool is_late = false;
    pair_open(&f, NULL, settings);
    pair_connect(&f);
    world_run_ms(&f.world, 100);
    uv_timer_stop(&f.world.tick);
    uv_timer_init(&f.world.loop, &late);
    late.data = &is_late;
    uv_timer_start(&late, set_flag, 10000, 0);
    f.client->is_no_flush = true;
    uv_prepare_init(&f.world.loop, &prepare);
    prepare.data = f.client;
    uv_prepare_start(&prepare, stop_once);
    WAIT_FOR(&f.world, f.client->is_stopped || is_late);
    assert_false(is_late);
    uv_timer_again(&f.world.tick);
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_close((uv_handle_t *)&late, NULL);
    pair_close(&f);
}

/* ---- draining ---- */

/* What was sent before close_link() or stop() arrives (little enough for the second that it has,
 * also on a busy machine), and no message that the peer sends meanwhile is delivered. */
static void check_drain(bool by_stop, bool at_server)
{
    enum { COUNT = 40, LEN = 50000 };
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 32u << 20;
    struct pair f;
    pair_open(&f, &limits, NULL);
    struct peer *ours = pair_connect(&f);
    struct peer *theirs = f.server->peers;
    if (at_server) {
        theirs = ours;
        ours = f.server->peers;
    }
    struct node *node = ours->node;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(send_numbered(ours, i, LEN), KV_OK);
    }
    assert_int_equal(peer_send(theirs, "late", 4), KV_OK);
    if (by_stop) {
        node_stop(node);
        assert_int_equal(peer_send(ours, "later", 5), KV_E_CLOSED);
    } else {
        peer_close(ours);
    }
    WAIT_FOR(&f.world, theirs->down_count == 1);
    assert_int_equal(theirs->messages_len, COUNT);
    assert_int_equal(theirs->bytes_len, (uint64_t)COUNT * LEN);
    assert_int_equal(theirs->reason, KV_E_CLOSED);
    assert_int_equal(ours->messages_len, 0);
    if (by_stop) {
        WAIT_FOR(&f.world, node->is_stopped);
        assert_int_equal(ours->down_count, 1);
    } else {
        assert_int_equal(ours->down_count, 0);
    }
    pair_close(&f);
}

static void test_drains(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        check_drain((i & 1) != 0, (i & 2) != 0);
    }
}

/* A peer that takes nothing is given a second, not more. */
static void test_drain_ends(void **state)
{
    (void)state;
    struct pair f;
    pair_open(&f, NULL, NULL);
    struct peer *peer = pair_connect(&f);
    f.relay.is_cut = true;
    for (uint32_t i = 0; i < 60; i++) {
        assert_int_equal(send_numbered(peer, i, 50000), KV_OK);
    }
    uint64_t begin_ms = world_now_ms();
    node_stop(f.client);
    WAIT_FOR(&f.world, f.client->is_stopped);
    assert_in_range(world_now_ms() - begin_ms, 900, 10000);
    assert_int_equal(peer->down_count, 1);
    pair_close(&f);
}

/* ---- peers that go without a word ---- */

static void test_silence(void **state)
{
    (void)state;
    static const char *const settings[] = {"timeout_ms", "400", NULL};
    struct pair f;
    pair_open(&f, NULL, settings);
    struct peer *peer = pair_connect(&f);
    /* An idle link is held up, for several times as long. */
    world_run_ms(&f.world, 1500);
    assert_true(peer->is_up && peer->up_count == 1);
    assert_true(f.server->peers->is_up);
    f.relay.is_cut = true;
    WAIT_FOR(&f.world, !peer->is_up && node_count_up(f.server) == 0);
    assert_int_equal(peer->reason, KV_E_TIMEOUT);
    f.relay.is_cut = false;
    WAIT_FOR(&f.world, peer->is_up && f.server->accepted_len == 2);
    assert_int_equal(peer_send(peer, "again", 5), KV_OK);
    WAIT_FOR(&f.world, f.server->peers->messages_len == 1);
    assert_int_equal(node_stop_and_count(f.client, "silent"), 1);
    pair_close(&f);
}

/* Nobody listens at the peer's port any more: the system says so, long before timeout_ms. */
static void test_unreachable(void **state)
{
    (void)state;
    static const char *const settings[] = {"timeout_ms", "60000", NULL};
    struct pair f;
    pair_open(&f, NULL, settings);
    struct peer *peer = pair_connect(&f);
    node_close(f.server);
    WAIT_FOR(&f.world, !peer->is_up); /* it said CLOSE */
    assert_int_equal(peer->reason, KV_E_CLOSED);

    struct kv_transport_limits limits = world_default_limits();
    f.server = node_open(&f.world, &limits, settings);
    char uri[KV_URI_MAX];
    f.relay.server_port = node_listen(f.server, uri);
    struct peer *second = node_connect(f.client, uri); /* not by way of the relay */
    WAIT_FOR(&f.world, peer->is_up && second->is_up && f.server->accepted_len == 2);
    /* The relay goes without a word. */
    uint64_t begin_ms = world_now_ms();
    raw_relay_close(&f.relay);
    assert_int_equal(peer_send(peer, "anybody?", 8), KV_OK);
    WAIT_FOR(&f.world, !peer->is_up);
    assert_true(world_now_ms() - begin_ms < 10000);
    assert_int_equal(peer->reason, KV_E_CLOSED);
    assert_true(second->is_up);
    assert_int_equal(peer_send(second, "hello", 5), KV_OK);
    WAIT_FOR(&f.world, f.server->peers->messages_len + f.server->peers->next->messages_len == 1);
    assert_int_equal(node_stop_and_count(f.client, "unreachable"), 1);
    node_close(f.client);
    node_close(f.server);
    world_close(&f.world);
}

/* ---- limits ---- */

static void test_links_max(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    limits.links_max = 3;
    struct pair f;
    pair_open(&f, &limits, NULL);
    struct peer *peers[3];
    for (int i = 0; i < 3; i++) {
        peers[i] = pair_connect(&f);
    }
    struct peer *more = node_connect(f.client, f.uri);
    WAIT_FOR(&f.world, node_has_logged(f.client, "it takes no further links"));
    world_run_ms(&f.world, 200);
    assert_int_equal(more->up_count, 0);
    assert_int_equal(f.server->accepted_len, 3);
    assert_true(node_has_logged(f.server, "links_max (3)"));
    peer_close(peers[0]);
    WAIT_FOR(&f.world, more->is_up && f.server->accepted_len == 4);
    assert_int_equal(peer_send(more, "in", 2), KV_OK);
    WAIT_FOR(&f.world, f.server->peers->messages_len == 1);
    pair_close(&f);
}

static void test_turned_away(void **state)
{
    (void)state;
    struct pair f;
    pair_open(&f, NULL, NULL);
    f.server->is_refusing = true;
    struct peer *peer = node_connect(f.client, f.uri);
    WAIT_FOR(&f.world, peer->down_count >= 2); /* it tries again */
    assert_int_equal(f.server->peers_len, 0);
    f.server->is_refusing = false;
    WAIT_FOR(&f.world, peer->is_up && f.server->accepted_len == 1);
    assert_int_equal(peer_send(peer, "in", 2), KV_OK);
    WAIT_FOR(&f.world, f.server->peers->messages_len == 1);
    pair_close(&f);
}

/* ---- ending in every state ---- */

static int wanted_kind; /* of the datagrams that pass up to it */

/* Lets the handshake get so far, and no farther. */
static bool stop_before(struct raw_relay *relay, bool is_to_server, uint8_t *bytes, size_t len)
{
    (void)relay;
    (void)is_to_server;
    return len >= RAW_HEADER_LEN && bytes[0] < wanted_kind;
}

/* Both close_link() and stop() on a link that waits for COOKIE, for ACCEPT, for the peer's first
 * packet to be acknowledged, for the next attempt; and a server with a half open link. */
static void test_endings_in_states(void **state)
{
    (void)state;
    static const int kinds[] = {RAW_HELLO, RAW_COOKIE, RAW_OPEN, RAW_ACCEPT, RAW_DATA};
    for (int by_stop = 0; by_stop < 2; by_stop++) {
        for (size_t i = 0; i <= sizeof kinds / sizeof kinds[0]; i++) {
            struct pair f;
            pair_open(&f, NULL, NULL);
            bool is_dead = i == sizeof kinds / sizeof kinds[0];
            uint16_t port = 0;
            char uri[KV_URI_MAX];
            wanted_kind = is_dead ? 0 : kinds[i];
            f.relay.look = stop_before;
            close(raw_open(&port));
            snprintf(uri, sizeof uri, "udp://127.0.0.1:%u", port);
            struct peer *peer = node_connect(f.client, is_dead ? uri : f.uri);
            if (is_dead) {
                WAIT_FOR(&f.world, node_has_logged(f.client, "cannot connect"));
            } else if (wanted_kind == RAW_DATA) {
                WAIT_FOR(&f.world, peer->is_up);
            } else {
                WAIT_FOR(&f.world, f.relay.client_port != 0);
                world_run_ms(&f.world, 20);
                assert_false(peer->is_up);
            }
            if (by_stop) {
                node_stop(f.client);
            } else {
                peer_close(peer);
                world_run_ms(&f.world, 60);
            }
            pair_close(&f);
        }
    }
}

/* A peer that proves its address and then does nothing with its link is nothing to the host. */
static void test_handshake_timeout(void **state)
{
    (void)state;
    static const char *const settings[] = {"handshake_timeout_ms", "200", NULL};
    struct pair f;
    pair_open(&f, NULL, settings);
    wanted_kind = RAW_ACCEPT;
    f.relay.look = stop_before;
    size_t before = f.server->live_bytes;
    struct peer *peer = node_connect(f.client, f.uri);
    WAIT_FOR(&f.world, f.server->live_bytes > before);
    peer_close(peer);
    world_run_ms(&f.world, 500);
    assert_int_equal(f.server->peers_len, 0);
    assert_true(node_stop_and_count(f.server, "handshake_timeouts") >= 1);
    assert_int_equal(node_get_counter(f.server, "accepted"), 0);
    pair_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_peer),
        cmocka_unit_test(test_tiny_queue),
        cmocka_unit_test(test_both_ways_at_once),
        cmocka_unit_test(test_flush_in_callback),
        cmocka_unit_test(test_stop_before_the_loop_sleeps),
        cmocka_unit_test(test_drains),
        cmocka_unit_test(test_drain_ends),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_links_max),
        cmocka_unit_test(test_turned_away),
        cmocka_unit_test(test_endings_in_states),
        cmocka_unit_test(test_handshake_timeout),
        SHARED_ENDING_TESTS,
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

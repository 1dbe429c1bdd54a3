/* Back-pressure, and ending links and instances in every state; most of those ended from within
 * callbacks are in shared_tests.c. */
#include "raw.h"
#include "shared_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

static uint8_t piece[65536];

static void make_uri(char *uri, uint16_t port)
{
    snprintf(uri, KV_URI_MAX, "tcp://127.0.0.1:%u", port);
}

/* Reads count frames of `len` bytes whose first four bytes count up from first. */
static void read_numbered(struct world *world, int fd, uint32_t first, uint32_t count, uint32_t len)
{
    uint8_t *bytes = malloc(len + 8);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(raw_receive(world, fd, bytes, len + 8), len + 8);
        assert_int_equal(bytes_get_u32(bytes), len);
        assert_int_equal(bytes_get_u32(bytes + 8), first + i);
    }
    free(bytes);
}

static int32_t send_numbered(struct peer *peer, uint32_t number, uint32_t len)
{
    bytes_put_u32(piece, number);
    return peer_send(peer, piece, len);
}

static void test_slow_reader(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1u << 20;
    struct node *server = node_open(&world, &limits, NULL);
    int fd = raw_connect(&world, node_listen(server, NULL));
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, server->accepted_len == 1);
    struct peer *peer = server->peers;
    uint32_t sent = 0;
    /* Until the kernel takes no more and the queue stays full over a few turns. */
    for (int full = 0; full < 5;) {
        int32_t status = send_numbered(peer, sent, 10000);
        if (status == KV_OK) {
            sent++;
            full = 0;
        } else {
            assert_int_equal(status, KV_E_BUSY);
            full++;
            world_run_ms(&world, 5);
        }
    }
    uint32_t writable = peer->writable_count;
    world_run_ms(&world, 30);
    assert_int_equal(peer->writable_count, writable);
    /* Two buffers, each within the limit, and what is fixed. */
    assert_true(server->peak_bytes < 2 * limits.queue_bytes_max + 200000);
    read_numbered(&world, fd, 0, sent, 10000);
    WAIT_FOR(&world, peer->writable_count == writable + 1);
    world_run_ms(&world, 20);
    assert_int_equal(peer->writable_count, writable + 1); /* once */
    assert_true(server->live_bytes < 120000);             /* given back */
    assert_int_equal(send_numbered(peer, sent, 10000), KV_OK);
    read_numbered(&world, fd, sent, 1, 10000);
    close(fd);
    node_close(server);
    world_close(&world);
}

/* A queue smaller than a message: one at a time, each taken while the queue is empty. */
static void test_tiny_queue(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 100;
    struct node *server = node_open(&world, &limits, NULL);
    int fd = raw_connect(&world, node_listen(server, NULL));
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, server->accepted_len == 1);
    struct peer *peer = server->peers;
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(send_numbered(peer, i, 60000), KV_OK);
        assert_int_equal(send_numbered(peer, 99, 50), KV_E_BUSY);
        WAIT_FOR(&world, peer->writable_count == i + 1);
        read_numbered(&world, fd, i, 1, 60000);
    }
    close(fd);
    node_close(server);
    world_close(&world);
}

static void echo(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    assert_int_equal(peer_send(peer, bytes, len), KV_OK); /* held back before it would be busy */
}

/* Sends as much of the numbered frames as the other side takes; goes on at *at. */
static void push_frames(int fd, uint32_t *number, uint8_t *frame, size_t *at, uint32_t len)
{
    for (;;) {
        if (*at == 0) {
            bytes_put_u32(piece, *number);
            raw_encode(frame, piece, len);
        }
        ssize_t sent = send(fd, frame + *at, len + 8 - *at, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        *at += (size_t)sent;
        if (*at == len + 8) {
            *at = 0;
            (*number)++;
        }
    }
}

/* A client that asks and does not take the answers is not read from; nothing is lost by it. */
static void test_accepted_link_is_held_back(void **state)
{
    (void)state;
    enum { LEN = 1000 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1u << 20;
    struct node *server = node_open(&world, &limits, NULL);
    server->on_message = echo;
    int fd = raw_connect(&world, node_listen(server, NULL));
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, server->accepted_len == 1);
    struct peer *peer = server->peers;
    uint8_t frame[LEN + 8];
    uint32_t number = 0;
    size_t at = 0;
    uint32_t before = 0;
    do { /* until nothing moves for 100 ms */
        before = number;
        for (int i = 0; i < 10; i++) {
            push_frames(fd, &number, frame, &at, LEN);
            world_run_ms(&world, 10);
        }
    } while (number != before);
    uint64_t taken = peer->messages_len;
    assert_true(number > taken); /* some wait in the kernel */
    assert_true(server->live_bytes < 2 * limits.queue_bytes_max);
    world_run_ms(&world, 50);
    assert_int_equal(peer->messages_len, taken);
    read_numbered(&world, fd, 0, number, LEN);
    assert_int_equal(peer->messages_len, number);
    close(fd);
    WAIT_FOR(&world, !peer->is_up);
    node_close(server);
    world_close(&world);
}

/* The other way round: a link that we made is read from, full as its queue may be. */
static void test_connected_link_always_reads(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1u << 20;
    struct node *client = node_open(&world, &limits, NULL);
    uint16_t port = 0;
    int listener = raw_listen(&port);
    char uri[KV_URI_MAX];
    make_uri(uri, port);
    struct peer *peer = node_connect(client, uri);
    int fd = raw_accept(&world, listener);
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, peer->is_up);
    for (int full = 0; full < 5;) {
        full = send_numbered(peer, 0, 10000) == KV_OK ? 0 : full + 1;
        world_run_ms(&world, full > 0 ? 5 : 0);
    }
    uint8_t *frame = malloc(sizeof piece + 8);
    assert_non_null(frame);
    for (int i = 0; i < COUNT; i++) {
        raw_send(&world, fd, frame, raw_encode(frame, piece, 50000));
    }
    WAIT_FOR(&world, peer->messages_len == COUNT);
    free(frame);
    close(fd);
    close(listener);
    node_close(client);
    world_close(&world);
}

/* What was sent before close_link() or stop() arrives, although the peer reads late and sends more
 * that nobody reads; then the stream ends in order, not with a reset. */
static void check_drain(bool by_stop)
{
    enum { COUNT = 300 };
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 32u << 20;
    struct node *server = node_open(&world, &limits, NULL);
    int fd = raw_connect(&world, node_listen(server, NULL));
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, server->accepted_len == 1);
    struct peer *peer = server->peers;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(send_numbered(peer, i, 50000), KV_OK);
    }
    if (by_stop) {
        node_stop(server);
    } else {
        peer_close(peer);
    }
    uint8_t frame[2008];
    size_t len = raw_encode(frame, piece, 2000);
    for (int i = 0; i < 20; i++) {
        raw_send(&world, fd, frame, len);
    }
    read_numbered(&world, fd, 0, COUNT, 50000);
    uint8_t byte = 0;
    assert_int_equal(raw_receive(&world, fd, &byte, 1), 0);
    assert_int_equal(recv(fd, &byte, 1, 0), 0); /* an end, no error */
    assert_int_equal(peer->messages_len, 0);
    close(fd);
    if (by_stop) {
        WAIT_FOR(&world, server->is_stopped);
        assert_int_equal(peer->down_count, 1);
    }
    node_close(server);
    world_close(&world);
}

static void test_close_drains(void **state)
{
    (void)state;
    check_drain(false);
}

static void test_stop_drains(void **state)
{
    (void)state;
    check_drain(true);
}

/* A peer that takes nothing is given a second, not more. */
static void test_drain_ends(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 32u << 20;
    struct node *server = node_open(&world, &limits, NULL);
    int fd = raw_connect(&world, node_listen(server, NULL));
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, server->accepted_len == 1);
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(send_numbered(server->peers, i, 50000), KV_OK);
    }
    uint64_t begin_ms = world_now_ms();
    node_stop(server);
    WAIT_FOR(&world, server->is_stopped);
    assert_true(world_now_ms() - begin_ms >= 900);
    close(fd);
    node_close(server);
    world_close(&world);
}

/* ---- ending from within a callback ---- */

static void test_close_in_on_writable(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    limits.queue_bytes_max = 1000;
    struct node *server = node_open(&world, &limits, NULL);
    server->on_writable = peer_close;
    uint16_t port = node_listen(server, NULL);
    for (int i = 0; i < 2; i++) {
        int fd = raw_connect(&world, port);
        raw_shake_hands(&world, fd);
        WAIT_FOR(&world, node_count_up(server) == 1);
        struct peer *peer = server->peers;
        /* First taken at once by the kernel, then by a write that waits. */
        uint32_t count = 0;
        int32_t status = KV_OK;
        while ((status = send_numbered(peer, count, 60000)) == KV_OK && count < 10000) {
            count++;
            if (i == 1) {
                node_flush(server);
            }
        }
        assert_int_equal(status, KV_E_BUSY);
        size_t got = raw_wait_end(&world, fd);
        assert_int_equal(got, (size_t)count * 60008);
        assert_int_equal(peer->writable_count, 1);
        assert_null(peer->link);
        close(fd);
    }
    node_close(server);
    world_close(&world);
}

/* ---- ending in every state ---- */

/* Both close_link() and stop() on a link that connects, waits for the preamble, for the next
 * attempt, is up, or is draining. */
static void test_endings_in_states(void **state)
{
    (void)state;
    for (int by_stop = 0; by_stop < 2; by_stop++) {
        for (int which = 0; which < 5; which++) {
            struct world world;
            world_init(&world);
            struct kv_transport_limits limits = world_default_limits();
            struct node *client = node_open(&world, &limits, NULL);
            uint16_t port = 0;
            char uri[KV_URI_MAX];
            int fd = -1;
            int listener = raw_listen(&port);
            make_uri(uri, port);
            if (which == 1) { /* the next attempt is awaited */
                close(listener);
                listener = -1;
            }
            struct peer *peer = node_connect(client, uri);
            if (which == 1) {
                WAIT_FOR(&world, node_has_logged(client, "cannot connect"));
                world_run_ms(&world, 3);
            } else if (which >= 2) { /* handshake; up; draining */
                fd = raw_accept(&world, listener);
                uint8_t preamble[12];
                assert_int_equal(raw_receive(&world, fd, preamble, 12), 12);
            }
            if (which >= 3) {
                raw_send(&world, fd, "KVTC\1\0\0\0\0\0\0\1", 12);
                WAIT_FOR(&world, peer->is_up);
            }
            if (which == 4) {
                assert_int_equal(peer_send(peer, "x", 1), KV_OK);
                peer_close(peer);
            }
            if (by_stop) {
                node_stop(client);
            } else if (which != 4) {
                peer_close(peer);
                world_run_ms(&world, 120); /* no attempt after it */
                assert_int_equal(peer->up_count, which >= 3);
            }
            if (fd >= 0) {
                close(fd);
            }
            node_close(client);
            if (listener >= 0) {
                close(listener);
            }
            world_close(&world);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_tiny_queue),
        cmocka_unit_test(test_accepted_link_is_held_back),
        cmocka_unit_test(test_connected_link_always_reads),
        cmocka_unit_test(test_close_drains),
        cmocka_unit_test(test_stop_drains),
        cmocka_unit_test(test_drain_ends),
        cmocka_unit_test(test_close_in_on_writable),
        cmocka_unit_test(test_endings_in_states),
        SHARED_ENDING_TESTS,
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The sockets and the outbox by themselves, on the loopback: batches both ways, errors of the
 * network, sockets closed in the middle of a batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "outbox.h"
#include "socket.h"

#define TEST_DEADLINE_MS 10000

struct bench {
    uv_loop_t loop;
    uv_timer_t tick;
    struct kv_host host;
    struct outbox outbox;
    uint8_t *receive_buffer;
    uint64_t received;
    uint64_t received_bytes;
    uint64_t batches;
    uint64_t unreachable;
    uint64_t closed;
    uint64_t close_after; /* the socket is closed in the callback of that datagram; 0: never */
    uint8_t last[65536];
    size_t last_len;
    union address_socket last_from;
    union address_socket unreachable_to;
    uint8_t unreachable_bytes[2048];
    size_t unreachable_len;
    uint64_t too_large;
    uint32_t too_large_size;
};

static void on_datagram(void *ctx, struct udp_socket *socket, const union address_socket *from,
                        const uint8_t *bytes, size_t len)
{
    struct bench *bench = ctx;
    bench->received++;
    bench->received_bytes += len;
    bench->last_len = len;
    bench->last_from = *from;
    if (len > 0) {
        memcpy(bench->last, bytes, len);
    }
    if (bench->received == bench->close_after) {
        socket_close(socket);
    }
}

static void on_batch_end(void *ctx)
{
    struct bench *bench = ctx;
    bench->batches++;
}

static void on_unreachable(void *ctx, const union address_socket *to, const uint8_t *bytes,
                           size_t len)
{
    struct bench *bench = ctx;
    bench->unreachable++;
    bench->unreachable_to = *to;
    assert_true(len <= sizeof bench->unreachable_bytes);
    memcpy(bench->unreachable_bytes, bytes, len);
    bench->unreachable_len = len;
}

static void on_closed(void *ctx, struct udp_socket *socket)
{
    struct bench *bench = ctx;
    (void)socket;
    bench->closed++;
}

static const struct socket_events bench_events = {on_datagram, on_batch_end, on_unreachable,
                                                  on_closed};

static void on_too_large(void *ctx, const union address_socket *to, uint32_t size)
{
    struct bench *bench = ctx;
    (void)to;
    bench->too_large++;
    bench->too_large_size = size;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    bench->receive_buffer = malloc(SOCKET_RECEIVE_BYTES);
    assert_non_null(bench->receive_buffer);
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    uv_timer_init(&bench->loop, &bench->tick);
    uv_timer_start(&bench->tick, on_tick, 10, 10);
    bench->host.loop = &bench->loop;
    outbox_init(&bench->outbox, on_too_large, bench);
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;
    uv_close((uv_handle_t *)&bench->tick, NULL);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&bench->loop);
    free(bench->receive_buffer);
    free(bench);
    return status;
}

static union address_socket address_of(const char *uri)
{
    struct address address;
    assert_int_equal(address_parse("udp", uri, &address), KV_OK);
    assert_true(address.is_literal);
    return address.socket;
}

static void open_at(struct bench *bench, struct udp_socket *socket, const char *uri)
{
    union address_socket address = address_of(uri);
    const char *step = NULL;
    assert_int_equal(socket_open(socket, &bench->host, &address, bench->receive_buffer,
                                 &bench_events, bench, &step),
                     0);
    assert_true(socket->fd >= 0);
}

#define WAIT_FOR(bench, condition)                                   \
    do {                                                             \
        uint64_t end_ms_ = uv_hrtime() / 1000000 + TEST_DEADLINE_MS; \
        while (!(condition)) {                                       \
            uv_run(&(bench)->loop, UV_RUN_ONCE);                     \
            if (uv_hrtime() / 1000000 > end_ms_) {                   \
                fail_msg("not within the deadline: %s", #condition); \
            }                                                        \
        }                                                            \
    } while (0)

static void close_all(struct bench *bench, struct udp_socket *sockets, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        socket_close(&sockets[i]);
        socket_close(&sockets[i]); /* again: nothing */
    }
    WAIT_FOR(bench, bench->closed == len);
}

static void add(struct bench *bench, struct udp_socket *socket, const union address_socket *to,
                const void *bytes, size_t len)
{
    outbox_add(&bench->outbox, socket, to, bytes, len, NULL, 0);
}

/* Nothing keeps the loop awake: turns come with the tick. */
static void check_is_idle(struct bench *bench)
{
    uint64_t end_ms = uv_hrtime() / 1000000 + 100;
    uint32_t turns = 0;
    while (uv_hrtime() / 1000000 < end_ms) {
        uv_run(&bench->loop, UV_RUN_ONCE);
        turns++;
    }
    assert_true(turns <= 25);
}

static void test_batches(void **state)
{
    enum { COUNT = 200 };
    struct bench *bench = *state;
    struct udp_socket sockets[3];
    open_at(bench, &sockets[0], "udp://127.0.0.1:0");
    open_at(bench, &sockets[1], "udp://127.0.0.1:0");
    open_at(bench, &sockets[2], "udp://127.0.0.1:0");
    static uint8_t payload[3000];
    memset(payload, 7, sizeof payload);
    uint64_t bytes_sent = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct kv_slice slices[2] = {{payload, i * 10}, {payload, i}};
        outbox_add(&bench->outbox, &sockets[1 + i % 2], &sockets[0].bound, (const uint8_t *)&i,
                   sizeof i, slices, 2);
        bytes_sent += sizeof i + i * 11;
    }
    outbox_send(&bench->outbox);
    outbox_send(&bench->outbox); /* nothing left */
    assert_int_equal(bench->outbox.sent, COUNT);
    assert_int_equal(bench->outbox.dropped, 0);
    assert_int_equal(bench->outbox.calls, 8); /* 64 a time, for each of two sockets */
    WAIT_FOR(bench, bench->received == COUNT);
    assert_int_equal(bench->received_bytes, bytes_sent);
    assert_true(bench->batches < COUNT);
    assert_true(address_is_equal(&bench->last_from, &sockets[1].bound) ||
                address_is_equal(&bench->last_from, &sockets[2].bound));
    /* An empty datagram is one as well. */
    add(bench, &sockets[1], &sockets[0].bound, "", 0);
    outbox_send(&bench->outbox);
    WAIT_FOR(bench, bench->received == COUNT + 1);
    assert_int_equal(bench->last_len, 0);
    /* The largest. */
    struct kv_slice slices[2] = {{payload, 0}, {NULL, 0}};
    uint8_t *large = calloc(1, 65507);
    assert_non_null(large);
    slices[1].bytes = large;
    slices[1].len = 65507 - 4;
    outbox_add(&bench->outbox, &sockets[1], &sockets[0].bound, (const uint8_t *)"abcd", 4, slices,
               2);
    outbox_send(&bench->outbox);
    WAIT_FOR(bench, bench->received == COUNT + 2);
    assert_int_equal(bench->last_len, 65507);
    free(large);
    close_all(bench, sockets, 3);
}

static void test_port_is_ours(void **state)
{
    struct bench *bench = *state;
    struct udp_socket sockets[2];
    const char *step = NULL;
    open_at(bench, &sockets[0], "udp://127.0.0.1:0");
    assert_int_equal(socket_open(&sockets[1], &bench->host, &sockets[0].bound,
                                 bench->receive_buffer, &bench_events, bench, &step),
                     -EADDRINUSE);
    assert_string_equal(step, "bind");
    assert_false(sockets[1].is_closing);
    /* Not even one that wants to share it. */
    int on = 1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, &sockets[0].bound.any, address_len(&sockets[0].bound)), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(fd);
    union address_socket foreign = address_of("udp://192.0.2.1:0");
    assert_int_equal(socket_open(&sockets[1], &bench->host, &foreign, bench->receive_buffer,
                                 &bench_events, bench, &step),
                     -EADDRNOTAVAIL);
    close_all(bench, sockets, 1);
}

/* Again and again: a system answers to only so many closed ports a second. */
static void knock_until_told(struct bench *bench, struct udp_socket *socket,
                             const union address_socket *dead)
{
    uint64_t told = bench->unreachable;
    uint64_t end_ms = uv_hrtime() / 1000000 + TEST_DEADLINE_MS;
    while (bench->unreachable == told) {
        uint64_t again_ms = uv_hrtime() / 1000000 + 50;
        add(bench, socket, dead, "anybody?", 8);
        outbox_send(&bench->outbox);
        while (bench->unreachable == told && uv_hrtime() / 1000000 < again_ms) {
            uv_run(&bench->loop, UV_RUN_ONCE);
        }
        assert_true(uv_hrtime() / 1000000 < end_ms);
    }
}

static void check_unreachable(struct bench *bench, const char *uri)
{
    struct udp_socket sockets[3];
    open_at(bench, &sockets[0], uri);
    open_at(bench, &sockets[1], uri);
    open_at(bench, &sockets[2], uri);
    union address_socket dead = sockets[2].bound;
    socket_close(&sockets[2]);
    WAIT_FOR(bench, bench->closed == 1);

    knock_until_told(bench, &sockets[0], &dead);
    assert_true(address_is_equal(&bench->unreachable_to, &dead));
    assert_int_equal(bench->unreachable_len, 8);
    assert_memory_equal(bench->unreachable_bytes, "anybody?", 8);
    check_is_idle(bench);

    /* The pending error of one datagram does not cost another one: all of them are sent. */
    uint64_t sent = bench->outbox.sent;
    for (uint32_t i = 0; i < 20; i++) {
        add(bench, &sockets[0], i % 2 == 0 ? &dead : &sockets[1].bound, &i, sizeof i);
        outbox_send(&bench->outbox);
    }
    assert_int_equal(bench->outbox.dropped, 0);
    assert_int_equal(bench->outbox.sent, sent + 20);
    WAIT_FOR(bench, bench->received == 10);
    knock_until_told(bench, &sockets[0], &dead);
    check_is_idle(bench);
    socket_close(&sockets[0]);
    socket_close(&sockets[1]);
    WAIT_FOR(bench, bench->closed == 3);
}

static void test_unreachable(void **state)
{
    check_unreachable(*state, "udp://127.0.0.1:0");
}

static void test_unreachable_v6(void **state)
{
    struct bench *bench = *state;
    struct udp_socket probe;
    union address_socket address = address_of("udp://[::1]:0");
    const char *step = NULL;
    if (socket_open(&probe, &bench->host, &address, bench->receive_buffer, &bench_events, bench,
                    &step) != 0) {
        print_message("SKIPPED: no IPv6 loopback on this machine\n");
        skip();
    }
    close_all(bench, &probe, 1);
    bench->closed = 0;
    check_unreachable(bench, "udp://[::1]:0");
}

/* A datagram that the system refuses does not hold up those behind it. */
static void test_refused(void **state)
{
    struct bench *bench = *state;
    struct udp_socket sockets[2];
    open_at(bench, &sockets[0], "udp://127.0.0.1:0");
    open_at(bench, &sockets[1], "udp://127.0.0.1:0");
    union address_socket nowhere = sockets[1].bound;
    nowhere.v4.sin_port = 0; /* EINVAL */
    uint8_t *large = calloc(1, 65508);
    assert_non_null(large);
    struct kv_slice slice = {large, 65508 - 4};
    add(bench, &sockets[0], &sockets[1].bound, "1", 1);
    outbox_add(&bench->outbox, &sockets[0], &sockets[1].bound, (const uint8_t *)"abcd", 4, &slice,
               1);
    add(bench, &sockets[0], &nowhere, "2", 1);
    add(bench, &sockets[0], &sockets[1].bound, "3", 1);
    outbox_send(&bench->outbox);
    free(large);
    assert_int_equal(bench->too_large, 1);
    assert_int_equal(bench->too_large_size, 65508);
    assert_int_equal(bench->outbox.dropped, 2);
    assert_int_equal(bench->outbox.sent, 2);
    WAIT_FOR(bench, bench->received == 2);
    assert_int_equal(bench->last[0], '3');
    check_is_idle(bench);
    close_all(bench, sockets, 2);
    /* What is given to a closed socket goes nowhere. */
    add(bench, &sockets[0], &sockets[1].bound, "4", 1);
    outbox_send(&bench->outbox);
    assert_int_equal(bench->outbox.dropped, 3);
}

static void test_close_in_batch(void **state)
{
    struct bench *bench = *state;
    struct udp_socket sockets[2];
    open_at(bench, &sockets[0], "udp://127.0.0.1:0");
    open_at(bench, &sockets[1], "udp://127.0.0.1:0");
    for (uint8_t i = 0; i < 30; i++) {
        add(bench, &sockets[0], &sockets[1].bound, &i, 1);
    }
    outbox_send(&bench->outbox);
    bench->close_after = 5;
    WAIT_FOR(bench, bench->closed == 1);
    assert_int_equal(bench->received, 5);
    socket_close(&sockets[0]);
    WAIT_FOR(bench, bench->closed == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_batches, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(test_port_is_ours, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(test_unreachable, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(test_unreachable_v6, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(test_refused, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(test_close_in_batch, bench_open, bench_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

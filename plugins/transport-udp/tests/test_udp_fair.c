/*
 * What the congestion response makes of a path, in virtual time: it fills one, keeps its speed on a
 * lossy one, shares one with its like and with TCP, and does not flood a slow one. Everything
 * follows from the seed: no figure depends on the machine.
 */
#include "sim_node.h"
#include "sim_tcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS_MAX   2u
#define TCP_FROM    4u
#define TCP_TO      5u
#define MESSAGE_LEN 16384u
#define PATH_MTU    1472u
#define MBIT        125000u /* bytes a second */
#define QUEUE_MIN   65536u

/* Up to two links of ours, 0 -> 1 and 2 -> 3, and a TCP connection 4 -> 5, through one bottleneck.
 */
struct rig {
    struct sim_network network;
    struct sim_node nodes[2 * PAIRS_MAX];
    struct kv_link *links[PAIRS_MAX];
    uint64_t received[PAIRS_MAX]; /* bytes */
    uint32_t pairs;
    struct sim_tcp tcp;
    bool has_tcp;
};

static uint8_t message[MESSAGE_LEN];

static struct rig *rig_of(struct sim_node *node)
{
    return node->ctx;
}

static void on_fail(void *ctx, struct sim_node *node, const char *text)
{
    (void)ctx;
    fail_msg("node %u: %s", node->number, text);
}

static void arrive(void *ctx, const struct sim_datagram *datagram)
{
    struct rig *rig = ctx;
    if (datagram->to >= TCP_FROM) {
        sim_tcp_receive(&rig->tcp, datagram);
    } else {
        sim_node_receive(&rig->nodes[datagram->to], datagram);
    }
}

/* ---- the application: an endless stream ---- */

static void send_all(struct sim_node *node)
{
    struct kv_link *link = rig_of(node)->links[node->number / 2];
    struct kv_slice slice = {message, sizeof message};
    while (sim_node_send(node, link, &slice, 1) == KV_OK) {
    }
}

static void *on_accept(void *ctx, struct kv_link *link, const char *uri)
{
    (void)link;
    (void)uri;
    return ctx;
}

static void on_up(void *ctx, void *user)
{
    (void)user;
    send_all(ctx);
}

static void on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    (void)user;
    (void)bytes;
    struct sim_node *node = ctx;
    rig_of(node)->received[node->number / 2] += len;
}

static void on_down(void *ctx, void *user, int32_t reason)
{
    (void)ctx;
    (void)user;
    fail_msg("a link is lost: %d", reason);
}

static void on_stopped(void *ctx)
{
    (void)ctx;
}

static const struct kv_transport_events events = {on_accept, on_up,   on_message,
                                                  on_up,     on_down, on_stopped};

/* ---- the rig ---- */

static void start_node(struct rig *rig, uint32_t number)
{
    struct sim_node *node = &rig->nodes[number];
    node->network = &rig->network;
    node->number = number;
    node->events = &events;
    node->ctx = rig;
    node->on_fail = on_fail;
    node->options = (struct endpoint_options){.connect_retry_us = 100000,
                                              .connect_retry_max_us = 1000000,
                                              .handshake_timeout_us = 5000000,
                                              .timeout_us = 10000000,
                                              .datagram_max = MTU_MAX};
    node->limits = (struct kv_transport_limits){
        .message_max = 1048576, .links_max = 16, .queue_bytes_max = 16777216};
    node->timer_us = 1000; /* as libuv's */
    node->turn_max_us = 20;
    sim_node_start(node);
}

/* rate: bytes a second of the bottleneck on the way there. */
static struct rig *rig_create(uint32_t pairs, uint64_t rate, uint32_t round_trip_us,
                              uint32_t loss_permille, uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    sim_network_init(&rig->network, seed, arrive, rig);
    uint64_t queue = rate * round_trip_us / 1000000u;
    rig->network.bottlenecks[0].bytes_per_s = rate;
    rig->network.bottlenecks[0].queue_bytes_max = queue > QUEUE_MIN ? queue : QUEUE_MIN;
    for (uint32_t from = 0; from < SIM_ADDRESSES_MAX; from++) {
        for (uint32_t to = 0; to < SIM_ADDRESSES_MAX; to++) {
            struct sim_path *path = &rig->network.paths[from][to];
            path->latency_us = round_trip_us / 2;
            path->jitter_us = 20;
            path->datagram_max = PATH_MTU;
            path->loss_permille = loss_permille;
            path->bottleneck = from % 2 == 0 ? 0 : SIM_NONE;
        }
    }
    rig->pairs = pairs;
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        start_node(rig, i);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        assert_int_equal(sim_node_connect(&rig->nodes[2 * i], 2 * i + 1, NULL, &rig->links[i]),
                         KV_OK);
    }
    return rig;
}

static void rig_add_tcp(struct rig *rig, bool is_cubic)
{
    rig->has_tcp = true;
    rig->tcp.network = &rig->network;
    rig->tcp.from = TCP_FROM;
    rig->tcp.to = TCP_TO;
    rig->tcp.is_cubic = is_cubic;
    sim_tcp_start(&rig->tcp);
}

static void rig_run(struct rig *rig, uint32_t seconds)
{
    uint64_t until_us = rig->network.now_us + 1000000ull * seconds;
    while (sim_network_step(&rig->network, until_us)) {
    }
}

static void rig_destroy(struct rig *rig)
{
    for (uint32_t i = 0; i < 2 * rig->pairs; i++) {
        sim_node_kill(&rig->nodes[i]);
    }
    sim_network_close(&rig->network);
    free(rig);
}

/* Percent of the bottleneck's rate that a number of bytes is. */
static uint32_t percent(const struct rig *rig, uint64_t bytes, uint32_t seconds)
{
    return (uint32_t)(bytes * 100u / (rig->network.bottlenecks[0].bytes_per_s * seconds));
}

/* ---- tests ---- */

static void check_fill(uint64_t rate, uint32_t round_trip_us)
{
    const uint32_t seconds = 10;
    struct rig *rig = rig_create(1, rate, round_trip_us, 0, 1);
    rig_run(rig, seconds);
    uint32_t filled = percent(rig, rig->received[0], seconds);
    print_message("%u Mbit/s, %u ms: %u %%\n", (uint32_t)(rate / MBIT), round_trip_us / 1000,
                  filled);
    assert_true(filled >= 70);
    rig_destroy(rig);
}

static void test_fills_a_path(void **state)
{
    (void)state;
    check_fill(10 * MBIT, 10000);
    check_fill(100 * MBIT, 10000);
}

static uint64_t rate_with_loss(uint32_t loss_permille)
{
    const uint32_t seconds = 10;
    struct rig *rig = rig_create(1, 100 * MBIT, 1000, loss_permille, 2);
    rig_run(rig, seconds);
    uint64_t rate = rig->received[0] / seconds;
    print_message("100 Mbit/s, 1 ms, %u permille lost each way: %u kB/s\n", loss_permille,
                  (uint32_t)(rate / 1000));
    rig_destroy(rig);
    return rate;
}

static void test_keeps_its_speed_on_a_lossy_path(void **state)
{
    (void)state;
    uint64_t whole = rate_with_loss(0);
    assert_true(rate_with_loss(50) >= whole / 2);
}

static void check_two(uint64_t rate, uint32_t round_trip_us)
{
    const uint32_t seconds = 20;
    struct rig *rig = rig_create(2, rate, round_trip_us, 0, 3);
    rig_run(rig, seconds);
    uint32_t first = percent(rig, rig->received[0], seconds);
    uint32_t second = percent(rig, rig->received[1], seconds);
    print_message("%u Mbit/s, %u ms, two links: %u %% and %u %%\n", (uint32_t)(rate / MBIT),
                  round_trip_us / 1000, first, second);
    assert_true(first >= 25 && second >= 25);
    rig_destroy(rig);
}

static void test_two_share(void **state)
{
    (void)state;
    check_two(10 * MBIT, 10000);
    check_two(100 * MBIT, 10000);
}

/* Each gets at least a quarter of its fair share, which is a half. queue: bytes; 0: as rig_create()
 * makes it. */
static void check_beside_tcp(uint64_t rate, uint32_t round_trip_us, uint64_t queue, bool is_cubic,
                             uint32_t seconds)
{
    struct rig *rig = rig_create(1, rate, round_trip_us, 0, 4);
    struct sim_bottleneck *bottleneck = &rig->network.bottlenecks[0];
    bottleneck->queue_bytes_max = queue > 0 ? queue : bottleneck->queue_bytes_max;
    rig_add_tcp(rig, is_cubic);
    rig_run(rig, seconds);
    uint32_t ours = percent(rig, 2 * rig->received[0], seconds);
    uint32_t its = percent(rig, 2 * rig->tcp.delivered * SIM_TCP_SEGMENT, seconds);
    print_message("%u Mbit/s, %u ms, a queue of %u bytes, beside %s: %u %% of the fair share, "
                  "TCP %u %%\n",
                  (uint32_t)(rate / MBIT), round_trip_us / 1000,
                  (uint32_t)bottleneck->queue_bytes_max, is_cubic ? "CUBIC" : "NewReno", ours, its);
    assert_true(ours >= 25 && its >= 25);
    rig_destroy(rig);
}

static void test_beside_tcp(void **state)
{
    (void)state;
    for (int is_cubic = 0; is_cubic <= 1; is_cubic++) {
        check_beside_tcp(10 * MBIT, 10000, 0, is_cubic != 0, 60);
        check_beside_tcp(50 * MBIT, 40000, 0, is_cubic != 0, 60);
    }
}

/* Where hardly anything can wait, a full path looks much like one that loses by chance. */
static void test_beside_tcp_with_a_short_queue(void **state)
{
    (void)state;
    for (int is_cubic = 0; is_cubic <= 1; is_cubic++) {
        check_beside_tcp(10 * MBIT, 10000, 15000, is_cubic != 0, 20);
        check_beside_tcp(100 * MBIT, 1000, 30000, is_cubic != 0, 10);
        check_beside_tcp(1000 * MBIT, 200, 60000, is_cubic != 0, 3);
    }
}

static void test_does_not_flood_a_slow_receiver(void **state)
{
    (void)state;
    struct rig *rig = rig_create(1, MBIT, 20000, 0, 5);
    rig_run(rig, 60);
    const struct sim_bottleneck *bottleneck = &rig->network.bottlenecks[0];
    uint64_t all = bottleneck->passed + bottleneck->dropped;
    uint32_t permille = (uint32_t)(bottleneck->dropped * 1000u / all);
    print_message("1 Mbit/s: %u permille dropped, %u %% used\n", permille,
                  percent(rig, rig->received[0], 60));
    assert_true(permille < 150);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_a_path),
        cmocka_unit_test(test_keeps_its_speed_on_a_lossy_path),
        cmocka_unit_test(test_two_share),
        cmocka_unit_test(test_beside_tcp),
        cmocka_unit_test(test_beside_tcp_with_a_short_queue),
        cmocka_unit_test(test_does_not_flood_a_slow_receiver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

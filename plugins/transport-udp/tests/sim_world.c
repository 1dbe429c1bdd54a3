/*
 * One seed: draw the plan, run load and faults, stop both, wait until all has come, close links
 * with messages in them, stop all endpoints, look at what is left.
 */
#include "sim_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SCRATCH_LEN       (1024u * 1024u + 64u)
#define SETTLE_US         5000000u
#define SETTLE_BULK_US    15000000u
#define TICK_US           20000u
#define DRAIN_US          1000000u
#define STOP_US           1300000u
#define DRAIN_BYTES_MAX   20000u
#define FAR_US            5000u  /* a second is few round trips: less can be drained */
#define STOPPED_BYTES_MAX 16384u /* tables; no link has any */
#define EVENTS_MAX        20000000u

#define PICK(world, ...)                         \
    ((const uint32_t[]){__VA_ARGS__}[world_draw( \
        (world), 0, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t) - 1)])

void world_fail(struct world *world, const char *format, ...)
{
    if (world->failed) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
    world->failed = true;
    trace_line(world->trace, world->network.now_us, "!", "%s", world->failure);
}

void world_note(struct world *world, const struct sim_node *node, const char *format, ...)
{
    char text[200];
    char who[12];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(who, sizeof who, "%u", node->number);
    trace_line(world->trace, world->network.now_us, who, "%s", text);
}

uint64_t world_draw(struct world *world, uint64_t low, uint64_t high)
{
    return sim_network_draw(&world->network, low, high);
}

bool world_percent(struct world *world, uint32_t percent)
{
    return world_draw(world, 0, 99) < percent;
}

bool world_has(const struct world *world, enum world_fault fault)
{
    return (world->plan.faults & (1u << fault)) != 0;
}

/* ---- the plan ---- */

static void draw_plan(struct world *world)
{
    struct world_plan *plan = &world->plan;
    plan->nodes = PICK(world, 2, 2, 2, 3, 4, 5);
    plan->links = (uint32_t)world_draw(world, 1, plan->nodes + 1);
    plan->links_max =
        world_percent(world, 90) ? WORLD_LINKS_PLENTY : (uint32_t)world_draw(world, 1, 2);
    plan->fault_ms = (uint32_t)world_draw(world, 500, 6000);
    plan->fault_pause_max_ms = PICK(world, 50, 300, 1500);
    plan->is_bulk = world_percent(world, 25);
    plan->has_answers = world_percent(world, 60);
    plan->send_pause_max_us = PICK(world, 500, 5000, 50000);
    plan->burst_max = PICK(world, 1, 5, 30);
    plan->size_max = plan->is_bulk ? PICK(world, 60000, 300000, 1048576) : PICK(world, 100, 9000);
    plan->budget = plan->is_bulk ? 12000000 : 1500000;
    plan->timeout_us = PICK(world, 1000000, 2000000, 3000000);
    if (world_percent(world, 85)) {
        for (uint32_t fault = 0; fault < FAULTS_LEN; fault++) {
            if (world_percent(world, fault == FAULT_ATTACK ? 50 : 30)) {
                plan->faults |= 1u << fault;
            }
        }
    } else if (world_percent(world, 50)) {
        plan->faults = 1u << FAULT_ATTACK;
    }
    if (plan->links_max < WORLD_LINKS_PLENTY) {
        plan->faults |= 1u << FAULT_REJECT; /* links go down for want of room */
    }
}

static void draw_node(struct world *world, uint32_t number)
{
    struct sim_node *node = &world->nodes[number];
    node->network = &world->network;
    node->number = number;
    node->events = &world_events;
    node->ctx = world;
    node->on_sent = check_on_sent;
    node->on_fail = check_on_fail;
    node->options = (struct endpoint_options){
        .connect_retry_us = PICK(world, 50000, 100000),
        .connect_retry_max_us = PICK(world, 400000, 1000000),
        .handshake_timeout_us = PICK(world, 1500000, 3000000),
        .timeout_us = world->plan.timeout_us,
        .datagram_max = PICK(world, 1200, 1472, 9000, 65507),
    };
    uint32_t size_max = world->plan.size_max;
    node->limits = (struct kv_transport_limits){
        .message_max = world_percent(world, 70) ? size_max : size_max / 2 + 50,
        .links_max = world->plan.links_max,
        .queue_bytes_max = PICK(world, 1000, 65536, 1048576, 4194304),
    };
    node->clock_us = world_draw(world, 0, 1ull << 40);
    node->timer_us = PICK(world, 1, 1000);
    node->turn_max_us = PICK(world, 0, 20, 500);
    node->interface_max = world_percent(world, 20) ? PICK(world, 1200, 1472) : 0;
    node->resolve_max_us = PICK(world, 0, 100, 100000);
}

/* ---- the run ---- */

static void on_load(void *ctx, uint64_t number, void *memory)
{
    (void)memory;
    struct world *world = ctx;
    if (!world->is_loading) {
        return;
    }
    if (world->nodes[number].is_alive) {
        app_load(world, (uint32_t)number);
    }
    uint64_t pause_us = world_draw(world, 50, world->plan.send_pause_max_us);
    sim_network_at(&world->network, world->network.now_us + pause_us, on_load, world, number, NULL);
}

/* Runs until then or a failure; looks at what always holds every TICK_US. */
static void run_until(struct world *world, uint64_t until_us)
{
    uint64_t events = 0;
    while (!world->failed && world->network.now_us < until_us) {
        uint64_t next_us = world->network.now_us + TICK_US;
        next_us = next_us < until_us ? next_us : until_us;
        while (!world->failed && sim_network_step(&world->network, next_us)) {
            if (++events > EVENTS_MAX) {
                world_fail(world, "%" PRIu64 " events in one phase", events);
            }
        }
        check_tick(world);
    }
}

static bool is_all_alive(const struct world *world)
{
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        if (!world->nodes[i].is_alive) {
            return false;
        }
    }
    return true;
}

static uint64_t settle(struct world *world)
{
    char why[200] = "a node is dead";
    uint64_t from_us = world->network.now_us;
    uint64_t most_us = world->plan.timeout_us + (world->plan.is_bulk ? SETTLE_BULK_US : SETTLE_US);
    while (!world->failed) {
        if (is_all_alive(world) && check_settled(world, why, sizeof why)) {
            break;
        }
        if (world->network.now_us >= from_us + most_us) {
            world_fail(world, "not settled after %" PRIu64 " ms: %s", most_us / 1000, why);
        }
        run_until(world, world->network.now_us + TICK_US);
    }
    return world->network.now_us - from_us;
}

/* What is queued when the host closes a link has to come, if the network lets it. */
static void drain_some(struct world *world)
{
    for (uint32_t i = 0; i < world->ends_len && !world->failed; i++) {
        struct world_end *end = world->ends[i];
        const struct world_end *receiver = end->is_up ? end->out->receiver : NULL;
        if (receiver == NULL || !receiver->is_up || !world_percent(world, 40)) {
            continue; /* the other end must be there, and not closed itself */
        }
        uint32_t len = end->node->limits.message_max;
        uint32_t peers = world->nodes[end->peer].limits.message_max;
        len = len < peers ? len : peers;
        uint32_t latency_us = world->base[end->node->number][end->peer].latency_us;
        uint32_t most = latency_us < FAR_US ? DRAIN_BYTES_MAX : DRAIN_BYTES_MAX / 10;
        len = len < most ? len : most;
        struct world_stream *stream = end->out;
        app_send(world, end, len);
        if (!end->wants_writable) {
            app_send(world, end, 10);
        }
        stream->is_drained = true;
        app_close(world, end);
        world->is_ending = true;
        run_until(world, world->network.now_us + DRAIN_US);
        /* Datagrams that have become too large may take longer than that to be found out. */
        if (!world->failed && !world_has(world, FAULT_MTU) && stream->received < stream->sent) {
            world_fail(world, "of %u messages on a link that was closed only %u came", stream->sent,
                       stream->received);
        }
    }
}

static void stop_all(struct world *world)
{
    world->is_stopping = true;
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        sim_node_stop(&world->nodes[i]);
    }
    run_until(world, world->network.now_us + STOP_US);
    for (uint32_t i = 0; i < world->plan.nodes && !world->failed; i++) {
        struct sim_node *node = &world->nodes[i];
        if (!endpoint_is_stopped(&node->endpoint)) {
            world_fail(world, "node %u does not stop", i);
        }
        if (node->endpoint.links_len > 0 || node->memory > STOPPED_BYTES_MAX) {
            world_fail(world, "node %u: %" PRIu64 " bytes and %u links are left behind stop()", i,
                       node->memory, node->endpoint.links_len);
        }
        if (endpoint_deadline_us(&node->endpoint) != DEADLINES_NEVER) {
            world_fail(world, "node %u has a deadline behind its end", i);
        }
    }
}

static void run_phases(struct world *world, struct world_result *result)
{
    world->is_loading = true;
    fault_start(world);
    for (uint32_t i = 0; i < world->plan.links; i++) {
        uint32_t from = (uint32_t)world_draw(world, 0, world->plan.nodes - 1);
        uint32_t to =
            (from + 1 + (uint32_t)world_draw(world, 0, world->plan.nodes - 2)) % world->plan.nodes;
        app_connect(world, from, to);
    }
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        sim_network_at(&world->network, world_draw(world, 0, 50000), on_load, world, i, NULL);
    }
    run_until(world, 1000u * world->plan.fault_ms);
    fault_stop(world);
    world->is_loading = false;
    result->settled_ms = settle(world) / 1000;
    if (!world->failed) {
        drain_some(world);
    }
    world->is_ending = true;
    if (!world->failed) {
        stop_all(world);
    }
}

static void close_all(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        if (world->nodes[i].is_alive) {
            sim_node_kill(&world->nodes[i]);
        }
    }
    for (uint32_t i = 0; i < world->ends_len; i++) {
        free(world->ends[i]);
    }
    for (uint32_t i = 0; i < world->streams_len; i++) {
        free(world->streams[i]->lens);
        free(world->streams[i]);
    }
    free(world->ends);
    free(world->streams);
    free(world->scratch);
    attack_close(world);
    sim_network_close(&world->network);
}

void world_run(uint64_t seed, struct trace *trace, struct world_result *ret_result)
{
    struct world *world = calloc(1, sizeof *world);
    KV_CHECK(world != NULL);
    memset(ret_result, 0, sizeof *ret_result);
    world->trace = trace;
    world->scratch = malloc(SCRATCH_LEN);
    KV_CHECK(world->scratch != NULL);
    sim_network_init(&world->network, seed, check_arrive, world);
    draw_plan(world);
    fault_draw_network(world);
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        draw_node(world, i);
        fault_start_node(world, i);
    }
    trace_line(trace, 0, "-", "%u nodes, %u links, faults %#x, bulk %d", world->plan.nodes,
               world->plan.links, world->plan.faults, world->plan.is_bulk);
    run_phases(world, ret_result);
    ret_result->messages = world->messages;
    ret_result->bytes = world->bytes;
    ret_result->datagrams = world->network.sent;
    ret_result->virtual_ms = world->network.now_us / 1000;
    close_all(world);
    ret_result->trace_hash = trace->hash;
    ret_result->failed = world->failed;
    memcpy(ret_result->failure, world->failure, sizeof world->failure);
    free(world);
}

/* The network that a seed draws, and what goes wrong in it until the faults stop. */
#include "sim_world.h"

#include <string.h>

#define RESTART_MAX_US 500000u

#define PICK(world, ...)                         \
    ((const uint32_t[]){__VA_ARGS__}[world_draw( \
        (world), 0, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t) - 1)])

/* ---- the network without faults ---- */

static void draw_path(struct world *world, struct sim_path *path, uint32_t latency_us,
                      uint32_t loss_permille, bool is_rough)
{
    path->latency_us = latency_us;
    path->jitter_us = PICK(world, 0, 20, 200, 2000);
    path->datagram_max = PICK(world, 1200, 1252, 1400, 1472, 1472, 8972, 65507);
    path->loss_permille = loss_permille;
    if (is_rough) {
        path->double_permille = PICK(world, 0, 10, 100);
        path->reorder_permille = PICK(world, 0, 10, 200);
        path->reorder_us = PICK(world, 200, 5000);
    }
    if (world_percent(world, 30)) {
        path->bottleneck = (uint32_t)world_draw(world, 0, SIM_BOTTLENECKS_MAX - 1);
    }
}

void fault_draw_network(struct world *world)
{
    for (uint32_t i = 0; i < SIM_BOTTLENECKS_MAX; i++) {
        world->network.bottlenecks[i].bytes_per_s = PICK(world, 2000000, 10000000, 100000000);
        world->network.bottlenecks[i].queue_bytes_max = PICK(world, 140000, 250000, 1000000);
    }
    /* Loss without end only where a round trip is short: else a megabyte takes its time. */
    bool is_near = world_percent(world, 70);
    uint32_t latency_us = is_near ? PICK(world, 20, 100, 500, 2000) : PICK(world, 10000, 40000);
    bool is_rough = world_percent(world, 50);
    uint32_t loss_permille = is_near && is_rough ? PICK(world, 0, 0, 10, 50) : 0;
    for (uint32_t from = 0; from < SIM_ADDRESSES_MAX; from++) {
        for (uint32_t to = 0; to < SIM_ADDRESSES_MAX; to++) {
            draw_path(world, &world->network.paths[from][to], latency_us, loss_permille, is_rough);
        }
    }
    memcpy(world->base, world->network.paths, sizeof world->base);
}

/* ---- nodes ---- */

void fault_start_node(struct world *world, uint32_t number)
{
    struct sim_node *node = &world->nodes[number];
    world->epochs[number]++;
    for (uint32_t i = 0; i < SIM_ADDRESSES_MAX; i++) {
        struct world_pair *pair = &world->pairs[number][i];
        uint32_t accepts = pair->accepts; /* of all its lives */
        uint32_t ups = pair->ups;
        memset(pair, 0, sizeof *pair);
        pair->heard_us = world->network.now_us;
        pair->accepts = accepts;
        pair->ups = ups;
    }
    sim_node_start(node);
}

static void on_restart(void *ctx, uint64_t number, void *memory)
{
    (void)memory;
    struct world *world = ctx;
    world_note(world, &world->nodes[number], "starts again");
    fault_start_node(world, (uint32_t)number);
    for (uint32_t i = 0; i < world->plan.links; i++) {
        uint32_t to = (uint32_t)world_draw(world, 0, world->plan.nodes - 1);
        if (to != number && world_percent(world, 50)) {
            app_connect(world, (uint32_t)number, to);
        }
    }
}

static void restart(struct world *world)
{
    uint32_t number = (uint32_t)world_draw(world, 0, world->plan.nodes - 1);
    struct sim_node *node = &world->nodes[number];
    if (!node->is_alive) {
        return;
    }
    world_note(world, node, "is killed");
    app_forget(world, number);
    sim_node_kill(node);
    uint64_t wait_us = world_draw(world, 0, RESTART_MAX_US);
    sim_network_at(&world->network, world->network.now_us + wait_us, on_restart, world, number,
                   NULL);
}

/* ---- paths ---- */

/* number: of the path and of the fault. A smaller largest datagram stays. */
static void on_path_fault_over(void *ctx, uint64_t number, void *memory)
{
    (void)memory;
    struct world *world = ctx;
    uint32_t place = (uint32_t)number / FAULTS_LEN;
    struct sim_path *path =
        &world->network.paths[place / SIM_ADDRESSES_MAX][place % SIM_ADDRESSES_MAX];
    const struct sim_path *base =
        &world->base[place / SIM_ADDRESSES_MAX][place % SIM_ADDRESSES_MAX];
    switch (number % FAULTS_LEN) {
    case FAULT_LOSS:
        path->loss_permille = base->loss_permille;
        break;
    case FAULT_CORRUPT:
        path->corrupt_permille = 0;
        break;
    case FAULT_REORDER:
        path->reorder_permille = base->reorder_permille;
        path->reorder_us = base->reorder_us;
        break;
    case FAULT_DOUBLE:
        path->double_permille = base->double_permille;
        break;
    default:
        break;
    }
}

static void spoil(struct world *world, uint32_t from, uint32_t to, enum world_fault fault,
                  uint64_t until_us)
{
    struct sim_path *path = &world->network.paths[from][to];
    switch (fault) {
    case FAULT_PARTITION:
        path->blocked_us = until_us > path->blocked_us ? until_us : path->blocked_us;
        return;
    case FAULT_LOSS:
        path->loss_permille = PICK(world, 50, 200, 500, 900);
        break;
    case FAULT_CORRUPT:
        path->corrupt_permille = PICK(world, 10, 100, 400);
        break;
    case FAULT_REORDER:
        path->reorder_permille = PICK(world, 50, 500);
        path->reorder_us = PICK(world, 1000, 20000, 200000);
        break;
    case FAULT_DOUBLE:
        path->double_permille = PICK(world, 100, 500, 1000);
        break;
    default:
        path->datagram_max = PICK(world, 1200, 1300, 1400);
        return;
    }
    uint32_t number = (from * SIM_ADDRESSES_MAX + to) * FAULTS_LEN + fault;
    sim_network_at(&world->network, until_us, on_path_fault_over, world, number, NULL);
}

static void on_nomem_over(void *ctx, uint64_t number, void *memory)
{
    (void)memory;
    struct world *world = ctx;
    world->nodes[number].nomem_permille = 0;
}

static void fault_once(struct world *world, enum world_fault fault)
{
    uint32_t nodes = world->plan.nodes;
    uint32_t from = (uint32_t)world_draw(world, 0, nodes - 1);
    uint32_t to = (from + 1 + (uint32_t)world_draw(world, 0, nodes - 2)) % nodes;
    bool is_long = world_percent(world, fault == FAULT_PARTITION ? 40 : 20);
    uint64_t most_us = is_long ? 3 * world->plan.timeout_us : 400000;
    uint64_t until_us = world->network.now_us + world_draw(world, 1000, most_us);
    switch (fault) {
    case FAULT_RESTART:
        restart(world);
        break;
    case FAULT_NOMEM:
        world->nodes[from].nomem_permille = PICK(world, 5, 100, 1000);
        sim_network_at(&world->network, until_us, on_nomem_over, world, from, NULL);
        break;
    case FAULT_ATTACK:
        attack_once(world);
        break;
    case FAULT_RESOLVE:
    case FAULT_CLOSE:
    case FAULT_REJECT:
        break; /* where they are looked at */
    default:
        world_note(world, &world->nodes[from], "fault %d on the way to %u", (int)fault, to);
        spoil(world, from, to, fault, until_us);
        if (world_percent(world, 50)) {
            spoil(world, to, from, fault, until_us);
        }
    }
}

static void on_fault(void *ctx, uint64_t number, void *memory)
{
    (void)memory;
    struct world *world = ctx;
    if (!world->is_faulty) {
        return;
    }
    fault_once(world, (enum world_fault)number);
    uint64_t pause_us = (number == FAULT_ATTACK ? 20u : 1000u) * world->plan.fault_pause_max_ms;
    sim_network_at(&world->network, world->network.now_us + world_draw(world, 1000, pause_us),
                   on_fault, world, number, NULL);
}

void fault_start(struct world *world)
{
    world->is_faulty = true;
    for (uint32_t fault = 0; fault < FAULTS_LEN; fault++) {
        if (world_has(world, (enum world_fault)fault)) {
            uint64_t pause_us = 1000u * world->plan.fault_pause_max_ms;
            sim_network_at(&world->network, world_draw(world, 1000, pause_us), on_fault, world,
                           fault, NULL);
        }
    }
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        world->nodes[i].resolve_fail_permille = world_has(world, FAULT_RESOLVE) ? 300 : 0;
    }
}

void fault_stop(struct world *world)
{
    world->is_faulty = false;
    for (uint32_t from = 0; from < SIM_ADDRESSES_MAX; from++) {
        for (uint32_t to = 0; to < SIM_ADDRESSES_MAX; to++) {
            struct sim_path *path = &world->network.paths[from][to];
            uint32_t datagram_max = path->datagram_max; /* that stays */
            uint64_t last_us = path->last_us;
            *path = world->base[from][to];
            path->datagram_max = datagram_max;
            path->last_us = last_us;
        }
    }
    for (uint32_t i = 0; i < world->plan.nodes; i++) {
        world->nodes[i].nomem_permille = 0;
        world->nodes[i].resolve_fail_permille = 0;
    }
}

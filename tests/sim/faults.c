#include "faults.h"

#include "load.h"
#include "machine.h"

#include "base/alloc.h"

#include <string.h>

static void start_later(struct world *world, const struct machine *machine, uint64_t low_ms,
                        uint64_t high_ms)
{
    heap_push(&world->heap, world->now_us + 1000 * world_draw(world, low_ms, high_ms), WAKE_START,
              machine->index, 0, NULL);
}

static void heal_later(struct world *world, uint32_t fault, uint64_t serial, uint64_t high_ms)
{
    heap_push(&world->heap, world->now_us + 1000 * world_draw(world, 20, high_ms), WAKE_HEAL, fault,
              serial, NULL);
}

/* The firewall is of use where a second scheme leads round it, so nobody loses the arbiter by it.
 */
static void fault_firewall(struct world *world)
{
    uint32_t from = (uint32_t)rand_below(&world->rand, world->machines_len);
    uint32_t to = (uint32_t)rand_below(&world->rand, world->machines_len);
    if (from == to || to == 0 || !world->plan.two_schemes) {
        return;
    }
    world->firewalled[from][to] = true;
    heal_later(world, FAULT_FIREWALL, from * ENDS_MAX + to, 6000);
    for (uint32_t i = 0; i < world->conns_len; i++) {
        struct conn *conn = &world->conns[i];
        if (conn->in_use && conn->opener == from && conn->acceptor == to && !conn->second) {
            net_break(world, conn);
        }
    }
}

static void fault_network(struct world *world, uint32_t fault)
{
    if (fault == FAULT_FIREWALL) {
        fault_firewall(world);
        return;
    }
    if (fault == FAULT_LOSS) {
        static const uint32_t levels[] = {0, 2, 10, 40};
        world->loss_percent = levels[rand_below(&world->rand, 4)];
        if (world->plan.datagrams) {
            world->double_percent = levels[rand_below(&world->rand, 4)];
            world->late_percent = levels[rand_below(&world->rand, 3)];
        }
        heal_later(world, fault, 0, 3000);
    } else if (fault == FAULT_PARTITION) {
        uint32_t from = (uint32_t)rand_below(&world->rand, world->machines_len);
        uint32_t to = (uint32_t)rand_below(&world->rand, world->machines_len);
        if (from != to) {
            world->blocked[from][to] = true;
            world->blocked[to][from] = rand_percent(&world->rand, 40);
            heal_later(world, fault, from * ENDS_MAX + to, 3000);
        }
    } else if (world->conns_len > 0) {
        uint32_t place = (uint32_t)rand_below(&world->rand, world->conns_len);
        if (world->conns[place].in_use) {
            net_break(world, &world->conns[place]);
        }
    }
}

static void fault_disk(struct world *world, struct machine *machine, uint32_t fault)
{
    struct disk *disk = &machine->disk;
    switch (fault) {
    case FAULT_DISK_SLOW:
        disk->slow_us = (uint32_t)world_draw(world, 1000, 800000);
        heal_later(world, fault, machine->index, 3000);
        break;
    case FAULT_DISK_FAIL:
    case FAULT_DISK_UNKNOWN:
        disk->fail_left = (uint32_t)world_draw(world, 1, 8);
        disk->fail_unknown = fault == FAULT_DISK_UNKNOWN;
        break;
    case FAULT_DISK_REFUSE:
        disk->refuse_percent = rand_percent(&world->rand, 50) ? 5 : 40;
        disk->refuse_salt = rand_next(&world->rand);
        heal_later(world, fault, machine->index, 3000);
        break;
    case FAULT_DISK_HANG:
        disk->hang_us = (uint32_t)world_draw(world, 500000, 4000000);
        break;
    default: /* FAULT_REGISTRY */
        world->machines[0].disk.registry_fail_left = (uint32_t)world_draw(world, 0, 3);
        world->machines[0].disk.registry_slow_us = (uint32_t)world_draw(world, 0, 500000);
        heal_later(world, fault, 0, 2000);
    }
}

static void fault_garbage(struct world *world, struct machine *machine)
{
    uint8_t bytes[64];
    for (uint32_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rand_next(&world->rand);
    }
    size_t len = rand_below(&world->rand, sizeof(bytes));
    if (rand_percent(&world->rand, 50)) {
        bytes[0] = 'K';
        bytes[1] = 'V';
        bytes[2] = MESSAGE_VERSION + (uint8_t)rand_below(&world->rand, 2);
        len = len > 27 ? 27 : len; /* a header that ends too early, so never a message */
    } else {
        bytes[0] = 'X';
    }
    for (uint32_t i = 0; i < world->conns_len; i++) {
        const struct conn *conn = &world->conns[(i + len) % world->conns_len];
        if (conn->in_use && conn->up && conn->acceptor == machine->index &&
            conn->acceptor_epoch == machine->epoch) {
            machine_on_garbage(world, machine, conn->acceptor_link, bytes, len);
            return;
        }
    }
}

static void fault_process(struct world *world, struct machine *machine, uint32_t fault)
{
    struct machine *primary = world_primary(world);
    bool kill = fault == FAULT_CRASH_ARBITER
                    ? machine == &world->machines[0]
                    : machine != &world->machines[0] &&
                          (fault == FAULT_CRASH_PRIMARY) == (machine == primary);
    switch (fault) {
    case FAULT_CRASH:
    case FAULT_CRASH_PRIMARY:
    case FAULT_CRASH_ARBITER:
        if (kill && machine->node != NULL) {
            machine_kill(world, machine);
            start_later(world, machine, 1, rand_percent(&world->rand, 50) ? 50 : 3000);
        }
        break;
    case FAULT_LEAVE:
        if (machine->replica && machine->node != NULL && !machine->arbiter) {
            machine_leave(world, machine);
            if (machine == primary || rand_percent(&world->rand, 60)) {
                start_later(world, machine, 1000, 4000);
            }
        }
        break;
    case FAULT_LEAVE_REQUEST:
        load_leave(world, machine->name);
        break;
    case FAULT_WIPE:
        if (machine != primary && machine->node != NULL && !machine->arbiter) {
            machine_wipe(world, machine);
            start_later(world, machine, 1, 1000);
        }
        break;
    default: /* FAULT_JOIN */
        if (machine->node == NULL && machine->epoch == 0) {
            start_later(world, machine, 0, 10);
        }
    }
}

static uint32_t fault_draw(struct world *world)
{
    uint32_t fault = (uint32_t)rand_below(&world->rand, FAULTS_LEN);
    while ((world->plan.faults & (1u << fault)) == 0) {
        fault = (fault + 1) % FAULTS_LEN;
    }
    return fault;
}

static struct machine *fault_draw_machine(struct world *world, uint32_t fault)
{
    struct machine *primary = world_primary(world);
    if (fault == FAULT_CRASH_PRIMARY && primary != NULL) {
        return primary;
    }
    uint32_t index =
        fault == FAULT_CRASH_ARBITER ? 0 : (uint32_t)rand_below(&world->rand, world->machines_len);
    return &world->machines[index];
}

void faults_on_fault(struct world *world)
{
    if (world->phase != PHASE_SAFETY || world->plan.faults == 0) {
        return;
    }
    uint32_t fault = fault_draw(world);
    struct machine *machine = fault_draw_machine(world, fault);
    trace_line(world->trace, world->now_us, "-", "fault %s, %s", plan_fault_name(fault),
               machine->name);
    switch (fault) {
    case FAULT_LOSS:
    case FAULT_PARTITION:
    case FAULT_LINK:
    case FAULT_FIREWALL:
        fault_network(world, fault);
        break;
    case FAULT_CLOCK:
        machine->clock_ms += world_draw(world, 1, rand_percent(&world->rand, 50) ? 200 : 20000);
        if (machine->node != NULL) {
            machine->tick_at_us = world->now_us;
            heap_push(&world->heap, world->now_us, WAKE_TICK, machine->index, machine->epoch, NULL);
        }
        break;
    case FAULT_GARBAGE:
        if (machine->node != NULL) {
            fault_garbage(world, machine);
        }
        break;
    case FAULT_DISK_SLOW:
    case FAULT_DISK_FAIL:
    case FAULT_DISK_UNKNOWN:
    case FAULT_DISK_HANG:
    case FAULT_DISK_REFUSE:
    case FAULT_REGISTRY:
        fault_disk(world, machine, fault);
        break;
    default:
        fault_process(world, machine, fault);
    }
    uint64_t pause_ms = world_draw(world, 1, world->plan.fault_pause_max_ms);
    heap_push(&world->heap, world->now_us + 1000 * pause_ms, WAKE_FAULT, 0, 0, NULL);
}

void faults_on_heal(struct world *world, const struct wake *wake)
{
    switch (wake->index) {
    case FAULT_LOSS:
        world->loss_percent = 0;
        world->double_percent = 0;
        world->late_percent = 0;
        break;
    case FAULT_PARTITION:
        world->blocked[wake->serial / ENDS_MAX][wake->serial % ENDS_MAX] = false;
        world->blocked[wake->serial % ENDS_MAX][wake->serial / ENDS_MAX] = false;
        break;
    case FAULT_DISK_SLOW:
        world->machines[wake->serial].disk.slow_us = 0;
        break;
    case FAULT_DISK_REFUSE:
        world->machines[wake->serial].disk.refuse_percent = 0;
        break;
    case FAULT_FIREWALL:
        world->firewalled[wake->serial / ENDS_MAX][wake->serial % ENDS_MAX] = false;
        break;
    default:
        world->machines[0].disk.registry_slow_us = 0;
        world->machines[0].disk.registry_fail_left = 0;
    }
}

void faults_stop(struct world *world)
{
    load_forget(world);
    world->datagrams = false;
    world->delay_max_us = world->plan.delay_min_us + 200;
    world->loss_percent = 0;
    world->double_percent = 0;
    world->late_percent = 0;
    memset(world->blocked, 0, sizeof(world->blocked));
    memset(world->firewalled, 0, sizeof(world->firewalled));
    for (uint32_t i = 0; i < world->machines_len; i++) {
        struct machine *machine = &world->machines[i];
        struct disk *disk = &machine->disk;
        disk->slow_us = 0;
        disk->fail_left = 0;
        disk->hang_us = 0;
        disk->refuse_percent = 0;
        disk->registry_fail_left = 0;
        disk->registry_slow_us = 0;
        if (disk->job.serial != 0) { /* what hangs comes to an end */
            heap_push(&world->heap, world->now_us + 1000, WAKE_DISK, i, disk->job.serial, NULL);
        }
        if (disk->registry_serial != 0) {
            heap_push(&world->heap, world->now_us + 1000, WAKE_REGISTRY, i, disk->registry_serial,
                      NULL);
        }
        /* With min_in_sync above 1 nothing is committed by a primary alone: all come back; also
         * when nobody has stayed long enough to become primary. */
        bool needed = world->plan.min_in_sync > 1 || world_primary(world) == NULL ||
                      machine == world_primary(world);
        /* An arbiter whose replica was asked to leave goes on alone: it comes back by a restart. */
        if (world->plan.min_in_sync > 1 && machine->arbiter && machine->replica &&
            machine->leaving) {
            machine_kill(world, machine);
        }
        if (machine->node == NULL && machine->epoch != 0 && (machine->wanted || needed)) {
            start_later(world, machine, 0, 50);
        }
    }
}

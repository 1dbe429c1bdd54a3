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

bool faults_may_lose(struct world *world, const struct machine *machine)
{
    const struct view_note *view = world_newest_view(world);
    const struct machine *arbiter = &world->machines[0];
    const struct machine *primary = world_primary(world);
    if (!world_is_in_sync(view, machine)) {
        return true;
    }
    if (arbiter->disk.registry_serial != 0 || arbiter->paused_until_us > world->now_us ||
        (world->plan.ack != ACK_DURABLE && machine == primary)) {
        return false;
    }
    for (uint32_t i = 0; i < world->machines_len; i++) {
        const struct machine *other = &world->machines[i];
        bool counts = world->plan.ack == ACK_DURABLE || other == primary;
        if (other != machine && counts && world_is_in_sync(view, other) && !other->disk.lost &&
            other->disk.position.view != 0 && world_machine_of(world, other->node_id) == other &&
            (other->node != NULL || (other->wanted && !other->gone && other->wiped == WIPED_NOT))) {
            return true;
        }
    }
    return false;
}

static void fault_kill(struct world *world, struct machine *machine, uint64_t away_ms)
{
    if (machine->node != NULL) {
        machine_kill(world, machine);
        start_later(world, machine, 1, away_ms);
    }
}

/* For how long a machine is down that was killed. */
static uint64_t fault_draw_away(struct world *world)
{
    uint64_t how = rand_below(&world->rand, 100);
    return how < 40   ? 50
           : how < 80 ? 3000
                      : 2000u + world->plan.return_wait_ms + world->plan.replica_timeout_ms;
}

static void fault_power(struct world *world)
{
    uint32_t spared = rand_percent(&world->rand, 50) ? 0 : MACHINES_MAX;
    for (uint32_t i = 0; i < world->machines_len; i++) {
        struct machine *machine = &world->machines[i];
        if (i != spared && machine->node != NULL) {
            machine->gone = i > 0 && rand_percent(&world->rand, 15);
            fault_kill(world, machine, fault_draw_away(world));
        }
    }
}

static void fault_cut(struct world *world, uint32_t from, uint32_t to)
{
    if (from != to) {
        bool forth = rand_percent(&world->rand, 75);
        world->blocked[from][to] = forth;
        world->blocked[to][from] = !forth || rand_percent(&world->rand, 60);
        heal_later(world, FAULT_PARTITION, from * ENDS_MAX + to, 4000);
    }
}

/* From the arbiter only, or from one or all of the others only. */
static void fault_cut_primary(struct world *world)
{
    const struct machine *primary = world_primary(world);
    if (primary == NULL || rand_percent(&world->rand, 40)) {
        fault_cut(world, primary == NULL ? 1 : primary->index, 0);
        return;
    }
    uint32_t percent = rand_percent(&world->rand, 50) ? 100 : 50;
    for (uint32_t i = primary->arbiter ? 0 : 1; i < world->machines_len; i++) {
        if (rand_percent(&world->rand, percent)) {
            fault_cut(world, primary->index, i);
        }
    }
}

/* The primary stands still until the others ask for another one, or almost: it goes on while the
 * arbiter is about to make the next view; then nobody can tell it of that, but its clients read. */
static void fault_pause_until_asked(struct world *world, struct machine *primary)
{
    uint64_t pause_ms = world->plan.replica_timeout_ms + world_draw(world, 0, 60);
    machine_pause(world, primary, 1000 * pause_ms);
    world->blocked[0][primary->index] = !primary->arbiter;
    heap_push(&world->heap, world->now_us + 1000 * (pause_ms + 1000), WAKE_HEAL, FAULT_PARTITION,
              primary->index, NULL);
    world->machines[0].disk.registry_slow_us = 60000;
    heap_push(&world->heap, world->now_us + 1000 * (pause_ms + 1000), WAKE_HEAL, FAULT_REGISTRY, 0,
              NULL);
    heap_push(&world->heap, world->now_us + 1000 * (pause_ms + world_draw(world, 5, 60)), WAKE_HEAL,
              FAULT_PAUSE_PRIMARY, primary->index, NULL);
}

/* Only its clients reach it. */
static void fault_isolate(struct world *world, uint32_t index)
{
    for (uint32_t i = 0; i < world->machines_len && world->phase == PHASE_SAFETY; i++) {
        if (i != index) {
            world->blocked[index][i] = true;
            world->blocked[i][index] = true;
            heap_push(&world->heap, world->now_us + 800000, WAKE_HEAL, FAULT_PARTITION,
                      index * ENDS_MAX + i, NULL);
        }
    }
}

static void fault_copy(struct world *world, struct machine *machine)
{
    if (machine->node == NULL || machine->arbiter || machine == world_primary(world)) {
        return;
    }
    struct machine *copy = machine_copy(world, machine);
    if (copy != NULL) {
        start_later(world, copy, 1, 500);
    }
}

/* The primary is down for long; then somebody forces another one. */
static void fault_force(struct world *world)
{
    struct machine *primary = world_primary(world);
    if (primary == NULL || primary->arbiter || primary->node == NULL || world->datagrams) {
        return;
    }
    machine_kill(world, primary);
    start_later(world, primary, 5000, 8000);
    heap_push(&world->heap,
              world->now_us +
                  1000 * (2ull * world->plan.replica_timeout_ms + world_draw(world, 0, 2000)),
              WAKE_HEAL, FAULT_FORCE, 0, NULL);
}

/* Whoever does it knows that the primary's process is gone. */
static void fault_force_now(struct world *world)
{
    const struct machine *primary = world_primary(world);
    uint32_t first = (uint32_t)rand_below(&world->rand, world->machines_len);
    for (uint32_t i = 0; i < world->machines_len; i++) {
        const struct machine *machine = &world->machines[(first + i) % world->machines_len];
        if (world->phase == PHASE_SAFETY && primary != NULL && primary->node == NULL &&
            machine->replica && machine->node != NULL && machine->disk.position.view != 0) {
            load_promote(world, machine->node_name, true);
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
        if (kill) {
            machine->gone = fault != FAULT_CRASH_ARBITER && rand_percent(&world->rand, 10);
            fault_kill(world, machine, fault_draw_away(world));
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
        load_leave(world, machine->node_name);
        break;
    case FAULT_WIPE:
        if (machine->replica && machine->node != NULL && !machine->arbiter) {
            machine->wiped = rand_percent(&world->rand, 50) ? WIPED_STORE : WIPED_FOLDER;
            fault_kill(world, machine, 3000);
        }
        break;
    case FAULT_MOVE:
        if (!world->machines[0].replica && world->machines[0].node != NULL) {
            machine_kill(world, &world->machines[0]);
            machine_move(world, &world->machines[0]);
            start_later(world, &world->machines[0], 1, 1000);
        }
        break;
    default: /* FAULT_JOIN */
        if (machine->node == NULL && machine->epoch == 0) {
            start_later(world, machine, 0, 10);
        }
    }
}

/* Those of this version's own: another primary, with and without the word of the one before. */
static void fault_primary(struct world *world, struct machine *machine, uint32_t fault)
{
    switch (fault) {
    case FAULT_POWER:
        fault_power(world);
        break;
    case FAULT_PAUSE:
    case FAULT_PAUSE_PRIMARY:
        if (fault == FAULT_PAUSE_PRIMARY && machine == world_primary(world) &&
            rand_percent(&world->rand, 80)) {
            fault_pause_until_asked(world, machine);
            break;
        }
        machine_pause(world, machine,
                      1000 * world_draw(world, 20, rand_percent(&world->rand, 50) ? 400 : 4000));
        break;
    case FAULT_CUT_PRIMARY:
        fault_cut_primary(world);
        break;
    case FAULT_HANDOVER:
        load_promote(world, machine->node_name, false);
        break;
    case FAULT_FORCE:
        fault_force(world);
        break;
    case FAULT_COPY:
        fault_copy(world, machine);
        break;
    default: /* FAULT_CONFLICT */
        machine_meddle(world, &world->machines[0]);
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
    if ((fault == FAULT_CRASH_PRIMARY || fault == FAULT_PAUSE_PRIMARY) && primary != NULL) {
        return primary;
    }
    uint32_t index =
        fault == FAULT_CRASH_ARBITER ? 0 : (uint32_t)rand_below(&world->rand, world->machines_len);
    return &world->machines[index];
}

static void fault_drill(struct world *world)
{
    struct machine *primary = world_primary(world);
    struct machine *machine = &world->machines[rand_below(&world->rand, world->machines_len)];
    if (world->plan.drill == DRILL_EMPTY_PRIMARY) {
        machine = primary;
    } else if (machine == primary) {
        return;
    }
    if (machine == NULL || machine->node == NULL || machine->arbiter ||
        !world_is_in_sync(world_newest_view(world), machine)) {
        return;
    }
    trace_line(world->trace, world->now_us, "-", "drill %u, %s", world->plan.drill, machine->name);
    machine->wiped = world->plan.drill == DRILL_QUICK_RETURN ? WIPED_NOT : WIPED_STORE;
    fault_kill(world, machine, 20);
    if (world->plan.drill == DRILL_REFUSE_JOINER) {
        machine->disk.refuse_percent = 10; /* mostly of content: it takes removals oftener */
        machine->disk.refuse_salt = rand_next(&world->rand);
        heap_push(&world->heap,
                  world->now_us +
                      1000 * (2ull * world->plan.replica_timeout_ms + world_draw(world, 200, 2000)),
                  WAKE_HEAL, FAULT_DISK_REFUSE, machine->index, NULL);
    } else if (world->plan.drill == DRILL_QUICK_RETURN && primary != NULL &&
               rand_percent(&world->rand, 50)) {
        fault_kill(world, primary, 5000);
    }
}

void faults_on_fault(struct world *world)
{
    if (world->phase != PHASE_SAFETY || world->plan.faults == 0) {
        return;
    }
    if (world->plan.drill != DRILL_NONE) {
        fault_drill(world);
        heap_push(&world->heap,
                  world->now_us + 1000 * world_draw(world, 1, world->plan.fault_pause_max_ms),
                  WAKE_FAULT, 0, 0, NULL);
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
    case FAULT_POWER:
    case FAULT_PAUSE:
    case FAULT_PAUSE_PRIMARY:
    case FAULT_CUT_PRIMARY:
    case FAULT_HANDOVER:
    case FAULT_FORCE:
    case FAULT_COPY:
    case FAULT_CONFLICT:
        fault_primary(world, machine, fault);
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
    case FAULT_FORCE:
        fault_force_now(world);
        break;
    case FAULT_PAUSE_PRIMARY:
        fault_isolate(world, (uint32_t)wake->serial);
        break;
    case FAULT_FIREWALL:
        world->firewalled[wake->serial / ENDS_MAX][wake->serial % ENDS_MAX] = false;
        break;
    default:
        world->machines[0].disk.registry_slow_us = 0;
        world->machines[0].disk.registry_fail_left = 0;
    }
}

/* Who never was in a view cannot ask anybody where the arbiter has moved to: somebody sets its
 * configuration right and starts it again. */
static void fault_end_move(struct world *world, struct machine *machine)
{
    if (world->machines[0].moves > 0 && machine->node != NULL && !machine->arbiter &&
        machine->state.view == 0) {
        world->updates_calm = 0; /* what there was says nothing */
        fault_kill(world, machine, 50);
    }
}

void faults_end_moves(struct world *world)
{
    for (uint32_t i = 0; i < world->machines_len; i++) {
        fault_end_move(world, &world->machines[i]);
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
        machine_end_copy(world, machine);
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
         * when nobody has stayed long enough to become primary, and who alone has the data. */
        bool needed = world->plan.min_in_sync > 1 || world_primary(world) == NULL ||
                      machine == world_primary(world) || !faults_may_lose(world, machine);
        /* An arbiter whose replica was asked to leave goes on alone: it comes back by a restart. */
        if (world->plan.min_in_sync > 1 && machine->arbiter && machine->replica &&
            machine->leaving) {
            machine_kill(world, machine);
        }
        bool all = world->plan.min_in_sync > 1;
        machine->gone =
            machine->gone && !all && machine->node == NULL && faults_may_lose(world, machine);
        if (machine->node == NULL && machine->epoch != 0 && !machine->gone &&
            (machine->wanted || needed)) {
            start_later(world, machine, 0, 50);
        }
    }
}

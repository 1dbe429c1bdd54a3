/*
 * One run: set up, then one wake after the other. Safety phase: load and faults. Calm phase: the
 * faults have stopped, the load goes on. Settle phase: no load; within a budget all must be in
 * sync and equal. Read phase: a complete scan of every node. Then everything is taken down, and no
 * memory may be left.
 */
#include "world.h"

#include "check.h"
#include "disk.h"
#include "faults.h"
#include "load.h"
#include "machine.h"
#include "net.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CALM_MS          1500u /* and until there must be a primary again */
#define CALM_UPDATES_MIN 20u   /* of so many, some must be acknowledged: a few may meet a restart */
#define SETTLE_STEP_MS   20u
#define SETTLE_BUDGET_MS 2000u /* after the load has stopped: G3 */
#define READ_BUDGET_MS   5000u
#define REFUSED_BUDGET_MS                                                  \
    10000u /* more: a node whose store refused content tries again so late \
            */

void world_fail(struct world *world, const char *promise, const char *format, ...)
{
    if (world->failed) {
        return;
    }
    world->failed = true;
    int len = snprintf(world->failure, FAILURE_MAX, "%s: ", promise);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->failure + len, FAILURE_MAX - (size_t)len, format, arguments);
    va_end(arguments);
    trace_line(world->trace, world->now_us, "!", "%s", world->failure);
}

uint64_t world_draw(struct world *world, uint64_t low, uint64_t high)
{
    return low + rand_below(&world->rand, high - low + 1);
}

struct machine *world_machine_of(struct world *world, uint64_t node_id)
{
    const struct view_note *view = world_newest_view(world);
    struct machine *found = NULL;
    uint64_t incarnation = 0;
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        incarnation = view->nodes[i] == node_id ? view->incarnations[i] : incarnation;
    }
    for (uint32_t i = 0; i < world->machines_len; i++) {
        struct machine *machine = &world->machines[i];
        bool is_member = incarnation != 0 && machine->incarnation >> INCARNATION_JOIN_BITS ==
                                                 incarnation >> INCARNATION_JOIN_BITS;
        bool better = found == NULL || is_member;
        if (machine->node_id == node_id && better) {
            found = machine;
        }
    }
    return found;
}

bool world_is_replica(const struct machine *machine)
{
    bool left = machine->arbiter && machine->leaving && machine->state.role == ROLE_JOINING;
    return machine->replica && machine->node != NULL && !left;
}

struct view_note *world_view(struct world *world, uint64_t number)
{
    for (uint32_t i = world->views_len; i-- > 0;) {
        if (world->views[i].number == number) {
            return &world->views[i];
        }
    }
    return NULL;
}

struct view_note *world_newest_view(struct world *world)
{
    return world->views_len == 0 ? NULL : &world->views[world->views_len - 1];
}

struct machine *world_primary(struct world *world)
{
    const struct view_note *view = world_newest_view(world);
    return view == NULL ? NULL : world_machine_of(world, view->primary);
}

bool world_is_member(struct world *world, const struct machine *machine)
{
    const struct view_note *view = world_newest_view(world);
    bool found = false;
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        found = found || (view->nodes[i] == machine->node_id &&
                          view->incarnations[i] >> INCARNATION_JOIN_BITS ==
                              machine->incarnation >> INCARNATION_JOIN_BITS);
    }
    return found;
}

bool world_is_in_sync(const struct view_note *view, const struct machine *machine)
{
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        if (view->nodes[i] == machine->node_id) {
            return view->states[i] == MEMBER_IN_SYNC;
        }
    }
    return false;
}

uint32_t world_committed(struct world *world, const struct machine *machine)
{
    return model_resolve(&world->model, machine->state.last, machine->state.committed_index);
}

/* Whose messages, disk and time this is; NULL: no machine's. */
static struct machine *world_paused(struct world *world, const struct wake *wake)
{
    uint32_t index = wake->index;
    if (wake->kind == WAKE_PACKET) {
        uint64_t link;
        if (!net_arrives(world, wake->memory, &index, &link)) {
            return NULL;
        }
    } else if (wake->kind != WAKE_LINK && wake->kind != WAKE_TICK && wake->kind != WAKE_FLUSH &&
               wake->kind != WAKE_LOADED && wake->kind != WAKE_DISK &&
               wake->kind != WAKE_REGISTRY) {
        return NULL;
    }
    return index < world->machines_len && world->machines[index].node != NULL &&
                   world->machines[index].paused_until_us > world->now_us
               ? &world->machines[index]
               : NULL;
}

static void world_set_up(struct world *world)
{
    const struct plan *plan = &world->plan;
    machine_add(world, "n0", true, plan->combined);
    uint32_t others = plan->replicas + plan->spares - (plan->combined ? 1 : 0);
    for (uint32_t i = 0; i < others; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i + 1);
        machine_add(world, name, false, true);
    }
    /* One store that is choosy from the beginning: it meets what the others hold already. */
    if ((plan->faults & (1u << FAULT_DISK_REFUSE)) != 0 && rand_percent(&world->rand, 60)) {
        struct disk *disk = &world->machines[world_draw(world, 0, others)].disk;
        disk->refuse_percent = rand_percent(&world->rand, 50) ? 3 : 30;
        disk->refuse_salt = rand_next(&world->rand);
    }
    uint32_t started = plan->replicas + (plan->combined ? 0 : 1);
    for (uint32_t i = 0; i < started; i++) {
        heap_push(&world->heap, world_draw(world, 0, 20000), WAKE_START, i, 0, NULL);
    }
    load_init(world);
    heap_push(&world->heap, world_draw(world, 0, 1000000), WAKE_FAULT, 0, 0, NULL);
    heap_push(&world->heap, plan->safety_ms * 1000ull, WAKE_SETTLE, 0, 0, NULL);
}

/* The primary must be there and acknowledge again once nothing fails any more. */
static void world_check_alive(struct world *world)
{
    /* With min_in_sync above 1 updates may rightly be refused until whoever left has come back. */
    if (world->acks_calm == 0 && world->plan.min_in_sync == 1 &&
        world->updates_calm >= CALM_UPDATES_MIN) {
        world_fail(world, "liveness", "no update was acknowledged after the faults had stopped");
    }
}

static void world_begin_read(struct world *world)
{
    world->settled_us = world->now_us - world->healed_us;
    world_check_alive(world);
    check_durable_at_end(world);
    trace_line(world->trace, world->now_us, "-", "all is equal");
    world->phase = PHASE_READ;
    world->read_last = world_primary(world)->state.last.index;
    world->scan_found = 0;
    world->scan_machine = 0;
    while (!world_is_replica(&world->machines[world->scan_machine])) {
        world->scan_machine++;
    }
    load_scan(world, world->scan_machine, 0);
    heap_push(&world->heap, world->now_us + READ_BUDGET_MS * 1000ull, WAKE_SETTLE, 1, 0, NULL);
}

static uint64_t world_settle_budget_ms(const struct world *world)
{
    bool refuses = (world->plan.faults & (1u << FAULT_DISK_REFUSE)) != 0;
    return SETTLE_BUDGET_MS + (refuses ? REFUSED_BUDGET_MS : 0);
}

/* When the calm phase ends. The arbiter may have to wait for those that do not come back, the
 * members until the primary is silent, and before that until a restarted arbiter presumes anybody
 * dead; and a process that stands still goes on by itself. */
static uint64_t world_calm_until_us(const struct world *world)
{
    uint64_t begin_us = world->now_us;
    for (uint32_t i = 0; i < world->machines_len; i++) {
        uint64_t paused_us = world->machines[i].paused_until_us;
        begin_us = paused_us > begin_us ? paused_us : begin_us;
    }
    return begin_us +
           1000ull * (CALM_MS + 4 * world->plan.replica_timeout_ms + world->plan.return_wait_ms);
}

/* index 1: the read phase should be over. */
static void world_on_settle(struct world *world, const struct wake *wake)
{
    char why[512];
    if ((wake->index == 1) != (world->phase == PHASE_READ)) {
        return;
    }
    switch (world->phase) {
    case PHASE_SAFETY:
        trace_line(world->trace, world->now_us, "-", "the faults stop");
        world->phase = PHASE_CALM;
        world->healed_us = world->now_us;
        faults_stop(world);
        heap_push(&world->heap, world_calm_until_us(world), WAKE_SETTLE, 0, 0, NULL);
        heap_push(&world->heap,
                  world_calm_until_us(world) - 1000ull * world->plan.replica_timeout_ms -
                      1000 * CALM_MS,
                  WAKE_SETTLE, 0, 1, NULL);
        break;
    case PHASE_CALM:
        if (wake->serial == 1) {
            faults_end_moves(world);
            break;
        }
        trace_line(world->trace, world->now_us, "-", "the load stops");
        world->phase = PHASE_SETTLE;
        world->healed_us = world->now_us;
        heap_push(&world->heap, world->now_us, WAKE_SETTLE, 0, 0, NULL);
        break;
    case PHASE_SETTLE:
        if (check_converged(world, why, sizeof(why))) {
            world_begin_read(world);
        } else if (world->now_us > world->healed_us + world_settle_budget_ms(world) * 1000ull) {
            world_fail(world, "G3 convergent", "still not: %s", why);
        } else {
            heap_push(&world->heap, world->now_us + SETTLE_STEP_MS * 1000ull, WAKE_SETTLE, 0, 0,
                      NULL);
        }
        break;
    default:
        world_fail(world, "G9 one answer", "the scan of %s does not end",
                   world->machines[world->scan_machine].name);
    }
}

static void world_on_packet(struct world *world, const struct packet *packet)
{
    uint32_t end;
    uint64_t link;
    if (!net_arrives(world, packet, &end, &link)) {
        return;
    }
    if (end < MACHINES_MAX) {
        machine_on_packet(world, end, link, packet);
    } else {
        load_on_packet(world, end - MACHINES_MAX, packet);
    }
}

static void world_dispatch(struct world *world, const struct wake *wake)
{
    switch (wake->kind) {
    case WAKE_PACKET:
        world_on_packet(world, wake->memory);
        break;
    case WAKE_CONNECT:
        net_on_connect(world, wake->index, wake->serial);
        break;
    case WAKE_LINK:
        machine_on_link(world, wake);
        break;
    case WAKE_TICK:
        machine_on_tick(world, wake);
        break;
    case WAKE_FLUSH:
        machine_on_flush(world, wake);
        break;
    case WAKE_LOADED:
        machine_on_loaded(world, wake);
        break;
    case WAKE_DISK:
        machine_on_disk(world, wake);
        break;
    case WAKE_REGISTRY:
        machine_on_registry(world, wake);
        break;
    case WAKE_START:
        machine_start(world, &world->machines[wake->index]);
        break;
    case WAKE_CLIENT:
        load_on_client(world, wake->index);
        break;
    case WAKE_FAULT:
        faults_on_fault(world);
        break;
    case WAKE_HEAL:
        faults_on_heal(world, wake);
        break;
    case WAKE_DUE:
        check_answers_on_due(world, wake->serial);
        break;
    case WAKE_SCAN:
        load_scan(world, wake->index, wake->serial);
        break;
    case WAKE_SETTLE:
        world_on_settle(world, wake);
        break;
    default:
        break;
    }
}

static void world_close(struct world *world)
{
    for (uint32_t i = 0; i < world->machines_len; i++) {
        machine_close(&world->machines[i]);
    }
    load_close(world);
    heap_close(&world->heap);
    model_close(&world->model);
    alloc_free(world->conns);
    alloc_free(world->pendings);
    alloc_free(world->acked);
    alloc_free(world->refused);
    alloc_free(world->voids);
    alloc_free(world->views);
}

static void world_tell_plan(struct world *world)
{
    const struct plan *plan = &world->plan;
    char faults[256] = "";
    size_t len = 0;
    for (uint32_t fault = 0; fault < FAULTS_LEN; fault++) {
        if ((plan->faults & (1u << fault)) != 0 && len < sizeof(faults)) {
            len +=
                (size_t)snprintf(faults + len, sizeof(faults) - len, " %s", plan_fault_name(fault));
        }
    }
    trace_line(world->trace, 0, "-",
               "%u replicas, %u spares, combined %d, ack %d, min_in_sync %u, timeouts %u %u %u %u, "
               "log %" PRIu64 ", atomic %d, refuses %u%%",
               plan->replicas, plan->spares, plan->combined, (int)plan->ack, plan->min_in_sync,
               plan->operation_timeout_ms, plan->retransmit_ms, plan->replica_timeout_ms,
               plan->return_wait_ms, plan->limits.log_bytes, plan->disk_atomic,
               plan->refuse_percent);
    trace_line(world->trace, 0, "-", "faults:%s", faults);
}

void world_run(uint64_t seed, struct trace *trace, struct world_result *ret_result)
{
    int64_t live = alloc_live();
    struct world *world = alloc_zeroed(1, sizeof(*world));
    world->seed = seed;
    world->rand.state = seed;
    world->trace = trace;
    world->phase = PHASE_SAFETY;
    world->next_serial = 1;
    heap_init(&world->heap);
    model_init(&world->model);
    plan_draw(&world->plan, &world->rand);
    world->datagrams = world->plan.datagrams;
    world->delay_max_us = world->plan.delay_max_us;
    world_set_up(world);
    world_tell_plan(world);
    struct wake wake;
    while (!world->failed && world->phase != PHASE_DONE && heap_pop(&world->heap, &wake)) {
        world->now_us = wake.at_us;
        struct machine *paused = world_paused(world, &wake);
        if (paused != NULL) {
            if (wake.kind == WAKE_TICK && paused->tick_at_us == wake.at_us) {
                paused->tick_at_us = paused->paused_until_us;
            }
            heap_push(&world->heap, paused->paused_until_us, wake.kind, wake.index, wake.serial,
                      wake.memory);
            continue;
        }
        world_dispatch(world, &wake);
        alloc_free(wake.memory);
    }
    memset(ret_result, 0, sizeof(*ret_result));
    ret_result->operations = world->ops_len;
    ret_result->acknowledged = world->acked_len;
    ret_result->settled_ms = world->settled_us / 1000;
    ret_result->virtual_ms = world->now_us / 1000;
    world_close(world);
    if (alloc_live() != live + 1) {
        world_fail(world, "memory", "%" PRId64 " allocations are left", alloc_live() - live - 1);
    }
    ret_result->failed = world->failed;
    memcpy(ret_result->failure, world->failure, FAILURE_MAX);
    ret_result->trace_hash = trace->hash;
    alloc_free(world);
}

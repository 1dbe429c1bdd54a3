#include "machine.h"

#include "check.h"
#include "describe.h"
#include "disk.h"
#include "faults.h"
#include "registry_view.h"

#include "base/alloc.h"
#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOAD_MIN_US  100u
#define LOAD_MAX_US  30000u
#define EXIT_JOIN    4
#define TICKS_MS_MAX 50u /* more ticks in one millisecond are a busy loop */

static void machine_step(struct world *world, struct machine *machine, struct event *event);

struct machine *machine_add(struct world *world, const char *name, bool arbiter, bool replica)
{
    KV_CHECK(world->machines_len < MACHINES_MAX);
    struct machine *machine = &world->machines[world->machines_len];
    memset(machine, 0, sizeof(*machine));
    machine->index = world->machines_len++;
    snprintf(machine->name, sizeof(machine->name), "%s", name);
    snprintf(machine->node_name, sizeof(machine->node_name), "%s", name);
    snprintf(machine->uri, sizeof(machine->uri), "sim://%s", name);
    if (world->plan.two_schemes && rand_percent(&world->rand, 70)) {
        snprintf(machine->second_uri, sizeof(machine->second_uri), "second://%s", name);
        machine->second_is_first = rand_percent(&world->rand, 50);
    }
    machine->arbiter = arbiter;
    machine->replica = replica;
    machine->node_id = 100 + world->next_node++;
    machine->next_accepted = 1;
    effects_init(&machine->effects);
    return machine;
}

static uint64_t machine_draw_incarnation(struct world *world)
{
    uint64_t token = rand_next(&world->rand) >> INCARNATION_JOIN_BITS;
    return (token | 1) << INCARNATION_JOIN_BITS;
}

static struct node_config machine_config(struct world *world, struct machine *machine)
{
    const struct plan *plan = &world->plan;
    struct node_config config = {
        .is_arbiter = machine->arbiter,
        .is_replica = machine->replica,
        .node = machine->node_id,
        .starts = machine->disk.starts,
        .incarnation = machine->incarnation,
        .cluster = machine->disk.cluster,
        .name = machine->node_name,
        .arbiter_uri = world->machines[0].uri,
        .uris = {machine->uri, machine->second_uri},
        .uris_len = machine->second_uri[0] == '\0' ? 1 : 2,
        .ack = plan->ack,
        .min_in_sync = plan->min_in_sync,
        .operation_timeout_ms = plan->operation_timeout_ms,
        .retransmit_ms = plan->retransmit_ms,
        .replica_timeout_ms = plan->replica_timeout_ms,
        .join_timeout_ms = 0,
        .return_wait_ms = plan->return_wait_ms,
        .limits = plan->limits,
        .persist_plugin = "sim",
        .registry = machine->disk.registry,
        .registry_len = machine->disk.registry_len,
        .new_cluster = rand_next(&world->rand) | 1,
    };
    if (machine->second_is_first) {
        config.uris[0] = machine->second_uri;
        config.uris[1] = machine->uri;
    }
    return config;
}

/* What was to be lost before this start is lost, unless nothing else were left; or the data folder
 * is in use twice: a new node would have the name that the copy still has. */
static void machine_wipe(struct world *world, struct machine *machine)
{
    enum machine_wiped wiped = machine->wiped;
    machine->wiped = WIPED_NOT;
    if (wiped == WIPED_NOT || machine->copied || !faults_may_lose(world, machine)) {
        return;
    }
    trace_line(world->trace, world->now_us, machine->name, "loses its %s",
               wiped == WIPED_STORE ? "store" : "data folder");
    machine->shown = ROOT;
    if (wiped == WIPED_STORE) {
        disk_lose(&machine->disk);
    } else {
        disk_close(&machine->disk);
        machine->node_id = 100 + world->next_node++;
        machine->copied = false;
        machine->was_copied = false;
    }
}

void machine_start(struct world *world, struct machine *machine)
{
    if (machine->node != NULL || machine->node_id == 0) {
        return;
    }
    machine_wipe(world, machine);
    machine->disk.starts++;
    machine->incarnation = machine_draw_incarnation(world);
    struct node_config config = machine_config(world, machine);
    trace_line(world->trace, world->now_us, machine->name,
               "starts, node %" PRIu64 " store (%" PRIu64 ", %" PRIu64 ")", machine->node_id,
               machine->disk.position.view, machine->disk.position.index);
    int32_t status = node_create(&config, &machine->node);
    if (status != KV_OK) {
        world_fail(world, "start", "%s cannot be created: %d", machine->name, (int)status);
        return;
    }
    machine->epoch = world->next_serial++;
    machine->clock_ms = world_draw(world, 0, 1000000);
    machine->tick_at_us = UINT64_MAX;
    machine->flush_due = false;
    machine->loaded = false;
    machine->comparing = false;
    machine->compared_index = 0;
    machine->leaving = false;
    machine->wanted = true;
    machine->acked_index = 0;
    machine->paused_until_us = 0;
    if (world->plan.ack != ACK_DURABLE) {
        machine->shown = ROOT; /* it may have shown what was not in its store yet */
    }
    machine->next_accepted = 1;
    node_observe(machine->node, &machine->state);
    struct event event = {.kind = EVENT_START};
    machine_step(world, machine, &event);
    if (machine->replica) {
        heap_push(&world->heap, world->now_us + world_draw(world, LOAD_MIN_US, LOAD_MAX_US),
                  WAKE_LOADED, machine->index, machine->epoch, NULL);
    }
}

/* At the end of a process its store has what its position says. It may hold something else in two
 * cases: a store without atomic batches has kept parts of one, or a store has refused what nothing
 * has made up for yet. The next process loads that, and must find it by comparing. */
static void machine_check_disk(struct world *world, struct machine *machine)
{
    char why[256];
    struct disk *disk = &machine->disk;
    if (disk->position.index == 0 || check_order_content(world, machine, true, why, sizeof(why))) {
        disk->mixed = false;
        return;
    }
    char worse[256];
    if (!disk->mixed && !check_order_content(world, machine, false, worse, sizeof(worse))) {
        world_fail(world, "G1 durable", "at the end of a process: %s", worse);
    }
    disk->mixed = true;
    trace_line(world->trace, world->now_us, machine->name, "leaves another state than it says: %s",
               why);
}

/* What a process leaves behind, however it ended. */
static void machine_down(struct world *world, struct machine *machine, bool clean)
{
    check_answers_on_process_gone(world, machine, clean);
    disk_crash(world, machine);
    machine_check_disk(world, machine);
    node_destroy(machine->node);
    machine->node = NULL;
    effects_reset(&machine->effects);
    net_crash(world, machine->index);
}

void machine_kill(struct world *world, struct machine *machine)
{
    if (machine->node != NULL) {
        trace_line(world->trace, world->now_us, machine->name, "is killed");
        machine_down(world, machine, false);
    }
}

void machine_pause(struct world *world, struct machine *machine, uint64_t pause_us)
{
    if (machine->node != NULL && machine->paused_until_us <= world->now_us) {
        trace_line(world->trace, world->now_us, machine->name, "stands still for %" PRIu64 " ms",
                   pause_us / 1000);
        machine->paused_until_us = world->now_us + pause_us;
    }
}

struct machine *machine_copy(struct world *world, struct machine *machine)
{
    if (world->machines_len == MACHINES_MAX || machine->copied || machine->disk.cluster == 0) {
        return NULL;
    }
    char name[16];
    snprintf(name, sizeof(name), "%.8s-copy", machine->name);
    struct machine *copy = machine_add(world, name, false, true);
    snprintf(copy->node_name, sizeof(copy->node_name), "%s", machine->node_name);
    copy->second_uri[0] = '\0';
    copy->second_is_first = false;
    copy->node_id = machine->node_id;
    disk_copy(&copy->disk, &machine->disk);
    copy->copied = copy->was_copied = true;
    machine->copied = machine->was_copied = true;
    return copy;
}

static struct machine *machine_let_in(struct world *world, struct machine *machine,
                                      struct machine *other)
{
    const struct view_note *view = world_newest_view(world);
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        uint64_t token = view->incarnations[i] >> INCARNATION_JOIN_BITS;
        if (view->nodes[i] == machine->node_id) {
            return token == other->incarnation >> INCARNATION_JOIN_BITS ? other : machine;
        }
    }
    return machine->node == NULL && other->node != NULL ? other : machine;
}

void machine_end_copy(struct world *world, struct machine *machine)
{
    for (uint32_t i = machine->index + 1; i < world->machines_len && machine->copied; i++) {
        struct machine *other = &world->machines[i];
        if (other->node_id != machine->node_id) {
            continue;
        }
        /* The one that the arbiter has let in last stays; none of them: one that runs. */
        struct machine *known = machine_let_in(world, machine, other);
        struct machine *ends = known == machine ? other : machine;
        machine_kill(world, ends);
        ends->node_id = 0;
        ends->wanted = false;
        machine->copied = false;
        other->copied = false;
    }
}

void machine_move(struct world *world, struct machine *machine)
{
    machine->moves++;
    snprintf(machine->uri, sizeof(machine->uri), "sim://%s-%u", machine->name, machine->moves);
    if (machine->second_uri[0] != '\0') {
        snprintf(machine->second_uri, sizeof(machine->second_uri), "second://%s-%u", machine->name,
                 machine->moves);
    }
    trace_line(world->trace, world->now_us, machine->name, "moves to %s", machine->uri);
    net_move(world, machine->index);
}

void machine_close(struct machine *machine)
{
    node_destroy(machine->node);
    machine->node = NULL;
    effects_close(&machine->effects);
    disk_close(&machine->disk);
}

/* --- effects --- */

static void machine_send(struct world *world, struct machine *machine, const struct effect *effect)
{
    uint64_t link = effect->as.send.link;
    size_t len = 0;
    for (uint32_t i = 0; i < effect->as.send.slices_len; i++) {
        len += effect->as.send.slices[i].len;
    }
    uint8_t *bytes = alloc_bytes(len);
    size_t at = 0;
    for (uint32_t i = 0; i < effect->as.send.slices_len; i++) {
        if (effect->as.send.slices[i].len > 0) {
            memcpy(bytes + at, effect->as.send.slices[i].bytes, effect->as.send.slices[i].len);
        }
        at += effect->as.send.slices[i].len;
    }
    struct message *message = alloc_zeroed(1, sizeof(*message));
    int32_t status = message_decode(bytes, len, message);
    if (status != KV_OK) {
        world_fail(world, "message", "%s sends %zu bytes that are no message", machine->name, len);
    } else {
        describe_message(world, machine->name, "->", link, message);
        check_bounds_on_send(world, machine, message, len);
        describe_views(world, machine, message);
        /* One in sync counts as complete before it has compared; it does not serve reads then. */
        bool is_compared = machine->state.role != ROLE_SECONDARY || machine->state.serves_reads;
        if (message->type == MESSAGE_SNAPSHOT_ACK && message->body.snapshot_ack.complete != 0 &&
            is_compared) {
            check_order_on_complete(world, machine);
        } else if (message->type == MESSAGE_SNAPSHOT_ACK) {
            machine->comparing = true;
        }
        if (message->type == MESSAGE_SNAPSHOT) {
            check_order_on_send(world, machine, message);
        }
        if (message->type == MESSAGE_SUSPECT) {
            registry_view_on_let_go(world, machine, message);
        }
        if (message->type == MESSAGE_HEARTBEAT) {
            check_durable_on_heartbeat(world, machine, message);
        }
        if (message->type >= MESSAGE_OPERATION_ACK && message->type <= MESSAGE_LOCATED) {
            check_answers_on_answer(world, machine, link, message);
        }
        struct conn *conn = net_find(world, machine->index, link);
        struct kv_slice whole = {bytes, len};
        if (conn != NULL) {
            net_send(world, conn, (link & LINK_OPENED_BIT) == 0, OP_NONE, &whole, 1);
        }
    }
    alloc_free(message);
    alloc_free(bytes);
}

static void machine_close_link(struct world *world, struct machine *machine, uint64_t link)
{
    trace_line(world->trace, world->now_us, machine->name, "closes link %" PRIx64, link);
    check_answers_on_link_gone(world, machine, link);
    struct conn *conn = net_find(world, machine->index, link);
    if (conn != NULL) {
        net_close(world, conn, (link & LINK_OPENED_BIT) != 0);
    }
}

/* Its data folder is in use twice, and it is the one that gives way. */
static void machine_retire(struct world *world, struct machine *machine)
{
    for (uint32_t i = 0; i < world->machines_len; i++) {
        struct machine *other = &world->machines[i];
        if (other->node_id == machine->node_id) {
            other->copied = false;
        }
    }
    machine->retires = true;
}

static void machine_carry_out(struct world *world, struct machine *machine,
                              const struct effect *effect, bool *stop)
{
    switch (effect->kind) {
    case EFFECT_PERSIST:
        trace_line(world->trace, world->now_us, machine->name,
                   "persists batch %" PRIu64 ", %u records, to (%" PRIu64 ", %" PRIu64 ")",
                   effect->as.persist.batch, effect->as.persist.records_len,
                   effect->as.persist.position.view, effect->as.persist.position.index);
        disk_persist(world, machine, effect);
        break;
    case EFFECT_OPEN_LINK:
        trace_line(world->trace, world->now_us, machine->name, "opens link %" PRIx64 " to %s%s",
                   effect->as.open_link.link, effect->as.open_link.uris[0],
                   effect->as.open_link.uris_len > 1 ? ", ..." : "");
        net_open(world, machine->index, machine->epoch, effect->as.open_link.link,
                 effect->as.open_link.uris, effect->as.open_link.uris_len);
        break;
    case EFFECT_CLOSE_LINK:
        machine_close_link(world, machine, effect->as.close_link.link);
        break;
    case EFFECT_SEND:
        machine_send(world, machine, effect);
        break;
    case EFFECT_REGISTRY_WRITE:
        disk_registry_write(world, machine, effect);
        break;
    case EFFECT_IDENTITY:
        machine->disk.cluster = effect->as.identity.cluster;
        break;
    case EFFECT_READY:
        trace_line(world->trace, world->now_us, machine->name, "ready as %s",
                   message_role_name(effect->as.ready.role));
        check_reads_on_ready(world, machine);
        break;
    case EFFECT_NOTE:
        trace_line(world->trace, world->now_us, machine->name, "notes: %s", effect->as.note.text);
        break;
    case EFFECT_STOP:
        trace_line(world->trace, world->now_us, machine->name, "stops with %d: %s",
                   effect->as.stop.exit_status,
                   effect->as.stop.reason == NULL ? "" : effect->as.stop.reason);
        if (effect->as.stop.exit_status == EXIT_JOIN && machine->was_copied) {
            machine_retire(world, machine);
        } else if (effect->as.stop.exit_status != 0 || !machine->leaving) {
            world_fail(world, "stop", "%s stops by itself with status %d: %s", machine->name,
                       effect->as.stop.exit_status,
                       effect->as.stop.reason == NULL ? "" : effect->as.stop.reason);
        }
        *stop = true;
        break;
    default:
        world_fail(world, "effect", "%s asks for effect %d", machine->name, (int)effect->kind);
    }
}

static void machine_plan_tick(struct world *world, struct machine *machine)
{
    uint64_t wake_ms = node_wake_ms(machine->node);
    if (wake_ms == UINT64_MAX || machine->flush_due) { /* one turn of the loop after the other */
        return;
    }
    uint64_t at_us = wake_ms <= machine->clock_ms ? 0 : (wake_ms - machine->clock_ms) * 1000;
    at_us = at_us < world->now_us ? world->now_us : at_us;
    if (at_us < machine->tick_at_us) {
        machine->tick_at_us = at_us;
        heap_push(&world->heap, at_us, WAKE_TICK, machine->index, machine->epoch, NULL);
    }
}

static void machine_after_step(struct world *world, struct machine *machine)
{
    check_primary_after_step(world, machine);
    check_durable_after_step(world, machine);
    check_order_after_step(world, machine);
    check_undone_after_step(world, machine);
    check_bounds_after_step(world, machine);
}

/* What the content of a store that is mixed becomes when it is the primary's is not followed: such
 * a primary dies before it has done anything, and its store is put right. */
static bool machine_is_not_followed(struct world *world, struct machine *machine)
{
    if (!machine->disk.mixed || machine->state.role != ROLE_PRIMARY) {
        return false;
    }
    machine_kill(world, machine);
    disk_repair(world, machine);
    heap_push(&world->heap, world->now_us + world_draw(world, 1000, 50000), WAKE_START,
              machine->index, 0, NULL);
    return true;
}

static void machine_step(struct world *world, struct machine *machine, struct event *event)
{
    event->now_ms = world->now_us / 1000 + machine->clock_ms;
    machine->previous = machine->state;
    node_step(machine->node, event, &machine->effects);
    node_observe(machine->node, &machine->state);
    if (machine_is_not_followed(world, machine)) {
        return;
    }
    check_order_on_append(world, machine);
    bool sent = false;
    bool stop = false;
    for (uint32_t i = 0; i < machine->effects.len; i++) {
        if (machine->effects.items[i].kind == EFFECT_PERSIST) {
            if (sent) {
                world_fail(world, "order", "%s sends before it persists", machine->name);
            }
            machine_carry_out(world, machine, &machine->effects.items[i], &stop);
        }
        sent = sent || machine->effects.items[i].kind == EFFECT_SEND;
    }
    machine_after_step(world, machine);
    for (uint32_t i = 0; i < machine->effects.len && !world->failed; i++) {
        if (machine->effects.items[i].kind != EFFECT_PERSIST) {
            machine_carry_out(world, machine, &machine->effects.items[i], &stop);
        }
    }
    if (stop) {
        /* Nobody else can be the arbiter; nor, once no fault is to come, the primary. */
        bool is_calm = world->phase != PHASE_SAFETY;
        machine->wanted =
            machine->arbiter ||
            (is_calm && (machine == world_primary(world) || world->plan.min_in_sync > 1));
        if (is_calm && machine == world_primary(world)) {
            world->updates_calm = 0; /* it was leaving: what it rejected so far says nothing */
        }
        machine_down(world, machine, true);
        if (machine->retires) {
            machine->node_id = 0;
            machine->wanted = false;
        }
        if (machine->wanted) {
            heap_push(&world->heap,
                      world->now_us + world_draw(world, 1000, is_calm ? 50000 : 3000000),
                      WAKE_START, machine->index, 0, NULL);
        }
        return;
    }
    if (event->kind != EVENT_FLUSH && !machine->flush_due) {
        machine->flush_due = true;
        heap_push(&world->heap, world->now_us + world_draw(world, 0, world->plan.flush_max_us),
                  WAKE_FLUSH, machine->index, machine->epoch, NULL);
    }
    machine_plan_tick(world, machine);
}

/* --- events --- */

/* The machine that a wake is for, if its process is still the one that it was meant for. */
static struct machine *machine_for(struct world *world, const struct wake *wake)
{
    struct machine *machine = &world->machines[wake->index];
    return machine->node != NULL && machine->epoch == wake->serial ? machine : NULL;
}

void machine_leave(struct world *world, struct machine *machine)
{
    if (machine->node != NULL) {
        trace_line(world->trace, world->now_us, machine->name, "is asked to stop");
        machine->leaving = true;
        struct event event = {.kind = EVENT_LEAVE};
        machine_step(world, machine, &event);
    }
}

void machine_on_packet(struct world *world, uint32_t index, uint64_t link,
                       const struct packet *packet)
{
    struct machine *machine = &world->machines[index];
    if (packet->op != OP_NONE) {
        check_answers_on_request(world, machine, link, packet->op);
    }
    bool stale = false;
    struct message *message = alloc_zeroed(1, sizeof(*message));
    if (message_decode(packet->bytes, packet->len, message) == KV_OK) {
        describe_message(world, machine->name, "<-", link, message);
        stale = (message->type == MESSAGE_SNAPSHOT || message->type == MESSAGE_SNAPSHOT_ACK) &&
                message->view < machine->state.view;
        if (message->type == MESSAGE_SNAPSHOT && message->body.snapshot.kind == SNAPSHOT_BEGIN) {
            machine->comparing = true;
            machine->compared_index = 0;
        }
        if (message->type == MESSAGE_LEAVE && machine->replica &&
            message->body.leave.name.len == strlen(machine->node_name) &&
            memcmp(message->body.leave.name.at, machine->node_name, strlen(machine->node_name)) ==
                0) {
            machine->leaving = true;
        }
    }
    alloc_free(message);
    struct event event = {.kind = EVENT_MESSAGE};
    event.as.message.link = link;
    event.as.message.bytes = packet->bytes;
    event.as.message.len = packet->len;
    machine_step(world, machine, &event);
    if (stale) {
        check_primary_on_stale(world, machine);
    }
}

void machine_on_garbage(struct world *world, struct machine *machine, uint64_t link,
                        const void *bytes, size_t len)
{
    trace_line(world->trace, world->now_us, machine->name, "gets %zu bytes of garbage on %" PRIx64,
               len, link);
    uint8_t *copy = (uint8_t *)alloc_string(bytes, len);
    struct event event = {.kind = EVENT_MESSAGE};
    event.as.message.link = link;
    event.as.message.bytes = copy;
    event.as.message.len = len;
    machine_step(world, machine, &event);
    alloc_free(copy);
}

void machine_on_link(struct world *world, const struct wake *wake)
{
    struct machine *machine = machine_for(world, wake);
    if (machine == NULL) {
        return;
    }
    const struct link_news *news = wake->memory;
    trace_line(world->trace, world->now_us, machine->name, "link %" PRIx64 " is %s", news->link,
               news->up ? "up" : "down");
    if (!news->up) {
        check_answers_on_link_gone(world, machine, news->link);
    }
    struct event event = {.kind = news->up ? EVENT_LINK_UP : EVENT_LINK_DOWN};
    event.as.link.link = news->link;
    machine_step(world, machine, &event);
}

void machine_on_tick(struct world *world, const struct wake *wake)
{
    struct machine *machine = machine_for(world, wake);
    if (machine == NULL || machine->tick_at_us != wake->at_us) {
        return; /* an earlier one was planned meanwhile */
    }
    machine->tick_at_us = UINT64_MAX;
    if (machine->flush_due) {
        return; /* planned anew by the flush */
    }
    if (machine->ticks_at_ms != world->now_us / 1000) {
        machine->ticks_at_ms = world->now_us / 1000;
        machine->ticks = 0;
    }
    if (++machine->ticks > TICKS_MS_MAX) {
        world_fail(world, "busy", "%s wants a tick again and again", machine->name);
        return;
    }
    if (node_wake_ms(machine->node) > world->now_us / 1000 + machine->clock_ms) {
        machine_plan_tick(world, machine);
        return;
    }
    struct event event = {.kind = EVENT_TICK};
    machine_step(world, machine, &event);
}

void machine_on_flush(struct world *world, const struct wake *wake)
{
    struct machine *machine = machine_for(world, wake);
    if (machine != NULL) {
        machine->flush_due = false;
        struct event event = {.kind = EVENT_FLUSH};
        machine_step(world, machine, &event);
    }
}

void machine_on_loaded(struct world *world, const struct wake *wake)
{
    struct machine *machine = machine_for(world, wake);
    if (machine == NULL) {
        return;
    }
    machine->loaded = true;
    size_t len;
    uint8_t *bytes = disk_content(world, machine, &len);
    if (len > 0) {
        struct event records = {.kind = EVENT_LOADED_RECORDS};
        records.as.loaded_records.bytes = bytes;
        records.as.loaded_records.len = len;
        machine_step(world, machine, &records);
    }
    alloc_free(bytes);
    struct event loaded = {.kind = EVENT_LOADED};
    loaded.as.loaded.position = machine->disk.position;
    trace_line(world->trace, world->now_us, machine->name, "has loaded its store");
    machine_step(world, machine, &loaded);
}

void machine_on_disk(struct world *world, const struct wake *wake)
{
    struct machine *machine = &world->machines[wake->index];
    if (machine->node == NULL || machine->disk.job.serial != wake->serial) {
        return;
    }
    bool stored = disk_finish(world, machine);
    struct disk_job job = machine->disk.job; /* the node may begin the next one */
    memset(&machine->disk.job, 0, sizeof(job));
    uint64_t batch = job.batch;
    trace_line(world->trace, world->now_us, machine->name, "batch %" PRIu64 " %s, %u refused",
               batch, stored ? "is stored" : "failed", stored ? job.refusals_len : 0);
    struct event event = {.kind = stored ? EVENT_PERSISTED : EVENT_PERSIST_FAILED};
    event.as.persist.batch = batch;
    event.as.persist.status = stored ? KV_OK : KV_E_IO;
    event.as.persist.error = stored ? NULL : "the simulated store failed";
    event.as.persist.refusals = stored ? job.refusals : NULL;
    event.as.persist.refusals_len = stored ? job.refusals_len : 0;
    machine_step(world, machine, &event);
    disk_job_close(&job);
}

static void machine_tell_registry(struct world *world, struct machine *machine)
{
    uint8_t *bytes =
        (uint8_t *)alloc_string((const char *)machine->disk.registry, machine->disk.registry_len);
    struct event event = {.kind = EVENT_REGISTRY_CHANGED};
    event.as.registry_changed.bytes = bytes;
    event.as.registry_changed.len = machine->disk.registry_len;
    machine_step(world, machine, &event);
    alloc_free(bytes);
}

void machine_meddle(struct world *world, struct machine *machine)
{
    /* What is being written finds the other state there, and tells. */
    if (machine->node != NULL && machine->paused_until_us <= world->now_us &&
        disk_registry_meddle(world, machine) && machine->disk.registry_serial == 0) {
        machine_tell_registry(world, machine);
    }
}

void machine_on_registry(struct world *world, const struct wake *wake)
{
    struct machine *machine = &world->machines[wake->index];
    if (machine->node == NULL || machine->disk.registry_serial != wake->serial) {
        return;
    }
    struct event event = {.kind = EVENT_REGISTRY_WRITTEN};
    event.as.registry.number = machine->disk.registry_next_number;
    switch (disk_registry_finish(world, machine)) {
    case DISK_STORED:
        break;
    case DISK_CHANGED:
        machine_tell_registry(world, machine);
        return;
    default:
        event.kind = EVENT_REGISTRY_FAILED;
    }
    machine_step(world, machine, &event);
}

#include "check.h"

#include "base/alloc.h"

#include <inttypes.h>

static struct kv_position position_of(const struct world *world, uint32_t record)
{
    return world->model.records[record].position;
}

/* Does the machine's store have the state of that record, or one that follows it? */
static bool store_reached(const struct world *world, const struct machine *machine, uint32_t record)
{
    return model_is_before(&world->model, record,
                           model_find(&world->model, machine->disk.position));
}

static void check_view_reached(struct world *world, const struct machine *primary,
                               const struct view_note *view, uint32_t record)
{
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        const struct machine *member = world_machine_of(world, view->nodes[i]);
        if (member == NULL || member->disk.lost || view->states[i] != MEMBER_IN_SYNC ||
            store_reached(world, member, record)) {
            continue;
        }
        struct kv_position position = position_of(world, record);
        world_fail(world, "G1 durable",
                   "%s calls (%" PRIu64 ", %" PRIu64 ") committed in view %" PRIu64
                   "; the store of %s, in sync in view %" PRIu64 ", is at (%" PRIu64 ", %" PRIu64
                   ")",
                   primary->name, position.view, position.index, primary->state.view, member->name,
                   view->number, member->disk.position.view, member->disk.position.index);
    }
}

static void check_commit(struct world *world, struct machine *machine, uint32_t record)
{
    struct model *model = &world->model;
    if (model_is_before(model, record, model->committed)) {
        return;
    }
    struct kv_position position = position_of(world, record);
    if (!model_is_before(model, model->committed, record)) {
        struct kv_position other = position_of(world, model->committed);
        world_fail(world, "G1 durable",
                   "%s calls (%" PRIu64 ", %" PRIu64 ") committed, and (%" PRIu64 ", %" PRIu64
                   "), which was, is not before it",
                   machine->name, position.view, position.index, other.view, other.index);
        return;
    }
    if (!store_reached(world, machine, record)) {
        world_fail(world, "G1 durable",
                   "%s calls (%" PRIu64 ", %" PRIu64 ") committed, its own store is at (%" PRIu64
                   ", %" PRIu64 ")",
                   machine->name, position.view, position.index, machine->disk.position.view,
                   machine->disk.position.index);
        return;
    }
    const struct view_note *newest = world_newest_view(world);
    if (world->plan.ack == ACK_DURABLE) {
        check_view_reached(world, machine, world_view(world, machine->state.view), record);
        if (newest != NULL && newest->forced <= machine->state.view) {
            check_view_reached(world, machine, newest, record);
        }
    }
    model->committed = record;
}

void check_durable_on_committed(struct world *world, struct machine *machine, uint64_t index)
{
    if (machine->state.view < world->primary_view && world->plan.ack != ACK_DURABLE) {
        return; /* it repeats what it called committed before another took its place: maybe lost */
    }
    if (machine->state.role != ROLE_PRIMARY) {
        return; /* it has given way in this very step */
    }
    uint32_t record = model_resolve(&world->model, machine->state.last, index);
    if (record == UNKNOWN) {
        world_fail(world, "G1 durable",
                   "%s calls %" PRIu64 " committed, its log ends with (%" PRIu64 ", %" PRIu64 ")",
                   machine->name, index, machine->state.last.view, machine->state.last.index);
        return;
    }
    check_commit(world, machine, record);
}

/* An operator has taken the loss upon himself; or the mode does not keep what only the primary had,
 * and the primary is lost: the committed line goes on where the new primary is. */
static void excuse_loss(struct world *world, uint32_t last)
{
    struct model *model = &world->model;
    trace_line(world->trace, world->now_us, "-", "updates are lost, as may be");
    model->committed = model_common(model, model->committed, last);
    world->settled = model_common(model, world->settled, last);
    for (uint32_t i = 0; i < world->acked_len; i++) {
        struct acked *acked = &world->acked[i];
        acked->lost = acked->lost || !model_is_before(model, acked->record, last);
    }
    for (uint32_t i = 0; i < world->machines_len; i++) {
        world->machines[i].shown = model_common(model, world->machines[i].shown, last);
    }
}

static void check_new_primary(struct world *world, struct machine *machine)
{
    struct model *model = &world->model;
    if (machine->state.view < world->primary_view) {
        return; /* its place was taken before it heard that it had it: it can commit nothing */
    }
    /* It may have appended in this very step. */
    bool has_more = machine->state.last.index > machine->previous.last.index;
    struct kv_position position = has_more ? machine->previous.last : machine->state.last;
    uint32_t last = model_find(model, position);
    bool has_all = model_is_before(model, model->committed, last);
    struct kv_position committed = position_of(world, model->committed);
    /* What the primary before had only taken over, and its store may not have had yet. */
    bool is_inherited = world->plan.ack != ACK_DURABLE && committed.view < world->primary_view;
    if (last == UNKNOWN || (!has_all && !world->loss_excused && !is_inherited)) {
        world_fail(world, "G1 durable",
                   "%s, the new primary, has (%" PRIu64 ", %" PRIu64 "); (%" PRIu64 ", %" PRIu64
                   ") is committed",
                   machine->name, position.view, position.index, committed.view, committed.index);
        return;
    }
    if (!has_all) {
        excuse_loss(world, last);
    }
    world->loss_excused = false;
    world->primary_view = machine->state.view;
    if (world->plan.ack != ACK_DURABLE) {
        machine->acked_index = 0; /* what it acknowledged in an earlier view may be lost */
    }
    check_undone_on_new_primary(world, last);
}

void check_durable_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    if (state->role == ROLE_PRIMARY) {
        if (machine->previous.role != ROLE_PRIMARY) {
            check_new_primary(world, machine);
        }
        if (state->serves_reads && state->committed_index > machine->previous.committed_index) {
            check_durable_on_committed(world, machine,
                                       state->committed_index); /* told or not yet */
        }
        return;
    }
    const struct view_note *newest = world_newest_view(world);
    if (state->role == ROLE_JOINING || state->role == ROLE_ARBITER || !state->serves_reads ||
        (newest != NULL && newest->forced > state->view)) {
        return;
    }
    if (!model_is_before(&world->model, world_committed(world, machine), world->model.committed)) {
        world_fail(world, "G1 durable",
                   "%s calls %" PRIu64 " of (%" PRIu64 ", %" PRIu64
                   ") committed, and no primary has",
                   machine->name, state->committed_index, state->last.view, state->last.index);
    }
}

void check_durable_on_heartbeat(struct world *world, struct machine *machine,
                                const struct message *message)
{
    const struct view_note *newest = world_newest_view(world);
    struct kv_position last = message->body.heartbeat.last;
    uint64_t index = message->body.heartbeat.committed_index;
    if (machine->state.role == ROLE_PRIMARY) {
        check_durable_on_committed(world, machine, index);
        return;
    }
    if (machine->state.role != ROLE_SECONDARY ||
        (newest != NULL && newest->forced > machine->state.view)) {
        return; /* what it knows may be among what is lost; the arbiter asks those in sync alone */
    }
    uint32_t record = model_resolve(&world->model, last, index);
    if (!model_is_before(&world->model, record, world->model.committed)) {
        world_fail(world, "G1 durable",
                   "%s tells the arbiter that %" PRIu64 " of (%" PRIu64 ", %" PRIu64
                   ") is committed, and no primary has called it so",
                   machine->name, index, last.view, last.index);
    }
}

void check_durable_on_ack(struct world *world, struct machine *machine, uint32_t op,
                          struct kv_position position)
{
    const struct operation *asked = &world->ops[op];
    uint32_t id = model_find(&world->model, position);
    const struct model_record *record = &world->model.records[id == UNKNOWN ? ROOT : id];
    if (id == UNKNOWN || record->key != asked->key ||
        record->client != world->clients[asked->client].id || record->request != asked->request) {
        world_fail(world, "G1 durable",
                   "%s acknowledges request %" PRIu64 " with (%" PRIu64 ", %" PRIu64
                   "), which is not that update",
                   machine->name, asked->request, position.view, position.index);
        return;
    }
    check_commit(world, machine, id);
    if (model_is_before(&world->model, world->settled, id)) {
        world->settled = id;
    }
    if (world->acked_len == world->acked_capacity) {
        world->acked_capacity = world->acked_capacity * 2 + 256;
        world->acked = alloc_resize(world->acked, world->acked_capacity * sizeof(*world->acked));
    }
    struct acked *acked = &world->acked[world->acked_len++];
    acked->op = op;
    acked->record = id;
    acked->lost = false;
}

void check_durable_at_end(struct world *world)
{
    const struct machine *primary = world_primary(world);
    uint32_t last = model_find(&world->model, primary->state.last);
    for (uint32_t i = 0; i < world->acked_len; i++) {
        const struct acked *acked = &world->acked[i];
        if (!acked->lost && !model_is_before(&world->model, acked->record, last)) {
            struct kv_position position = position_of(world, acked->record);
            world_fail(world, "G1 durable",
                       "request %" PRIu64 " was acknowledged with (%" PRIu64 ", %" PRIu64
                       ") and is lost",
                       world->ops[acked->op].request, position.view, position.index);
            return;
        }
    }
}

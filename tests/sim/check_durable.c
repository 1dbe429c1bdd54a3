#include "check.h"

#include "base/alloc.h"

#include <inttypes.h>

/* Has the machine's store reached the index, on the line that is valid now? */
static bool store_reached(const struct world *world, const struct machine *machine, uint64_t index)
{
    struct kv_position reached = machine->disk.position;
    return index == 0 || (reached.index >= index && reached.index <= model_last(&world->model) &&
                          model_position(&world->model, reached.index).view == reached.view);
}

static void check_view_reached(struct world *world, const struct machine *primary,
                               const struct view_note *view, uint64_t index)
{
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        const struct machine *member = world_machine_of(world, view->nodes[i]);
        if (member == NULL || view->states[i] != MEMBER_IN_SYNC ||
            store_reached(world, member, index)) {
            continue;
        }
        world_fail(world, "G1 durable",
                   "%s calls %" PRIu64 " committed in view %" PRIu64 "; the store of %s, in sync "
                   "in view %" PRIu64 ", is at (%" PRIu64 ", %" PRIu64 ")",
                   primary->name, index, primary->state.view, member->name, view->number,
                   member->disk.position.view, member->disk.position.index);
    }
}

void check_durable_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    if (state->role != ROLE_PRIMARY) {
        if (state->role != ROLE_JOINING && state->serves_reads &&
            state->committed_index > world->model.committed) {
            world_fail(world, "G1 durable", "%s calls %" PRIu64 " committed, its primary %" PRIu64,
                       machine->name, state->committed_index, world->model.committed);
        }
        return;
    }
    if (state->committed_index <= machine->previous.committed_index &&
        machine->previous.role == ROLE_PRIMARY) {
        return;
    }
    if (!store_reached(world, machine, state->committed_index)) {
        world_fail(world, "G1 durable",
                   "%s calls %" PRIu64 " committed, its own store is at (%" PRIu64 ", %" PRIu64 ")",
                   machine->name, state->committed_index, machine->disk.position.view,
                   machine->disk.position.index);
    }
    if (world->plan.ack == ACK_DURABLE) {
        check_view_reached(world, machine, world_view(world, state->view), state->committed_index);
        check_view_reached(world, machine, world_newest_view(world), state->committed_index);
    }
    if (world->model.committed < state->committed_index) {
        world->model.committed = state->committed_index;
    }
}

/* Does the record at the position stem from this request? */
static bool acked_is_there(const struct world *world, uint32_t op, struct kv_position position)
{
    const struct model *model = &world->model;
    if (position.index == 0 || position.index > model_last(model)) {
        return false;
    }
    const struct operation *asked = &world->ops[op];
    const struct line_record *record = &model->line[model->places[position.index - 1]];
    return record->position.view == position.view && record->key == asked->key &&
           record->client == world->clients[asked->client].id && record->request == asked->request;
}

void check_durable_on_ack(struct world *world, struct machine *machine, uint32_t op,
                          struct kv_position position)
{
    if (!acked_is_there(world, op, position) || position.index > world->model.committed) {
        world_fail(world, "G1 durable",
                   "%s acknowledges request %" PRIu64 " with (%" PRIu64 ", %" PRIu64
                   "), which is not that update, committed",
                   machine->name, world->ops[op].request, position.view, position.index);
    }
    if (world->acked_len == world->acked_capacity) {
        world->acked_capacity = world->acked_capacity * 2 + 256;
        world->acked = alloc_resize(world->acked, world->acked_capacity * sizeof(*world->acked));
    }
    world->acked[world->acked_len].op = op;
    world->acked[world->acked_len].position = position;
    world->acked_len++;
}

/* What the store holds beyond its position: parts of a batch, kept without it. They count. */
static void overlay_parts(struct world *world, const struct machine *machine,
                          struct kv_record *records, uint32_t *ret_len)
{
    struct model *model = &world->model;
    uint32_t len = 0;
    for (uint64_t index = machine->disk.position.index + 1; index <= model_last(model); index++) {
        const struct line_record *line = &model->line[model->places[index - 1]];
        if (line->key >= machine->disk.entries_len) {
            continue;
        }
        const struct disk_entry *entry = &machine->disk.entries[line->key];
        if (entry->position.view == line->position.view && entry->position.index == index) {
            struct kv_record record = {.key = model->keys[line->key].bytes,
                                       .key_len = model->keys[line->key].len,
                                       .kind = line->kind,
                                       .value = entry->value,
                                       .value_len = entry->value_len,
                                       .position = line->position,
                                       .client = line->client,
                                       .request = line->request};
            records[len++] = record;
        }
    }
    *ret_len = len;
}

/* What the store has refused and nothing has made up for: without the primary's memory it counts as
 * never written. */
static void overlay_refused(struct world *world, const struct machine *machine)
{
    const struct disk *disk = &machine->disk;
    uint64_t index = disk->position.index;
    for (uint32_t key = 0; key < disk->entries_len; key++) {
        const struct disk_entry *entry = &disk->entries[key];
        if (entry->refused == 0 || index == 0 ||
            model_value_is(&world->model, index, key, entry->value, entry->value_len,
                           entry->present)) {
            continue;
        }
        struct kv_record record = {.key = world->model.keys[key].bytes,
                                   .key_len = world->model.keys[key].len,
                                   .kind = entry->present ? KV_RECORD_INSERT : KV_RECORD_REMOVE,
                                   .value = entry->value,
                                   .value_len = entry->value_len};
        model_overlay(&world->model, &record);
    }
}

void check_durable_on_primary_down(struct world *world, struct machine *machine)
{
    struct model *model = &world->model;
    uint64_t index = machine->disk.position.index;
    if (index < model->committed) {
        world_fail(world, "G1 durable",
                   "%s has called %" PRIu64 " committed and its store is at %" PRIu64,
                   machine->name, model->committed, index);
        return;
    }
    struct kv_record *parts = alloc_zeroed(model_last(model) + 1, sizeof(*parts));
    uint32_t parts_len = 0;
    overlay_parts(world, machine, parts, &parts_len);
    const struct view_note *newest = world_newest_view(world);
    model_cut(model, index, newest == NULL ? 1 : newest->number + 1);
    for (uint32_t i = 0; i < parts_len; i++) {
        model_overlay(model, &parts[i]);
    }
    overlay_refused(world, machine);
    check_undone_on_primary_down(world, machine);
    alloc_free(parts);
    char why[256];
    if (!check_order_content(world, machine, true, why, sizeof(why))) {
        world_fail(world, "G1 durable", "the primary's store after it went down: %s", why);
    }
}

void check_durable_at_end(struct world *world)
{
    for (uint32_t i = 0; i < world->acked_len; i++) {
        if (!acked_is_there(world, world->acked[i].op, world->acked[i].position)) {
            world_fail(world, "G1 durable",
                       "request %" PRIu64 " was acknowledged with (%" PRIu64 ", %" PRIu64
                       ") and is lost",
                       world->ops[world->acked[i].op].request, world->acked[i].position.view,
                       world->acked[i].position.index);
            return;
        }
    }
}

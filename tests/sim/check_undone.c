#include "check.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

/* Voids so far behind the commit index are not looked at any more. */
#define VOIDS_BEHIND 300u

static bool is_refused(const struct world *world, struct kv_position position)
{
    for (uint32_t i = 0; i < world->refused_len; i++) {
        if (world->refused[i].position.view == position.view &&
            world->refused[i].position.index == position.index) {
            return true;
        }
    }
    return false;
}

void check_undone_on_refused(struct world *world, struct machine *machine,
                             const struct kv_record *record)
{
    if (world->refused_len == world->refused_capacity) {
        world->refused_capacity = world->refused_capacity * 2 + 64;
        world->refused =
            alloc_resize(world->refused, world->refused_capacity * sizeof(*world->refused));
    }
    struct refused_record *refused = &world->refused[world->refused_len++];
    refused->position = record->position;
    refused->machine = machine->index;
    refused->was_stored = false;
}

void check_undone_on_stored(struct world *world, struct machine *machine,
                            const struct kv_record *record)
{
    for (uint32_t i = world->refused_len; i-- > 0;) {
        struct refused_record *refused = &world->refused[i];
        if (refused->machine == machine->index && refused->position.view == record->position.view &&
            refused->position.index == record->position.index) {
            refused->was_stored = true;
        }
    }
}

/* Nobody who is in sync may have refused it. */
void check_undone_on_ack(struct world *world, struct machine *machine, struct kv_position position)
{
    const struct view_note *view = world_newest_view(world);
    if (world->plan.ack != ACK_DURABLE || view == NULL) {
        return;
    }
    for (uint32_t i = 0; i < world->refused_len; i++) {
        const struct refused_record *refused = &world->refused[i];
        if (refused->was_stored || refused->position.view != position.view ||
            refused->position.index != position.index) {
            continue;
        }
        for (uint32_t m = 0; m < view->members_len; m++) {
            const struct machine *member = &world->machines[refused->machine];
            if (view->nodes[m] == member->node_id && view->states[m] == MEMBER_IN_SYNC &&
                member->node != NULL && member->state.view == view->number) {
                world_fail(world, "G4 undone",
                           "%s acknowledges (%" PRIu64 ", %" PRIu64 "), which the store of %s, in "
                           "sync, refuses",
                           machine->name, position.view, position.index, member->name);
            }
        }
    }
}

void check_undone_on_failed(struct world *world, uint32_t op)
{
    if (world->ops[op].records != 1 || world->ops[op].deliveries > 1) {
        return;
    }
    const struct model_record *record = &world->model.records[world->ops[op].record];
    if (!is_refused(world, record->position)) {
        world_fail(world, "G4 undone",
                   "request %" PRIu64 " is told to be refused, and no store refuses (%" PRIu64
                   ", %" PRIu64 ")",
                   world->ops[op].request, record->position.view, record->position.index);
        return;
    }
    if (world->voids_len == world->voids_capacity) {
        world->voids_capacity = world->voids_capacity * 2 + 64;
        world->voids = alloc_resize(world->voids, world->voids_capacity * sizeof(*world->voids));
    }
    struct void_record *added = &world->voids[world->voids_len++];
    added->record = world->ops[op].record;
    added->key = record->key;
    added->op = op;
}

void check_undone_on_record(struct world *world, uint32_t id)
{
    const struct model *model = &world->model;
    const struct model_record *undo = &model->records[id];
    uint32_t undone = model_ancestor(model, undo->parent, undo->request);
    if (undone == UNKNOWN || undone == ROOT || model->records[undone].key != undo->key) {
        world_fail(world, "G4 undone",
                   "(%" PRIu64 ", %" PRIu64 ") undoes %" PRIu64 ", which is another key's",
                   undo->position.view, undo->position.index, undo->request);
        return;
    }
    for (uint32_t at = undo->prev; at != ROOT && at != undone; at = model->records[at].prev) {
        if (model->records[at].client != 0 && !is_refused(world, model->records[at].position)) {
            world_fail(world, "G4 undone",
                       "(%" PRIu64 ", %" PRIu64 ") undoes %" PRIu64 " and overwrites %" PRIu64,
                       undo->position.view, undo->position.index, undo->request,
                       model->records[at].position.index);
        }
    }
}

/* What was not yet made up for in the log of the new primary is there again: the one exception. */
void check_undone_on_new_primary(struct world *world, uint32_t last)
{
    const struct model *model = &world->model;
    for (uint32_t i = world->voids_len; i-- > 0;) {
        const struct void_record *gone = &world->voids[i];
        uint32_t now = model_at(model, last, gone->key);
        if (!model_is_before(model, gone->record, last) || now == gone->record) {
            world->voids[i] = world->voids[--world->voids_len];
        }
    }
}

/* An undo that has the value of the update that is void. Values of operations differ, unless they
 * are empty; one that a node received twice is told twice, and only the first may be void. */
static bool brings_back(const struct world *world, const struct model_record *now,
                        const struct void_record *gone)
{
    const struct operation *op = &world->ops[gone->op];
    return now->client == 0 && now->kind == KV_RECORD_INSERT && op->type == MESSAGE_INSERT &&
           op->deliveries == 1 && op->value_len > 0 && now->value_len == op->value_len &&
           memcmp(now->value, op->value, op->value_len) == 0;
}

void check_undone_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    const struct model *model = &world->model;
    uint64_t index = state->committed_index;
    uint32_t id = world_committed(world, machine);
    if (world->voids_len == 0 || !state->serves_reads || state->role == ROLE_JOINING ||
        id == UNKNOWN ||
        (index == machine->previous.committed_index && state->role == machine->previous.role)) {
        return;
    }
    for (uint32_t i = world->voids_len; i-- > 0;) {
        const struct void_record *gone = &world->voids[i];
        uint64_t gone_index = model_index(model, gone->record);
        if (gone_index + VOIDS_BEHIND < index || !model_is_before(model, gone->record, id)) {
            continue;
        }
        uint32_t now = model_at(model, id, gone->key);
        if (now == gone->record || brings_back(world, &model->records[now], gone)) {
            world_fail(world, "G4 undone",
                       "%s, %s, shows at %" PRIu64 " the value of %" PRIu64
                       ", which was told to be refused",
                       machine->name, message_role_name(state->role), index, gone_index);
            return;
        }
    }
}

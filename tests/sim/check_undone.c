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

/* The record of an update on the line: the newest one; NULL when there is none, or several. */
static const struct line_record *record_of(const struct world *world, uint32_t op,
                                           uint64_t *ret_index)
{
    const struct operation *asked = &world->ops[op];
    const struct model *model = &world->model;
    const struct line_record *found = NULL;
    for (uint64_t index = model_last(model); index > 0; index--) {
        const struct line_record *record = &model->line[model->places[index - 1]];
        if (record->client == world->clients[asked->client].id &&
            record->request == asked->request && record->key == asked->key) {
            if (found != NULL) {
                return NULL;
            }
            found = record;
            *ret_index = index;
        }
    }
    return found;
}

void check_undone_on_failed(struct world *world, uint32_t op)
{
    uint64_t index;
    const struct line_record *record = record_of(world, op, &index);
    if (record == NULL || world->ops[op].deliveries > 1) {
        return;
    }
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
    added->index = index;
    added->key = record->key;
    added->op = op;
}

void check_undone_on_record(struct world *world, const struct kv_record *record)
{
    const struct model *model = &world->model;
    uint32_t key = model_key(&world->model, record->key, record->key_len);
    if (record->request == 0 || record->request >= record->position.index ||
        model->line[model->places[record->request - 1]].key != key) {
        world_fail(world, "G4 undone",
                   "(%" PRIu64 ", %" PRIu64 ") undoes %" PRIu64 ", which is another key's",
                   record->position.view, record->position.index, record->request);
        return;
    }
    uint32_t undone = model->places[record->request - 1];
    const struct line_record *undo = &model->line[model->places[record->position.index - 1]];
    for (uint32_t at = undo->prev; at != PLACE_NONE && at > undone; at = model->line[at].prev) {
        if (model->line[at].client != 0 && !is_refused(world, model->line[at].position)) {
            world_fail(world, "G4 undone",
                       "(%" PRIu64 ", %" PRIu64 ") undoes %" PRIu64 " and overwrites %" PRIu64,
                       record->position.view, record->position.index, record->request,
                       model->line[at].position.index);
        }
    }
}

/* The primary is gone: what it had not yet made up for in its own store is seen when it is back. */
void check_undone_on_primary_down(struct world *world, const struct machine *machine)
{
    const struct model *model = &world->model;
    uint64_t last = machine->disk.position.index;
    for (uint32_t i = world->voids_len; i-- > 0;) {
        const struct void_record *gone = &world->voids[i];
        const struct line_record *now = NULL;
        if (gone->index <= last) {
            now = model_at(model, model->places[last - 1], gone->key);
        }
        if (now == NULL || now->position.index <= gone->index) {
            world->voids[i] = world->voids[--world->voids_len];
        }
    }
}

/* An undo that has the value of the update that is void. Values of operations differ, unless they
 * are empty; one that a node received twice is told twice, and only the first may be void. */
static bool brings_back(const struct world *world, const struct line_record *now,
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
    uint64_t index = state->committed_index;
    if (world->voids_len == 0 || !state->serves_reads || state->role == ROLE_JOINING ||
        index == 0 || index > model_last(&world->model) ||
        (index == machine->previous.committed_index && state->role == machine->previous.role)) {
        return;
    }
    for (uint32_t i = world->voids_len; i-- > 0;) {
        const struct void_record *gone = &world->voids[i];
        if (gone->index > index || gone->index + VOIDS_BEHIND < index) {
            continue;
        }
        const struct line_record *now =
            model_at(&world->model, world->model.places[index - 1], gone->key);
        if (now != NULL && (now->position.index == gone->index || brings_back(world, now, gone))) {
            world_fail(world, "G4 undone",
                       "%s, %s, shows at %" PRIu64 " the value of %" PRIu64
                       ", which was told to be refused",
                       machine->name, message_role_name(state->role), index, gone->index);
            return;
        }
    }
}

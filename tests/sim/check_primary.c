#include "check.h"

#include <inttypes.h>

void check_primary_on_ack(struct world *world, struct machine *machine, uint64_t number,
                          struct kv_position position)
{
    struct view_note *view = world_view(world, number);
    if (view == NULL) {
        world_fail(world, "G6 one primary",
                   "%s acknowledges in view %" PRIu64 ", which is not durable", machine->name,
                   number);
        return;
    }
    if (view->primary != machine->node_id ||
        (view->acknowledger != 0 && view->acknowledger != machine->node_id)) {
        world_fail(world, "G6 one primary",
                   "%s acknowledges in view %" PRIu64 " and is not its primary", machine->name,
                   number);
    }
    view->acknowledger = machine->node_id;
    /* A primary that does not know of the later one yet may acknowledge what that one has committed
     * already: its secondaries had stored it before they turned to the other. Nothing else. */
    bool is_committed =
        model_is_before(&world->model, model_find(&world->model, position), world->model.committed);
    if (number < world->ack_view && world->ack_node != machine->node_id && !is_committed) {
        world_fail(world, "G6 one primary",
                   "%s acknowledges (%" PRIu64 ", %" PRIu64 ") in view %" PRIu64
                   " after another node has in view %" PRIu64,
                   machine->name, position.view, position.index, number, world->ack_view);
    }
    if (number >= world->ack_view) {
        world->ack_view = number;
        world->ack_node = machine->node_id;
    }
}

void check_primary_on_view(struct world *world, struct machine *machine, const char *type,
                           uint64_t number)
{
    const struct view_note *newest = world_newest_view(world);
    if (number > (newest == NULL ? 0 : newest->number)) {
        world_fail(world, "G6 one primary",
                   "%s tells view %" PRIu64 " in a %s; the newest durable one is %" PRIu64,
                   machine->name, number, type, newest == NULL ? 0 : newest->number);
    }
}

void check_primary_on_stale(struct world *world, struct machine *machine)
{
    const struct node_state *before = &machine->previous;
    const struct node_state *now = &machine->state;
    if (now->last.index != before->last.index || now->committed_index != before->committed_index ||
        now->durable_index != before->durable_index || now->role != before->role) {
        world_fail(world, "G6 one primary",
                   "%s, in view %" PRIu64 ", has acted upon a message of an older view",
                   machine->name, now->view);
    }
}

void check_primary_after_step(struct world *world, struct machine *machine)
{
    if (machine->replica && machine->state.view < machine->previous.view) {
        world_fail(world, "G6 one primary", "%s goes back from view %" PRIu64 " to %" PRIu64,
                   machine->name, machine->previous.view, machine->state.view);
    }
    const struct view_note *view = world_view(world, machine->state.view);
    if (machine->state.role == ROLE_PRIMARY &&
        (view == NULL || view->primary != machine->node_id)) {
        world_fail(world, "G6 one primary",
                   "%s thinks it is the primary of view %" PRIu64 " and is not", machine->name,
                   machine->state.view);
    }
}

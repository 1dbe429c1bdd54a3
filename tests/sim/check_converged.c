#include "check.h"

#include <inttypes.h>
#include <stdio.h>

/* Are exactly the running replicas members, all in sync? */
static bool check_members(struct world *world, const struct view_note *view, char *why,
                          size_t why_size)
{
    uint32_t running = 0;
    for (uint32_t i = 0; i < world->machines_len; i++) {
        const struct machine *machine = &world->machines[i];
        running += world_is_replica(machine);
    }
    for (uint32_t i = 0; i < view->members_len; i++) {
        const struct machine *machine = world_machine_of(world, view->nodes[i]);
        if (machine == NULL || machine->node == NULL || view->states[i] != MEMBER_IN_SYNC) {
            snprintf(why, why_size, "member %s of view %" PRIu64 " is %s",
                     machine == NULL ? "(wiped)" : machine->name, view->number,
                     machine == NULL || machine->node == NULL ? "not running" : "not in sync");
            return false;
        }
    }
    if (view->members_len != running) {
        snprintf(why, why_size, "view %" PRIu64 " has %u members, %u replicas run", view->number,
                 view->members_len, running);
        return false;
    }
    return true;
}

static bool check_memory(struct world *world, const struct machine *machine, char *why,
                         size_t why_size)
{
    for (uint32_t key = 0; key < world->model.keys_len; key++) {
        struct bytes_view value = {NULL, 0};
        struct kv_position position;
        bool found = node_peek(machine->node, world->model.keys[key].bytes,
                               world->model.keys[key].len, &value, &position);
        if (!model_value_is(&world->model, world_committed(world, machine), key, value.at,
                            value.len, found)) {
            snprintf(why, why_size, "%s has another value of key %u in memory", machine->name, key);
            return false;
        }
    }
    return true;
}

static bool check_machine(struct world *world, const struct machine *machine,
                          const struct view_note *view, struct kv_position end, char *why,
                          size_t why_size)
{
    const struct node_state *state = &machine->state;
    uint64_t last = end.index;
    uint8_t role = machine->node_id == view->primary ? ROLE_PRIMARY : ROLE_SECONDARY;
    bool quiet = state->role == role && state->view == view->number && state->last.index == last &&
                 state->last.view == end.view && state->committed_index == last &&
                 state->durable_index == last && state->operations_waiting == 0 &&
                 state->requests_waiting == 0 && state->serves_reads;
    if (!quiet) {
        snprintf(why, why_size,
                 "%s is %s in view %" PRIu64 " (%" PRIu64 "), last %" PRIu64 " durable %" PRIu64
                 " committed %" PRIu64 " of %" PRIu64 ", %u updates and %u requests wait, reads %d",
                 machine->name, message_role_name(state->role), state->view, view->number,
                 state->last.index, state->durable_index, state->committed_index, last,
                 state->operations_waiting, state->requests_waiting, state->serves_reads);
        return false;
    }
    if (machine->disk.position.index != last || machine->disk.position.view != end.view) {
        snprintf(why, why_size, "the store of %s is at %" PRIu64 " of %" PRIu64, machine->name,
                 machine->disk.position.index, last);
        return false;
    }
    return check_order_content(world, machine, true, why, why_size) &&
           check_memory(world, machine, why, why_size);
}

bool check_converged(struct world *world, char *why, size_t why_size)
{
    const struct view_note *view = world_newest_view(world);
    if (view == NULL) {
        snprintf(why, why_size, "there is no view");
        return false;
    }
    if (!check_members(world, view, why, why_size)) {
        return false;
    }
    uint64_t digest = 0;
    const struct machine *primary = world_primary(world);
    if (primary == NULL) {
        snprintf(why, why_size, "view %" PRIu64 " has no primary", view->number);
        return false;
    }
    for (uint32_t i = 0; i < world->machines_len; i++) {
        const struct machine *machine = &world->machines[i];
        if (!world_is_replica(machine)) {
            continue;
        }
        if (!check_machine(world, machine, view, primary->state.last, why, why_size)) {
            return false;
        }
        if (machine->node_id == view->primary) {
            digest = machine->state.digest;
        }
    }
    for (uint32_t i = 0; i < world->machines_len; i++) {
        const struct machine *machine = &world->machines[i];
        if (world_is_replica(machine) && machine->state.digest != digest) {
            snprintf(why, why_size, "%s has another digest than the primary", machine->name);
            return false;
        }
    }
    return true;
}

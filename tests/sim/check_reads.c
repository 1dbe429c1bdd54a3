#include "check.h"

#include "logic/record.h"

#include <inttypes.h>
#include <string.h>

/* Is it the key's value in a state that was the committed one during this step? */
static bool value_was_committed(struct world *world, const struct machine *machine, uint32_t key,
                                const void *value, size_t len, bool found)
{
    const struct model *model = &world->model;
    uint64_t first = machine->previous.committed_index;
    uint32_t id = world_committed(world, machine);
    if (machine->previous.role != machine->state.role ||
        machine->previous.view != machine->state.view || id == UNKNOWN ||
        first > model_index(model, id)) {
        first = machine->state.committed_index;
    }
    while (id != UNKNOWN && !model_value_is(model, id, key, value, len, found)) {
        id = model_index(model, id) <= first ? UNKNOWN : model->records[id].parent;
    }
    return id != UNKNOWN;
}

/* What was shown once in a process is never taken back by it; and what is durable everywhere not by
 * a later process of that machine either. */
static void check_forward(struct world *world, struct machine *machine, const struct pending *asked)
{
    struct model *model = &world->model;
    const struct operation *op = &world->ops[asked->op];
    uint32_t id = world_committed(world, machine);
    if (id == UNKNOWN || !model_is_before(model, machine->shown, id)) {
        world_fail(world, "G7 reads",
                   "%s answers request %" PRIu64 " from %" PRIu64 ", and has shown (%" PRIu64
                   ", %" PRIu64 ")",
                   machine->name, op->request, machine->state.committed_index,
                   model->records[machine->shown].position.view,
                   model_index(model, machine->shown));
        return;
    }
    machine->shown = id;
    if (machine->state.role == ROLE_PRIMARY) {
        check_durable_on_committed(world, machine, machine->state.committed_index);
    }
    if (!op->at_primary) {
        return;
    }
    bool is_lost = !model_is_before(model, asked->settled, model->committed);
    if (machine->state.role != ROLE_PRIMARY ||
        (!is_lost && !model_is_before(model, asked->settled, id))) {
        world_fail(world, "G6 linearizable",
                   "%s answers request %" PRIu64 " from %" PRIu64 "; when it came, (%" PRIu64
                   ", %" PRIu64 ") was acknowledged, or shown by a primary",
                   machine->name, op->request, machine->state.committed_index,
                   model->records[asked->settled].position.view,
                   model_index(model, asked->settled));
        return;
    }
    if (model_is_before(model, world->settled, id)) {
        world->settled = id;
    }
}

void check_reads_on_get(struct world *world, struct machine *machine, const struct pending *pending,
                        const struct message *message)
{
    const struct operation *asked = &world->ops[pending->op];
    bool found = message->body.get_result.found != 0;
    check_forward(world, machine, pending);
    if (!value_was_committed(world, machine, asked->key, message->body.get_result.value.at,
                             message->body.get_result.value.len, found)) {
        world_fail(world, "G7 reads",
                   "%s answers Get %" PRIu64 " with what is not the committed value at %" PRIu64,
                   machine->name, asked->request, machine->state.committed_index);
    }
    if (machine->state.committed_index < asked->min_index) {
        world_fail(world, "G7 reads", "%s, at %" PRIu64 ", answers a Get that wants %" PRIu64,
                   machine->name, machine->state.committed_index, asked->min_index);
    }
    if (message->body.get_result.position.index > machine->state.committed_index) {
        world_fail(world, "G7 reads", "%s gives a position that is not committed", machine->name);
    }
}

void check_reads_on_scan(struct world *world, struct machine *machine,
                         const struct pending *pending, const struct message *message)
{
    check_forward(world, machine, pending);
    struct bytes_reader reader = bytes_reader_init(message->body.scan_result.records.at,
                                                   message->body.scan_result.records.len);
    struct kv_record record;
    uint32_t count = 0;
    while (reader.left > 0 && record_decode(&reader, &record)) {
        count++;
        uint32_t key = model_key(&world->model, record.key, record.key_len);
        if (record.kind != KV_RECORD_INSERT ||
            !value_was_committed(world, machine, key, record.value, record.value_len, true)) {
            world_fail(world, "G7 reads", "%s scans what is not the committed value at %" PRIu64,
                       machine->name, machine->state.committed_index);
            return;
        }
    }
    if (reader.failed || count != message->body.scan_result.count) {
        world_fail(world, "G7 reads", "%s: a scan's answer is not %u whole records", machine->name,
                   message->body.scan_result.count);
    }
    if (world->ops[pending->op].counted) {
        world->scan_found += count;
    }
}

void check_reads_on_ready(struct world *world, struct machine *machine)
{
    if (machine->state.role != ROLE_ARBITER && !machine->state.serves_reads) {
        world_fail(world, "G7 reads", "%s, %s, is ready and answers no reads yet", machine->name,
                   message_role_name(machine->state.role));
    }
}

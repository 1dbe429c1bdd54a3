#include "check.h"

#include "logic/record.h"

#include <inttypes.h>
#include <string.h>

/* Is it the key's value in a state that was the committed one during this step? */
static bool value_was_committed(struct world *world, const struct machine *machine, uint32_t key,
                                const void *value, size_t len, bool found)
{
    uint64_t first = machine->previous.committed_index;
    uint64_t last = machine->state.committed_index;
    if (machine->previous.role != machine->state.role || last < first) {
        first = last;
    }
    for (uint64_t index = first; index <= last; index++) {
        if (model_value_is(&world->model, index, key, value, len, found)) {
            return true;
        }
    }
    return false;
}

void check_reads_on_get(struct world *world, struct machine *machine, uint32_t op,
                        const struct message *message)
{
    const struct operation *asked = &world->ops[op];
    bool found = message->body.get_result.found != 0;
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
    if (message->body.get_result.position.index > machine->state.committed_index &&
        message->body.get_result.position.view >= world->model.floor_view) {
        world_fail(world, "G7 reads", "%s gives a position that is not committed", machine->name);
    }
}

void check_reads_on_scan(struct world *world, struct machine *machine, uint32_t op,
                         const struct message *message)
{
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
    if (world->ops[op].counted) {
        world->scan_found += count;
    }
}

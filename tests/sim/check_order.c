#include "check.h"

#include "logic/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Is what this machine stores now a continuation of the log? Not while its content is replaced:
 * that is, before the arbiter has called it in sync, and while it compares. */
static bool is_continuing(struct world *world, const struct machine *machine)
{
    if (machine->state.role == ROLE_JOINING || machine->comparing) {
        return false; /* it has gone by itself: the arbiter does not know yet */
    }
    return world_is_in_sync(world_newest_view(world), machine);
}

void check_order_on_append(struct world *world, struct machine *machine)
{
    struct kv_position last = machine->state.last;
    if (machine->state.role == ROLE_PRIMARY && last.index > machine->previous.last.index &&
        !model_begin(&world->model, last.view, machine->epoch, machine->previous.last)) {
        world_fail(world, "G2 ordered",
                   "%s appends (%" PRIu64 ", %" PRIu64 ") after (%" PRIu64 ", %" PRIu64
                   "): another process has appended in that view",
                   machine->name, last.view, last.index, machine->previous.last.view,
                   machine->previous.last.index);
    }
}

/* The record's number, or UNKNOWN after a failure. Not continuing: the machine's content is being
 * replaced; then a record is only learnt if it is new, as what a primary did not hand over before
 * its place was taken. */
static uint32_t order_learn(struct world *world, const struct machine *machine,
                            const struct kv_record *record, bool continuing)
{
    uint32_t id = UNKNOWN;
    enum model_result result = model_learn(&world->model, record, machine->epoch, &id);
    if (result == MODEL_NEW && record->client == 0) {
        check_undone_on_record(world, id);
    } else if (result == MODEL_NEW) {
        check_answers_on_record(world, record, id);
    } else if (result != MODEL_KNOWN && continuing) {
        world_fail(world, "G2 ordered", "%s has (%" PRIu64 ", %" PRIu64 "), %s", machine->name,
                   record->position.view, record->position.index,
                   result == MODEL_GAP ? "which nobody has appended"
                                       : "which is another record elsewhere");
        return UNKNOWN;
    }
    return id;
}

void check_order_on_send(struct world *world, struct machine *machine,
                         const struct message *message)
{
    struct bytes_reader reader =
        bytes_reader_init(message->body.snapshot.records.at, message->body.snapshot.records.len);
    struct kv_record record;
    uint32_t last = UNKNOWN;
    while (reader.left > 0 && record_decode(&reader, &record)) {
        uint32_t id = order_learn(world, machine, &record, true);
        if (id != UNKNOWN && last != UNKNOWN && world->model.records[id].parent != last) {
            world_fail(world, "G2 ordered",
                       "%s sends (%" PRIu64 ", %" PRIu64 ") after another record than it follows",
                       machine->name, record.position.view, record.position.index);
        }
        last = id;
    }
    check_durable_on_committed(world, machine, message->body.snapshot.committed);
}

void check_order_on_batch(struct world *world, struct machine *machine)
{
    const struct disk_job *job = &machine->disk.job;
    bool continuing = is_continuing(world, machine);
    struct bytes_reader reader = bytes_reader_init(job->bytes, job->len);
    struct kv_record record;
    struct kv_position last = machine->disk.position;
    uint32_t count = 0;
    while (reader.left > 0 && record_decode(&reader, &record)) {
        count++;
        uint32_t id = order_learn(world, machine, &record, continuing);
        uint32_t before = model_find(&world->model, last);
        /* A new primary hands over once more what it has inherited. */
        if (continuing && id != UNKNOWN &&
            !model_is_before(&world->model, world->model.records[id].parent, before)) {
            world_fail(world, "G2 ordered",
                       "%s stores (%" PRIu64 ", %" PRIu64 ") after (%" PRIu64 ", %" PRIu64
                       "): a gap, a swap or a fork",
                       machine->name, record.position.view, record.position.index, last.view,
                       last.index);
        }
        last = record.position;
    }
    if (reader.failed || count != job->records_len) {
        world_fail(world, "persist", "%s: batch %" PRIu64 " is not %u whole records", machine->name,
                   job->batch, job->records_len);
    }
    /* A new primary's first batch says, without a record, that the store is a primary's. */
    bool is_mark = count == 0 && last.view == 0 && last.index == 0 && job->position.index == 0;
    if (continuing && !is_mark &&
        (last.index != job->position.index || last.view != job->position.view)) {
        world_fail(world, "G2 ordered",
                   "%s: batch %" PRIu64 " ends with (%" PRIu64 ", %" PRIu64 ") and says (%" PRIu64
                   ", %" PRIu64 ")",
                   machine->name, job->batch, last.view, last.index, job->position.view,
                   job->position.index);
    }
    check_bounds_on_batch(world, machine);
}

bool check_order_content(struct world *world, const struct machine *machine, bool strict, char *why,
                         size_t why_size)
{
    const struct disk *disk = &machine->disk;
    uint64_t index = disk->position.index;
    uint32_t id = model_find(&world->model, disk->position);
    if (id == UNKNOWN) {
        snprintf(why, why_size, "the store of %s is at (%" PRIu64 ", %" PRIu64 "), nobody else was",
                 machine->name, disk->position.view, index);
        return false;
    }
    static const struct disk_entry absent;
    for (uint32_t key = 0; key < world->model.keys_len; key++) {
        const struct disk_entry *entry = key < disk->entries_len ? &disk->entries[key] : &absent;
        bool excused = !strict && (entry->refused != 0 ||
                                   position_compare(entry->position, disk->position) > 0);
        if (!excused && !model_value_is(&world->model, id, key, entry->value, entry->value_len,
                                        entry->present)) {
            snprintf(why, why_size,
                     "the store of %s at (%" PRIu64 ", %" PRIu64 "): key %.*s %s (from (%" PRIu64
                     ", %" PRIu64 ")) differs",
                     machine->name, disk->position.view, index,
                     (int)(world->model.keys[key].len > 40 ? 40 : world->model.keys[key].len),
                     (const char *)world->model.keys[key].bytes,
                     entry->present ? "is there and" : "is absent and", entry->position.view,
                     entry->position.index);
            return false;
        }
    }
    return true;
}

void check_order_on_stored(struct world *world, struct machine *machine, struct kv_position before)
{
    struct kv_position now = machine->disk.position;
    if (now.index == 0 && now.view == 0) {
        return; /* a transfer is going on */
    }
    if (is_continuing(world, machine)) {
        if (now.index < before.index) {
            world_fail(world, "G2 ordered",
                       "the store of %s goes back from %" PRIu64 " to %" PRIu64, machine->name,
                       before.index, now.index);
        }
        return;
    }
    char why[256];
    if (now.index > 0 && !machine->comparing &&
        !check_order_content(world, machine, false, why, sizeof(why))) {
        world_fail(world, "G2 ordered", "after a transfer: %s", why);
    }
}

void check_order_on_complete(struct world *world, struct machine *machine)
{
    char why[256];
    bool was_comparing = machine->comparing;
    if (machine->disk.mixed && machine->compared_index == 0) {
        /* It calls itself complete while it still compares, and what it has found is in its store
         * when that has reached the next record. */
        machine->compared_index = machine->state.serves_reads ? machine->state.last.index + 1 : 0;
        return;
    }
    if (machine->disk.mixed && machine->disk.position.index < machine->compared_index) {
        return;
    }
    machine->comparing = false;
    machine->disk.mixed = false;
    if (was_comparing && !check_order_content(world, machine, false, why, sizeof(why))) {
        world_fail(world, "G2 ordered", "after comparing: %s", why);
    }
}

void check_order_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    if (!state->serves_reads || state->role == ROLE_JOINING || state->role == ROLE_ARBITER) {
        return;
    }
    uint32_t id = world_committed(world, machine);
    if (id == UNKNOWN || !model_digest_is(&world->model, id, state->digest, state->keys)) {
        world_fail(world, "G2 ordered",
                   "%s, %s, shows %" PRIu64 " keys, digest %016" PRIx64
                   " at committed index %" PRIu64 "; that state is another one",
                   machine->name, message_role_name(state->role), state->keys, state->digest,
                   state->committed_index);
    }
    if (state->role == machine->previous.role && state->view == machine->previous.view &&
        state->committed_index < machine->previous.committed_index) {
        world_fail(world, "G7 reads",
                   "the committed index of %s goes back from %" PRIu64 " to %" PRIu64,
                   machine->name, machine->previous.committed_index, state->committed_index);
    }
}

#include "check.h"

#include "logic/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Is what this machine stores now a continuation of the log? Not while its content is replaced:
 * that is, before the arbiter has called it in sync. */
static bool is_continuing(struct world *world, const struct machine *machine)
{
    if (machine->state.role == ROLE_JOINING) {
        return false; /* it has gone by itself: the arbiter does not know yet */
    }
    const struct view_note *view = world_newest_view(world);
    for (uint32_t i = 0; view != NULL && i < view->members_len; i++) {
        if (view->nodes[i] == machine->node_id) {
            return view->states[i] == MEMBER_IN_SYNC;
        }
    }
    return false;
}

static void order_learn(struct world *world, const struct machine *machine,
                        const struct kv_record *record, bool continuing)
{
    struct model *model = &world->model;
    if (!continuing && (record->position.index != model_last(model) + 1 ||
                        record->position.view < model->floor_view)) {
        return; /* a transfer repeats and reorders what is known */
    }
    enum model_result result = model_learn(model, record);
    if (result == MODEL_NEW && record->client == 0) {
        check_undone_on_record(world, record);
    } else if (result == MODEL_NEW) {
        check_answers_on_record(world, record);
    } else if (result != MODEL_KNOWN) {
        world_fail(world, "G2 ordered", "%s stores (%" PRIu64 ", %" PRIu64 "), %s", machine->name,
                   record->position.view, record->position.index,
                   result == MODEL_GAP ? "and nobody has seen the one before it"
                                       : "which is another record elsewhere");
    }
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
        bool first = count++ == 0;
        order_learn(world, machine, &record, continuing);
        if (continuing && (first ? record.position.index > last.index + 1
                                 : record.position.index != last.index + 1)) {
            world_fail(world, "G2 ordered",
                       "%s stores index %" PRIu64 " after %" PRIu64 ": a gap or a swap",
                       machine->name, record.position.index, last.index);
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
    if (index > model_last(&world->model)) {
        snprintf(why, why_size, "the store of %s is at %" PRIu64 ", the line ends at %" PRIu64,
                 machine->name, index, model_last(&world->model));
        return false;
    }
    static const struct disk_entry absent;
    for (uint32_t key = 0; key < world->model.keys_len; key++) {
        const struct disk_entry *entry = key < disk->entries_len ? &disk->entries[key] : &absent;
        bool excused = !strict && entry->refused != 0;
        if (!excused && !model_value_is(&world->model, index, key, entry->value, entry->value_len,
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
    bool old_line = now.index > model_last(&world->model) ||
                    model_position(&world->model, now.index).view != now.view;
    if (now.index > 0 && !old_line &&
        !check_order_content(world, machine, false, why, sizeof(why))) {
        world_fail(world, "G2 ordered", "after a transfer: %s", why);
    }
}

void check_order_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    if (!state->serves_reads || state->role == ROLE_JOINING || state->role == ROLE_ARBITER) {
        return;
    }
    if (!model_digest_is(&world->model, state->committed_index, state->digest, state->keys)) {
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

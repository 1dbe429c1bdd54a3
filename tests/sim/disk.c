#include "disk.h"

#include "check.h"
#include "registry_view.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "logic/record.h"
#include "logic/view.h"

#include <inttypes.h>
#include <string.h>

void disk_job_close(struct disk_job *job)
{
    alloc_free(job->bytes);
    alloc_free(job->refusals);
    memset(job, 0, sizeof(*job));
}

void disk_close(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->entries_len; i++) {
        alloc_free(disk->entries[i].value);
    }
    alloc_free(disk->entries);
    alloc_free(disk->registry);
    alloc_free(disk->registry_next);
    disk_job_close(&disk->job);
    memset(disk, 0, sizeof(*disk));
}

static uint64_t slices_hash(const struct kv_slice *slices, uint32_t slices_len)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        hash = hash_bytes_seeded(hash, slices[i].bytes, slices[i].len);
    }
    return hash;
}

static void disk_draw(struct world *world, struct machine *machine)
{
    struct disk *disk = &machine->disk;
    uint64_t delay_us = world_draw(world, world->plan.disk_min_us, world->plan.disk_max_us);
    if (disk->slow_us > 0) {
        delay_us += world_draw(world, 0, disk->slow_us);
    }
    disk->job.outcome = DISK_STORED;
    if (disk->fail_left > 0) {
        disk->fail_left--;
        disk->job.outcome = DISK_FAILED;
        if (disk->fail_unknown) {
            bool whole = world->plan.disk_atomic || rand_percent(&world->rand, 50);
            disk->job.outcome = whole ? DISK_UNKNOWN : DISK_PART;
        }
    }
    delay_us += disk->hang_us;
    disk->hang_us = 0;
    disk->job.serial = world->next_serial++;
    heap_push(&world->heap, world->now_us + delay_us, WAKE_DISK, machine->index, disk->job.serial,
              NULL);
}

void disk_persist(struct world *world, struct machine *machine, const struct effect *effect)
{
    struct disk_job *job = &machine->disk.job;
    if (job->serial != 0) {
        world_fail(world, "persist",
                   "%s hands over batch %" PRIu64 " while %" PRIu64 " is in flight", machine->name,
                   effect->as.persist.batch, job->batch);
        return;
    }
    if (!machine->loaded) {
        world_fail(world, "persist", "%s persists before its store is loaded", machine->name);
        return;
    }
    job->batch = effect->as.persist.batch;
    job->position = effect->as.persist.position;
    job->slices = effect->as.persist.slices;
    job->slices_len = effect->as.persist.slices_len;
    job->records_len = effect->as.persist.records_len;
    job->hash = slices_hash(job->slices, job->slices_len);
    size_t len = 0;
    for (uint32_t i = 0; i < job->slices_len; i++) {
        len += job->slices[i].len;
    }
    job->bytes = alloc_bytes(len);
    job->len = 0;
    for (uint32_t i = 0; i < job->slices_len; i++) {
        if (job->slices[i].len > 0) {
            memcpy(job->bytes + job->len, job->slices[i].bytes, job->slices[i].len);
        }
        job->len += job->slices[i].len;
    }
    if (len != effect->as.persist.bytes) {
        world_fail(world, "persist", "%s: batch %" PRIu64 " says %" PRIu64 " bytes and has %zu",
                   machine->name, job->batch, effect->as.persist.bytes, len);
    }
    check_order_on_batch(world, machine);
    disk_draw(world, machine);
}

static struct disk_entry *disk_entry(struct disk *disk, uint32_t key)
{
    if (key >= disk->entries_len) {
        disk->entries = alloc_resize(disk->entries, (key + 1) * sizeof(*disk->entries));
        memset(disk->entries + disk->entries_len, 0,
               (key + 1 - disk->entries_len) * sizeof(*disk->entries));
        disk->entries_len = key + 1;
    }
    return &disk->entries[key];
}

/* By what is in the record, so that a repeat is refused again. The empty value is always taken, and
 * so is a key's removal now and then, as in a store with constraints. */
static bool disk_refuses(const struct kv_record *record, uint32_t refuse_percent, uint64_t salt)
{
    if (refuse_percent == 0 || (record->kind == KV_RECORD_INSERT && record->value_len == 0)) {
        return false;
    }
    uint64_t hash = hash_bytes_seeded(salt + record->kind, record->key, record->key_len);
    hash = hash_bytes_seeded(hash, record->value, record->value_len);
    uint32_t percent = record->kind == KV_RECORD_REMOVE ? refuse_percent / 2 : refuse_percent;
    return hash % 100 < percent;
}

/* By the stores' rule, or by this one's own for the time being. */
static bool disk_takes(struct world *world, const struct machine *machine,
                       const struct kv_record *record)
{
    const struct disk *disk = &machine->disk;
    bool breaks_rule = record->kind == KV_RECORD_INSERT &&
                       disk_refuses(record, world->plan.refuse_percent, world->seed);
    return !breaks_rule && !disk_refuses(record, disk->refuse_percent, disk->refuse_salt);
}

/* Notes that the record with this number in the job is refused. */
static void disk_refuse(struct world *world, struct machine *machine, uint32_t number,
                        const struct kv_record *record)
{
    struct disk_job *job = &machine->disk.job;
    job->refusals = alloc_resize(job->refusals, (job->refusals_len + 1) * sizeof(*job->refusals));
    job->refusals[job->refusals_len].record = number;
    job->refusals[job->refusals_len].reason = "the simulated store refuses it";
    job->refusals_len++;
    struct disk_entry *entry =
        disk_entry(&machine->disk, model_key(&world->model, record->key, record->key_len));
    entry->refused = record->position.index;
    check_undone_on_refused(world, machine, record);
}

static void disk_store(struct world *world, struct machine *machine, const struct kv_record *record)
{
    struct disk_entry *entry =
        disk_entry(&machine->disk, model_key(&world->model, record->key, record->key_len));
    check_undone_on_stored(world, machine, record);
    alloc_free(entry->value);
    memset(entry, 0, sizeof(*entry));
    entry->position = record->position;
    if (record->kind == KV_RECORD_INSERT) {
        entry->present = true;
        entry->value = (uint8_t *)alloc_string(record->value, record->value_len);
        entry->value_len = record->value_len;
    }
}

/* Stores the first records of the job. */
static void disk_store_first(struct world *world, struct machine *machine, uint32_t count)
{
    struct disk_job *job = &machine->disk.job;
    struct bytes_reader reader = bytes_reader_init(job->bytes, job->len);
    struct kv_record record;
    for (uint32_t i = 0; i < count && record_decode(&reader, &record); i++) {
        if (disk_takes(world, machine, &record)) {
            disk_store(world, machine, &record);
        } else {
            disk_refuse(world, machine, i, &record);
        }
    }
}

/* Stores a part of the job, as a store without atomic batches may. Of a repeat of what it has
 * reached already it changes nothing: persist.h asks for that. */
static void disk_store_part(struct world *world, struct machine *machine, uint32_t count)
{
    const struct disk *disk = &machine->disk;
    bool is_repeat =
        disk->job.position.index != 0 && position_compare(disk->position, disk->job.position) >= 0;
    if (!is_repeat) {
        disk_store_first(world, machine, count);
    }
}

/* Stores the whole job and the position it reaches. */
static void disk_store_all(struct world *world, struct machine *machine)
{
    struct kv_position before = machine->disk.position;
    disk_store_first(world, machine, machine->disk.job.records_len);
    machine->disk.position = machine->disk.job.position;
    machine->disk.lost = machine->disk.lost && machine->disk.position.view == 0;
    check_order_on_stored(world, machine, before);
}

bool disk_finish(struct world *world, struct machine *machine)
{
    struct disk_job *job = &machine->disk.job;
    if (slices_hash(job->slices, job->slices_len) != job->hash) {
        world_fail(world, "persist", "%s: batch %" PRIu64 " changed while it was being written",
                   machine->name, job->batch);
    }
    if (job->outcome == DISK_PART) {
        disk_store_part(world, machine, (uint32_t)world_draw(world, 0, job->records_len));
    } else if (job->outcome != DISK_FAILED) {
        disk_store_all(world, machine);
    }
    return job->outcome == DISK_STORED;
}

void disk_crash(struct world *world, struct machine *machine)
{
    struct disk *disk = &machine->disk;
    if (disk->job.serial != 0) {
        uint64_t luck = rand_below(&world->rand, 3);
        if (luck == 0) {
            disk_store_all(world, machine);
        } else if (luck == 1 && !world->plan.disk_atomic) {
            uint64_t count = world_draw(world, 0, disk->job.records_len);
            disk_store_part(world, machine, (uint32_t)count);
        }
        disk_job_close(&disk->job);
    }
    if (disk->registry_serial != 0) {
        disk->registry_outcome = rand_percent(&world->rand, 50) ? DISK_STORED : DISK_FAILED;
        disk_registry_finish(world, machine);
    }
}

void disk_registry_write(struct world *world, struct machine *machine, const struct effect *effect)
{
    struct disk *disk = &machine->disk;
    if (disk->registry_serial != 0) {
        world_fail(world, "registry", "%s writes its registry twice at once", machine->name);
        return;
    }
    disk->registry_next =
        (uint8_t *)alloc_string(effect->as.registry_write.bytes, effect->as.registry_write.len);
    disk->registry_next_len = effect->as.registry_write.len;
    disk->registry_next_number = effect->as.registry_write.number;
    disk->registry_expected = effect->as.registry_write.expected;
    if (disk->registry_next_number <= disk->registry_expected) {
        world_fail(world, "view", "the arbiter writes view %" PRIu64 " in the place of %" PRIu64,
                   disk->registry_next_number, disk->registry_expected);
    }
    disk->registry_outcome = DISK_STORED;
    if (disk->registry_fail_left > 0) {
        disk->registry_fail_left--;
        disk->registry_outcome = rand_percent(&world->rand, 50) ? DISK_FAILED : DISK_UNKNOWN;
    }
    disk->registry_serial = world->next_serial++;
    uint64_t delay_us = world_draw(world, world->plan.disk_min_us, world->plan.disk_max_us) +
                        world_draw(world, 0, disk->registry_slow_us);
    heap_push(&world->heap, world->now_us + delay_us, WAKE_REGISTRY, machine->index,
              disk->registry_serial, NULL);
}

static bool registry_is_next(const struct disk *disk)
{
    return disk->registry_len == disk->registry_next_len &&
           memcmp(disk->registry, disk->registry_next, disk->registry_len) == 0;
}

enum disk_outcome disk_registry_finish(struct world *world, struct machine *machine)
{
    struct disk *disk = &machine->disk;
    enum disk_outcome outcome = disk->registry_outcome;
    if (outcome != DISK_FAILED && disk->registry_expected != disk->registry_number &&
        !registry_is_next(disk)) {
        outcome = DISK_CHANGED;
    }
    if (outcome == DISK_FAILED || outcome == DISK_CHANGED) {
        alloc_free(disk->registry_next);
    } else {
        alloc_free(disk->registry);
        disk->registry = disk->registry_next;
        disk->registry_len = disk->registry_next_len;
        disk->registry_number = disk->registry_next_number;
        registry_view_note(world, disk->registry, disk->registry_len);
    }
    disk->registry_next = NULL;
    disk->registry_serial = 0;
    return outcome;
}

bool disk_registry_meddle(struct world *world, struct machine *machine)
{
    struct disk *disk = &machine->disk;
    struct view *view = alloc_zeroed(1, sizeof(*view));
    bool is_view =
        disk->registry_len > 0 && view_decode(disk->registry, disk->registry_len, view) == KV_OK;
    if (is_view) {
        view->number++;
        uint8_t *bytes = alloc_bytes(VIEW_BYTES_MAX);
        struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
        view_encode(view, &writer);
        alloc_free(disk->registry);
        disk->registry = bytes;
        disk->registry_len = writer.len;
        disk->registry_number = view->number;
        registry_view_note(world, disk->registry, disk->registry_len);
    }
    alloc_free(view);
    return is_view;
}

void disk_copy(struct disk *to, const struct disk *from)
{
    disk_close(to);
    to->entries = alloc_zeroed(from->entries_len + 1, sizeof(*to->entries));
    to->entries_len = from->entries_len;
    for (uint32_t i = 0; i < from->entries_len; i++) {
        to->entries[i] = from->entries[i];
        if (from->entries[i].value != NULL) {
            to->entries[i].value = (uint8_t *)alloc_string((const char *)from->entries[i].value,
                                                           from->entries[i].value_len);
        }
    }
    to->position = from->position;
    to->lost = from->lost;
    to->mixed = from->mixed;
    to->cluster = from->cluster;
    to->starts = from->starts;
}

void disk_lose(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->entries_len; i++) {
        alloc_free(disk->entries[i].value);
    }
    alloc_free(disk->entries);
    disk->entries = NULL;
    disk->entries_len = 0;
    disk->position = (struct kv_position){0, 0};
    disk->lost = true;
    disk->mixed = false;
}

void disk_repair(struct world *world, struct machine *machine)
{
    struct disk *disk = &machine->disk;
    const struct model *model = &world->model;
    uint32_t id = model_find(model, disk->position);
    disk->mixed = false;
    if (disk->position.index == 0 || id == UNKNOWN) {
        return;
    }
    for (uint32_t key = 0; key < model->keys_len; key++) {
        const struct model_record *record = &model->records[model_at(model, id, key)];
        struct disk_entry *entry = disk_entry(disk, key);
        alloc_free(entry->value);
        memset(entry, 0, sizeof(*entry));
        entry->position = record->position;
        if (record->kind == KV_RECORD_INSERT) {
            entry->present = true;
            entry->value = (uint8_t *)alloc_string((const char *)record->value, record->value_len);
            entry->value_len = record->value_len;
        }
    }
}

uint8_t *disk_content(struct world *world, const struct machine *machine, size_t *ret_len)
{
    const struct disk *disk = &machine->disk;
    uint8_t *bytes = NULL;
    size_t len = 0;
    uint32_t first =
        disk->entries_len == 0 ? 0 : (uint32_t)world_draw(world, 0, disk->entries_len - 1);
    for (uint32_t i = 0; i < disk->entries_len; i++) {
        uint32_t key = (first + i) % disk->entries_len;
        const struct disk_entry *entry = &disk->entries[key];
        bool removal = !entry->present && entry->position.index != 0;
        if (!entry->present && !(removal && world->plan.disk_tombstones)) {
            continue;
        }
        struct kv_record record = {.key = world->model.keys[key].bytes,
                                   .key_len = world->model.keys[key].len,
                                   .kind = removal ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                                   .value = entry->value,
                                   .value_len = entry->value_len,
                                   .position = entry->position};
        size_t size = record_size(&record);
        bytes = alloc_resize(bytes, len + size);
        record_encode(&record, bytes + len);
        len += size;
    }
    *ret_len = len;
    return bytes;
}

/*
 * What comes again. The node repeats a batch whose outcome it does not know, and after a restart
 * records may come that the store has, together with newer ones.
 */
#include "cases.h"
#include "workload.h"

#define REPEAT_BATCHES 8u

static void repeat_at_once(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_insert(store, "b", "x");
    kit_remove(store, "b");
    kit_apply(store);
    kit_apply_batch(store, &store->last, true);
    kit_apply_batch(store, &store->last, true);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void repeat_after_reopening(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_apply(store);
    kit_remove(store, "a");
    kit_insert(store, "b", "y");
    kit_apply(store);
    kit_reopen(store);
    kit_apply_batch(store, &store->last, true);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

/* Batches 0 to REPEAT_BATCHES - 1 of the workload, applied. */
static void repeat_fill(struct kit_store *store, struct batch *batches)
{
    struct workload workload;
    workload_init(&workload, store->kit->request->seed);
    for (uint32_t i = 0; i < REPEAT_BATCHES; i++) {
        workload_next(&workload, &batches[i]);
        kit_apply_batch(store, &batches[i], false);
    }
}

static void repeat_older_ones(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    struct batch batches[REPEAT_BATCHES];
    repeat_fill(store, batches);
    kit_reopen(store);
    /* From the middle on: skipped or stored again, at the end all is as it was. */
    for (uint32_t i = REPEAT_BATCHES / 2; i < REPEAT_BATCHES; i++) {
        kit_apply_batch(store, &batches[i], true);
    }
    kit_reopen(store);
    kit_expect(store);
    for (uint32_t i = 0; i < REPEAT_BATCHES; i++) {
        batch_close(&batches[i]);
    }
    kit_end(store);
}

/* The records after `from` of all batches in one, and then new ones. */
static void repeat_overlapping(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    struct batch batches[REPEAT_BATCHES];
    struct batch overlap;
    repeat_fill(store, batches);
    kit_reopen(store);
    batch_init(&overlap, batches[REPEAT_BATCHES - 3].records[0].position);
    for (uint32_t i = REPEAT_BATCHES - 3; i < REPEAT_BATCHES; i++) {
        for (uint32_t j = 0; j < batches[i].count; j++) {
            const struct kv_record *record = &batches[i].records[j];
            batch_add(&overlap, record->kind, record->key, record->key_len, record->value,
                      record->value_len);
        }
    }
    batch_add(&overlap, KV_RECORD_INSERT, "key-00", 6, "new", 3);
    batch_add(&overlap, KV_RECORD_REMOVE, "key-01", 6, NULL, 0);
    batch_add(&overlap, KV_RECORD_INSERT, "another", 7, "new", 3);
    kit_apply_batch(store, &overlap, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&overlap);
    for (uint32_t i = 0; i < REPEAT_BATCHES; i++) {
        batch_close(&batches[i]);
    }
    kit_end(store);
}

static const struct check_case repeat_cases[] = {
    {"the same batch again changes nothing", repeat_at_once, 0, 0},
    {"the last batch again after reopening changes nothing", repeat_after_reopening, 0, 0},
    {"older batches again after reopening end where they had ended", repeat_older_ones, 0, 0},
    {"a batch of known and new records after reopening is stored", repeat_overlapping, 0, 0},
};

const struct check_group group_repeat = {"repeat", KV_KIND_PERSIST, CASES_OF(repeat_cases)};

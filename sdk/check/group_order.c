/* Records count in the order in which they are given. */
#include "cases.h"
#include "workload.h"

#include <stdio.h>

static void order_within_batch(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "first");
    kit_insert(store, "b", "only");
    kit_insert(store, "a", "second");
    kit_insert(store, "a", "third and last");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_across_batches(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    static const char *const values[] = {"one", "two", "three, longer", "4"};
    for (int i = 0; i < 4; i++) {
        kit_insert(store, "a", values[i]);
        kit_insert(store, i % 2 == 0 ? "even" : "odd", values[i]);
        kit_apply(store);
    }
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_removal_within_batch(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "ends removed", "x");
    kit_insert(store, "ends inserted", "x");
    kit_remove(store, "ends inserted");
    kit_remove(store, "ends removed");
    kit_insert(store, "ends inserted", "y");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_removal_across_batches(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_remove(store, "a");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_insert(store, "a", "again");
    kit_remove(store, "b");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_removal_of_absent(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_remove(store, "never there");
    kit_apply(store);
    kit_insert(store, "a", "x");
    kit_remove(store, "neither");
    kit_remove(store, "neither");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_keeps_positions(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key %d", i);
        kit_insert(store, key, "the same value");
    }
    kit_apply(store);
    kit_insert(store, "key 3", "the same value"); /* only its position is another */
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void order_random(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    struct workload workload;
    workload_init(&workload, kit->request->seed);
    for (int i = 0; i < 100; i++) {
        struct batch batch;
        workload_next(&workload, &batch);
        kit_apply_batch(store, &batch, false);
        batch_close(&batch);
        if (i % 20 == 19) {
            kit_reopen(store);
            kit_expect(store);
        }
    }
    kit_end(store);
}

static const struct check_case order_cases[] = {
    {"the last record of a key wins within a batch", order_within_batch, 0, CASE_CONTENT},
    {"the last record of a key wins across batches", order_across_batches, 0, CASE_CONTENT},
    {"insertions and removals of one key in one batch end as the last one says",
     order_removal_within_batch, 0, CASE_CONTENT},
    {"a removed key is gone, and can come again", order_removal_across_batches, 0, CASE_CONTENT},
    {"the removal of an absent key is no error", order_removal_of_absent, 0, 0},
    {"each key keeps the position that its record was applied with", order_keeps_positions, 0,
     CASE_CONTENT},
    {"a random history of 100 batches ends as it should", order_random, 0, 0},
};

const struct check_group group_order = {"order", KV_KIND_PERSIST, CASES_OF(order_cases)};

/* The position is kept with the data, through close and open and through another instance. */
#include "cases.h"
#include "workload.h"

static void reopen_position(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 5; i++) {
        kit_insert(store, "a", "x");
        kit_insert(store, "b", "x");
        kit_apply(store);
        kit_reopen(store);
    }
    kit_end(store);
}

static void reopen_only_position(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    struct batch nothing;
    kit_insert(store, "a", "x");
    kit_apply(store);
    /* The records up to 7 were refused or undone: there is nothing to store but the position. */
    batch_init(&nothing, (struct kv_position){1, 8});
    kit_apply_batch(store, &nothing, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&nothing);
    batch_init(&nothing, (struct kv_position){3, 10}); /* a new primary has begun */
    kit_apply_batch(store, &nothing, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&nothing);
    kit_end(store);
}

static void reopen_large_position(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    store->next = (struct kv_position){0x1122334455667788ull >> 1, 0x7edcba9876543210ull};
    kit_insert(store, "a", "x");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void reopen_incomplete(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 3; i++) {
        kit_insert(store, "old", "own content");
        kit_insert(store, "both", "own content");
        kit_apply(store);
    }
    /* Another node's content: its records are older, and it is not complete yet. */
    struct batch piece;
    batch_init(&piece, (struct kv_position){1, 2});
    batch_add(&piece, KV_RECORD_INSERT, "both", 4, "the other's", 11);
    batch_add(&piece, KV_RECORD_REMOVE, "old", 3, NULL, 0);
    piece.position = (struct kv_position){0, 0};
    kit_apply_batch(store, &piece, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&piece);
    batch_init(&piece, (struct kv_position){1, 1});
    batch_add(&piece, KV_RECORD_INSERT, "new", 3, "the other's", 11);
    piece.position = (struct kv_position){0, 0};
    kit_apply_batch(store, &piece, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&piece);
    /* Now it is. */
    batch_init(&piece, (struct kv_position){2, 31});
    kit_apply_batch(store, &piece, false);
    kit_reopen(store);
    kit_expect(store);
    batch_close(&piece);
    kit_end(store);
}

static void reopen_cycles(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 10; i++) {
        kit_insert(store, i % 2 == 0 ? "even" : "odd", "x");
        kit_apply(store);
        kit_reopen(store);
        kit_expect(store);
        kit_reopen(store); /* also when nothing was written in between */
    }
    kit_end(store);
}

static void reopen_instances(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    struct workload workload;
    workload_init(&workload, kit->request->seed);
    for (int i = 0; i < 10; i++) {
        struct batch batch;
        workload_next(&workload, &batch);
        kit_apply_batch(store, &batch, false);
        batch_close(&batch);
        kit_renew(store);
        kit_expect(store);
    }
    kit_end(store);
}

static const struct check_case reopen_cases[] = {
    {"open gives the position of the last batch", reopen_position, 0, 0},
    {"a batch without records moves the position alone", reopen_only_position, 0, 0},
    {"a position of large numbers is kept", reopen_large_position, 0, 0},
    {"a store whose content is being replaced is at (0, 0) until it is complete", reopen_incomplete,
     0, 0},
    {"the content is there after each of 10 times close and open", reopen_cycles, 0, 0},
    {"another instance finds position and content", reopen_instances, 0, CASE_PERMANENT},
};

const struct check_group group_reopen = {"reopen", KV_KIND_PERSIST, CASES_OF(reopen_cases)};

/* reset() makes a store as a new one. */
#include "cases.h"

static void reset_call(struct kit_store *store)
{
    int32_t status = store->kit->ops->reset(store->self);
    if (status != KV_OK) {
        kit_fail("reset(): expected KV_OK, found %s%s", kit_code(status), kit_log(store));
    }
    model_clear(&store->model);
    store->is_fresh = false; /* the node loads before it resets, never after */
    store->position = (struct kv_position){0, 0};
}

static void reset_full(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_reopen(store);
    reset_call(store);
    kit_expect(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void reset_twice(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    reset_call(store);
    reset_call(store);
    kit_insert(store, "a", "x");
    kit_apply(store);
    kit_reopen(store);
    reset_call(store);
    reset_call(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void reset_then_content(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "old", "x");
    kit_insert(store, "both", "x");
    kit_apply(store);
    kit_reopen(store);
    reset_call(store);
    store->next = (struct kv_position){1, 1}; /* also what is older than what was there */
    kit_insert(store, "both", "the other's");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static const struct check_case reset_cases[] = {
    {"reset forgets all records and the position", reset_full, KV_PERSIST_RESET, 0},
    {"reset of an empty store, and twice, is no error", reset_twice, KV_PERSIST_RESET, 0},
    {"after reset another content is taken", reset_then_content, KV_PERSIST_RESET, 0},
};

const struct check_group group_reset = {"reset", KV_KIND_PERSIST, CASES_OF(reset_cases)};

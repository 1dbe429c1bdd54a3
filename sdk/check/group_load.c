/* load() gives the content back, and stops when it is told to. */
#include "cases.h"

#include <inttypes.h>

static void load_after_apply(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "kept", "x");
    kit_insert(store, "changed", "x");
    kit_insert(store, "removed", "x");
    kit_apply(store);
    kit_insert(store, "changed", "y");
    kit_remove(store, "removed");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void load_changes_nothing(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_apply(store);
    for (int i = 0; i < 3; i++) {
        kit_reopen(store);
        kit_expect(store);
    }
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

/* An emit() that says stop at the third record. */
struct load_stop {
    uint32_t calls;
    int32_t code;
};

static int32_t load_emit_stop(void *ctx, const struct kv_record *record)
{
    struct load_stop *stop = ctx;
    (void)record;
    stop->calls++;
    return stop->calls < 3 ? KV_OK : stop->code;
}

static void load_stops(struct kit *kit)
{
    static const int32_t codes[] = {KV_E_CLOSED, KV_E_NOMEM, KV_E_CONTRACT};
    struct kit_store *store = kit_new(kit);
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    for (int i = 0; i < 6; i++) {
        kit_insert(store, keys[i], "x");
    }
    kit_apply(store);
    for (int i = 0; i < 3; i++) {
        struct load_stop stop = {0, codes[i]};
        kit_reopen(store);
        int32_t status = kit->ops->load(store->self, load_emit_stop, &stop);
        if (stop.calls != 3) {
            kit_fail(
                "load(): expected emit called 3 times, because the third call returned a code, "
                "found %" PRIu32 " calls",
                stop.calls);
        }
        if (status != codes[i]) {
            kit_fail("load(): expected the %" PRId32 " that emit returned, found %s", codes[i],
                     kit_code(status));
        }
    }
    kit_reopen(store); /* and no harm is done */
    kit_expect(store);
    kit_end(store);
}

static void load_not_called(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_apply(store); /* without load() before it, as when the content is replaced anyway */
    kit_reopen(store);
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static const struct check_case load_cases[] = {
    {"load gives back what was applied", load_after_apply, KV_PERSIST_LOAD, 0},
    {"load changes nothing", load_changes_nothing, KV_PERSIST_LOAD, 0},
    {"load stops at a code of emit and returns it", load_stops, KV_PERSIST_LOAD, 0},
    {"apply works without load before it", load_not_called, KV_PERSIST_LOAD, 0},
};

const struct check_group group_load = {"load", KV_KIND_PERSIST, CASES_OF(load_cases)};

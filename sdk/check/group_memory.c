/* Memory: what is borrowed is not kept, what is allocated is checked, given back and within bounds.
 */
#include "cases.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdio.h>

#define MEMORY_FAILURES_MAX 300u

/* The kit overwrites and frees settings and records after each call anyway; here nothing else is
 * looked at, so that the sentence of a failure is about this. */
static void memory_borrowed(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key %d", i);
        kit_insert(store, key, "borrowed for the call");
        if (i % 4 == 3) {
            kit_apply(store);
        }
    }
    kit_expect(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void memory_balance(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_reopen(store);
    int64_t live = store->host.live;
    for (int i = 0; i < 30; i++) {
        kit_insert(store, "a", "x");
        kit_insert(store, "b", "x");
        kit_apply(store);
        kit_reopen(store);
    }
    if (store->host.live > live + 8) {
        kit_note("%" PRId64 " pieces of memory after 30 times close and open, %" PRId64 " before",
                 store->host.live, live);
    }
    kit_end(store); /* fails the check when anything is left */
}

/* A whole life in which all allocations from number `at` on fail until the store was told so once.
 * True when none failed any more. */
static bool memory_fail_at(struct kit *kit, uint64_t at)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    struct kv_setting *settings = kit_settings(kit, &place);
    uint32_t result[2] = {0, 0};
    bool was_told = false;
    check_host_fail_after(&store->host, at);
    while (kit_try_create(store, settings) != KV_OK) {
        if (was_told) {
            kit_fail("create() fails although there is memory again%s", kit_log(store));
        }
        was_told = true;
        check_host_fail_after(&store->host, 0);
    }
    loader_settings_free(settings);
    while (kit_try_open(store) != KV_OK) {
        if (was_told) {
            kit_fail("open() fails although there is memory again%s", kit_log(store));
        }
        was_told = true;
        check_host_fail_after(&store->host, 0);
    }
    kit_insert(store, "a", "x");
    kit_insert(store, "b", "x");
    int32_t status = kit_try_apply(store, &store->batch, result);
    check_host_fail_after(&store->host, 0);
    if (status != KV_OK || result[0] != KV_RESULT_STORED || result[1] != KV_RESULT_STORED) {
        was_told = true;
        /* As the node does after a failure: opened again, and repeated. Whether the failed call
         * had moved the position is not known. */
        kit_close(store);
        struct kv_position position = {0, 0};
        if (kit->ops->open(store->self, &position) != KV_OK) {
            kit_fail("open() fails although there is memory again%s", kit_log(store));
        }
        store->is_open = true;
        store->is_fresh = true;
    }
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
    return !was_told;
}

static void memory_exhausted(struct kit *kit)
{
    uint64_t at = 1;
    while (at < MEMORY_FAILURES_MAX && !memory_fail_at(kit, at)) {
        at++;
    }
    kit_note("%" PRIu64 " allocations in a short life, each failed once", at - 1);
}

static const struct check_case memory_cases[] = {
    {"settings and records are copied, not kept", memory_borrowed, 0, 0},
    {"destroy gives all memory of kv_host.allocate back", memory_balance, 0, 0},
    {"a failing kv_host.allocate is an error that passes", memory_exhausted, 0, 0},
};

const struct check_group group_memory = {"memory", KV_KIND_PERSIST, CASES_OF(memory_cases)};

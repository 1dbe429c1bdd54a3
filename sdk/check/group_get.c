/* get() gives the state of one key, at any time between open and close. */
#include "cases.h"

#include <inttypes.h>

static void get_present(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "first");
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_expect(store);
    kit_insert(store, "a", "second");
    kit_apply(store);
    kit_expect(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void get_expect_absent(struct kit_store *store, const char *key, uint32_t key_len)
{
    struct model found;
    if (kit_get(store, key, key_len, &found) && found.entries[0].kind == KV_RECORD_INSERT) {
        kit_fail("get(): expected nothing of the key \"%s\", found a value", key);
    }
    model_close(&found);
}

static void get_absent(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    get_expect_absent(store, "a", 1);
    kit_insert(store, "ab", "x");
    kit_insert(store, "removed", "x");
    kit_apply(store);
    kit_remove(store, "removed");
    kit_apply(store);
    get_expect_absent(store, "a", 1);
    get_expect_absent(store, "abc", 3);
    get_expect_absent(store, "removed", 7);
    kit_end(store);
}

static int32_t get_emit_stop(void *ctx, const struct kv_record *record)
{
    (void)record;
    ++*(uint32_t *)ctx;
    return KV_E_CLOSED;
}

static void get_stops(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    uint32_t calls = 0;
    kit_insert(store, "a", "x");
    kit_apply(store);
    int32_t status = kit->ops->get(store->self, "a", 1, get_emit_stop, &calls);
    if (status != KV_E_CLOSED || calls != 1) {
        kit_fail("get(): expected one call of emit and the KV_E_CLOSED that it returned, found "
                 "%" PRIu32 " calls and %s",
                 calls, kit_code(status));
    }
    kit_expect(store);
    kit_end(store);
}

static const struct check_case get_cases[] = {
    {"get gives a key's last state", get_present, KV_PERSIST_GET, 0},
    {"get of an absent key is KV_E_NOT_FOUND", get_absent, KV_PERSIST_GET, 0},
    {"get returns the code of emit", get_stops, KV_PERSIST_GET, 0},
};

const struct check_group group_get = {"get", KV_KIND_PERSIST, CASES_OF(get_cases)};

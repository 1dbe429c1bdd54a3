/* A store that is opened for the first time. */
#include "cases.h"

static void open_at_zero(struct kit *kit)
{
    kit_end(kit_new(kit)); /* kit_open() fails the check at any other position */
}

static void open_is_empty(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_expect(store);
    kit_end(store);
}

static void open_stays_empty(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    for (int i = 0; i < 3; i++) {
        kit_reopen(store);
    }
    kit_renew(store);
    kit_expect(store);
    kit_end(store);
}

static void open_first_record(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "first", "value");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static const struct check_case open_cases[] = {
    {"a new store opens at the position (0, 0)", open_at_zero, 0, 0},
    {"a new store is empty", open_is_empty, 0, CASE_CONTENT},
    {"a store that got nothing stays at (0, 0)", open_stays_empty, 0, 0},
    {"one record is stored, and its position with it", open_first_record, 0, 0},
};

const struct check_group group_open = {"open", KV_KIND_PERSIST, CASES_OF(open_cases)};

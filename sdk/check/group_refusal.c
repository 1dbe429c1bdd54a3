/*
 * A record that the store will never take is refused alone: the others of its batch and the
 * position are stored, and its key keeps what it had. Which records a store refuses only it knows,
 * so the kit offers what is most likely not to be taken.
 */
#include "cases.h"

#include "base/alloc.h"
#include "host/guard_persist.h"

#include <string.h>

#define REFUSAL_CANDIDATES 6u

struct refusal_candidate {
    size_t key_len;
    size_t value_len;
    uint8_t fill;
};

static const struct refusal_candidate refusal_candidates[REFUSAL_CANDIDATES] = {
    {0, 8, 'e'},
    {8, 0, 'e'},
    {3, 3, 0xff},
    {4, 4, 0},
    {GUARD_KEY_BYTES_MAX, 8, 'k'},
    {9, GUARD_VALUE_BYTES_MAX, 'v'},
};

static void refusal_add(struct kit_store *store, const struct refusal_candidate *candidate)
{
    size_t len = candidate->key_len + candidate->value_len;
    uint8_t *bytes = alloc_bytes(len);
    memset(bytes, candidate->fill, len);
    kit_add(store, KV_RECORD_INSERT, bytes, candidate->key_len, bytes + candidate->key_len,
            candidate->value_len);
    alloc_free(bytes);
}

/* Offers the candidate between two plain records; true when it alone was refused. */
static bool refusal_offer(struct kit_store *store, const struct refusal_candidate *candidate)
{
    uint32_t *results = NULL;
    kit_insert(store, "before", "must be there");
    refusal_add(store, candidate);
    kit_insert(store, "after", "must be there");
    kit_offer(store, &results);
    if (results[0] != KV_RESULT_STORED || results[2] != KV_RESULT_STORED) {
        kit_fail("a refused record took its neighbours with it: expected the %s record stored, "
                 "found it refused too",
                 results[0] != KV_RESULT_STORED ? "first" : "third");
    }
    bool is_refused = results[1] == KV_RESULT_REFUSED;
    alloc_free(results);
    return is_refused;
}

static void refusal_alone(struct kit *kit)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < REFUSAL_CANDIDATES; i++) {
        struct kit_store *store = kit_new(kit);
        if (refusal_offer(store, &refusal_candidates[i])) {
            refused++;
            kit_reopen(store); /* the position is there ... */
            kit_expect(store); /* ... and all but the refused one */
            kit_remove(store, "before");
            kit_apply(store); /* and it goes on */
            kit_reopen(store);
            kit_expect(store);
        }
        kit_end(store);
    }
    if (refused == 0) {
        kit_skip("the store took every record that was offered");
    }
}

static void refusal_keeps_old(struct kit *kit)
{
    static const struct refusal_candidate small[2] = {{9, 8, 'v'}, {4, 4, 'a'}};
    static const struct refusal_candidate large[2] = {{9, GUARD_VALUE_BYTES_MAX, 'v'},
                                                      {4, GUARD_VALUE_BYTES_MAX / 3, 'a'}};
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct kit_store *store = kit_new(kit);
        refusal_add(store, &small[i]);
        kit_apply(store);
        if (refusal_offer(store, &large[i])) {
            refused++;
            kit_reopen(store);
            kit_expect(store);
        }
        kit_end(store);
    }
    if (refused == 0) {
        kit_skip("the store took every value that was offered");
    }
}

static const struct check_case refusal_cases[] = {
    {"when a record is refused the others and the position are stored", refusal_alone, 0,
     CASE_LONG},
    {"a key keeps what it had when its next value is refused", refusal_keeps_old, 0, CASE_LONG},
};

const struct check_group group_refusal = {"refusal", KV_KIND_PERSIST, CASES_OF(refusal_cases)};

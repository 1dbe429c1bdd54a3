/*
 * The store against a plain array of pairs, its scans, its digest, colliding keys.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/rand.h"
#include "logic/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Part of the protocol: these numbers never change. */
#define DIGEST_BOTH      0xcb6ec975e280c630ull
#define DIGEST_KEY_VALUE 0x8a3fb7000180ae3dull

#define MODEL_KEYS       4000u
#define MODEL_STEPS      100000u
#define MODEL_VALUE_MAX  65536u

/* --- the model --- */

/* A value is bytes drawn from its seed, so that only the seed must be remembered. */
struct model_pair {
    uint8_t *key;
    uint32_t key_len;
    uint32_t value_len;
    uint64_t value_seed;
    struct kv_position position;
    bool present;
};

struct model {
    struct store *store;
    struct model_pair pairs[MODEL_KEYS];
    struct rand rand;
    uint64_t index;
    uint64_t len;
    uint64_t bytes;
    uint8_t scratch[MODEL_VALUE_MAX];
};

static void fill(uint8_t *at, size_t len, uint64_t seed)
{
    struct rand rand = {seed};
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = rand_next(&rand);
        memcpy(at + i, &word, len - i < 8 ? len - i : 8);
    }
}

/* Mostly small, now and then up to 64 KiB. */
static uint32_t model_len(struct model *model)
{
    uint64_t dice = rand_below(&model->rand, 1000);
    if (dice < 700) {
        return (uint32_t)rand_below(&model->rand, 40);
    }
    if (dice < 990) {
        return (uint32_t)rand_below(&model->rand, 1200);
    }
    return (uint32_t)rand_below(&model->rand, MODEL_VALUE_MAX + 1);
}

static struct model *model_create(uint64_t seed)
{
    struct model *model = alloc_zeroed(1, sizeof(*model));
    model->store = store_create();
    model->rand.state = seed;
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        struct model_pair *pair = &model->pairs[i];
        pair->key_len = i == 0 ? 0 : 4 + (i % 97 == 0 ? model_len(model) : i % 40);
        pair->key = alloc_bytes(pair->key_len);
        fill(pair->key, pair->key_len, i);
        if (i != 0) {
            memcpy(pair->key, &i, 4);
        }
    }
    return model;
}

static void model_destroy(struct model *model)
{
    store_destroy(model->store);
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        alloc_free(model->pairs[i].key);
    }
    alloc_free(model);
}

static void model_put(struct model *model, struct model_pair *pair, uint32_t value_len)
{
    uint64_t seed = rand_next(&model->rand);
    struct kv_position position = {1 + model->index / 30000, ++model->index};
    fill(model->scratch, value_len, seed);
    store_put(model->store, pair->key, pair->key_len, value_len == 0 ? NULL : model->scratch,
              value_len, position);
    if (pair->present) {
        model->bytes -= pair->value_len;
    } else {
        model->len++;
        model->bytes += pair->key_len;
    }
    model->bytes += value_len;
    pair->present = true;
    pair->value_len = value_len;
    pair->value_seed = seed;
    pair->position = position;
}

static void model_remove(struct model *model, struct model_pair *pair)
{
    assert_int_equal(store_remove(model->store, pair->key, pair->key_len), pair->present);
    if (pair->present) {
        model->len--;
        model->bytes -= (uint64_t)pair->key_len + pair->value_len;
        pair->present = false;
    }
}

static void model_check_entry(struct model *model, const struct model_pair *pair,
                              const struct store_entry *entry)
{
    assert_int_equal(entry->hash, hash_bytes(pair->key, pair->key_len));
    assert_int_equal(entry->key_len, pair->key_len);
    assert_memory_equal(entry->key, pair->key, pair->key_len);
    assert_int_equal(entry->value_len, pair->value_len);
    fill(model->scratch, pair->value_len, pair->value_seed);
    assert_memory_equal(entry->value, model->scratch, pair->value_len);
    assert_int_equal(entry->position.view, pair->position.view);
    assert_int_equal(entry->position.index, pair->position.index);
}

static void model_get(struct model *model, const struct model_pair *pair)
{
    struct store_entry entry;
    memset(&entry, 0xa5, sizeof(entry));
    struct store_entry untouched = entry;
    if (store_get(model->store, pair->key, pair->key_len, &entry)) {
        assert_true(pair->present);
        model_check_entry(model, pair, &entry);
    } else {
        assert_false(pair->present);
        assert_memory_equal(&entry, &untouched, sizeof(entry));
    }
}

/* The formula of store.c, written down a second time. */
static uint64_t pair_digest(const void *key, size_t key_len, const void *value, size_t value_len)
{
    uint64_t seed = hash_bytes(key, key_len) + (uint64_t)key_len * 0x9e3779b97f4a7c15ull;
    return hash_bytes_seeded(seed, value, value_len);
}

static void model_check_all(struct model *model)
{
    uint64_t digest = 0;
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        const struct model_pair *pair = &model->pairs[i];
        model_get(model, pair);
        if (pair->present) {
            fill(model->scratch, pair->value_len, pair->value_seed);
            digest += pair_digest(pair->key, pair->key_len, model->scratch, pair->value_len);
        }
    }
    assert_int_equal(store_len(model->store), model->len);
    assert_int_equal(store_bytes(model->store), model->bytes);
    assert_int_equal(store_digest(model->store), digest);
}

static void test_random_operations_as_the_model(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    struct model *model = model_create(7);
    for (uint32_t step = 0; step < MODEL_STEPS; step++) {
        /* The store grows and shrinks in turns. */
        uint32_t put_percent = step / 10000 % 2 == 0 ? 60 : 20;
        struct model_pair *pair = &model->pairs[rand_below(&model->rand, MODEL_KEYS)];
        uint64_t dice = rand_below(&model->rand, 100);
        if (dice < put_percent) {
            bool same = pair->present && rand_percent(&model->rand, 30);
            model_put(model, pair, same ? pair->value_len : model_len(model));
        } else if (dice < 80) {
            model_remove(model, pair);
        } else {
            model_get(model, pair);
        }
        if (step % 10000 == 9999) {
            model_check_all(model);
        }
    }
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        model_remove(model, &model->pairs[i]);
    }
    model_check_all(model);
    assert_int_equal(store_digest(model->store), 0);
    assert_int_equal(store_bytes(model->store), 0);
    model_destroy(model);
    assert_int_equal(alloc_live(), live);
}

/* --- scans --- */

struct scan_seen {
    uint8_t *seen; /* per key number */
    uint64_t last_hash;
    uint32_t visits;
    uint32_t visits_max; /* stop there */
    uint64_t low;
    uint64_t high;
};

static bool scan_visit(void *ctx, const struct store_entry *entry)
{
    struct scan_seen *seen = ctx;
    assert_true(entry->hash >= seen->low && entry->hash <= seen->high);
    assert_int_equal(entry->hash, hash_bytes(entry->key, entry->key_len));
    bool first = seen->visits == 0 || entry->hash != seen->last_hash;
    if (first && seen->visits >= seen->visits_max) {
        return false;
    }
    assert_true(seen->last_hash <= entry->hash);
    uint32_t number;
    memcpy(&number, entry->key, sizeof(number));
    seen->seen[number]++;
    seen->visits++;
    seen->last_hash = entry->hash;
    return true;
}

static void put_number(struct store *store, uint32_t number)
{
    struct kv_position position = {1, number + 1};
    store_put(store, &number, sizeof(number), &number, number % 5, position);
}

static void assert_all_once(const uint8_t *seen, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void test_scan_with_stops_sees_each_once(void **state)
{
    (void)state;
    enum { LEN = 20000 };
    struct store *store = store_create();
    for (uint32_t i = 0; i < LEN; i++) {
        put_number(store, i);
    }
    static uint8_t seen[LEN];
    /* Not one at a time: that would sort a segment for each pair. */
    for (uint32_t visits_max = 5; visits_max < 2 * LEN; visits_max = visits_max * 7 + 1) {
        memset(seen, 0, sizeof(seen));
        uint64_t low = 0;
        bool complete = false;
        while (!complete) {
            struct scan_seen scan = {seen, low, 0, visits_max, low, UINT64_MAX};
            uint64_t next = 0;
            complete = store_scan(store, low, UINT64_MAX, &next, scan_visit, &scan);
            if (!complete) {
                assert_true(next > low);
                low = next;
            }
        }
        assert_all_once(seen, LEN);
    }
    store_destroy(store);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t left;
    uint64_t right;
    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return left < right ? -1 : left > right ? 1 : 0;
}

static void test_ranges_cut_anywhere_cover_everything(void **state)
{
    (void)state;
    enum { LEN = 5000, CUTS = 60 };
    struct store *store = store_create();
    for (uint32_t i = 0; i < LEN; i++) {
        put_number(store, i);
    }
    struct rand rand = {99};
    static uint8_t seen[LEN];
    for (int round = 0; round < 10; round++) {
        uint64_t cuts[CUTS]; /* ranges begin there */
        for (uint32_t i = 0; i < CUTS; i++) {
            uint32_t number = (uint32_t)rand_below(&rand, LEN);
            /* half of them at a pair's very hash */
            cuts[i] = i % 2 == 0 ? rand_next(&rand) : hash_bytes(&number, sizeof(number));
        }
        cuts[0] = 0;
        qsort(cuts, CUTS, sizeof(cuts[0]), compare_u64);
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 0; i < CUTS; i++) {
            uint64_t low = cuts[i];
            uint64_t high = i + 1 < CUTS ? cuts[i + 1] - 1 : UINT64_MAX;
            struct scan_seen scan = {seen, low, 0, UINT32_MAX, low, high};
            uint64_t next;
            if (i + 1 == CUTS || cuts[i + 1] > low) {
                assert_true(store_scan(store, low, high, &next, scan_visit, &scan));
            }
        }
        assert_all_once(seen, LEN);
    }
    store_destroy(store);
}

static bool never_visit(void *ctx, const struct store_entry *entry)
{
    (void)ctx;
    (void)entry;
    fail_msg("nothing should be visited");
    return false;
}

static void test_scan_of_nothing(void **state)
{
    (void)state;
    struct store *store = store_create();
    uint64_t next = 5;
    assert_true(store_scan(store, 0, UINT64_MAX, &next, never_visit, NULL));
    put_number(store, 1);
    uint32_t number = 1;
    uint64_t hash = hash_bytes(&number, sizeof(number));
    assert_true(store_scan(store, hash + 1, UINT64_MAX, &next, never_visit, NULL));
    assert_true(store_scan(store, 0, hash - 1, &next, never_visit, NULL));
    assert_true(store_scan(store, 9, 8, &next, never_visit, NULL));
    assert_int_equal(next, 5);
    store_destroy(store);
}

/* --- ranges --- */

/* The formula of store.c, written down a second time. */
static uint64_t placed_digest(const struct store_entry *entry)
{
    uint64_t digest = pair_digest(entry->key, entry->key_len, entry->value, entry->value_len);
    digest += entry->position.index * 0x9e3779b97f4a7c15ull;
    digest = (digest ^ digest >> 30) * 0xbf58476d1ce4e5b9ull;
    digest += entry->position.view * 0x9e3779b97f4a7c15ull;
    digest = (digest ^ digest >> 27) * 0x94d049bb133111ebull;
    return digest ^ digest >> 31;
}

struct range_sum {
    struct store_part part;
    uint64_t base;
    struct store_part newer; /* than base */
};

static bool range_visit(void *ctx, const struct store_entry *entry)
{
    struct range_sum *sum = ctx;
    sum->part.digest += placed_digest(entry);
    sum->part.len++;
    if (entry->position.index > sum->base) {
        sum->newer.digest += placed_digest(entry);
        sum->newer.len++;
    }
    return true;
}

static void check_range(const struct store *store, uint64_t low, uint64_t high, uint64_t base)
{
    uint64_t next;
    uint64_t len = 0;
    struct range_sum expected = {{0, 0}, base, {0, 0}};
    struct range_sum since = {{0, 0}, 0, {0, 0}};
    assert_true(store_scan(store, low, high, &next, range_visit, &expected));
    assert_true(store_range_digest(store, low, high, &len) == expected.part.digest);
    assert_int_equal(len, expected.part.len);
    assert_true(store_scan_since(store, low, high, base, range_visit, &since));
    assert_true(since.part.digest == expected.newer.digest);
    assert_int_equal(since.part.len, expected.newer.len);
}

static void check_parts(const struct store *store, uint64_t low, uint32_t part_bits,
                        uint32_t parts_len)
{
    struct store_part *parts = alloc_zeroed(parts_len, sizeof(*parts));
    store_part_digests(store, low, part_bits, parts_len, parts);
    for (uint64_t i = 0; i < parts_len; i++) {
        uint64_t len = 0;
        uint64_t part_low = low + (i << part_bits);
        uint64_t part_high = part_low + ((1ull << part_bits) - 1);
        assert_true(store_range_digest(store, part_low, part_high, &len) == parts[i].digest);
        assert_int_equal(len, parts[i].len);
    }
    alloc_free(parts);
}

static void check_ranges(const struct store *store, struct rand *rand)
{
    check_range(store, 0, UINT64_MAX, 0);
    for (uint32_t bits = 48; bits < 64; bits++) {
        uint64_t low = rand_next(rand) >> bits << bits;
        uint64_t high = low + ((1ull << bits) - 1);
        check_range(store, low, high, rand_below(rand, 20000));
        check_parts(store, low, bits - 6, 1 + (uint32_t)rand_below(rand, 64));
        uint64_t end = store_segment_high(store, low);
        assert_true(end >= low);
        check_range(store, low, end, rand_below(rand, 20000));
        uint64_t cut = rand_next(rand);
        check_range(store, cut < low ? cut : low, cut < low ? low : cut, rand_below(rand, 20000));
    }
}

static void test_ranges_know_their_digests(void **state)
{
    (void)state;
    enum { KEYS = 6000, STEPS = 40000 };
    struct store *store = store_create();
    struct rand rand = {31};
    for (uint32_t step = 1; step <= STEPS; step++) {
        uint32_t put_percent = step / 8000 % 2 == 0 ? 90 : 10; /* it grows and shrinks */
        uint32_t number = (uint32_t)rand_below(&rand, KEYS);
        if (rand_percent(&rand, put_percent)) {
            struct kv_position position = {rand_below(&rand, 3), step};
            store_put(store, &number, sizeof(number), &step, step % 5, position);
        } else {
            store_remove(store, &number, sizeof(number));
        }
        if (step % 2000 == 0) {
            check_ranges(store, &rand);
        }
    }
    for (uint32_t number = 0; number < KEYS; number++) {
        store_remove(store, &number, sizeof(number));
    }
    uint64_t len = 7;
    assert_true(store_range_digest(store, 0, UINT64_MAX, &len) == 0);
    assert_int_equal(len, 0);
    store_destroy(store);
}

/* Two stores that differ in a position alone are told apart. */
static void test_range_digests_tell_positions_apart(void **state)
{
    (void)state;
    struct store *store = store_create();
    uint64_t seen[4];
    static const struct kv_position positions[4] = {{1, 2}, {2, 1}, {1, 3}, {2, 2}};
    for (size_t i = 0; i < 4; i++) {
        uint64_t len;
        store_put(store, "k", 1, "v", 1, positions[i]);
        seen[i] = store_range_digest(store, 0, UINT64_MAX, &len);
        for (size_t j = 0; j < i; j++) {
            assert_true(seen[i] != seen[j]);
        }
    }
    store_destroy(store);
}

static bool stop_visit(void *ctx, const struct store_entry *entry)
{
    uint32_t *left = ctx;
    (void)entry;
    return (*left)-- > 1;
}

static void test_scan_since_stops_at_once(void **state)
{
    (void)state;
    struct store *store = store_create();
    for (uint32_t i = 0; i < 3000; i++) {
        put_number(store, i);
    }
    uint32_t left = 5;
    assert_false(store_scan_since(store, 0, UINT64_MAX, 1000, stop_visit, &left));
    assert_int_equal(left, 0);
    assert_true(store_scan_since(store, 0, UINT64_MAX, 3000, never_visit, NULL));
    store_destroy(store);
}

/* --- collisions --- */

/* Keys of one and the same 64-bit hash: where the first 8 bytes of such a key equal the hash's own
 * constant, the next 8 are multiplied by zero. */
static void make_equal_hash_key(uint32_t number, uint8_t key[32])
{
    static const uint8_t constant[8] = {0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe};
    memset(key, 7, 32);
    memcpy(key, constant, 8);
    memcpy(key + 8, &number, sizeof(number));
}

struct equal_seen {
    uint32_t visits;
    uint32_t heard_from;
};

static bool equal_visit(void *ctx, const struct store_entry *entry)
{
    struct equal_seen *seen = ctx;
    (void)entry;
    seen->visits++;
    return seen->visits <= seen->heard_from;
}

static void test_equal_hashes_are_kept_apart(void **state)
{
    (void)state;
    enum { LEN = 3000 };
    int64_t live = alloc_live();
    struct store *store = store_create();
    struct kv_position position = {1, 1};
    uint8_t key[32];
    make_equal_hash_key(0, key);
    uint64_t hash = hash_bytes(key, sizeof(key));
    for (uint32_t i = 0; i < LEN; i++) {
        make_equal_hash_key(i, key);
        assert_int_equal(hash_bytes(key, sizeof(key)), hash);
        store_put(store, key, sizeof(key), &i, sizeof(i), position);
        put_number(store, i);
    }
    assert_int_equal(store_len(store), 2 * LEN);
    /* Once the first of them is taken the others follow, whatever the visitor says. */
    struct equal_seen seen = {0, 1};
    uint64_t next;
    assert_true(store_scan(store, hash, hash, &next, equal_visit, &seen));
    assert_int_equal(seen.visits, LEN);
    struct equal_seen stop = {0, 0};
    assert_false(store_scan(store, hash, hash, &next, equal_visit, &stop));
    assert_int_equal(stop.visits, 1);
    assert_int_equal(next, hash);
    struct rand rand = {5};
    check_ranges(store, &rand);
    check_range(store, hash, hash, 0);
    check_range(store, hash, hash, 1);
    for (uint32_t i = 0; i < LEN; i++) {
        struct store_entry entry;
        make_equal_hash_key((i * 7919u) % LEN, key);
        uint32_t value = (i * 7919u) % LEN;
        assert_true(store_get(store, key, sizeof(key), &entry));
        assert_memory_equal(entry.value, &value, sizeof(value));
        assert_true(store_remove(store, key, sizeof(key)));
        assert_false(store_get(store, key, sizeof(key), &entry));
    }
    for (uint32_t i = 0; i < LEN; i++) {
        assert_true(store_remove(store, &i, sizeof(i)));
    }
    assert_int_equal(store_digest(store), 0);
    store_destroy(store);
    assert_int_equal(alloc_live(), live);
}

/* Keys that share the top 12 bits of their hash, found by trying: more than one segment takes. */
static void test_shared_top_bits(void **state)
{
    (void)state;
    enum { LEN = 2500 };
    int64_t live = alloc_live();
    struct store *store = store_create();
    static uint64_t keys[LEN];
    uint64_t candidate = 0;
    struct kv_position position = {2, 9};
    for (uint32_t i = 0; i < LEN; i++) {
        do {
            candidate++;
        } while (hash_bytes(&candidate, sizeof(candidate)) >> 52 != 0xabc);
        keys[i] = candidate;
        store_put(store, &candidate, sizeof(candidate), &i, sizeof(i), position);
    }
    for (uint32_t i = 0; i < LEN; i++) {
        struct store_entry entry;
        assert_true(store_get(store, &keys[i], sizeof(keys[i]), &entry));
        assert_memory_equal(entry.value, &i, sizeof(i));
    }
    /* The directory must have stayed small: nothing here needs a megabyte. */
    assert_true(alloc_live() - live < 1000);
    for (uint32_t i = 0; i < LEN; i++) {
        assert_true(store_remove(store, &keys[i], sizeof(keys[i])));
    }
    assert_int_equal(store_len(store), 0);
    store_destroy(store);
    assert_int_equal(alloc_live(), live);
}

/* --- digest --- */

static void test_digest_is_independent_of_order_and_history(void **state)
{
    (void)state;
    enum { LEN = 3000 };
    struct store *a = store_create();
    struct store *b = store_create();
    for (uint32_t i = 0; i < LEN; i++) {
        put_number(a, i);
    }
    struct kv_position position = {9, 9};
    for (uint32_t i = LEN; i-- > 0;) {
        uint32_t wrong = ~i;
        store_put(b, &i, sizeof(i), &wrong, sizeof(wrong), position);
        store_put(b, &wrong, sizeof(wrong), &i, sizeof(i), position);
    }
    for (uint32_t i = LEN; i-- > 0;) {
        uint32_t wrong = ~i;
        assert_int_not_equal(store_digest(a), store_digest(b));
        store_remove(b, &wrong, sizeof(wrong));
        put_number(b, i);
    }
    assert_int_equal(store_digest(a), store_digest(b));
    assert_int_equal(store_len(a), store_len(b));
    assert_int_equal(store_bytes(a), store_bytes(b));
    store_destroy(a);
    store_destroy(b);
}

static void test_digest_of_known_pairs(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct kv_position position = {1, 1};
    assert_int_equal(store_digest(store), 0);
    store_put(store, NULL, 0, NULL, 0, position);
    assert_int_equal(store_digest(store), pair_digest(NULL, 0, NULL, 0));
    store_put(store, "key", 3, "value", 5, position);
    assert_int_equal(store_digest(store), DIGEST_BOTH);
    store_remove(store, NULL, 0);
    assert_int_equal(store_digest(store), DIGEST_KEY_VALUE);
    /* where key ends and value begins matters */
    store_remove(store, "key", 3);
    store_put(store, "keyv", 4, "alue", 4, position);
    assert_int_not_equal(store_digest(store), DIGEST_KEY_VALUE);
    store_destroy(store);
}

static void test_positions_of_any_size(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,          1,          127,        128,
                                       16383,      16384,      UINT32_MAX, UINT32_MAX + 1ull,
                                       1ull << 62, 1ull << 63, UINT64_MAX, 5};
    struct store *store = store_create();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
            struct kv_position position = {numbers[i], numbers[j]};
            struct store_entry entry;
            store_put(store, "k", 1, "v", 1, position);
            assert_true(store_get(store, "k", 1, &entry));
            assert_int_equal(entry.position.view, numbers[i]);
            assert_int_equal(entry.position.index, numbers[j]);
            assert_memory_equal(entry.value, "v", 1);
        }
    }
    assert_int_equal(store_len(store), 1);
    store_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_as_the_model),
        cmocka_unit_test(test_scan_with_stops_sees_each_once),
        cmocka_unit_test(test_ranges_cut_anywhere_cover_everything),
        cmocka_unit_test(test_scan_of_nothing),
        cmocka_unit_test(test_ranges_know_their_digests),
        cmocka_unit_test(test_range_digests_tell_positions_apart),
        cmocka_unit_test(test_scan_since_stops_at_once),
        cmocka_unit_test(test_equal_hashes_are_kept_apart),
        cmocka_unit_test(test_shared_top_bits),
        cmocka_unit_test(test_digest_is_independent_of_order_and_history),
        cmocka_unit_test(test_digest_of_known_pairs),
        cmocka_unit_test(test_positions_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

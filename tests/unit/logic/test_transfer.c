/*
 * The transfer: pieces of the primary's content, applied by a joiner while updates flow, make its
 * memory and its store equal to the primary's, whatever it held before.
 */
#include "fixture.h"
#include "joiner.h"

#include "base/hash.h"

#include <string.h>

/* --- cutting --- */

static void an_empty_store_is_one_empty_piece(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count = 7;
    buffer_init(&records);
    assert_true(transfer_cut(store, 0, UINT64_MAX, 1000, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 0);
    assert_int_equal(records.len, 0);
    buffer_close(&records);
    store_destroy(store);
}

/* The pieces join without a gap or an overlap, keep to the limit, and hold every pair once. */
static void pieces_cover_everything_once(void **state)
{
    (void)state;
    const size_t bytes_max = 1000;
    struct store *store = store_create();
    struct store *copy = store_create();
    char key[32];
    for (uint64_t i = 1; i <= 500; i++) {
        snprintf(key, sizeof(key), "key-%llu", (unsigned long long)i);
        joiner_fill(store, key, "value", 1, i);
    }
    uint64_t low = 0;
    uint64_t high;
    uint32_t sum = 0;
    do {
        struct buffer records;
        uint32_t count;
        buffer_init(&records);
        high = transfer_cut(store, low, UINT64_MAX, bytes_max, &records, &count);
        assert_true(high >= low);
        assert_true(records.len <= bytes_max);
        assert_true(count > 0 || high == UINT64_MAX);
        struct bytes_reader reader = bytes_reader_init(records.bytes, records.len);
        struct kv_record record;
        while (reader.left > 0) {
            assert_true(record_decode(&reader, &record));
            uint64_t hash = hash_bytes(record.key, record.key_len);
            assert_true(hash >= low && hash <= high);
        }
        assert_int_equal(joiner_apply_batch(copy, &records), count);
        sum += count;
        low = high + 1;
        buffer_close(&records);
    } while (high != UINT64_MAX);
    assert_int_equal(sum, 500);
    joiner_assert_same(store, copy);
    store_destroy(store);
    store_destroy(copy);
}

static void a_piece_holds_one_pair_at_least(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count;
    buffer_init(&records);
    joiner_fill(store, "a", "a value larger than the limit", 1, 1);
    joiner_fill(store, "b", "a value larger than the limit", 1, 2);
    uint64_t high = transfer_cut(store, 0, UINT64_MAX, 1, &records, &count);
    assert_int_equal(count, 1);
    assert_true(high != UINT64_MAX);
    assert_true(transfer_cut(store, high + 1, UINT64_MAX, 1, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 1);
    buffer_close(&records);
    store_destroy(store);
}

/* A piece ends where its range does, and is told to. */
static void a_piece_keeps_to_its_range(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count;
    buffer_init(&records);
    joiner_fill(store, "a", "value", 1, 1);
    uint64_t hash = hash_bytes("a", 1);
    assert_true(transfer_cut(store, 0, hash - 1, 1000, &records, &count) == hash - 1);
    assert_int_equal(count, 0);
    assert_true(transfer_cut(store, hash, hash, 1000, &records, &count) == hash);
    assert_int_equal(count, 1);
    assert_true(transfer_cut(store, hash + 1, UINT64_MAX, 1000, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 0);
    buffer_close(&records);
    store_destroy(store);
}

/* --- applying --- */

static void keys_that_the_primary_lacks_disappear(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    joiner_put(&joiner, "", "an empty key", 1, 4);
    assert_int_equal(joiner_take(&joiner, primary, 10, 10), 2);
    assert_int_equal(store_len(joiner.memory), 0);
    assert_int_equal(store_len(joiner.disk), 0);
    joiner_close(&joiner);
    store_destroy(primary);
}

static void what_is_the_same_already_is_not_written_again(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_fill(primary, "same", "value", 1, 3);
    joiner_put(&joiner, "same", "value", 1, 3);
    joiner_fill(primary, "other", "new", 1, 5);
    joiner_put(&joiner, "other", "old", 1, 4);
    assert_int_equal(joiner_take(&joiner, primary, 10, 10), 1);
    joiner_assert_same(primary, joiner.memory);
    joiner_assert_same(primary, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

/* The index at which a pair is there; 0: it is not. */
static uint64_t index_of(struct store *store, const char *key)
{
    struct store_entry entry;
    return store_get(store, key, (uint32_t)strlen(key), &entry) ? entry.position.index : 0;
}

/* The joiner's log and store get these, its memory the first so many. */
static void log_takes(struct joiner *joiner, const struct kv_record *records, uint32_t len,
                      uint32_t applied)
{
    for (uint32_t i = 0; i < len; i++) {
        log_append(joiner->log, &records[i]);
        joiner_apply(joiner->disk, &records[i]);
        if (i < applied) {
            joiner_apply(joiner->memory, &records[i]);
        }
    }
}

/* What the log has after the piece has the last word, in memory as soon as it is applied. */
static void keys_that_the_log_has_later_are_left_aside(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_fill(primary, "x", "as of 10", 1, 10);
    joiner_fill(primary, "gone", "as of 9", 1, 9);
    struct kv_record records[] = {fixture_record("x", "at 11", 1, 11),
                                  fixture_record("gone", NULL, 1, 12)};
    log_takes(&joiner, records, 2, 2);
    assert_int_equal(joiner_take(&joiner, primary, 12, 10), 0); /* the store has it all */
    assert_int_equal(index_of(joiner.memory, "x"), 11);
    assert_int_equal(index_of(joiner.memory, "gone"), 0);
    joiner_assert_same(joiner.memory, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

/* Not applied yet: the memory shows the piece's value meanwhile, and the store has the newer one
 * already. The last of a key's records may be applied, or the first only. */
static void the_store_is_not_told_what_it_has_newer(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_fill(primary, "x", "as of 10", 1, 10);
    joiner_fill(primary, "gone", "as of 9", 1, 9);
    joiner_fill(primary, "twice", "as of 8", 1, 8);
    joiner_put(&joiner, "gone", "as of 5", 1, 5);
    struct kv_record records[] = {
        fixture_record("twice", "at 11", 1, 11), fixture_record("twice", "at 12", 1, 12),
        fixture_record("x", "at 13", 1, 13), fixture_record("gone", NULL, 1, 14)};
    log_takes(&joiner, records, 4, 1);
    assert_int_equal(joiner_take(&joiner, primary, 11, 10), 0);
    assert_int_equal(index_of(joiner.memory, "x"), 10);
    assert_int_equal(index_of(joiner.memory, "gone"), 9);
    assert_int_equal(index_of(joiner.memory, "twice"), 11);
    assert_int_equal(index_of(joiner.disk, "x"), 13);
    assert_int_equal(index_of(joiner.disk, "gone"), 0);
    assert_int_equal(index_of(joiner.disk, "twice"), 12);
    for (uint32_t i = 1; i < 4; i++) {
        joiner_apply(joiner.memory, &records[i]);
    }
    joiner_assert_same(joiner.memory, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

/* A pair that the piece lacks: gone in both; or what the log has of it later stays in the store,
 * and in memory once it is applied. */
static void a_stale_key_that_the_log_has_later_stays(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "of old", 1, 3);
    joiner_put(&joiner, "shown", "of old", 1, 4);
    joiner_put(&joiner, "hidden", "of old", 1, 5);
    struct kv_record records[] = {fixture_record("shown", "at 11", 1, 11),
                                  fixture_record("hidden", "at 12", 1, 12)};
    log_takes(&joiner, records, 2, 1);
    assert_int_equal(joiner_take(&joiner, primary, 11, 10), 1); /* the removal of "stale" */
    assert_int_equal(index_of(joiner.memory, "stale"), 0);
    assert_int_equal(index_of(joiner.memory, "shown"), 11);
    assert_int_equal(index_of(joiner.memory, "hidden"), 0);
    assert_int_equal(index_of(joiner.disk, "stale"), 0);
    assert_int_equal(index_of(joiner.disk, "shown"), 11);
    assert_int_equal(index_of(joiner.disk, "hidden"), 12);
    joiner_apply(joiner.memory, &records[1]);
    joiner_assert_same(joiner.memory, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

/* A record up to as_of is in the piece: it holds nothing back. */
static void what_the_log_has_up_to_the_piece_is_no_obstacle(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_fill(primary, "x", "at 11", 1, 11);
    struct kv_record records[] = {fixture_record("x", "at 11", 1, 11),
                                  fixture_record("stale", "at 12", 1, 12)};
    log_takes(&joiner, records, 2, 2);
    joiner_fill(joiner.memory, "x", "wrong", 1, 7);
    joiner_fill(joiner.disk, "x", "wrong", 1, 7);
    assert_int_equal(joiner_take(&joiner, primary, 12, 12), 2); /* puts "x", removes "stale" */
    joiner_assert_same(primary, joiner.memory);
    joiner_assert_same(primary, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

static void outside_its_range_a_piece_changes_nothing(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer told;
    uint32_t count;
    uint64_t hash = hash_bytes("here", 4);
    joiner_open(&joiner);
    buffer_init(&told);
    joiner_put(&joiner, "here", "value", 1, 3);
    struct transfer_piece below = {0, hash - 1, 10, NULL, 0, 0};
    struct transfer_piece above = {hash + 1, UINT64_MAX, 10, NULL, 0, 0};
    struct transfer_piece exact = {hash, hash, 10, NULL, 0, 0};
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &below, &told, &count));
    assert_int_equal(count, 0);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &above, &told, &count));
    assert_int_equal(count, 0);
    assert_int_equal(store_len(joiner.memory), 1);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &exact, &told, &count));
    assert_int_equal(count, 1); /* the removal */
    assert_int_equal(store_len(joiner.memory), 0);
    buffer_close(&told);
    joiner_close(&joiner);
}

/* as_of beyond the log's end: the log passes through states that are older, and catches up. */
static void a_piece_may_be_ahead_of_the_log(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *source = store_create();
    joiner_open(&joiner);
    joiner_fill(source, "x", "at 14", 1, 14);
    struct kv_record log[] = {fixture_record("x", "at 11", 1, 11),
                              fixture_record("y", "at 12", 1, 12), fixture_record("y", NULL, 1, 13),
                              fixture_record("x", "at 14", 1, 14)};
    assert_int_equal(joiner_take(&joiner, source, 10, 14), 1);
    for (size_t i = 0; i < 4; i++) {
        log_append(joiner.log, &log[i]);
        joiner_apply(joiner.disk, &log[i]);
        joiner_apply(joiner.memory, &log[i]);
    }
    joiner_assert_same(source, joiner.memory);
    joiner_assert_same(source, joiner.disk);
    store_destroy(source);
    joiner_close(&joiner);
}

/* --- invalid pieces --- */

/* As content; newer_too: as the pairs that come with digests, too. */
static void assert_refused(struct joiner *joiner, const struct buffer *records, uint64_t low,
                           uint64_t high, bool newer_too)
{
    struct buffer told;
    uint32_t count = 99;
    uint64_t digest = store_digest(joiner->memory);
    buffer_init(&told);
    struct transfer_piece piece = joiner_piece(records, 1, low, high, 10);
    assert_false(transfer_apply(joiner->memory, joiner->log, 10, &piece, &told, &count));
    if (newer_too) {
        assert_false(transfer_apply_newer(joiner->memory, joiner->log, 10, &piece, &told, &count));
    }
    assert_int_equal(told.len, 0);
    assert_int_equal(count, 99);
    assert_int_equal(store_digest(joiner->memory), digest);
    buffer_close(&told);
}

static void append(struct buffer *records, const struct kv_record *record)
{
    record_encode(record, buffer_room(records, record_size(record)));
}

static void a_removal_in_a_piece_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3); /* would disappear with a valid piece */
    buffer_init(&records);
    struct kv_record removal = fixture_record("k", NULL, 1, 9);
    append(&records, &removal);
    assert_refused(&joiner, &records, 0, UINT64_MAX, true);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void a_pair_outside_the_range_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    uint64_t hash = hash_bytes("k", 1);
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    struct kv_record record = fixture_record("k", "v", 1, 9);
    append(&records, &record);
    assert_refused(&joiner, &records, hash + 1, UINT64_MAX, true);
    assert_refused(&joiner, &records, 0, hash - 1, true);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void pairs_out_of_order_are_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    bool a_first = hash_bytes("a", 1) < hash_bytes("b", 1);
    struct kv_record later = fixture_record(a_first ? "b" : "a", "v", 1, 9);
    struct kv_record earlier = fixture_record(a_first ? "a" : "b", "v", 1, 8);
    append(&records, &later);
    append(&records, &earlier);
    assert_refused(&joiner, &records, 0, UINT64_MAX, false);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void a_piece_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    struct kv_record record = fixture_record("key", "value", 1, 9);
    append(&records, &record);
    for (size_t len = records.len - 1; len > 0; len--) {
        struct buffer cut = {records.bytes, len, len};
        assert_refused(&joiner, &cut, 0, UINT64_MAX, true);
    }
    buffer_close(&records);
    joiner_close(&joiner);
}

/* --- keys with equal hashes --- */

static void keys_of_one_hash_are_never_separated(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    struct buffer records;
    struct buffer told;
    uint8_t keys[6][JOINER_COLLIDING_BYTES];
    uint32_t count;
    joiner_open(&joiner);
    for (uint8_t i = 0; i < 6; i++) {
        joiner_colliding_key(keys[i], i);
        assert_true(hash_bytes(keys[i], JOINER_COLLIDING_BYTES) ==
                    hash_bytes(keys[0], JOINER_COLLIDING_BYTES));
    }
    /* The primary has 0 to 3; the joiner 2 (the same), 3 (older), 4 and 5 (stale). */
    for (uint8_t i = 0; i < 4; i++) {
        store_put(primary, keys[i], JOINER_COLLIDING_BYTES, "new", 3,
                  (struct kv_position){1, i + 5});
    }
    for (uint8_t i = 2; i < 6; i++) {
        struct kv_position position = {1, i == 2 ? 7 : 1};
        const char *value = i == 2 ? "new" : "old";
        store_put(joiner.memory, keys[i], JOINER_COLLIDING_BYTES, value, 3, position);
        store_put(joiner.disk, keys[i], JOINER_COLLIDING_BYTES, value, 3, position);
    }
    buffer_init(&records);
    buffer_init(&told);
    uint64_t high = transfer_cut(primary, 0, UINT64_MAX, 1, &records, &count);
    assert_int_equal(count, 4); /* whatever the limit is */
    struct transfer_piece piece = joiner_piece(&records, count, 0, high, 10);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &piece, &told, &count));
    assert_int_equal(count, 2 + 3); /* two removals; 0, 1 and 3 */
    joiner_apply_batch(joiner.disk, &told);
    joiner_assert_same(primary, joiner.memory);
    joiner_assert_same(primary, joiner.disk);
    buffer_close(&records);
    buffer_close(&told);
    joiner_close(&joiner);
    store_destroy(primary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_store_is_one_empty_piece),
        cmocka_unit_test(pieces_cover_everything_once),
        cmocka_unit_test(a_piece_holds_one_pair_at_least),
        cmocka_unit_test(a_piece_keeps_to_its_range),
        cmocka_unit_test(keys_that_the_primary_lacks_disappear),
        cmocka_unit_test(a_piece_may_be_ahead_of_the_log),
        cmocka_unit_test(what_is_the_same_already_is_not_written_again),
        cmocka_unit_test(keys_that_the_log_has_later_are_left_aside),
        cmocka_unit_test(the_store_is_not_told_what_it_has_newer),
        cmocka_unit_test(a_stale_key_that_the_log_has_later_stays),
        cmocka_unit_test(what_the_log_has_up_to_the_piece_is_no_obstacle),
        cmocka_unit_test(outside_its_range_a_piece_changes_nothing),
        cmocka_unit_test(a_removal_in_a_piece_is_refused),
        cmocka_unit_test(a_pair_outside_the_range_is_refused),
        cmocka_unit_test(pairs_out_of_order_are_refused),
        cmocka_unit_test(a_piece_that_is_cut_off_is_refused),
        cmocka_unit_test(keys_of_one_hash_are_never_separated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

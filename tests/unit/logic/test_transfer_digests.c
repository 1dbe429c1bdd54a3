/*
 * Digests of a range's parts and the newest of its pairs: what a source tells, and what a joiner
 * does with it.
 */
#include "fixture.h"
#include "joiner.h"

/* --- digests --- */

static void parts_are_counted_in_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(transfer_part_bits(0, UINT64_MAX, 1), 64);
    assert_int_equal(transfer_part_bits(0, UINT64_MAX, 2), 63);
    assert_int_equal(transfer_part_bits(0, UINT64_MAX, 1024), 54);
    assert_int_equal(transfer_part_bits(1ull << 60, (2ull << 60) - 1, 1), 60);
    assert_int_equal(transfer_part_bits(8, 15, 8), 0);
    assert_int_equal(transfer_part_bits(7, 7, 1), 0);
    assert_true(transfer_parts_high(0, 64, 1) == UINT64_MAX);
    assert_true(transfer_parts_high(0, 63, 2) == UINT64_MAX);
    assert_true(transfer_parts_high(3ull << 62, 61, 2) == UINT64_MAX);
    assert_true(transfer_parts_high(8, 0, 3) == 10);
}

/* Whatever the limit is, the digests told are right, and their pairs are those after base: all, or
 * none with the first part alone. */
static void assert_digests_fit(const struct store *store, uint64_t low, uint64_t high,
                               uint32_t parts, uint64_t base, size_t bytes_max)
{
    struct buffer digests;
    struct buffer records;
    uint32_t count;
    buffer_init(&digests);
    buffer_init(&records);
    uint32_t len =
        transfer_digests(store, low, high, parts, base, bytes_max, &digests, &records, &count);
    assert_true(len >= 1 && len <= parts);
    assert_int_equal(digests.len, 8 * len);
    assert_true(records.len <= bytes_max);
    uint32_t bits = transfer_part_bits(low, high, parts);
    uint64_t part_low = low;
    for (uint32_t i = 0; i < len; i++) {
        uint64_t pairs;
        uint64_t part_high = transfer_parts_high(low, bits, i + 1);
        uint64_t digest = store_range_digest(store, part_low, part_high, &pairs);
        assert_true(bytes_get_u64(digests.bytes + 8ull * i) == digest);
        part_low = part_high + 1;
    }
    struct store *newer = store_create();
    struct buffer all;
    uint32_t all_count;
    buffer_init(&all);
    transfer_cut(store, low, transfer_parts_high(low, bits, len), SIZE_MAX, &all, &all_count);
    struct bytes_reader reader = bytes_reader_init(all.bytes, all.len);
    struct kv_record record;
    while (reader.left > 0) {
        assert_true(record_decode(&reader, &record));
        if (record.position.index > base) {
            joiner_apply(newer, &record);
        }
    }
    struct store *told = store_create();
    assert_int_equal(joiner_apply_batch(told, &records), count);
    assert_int_equal(count, store_len(told));
    if (count > 0 || len > 1) {
        joiner_assert_same(newer, told);
    }
    if (bytes_max == SIZE_MAX) {
        assert_int_equal(len, parts);
        joiner_assert_same(newer, told);
    }
    store_destroy(newer);
    store_destroy(told);
    buffer_close(&all);
    buffer_close(&digests);
    buffer_close(&records);
}

static void digests_come_with_what_is_newer(void **state)
{
    (void)state;
    struct store *store = store_create();
    char key[32];
    for (uint64_t i = 1; i <= 5000; i++) {
        snprintf(key, sizeof(key), "key-%llu", (unsigned long long)i);
        joiner_fill(store, key, "value", 1, i);
    }
    static const size_t limits[] = {0, 1, 60, 1000, 20000, SIZE_MAX};
    static const uint64_t bases[] = {0, 2500, 4900, 4999, 5000, UINT64_MAX};
    for (uint32_t parts = 1; parts <= 1024; parts *= 4) {
        for (size_t i = 0; i < 36; i++) {
            assert_digests_fit(store, 0, UINT64_MAX, parts, bases[i % 6], limits[i / 6]);
            assert_digests_fit(store, 5ull << 60, (6ull << 60) - 1, parts, bases[i % 6],
                               limits[i / 6]);
        }
    }
    store_destroy(store);
}

/* --- taking what is newer --- */

/* What comes with digests is put where it is newer, and the log has the last word: applied, in
 * memory too; not yet, the store is not told what the piece has. */
static void newer_pairs_are_put_unless_the_log_has_more(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *source = store_create();
    struct store_entry entry;
    struct buffer records;
    struct buffer told;
    uint32_t count;
    joiner_open(&joiner);
    joiner_fill(source, "new", "as of 10", 1, 10);
    joiner_fill(source, "older", "as of 9", 1, 9);
    joiner_fill(source, "gone", "as of 8", 1, 8);
    joiner_fill(source, "alone", "as of 7", 1, 7); /* the log has nothing of it */
    joiner_put(&joiner, "new", "as of 4", 1, 4);
    joiner_put(&joiner, "stale", "not at the source", 1, 3); /* that digests tell */
    struct kv_record log[] = {fixture_record("older", "at 11", 1, 11),
                              fixture_record("gone", NULL, 1, 12),
                              fixture_record("new", "at 13", 1, 13)};
    for (size_t i = 0; i < 3; i++) {
        log_append(joiner.log, &log[i]);
        joiner_apply(joiner.disk, &log[i]);
    }
    joiner_apply(joiner.memory, &log[0]);
    joiner_apply(joiner.memory, &log[1]);
    buffer_init(&records);
    buffer_init(&told);
    transfer_cut(source, 0, UINT64_MAX, SIZE_MAX, &records, &count);
    struct transfer_piece piece = joiner_piece(&records, count, 0, UINT64_MAX, 10);
    assert_true(transfer_apply_newer(joiner.memory, joiner.log, 12, &piece, &told, &count));
    assert_int_equal(count, 1); /* "alone" */
    assert_int_equal(joiner_apply_batch(joiner.disk, &told), count);
    assert_true(store_get(joiner.memory, "new", 3, &entry));
    assert_int_equal(entry.position.index, 10);
    assert_true(store_get(joiner.memory, "older", 5, &entry));
    assert_int_equal(entry.position.index, 11);
    assert_false(store_get(joiner.memory, "gone", 4, &entry));
    assert_true(store_get(joiner.memory, "stale", 5, &entry));
    assert_true(store_get(joiner.memory, "alone", 5, &entry));
    assert_true(store_get(joiner.disk, "new", 3, &entry));
    assert_int_equal(entry.position.index, 13);
    assert_true(store_get(joiner.disk, "older", 5, &entry));
    assert_int_equal(entry.position.index, 11);
    assert_false(store_get(joiner.disk, "gone", 4, &entry));
    joiner_apply(joiner.memory, &log[2]);
    joiner_assert_same(joiner.memory, joiner.disk);
    /* Nothing newer, nothing told. */
    told.len = 0;
    assert_true(transfer_apply_newer(joiner.memory, joiner.log, 13, &piece, &told, &count));
    assert_int_equal(count, 0);
    assert_false(store_get(joiner.memory, "gone", 4, &entry));
    piece = joiner_piece(&records, 0, 0, UINT64_MAX, 10);
    piece.len = 0;
    told.len = 0;
    assert_true(transfer_apply_newer(joiner.memory, joiner.log, 13, &piece, &told, &count));
    assert_int_equal(count, 0);
    assert_int_equal(told.len, 0);
    buffer_close(&records);
    buffer_close(&told);
    store_destroy(source);
    joiner_close(&joiner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_counted_in_powers_of_two),
        cmocka_unit_test(digests_come_with_what_is_newer),
        cmocka_unit_test(newer_pairs_are_put_unless_the_log_has_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The log: records in the one total order, held once. Where chunks end, what a slice may cover,
 * what trimming frees, and that borrowed bytes stay where they are.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "base/rand.h"
#include "logic/log.h"
#include "logic/record.h"

#include <string.h>

/* As in log.c: records fill a chunk of this many bytes and never straddle two. */
#define CHUNK_BYTES (256u * 1024u)

#define SLICES_MAX  4096u

static uint8_t filler[4 * CHUNK_BYTES];

/* Appends a record whose byte form has exactly that size. */
static void append_size(struct log *log, size_t size)
{
    uint64_t index = log_last_index(log) + 1;
    struct kv_record record = {.key = "k",
                               .key_len = 1,
                               .value = filler,
                               .value_len = (uint32_t)(size - RECORD_HEADER_BYTES - 1),
                               .kind = KV_RECORD_INSERT,
                               .position = {1, index},
                               .request = index};
    assert_int_equal(record_size(&record), size);
    log_append(log, &record);
}

static struct log *create_filled(uint32_t records, size_t size)
{
    struct log *log = log_create((struct kv_position){0, 0});
    for (uint32_t i = 0; i < records; i++) {
        append_size(log, size);
    }
    return log;
}

/* Covers [first, last] without limits and returns how many slices that takes. */
static uint32_t slices_needed(const struct log *log, uint64_t first, uint64_t last)
{
    static struct kv_slice slices[SLICES_MAX];
    uint32_t slices_len;
    size_t bytes;
    uint64_t end = log_slices(log, first, last, SIZE_MAX, slices, SLICES_MAX, &slices_len, &bytes);
    assert_int_equal(end, last);
    return slices_len;
}

static void an_empty_log_knows_where_it_goes_on(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){3, 41});
    assert_int_equal(log_len(log), 0);
    assert_int_equal(log_bytes(log), 0);
    assert_int_equal(log_last(log).view, 3);
    assert_int_equal(log_last_index(log), 41);
    assert_int_equal(log_first_index(log), 42);
    struct kv_record record = fixture_record("k", "v", 4, 42);
    log_append(log, &record);
    assert_int_equal(log_len(log), 1);
    assert_int_equal(log_last(log).view, 4);
    assert_int_equal(log_first_index(log), 42);
    log_unref(log);
}

static void a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){0, 0});
    char key[] = "key";
    char value[] = "value";
    struct kv_record insertion = fixture_record(key, value, 2, 1);
    struct kv_record removal = fixture_record("", NULL, 2, 2);
    log_append(log, &insertion);
    log_append(log, &removal);
    memset(key, 'x', 3); /* the log has a copy */
    memset(value, 'x', 5);

    struct kv_record record = log_get(log, 1);
    assert_int_equal(record.kind, KV_RECORD_INSERT);
    assert_int_equal(record.key_len, 3);
    assert_memory_equal(record.key, "key", 3);
    assert_int_equal(record.value_len, 5);
    assert_memory_equal(record.value, "value", 5);
    assert_int_equal(record.position.view, 2);
    assert_int_equal(record.client, 900);
    assert_int_equal(record.request, 1);
    record = log_get(log, 2);
    assert_int_equal(record.kind, KV_RECORD_REMOVE);
    assert_int_equal(record.key_len, 0);
    assert_int_equal(log_record_bytes(log, 1), RECORD_HEADER_BYTES + 8);
    assert_int_equal(log_record_bytes(log, 2), RECORD_HEADER_BYTES);
    assert_int_equal(log_bytes(log), 2 * RECORD_HEADER_BYTES + 8);
    log_unref(log);
}

static void records_fill_a_chunk_to_its_last_byte(void **state)
{
    (void)state;
    struct log *log = create_filled(4, CHUNK_BYTES / 4);
    assert_int_equal(slices_needed(log, 1, 4), 1);
    append_size(log, RECORD_HEADER_BYTES + 1);
    assert_int_equal(slices_needed(log, 1, 5), 2);
    assert_int_equal(slices_needed(log, 4, 5), 2);
    assert_int_equal(slices_needed(log, 5, 5), 1);
    log_unref(log);
}

static void a_record_never_straddles_two_chunks(void **state)
{
    (void)state;
    struct log *log = create_filled(3, CHUNK_BYTES / 2 + 1);
    assert_int_equal(slices_needed(log, 1, 3), 3);
    for (uint64_t index = 1; index <= 3; index++) {
        assert_int_equal(log_get(log, index).value_len,
                         CHUNK_BYTES / 2 + 1 - RECORD_HEADER_BYTES - 1);
    }
    log_unref(log);
}

static void a_record_larger_than_a_chunk_has_one_of_its_own(void **state)
{
    (void)state;
    struct log *log = create_filled(1, 100);
    append_size(log, 3 * CHUNK_BYTES);
    append_size(log, 100);
    append_size(log, 100);
    struct kv_slice slices[4];
    uint32_t slices_len;
    size_t bytes;
    assert_int_equal(log_slices(log, 1, 4, SIZE_MAX, slices, 4, &slices_len, &bytes), 4);
    assert_int_equal(slices_len, 3);
    assert_int_equal(slices[0].len, 100);
    assert_int_equal(slices[1].len, 3 * CHUNK_BYTES);
    assert_int_equal(slices[2].len, 200);
    assert_int_equal(bytes, 300 + 3 * CHUNK_BYTES);
    log_unref(log);
}

static void slices_are_the_records_one_after_the_other(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){0, 6});
    struct rand rand = {7};
    for (uint32_t i = 0; i < 40; i++) {
        append_size(log, RECORD_HEADER_BYTES + 1 + rand_below(&rand, 40000));
    }
    struct kv_slice slices[16];
    uint32_t slices_len;
    size_t bytes;
    assert_int_equal(log_slices(log, 10, 45, SIZE_MAX, slices, 16, &slices_len, &bytes), 45);
    uint64_t index = 10;
    size_t sum = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        struct bytes_reader reader = bytes_reader_init(slices[i].bytes, slices[i].len);
        struct kv_record record;
        while (reader.left > 0) {
            assert_true(record_decode(&reader, &record));
            assert_int_equal(record.position.index, index++);
        }
        sum += slices[i].len;
    }
    assert_int_equal(index, 46);
    assert_int_equal(sum, bytes);
    log_unref(log);
}

static void slices_keep_to_the_limit_of_bytes(void **state)
{
    (void)state;
    struct log *log = create_filled(10, 100);
    struct kv_slice slices[2];
    uint32_t slices_len;
    size_t bytes;
    /* Exactly three fit, and not one byte less. */
    assert_int_equal(log_slices(log, 2, 10, 300, slices, 2, &slices_len, &bytes), 4);
    assert_int_equal(bytes, 300);
    assert_int_equal(log_slices(log, 2, 10, 299, slices, 2, &slices_len, &bytes), 3);
    assert_int_equal(bytes, 200);
    /* The first one is taken in any case. */
    assert_int_equal(log_slices(log, 2, 10, 99, slices, 2, &slices_len, &bytes), 2);
    assert_int_equal(bytes, 100);
    assert_int_equal(log_slices(log, 2, 10, 0, slices, 2, &slices_len, &bytes), 2);
    assert_int_equal(bytes, 100);
    log_unref(log);
}

static void slices_keep_to_the_limit_of_slices_and_to_the_end(void **state)
{
    (void)state;
    struct log *log = create_filled(5, CHUNK_BYTES);
    struct kv_slice slices[5];
    uint32_t slices_len;
    size_t bytes;
    assert_int_equal(log_slices(log, 1, 5, SIZE_MAX, slices, 2, &slices_len, &bytes), 2);
    assert_int_equal(slices_len, 2);
    assert_int_equal(bytes, 2 * CHUNK_BYTES);
    assert_int_equal(log_slices(log, 1, 3, SIZE_MAX, slices, 5, &slices_len, &bytes), 3);
    assert_int_equal(log_slices(log, 4, UINT64_MAX, SIZE_MAX, slices, 5, &slices_len, &bytes), 5);
    assert_int_equal(slices_len, 2);
    /* Nothing is there: nothing is covered. */
    assert_int_equal(log_slices(log, 6, UINT64_MAX, SIZE_MAX, slices, 5, &slices_len, &bytes), 5);
    assert_int_equal(slices_len, 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(log_slices(log, 3, 2, SIZE_MAX, slices, 5, &slices_len, &bytes), 2);
    assert_int_equal(slices_len, 0);
    log_unref(log);
}

static void trimming_frees_a_chunk_with_its_last_record(void **state)
{
    (void)state;
    struct log *log = create_filled(12, CHUNK_BYTES / 4); /* three chunks */
    int64_t full = alloc_live();
    log_trim(log, 3, 0);
    assert_int_equal(alloc_live(), full);
    assert_int_equal(log_first_index(log), 4);
    assert_int_equal(log_bytes(log), 9 * (CHUNK_BYTES / 4));
    log_trim(log, 4, 0);
    assert_int_equal(alloc_live(), full - 1);
    log_trim(log, 11, 0);
    assert_int_equal(alloc_live(), full - 2);
    assert_int_equal(log_len(log), 1);
    assert_int_equal(log_get(log, 12).position.index, 12);
    log_unref(log);
}

static void trimming_all_keeps_one_chunk_and_goes_on(void **state)
{
    (void)state;
    struct log *log = create_filled(12, CHUNK_BYTES / 4);
    int64_t full = alloc_live();
    log_trim(log, UINT64_MAX, 0); /* what is not there is ignored */
    assert_int_equal(alloc_live(), full - 2);
    assert_int_equal(log_len(log), 0);
    assert_int_equal(log_bytes(log), 0);
    assert_int_equal(log_first_index(log), 13);
    assert_int_equal(log_last_index(log), 12);
    append_size(log, 100);
    assert_int_equal(log_get(log, 13).position.index, 13);
    assert_int_equal(alloc_live(), full - 1); /* the full chunk kept so far, and a new one */
    log_trim(log, 12, 0);
    assert_int_equal(log_len(log), 1);
    log_trim(log, 13, 0);
    assert_int_equal(alloc_live(), full - 2);
    log_unref(log);
}

static void trimming_what_is_gone_changes_nothing(void **state)
{
    (void)state;
    struct log *log = create_filled(3, 100);
    log_trim(log, 0, 0);
    assert_int_equal(log_len(log), 3);
    log_trim(log, 2, 0);
    log_trim(log, 1, 0);
    assert_int_equal(log_len(log), 1);
    assert_int_equal(log_first_index(log), 3);
    log_unref(log);
}

static void trimming_frees_an_oversized_chunk(void **state)
{
    (void)state;
    struct log *log = create_filled(1, 100);
    append_size(log, 2 * CHUNK_BYTES);
    append_size(log, 100);
    int64_t full = alloc_live();
    log_trim(log, 1, 0);
    assert_int_equal(alloc_live(), full - 1);
    log_trim(log, 2, 0);
    assert_int_equal(alloc_live(), full - 2);
    assert_int_equal(log_get(log, 3).position.index, 3);
    log_unref(log);
}

static void borrowed_bytes_stay_where_they_are(void **state)
{
    (void)state;
    struct log *log = create_filled(1, 100);
    struct kv_slice before;
    uint32_t slices_len;
    size_t bytes;
    log_slices(log, 1, 1, SIZE_MAX, &before, 1, &slices_len, &bytes);
    for (uint32_t i = 0; i < 5000; i++) { /* the table of places grows several times */
        append_size(log, 200);
    }
    struct kv_slice after;
    log_slices(log, 1, 1, SIZE_MAX, &after, 1, &slices_len, &bytes);
    assert_ptr_equal(before.bytes, after.bytes);
    assert_int_equal(log_get(log, 1).request, 1);
    log_unref(log);
}

static void a_reference_keeps_the_log_for_a_job(void **state)
{
    (void)state;
    int64_t before = alloc_live();
    struct log *log = create_filled(3, CHUNK_BYTES);
    log_ref(log);
    log_unref(log); /* the owner lets go */
    assert_int_equal(log_get(log, 2).position.index, 2);
    log_unref(log);
    assert_int_equal(alloc_live(), before);
    log_unref(NULL); /* fine */
}

/* Appending and trimming in any rhythm: what is held is always exactly [first, last]. */
static void any_rhythm_of_appending_and_trimming(void **state)
{
    (void)state;
    int64_t before = alloc_live();
    struct log *log = log_create((struct kv_position){1, 1000});
    struct rand rand = {42};
    uint64_t first = 1001;
    uint64_t last = 1000;
    for (uint32_t round = 0; round < 2000; round++) {
        for (uint64_t n = rand_below(&rand, 20); n > 0; n--) {
            size_t size = rand_percent(&rand, 3) ? CHUNK_BYTES / 3 : 60;
            append_size(log, size + rand_below(&rand, 500));
            last++;
        }
        if (rand_percent(&rand, 60)) {
            uint64_t index = first - 1 + rand_below(&rand, last - first + 2);
            log_trim(log, index, 0);
            first = index + 1;
        }
        assert_int_equal(log_first_index(log), first);
        assert_int_equal(log_len(log), last + 1 - first);
        if (first <= last) {
            uint64_t index = first + rand_below(&rand, last - first + 1);
            assert_int_equal(log_get(log, index).request, index);
            assert_int_equal(log_get(log, first).request, first);
            assert_int_equal(log_get(log, last).request, last);
        }
    }
    uint64_t sum = 0;
    for (uint64_t index = first; index <= last; index++) {
        sum += log_record_bytes(log, index);
    }
    assert_int_equal(log_bytes(log), sum);
    log_unref(log);
    assert_int_equal(alloc_live(), before);
}

/* Records of the newest keep_bytes stay, or somewhat more: never less than that is held. */
static void trimming_keeps_the_newest_bytes(void **state)
{
    (void)state;
    struct log *log = create_filled(10, 100);
    log_trim(log, 10, 1000);
    assert_int_equal(log_len(log), 10);
    log_trim(log, 10, 999);
    assert_int_equal(log_len(log), 10); /* one less would be less than that */
    log_trim(log, 10, 900);
    assert_int_equal(log_first_index(log), 2);
    log_trim(log, 10, 350);
    assert_int_equal(log_first_index(log), 7);
    assert_int_equal(log_bytes(log), 400);
    log_trim(log, 7, 250); /* no more than what is not needed */
    assert_int_equal(log_first_index(log), 8);
    log_trim(log, 10, 1);
    assert_int_equal(log_first_index(log), 10);
    log_trim(log, 10, 0);
    assert_int_equal(log_len(log), 0);
    log_unref(log);
}

/* --- positions, and what two logs have in common --- */

static void append_of(struct log *log, uint64_t view, uint64_t last)
{
    while (log_last_index(log) < last) {
        struct kv_record record = fixture_record("k", "v", view, log_last_index(log) + 1);
        log_append(log, &record);
    }
}

static void positions_are_known_down_to_the_one_before_the_oldest(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){2, 10});
    assert_int_equal(log_position_at(log, 10).view, 2);
    assert_int_equal(log_position_at(log, 10).index, 10);
    append_of(log, 3, 14);
    append_of(log, 5, 16);
    assert_int_equal(log_position_at(log, 10).view, 2);
    assert_int_equal(log_position_at(log, 14).view, 3);
    assert_int_equal(log_position_at(log, 15).view, 5);
    log_trim(log, 13, 0);
    assert_int_equal(log_position_at(log, 13).view, 3); /* it is gone, its position is not */
    assert_int_equal(log_position_at(log, 13).index, 13);
    log_trim(log, 16, 0);
    assert_int_equal(log_position_at(log, 16).view, 5);
    log_unref(log);
}

static void expect_common(const struct log *log, uint64_t view, uint64_t index, bool known,
                          uint64_t common)
{
    uint64_t found = 12345;
    assert_int_equal(log_common(log, (struct kv_position){view, index}, &found), known);
    assert_int_equal(found, known ? common : 12345);
}

static void two_logs_are_the_same_as_far_as_their_views_say(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){2, 10});
    append_of(log, 3, 14);
    append_of(log, 5, 16);
    expect_common(log, 5, 15, true, 15); /* it is behind */
    expect_common(log, 5, 16, true, 16);
    expect_common(log, 5, 20, true, 16); /* it is ahead */
    expect_common(log, 3, 12, true, 12);
    expect_common(log, 3, 14, true, 14);
    expect_common(log, 3, 19, true, 14); /* 15 to 19 of the old primary went to it alone */
    expect_common(log, 2, 10, true, 10);
    expect_common(log, 2, 30, true, 10);
    expect_common(log, 4, 15, false, 0); /* of a primary that left nothing here */
    expect_common(log, 6, 17, false, 0);
    expect_common(log, 1, 5, false, 0);
    /* What is trimmed is the same as before. */
    log_trim(log, 16, 0);
    expect_common(log, 3, 19, true, 14);
    expect_common(log, 5, 20, true, 16);
    log_unref(log);
}

/* Only so many views are remembered; of older ones nothing is claimed. */
static void old_views_are_forgotten(void **state)
{
    (void)state;
    struct log *log = log_create((struct kv_position){1, 0});
    for (uint64_t view = 2; view <= 3000; view++) {
        append_of(log, view, view);
    }
    expect_common(log, 1, 0, false, 0);
    expect_common(log, 3000, 3000, true, 3000);
    expect_common(log, 2999, 9999, true, 2999);
    log_unref(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_log_knows_where_it_goes_on),
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(records_fill_a_chunk_to_its_last_byte),
        cmocka_unit_test(a_record_never_straddles_two_chunks),
        cmocka_unit_test(a_record_larger_than_a_chunk_has_one_of_its_own),
        cmocka_unit_test(slices_are_the_records_one_after_the_other),
        cmocka_unit_test(slices_keep_to_the_limit_of_bytes),
        cmocka_unit_test(slices_keep_to_the_limit_of_slices_and_to_the_end),
        cmocka_unit_test(trimming_frees_a_chunk_with_its_last_record),
        cmocka_unit_test(trimming_all_keeps_one_chunk_and_goes_on),
        cmocka_unit_test(trimming_what_is_gone_changes_nothing),
        cmocka_unit_test(trimming_frees_an_oversized_chunk),
        cmocka_unit_test(trimming_keeps_the_newest_bytes),
        cmocka_unit_test(positions_are_known_down_to_the_one_before_the_oldest),
        cmocka_unit_test(two_logs_are_the_same_as_far_as_their_views_say),
        cmocka_unit_test(old_views_are_forgotten),
        cmocka_unit_test(borrowed_bytes_stay_where_they_are),
        cmocka_unit_test(a_reference_keeps_the_log_for_a_job),
        cmocka_unit_test(any_rhythm_of_appending_and_trimming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The queue towards the store: one batch in flight, the next one gathers; nothing is skipped and
 * nothing changes its order, whatever fails.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/rand.h"
#include "logic/limits.h"
#include "logic/persister.h"
#include "logic/record.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1024u * 1024u)

static uint8_t filler[PERSIST_BYTES_MAX + MIB];

struct bench {
    struct fixture fixture;
    struct persister persister;
    struct log *log;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    fixture_init(&bench->fixture, false, true);
    persister_init(&bench->persister);
    bench->log = log_create((struct kv_position){0, 0});
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    persister_close(&bench->persister);
    log_unref(bench->log);
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

static void append_size(struct log *log, size_t size)
{
    uint64_t index = log_last_index(log) + 1;
    struct kv_record record = {.value = filler,
                               .value_len = (uint32_t)(size - RECORD_HEADER_BYTES),
                               .kind = KV_RECORD_INSERT,
                               .position = {1, index},
                               .request = index};
    log_append(log, &record);
}

/* Appends one record and queues it. */
static void add_record(struct bench *bench, size_t size, uint64_t mark)
{
    append_size(bench->log, size);
    uint64_t index = log_last_index(bench->log);
    persister_add_log(&bench->persister, bench->log, index, index, true, mark);
}

static void add_bytes(struct bench *bench, uint64_t index, uint64_t mark)
{
    struct kv_record record = fixture_record("key", "value", 1, index);
    size_t len = record_size(&record);
    uint8_t *bytes = alloc_bytes(len);
    record_encode(&record, bytes);
    persister_add_bytes(&bench->persister, bytes, len, 1, (struct kv_position){0, 0}, mark);
}

/* The batch that a pump emits in a step of its own; NULL for none. */
static const struct effect *pump(struct bench *bench, uint64_t later_ms)
{
    fixture_advance(&bench->fixture, later_ms);
    persister_pump(&bench->persister, &bench->fixture.context);
    uint32_t len = fixture_effects_len(&bench->fixture, EFFECT_PERSIST);
    assert_true(len <= 1);
    return len == 0 ? NULL : fixture_effect(&bench->fixture, EFFECT_PERSIST, 0);
}

static struct persist_done stored(struct bench *bench)
{
    struct persist_done done = {0, 0};
    assert_true(
        persister_on_persisted(&bench->persister, bench->persister.batch, bench->log, &done));
    return done;
}

static void nothing_queued_is_nothing_emitted(void **state)
{
    struct bench *bench = *state;
    struct persist_done done = {7, 7};
    assert_null(pump(bench, 0));
    assert_true(persister_idle(&bench->persister));
    assert_int_equal(persister_bytes(&bench->persister), 0);
    assert_true(persister_wake_ms(&bench->persister) == UINT64_MAX);
    assert_false(persister_on_persisted(&bench->persister, 0, bench->log, &done));
    assert_false(persister_on_failed(&bench->persister, &bench->fixture.context, 0, "x"));
    assert_int_equal(done.mark, 7); /* untouched */
}

static void records_go_out_as_slices_of_the_log(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < 3; i++) {
        append_size(bench->log, 100);
    }
    persister_add_log(&bench->persister, bench->log, 1, 3, true, 9);
    assert_false(persister_idle(&bench->persister));
    assert_int_equal(persister_bytes(&bench->persister), 300);

    const struct effect *batch = pump(bench, 0);
    assert_non_null(batch);
    assert_int_equal(batch->as.persist.records_len, 3);
    assert_int_equal(batch->as.persist.bytes, 300);
    assert_int_equal(batch->as.persist.position.view, 1);
    assert_int_equal(batch->as.persist.position.index, 3);
    struct kv_slice slice;
    uint32_t slices_len;
    size_t bytes;
    log_slices(bench->log, 1, 3, SIZE_MAX, &slice, 1, &slices_len, &bytes);
    assert_int_equal(batch->as.persist.slices_len, 1);
    assert_ptr_equal(batch->as.persist.slices[0].bytes, slice.bytes);
    assert_int_equal(batch->as.persist.slices[0].len, 300);

    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 9);
    assert_int_equal(done.index, 3);
    assert_true(persister_idle(&bench->persister));
    assert_int_equal(persister_bytes(&bench->persister), 0);
    assert_int_equal(bench->fixture.context.counters[COUNTER_persist_batches], 1);
}

static void one_batch_is_in_flight_and_the_next_one_gathers(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    const struct effect *batch = pump(bench, 0);
    uint64_t number = batch->as.persist.batch;
    add_record(bench, 100, 2);
    add_record(bench, 100, 3);
    assert_null(pump(bench, 1000)); /* however long it takes */
    assert_int_equal(persister_bytes(&bench->persister), 300);
    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 1);
    assert_int_equal(done.index, 1);

    /* What gathered is one job now, one slice, and does not repeat what is stored. */
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.batch, number + 1);
    assert_int_equal(batch->as.persist.records_len, 2);
    assert_int_equal(batch->as.persist.slices_len, 1);
    assert_int_equal(batch->as.persist.bytes, 200);
    done = stored(bench);
    assert_int_equal(done.mark, 3);
    assert_int_equal(done.index, 3);
}

static void while_a_transfer_goes_on_the_position_is_nothing(void **state)
{
    struct bench *bench = *state;
    append_size(bench->log, 100);
    persister_add_log(&bench->persister, bench->log, 1, 1, false, 1);
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.position.view, 0);
    assert_int_equal(batch->as.persist.position.index, 0);
    stored(bench);
}

static void a_batch_has_the_position_of_its_last_job(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    add_bytes(bench, 50, 2); /* position (0, 0) */
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 2);
    assert_int_equal(batch->as.persist.slices_len, 2);
    assert_int_equal(batch->as.persist.position.index, 0);
    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 2);
    assert_int_equal(done.index, 1);

    add_bytes(bench, 51, 3);
    add_record(bench, 100, 4);
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.position.index, 2);
    stored(bench);
}

static void a_position_alone_is_a_batch_without_records(void **state)
{
    struct bench *bench = *state;
    persister_add_bytes(&bench->persister, NULL, 0, 0, (struct kv_position){4, 44}, 8);
    assert_false(persister_idle(&bench->persister));
    const struct effect *batch = pump(bench, 0);
    assert_non_null(batch);
    assert_int_equal(batch->as.persist.records_len, 0);
    assert_int_equal(batch->as.persist.slices_len, 0);
    assert_int_equal(batch->as.persist.bytes, 0);
    assert_int_equal(batch->as.persist.position.view, 4);
    assert_int_equal(batch->as.persist.position.index, 44);
    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 8);
    assert_int_equal(done.index, 0);
}

/* What follows waits until that is stored, even if both would fit in one batch. */
static void the_end_of_a_batch_may_be_set(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    persister_add_bytes(&bench->persister, NULL, 0, 0, (struct kv_position){0, 0}, 2);
    persister_end_batch(&bench->persister);
    add_bytes(bench, 50, 3);
    add_record(bench, 100, 4);
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 1);
    assert_int_equal(batch->as.persist.position.view, 0);
    assert_null(pump(bench, 0));
    /* It fails, and comes again as it was. */
    assert_true(persister_on_failed(&bench->persister, &bench->fixture.context,
                                    bench->persister.batch, "no"));
    batch = pump(bench, FIXTURE_RETRANSMIT_MS);
    assert_int_equal(batch->as.persist.records_len, 1);
    assert_int_equal(stored(bench).mark, 2);
    assert_int_equal(bench->persister.stored.view, 0);
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 2);
    assert_int_equal(batch->as.persist.position.index, 2);
    assert_int_equal(stored(bench).mark, 4);
    assert_int_equal(bench->persister.stored.index, 2);
    assert_true(persister_idle(&bench->persister));
}

static void a_position_alone_stands_between_the_records(void **state)
{
    struct bench *bench = *state;
    append_size(bench->log, 100);
    append_size(bench->log, 100);
    persister_add_log(&bench->persister, bench->log, 1, 1, false, 1);
    persister_add_bytes(&bench->persister, NULL, 0, 0, (struct kv_position){1, 1}, 2);
    persister_add_log(&bench->persister, bench->log, 2, 2, true, 3);
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 2);
    assert_int_equal(batch->as.persist.bytes, 200);
    assert_int_equal(batch->as.persist.position.index, 2);
    assert_int_equal(stored(bench).mark, 3);
}

static void a_batch_is_limited_in_records(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < PERSIST_RECORDS_FIRST + 1; i++) {
        append_size(bench->log, RECORD_HEADER_BYTES);
    }
    persister_add_log(&bench->persister, bench->log, 1, PERSIST_RECORDS_FIRST + 1, true, 5);
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, PERSIST_RECORDS_FIRST);
    assert_int_equal(batch->as.persist.position.index, PERSIST_RECORDS_FIRST);
    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 0); /* the mark means all of them */
    assert_int_equal(done.index, PERSIST_RECORDS_FIRST);
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 1);
    assert_int_equal(stored(bench).mark, 5);
}

/* Adds so many records and lets the store take them, took_ms for each batch; returns the largest.
 */
static uint32_t largest_batch(struct bench *bench, uint32_t count, uint64_t took_ms)
{
    uint64_t first = log_last_index(bench->log) + 1;
    uint32_t largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        append_size(bench->log, RECORD_HEADER_BYTES);
    }
    persister_add_log(&bench->persister, bench->log, first, first + count - 1, true, 0);
    while (!persister_idle(&bench->persister)) {
        uint32_t len = pump(bench, took_ms)->as.persist.records_len;
        largest = len > largest ? len : largest;
        stored(bench);
    }
    return largest;
}

/* A batch that takes long looks like silence to the others, so a slow store gets small ones, and a
 * fast one large ones, up to the limit. */
static void batches_follow_the_speed_of_the_store(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 8; i++) {
        largest_batch(bench, 2 * PERSIST_RECORDS_MAX, 0);
    }
    assert_int_equal(largest_batch(bench, 2 * PERSIST_RECORDS_MAX, 0), PERSIST_RECORDS_MAX);
    for (int i = 0; i < 12; i++) {
        largest_batch(bench, 64, 1000);
    }
    assert_int_equal(largest_batch(bench, 1000, 1000), PERSIST_RECORDS_MIN);
    pump(bench, 1000); /* nothing is left, but the last one is measured */
    /* Small batches that are quick say nothing about large ones. */
    for (int i = 0; i < 20; i++) {
        largest_batch(bench, 1, 0);
    }
    assert_int_equal(largest_batch(bench, 1000, 1000), PERSIST_RECORDS_MIN);
}

static void a_batch_is_limited_in_bytes(void **state)
{
    struct bench *bench = *state;
    const uint32_t fit = PERSIST_BYTES_MAX / MIB;
    for (uint32_t i = 0; i < fit + 1; i++) {
        add_record(bench, MIB, i + 1);
    }
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.bytes, PERSIST_BYTES_MAX); /* exactly full */
    assert_int_equal(batch->as.persist.records_len, fit);
    assert_int_equal(stored(bench).mark, fit);
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 1);
    assert_int_equal(stored(bench).mark, fit + 1);
}

static void a_record_larger_than_a_batch_goes_alone(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    add_record(bench, PERSIST_BYTES_MAX + 1, 2);
    add_record(bench, 100, 3);
    assert_int_equal(pump(bench, 0)->as.persist.bytes, 100);
    stored(bench);
    assert_int_equal(pump(bench, 0)->as.persist.bytes, PERSIST_BYTES_MAX + 1);
    assert_int_equal(stored(bench).mark, 2);
    assert_int_equal(pump(bench, 0)->as.persist.bytes, 100);
    assert_int_equal(stored(bench).mark, 3);
}

static void a_batch_is_limited_in_slices(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < PERSISTER_SLICES_MAX + 8; i++) {
        add_bytes(bench, i + 1, i + 1);
    }
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.slices_len, PERSISTER_SLICES_MAX);
    assert_int_equal(stored(bench).mark, PERSISTER_SLICES_MAX);
    batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.slices_len, 8);
    assert_int_equal(stored(bench).mark, PERSISTER_SLICES_MAX + 8);
}

/* Records just above half a chunk of the log are the worst case: one slice each. */
static void the_most_scattered_job_fits_in_its_slices(void **state)
{
    struct bench *bench = *state;
    const size_t size = 128 * 1024 + 1;
    const uint32_t records = (uint32_t)(PERSIST_BYTES_MAX / size);
    for (uint32_t i = 0; i < records; i++) {
        add_record(bench, size, i + 1);
    }
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, records);
    assert_int_equal(batch->as.persist.slices_len, records);
    stored(bench);
}

static void a_failed_batch_comes_again_after_a_while(void **state)
{
    struct bench *bench = *state;
    struct persist_done done;
    add_record(bench, 100, 1);
    uint64_t first = pump(bench, 0)->as.persist.batch;
    assert_true(persister_on_failed(&bench->persister, &bench->fixture.context, first, "disk"));
    assert_string_equal(bench->persister.error, "disk");
    assert_int_equal(persister_wake_ms(&bench->persister),
                     bench->fixture.now_ms + FIXTURE_RETRANSMIT_MS);
    assert_int_equal(bench->fixture.context.counters[COUNTER_persist_failures], 1);
    add_record(bench, 100, 2); /* gathers behind it: the retry is the same batch */

    assert_null(pump(bench, FIXTURE_RETRANSMIT_MS - 1));
    const struct effect *again = pump(bench, 1);
    assert_non_null(again);
    assert_int_equal(again->as.persist.records_len, 1);
    assert_int_equal(again->as.persist.position.index, 1);
    assert_int_not_equal(again->as.persist.batch, first);
    assert_true(persister_wake_ms(&bench->persister) == UINT64_MAX);
    assert_string_equal(bench->persister.error, "disk"); /* until it works again */

    /* A late word about the first attempt says nothing about this one. */
    assert_false(persister_on_persisted(&bench->persister, first, bench->log, &done));
    assert_false(persister_on_failed(&bench->persister, &bench->fixture.context, first, "late"));
    assert_string_equal(bench->persister.error, "disk");
    assert_int_equal(stored(bench).mark, 1);
    assert_string_equal(bench->persister.error, "");
    assert_int_equal(pump(bench, 0)->as.persist.records_len, 1);
    assert_int_equal(stored(bench).mark, 2);
}

static void a_batch_that_failed_cannot_be_reported_twice(void **state)
{
    struct bench *bench = *state;
    struct persist_done done = {7, 7};
    add_record(bench, 100, 1);
    uint64_t batch = pump(bench, 0)->as.persist.batch;
    assert_true(persister_on_failed(&bench->persister, &bench->fixture.context, batch, NULL));
    assert_string_equal(bench->persister.error, ""); /* the plugin said nothing */
    assert_false(persister_on_failed(&bench->persister, &bench->fixture.context, batch, "x"));
    assert_false(persister_on_persisted(&bench->persister, batch, bench->log, &done));
    assert_int_equal(done.mark, 7);
    assert_false(persister_idle(&bench->persister));
}

static void failures_without_end_lose_nothing(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    for (uint32_t i = 0; i < 50; i++) {
        const struct effect *batch = pump(bench, PERSIST_RETRY_MS_MAX);
        assert_non_null(batch);
        assert_int_equal(batch->as.persist.bytes, 100);
        assert_true(batch->as.persist.reset); /* until the store has taken something */
        assert_true(persister_on_failed(&bench->persister, &bench->fixture.context,
                                        batch->as.persist.batch, "still"));
        assert_null(pump(bench, 0)); /* not without a pause, which grows up to its limit */
        assert_null(pump(bench, i < 3 ? (100u << i) - 1 : PERSIST_RETRY_MS_MAX - 1));
    }
    assert_true(persister_is_stuck(&bench->persister, &bench->fixture.context));
    assert_non_null(pump(bench, PERSIST_RETRY_MS_MAX));
    assert_int_equal(stored(bench).mark, 1);
}

static void a_long_reason_is_cut(void **state)
{
    struct bench *bench = *state;
    char reason[2 * PERSISTER_ERROR_MAX];
    memset(reason, 'r', sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    add_record(bench, 100, 1);
    uint64_t batch = pump(bench, 0)->as.persist.batch;
    assert_true(persister_on_failed(&bench->persister, &bench->fixture.context, batch, reason));
    assert_int_equal(strlen(bench->persister.error), PERSISTER_ERROR_MAX - 1);
}

static void a_batch_number_that_never_was_is_ignored(void **state)
{
    struct bench *bench = *state;
    struct persist_done done = {7, 7};
    add_record(bench, 100, 1);
    uint64_t batch = pump(bench, 0)->as.persist.batch;
    assert_false(persister_on_persisted(&bench->persister, batch + 1, bench->log, &done));
    assert_false(persister_on_persisted(&bench->persister, UINT64_MAX, bench->log, &done));
    assert_int_equal(done.mark, 7);
    assert_int_equal(stored(bench).mark, 1);
    assert_false(persister_on_persisted(&bench->persister, batch, bench->log, &done));
}

static void void_marks_are_stored_but_not_told(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    pump(bench, 0); /* in flight */
    add_bytes(bench, 50, 2);
    persister_void_marks(&bench->persister);
    assert_int_equal(stored(bench).mark, 0);
    add_record(bench, 100, 3); /* of the session after it */
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.records_len, 2);
    assert_int_equal(stored(bench).mark, 3);
}

static void the_index_is_told_of_the_log_asked_about(void **state)
{
    struct bench *bench = *state;
    struct persist_done done;
    struct log *other = log_create((struct kv_position){0, 0});
    add_record(bench, 100, 1);
    uint64_t batch = pump(bench, 0)->as.persist.batch;
    assert_true(persister_on_persisted(&bench->persister, batch, other, &done));
    assert_int_equal(done.index, 0);
    assert_int_equal(done.mark, 1);
    log_unref(other);
}

static void a_job_keeps_its_log_when_the_owner_lets_go(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    log_unref(bench->log);
    bench->log = log_create((struct kv_position){0, 0}); /* as a new session does */
    add_record(bench, 200, 2);
    const struct effect *batch = pump(bench, 0);
    assert_int_equal(batch->as.persist.bytes, 300);
    assert_int_equal(batch->as.persist.slices_len, 2); /* two logs are never one job */
    struct bytes_reader reader =
        bytes_reader_init(batch->as.persist.slices[0].bytes, batch->as.persist.slices[0].len);
    struct kv_record record;
    assert_true(record_decode(&reader, &record));
    assert_int_equal(record.position.index, 1);
    struct persist_done done = stored(bench);
    assert_int_equal(done.mark, 2);
    assert_int_equal(done.index, 1); /* of the new log */
}

/* teardown() shows that nothing is left. */
static void closing_frees_what_is_queued_and_in_flight(void **state)
{
    struct bench *bench = *state;
    add_record(bench, 100, 1);
    pump(bench, 0);
    add_bytes(bench, 50, 2);
    add_record(bench, 100, 3);
    assert_false(persister_idle(&bench->persister));
}

/* --- any rhythm --- */

static void collect(struct buffer *disk, const struct effect *batch)
{
    size_t before = disk->len;
    for (uint32_t i = 0; i < batch->as.persist.slices_len; i++) {
        const struct kv_slice *slice = &batch->as.persist.slices[i];
        memcpy(buffer_room(disk, slice->len), slice->bytes, slice->len);
    }
    assert_int_equal(disk->len - before, batch->as.persist.bytes);
    struct bytes_reader reader = bytes_reader_init(disk->bytes + before, disk->len - before);
    struct kv_record record;
    uint32_t records = 0;
    for (; reader.left > 0; records++) {
        assert_true(record_decode(&reader, &record));
    }
    assert_int_equal(records, batch->as.persist.records_len);
}

/* Queues a record from the log or one of its own, and notes the bytes expected on the disk. */
static void add_any(struct bench *bench, struct rand *rand, struct buffer *expected, uint64_t mark)
{
    if (rand_percent(rand, 70)) {
        add_record(bench, RECORD_HEADER_BYTES + rand_below(rand, 300), mark);
        struct kv_record record = log_get(bench->log, log_last_index(bench->log));
        record_encode(&record, buffer_room(expected, record_size(&record)));
    } else {
        struct kv_record record = fixture_record("key", "value", 1, mark);
        record_encode(&record, buffer_room(expected, record_size(&record)));
        add_bytes(bench, mark, mark);
    }
}

/* Jobs of any kind, batches that fail or not: the disk sees all bytes once, in order. */
static void the_store_sees_everything_in_order(void **state)
{
    struct bench *bench = *state;
    struct rand rand = {2026};
    struct buffer expected;
    struct buffer disk;
    uint64_t added = 0;
    uint64_t done = 0;
    uint32_t failures = 0;
    buffer_init(&expected);
    buffer_init(&disk);
    for (uint32_t round = 0; round < 3000 || !persister_idle(&bench->persister); round++) {
        for (uint64_t n = round < 3000 ? rand_below(&rand, 12) : 0; n > 0; n--) {
            add_any(bench, &rand, &expected, ++added);
        }
        const struct effect *batch = pump(bench, rand_below(&rand, 60));
        if (batch == NULL) {
            continue;
        }
        if (rand_percent(&rand, 20)) {
            assert_true(persister_on_failed(&bench->persister, &bench->fixture.context,
                                            batch->as.persist.batch, "x"));
            failures++;
            continue;
        }
        collect(&disk, batch);
        struct persist_done reached = stored(bench);
        assert_true(reached.mark > done);
        done = reached.mark;
    }
    assert_true(failures > 100);
    assert_int_equal(done, added);
    assert_int_equal(disk.len, expected.len);
    assert_memory_equal(disk.bytes, expected.bytes, expected.len);
    assert_int_equal(persister_bytes(&bench->persister), 0);
    buffer_close(&expected);
    buffer_close(&disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_queued_is_nothing_emitted),
        TEST(records_go_out_as_slices_of_the_log),
        TEST(one_batch_is_in_flight_and_the_next_one_gathers),
        TEST(while_a_transfer_goes_on_the_position_is_nothing),
        TEST(a_batch_has_the_position_of_its_last_job),
        TEST(a_position_alone_is_a_batch_without_records),
        TEST(the_end_of_a_batch_may_be_set),
        TEST(a_position_alone_stands_between_the_records),
        TEST(a_batch_is_limited_in_records),
        TEST(batches_follow_the_speed_of_the_store),
        TEST(a_batch_is_limited_in_bytes),
        TEST(a_record_larger_than_a_batch_goes_alone),
        TEST(a_batch_is_limited_in_slices),
        TEST(the_most_scattered_job_fits_in_its_slices),
        TEST(a_failed_batch_comes_again_after_a_while),
        TEST(a_batch_that_failed_cannot_be_reported_twice),
        TEST(failures_without_end_lose_nothing),
        TEST(a_long_reason_is_cut),
        TEST(a_batch_number_that_never_was_is_ignored),
        TEST(void_marks_are_stored_but_not_told),
        TEST(the_index_is_told_of_the_log_asked_about),
        TEST(a_job_keeps_its_log_when_the_owner_lets_go),
        TEST(closing_frees_what_is_queued_and_in_flight),
        TEST(the_store_sees_everything_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

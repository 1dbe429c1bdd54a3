/*
 * Taking back the end of a member's log: each key of a dropped record is given back what it had,
 * by a record that stays, else by the content in memory; once, however often it was dropped.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "base/rand.h"
#include "logic/record.h"
#include "logic/tail.h"

#include <string.h>

#define COMMITTED 10u

struct bench {
    struct log *log;
    struct store *store;
    struct buffer records;
    uint32_t count;
    int64_t alloc_before;
};

static void bench_begin(struct bench *bench)
{
    bench->alloc_before = alloc_live();
    bench->log = log_create((struct kv_position){2, COMMITTED});
    bench->store = store_create();
    buffer_init(&bench->records);
    bench->count = 0;
}

static void bench_end(struct bench *bench)
{
    buffer_close(&bench->records);
    store_destroy(bench->store);
    log_unref(bench->log);
    assert_int_equal(alloc_live(), bench->alloc_before);
}

static void put(struct bench *bench, const char *key, const char *value)
{
    store_put(bench->store, key, (uint32_t)strlen(key), value, (uint32_t)strlen(value),
              (struct kv_position){1, 7});
}

/* value NULL: a removal. */
static void add(struct bench *bench, const char *key, const char *value)
{
    struct kv_record record = fixture_record(key, value, 3, log_last_index(bench->log) + 1);
    log_append(bench->log, &record);
}

static void undo(struct bench *bench, uint64_t index)
{
    tail_undo(bench->log, bench->store, COMMITTED, index, &bench->records, &bench->count);
}

/* The record number place must be that. */
static void expect(const struct bench *bench, uint32_t place, const char *key, const char *value,
                   struct kv_position position)
{
    struct bytes_reader reader = bytes_reader_init(bench->records.bytes, bench->records.len);
    struct kv_record record = {.key = NULL};
    for (uint32_t i = 0; i <= place; i++) {
        assert_true(record_decode(&reader, &record));
    }
    assert_true(record_has_key(&record, key, (uint32_t)strlen(key)));
    assert_int_equal(record.kind, value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT);
    if (value != NULL) {
        assert_int_equal(record.value_len, strlen(value));
        assert_memory_equal(record.value, value, record.value_len);
    }
    assert_int_equal(record.position.view, position.view);
    assert_int_equal(record.position.index, position.index);
}

static void nothing_dropped_is_nothing_given_back(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin(&bench);
    undo(&bench, COMMITTED); /* the log is empty */
    add(&bench, "a", "1");
    undo(&bench, 11);
    assert_int_equal(bench.count, 0);
    assert_int_equal(bench.records.len, 0);
    bench_end(&bench);
}

static void keys_come_back_from_where_they_are(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin(&bench);
    put(&bench, "memory", "old");
    put(&bench, "both", "old");
    add(&bench, "kept", "1");     /* 11 */
    add(&bench, "both", "2");     /* 12 */
    add(&bench, "gone", "3");     /* 13 */
    add(&bench, "gone", NULL);    /* 14: the last that stays */
    add(&bench, "kept", "bad");   /* 15 */
    add(&bench, "memory", "bad"); /* 16 */
    add(&bench, "both", NULL);    /* 17 */
    add(&bench, "new", "bad");    /* 18 */
    add(&bench, "gone", "bad");   /* 19 */
    add(&bench, "kept", "worse"); /* 20: once is enough */
    undo(&bench, 14);
    assert_int_equal(bench.count, 5);
    expect(&bench, 0, "kept", "1", (struct kv_position){3, 11});
    expect(&bench, 1, "memory", "old", (struct kv_position){1, 7});
    expect(&bench, 2, "both", "2", (struct kv_position){3, 12});
    expect(&bench, 3, "new", NULL, (struct kv_position){3, 14});
    expect(&bench, 4, "gone", NULL, (struct kv_position){3, 14});
    bench_end(&bench);
}

static void all_may_be_dropped(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin(&bench);
    put(&bench, "", "empty");
    add(&bench, "", NULL);
    add(&bench, "x", "1");
    undo(&bench, COMMITTED);
    assert_int_equal(bench.count, 2);
    expect(&bench, 0, "", "empty", (struct kv_position){1, 7});
    expect(&bench, 1, "x", NULL, (struct kv_position){2, COMMITTED});
    bench_end(&bench);
}

static void what_is_kept_is_a_log_of_its_own(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin(&bench);
    for (uint32_t i = 0; i < 5; i++) {
        add(&bench, "k", "v"); /* 11 to 15 */
    }
    log_trim(bench.log, 12, 0);
    for (uint64_t index = 12; index <= 15; index++) {
        struct log *kept = tail_cut(bench.log, index);
        assert_int_equal(log_first_index(kept), 13);
        assert_int_equal(log_last_index(kept), index);
        assert_int_equal(log_position_at(kept, 12).view, 3);
        if (index > 12) {
            assert_int_equal(log_get(kept, index).request, index);
        }
        struct kv_record next = fixture_record("n", "w", 4, index + 1); /* it goes on */
        log_append(kept, &next);
        log_unref(kept);
    }
    assert_int_equal(log_last_index(bench.log), 15); /* this one is as it was */
    bench_end(&bench);
}

/* A store that had everything, and is then told the records given back, is as if the dropped ones
 * had never been. */
static void any_tail_leaves_what_was(void **state)
{
    (void)state;
    static const char *const keys[] = {"", "a", "b", "c"};
    struct rand rand = {11};
    for (uint32_t round = 0; round < 500; round++) {
        struct bench bench;
        char disk[4][8] = {"", "", "", ""}; /* "": absent */
        char expected[4][8];
        bench_begin(&bench);
        uint64_t index = COMMITTED + rand_below(&rand, 8);
        memset(expected, 0, sizeof(expected));
        for (uint32_t i = 0; i < 4; i++) {
            if (rand_percent(&rand, 50)) {
                put(&bench, keys[i], "m");
                memcpy(disk[i], "m", 2);
            }
        }
        memcpy(expected, disk, sizeof(disk));
        uint64_t last = index + rand_below(&rand, 8);
        for (uint64_t next = COMMITTED + 1; next <= last; next++) {
            char value[8];
            uint32_t key = (uint32_t)rand_below(&rand, 4);
            snprintf(value, sizeof(value), "v%u", (unsigned)(next % 100));
            bool removes = rand_percent(&rand, 30);
            add(&bench, keys[key], removes ? NULL : value);
            memcpy(disk[key], removes ? "" : value, removes ? 1 : sizeof(value));
            if (next <= index) {
                memcpy(expected[key], disk[key], sizeof(disk[key]));
            }
        }
        undo(&bench, index);
        struct bytes_reader reader = bytes_reader_init(bench.records.bytes, bench.records.len);
        struct kv_record record;
        while (reader.left > 0) {
            assert_true(record_decode(&reader, &record));
            for (uint32_t i = 0; i < 4; i++) {
                if (record_has_key(&record, keys[i], (uint32_t)strlen(keys[i]))) {
                    memset(disk[i], 0, sizeof(disk[i]));
                    memcpy(disk[i], record.value_len == 0 ? "" : record.value, record.value_len);
                }
            }
        }
        for (uint32_t i = 0; i < 4; i++) {
            assert_string_equal(disk[i], expected[i]);
        }
        bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_dropped_is_nothing_given_back),
        cmocka_unit_test(keys_come_back_from_where_they_are),
        cmocka_unit_test(all_may_be_dropped),
        cmocka_unit_test(what_is_kept_is_a_log_of_its_own),
        cmocka_unit_test(any_tail_leaves_what_was),
    };
    return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}

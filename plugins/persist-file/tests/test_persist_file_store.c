/* What a store does while nothing fails. */
#include "../format.h"
#include "../store.h"
#include "base/rand.h"
#include "kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct kv_plugin kv_plugin;

struct fixture {
    struct kit_host host;
    char path[KIT_PATH_LEN_MAX];
    struct kit_store store;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    kit_host_init(&fixture->host);
    kit_folder_make(fixture->path);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    kit_close(&fixture->store);
    kit_folder_remove(fixture->path);
    kit_host_close(&fixture->host);
    free(fixture);
    return 0;
}

static void reopen(struct fixture *fixture, const struct kit_options *options)
{
    kit_close(&fixture->store);
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->path, options), KV_OK);
}

static void test_descriptor(void **state)
{
    assert_int_equal(kv_plugin.magic, KV_ABI_MAGIC);
    assert_int_equal(kv_plugin.ops_size, sizeof(struct kv_persist_ops));
    assert_string_equal(kv_plugin.name, "persist-file");
    assert_int_equal(kv_plugin.capabilities,
                     KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE);
    /* The defaults that the descriptor names are ones that create() takes. */
    struct fixture *fixture = *state;
    struct kv_setting settings[8];
    void *self = NULL;
    assert_in_range(kv_plugin.options_len, 1, 8);
    for (uint32_t i = 0; i < kv_plugin.options_len; i++) {
        settings[i].name = kv_plugin.options[i].name;
        settings[i].value = kv_plugin.options[i].default_value;
        if (settings[i].value == NULL) {
            assert_string_equal(settings[i].name, "path");
            settings[i].value = fixture->path;
        }
    }
    const struct kv_persist_ops *ops = kv_plugin.ops;
    assert_int_equal(ops->create(&fixture->host.table, settings, kv_plugin.options_len, &self),
                     KV_OK);
    struct store *store = self;
    assert_true(store->sync_always);
    assert_int_equal(store->compact_min_bytes, 67108864);
    assert_int_equal(store->segment_bytes, 268435456);
    ops->destroy(self);
}

static void test_bad_options(void **state)
{
    struct fixture *fixture = *state;
    const struct kv_persist_ops *ops = kv_plugin.ops;
    static const struct kv_setting bad[] = {
        {"path", ""},
        {"sync", "sometimes"},
        {"sync", ""},
        {"segment_bytes", "4095"},
        {"segment_bytes", "-1"},
        {"segment_bytes", "12 MB"},
        {"segment_bytes", "99999999999999999999999"},
        {"compact_min_bytes", "0"},
        {"compact_min_bytes", ""},
        {"preallocate_bytes", "1073741825"},
        {"colour", "blue"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_setting settings[] = {{"path", fixture->path}, bad[i]};
        void *self = &self;
        kit_host_clear(&fixture->host);
        assert_int_equal(ops->create(&fixture->host.table, settings, 2, &self), KV_E_INVALID);
        assert_ptr_equal(self, &self);
        assert_true(kit_host_has(&fixture->host, bad[i].name));
        assert_int_equal(fixture->host.live, 0);
    }
    void *self = NULL;
    assert_int_equal(ops->create(&fixture->host.table, NULL, 0, &self), KV_E_INVALID);
    assert_true(kit_host_has(&fixture->host, "path is missing"));
}

static void test_empty_store_and_parents(void **state)
{
    struct fixture *fixture = *state;
    char deep[KIT_PATH_LEN_MAX];
    struct kit_store store;
    for (int round = 0; round < 2; round++) {
        (void)snprintf(deep, sizeof(deep), "%.200s/a//b/c/", fixture->path);
        assert_int_equal(kit_open(&store, &fixture->host, deep, NULL), KV_OK);
        assert_int_equal(store.position.view, 0);
        assert_int_equal(store.position.index, 0);
        assert_true(kit_holds(&store, 1, 0));
        kit_close(&store);
    }
    for (const char *part = "a//b/c\0a//b\0a\0"; *part != '\0'; part += strlen(part) + 1) {
        (void)snprintf(deep, sizeof(deep), "%.200s/%s", fixture->path, part);
        kit_folder_remove(deep);
    }
    /* A file where the folder should be. */
    kit_file_write(fixture->path, "file", "x", 1);
    (void)snprintf(deep, sizeof(deep), "%.200s/file/x", fixture->path);
    assert_int_equal(kit_open(&store, &fixture->host, deep, NULL), KV_E_IO);
    assert_true(kit_host_has(&fixture->host, "Not a directory"));
}

static void test_apply_and_reopen(void **state)
{
    struct fixture *fixture = *state;
    static const struct kit_options large = {"always", "67108864", "268435456", "2097152"};
    reopen(fixture, &large);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(kit_apply(&fixture->store, 1, i), KV_OK);
    }
    reopen(fixture, &large);
    assert_int_equal(fixture->store.position.view, 1);
    assert_int_equal(fixture->store.position.index, 30);
    assert_true(kit_holds(&fixture->store, 1, 30));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
    /* A clean close leaves no preallocated room behind. */
    kit_close(&fixture->store);
    assert_true(kit_folder_bytes(fixture->path) < 65536);
}

/* Repeating a batch, the position (0, 0), and a position that goes back are all fine. */
static void test_repeated_and_positions(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    reopen(fixture, NULL);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kit_apply(&fixture->store, 2, 1), KV_OK);
        assert_int_equal(kit_apply(&fixture->store, 2, 2), KV_OK);
    }
    kit_batch_fill(&batch, 2, 3);
    const struct kv_persist_ops *ops = fixture->store.ops;
    assert_int_equal(ops->apply(fixture->store.self, batch.records, batch.count,
                                (struct kv_position){0, 0}, batch.results),
                     KV_OK);
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.view, 0);
    assert_int_equal(fixture->store.position.index, 0);
    assert_true(kit_holds(&fixture->store, 2, 3));
}

struct largest {
    uint32_t records;
    uint32_t value_len;
    bool same;
    const uint8_t *expected;
};

static int32_t take_large(void *ctx, const struct kv_record *record)
{
    struct largest *largest = ctx;
    largest->records++;
    if (record->value_len > largest->value_len) {
        largest->value_len = record->value_len;
        largest->same = memcmp(record->value, largest->expected, record->value_len) == 0;
    }
    return KV_OK;
}

static void test_large_values(void **state)
{
    struct fixture *fixture = *state;
    enum { LEN = 1 << 20, COUNT = 20 };
    uint8_t *value = malloc(LEN);
    struct kv_record records[COUNT];
    uint32_t results[COUNT] = {0};
    struct rand rand = {7};
    for (size_t i = 0; i < LEN; i++) {
        value[i] = (uint8_t)rand_next(&rand);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        records[i] = (struct kv_record){.key = value + i,
                                        .key_len = 16,
                                        .value = value,
                                        .value_len = LEN,
                                        .kind = KV_RECORD_INSERT};
    }
    reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, COUNT, (struct kv_position){1, i}, results),
            KV_OK);
    }
    (void)kit_wait_compacted(&fixture->store);
    reopen(fixture, NULL);
    struct largest largest = {.expected = value};
    assert_int_equal(ops->load(fixture->store.self, take_large, &largest), KV_OK);
    assert_in_range(largest.records, COUNT, 4 * COUNT);
    assert_int_equal(largest.value_len, LEN);
    assert_true(largest.same);
    free(value);
}

/* Random batches against the model, reopened after each, through roll-overs and compactions. */
static void test_property(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t seed = 10; seed < 13; seed++) {
        kit_close(&fixture->store);
        kit_folder_remove(fixture->path);
        uint64_t compactions = 0;
        for (uint64_t i = 1; i <= 120; i++) {
            reopen(fixture, NULL);
            assert_int_equal(fixture->store.position.index, i - 1);
            assert_true(kit_holds(&fixture->store, seed, i - 1));
            assert_int_equal(kit_apply(&fixture->store, seed, i), KV_OK);
            compactions += i % 3 == 0 ? kit_wait_compacted(&fixture->store) : 0;
        }
        assert_true(compactions > 0);
    }
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

/* Endless updates of few keys: files, bytes and memory stay flat, and removed keys leave. */
static void test_compaction_keeps_it_small(void **state)
{
    struct fixture *fixture = *state;
    reopen(fixture, NULL);
    uint64_t compacted = 0;
    for (uint64_t i = 1; i <= 6000; i++) {
        assert_int_equal(kit_apply(&fixture->store, 5, i), KV_OK);
        if (i % 20 == 0) {
            compacted = kit_wait_compacted(&fixture->store);
            assert_in_range(kit_folder_files(fixture->path), 2, 6);
            assert_true(kit_folder_bytes(fixture->path) < 65536);
        }
    }
    assert_true(compacted > 50);
    assert_true(fixture->host.live_most < 16);
    reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 5, 6000));
    /* All keys removed: the base that follows is empty. */
    struct kit_batch batch;
    for (uint64_t i = 6001; kit_wait_compacted(&fixture->store) < 4; i++) {
        kit_batch_fill(&batch, 5, i);
        for (uint32_t k = 0; k < batch.count; k++) {
            batch.records[k].kind = KV_RECORD_REMOVE;
            batch.records[k].value = NULL;
            batch.records[k].value_len = 0;
        }
        assert_int_equal(fixture->store.ops->apply(fixture->store.self, batch.records, batch.count,
                                                   batch.position, batch.results),
                         KV_OK);
    }
    struct store *store = fixture->store.self;
    assert_int_equal(store->compact.base_bytes, FORMAT_FILE_HEADER_LEN + FORMAT_BATCH_HEADER_LEN);
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

/* Writers go on while a compaction runs; close() in the middle of one is safe. */
static void test_close_during_compaction(void **state)
{
    struct fixture *fixture = *state;
    uint64_t batch = 0;
    for (int round = 0; round < 40; round++) {
        reopen(fixture, NULL);
        assert_int_equal(fixture->store.position.index, batch);
        assert_true(kit_holds(&fixture->store, 6, batch));
        struct compact *compact = &((struct store *)fixture->store.self)->compact;
        for (bool begun = false; !begun;) {
            batch++;
            assert_int_equal(kit_apply(&fixture->store, 6, batch), KV_OK);
            pthread_mutex_lock(&compact->lock);
            begun = compact->target != 0 || compact->done > 0;
            pthread_mutex_unlock(&compact->lock);
        }
    }
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

static void test_sync_never(void **state)
{
    struct fixture *fixture = *state;
    static const struct kit_options never = {"never", "4096", "4096", "0"};
    reopen(fixture, &never);
    assert_int_equal(fixture->host.warnings, 1);
    assert_true(kit_host_has(&fixture->host, "sync = \"never\""));
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(kit_apply(&fixture->store, 3, i), KV_OK);
    }
    reopen(fixture, &never);
    assert_int_equal(fixture->store.position.index, 100);
    assert_true(kit_holds(&fixture->store, 3, 100));
}

static void test_two_instances(void **state)
{
    struct fixture *fixture = *state;
    char other_path[KIT_PATH_LEN_MAX];
    struct kit_store other;
    struct kit_store third;
    kit_folder_make(other_path);
    reopen(fixture, NULL);
    assert_int_equal(kit_open(&other, &fixture->host, other_path, NULL), KV_OK);
    for (uint64_t i = 1; i <= 60; i++) {
        assert_int_equal(kit_apply(&fixture->store, 1, i), KV_OK);
        assert_int_equal(kit_apply(&other, 2, i), KV_OK);
    }
    /* The same folder twice, also under another name. */
    char alias[KIT_PATH_LEN_MAX];
    (void)snprintf(alias, sizeof(alias), "%.200s/.", other_path);
    assert_int_equal(kit_open(&third, &fixture->host, other_path, NULL), KV_E_EXISTS);
    assert_true(kit_host_has(&fixture->host, "in use"));
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_E_EXISTS);
    kit_close(&other);
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_OK);
    assert_true(kit_holds(&third, 2, 60));
    kit_close(&third);
    reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 1, 60));
    kit_folder_remove(other_path);
}

static int32_t stop_at_once(void *ctx, const struct kv_record *record)
{
    (void)record;
    ++*(uint32_t *)ctx;
    return KV_E_BUSY;
}

static void test_misuse(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    struct kv_position position = {9, 9};
    uint32_t calls = 0;
    kit_batch_fill(&batch, 1, 1);
    reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    void *self = fixture->store.self;
    assert_int_equal(ops->open(self, &position), KV_E_INVALID);
    assert_int_equal(position.view, 9);
    assert_int_equal(kit_apply(&fixture->store, 1, 1), KV_OK);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(calls, 0);
    ops->close(self);
    ops->close(self);
    assert_int_equal(ops->apply(self, batch.records, 1, batch.position, batch.results),
                     KV_E_INVALID);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(ops->open(self, &position), KV_OK);
    assert_int_equal(position.index, 1);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_BUSY);
    assert_int_equal(calls, 1);
    /* destroy() of an open instance closes it. */
    ops->destroy(self);
    fixture->store.self = NULL;
    reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 1, 1));
}

/* A batch without records moves the position only. */
static void test_position_alone(void **state)
{
    struct fixture *fixture = *state;
    reopen(fixture, NULL);
    assert_int_equal(kit_apply(&fixture->store, 1, 1), KV_OK);
    for (uint64_t i = 2; i <= 200; i++) {
        assert_int_equal(fixture->store.ops->apply(fixture->store.self, NULL, 0,
                                                   (struct kv_position){3, i}, NULL),
                         KV_OK);
    }
    (void)kit_wait_compacted(&fixture->store);
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.view, 3);
    assert_int_equal(fixture->store.position.index, 200);
    assert_true(kit_holds(&fixture->store, 1, 1));
}

/* A malformed record is refused alone; the others and the position are stored. */
static void test_malformed_records(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    struct kv_record records[5];
    uint32_t results[5] = {0};
    kit_batch_fill(&batch, 1, 1);
    records[0] = (struct kv_record){.key = "a", .key_len = 1, .kind = 77};
    records[1] = (struct kv_record){
        .key = "a", .key_len = 1, .value = "b", .value_len = 1, .kind = KV_RECORD_REMOVE};
    records[2] = (struct kv_record){.key = NULL, .key_len = 1, .kind = KV_RECORD_INSERT};
    records[3] = (struct kv_record){.key = "a", .key_len = 1, .value_len = 1, .kind = 1};
    records[4] = batch.records[0];
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, records, 5,
                                               (struct kv_position){1, 5}, results),
                     KV_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(results[i], KV_RESULT_REFUSED);
    }
    assert_int_equal(results[4], KV_RESULT_STORED);
    results[0] = KV_RESULT_STORED;
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, records, 1,
                                               (struct kv_position){1, 6}, results),
                     KV_OK);
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.index, 6);
    uint32_t calls = 0;
    assert_int_equal(fixture->store.ops->load(fixture->store.self, stop_at_once, &calls),
                     KV_E_BUSY);
    assert_int_equal(calls, 1);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_descriptor),
        TEST(test_bad_options),
        TEST(test_empty_store_and_parents),
        TEST(test_apply_and_reopen),
        TEST(test_repeated_and_positions),
        TEST(test_large_values),
        TEST(test_property),
        TEST(test_compaction_keeps_it_small),
        TEST(test_close_during_compaction),
        TEST(test_sync_never),
        TEST(test_two_instances),
        TEST(test_misuse),
        TEST(test_position_alone),
        TEST(test_malformed_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

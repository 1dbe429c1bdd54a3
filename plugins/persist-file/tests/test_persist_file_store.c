/* What persist-file does while nothing fails, besides the common tests. */
#include "../format.h"
#include "../store.h"
#include "base/rand.h"
#include "file_kit.h"
#include "store_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

static void test_close_leaves_no_room(void **state)
{
    struct fixture *fixture = *state;
    static const struct kit_options large = {"always", "67108864", "268435456", "2097152"};
    fixture_reopen(fixture, &large);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(kit_apply(&fixture->store, 1, i), KV_OK);
    }
    fixture_reopen(fixture, &large);
    assert_int_equal(fixture->store.position.view, 1);
    assert_int_equal(fixture->store.position.index, 30);
    assert_true(kit_holds(&fixture->store, 1, 30));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
    /* A clean close leaves no preallocated room behind. */
    kit_close(&fixture->store);
    assert_true(kit_folder_bytes(fixture->path) < 65536);
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
    fixture_reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, COUNT, (struct kv_position){1, i}, results),
            KV_OK);
    }
    (void)file_kit_wait_compacted(&fixture->store);
    fixture_reopen(fixture, NULL);
    struct largest largest = {.expected = value};
    assert_int_equal(ops->load(fixture->store.self, take_large, &largest), KV_OK);
    assert_in_range(largest.records, COUNT, 4 * COUNT);
    assert_int_equal(largest.value_len, LEN);
    assert_true(largest.same);
    free(value);
}

/* Endless updates of few keys: files, bytes and memory stay flat, and removed keys leave. */
static void test_compaction_keeps_it_small(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, NULL);
    uint64_t compacted = 0;
    for (uint64_t i = 1; i <= 6000; i++) {
        assert_int_equal(kit_apply(&fixture->store, 5, i), KV_OK);
        if (i % 20 == 0) {
            compacted = file_kit_wait_compacted(&fixture->store);
            assert_in_range(kit_folder_files(fixture->path), 2, 6);
            assert_true(kit_folder_bytes(fixture->path) < 65536);
        }
    }
    assert_true(compacted > 50);
    assert_true(fixture->host.live_most < 16);
    fixture_reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 5, 6000));
    /* All keys removed: the base that follows is empty. */
    struct kit_batch batch;
    for (uint64_t i = 6001; file_kit_wait_compacted(&fixture->store) < 4; i++) {
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
        fixture_reopen(fixture, NULL);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_descriptor),
        FIXTURE_TEST(test_close_leaves_no_room),
        FIXTURE_TEST(test_large_values),
        FIXTURE_TEST(test_compaction_keeps_it_small),
        FIXTURE_TEST(test_close_during_compaction),
    };
    int failed = store_tests_run();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}

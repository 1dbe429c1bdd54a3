/* What persist-bdb does while nothing fails, besides the common tests. */
#include "base/rand.h"
#include "fixture.h"
#include "store_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_descriptor(void **state)
{
    (void)state;
    const struct kv_persist_ops *ops = kv_plugin.ops;
    assert_int_equal(kv_plugin.magic, KV_ABI_MAGIC);
    assert_int_equal(kv_plugin.kind, KV_KIND_PERSIST);
    assert_string_equal(kv_plugin.name, "persist-bdb");
    assert_int_equal(kv_plugin.capabilities, KV_PERSIST_LOAD | KV_PERSIST_ATOMIC |
                                                 KV_PERSIST_DURABLE | KV_PERSIST_RESET |
                                                 KV_PERSIST_GET);
    assert_true(ops->load != NULL && ops->reset != NULL && ops->get != NULL);
    assert_int_equal(kv_plugin.options_len, 5);
    assert_null(kv_plugin.options[0].default_value);
}

static void test_defaults_work(void **state)
{
    struct fixture *fixture = *state;
    struct kv_setting settings[8];
    struct kit_store *store = &fixture->store;
    for (uint32_t i = 0; i < kv_plugin.options_len; i++) {
        const struct kv_option *option = &kv_plugin.options[i];
        settings[i].name = option->name;
        settings[i].value = option->default_value == NULL ? fixture->path : option->default_value;
    }
    store->ops = kv_plugin.ops;
    assert_int_equal(
        store->ops->create(&fixture->host.table, settings, kv_plugin.options_len, &store->self),
        KV_OK);
    assert_int_equal(store->ops->open(store->self, &store->position), KV_OK);
    assert_int_equal(kit_apply(store, 1, 1), KV_OK);
    assert_true(kit_holds(store, 1, 1));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

struct expected {
    const uint8_t *value;
    uint32_t key_len;
    uint32_t value_len;
    uint32_t same;
};

static int32_t take_expected(void *ctx, const struct kv_record *record)
{
    struct expected *expected = ctx;
    expected->same += record->value_len == expected->value_len &&
                      record->key_len == expected->key_len &&
                      memcmp(record->value, expected->value, record->value_len) == 0;
    return KV_OK;
}

/* The longest key and value that a node takes, with a cache much smaller than the value. */
static void test_longest(void **state)
{
    struct fixture *fixture = *state;
    enum { KEY_LEN = 1 << 20, VALUE_LEN = 64 << 20 };
    uint8_t *bytes = malloc(VALUE_LEN);
    struct kv_record records[2];
    uint32_t results[2] = {0};
    static const struct kit_options options = {"never", "8388608", "16777216", "67108864"};
    struct rand rand = {7};
    for (size_t i = 0; i < VALUE_LEN / 8; i++) {
        uint64_t number = rand_next(&rand);
        memcpy(bytes + i * 8, &number, 8);
    }
    for (uint32_t i = 0; i < 2; i++) {
        /* Keys that differ at the end only. */
        records[i] = (struct kv_record){.key = bytes,
                                        .key_len = KEY_LEN - i,
                                        .value = bytes,
                                        .value_len = VALUE_LEN - i,
                                        .kind = KV_RECORD_INSERT};
    }
    fixture_reopen(fixture, &options);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 2; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, 2, (struct kv_position){1, i}, results),
            KV_OK);
    }
    fixture_reopen(fixture, &options);
    for (uint32_t i = 0; i < 2; i++) {
        struct expected expected = {bytes, KEY_LEN - i, VALUE_LEN - i, 0};
        assert_int_equal(
            ops->get(fixture->store.self, bytes, KEY_LEN - i, take_expected, &expected), KV_OK);
        assert_int_equal(expected.same, 1);
        assert_int_equal(ops->load(fixture->store.self, take_expected, &expected), KV_OK);
        assert_int_equal(expected.same, 2);
    }
    free(bytes);
}

/* As many records as the node puts into one batch, more bytes than the cache has. */
static void test_largest_batch(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 16384, VALUE_LEN = 1000 };
    struct kv_record *records = calloc(COUNT, sizeof(*records));
    uint32_t *results = calloc(COUNT, sizeof(*results));
    uint32_t *keys = calloc(COUNT, sizeof(*keys));
    static const uint8_t value[VALUE_LEN] = {1, 2, 3};
    for (uint32_t i = 0; i < COUNT; i++) {
        keys[i] = i * 2654435761u;
        records[i] = (struct kv_record){.key = &keys[i],
                                        .key_len = 4,
                                        .value = value,
                                        .value_len = VALUE_LEN,
                                        .kind = KV_RECORD_INSERT};
    }
    fixture_reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, COUNT, (struct kv_position){1, i}, results),
            KV_OK);
    }
    fixture_reopen(fixture, NULL);
    struct expected expected = {value, 4, VALUE_LEN, 0};
    assert_int_equal(ops->load(fixture->store.self, take_expected, &expected), KV_OK);
    assert_int_equal(expected.same, COUNT);
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
    free(records);
    free(results);
    free(keys);
}

/* Endless updates of few keys: files, bytes and memory stay flat. */
static void test_folder_stays_small(void **state)
{
    struct fixture *fixture = *state;
    /* 131072 bytes for a log file, 262144 until a checkpoint: 20,000 batches write about 60 times
     * that, and the content is below 0.5 MB. */
    static const struct kit_options options = {"never", "1048576", "131072", "262144"};
    uint64_t most = 0;
    uint32_t files = 0;
    fixture_reopen(fixture, &options);
    for (uint64_t i = 1; i <= 20000; i++) {
        assert_int_equal(kit_apply(&fixture->store, 5, i), KV_OK);
        if (i % 50 == 0) {
            uint64_t bytes = kit_folder_bytes(fixture->path);
            most = bytes > most ? bytes : most;
            uint32_t now = kit_folder_files(fixture->path);
            files = now > files ? now : files;
        }
    }
    print_message("at most %llu bytes in %u files\n", (unsigned long long)most, files);
    assert_true(most < 1500000);
    assert_true(files < 10);
    assert_true(fixture->host.live_most < 8);
    fixture_reopen(fixture, &options);
    assert_int_equal(fixture->store.position.index, 20000);
    assert_true(kit_holds(&fixture->store, 5, 20000));
}

static void test_misuse_of_get_and_reset(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    const struct kv_record *record = &batch.records[0];
    uint32_t calls = 0;
    kit_batch_fill(&batch, 5, 1);
    assert_int_equal(record->kind, KV_RECORD_INSERT);
    fixture_reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    void *self = fixture->store.self;
    assert_int_equal(kit_apply(&fixture->store, 5, 1), KV_OK);
    assert_int_equal(ops->get(self, "no such key", 11, kit_stop_at_once, &calls), KV_E_NOT_FOUND);
    assert_int_equal(calls, 0);
    assert_int_equal(ops->get(self, record->key, record->key_len, kit_stop_at_once, &calls),
                     KV_E_BUSY);
    assert_int_equal(calls, 1);
    ops->close(self);
    assert_int_equal(ops->get(self, "", 0, kit_stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(ops->reset(self), KV_E_INVALID);
    assert_int_equal(calls, 1);
}

static void test_reset(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, NULL);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= 20; i++) {
            assert_int_equal(kit_apply(&fixture->store, 4, i), KV_OK);
        }
        fixture_reopen(fixture, NULL);
        assert_int_equal(fixture->store.ops->reset(fixture->store.self), KV_OK);
        assert_int_equal(fixture->store.ops->reset(fixture->store.self), KV_OK);
        assert_true(kit_holds(&fixture->store, 4, 0));
        fixture_reopen(fixture, NULL);
        assert_int_equal(fixture->store.position.view, 0);
        assert_int_equal(fixture->store.position.index, 0);
        assert_true(kit_holds(&fixture->store, 4, 0));
    }
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

/* No memory for the n-th allocation: an error, nothing lost, nothing left behind. */
static void test_no_memory(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, NULL);
    assert_int_equal(kit_apply(&fixture->store, 6, 1), KV_OK);
    kit_close(&fixture->store);
    assert_int_equal(fixture->host.live, 0);
    uint32_t failures = 0;
    uint64_t applied = 1;
    for (uint64_t point = 1; point < 12; point++) {
        kit_host_clear(&fixture->host);
        fixture->host.fail_allocation = fixture->host.allocations + point;
        int32_t status = kit_open(&fixture->store, &fixture->host, fixture->path, NULL);
        if (status == KV_OK) {
            assert_int_equal(fixture->store.position.index, applied);
            status = kit_apply(&fixture->store, 6, applied + 1);
            applied += status == KV_OK;
        }
        assert_true(status == KV_OK || status == KV_E_NOMEM);
        failures += status == KV_E_NOMEM;
        kit_close(&fixture->store);
        assert_int_equal(fixture->host.live, 0);
    }
    fixture->host.fail_allocation = 0;
    assert_int_equal(failures, 4); /* instance, path, scan, buffer */
    fixture_reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.index, applied);
    assert_true(kit_holds(&fixture->store, 6, applied));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_descriptor),
        FIXTURE_TEST(test_defaults_work),
        FIXTURE_TEST(test_longest),
        FIXTURE_TEST(test_largest_batch),
        FIXTURE_TEST(test_folder_stays_small),
        FIXTURE_TEST(test_misuse_of_get_and_reset),
        FIXTURE_TEST(test_reset),
        FIXTURE_TEST(test_no_memory),
    };
    int failed = store_tests_run();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}

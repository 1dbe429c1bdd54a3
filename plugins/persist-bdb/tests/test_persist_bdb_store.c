/*
 * What persist-bdb stores, gives back and refuses, with a sound disk.
 */
#include "../store.h"
#include "base/rand.h"
#include "kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct kv_plugin kv_plugin;

struct fixture {
    struct kit_host host;
    struct kit_store store;
    char path[KIT_PATH_LEN_MAX];
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
    int32_t status = kit_open(&fixture->store, &fixture->host, fixture->path, options);
    if (status != KV_OK) {
        print_message("%s", fixture->host.log);
    }
    assert_int_equal(status, KV_OK);
}

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

static void test_bad_options(void **state)
{
    struct fixture *fixture = *state;
    const struct kv_persist_ops *ops = kv_plugin.ops;
    static const struct kv_setting bad[] = {
        {"path", ""},
        {"sync", "sometimes"},
        {"sync", ""},
        {"cache_bytes", "1048575"},
        {"cache_bytes", "-1"},
        {"cache_bytes", "12 MB"},
        {"log_bytes", "99999999999999999999999"},
        {"log_bytes", "131071"},
        {"log_bytes", "1073741825"},
        {"checkpoint_bytes", "65535"},
        {"checkpoint_bytes", ""},
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
    reopen(fixture, NULL);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(kit_apply(&fixture->store, 1, i), KV_OK);
        assert_true(kit_holds(&fixture->store, 1, i));
    }
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.view, 1);
    assert_int_equal(fixture->store.position.index, 30);
    assert_true(kit_holds(&fixture->store, 1, 30));
    /* Closed and opened without a new instance. */
    const struct kv_persist_ops *ops = fixture->store.ops;
    ops->close(fixture->store.self);
    assert_int_equal(ops->open(fixture->store.self, &fixture->store.position), KV_OK);
    assert_int_equal(fixture->store.position.index, 30);
    assert_true(kit_holds(&fixture->store, 1, 30));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
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
    reopen(fixture, &options);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 2; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, 2, (struct kv_position){1, i}, results),
            KV_OK);
    }
    reopen(fixture, &options);
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
    reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(
            ops->apply(fixture->store.self, records, COUNT, (struct kv_position){1, i}, results),
            KV_OK);
    }
    reopen(fixture, NULL);
    struct expected expected = {value, 4, VALUE_LEN, 0};
    assert_int_equal(ops->load(fixture->store.self, take_expected, &expected), KV_OK);
    assert_int_equal(expected.same, COUNT);
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
    free(records);
    free(results);
    free(keys);
}

/* Random batches against the model, reopened after each. */
static void test_property(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t seed = 10; seed < 12; seed++) {
        kit_close(&fixture->store);
        kit_folder_remove(fixture->path);
        for (uint64_t i = 1; i <= 60; i++) {
            reopen(fixture, NULL);
            assert_int_equal(fixture->store.position.index, i - 1);
            assert_true(kit_holds(&fixture->store, seed, i - 1));
            assert_int_equal(kit_apply(&fixture->store, seed, i), KV_OK);
        }
    }
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
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
    reopen(fixture, &options);
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
    reopen(fixture, &options);
    assert_int_equal(fixture->store.position.index, 20000);
    assert_true(kit_holds(&fixture->store, 5, 20000));
}

static void test_sync_never(void **state)
{
    struct fixture *fixture = *state;
    static const struct kit_options never = {"never", "1048576", "131072", "262144"};
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
    assert_true(kit_host_has(&fixture->host, other_path));
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_E_EXISTS);
    assert_int_equal(kit_apply(&other, 2, 61), KV_OK);
    kit_close(&other);
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_OK);
    assert_true(kit_holds(&third, 2, 61));
    kit_close(&third);
    reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 1, 60));
    kit_folder_remove(other_path);
}

/* The folder is open in another process. */
static void test_two_processes(void **state)
{
    struct fixture *fixture = *state;
    reopen(fixture, NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct kit_host host;
        struct kit_store store;
        kit_host_init(&host);
        int32_t status = kit_open(&store, &host, fixture->path, NULL);
        _exit(status == KV_E_EXISTS && kit_host_has(&host, fixture->path) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(kit_apply(&fixture->store, 1, 1), KV_OK);
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
    kit_batch_fill(&batch, 5, 1);
    reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    void *self = fixture->store.self;
    assert_int_equal(ops->open(self, &position), KV_E_INVALID);
    assert_int_equal(position.view, 9);
    assert_int_equal(kit_apply(&fixture->store, 5, 1), KV_OK);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(calls, 0);
    ops->close(self);
    ops->close(self);
    assert_int_equal(ops->apply(self, batch.records, 1, batch.position, batch.results),
                     KV_E_INVALID);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(ops->get(self, "", 0, stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(ops->reset(self), KV_E_INVALID);
    assert_int_equal(ops->open(self, &position), KV_OK);
    assert_int_equal(position.index, 1);
    assert_int_equal(ops->load(self, stop_at_once, &calls), KV_E_BUSY);
    assert_int_equal(calls, 1);
    assert_int_equal(ops->get(self, "no such key", 11, stop_at_once, &calls), KV_E_NOT_FOUND);
    assert_int_equal(calls, 1);
    const struct kv_record *record = &batch.records[0];
    assert_int_equal(record->kind, KV_RECORD_INSERT);
    assert_int_equal(ops->get(self, record->key, record->key_len, stop_at_once, &calls), KV_E_BUSY);
    assert_int_equal(calls, 2);
    /* destroy() of an open instance closes it. */
    ops->destroy(self);
    fixture->store.self = NULL;
    reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 5, 1));
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
    kit_batch_fill(&batch, 5, 1);
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
    assert_int_equal(fixture->host.reasons, 4);
    assert_int_equal(fixture->host.reason_record, 3);
    /* A host of ABI 1.0 has no reason(). */
    fixture->host.table.size = offsetof(struct kv_host, reason);
    results[0] = KV_RESULT_STORED;
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, records, 1,
                                               (struct kv_position){1, 6}, results),
                     KV_OK);
    assert_int_equal(results[0], KV_RESULT_REFUSED);
    assert_int_equal(fixture->host.reasons, 4);
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.index, 6);
    uint32_t calls = 0;
    assert_int_equal(fixture->store.ops->load(fixture->store.self, stop_at_once, &calls),
                     KV_E_BUSY);
    assert_int_equal(calls, 1);
}

static void test_reset(void **state)
{
    struct fixture *fixture = *state;
    reopen(fixture, NULL);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= 20; i++) {
            assert_int_equal(kit_apply(&fixture->store, 4, i), KV_OK);
        }
        reopen(fixture, NULL);
        assert_int_equal(fixture->store.ops->reset(fixture->store.self), KV_OK);
        assert_int_equal(fixture->store.ops->reset(fixture->store.self), KV_OK);
        assert_true(kit_holds(&fixture->store, 4, 0));
        reopen(fixture, NULL);
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
    reopen(fixture, NULL);
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
    reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.index, applied);
    assert_true(kit_holds(&fixture->store, 6, applied));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_descriptor),
        TEST(test_defaults_work),
        TEST(test_bad_options),
        TEST(test_empty_store_and_parents),
        TEST(test_apply_and_reopen),
        TEST(test_repeated_and_positions),
        TEST(test_longest),
        TEST(test_largest_batch),
        TEST(test_property),
        TEST(test_folder_stays_small),
        TEST(test_sync_never),
        TEST(test_two_instances),
        TEST(test_two_processes),
        TEST(test_misuse),
        TEST(test_position_alone),
        TEST(test_malformed_records),
        TEST(test_reset),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

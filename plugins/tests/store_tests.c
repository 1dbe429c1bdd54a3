#include "store_tests.h"

#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Lets the plugin end what it does in the background; how much it has done. */
static uint64_t wait_idle(struct fixture *fixture)
{
    return kit_plugin.wait_idle == NULL ? 0 : kit_plugin.wait_idle(&fixture->store);
}

static void test_bad_options(void **state)
{
    struct fixture *fixture = *state;
    const struct kv_persist_ops *ops = kv_plugin.ops;
    assert_true(kit_plugin.bad_options_len > 0);
    for (size_t i = 0; i < kit_plugin.bad_options_len; i++) {
        struct kv_setting bad = kit_plugin.bad_options[i];
        struct kv_setting settings[] = {{"path", fixture->path}, bad};
        void *self = &self;
        kit_host_clear(&fixture->host);
        assert_int_equal(ops->create(&fixture->host.table, settings, 2, &self), KV_E_INVALID);
        assert_ptr_equal(self, &self);
        assert_true(kit_host_has(&fixture->host, bad.name));
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
    struct kit_store *store = &fixture->store;
    bool can_get = (kv_plugin.capabilities & KV_PERSIST_GET) != 0;
    fixture_reopen(fixture, NULL);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(kit_apply(store, 1, i), KV_OK);
        assert_true(!can_get || kit_holds(store, 1, i));
    }
    fixture_reopen(fixture, NULL);
    assert_int_equal(store->position.view, 1);
    assert_int_equal(store->position.index, 30);
    assert_true(kit_holds(store, 1, 30));
    /* Closed and opened without a new instance. */
    store->ops->close(store->self);
    assert_int_equal(store->ops->open(store->self, &store->position), KV_OK);
    assert_int_equal(store->position.index, 30);
    assert_true(kit_holds(store, 1, 30));
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

/* Repeating a batch, the position (0, 0), and a position that goes back are all fine. */
static void test_repeated_and_positions(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    fixture_reopen(fixture, NULL);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kit_apply(&fixture->store, 2, 1), KV_OK);
        assert_int_equal(kit_apply(&fixture->store, 2, 2), KV_OK);
    }
    kit_batch_fill(&batch, 2, 3);
    const struct kv_persist_ops *ops = fixture->store.ops;
    assert_int_equal(ops->apply(fixture->store.self, batch.records, batch.count,
                                (struct kv_position){0, 0}, batch.results),
                     KV_OK);
    fixture_reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.view, 0);
    assert_int_equal(fixture->store.position.index, 0);
    assert_true(kit_holds(&fixture->store, 2, 3));
}

/* Random batches against the model, reopened after each. */
static void test_property(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t seed = 10; seed < 13; seed++) {
        kit_close(&fixture->store);
        kit_folder_remove(fixture->path);
        uint64_t background = 0;
        for (uint64_t i = 1; i <= 120; i++) {
            fixture_reopen(fixture, NULL);
            assert_int_equal(fixture->store.position.index, i - 1);
            assert_true(kit_holds(&fixture->store, seed, i - 1));
            assert_int_equal(kit_apply(&fixture->store, seed, i), KV_OK);
            background += i % 3 == 0 ? wait_idle(fixture) : 0;
        }
        assert_true(kit_plugin.wait_idle == NULL || background > 0);
    }
    assert_int_equal(fixture->host.errors + fixture->host.warnings, 0);
}

static void test_sync_never(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, &kit_plugin.never);
    assert_int_equal(fixture->host.warnings, 1);
    assert_true(kit_host_has(&fixture->host, "sync = \"never\""));
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(kit_apply(&fixture->store, 3, i), KV_OK);
    }
    fixture_reopen(fixture, &kit_plugin.never);
    assert_int_equal(fixture->store.position.index, 100);
    assert_true(kit_holds(&fixture->store, 3, 100));
}

static void test_two_instances(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store other;
    struct kit_store third;
    fixture_reopen(fixture, NULL);
    assert_int_equal(kit_open(&other, &fixture->host, fixture->trial, NULL), KV_OK);
    for (uint64_t i = 1; i <= 60; i++) {
        assert_int_equal(kit_apply(&fixture->store, 1, i), KV_OK);
        assert_int_equal(kit_apply(&other, 2, i), KV_OK);
    }
    /* The same folder twice, also under another name. */
    char alias[KIT_PATH_LEN_MAX];
    (void)snprintf(alias, sizeof(alias), "%.200s/.", fixture->trial);
    assert_int_equal(kit_open(&third, &fixture->host, fixture->trial, NULL), KV_E_EXISTS);
    assert_true(kit_host_has(&fixture->host, "in use"));
    assert_true(kit_host_has(&fixture->host, fixture->trial));
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_E_EXISTS);
    assert_int_equal(kit_apply(&other, 2, 61), KV_OK);
    kit_close(&other);
    assert_int_equal(kit_open(&third, &fixture->host, alias, NULL), KV_OK);
    assert_true(kit_holds(&third, 2, 61));
    kit_close(&third);
    fixture_reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 1, 60));
}

/* The folder is open in another process. */
static void test_two_processes(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, NULL);
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

/* A folder that is somebody else's is left alone. */
static void test_a_folder_of_somebody_elses(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store store;
    char path[KIT_PATH_LEN_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/thesis.txt", fixture->path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(kit_open(&store, &fixture->host, fixture->path, NULL), KV_E_VERSION);
    assert_true(kit_host_has(&fixture->host, "left alone"));
    assert_null(store.self);
    assert_int_equal(unlink(path), 0);
    fixture_reopen(fixture, NULL); /* an empty one is taken */
    assert_int_equal(fixture->store.position.view, 0);
}

static void test_misuse(void **state)
{
    struct fixture *fixture = *state;
    struct kit_batch batch;
    struct kv_position position = {9, 9};
    uint32_t calls = 0;
    kit_batch_fill(&batch, 5, 1);
    fixture_reopen(fixture, NULL);
    const struct kv_persist_ops *ops = fixture->store.ops;
    void *self = fixture->store.self;
    assert_int_equal(ops->open(self, &position), KV_E_INVALID);
    assert_int_equal(position.view, 9);
    assert_int_equal(kit_apply(&fixture->store, 5, 1), KV_OK);
    assert_int_equal(ops->load(self, kit_stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(calls, 0);
    ops->close(self);
    ops->close(self);
    assert_int_equal(ops->apply(self, batch.records, 1, batch.position, batch.results),
                     KV_E_INVALID);
    assert_int_equal(ops->load(self, kit_stop_at_once, &calls), KV_E_INVALID);
    assert_int_equal(ops->open(self, &position), KV_OK);
    assert_int_equal(position.index, 1);
    assert_int_equal(ops->load(self, kit_stop_at_once, &calls), KV_E_BUSY);
    assert_int_equal(calls, 1);
    /* destroy() of an open instance closes it. */
    ops->destroy(self);
    fixture->store.self = NULL;
    fixture_reopen(fixture, NULL);
    assert_true(kit_holds(&fixture->store, 5, 1));
}

/* A batch without records moves the position only. */
static void test_position_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture_reopen(fixture, NULL);
    assert_int_equal(kit_apply(&fixture->store, 1, 1), KV_OK);
    for (uint64_t i = 2; i <= 200; i++) {
        assert_int_equal(fixture->store.ops->apply(fixture->store.self, NULL, 0,
                                                   (struct kv_position){3, i}, NULL),
                         KV_OK);
    }
    (void)wait_idle(fixture);
    fixture_reopen(fixture, NULL);
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
    fixture_reopen(fixture, NULL);
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, records, 5,
                                               (struct kv_position){1, 5}, results),
                     KV_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(results[i], KV_RESULT_REFUSED);
    }
    assert_int_equal(results[4], KV_RESULT_STORED);
    uint32_t reasons = kit_plugin.gives_reasons ? 4 : 0;
    assert_int_equal(fixture->host.reasons, reasons);
    assert_int_equal(fixture->host.reason_record, kit_plugin.gives_reasons ? 3 : 0);
    /* A host of ABI 1.0 has no reason(). */
    fixture->host.table.size = offsetof(struct kv_host, reason);
    results[0] = KV_RESULT_STORED;
    assert_int_equal(fixture->store.ops->apply(fixture->store.self, records, 1,
                                               (struct kv_position){1, 6}, results),
                     KV_OK);
    assert_int_equal(results[0], KV_RESULT_REFUSED);
    assert_int_equal(fixture->host.reasons, reasons);
    fixture_reopen(fixture, NULL);
    assert_int_equal(fixture->store.position.index, 6);
    uint32_t calls = 0;
    assert_int_equal(fixture->store.ops->load(fixture->store.self, kit_stop_at_once, &calls),
                     KV_E_BUSY);
    assert_int_equal(calls, 1);
}

int store_tests_run(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_bad_options),
        FIXTURE_TEST(test_empty_store_and_parents),
        FIXTURE_TEST(test_apply_and_reopen),
        FIXTURE_TEST(test_repeated_and_positions),
        FIXTURE_TEST(test_property),
        FIXTURE_TEST(test_sync_never),
        FIXTURE_TEST(test_two_instances),
        FIXTURE_TEST(test_two_processes),
        FIXTURE_TEST(test_a_folder_of_somebody_elses),
        FIXTURE_TEST(test_misuse),
        FIXTURE_TEST(test_position_alone),
        FIXTURE_TEST(test_malformed_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

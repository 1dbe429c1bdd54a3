/*
 * The persistence thread with a plugin that is part of this program: order, pieces, back-pressure,
 * failures, reopening, stopping at any moment. The plugin does what `plan` says.
 */
#include "base/buffer.h"
#include "host/log.h"
#include "host/persist_worker.h"
#include "kit.h"
#include "logic/record.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOAD_VALUE_BYTES 4096u
#define PIECE_BYTES_MAX  (1024u * 1024u + LOAD_VALUE_BYTES + 200u)
#define OUTCOMES_MAX     16u
#define APPLIED_MAX      64u

/* What the plugin is to do; set before the worker starts. */
static struct {
    int32_t create_status;
    int32_t open_statuses[OUTCOMES_MAX]; /* of the n-th open */
    uint32_t load_records;
    int32_t load_status; /* after the records */
    int32_t apply_statuses[OUTCOMES_MAX];
    uint32_t apply_results[OUTCOMES_MAX]; /* of the first record */
    bool hold_apply;                      /* until `release` */
} plan;

/* What the plugin saw. */
static struct {
    _Atomic uint64_t emitted_bytes;
    _Atomic uint32_t opens;
    _Atomic uint32_t closes;
    _Atomic uint32_t applies;
    _Atomic uint32_t destroys;
    _Atomic bool load_was_stopped;
    _Atomic bool is_in_apply;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool release;
    /* of the last apply */
    char keys[APPLIED_MAX][16];
    struct kv_record records[APPLIED_MAX];
    uint32_t count;
    struct kv_position position;
} seen;

static const struct kv_host *plugin_host;

static int32_t plugin_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    (void)settings;
    assert_int_equal(settings_len, 0);
    plugin_host = host;
    if (plan.create_status != KV_OK) {
        host->log(host->ctx, KV_LOG_ERROR, "no such setting, please");
        return plan.create_status;
    }
    *ret_self = &seen;
    return KV_OK;
}

static int32_t plugin_open(void *self, struct kv_position *ret_position)
{
    (void)self;
    int32_t status = plan.open_statuses[seen.opens];
    seen.opens++;
    if (status != KV_OK) {
        plugin_host->log(plugin_host->ctx, KV_LOG_ERROR, "block 17 is unreadable");
        return status;
    }
    *ret_position = (struct kv_position){3, 1000};
    return KV_OK;
}

static int32_t plugin_load(void *self, kv_emit_fn emit, void *ctx)
{
    (void)self;
    static const char value[LOAD_VALUE_BYTES] = {'v'};
    for (uint32_t i = 0; i < plan.load_records; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%08u", i);
        struct kv_record record = {.key = key,
                                   .key_len = 8,
                                   .value = value,
                                   .value_len = i % 7 == 0 ? 0 : LOAD_VALUE_BYTES,
                                   .kind = i % 7 == 0 ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                                   .position = {1, i + 1}};
        seen.emitted_bytes += record_size(&record);
        int32_t status = emit(ctx, &record);
        if (status != KV_OK) {
            seen.load_was_stopped = true;
            return status;
        }
    }
    return plan.load_status;
}

static int32_t plugin_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    (void)self;
    assert_true(count <= APPLIED_MAX);
    seen.count = count;
    seen.position = position;
    for (uint32_t i = 0; i < count; i++) {
        seen.records[i] = records[i];
        memcpy(seen.keys[i], records[i].key, records[i].key_len);
        seen.keys[i][records[i].key_len] = '\0';
    }
    pthread_mutex_lock(&seen.lock);
    seen.is_in_apply = true;
    while (plan.hold_apply && !seen.release) {
        pthread_cond_wait(&seen.wake, &seen.lock);
    }
    pthread_mutex_unlock(&seen.lock);
    uint32_t turn = seen.applies++;
    if (count > 0) {
        results[0] = plan.apply_results[turn];
    }
    if (plan.apply_statuses[turn] != KV_OK) {
        plugin_host->log(plugin_host->ctx, KV_LOG_ERROR, "the disk is full");
    }
    return plan.apply_statuses[turn];
}

static void plugin_close(void *self)
{
    (void)self;
    seen.closes++;
}

static void plugin_destroy(void *self)
{
    (void)self;
    seen.destroys++;
}

static struct loaded_plugin plugin = {
    .path = (char *)"built-in",
    .descriptor = {.kind = KV_KIND_PERSIST, .name = "test", .capabilities = KV_PERSIST_LOAD},
    .ops.persist = {.create = plugin_create,
                    .open = plugin_open,
                    .load = plugin_load,
                    .apply = plugin_apply,
                    .close = plugin_close,
                    .destroy = plugin_destroy},
};

/* What the loop was told. */
static struct {
    uv_loop_t loop;
    struct services *services;
    struct persist_worker *worker;
    uint64_t loaded_bytes;
    uint32_t loaded_records;
    uint32_t pieces;
    bool is_loaded;
    struct kv_position position;
    bool has_failed;
    bool failed_in_create;
    bool is_applied;
    uint32_t outcomes;
    uint64_t batch;
    int32_t status;
    char error[PERSIST_WORKER_ERROR_MAX];
    bool is_stopped;
    bool stop_at_first_piece;
} told;

static void on_loaded_records(void *ctx, const void *bytes, size_t len)
{
    (void)ctx;
    assert_false(told.is_loaded);
    assert_true(len > 0 && len <= PIECE_BYTES_MAX);
    told.pieces++;
    struct bytes_reader reader = bytes_reader_init(bytes, len);
    while (reader.left > 0) {
        struct kv_record record;
        char key[16];
        assert_true(record_decode(&reader, &record));
        snprintf(key, sizeof(key), "%08u", told.loaded_records);
        assert_int_equal(record.key_len, 8);
        assert_memory_equal(record.key, key, 8);
        assert_int_equal(record.kind,
                         told.loaded_records % 7 == 0 ? KV_RECORD_REMOVE : KV_RECORD_INSERT);
        assert_true(record.position.view == 1 && record.position.index == told.loaded_records + 1);
        told.loaded_records++;
    }
    /* Four pieces wait, one was taken, one is being gathered. */
    assert_true(seen.emitted_bytes - told.loaded_bytes <= 6 * PIECE_BYTES_MAX);
    told.loaded_bytes += len;
    if (told.stop_at_first_piece && told.pieces == 1) {
        persist_worker_stop(told.worker);
    }
}

static void on_loaded(void *ctx, struct kv_position position)
{
    (void)ctx;
    assert_false(told.is_loaded);
    told.is_loaded = true;
    told.position = position;
}

static void on_failed(void *ctx, bool is_create, int32_t status, const char *error)
{
    (void)ctx;
    assert_false(told.has_failed || told.is_loaded);
    told.has_failed = true;
    told.failed_in_create = is_create;
    told.status = status;
    snprintf(told.error, sizeof(told.error), "%s", error);
}

static void on_applied(void *ctx, uint64_t batch, int32_t status, const char *error)
{
    (void)ctx;
    assert_false(told.is_stopped);
    assert_int_equal(status == KV_OK, error == NULL);
    told.is_applied = true;
    told.outcomes++;
    told.batch = batch;
    told.status = status;
    snprintf(told.error, sizeof(told.error), "%s", error == NULL ? "" : error);
}

static void on_stopped(void *ctx)
{
    assert_ptr_equal(ctx, &told);
    assert_false(told.is_stopped);
    told.is_stopped = true;
}

static int setup(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof(plan));
    memset(&seen, 0, sizeof(seen));
    memset(&told, 0, sizeof(told));
    pthread_mutex_init(&seen.lock, NULL);
    pthread_cond_init(&seen.wake, NULL);
    plugin.descriptor.capabilities = KV_PERSIST_LOAD;
    uv_loop_init(&told.loop);
    told.services = services_create("test", NULL, log_plugin, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    persist_worker_destroy(told.worker);
    services_destroy(told.services);
    assert_int_equal(uv_loop_close(&told.loop), 0);
    pthread_cond_destroy(&seen.wake);
    pthread_mutex_destroy(&seen.lock);
    return 0;
}

static void start(void)
{
    static const struct persist_worker_events events = {
        .on_loaded_records = on_loaded_records,
        .on_loaded = on_loaded,
        .on_failed = on_failed,
        .on_applied = on_applied,
        .on_stopped = on_stopped,
    };
    told.worker = persist_worker_create(&told.loop, &plugin, told.services, NULL, &events, &told);
}

static void start_and_load(void)
{
    start();
    kit_run_until(&told.loop, &told.is_loaded);
}

static void stop(void)
{
    persist_worker_stop(told.worker);
    kit_run_until(&told.loop, &told.is_stopped);
}

/* A batch of `count` removals with keys "0" to "count - 1", cut into slices of two. */
static int32_t apply(uint64_t number, uint32_t count)
{
    struct buffer bytes;
    struct kv_slice slices[APPLIED_MAX];
    size_t starts[APPLIED_MAX + 1] = {0};
    uint32_t slices_len = 0;
    buffer_init(&bytes);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        int key_len = snprintf(key, sizeof(key), "%u", i);
        struct kv_record record = {.key = key,
                                   .key_len = (uint32_t)key_len,
                                   .kind = KV_RECORD_REMOVE,
                                   .position = {4, i + 1},
                                   .client = 77,
                                   .request = i};
        starts[slices_len] = i % 2 == 0 ? bytes.len : starts[slices_len];
        record_encode(&record, buffer_room(&bytes, record_size(&record)));
        if (i % 2 == 1 || i + 1 == count) {
            starts[++slices_len] = bytes.len;
        }
    }
    for (uint32_t i = 0; i < slices_len; i++) {
        slices[i].bytes = bytes.bytes + starts[i];
        slices[i].len = starts[i + 1] - starts[i];
    }
    struct persist_worker_batch batch = {.number = number,
                                         .position = {4, number},
                                         .slices = slices,
                                         .slices_len = slices_len,
                                         .records_len = count};
    told.is_applied = false;
    persist_worker_apply(told.worker, &batch);
    kit_run_until(&told.loop, &told.is_applied);
    assert_true(told.batch == number);
    buffer_close(&bytes);
    return told.status;
}

static void test_load_in_pieces(void **state)
{
    (void)state;
    plan.load_records = 6000; /* some 20 MiB */
    start_and_load();
    assert_int_equal(told.loaded_records, 6000);
    assert_true(told.loaded_bytes == seen.emitted_bytes);
    assert_in_range(told.pieces, 15, 30);
    assert_true(told.position.view == 3 && told.position.index == 1000);
    stop();
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_load_nothing(void **state)
{
    (void)state;
    start_and_load();
    assert_int_equal(told.pieces, 0);
    assert_true(told.position.index == 1000);
    stop();
}

static void test_store_that_cannot_load(void **state)
{
    (void)state;
    plugin.descriptor.capabilities = 0;
    plan.load_records = 10;
    start_and_load();
    assert_int_equal(told.loaded_records, 0);
    assert_true(told.position.view == 0 && told.position.index == 0);
    assert_int_equal(apply(1, 1), KV_OK);
    stop();
}

static void expect_failed(bool is_create, int32_t status, const char *error)
{
    start();
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(told.has_failed && !told.is_loaded);
    assert_int_equal(told.failed_in_create, is_create);
    assert_int_equal(told.status, status);
    assert_string_equal(told.error, error);
}

static void test_create_refused(void **state)
{
    (void)state;
    plan.create_status = KV_E_INVALID;
    expect_failed(true, KV_E_INVALID, "no such setting, please");
    assert_true(seen.opens == 0 && seen.destroys == 0);
}

static void test_open_corrupt(void **state)
{
    (void)state;
    plan.open_statuses[0] = KV_E_CORRUPT;
    expect_failed(false, KV_E_CORRUPT, "block 17 is unreadable");
    assert_true(seen.opens == 1 && seen.closes == 0 && seen.destroys == 1);
}

static void test_load_fails_half_way(void **state)
{
    (void)state;
    plan.load_records = 1000;
    plan.load_status = KV_E_CORRUPT;
    expect_failed(false, KV_E_CORRUPT, "stored data is damaged (KV_E_CORRUPT)");
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_apply(void **state)
{
    (void)state;
    start_and_load();
    assert_int_equal(apply(1, 7), KV_OK);
    assert_int_equal(seen.count, 7);
    assert_true(seen.position.view == 4 && seen.position.index == 1);
    for (uint32_t i = 0; i < 7; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%u", i);
        assert_string_equal(seen.keys[i], key);
        assert_int_equal(seen.records[i].kind, KV_RECORD_REMOVE);
        assert_null(seen.records[i].value);
        assert_true(seen.records[i].client == 77 && seen.records[i].request == i);
        assert_true(seen.records[i].position.index == i + 1);
    }
    assert_int_equal(apply(2, 0), KV_OK); /* only the position */
    assert_int_equal(seen.count, 0);
    assert_true(seen.position.index == 2);
    assert_int_equal(apply(3, 64), KV_OK);
    assert_int_equal(seen.count, 64);
    stop();
    assert_int_equal(seen.applies, 3);
}

static void test_failure_that_needs_no_reopening(void **state)
{
    (void)state;
    plan.apply_statuses[0] = KV_E_RETRY;
    plan.apply_results[1] = KV_RESULT_RETRY;
    plan.apply_results[2] = KV_RESULT_REFUSED;
    start_and_load();
    assert_int_equal(apply(1, 2), KV_E_RETRY);
    assert_string_equal(told.error, "the disk is full");
    assert_int_equal(apply(2, 2), KV_E_RETRY);
    assert_non_null(strstr(told.error, "record 1 of 2"));
    assert_int_equal(apply(3, 2), KV_E_REJECTED);
    assert_int_equal(apply(4, 2), KV_OK);
    assert_true(seen.opens == 1 && seen.closes == 0);
    stop();
}

/* After KV_E_IO the store is closed; it is opened again not before its pause is over, twice in
 * vain here, and until then batches get the reason. */
static void test_failure_that_needs_reopening(void **state)
{
    (void)state;
    plan.apply_statuses[0] = KV_E_IO;
    plan.open_statuses[1] = KV_E_IO;
    plan.open_statuses[2] = KV_E_CORRUPT;
    start_and_load();
    uint64_t start_ms = uv_hrtime() / 1000000;
    assert_int_equal(apply(1, 2), KV_E_IO);
    assert_string_equal(told.error, "the disk is full");
    assert_int_equal(seen.closes, 1);
    assert_int_equal(apply(2, 2), KV_E_IO);
    assert_string_equal(told.error, "the disk is full");
    uint64_t number = 3;
    bool was_corrupt = false;
    while (apply(number, 2) != KV_OK) {
        assert_true(told.status == KV_E_IO || told.status == KV_E_CORRUPT);
        assert_true(uv_hrtime() / 1000000 - start_ms < KIT_DEADLINE_MS);
        was_corrupt = was_corrupt || told.status == KV_E_CORRUPT;
        number++;
    }
    assert_true(was_corrupt);
    assert_int_equal(seen.opens, 4);
    assert_int_equal(seen.applies, 2);
    assert_true(uv_hrtime() / 1000000 - start_ms >= 100 + 200 + 400);
    stop();
    assert_true(seen.closes == 2 && seen.destroys == 1);
}

static void test_broken_contract_is_reopened(void **state)
{
    (void)state;
    plan.apply_statuses[0] = 12345;
    start_and_load();
    assert_int_equal(apply(1, 1), KV_E_CONTRACT);
    uint64_t number = 2;
    uint64_t start_ms = uv_hrtime() / 1000000;
    while (apply(number++, 1) != KV_OK) {
        assert_true(uv_hrtime() / 1000000 - start_ms < KIT_DEADLINE_MS);
    }
    assert_int_equal(seen.opens, 2);
    stop();
}

static void test_stop_during_load(void **state)
{
    (void)state;
    plan.load_records = 6000;
    told.stop_at_first_piece = true;
    start();
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(seen.load_was_stopped);
    assert_true(told.pieces == 1 && !told.is_loaded && !told.has_failed);
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_stop_waits_for_the_batch(void **state)
{
    (void)state;
    struct persist_worker_batch batch = {.number = 9, .position = {4, 9}};
    plan.hold_apply = true;
    start_and_load();
    persist_worker_apply(told.worker, &batch);
    persist_worker_stop(told.worker);
    while (!seen.is_in_apply) {
        uv_run(&told.loop, UV_RUN_NOWAIT);
    }
    for (unsigned i = 0; i < 100; i++) {
        uv_run(&told.loop, UV_RUN_NOWAIT);
    }
    assert_true(told.outcomes == 0 && !told.is_stopped && seen.closes == 0);
    pthread_mutex_lock(&seen.lock);
    seen.release = true;
    pthread_cond_signal(&seen.wake);
    pthread_mutex_unlock(&seen.lock);
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(told.outcomes == 1 && told.batch == 9 && told.status == KV_OK);
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_stop_at_once(void **state)
{
    (void)state;
    start();
    stop();
    assert_true(seen.opens == seen.closes && seen.destroys == 1);
    assert_false(told.has_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_that_cannot_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_fails_half_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_apply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_that_needs_no_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_that_needs_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_contract_is_reopened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_during_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_waits_for_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

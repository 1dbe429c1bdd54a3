#include "worker_kit.h"

#include "base/buffer.h"
#include "logic/record.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define LOAD_VALUE_BYTES 4096u
#define PIECE_BYTES_MAX  (1024u * 1024u + LOAD_VALUE_BYTES + 200u)

struct worker_plan plan;
struct worker_seen seen;
struct worker_told told;

static const struct kv_host *plugin_host;

static int32_t plugin_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    (void)settings;
    assert_int_equal(settings_len, worker_plugin.descriptor.options_len);
    plugin_host = host;
    if (plan.create_status != KV_OK) {
        host->log(host->ctx, KV_LOG_ERROR, "no such setting, please");
        return plan.create_status;
    }
    *ret_self = &seen;
    return KV_OK;
}

static void plugin_note_call(char letter)
{
    size_t len = strlen(seen.order);
    if (len + 1 < sizeof(seen.order)) {
        seen.order[len] = letter;
    }
}

static int32_t plugin_open(void *self, struct kv_position *ret_position)
{
    (void)self;
    uint32_t turn = seen.opens++;
    int32_t status = plan.open_statuses[turn];
    plugin_note_call('O');
    if (status != KV_OK) {
        plugin_host->log(plugin_host->ctx, KV_LOG_ERROR, "block 17 is unreadable");
        return status;
    }
    *ret_position =
        plan.open_positions[turn].view == UINT64_MAX ? seen.reached : plan.open_positions[turn];
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
    assert_true(count <= WORKER_APPLIED_MAX);
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
    plugin_note_call('A');
    if (count > 0) {
        results[0] = plan.apply_results[turn];
    }
    if (plan.apply_reason != NULL) {
        plugin_host->reason(plugin_host->ctx, 0, plan.apply_reason);
    }
    if (plan.apply_statuses[turn] == KV_OK) {
        seen.reached = position;
    }
    if (plan.apply_statuses[turn] != KV_OK) {
        plugin_host->log(plugin_host->ctx, KV_LOG_ERROR, "the disk is full");
    }
    return plan.apply_statuses[turn];
}

static int32_t plugin_reset(void *self)
{
    (void)self;
    uint32_t turn = seen.resets++;
    plugin_note_call('R');
    if (plan.reset_statuses[turn] == KV_OK) {
        seen.reached = (struct kv_position){0, 0};
    }
    return plan.reset_statuses[turn];
}

static void plugin_close(void *self)
{
    (void)self;
    plugin_note_call('C');
    seen.closes++;
}

static void plugin_destroy(void *self)
{
    (void)self;
    seen.destroys++;
}

struct loaded_plugin worker_plugin = {
    .path = (char *)"built-in",
    .descriptor = {.kind = KV_KIND_PERSIST, .name = "test", .capabilities = KV_PERSIST_LOAD},
    .ops.persist = {.create = plugin_create,
                    .open = plugin_open,
                    .load = plugin_load,
                    .apply = plugin_apply,
                    .close = plugin_close,
                    .destroy = plugin_destroy,
                    .reset = plugin_reset},
};

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
    assert_false(told.has_failed);
    told.is_applied = true; /* nothing more comes */
    told.has_failed = true;
    told.failed_in_create = is_create;
    told.status = status;
    snprintf(told.error, sizeof(told.error), "%s", error);
}

static void on_applied(void *ctx, uint64_t batch, int32_t status, const char *error,
                       const struct persist_refusal *refusals, uint32_t refusals_len)
{
    (void)ctx;
    assert_false(told.is_stopped);
    assert_int_equal(status == KV_OK, error == NULL);
    told.is_applied = true;
    told.outcomes++;
    told.refusals_len = refusals_len;
    for (uint32_t i = 0; i < refusals_len; i++) {
        told.refused[i] = refusals[i].record;
    }
    snprintf(told.reason, sizeof(told.reason), "%s", refusals_len == 0 ? "" : refusals[0].reason);
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

int worker_setup(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof(plan));
    memset(&seen, 0, sizeof(seen));
    memset(&told, 0, sizeof(told));
    for (uint32_t i = 0; i < WORKER_OUTCOMES_MAX; i++) {
        plan.open_positions[i] = WORKER_POSITION_REACHED;
    }
    seen.reached = (struct kv_position){3, 1000};
    worker_plugin.descriptor.options_len = 0;
    pthread_mutex_init(&seen.lock, NULL);
    pthread_cond_init(&seen.wake, NULL);
    worker_plugin.descriptor.capabilities = KV_PERSIST_LOAD;
    uv_loop_init(&told.loop);
    told.services = services_create("test", NULL, log_plugin, NULL);
    return 0;
}

int worker_teardown(void **state)
{
    (void)state;
    persist_worker_destroy(told.worker);
    services_destroy(told.services);
    assert_int_equal(uv_loop_close(&told.loop), 0);
    pthread_cond_destroy(&seen.wake);
    pthread_mutex_destroy(&seen.lock);
    return 0;
}

void worker_start(void)
{
    static const struct persist_worker_events events = {
        .on_loaded_records = on_loaded_records,
        .on_loaded = on_loaded,
        .on_failed = on_failed,
        .on_applied = on_applied,
        .on_stopped = on_stopped,
    };
    told.worker = persist_worker_create(&told.loop, &worker_plugin, told.services, plan.settings,
                                        NULL, &events, &told);
}

void worker_start_and_load(void)
{
    worker_start();
    kit_run_until(&told.loop, &told.is_loaded);
}

void worker_stop(void)
{
    persist_worker_stop(told.worker);
    kit_run_until(&told.loop, &told.is_stopped);
}

int32_t worker_apply_like(uint64_t number, uint32_t count, const struct persist_worker_batch *model)
{
    struct buffer bytes;
    struct kv_slice slices[WORKER_APPLIED_MAX];
    size_t starts[WORKER_APPLIED_MAX + 1] = {0};
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
    struct persist_worker_batch batch = *model;
    batch.number = number;
    batch.slices = slices;
    batch.slices_len = slices_len;
    batch.records_len = count;
    told.is_applied = false;
    persist_worker_apply(told.worker, &batch);
    kit_run_until(&told.loop, &told.is_applied);
    assert_true(told.has_failed || told.batch == number);
    buffer_close(&bytes);
    return told.status;
}

int32_t worker_apply(uint64_t number, uint32_t count)
{
    const struct persist_worker_batch model = {.position = {4, number}};
    return worker_apply_like(number, count, &model);
}

uint32_t worker_apply_until_stored(uint64_t *number, const struct persist_worker_batch *model)
{
    uint64_t start_ms = uv_hrtime() / 1000000;
    uint32_t outcomes = 1;
    while (worker_apply_like((*number)++, 1, model) != KV_OK && !told.has_failed) {
        assert_true(uv_hrtime() / 1000000 - start_ms < KIT_DEADLINE_MS);
        outcomes++;
    }
    return outcomes;
}

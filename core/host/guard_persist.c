/*
 * Happy path: create, open, load, apply ..., close, destroy, each passed on to the plugin.
 *
 * Failure: what a plugin gives back is a stranger's word. A code that is no code, a result out of
 * range, a malformed record, a call of `emit` outside load() are logged once per call and become
 * KV_E_CONTRACT; the caller then treats the plugin like one that failed (reopens it, tries again).
 * A wrong order of calls is our own mistake and ends the process.
 */
#include "host/guard_persist.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/status.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Never a result: shows a plugin that writes beyond its results. */
#define GUARD_PERSIST_CANARY 0xc0defe11u

enum guard_persist_state {
    GUARD_PERSIST_CLOSED,
    GUARD_PERSIST_OPEN,     /* load() may be called */
    GUARD_PERSIST_LOADING,  /* inside load(): emit() may be called */
    GUARD_PERSIST_APPLYING, /* loaded, or something was applied */
};

struct guard_persist {
    const struct loaded_plugin *plugin;
    const struct kv_persist_ops *ops;
    struct services *services;
    void *self;
    enum guard_persist_state state;
    uint32_t *results;
    uint32_t results_capacity;
    /* during load() */
    kv_emit_fn emit;
    void *emit_ctx;
    int32_t emit_status;
    pthread_t emit_thread;
};

__attribute__((format(printf, 3, 4))) static void
guard_persist_log(struct guard_persist *guard, uint32_t level, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const struct kv_host *host = services_table(guard->services);
    host->log(host->ctx, level, text);
}

/* The plugin's code if it is one of ours, else KV_E_CONTRACT and a line. */
static int32_t guard_persist_check_code(struct guard_persist *guard, const char *function,
                                        int32_t status)
{
    if (status > 0 || status < KV_STATUS_LAST_) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: %s() returned %" PRId32
                          ", which is no status code",
                          function, status);
        return KV_E_CONTRACT;
    }
    return status;
}

int32_t guard_persist_create(const struct loaded_plugin *plugin, struct services *services,
                             const struct kv_setting *settings, struct guard_persist **ret_guard)
{
    KV_CHECK(plugin->descriptor.kind == KV_KIND_PERSIST);
    struct guard_persist *guard = alloc_zeroed(1, sizeof(*guard));
    guard->plugin = plugin;
    guard->ops = &plugin->ops.persist;
    guard->services = services;
    loader_pin(plugin);
    int32_t status = guard->ops->create(services_table(services), settings,
                                        plugin->descriptor.options_len, &guard->self);
    status = guard_persist_check_code(guard, "create", status);
    if (status == KV_OK && guard->self == NULL) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: create() succeeded without an instance");
        status = KV_E_CONTRACT;
    }
    if (status != KV_OK) {
        alloc_free(guard);
        return status;
    }
    *ret_guard = guard;
    return KV_OK;
}

int32_t guard_persist_open(struct guard_persist *guard, struct kv_position *ret_position)
{
    KV_CHECK(guard->state == GUARD_PERSIST_CLOSED);
    struct kv_position position = {0, 0};
    int32_t status =
        guard_persist_check_code(guard, "open", guard->ops->open(guard->self, &position));
    if (status != KV_OK) {
        return status;
    }
    if (position.view == 0 && position.index != 0) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: open() gave the position (0, %" PRIu64
                          "), which no update has",
                          position.index);
        guard->ops->close(guard->self);
        return KV_E_CONTRACT;
    }
    guard->state = GUARD_PERSIST_OPEN;
    *ret_position = position;
    return KV_OK;
}

bool guard_persist_can_load(const struct guard_persist *guard)
{
    return (guard->plugin->descriptor.capabilities & KV_PERSIST_LOAD) != 0;
}

/* What is wrong with a record that came from the plugin; NULL: nothing. */
static const char *guard_persist_record_fault(const struct kv_record *record)
{
    if (record == NULL) {
        return "no record at all";
    }
    if (record->kind != KV_RECORD_INSERT && record->kind != KV_RECORD_REMOVE) {
        return "an unknown kind";
    }
    if (record->reserved != 0) {
        return "a reserved member that is not 0";
    }
    if (record->key == NULL && record->key_len != 0) {
        return "a key with a length and no bytes";
    }
    if (record->value == NULL && record->value_len != 0) {
        return "a value with a length and no bytes";
    }
    if (record->kind == KV_RECORD_REMOVE && record->value_len != 0) {
        return "a removal with a value";
    }
    if (record->key_len > GUARD_KEY_BYTES_MAX) {
        return "a key longer than any node takes";
    }
    if (record->value_len > GUARD_VALUE_BYTES_MAX) {
        return "a value longer than any node takes";
    }
    return NULL;
}

/* The emit function that the plugin gets; ctx is the guard. */
static int32_t guard_persist_emit(void *ctx, const struct kv_record *record)
{
    struct guard_persist *guard = ctx;
    if (guard->state != GUARD_PERSIST_LOADING ||
        !pthread_equal(guard->emit_thread, pthread_self())) {
        guard_persist_log(
            guard, KV_LOG_ERROR, "the plugin broke its contract: it emitted a record %s",
            guard->state != GUARD_PERSIST_LOADING ? "outside load()" : "from another thread");
        return KV_E_CONTRACT;
    }
    if (guard->emit_status != KV_OK) {
        return guard->emit_status; /* it was told to stop */
    }
    const char *fault = guard_persist_record_fault(record);
    if (fault != NULL) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: load() emitted a record with %s", fault);
        guard->emit_status = KV_E_CONTRACT;
    } else {
        guard->emit_status = guard->emit(guard->emit_ctx, record);
    }
    return guard->emit_status;
}

int32_t guard_persist_load(struct guard_persist *guard, kv_emit_fn emit, void *ctx)
{
    KV_CHECK(guard->state == GUARD_PERSIST_OPEN);
    if (!guard_persist_can_load(guard)) {
        guard->state = GUARD_PERSIST_APPLYING;
        return KV_OK;
    }
    guard->state = GUARD_PERSIST_LOADING;
    guard->emit = emit;
    guard->emit_ctx = ctx;
    guard->emit_status = KV_OK;
    guard->emit_thread = pthread_self();
    int32_t status = guard_persist_check_code(
        guard, "load", guard->ops->load(guard->self, guard_persist_emit, guard));
    guard->state = GUARD_PERSIST_APPLYING;
    guard->emit = NULL;
    guard->emit_ctx = NULL;
    /* What stopped it is the outcome, whatever the plugin made of it. */
    return guard->emit_status != KV_OK ? guard->emit_status : status;
}

static void guard_persist_clear_results(struct guard_persist *guard, uint32_t count)
{
    if (guard->results == NULL || count > guard->results_capacity) {
        guard->results = alloc_resize(guard->results, ((size_t)count + 1) * sizeof(uint32_t));
        guard->results_capacity = count;
    }
    memset(guard->results, 0, (size_t)count * sizeof(uint32_t));
    guard->results[count] = GUARD_PERSIST_CANARY;
}

/* The outcome of a batch from its results; which record decided is told by ret_at. */
static int32_t guard_persist_judge(const uint32_t *results, uint32_t count, uint32_t *ret_at)
{
    int32_t status = KV_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_STORED) {
            continue;
        }
        if (results[i] > KV_RESULT_UNKNOWN) {
            *ret_at = i;
            return KV_E_CONTRACT;
        }
        bool is_refused = results[i] == KV_RESULT_REFUSED;
        if (status == KV_OK || (is_refused && status == KV_E_RETRY)) {
            status = is_refused ? KV_E_REJECTED : KV_E_RETRY;
            *ret_at = i;
        }
    }
    return status;
}

int32_t guard_persist_apply(struct guard_persist *guard, const struct kv_record *records,
                            uint32_t count, struct kv_position position)
{
    KV_CHECK(guard->state == GUARD_PERSIST_OPEN || guard->state == GUARD_PERSIST_APPLYING);
    KV_CHECK(count < UINT32_MAX && (records != NULL || count == 0));
    guard->state = GUARD_PERSIST_APPLYING;
    guard_persist_clear_results(guard, count);
    uint64_t errors = services_errors(guard->services);
    int32_t status = guard->ops->apply(guard->self, records, count, position, guard->results);
    status = guard_persist_check_code(guard, "apply", status);
    if (guard->results[count] != GUARD_PERSIST_CANARY) {
        guard_persist_log(
            guard, KV_LOG_ERROR,
            "the plugin broke its contract: apply() wrote beyond its %" PRIu32 " results", count);
        return KV_E_CONTRACT;
    }
    uint32_t at = 0;
    if (status != KV_OK) {
        if (services_errors(guard->services) == errors) {
            guard_persist_log(guard, KV_LOG_ERROR, "the store took no batch: %s (%s)",
                              status_text(status), status_name(status));
        }
        return status;
    }
    status = guard_persist_judge(guard->results, count, &at);
    if (status == KV_E_CONTRACT) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: apply() gave record %" PRIu32
                          " of %" PRIu32 " the result %" PRIu32 ", which is no result",
                          at + 1, count, guard->results[at]);
    } else if (status != KV_OK && services_errors(guard->services) == errors) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the store %s record %" PRIu32 " of %" PRIu32 " (key of %" PRIu32
                          " bytes, value of %" PRIu32 " bytes)",
                          status == KV_E_REJECTED ? "refused" : "could not store", at + 1, count,
                          records[at].key_len, records[at].value_len);
    }
    return status;
}

void guard_persist_close(struct guard_persist *guard)
{
    if (guard->state == GUARD_PERSIST_CLOSED) {
        return;
    }
    KV_CHECK(guard->state != GUARD_PERSIST_LOADING);
    guard->state = GUARD_PERSIST_CLOSED;
    guard->ops->close(guard->self);
}

void guard_persist_destroy(struct guard_persist *guard)
{
    if (guard == NULL) {
        return;
    }
    guard_persist_close(guard);
    guard->ops->destroy(guard->self);
    if (services_live(guard->services) != 0) {
        guard_persist_log(guard, KV_LOG_WARN,
                          "the plugin kept %" PRId64 " pieces of memory after destroy()",
                          services_live(guard->services));
    }
    alloc_free(guard->results);
    alloc_free(guard);
}

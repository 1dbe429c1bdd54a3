/*
 * Happy path: create, open, load, [reset], apply ..., close, destroy, each passed on to the plugin,
 * or to isolate.h, which does so in a process of its own.
 *
 * Failure: what a plugin gives back is a stranger's word. A code that is no code, a result out of
 * range, a malformed record, a call of `emit` outside load() and get() are logged once per call and
 * become KV_E_CONTRACT; the caller then treats the plugin like one that failed (reopens it, tries
 * again). A record that the store refuses for good is no failure: it is told with its reason.
 * A wrong order of calls is our own mistake and ends the process.
 */
#include "host/guard_persist.h"

#include "base/alloc.h"
#include "base/arena.h"
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
    GUARD_PERSIST_LOADED,   /* load() was called or will not be: reset() may be called */
    GUARD_PERSIST_APPLYING, /* something was applied */
};

/* During load() and get(): what emit() does with a record. */
struct guard_persist_emission {
    const char *function; /* that may emit; NULL: none */
    pthread_t thread;
    const void *key; /* of get() */
    uint32_t key_len;
    bool is_one_key; /* get() */
    kv_emit_fn emit;
    void *ctx;
    int32_t status; /* what stopped it */
    bool has_emitted;
};

struct guard_persist {
    const struct loaded_plugin *plugin;
    const struct kv_persist_ops *ops;
    struct services *services;
    void *self;
    enum guard_persist_state state;
    uint32_t *results;
    uint32_t results_capacity;
    struct guard_persist_emission emission;
    struct arena refusals; /* of the last apply(), with their texts */
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

/* create(), in this process or in one of its own. */
static int32_t guard_persist_make(struct guard_persist *guard, const struct kv_setting *settings,
                                  const struct isolate_config *isolate)
{
    const struct loaded_plugin *plugin = guard->plugin;
    if (isolate != NULL) {
        guard->ops = isolate_ops();
        return isolate_create(plugin, guard->services, settings, isolate, &guard->self);
    }
    guard->ops = &plugin->ops.persist;
    loader_pin(plugin);
    return guard->ops->create(services_table(guard->services), settings,
                              plugin->descriptor.options_len, &guard->self);
}

int32_t guard_persist_create(const struct loaded_plugin *plugin, struct services *services,
                             const struct kv_setting *settings,
                             const struct isolate_config *isolate, struct guard_persist **ret_guard)
{
    KV_CHECK(plugin->descriptor.kind == KV_KIND_PERSIST);
    struct guard_persist *guard = alloc_zeroed(1, sizeof(*guard));
    guard->plugin = plugin;
    guard->services = services;
    int32_t status =
        guard_persist_check_code(guard, "create", guard_persist_make(guard, settings, isolate));
    if (status == KV_OK && guard->self == NULL) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: create() succeeded without an instance");
        status = KV_E_CONTRACT;
    }
    if (status != KV_OK) {
        alloc_free(guard);
        return status;
    }
    arena_init(&guard->refusals);
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

static bool guard_persist_has(const struct guard_persist *guard, uint64_t capability)
{
    return (guard->plugin->descriptor.capabilities & capability) != 0;
}

bool guard_persist_can_load(const struct guard_persist *guard)
{
    return guard_persist_has(guard, KV_PERSIST_LOAD);
}

/* What is wrong with a record that came from the plugin; NULL: nothing. */
static const char *guard_persist_record_fault(const struct guard_persist_emission *emission,
                                              const struct kv_record *record)
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
    if (emission->is_one_key &&
        (record->key_len != emission->key_len ||
         (record->key_len > 0 && memcmp(record->key, emission->key, record->key_len) != 0))) {
        return "another key than the one asked for";
    }
    return NULL;
}

/* The emit function that the plugin gets; ctx is the guard. */
static int32_t guard_persist_emit(void *ctx, const struct kv_record *record)
{
    struct guard_persist *guard = ctx;
    struct guard_persist_emission *emission = &guard->emission;
    if (emission->function == NULL || !pthread_equal(emission->thread, pthread_self())) {
        guard_persist_log(
            guard, KV_LOG_ERROR, "the plugin broke its contract: it emitted a record %s",
            emission->function == NULL ? "outside load() and get()" : "from another thread");
        return KV_E_CONTRACT;
    }
    if (emission->status != KV_OK) {
        return emission->status; /* it was told to stop */
    }
    const char *fault = guard_persist_record_fault(emission, record);
    if (fault != NULL) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: %s() emitted a record with %s",
                          emission->function, fault);
        emission->status = KV_E_CONTRACT;
    } else {
        emission->has_emitted = true;
        emission->status = emission->emit(emission->ctx, record);
    }
    return emission->status;
}

/* After load() or get(): no more records, and the outcome. What stopped it is the outcome, whatever
 * the plugin made of it. */
static int32_t guard_persist_end_emission(struct guard_persist *guard, int32_t status)
{
    struct guard_persist_emission *emission = &guard->emission;
    status = guard_persist_check_code(guard, emission->function, status);
    emission->function = NULL;
    return emission->status != KV_OK ? emission->status : status;
}

int32_t guard_persist_load(struct guard_persist *guard, kv_emit_fn emit, void *ctx)
{
    KV_CHECK(guard->state == GUARD_PERSIST_OPEN);
    guard->state = GUARD_PERSIST_LOADED;
    if (!guard_persist_can_load(guard)) {
        return KV_OK;
    }
    guard->emission = (struct guard_persist_emission){
        .function = "load", .thread = pthread_self(), .emit = emit, .ctx = ctx};
    return guard_persist_end_emission(guard,
                                      guard->ops->load(guard->self, guard_persist_emit, guard));
}

int32_t guard_persist_get(struct guard_persist *guard, const void *key, uint32_t key_len,
                          kv_emit_fn emit, void *ctx)
{
    KV_CHECK(guard->state != GUARD_PERSIST_CLOSED && guard->emission.function == NULL);
    if (!guard_persist_has(guard, KV_PERSIST_GET)) {
        return KV_E_REJECTED;
    }
    guard->emission = (struct guard_persist_emission){.function = "get",
                                                      .thread = pthread_self(),
                                                      .key = key,
                                                      .key_len = key_len,
                                                      .is_one_key = true,
                                                      .emit = emit,
                                                      .ctx = ctx};
    int32_t status = guard_persist_end_emission(
        guard, guard->ops->get(guard->self, key, key_len, guard_persist_emit, guard));
    bool has_emitted = guard->emission.has_emitted;
    if ((status == KV_OK && !has_emitted) || (status == KV_E_NOT_FOUND && has_emitted)) {
        guard_persist_log(
            guard, KV_LOG_ERROR, "the plugin broke its contract: get() returned %s and emitted %s",
            status == KV_OK ? "KV_OK" : "KV_E_NOT_FOUND", has_emitted ? "the key" : "nothing");
        return KV_E_CONTRACT;
    }
    return status;
}

int32_t guard_persist_reset(struct guard_persist *guard)
{
    KV_CHECK(guard->state == GUARD_PERSIST_OPEN || guard->state == GUARD_PERSIST_LOADED);
    if (!guard_persist_has(guard, KV_PERSIST_RESET)) {
        return KV_OK;
    }
    uint64_t errors = services_errors(guard->services);
    int32_t status = guard_persist_check_code(guard, "reset", guard->ops->reset(guard->self));
    if (status != KV_OK && services_errors(guard->services) == errors) {
        guard_persist_log(guard, KV_LOG_ERROR, "the store could not be emptied: %s (%s)",
                          status_text(status), status_name(status));
    }
    return status;
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

/* The outcome of a batch from its results; which record decided is told by ret_at, how many are
 * refused for good by ret_refused_len. */
static int32_t guard_persist_judge(const uint32_t *results, uint32_t count, uint32_t *ret_at,
                                   uint32_t *ret_refused_len)
{
    int32_t status = KV_OK;
    *ret_refused_len = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] > KV_RESULT_UNKNOWN) {
            *ret_at = i;
            return KV_E_CONTRACT;
        }
        if (results[i] == KV_RESULT_REFUSED) {
            (*ret_refused_len)++;
        } else if (results[i] != KV_RESULT_STORED && status == KV_OK) {
            status = KV_E_RETRY;
            *ret_at = i;
        }
    }
    return status;
}

/* Says why a batch is to be repeated, unless the plugin has. */
static void guard_persist_log_retry(struct guard_persist *guard, const struct kv_record *record,
                                    uint32_t at, uint32_t count, bool has_error)
{
    const char *reason = services_reason(guard->services, at);
    if (reason != NULL) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the store could not store record %" PRIu32 " of %" PRIu32 ": %s", at + 1,
                          count, reason);
    } else if (!has_error) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the store could not store record %" PRIu32 " of %" PRIu32
                          " (key of %" PRIu32 " bytes, value of %" PRIu32 " bytes)",
                          at + 1, count, record->key_len, record->value_len);
    }
}

/* Why records[at] is refused, into the arena. only_error: the line that the plugin logged with
 * KV_LOG_ERROR when there is no other refused record that it could be about; else "". */
static const char *guard_persist_refusal_reason(struct guard_persist *guard,
                                                const struct kv_record *record, uint32_t at,
                                                const char *only_error)
{
    char made[128];
    const char *reason = services_reason(guard->services, at);
    if (reason == NULL && only_error[0] != '\0') {
        reason = only_error;
    } else if (reason == NULL) {
        snprintf(made, sizeof(made),
                 "the store refused the record (key of %" PRIu32 " bytes, value of %" PRIu32
                 " bytes)",
                 record->key_len, record->value_len);
        reason = made;
    }
    size_t size = strlen(reason) + 1;
    return memcpy(arena_alloc(&guard->refusals, size), reason, size);
}

static const struct persist_refusal *
guard_persist_list_refusals(struct guard_persist *guard, const struct kv_record *records,
                            uint32_t count, uint32_t refused_len, bool has_error)
{
    char only_error[SERVICES_REASON_BYTES_MAX + 1] = "";
    struct persist_refusal *refusals =
        arena_alloc(&guard->refusals, refused_len * sizeof(*refusals));
    uint32_t len = 0;
    if (refused_len == 1 && has_error) {
        services_last_error(guard->services, only_error, sizeof(only_error));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (guard->results[i] == KV_RESULT_REFUSED) {
            refusals[len].record = i;
            refusals[len].reason = guard_persist_refusal_reason(guard, &records[i], i, only_error);
            len++;
        }
    }
    KV_CHECK(len == refused_len);
    return refusals;
}

/* The call itself, and what it says of the batch as a whole. */
static int32_t guard_persist_call_apply(struct guard_persist *guard,
                                        const struct kv_record *records, uint32_t count,
                                        struct kv_position position)
{
    uint64_t errors = services_errors(guard->services);
    services_begin_reasons(guard->services, count);
    int32_t status = guard->ops->apply(guard->self, records, count, position, guard->results);
    services_end_reasons(guard->services);
    status = guard_persist_check_code(guard, "apply", status);
    if (guard->results[count] != GUARD_PERSIST_CANARY) {
        guard_persist_log(
            guard, KV_LOG_ERROR,
            "the plugin broke its contract: apply() wrote beyond its %" PRIu32 " results", count);
        return KV_E_CONTRACT;
    }
    if (status != KV_OK && services_errors(guard->services) == errors) {
        guard_persist_log(guard, KV_LOG_ERROR, "the store took no batch: %s (%s)",
                          status_text(status), status_name(status));
    }
    return status;
}

int32_t guard_persist_apply(struct guard_persist *guard, const struct kv_record *records,
                            uint32_t count, struct kv_position position,
                            const struct persist_refusal **ret_refusals, uint32_t *ret_refusals_len)
{
    KV_CHECK(guard->state != GUARD_PERSIST_CLOSED && guard->emission.function == NULL);
    KV_CHECK(count < UINT32_MAX && (records != NULL || count == 0));
    guard->state = GUARD_PERSIST_APPLYING;
    arena_reset(&guard->refusals);
    guard_persist_clear_results(guard, count);
    uint64_t errors = services_errors(guard->services);
    int32_t status = guard_persist_call_apply(guard, records, count, position);
    if (status != KV_OK) {
        return status;
    }
    uint32_t at = 0;
    uint32_t refused_len = 0;
    bool has_error = services_errors(guard->services) != errors;
    status = guard_persist_judge(guard->results, count, &at, &refused_len);
    if (status == KV_E_CONTRACT) {
        guard_persist_log(guard, KV_LOG_ERROR,
                          "the plugin broke its contract: apply() gave record %" PRIu32
                          " of %" PRIu32 " the result %" PRIu32 ", which is no result",
                          at + 1, count, guard->results[at]);
    } else if (status != KV_OK) {
        guard_persist_log_retry(guard, &records[at], at, count, has_error);
    } else {
        *ret_refusals = refused_len == 0 ? NULL
                                         : guard_persist_list_refusals(guard, records, count,
                                                                       refused_len, has_error);
        *ret_refusals_len = refused_len;
    }
    return status;
}

void guard_persist_close(struct guard_persist *guard)
{
    if (guard->state == GUARD_PERSIST_CLOSED) {
        return;
    }
    KV_CHECK(guard->emission.function == NULL);
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
    arena_close(&guard->refusals);
    alloc_free(guard);
}

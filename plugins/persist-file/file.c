/*
 * persist-file: the descriptor, the options, and the life cycle of an instance. What each operation
 * does stands in segment.c (apply), recover.c (open, load) and compact.c.
 */
#include "folder.h"
#include "recover.h"
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LEN_MAX   1024
#define ERROR_LEN_MAX 128

static const struct kv_option file_options[] = {
    {"path", NULL, "The folder of the store; created, with its parents, when it is missing.",
     KV_OPTION_STRING, 0},
    {"sync", "always",
     "always: an acknowledged batch survives power loss; never: the system writes when it likes.",
     KV_OPTION_STRING, 0},
    {"compact_min_bytes", "67108864",
     "Compact when the log has grown by as much as the base is long, and by at least this, bytes.",
     KV_OPTION_INT, 0},
    {"segment_bytes", "268435456", "Length at which the log goes on in a new file, bytes.",
     KV_OPTION_INT, 0},
    {"preallocate_bytes", "2097152",
     "Zeros written ahead of the end of the log, which makes syncing faster, bytes; 0: none.",
     KV_OPTION_INT, 0},
};

void store_log(const struct store *store, uint32_t level, const char *format, ...)
{
    char text[LOG_LEN_MAX];
    int len = snprintf(text, sizeof(text),
                       "persist-file %s: ", store->path == NULL ? "(no path)" : store->path);
    if (len < 0 || (size_t)len >= sizeof(text)) {
        len = 0; /* a path that long: the message matters more */
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + len, sizeof(text) - (size_t)len, format, arguments);
    va_end(arguments);
    store->host->log(store->host->ctx, level, text);
}

int32_t store_fail(const struct store *store, const char *what, const char *name)
{
    char error[ERROR_LEN_MAX];
    store_log(store, KV_LOG_ERROR, "cannot %s %s: %s", what, name,
              strerror_r(errno, error, sizeof(error)));
    return KV_E_IO;
}

/* A number of bytes within bounds. */
static int32_t file_parse_bytes(const struct store *store, const struct kv_setting *setting,
                                uint64_t least, uint64_t most, uint64_t *ret_bytes)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(setting->value, &end, 10);
    if (errno != 0 || end == setting->value || *end != '\0' || value < 0 ||
        (uint64_t)value < least || (uint64_t)value > most) {
        store_log(store, KV_LOG_ERROR,
                  "%s = \"%s\" is not possible: a number of bytes from %" PRIu64 " to %" PRIu64
                  " is expected",
                  setting->name, setting->value, least, most);
        return KV_E_INVALID;
    }
    *ret_bytes = (uint64_t)value;
    return KV_OK;
}

static int32_t file_parse_path(struct store *store, const struct kv_setting *setting)
{
    size_t size = strlen(setting->value) + 1;
    if (size == 1) {
        store_log(store, KV_LOG_ERROR, "path is empty: the folder of the store is expected");
        return KV_E_INVALID;
    }
    char *path = store->host->allocate(store->host->ctx, size);
    if (path == NULL) {
        store_log(store, KV_LOG_ERROR, "out of memory");
        return KV_E_NOMEM;
    }
    memcpy(path, setting->value, size);
    store->host->release(store->host->ctx, store->path);
    store->path = path;
    return KV_OK;
}

static int32_t file_parse_sync(struct store *store, const struct kv_setting *setting)
{
    store->sync_always = strcmp(setting->value, "always") == 0;
    if (!store->sync_always && strcmp(setting->value, "never") != 0) {
        store_log(store, KV_LOG_ERROR,
                  "sync = \"%s\" is not possible: \"always\" or \"never\" is expected",
                  setting->value);
        return KV_E_INVALID;
    }
    return KV_OK;
}

static int32_t file_parse(struct store *store, const struct kv_setting *setting)
{
    if (strcmp(setting->name, "path") == 0) {
        return file_parse_path(store, setting);
    }
    if (strcmp(setting->name, "sync") == 0) {
        return file_parse_sync(store, setting);
    }
    if (strcmp(setting->name, "compact_min_bytes") == 0) {
        return file_parse_bytes(store, setting, 4096, 1ull << 50, &store->compact_min_bytes);
    }
    if (strcmp(setting->name, "segment_bytes") == 0) {
        return file_parse_bytes(store, setting, 4096, 1ull << 40, &store->segment_bytes);
    }
    if (strcmp(setting->name, "preallocate_bytes") == 0) {
        return file_parse_bytes(store, setting, 0, 1ull << 30, &store->preallocate_bytes);
    }
    store_log(store, KV_LOG_ERROR, "%s is no setting of persist-file", setting->name);
    return KV_E_INVALID;
}

static void file_destroy(void *self);

static int32_t file_create(const struct kv_host *host, const struct kv_setting *settings,
                           uint32_t settings_len, void **ret_self)
{
    struct store *store = host->allocate(host->ctx, sizeof(*store));
    if (store == NULL) {
        return KV_E_NOMEM;
    }
    *store = (struct store){.host = host,
                            .sync_always = true,
                            .compact_min_bytes = 67108864,
                            .segment_bytes = 268435456,
                            .preallocate_bytes = 2097152,
                            .folder_fd = -1,
                            .lock_fd = -1,
                            .active.fd = -1};
    for (uint32_t i = 0; i < settings_len; i++) {
        int32_t status = file_parse(store, &settings[i]);
        if (status != KV_OK) {
            file_destroy(store);
            return status;
        }
    }
    if (store->path == NULL) {
        store_log(store, KV_LOG_ERROR, "path is missing: the folder of the store is expected");
        file_destroy(store);
        return KV_E_INVALID;
    }
    *ret_self = store;
    return KV_OK;
}

static void file_close(void *self)
{
    struct store *store = self;
    if (!store->is_open) {
        return;
    }
    compact_stop(store);
    segment_close(store);
    folder_close(store);
    store->host->release(store->host->ctx, store->buffer);
    store->buffer = NULL;
    store->buffer_len_max = 0;
    store->is_open = false;
}

static int32_t file_open(void *self, struct kv_position *ret_position)
{
    struct store *store = self;
    uint64_t base = 0;
    uint64_t base_bytes = 0;
    uint64_t log_bytes = 0;
    if (store->is_open) {
        store_log(store, KV_LOG_ERROR, "open() of an open store");
        return KV_E_INVALID;
    }
    store->failed = false;
    store->written = false;
    store->roll_retry_bytes = 0;
    int32_t status = folder_open(store);
    if (status != KV_OK) {
        return status;
    }
    status = recover_run(store, &base, &base_bytes, &log_bytes);
    if (status == KV_OK) {
        status = compact_start(store, base, base_bytes, log_bytes);
    }
    if (status != KV_OK) {
        segment_close(store);
        folder_close(store);
        return status;
    }
    if (!store->sync_always) {
        store_log(store, KV_LOG_WARN,
                  "sync = \"never\": what is acknowledged may be lost when the power fails");
    }
    store->is_open = true;
    *ret_position = store->position;
    return KV_OK;
}

static int32_t file_load(void *self, kv_emit_fn emit, void *ctx)
{
    struct store *store = self;
    if (!store->is_open || store->written) {
        store_log(store, KV_LOG_ERROR, "load() is possible after open() and before any apply()");
        return KV_E_INVALID;
    }
    return recover_load(store, store->compact.base, emit, ctx);
}

/* Whether the record is one that the format can hold. */
static bool file_accepts(const struct kv_record *record)
{
    bool insert = record->kind == KV_RECORD_INSERT;
    return (insert || (record->kind == KV_RECORD_REMOVE && record->value_len == 0)) &&
           (record->key != NULL || record->key_len == 0) &&
           (record->value != NULL || record->value_len == 0);
}

static int32_t file_apply(void *self, const struct kv_record *records, uint32_t count,
                          struct kv_position position, uint32_t *results)
{
    struct store *store = self;
    if (!store->is_open) {
        store_log(store, KV_LOG_ERROR, "apply() needs an open store");
        return KV_E_INVALID;
    }
    if (store->failed) {
        store_log(store, KV_LOG_ERROR,
                  "the disk failed before, so nothing is written until the store is reopened");
        return KV_E_IO;
    }
    store->written = true;
    for (uint32_t i = 0; i < count; i++) {
        if (!file_accepts(&records[i])) {
            store_log(store, KV_LOG_ERROR, "record %" PRIu32 " of a batch is malformed", i);
            results[i] = KV_RESULT_REFUSED;
        }
    }
    return segment_append(store, records, count, results, position);
}

static void file_destroy(void *self)
{
    struct store *store = self;
    const struct kv_host *host = store->host;
    file_close(store);
    host->release(host->ctx, store->path);
    host->release(host->ctx, store);
}

static const struct kv_persist_ops file_ops = {
    .create = file_create,
    .open = file_open,
    .load = file_load,
    .apply = file_apply,
    .close = file_close,
    .destroy = file_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(file_options) / sizeof(file_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE,
    .name = "persist-file",
    .version = "1",
    .summary = "An append-only log with checksums in a folder, compacted in the background.",
    .options = file_options,
    .ops = &file_ops,
};

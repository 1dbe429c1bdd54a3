/*
 * persist-bdb: the descriptor, the options, and the life cycle of an instance. What each operation
 * does stands in environment.c (open, close, reset) and content.c (apply, load, get).
 */
#include "content.h"
#include "environment.h"
#include "folder.h"
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LEN_MAX              2048
#define ERROR_LEN_MAX            128
#define DEFAULT_CACHE_BYTES      67108864
#define DEFAULT_LOG_BYTES        16777216
#define DEFAULT_CHECKPOINT_BYTES 67108864
#define TEXT_(number)            #number
#define TEXT(number)             TEXT_(number)

static const struct kv_option bdb_options[] = {
    {"path", NULL, "The folder of the store; created, with its parents, when it is missing.",
     KV_OPTION_STRING, 0},
    {"sync", "always",
     "always: an acknowledged batch survives power loss; never: the system writes when it likes.",
     KV_OPTION_STRING, 0},
    {"cache_bytes", TEXT(DEFAULT_CACHE_BYTES), "Memory for pages of the database, bytes.",
     KV_OPTION_INT, 0},
    {"log_bytes", TEXT(DEFAULT_LOG_BYTES), "Length at which the log goes on in a new file, bytes.",
     KV_OPTION_INT, 0},
    {"checkpoint_bytes", TEXT(DEFAULT_CHECKPOINT_BYTES),
     "Length of log after which a checkpoint is made and older log files are removed, bytes.",
     KV_OPTION_INT, 0},
};

void store_log(const struct store *store, uint32_t level, const char *format, ...)
{
    char text[LOG_LEN_MAX];
    int len = snprintf(text, sizeof(text),
                       "persist-bdb %s: ", store->path == NULL ? "(no path)" : store->path);
    if (len < 0 || (size_t)len >= sizeof(text)) {
        len = 0; /* a path that long: the message matters more */
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + len, sizeof(text) - (size_t)len, format, arguments);
    va_end(arguments);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '\n' ? ' ' : *at; /* a line is one line, whatever Berkeley DB says */
    }
    store->host->log(store->host->ctx, level, text);
}

int32_t store_fail(const struct store *store, const char *what, const char *name)
{
    char error[ERROR_LEN_MAX];
    store_log(store, KV_LOG_ERROR, "cannot %s %s: %s", what, name,
              strerror_r(errno, error, sizeof(error)));
    return KV_E_IO;
}

int32_t store_fail_damage(const struct store *store, const char *how)
{
    store_log(
        store, KV_LOG_ERROR,
        "the store is damaged: %s. Move the folder away and start the node: it then takes the "
        "content from the others",
        how);
    return KV_E_CORRUPT;
}

/* A number of bytes within bounds. */
static int32_t bdb_parse_bytes(const struct store *store, const struct kv_setting *setting,
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

static int32_t bdb_parse_path(struct store *store, const struct kv_setting *setting)
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

static int32_t bdb_parse_sync(struct store *store, const struct kv_setting *setting)
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

static int32_t bdb_parse(struct store *store, const struct kv_setting *setting)
{
    if (strcmp(setting->name, "path") == 0) {
        return bdb_parse_path(store, setting);
    }
    if (strcmp(setting->name, "sync") == 0) {
        return bdb_parse_sync(store, setting);
    }
    if (strcmp(setting->name, "cache_bytes") == 0) {
        return bdb_parse_bytes(store, setting, 1ull << 20, 1ull << 40, &store->cache_bytes);
    }
    if (strcmp(setting->name, "log_bytes") == 0) {
        return bdb_parse_bytes(store, setting, 1ull << 17, 1ull << 30, &store->log_bytes);
    }
    if (strcmp(setting->name, "checkpoint_bytes") == 0) {
        return bdb_parse_bytes(store, setting, 1ull << 16, 1ull << 40, &store->checkpoint_bytes);
    }
    store_log(store, KV_LOG_ERROR, "%s is no setting of persist-bdb", setting->name);
    return KV_E_INVALID;
}

static void bdb_destroy(void *self);

static int32_t bdb_create(const struct kv_host *host, const struct kv_setting *settings,
                          uint32_t settings_len, void **ret_self)
{
    struct store *store = host->allocate(host->ctx, sizeof(*store));
    if (store == NULL) {
        return KV_E_NOMEM;
    }
    *store = (struct store){.host = host,
                            .sync_always = true,
                            .cache_bytes = DEFAULT_CACHE_BYTES,
                            .log_bytes = DEFAULT_LOG_BYTES,
                            .checkpoint_bytes = DEFAULT_CHECKPOINT_BYTES,
                            .folder_fd = -1,
                            .lock_fd = -1};
    for (uint32_t i = 0; i < settings_len; i++) {
        int32_t status = bdb_parse(store, &settings[i]);
        if (status != KV_OK) {
            bdb_destroy(store);
            return status;
        }
    }
    if (store->path == NULL) {
        store_log(store, KV_LOG_ERROR, "path is missing: the folder of the store is expected");
        bdb_destroy(store);
        return KV_E_INVALID;
    }
    *ret_self = store;
    return KV_OK;
}

static int32_t bdb_open(void *self, struct kv_position *ret_position)
{
    struct store *store = self;
    if (store->is_open) {
        store_log(store, KV_LOG_ERROR, "open() of an open store");
        return KV_E_INVALID;
    }
    int32_t status = folder_open(store);
    if (status != KV_OK) {
        return status;
    }
    status = environment_open(store);
    if (status != KV_OK) {
        folder_close(store);
        return status;
    }
    if (!store->sync_always) {
        store_log(store, KV_LOG_WARN,
                  "sync = \"never\": what is acknowledged may be lost when the power fails");
    }
    store->is_open = true;
    store->written = false;
    *ret_position = store->position;
    return KV_OK;
}

static void bdb_close(void *self)
{
    struct store *store = self;
    if (!store->is_open) {
        return;
    }
    environment_close(store);
    folder_close(store);
    store->host->release(store->host->ctx, store->buffer);
    store->buffer = NULL;
    store->buffer_len_max = 0;
    store->is_open = false;
}

/* Whether the call that is named may touch the databases. */
static int32_t bdb_ready(struct store *store, const char *call)
{
    store->lines = 0;
    if (!store->is_open) {
        store_log(store, KV_LOG_ERROR, "%s() needs an open store", call);
        return KV_E_INVALID;
    }
    if (store->failed) {
        store_log(store, KV_LOG_ERROR,
                  "the store failed before, so nothing is done until it is reopened");
        return KV_E_IO;
    }
    return KV_OK;
}

static int32_t bdb_load(void *self, kv_emit_fn emit, void *ctx)
{
    struct store *store = self;
    int32_t status = bdb_ready(store, "load");
    if (status == KV_OK && store->written) {
        store_log(store, KV_LOG_ERROR, "load() is possible before any apply() only");
        return KV_E_INVALID;
    }
    return status == KV_OK ? content_load(store, emit, ctx) : status;
}

static int32_t bdb_apply(void *self, const struct kv_record *records, uint32_t count,
                         struct kv_position position, uint32_t *results)
{
    struct store *store = self;
    int32_t status = bdb_ready(store, "apply");
    if (status != KV_OK) {
        return status;
    }
    store->written = true;
    return content_apply(store, records, count, position, results);
}

static int32_t bdb_reset(void *self)
{
    struct store *store = self;
    int32_t status = bdb_ready(store, "reset");
    if (status != KV_OK) {
        return status;
    }
    store->written = true;
    status = environment_reset(store);
    store->failed = status != KV_OK;
    return status;
}

static int32_t bdb_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    struct store *store = self;
    int32_t status = bdb_ready(store, "get");
    return status == KV_OK ? content_get(store, key, key_len, emit, ctx) : status;
}

static void bdb_destroy(void *self)
{
    struct store *store = self;
    const struct kv_host *host = store->host;
    bdb_close(store);
    host->release(host->ctx, store->path);
    host->release(host->ctx, store);
}

static const struct kv_persist_ops bdb_ops = {
    .create = bdb_create,
    .open = bdb_open,
    .load = bdb_load,
    .apply = bdb_apply,
    .close = bdb_close,
    .destroy = bdb_destroy,
    .reset = bdb_reset,
    .get = bdb_get,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(bdb_options) / sizeof(bdb_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE | KV_PERSIST_RESET |
                    KV_PERSIST_GET,
    .name = "persist-bdb",
    .version = "1",
    .summary = "A transactional Berkeley DB environment in a folder.",
    .options = bdb_options,
    .ops = &bdb_ops,
};

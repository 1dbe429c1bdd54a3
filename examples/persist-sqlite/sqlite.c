/*
 * A node's content as a table of an SQLite database: for people who want to look at it with SQL,
 * and whose constraints decide what may be stored.
 *
 * This file is what the host sees: settings, life cycle, descriptor. database.c opens and checks,
 * content.c stores and gives back. The contract: <kvnode/persist.h>.
 */
#include "store.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SQLITE_TEXT_MAX 512

void store_log(const struct store *store, uint32_t level, const char *format, ...)
{
    char text[SQLITE_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%.200s: ", store->path);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, sizeof(text) - (size_t)len, format, arguments);
    va_end(arguments);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '\n' ? ' ' : *at; /* a message of a trigger may have any text */
    }
    store->host->log(store->host->ctx, level, text);
}

int32_t store_fail(const struct store *store, int code, const char *what)
{
    const char *message = store->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(store->db);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        store_log(store, KV_LOG_ERROR, "%s: %s: another program holds the database", what, message);
        return KV_E_RETRY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        store_log(store, KV_LOG_ERROR,
                  "%s: %s; restore the file, or save what is readable with sqlite3's .recover; "
                  "moved away, the node begins a new one and gets its content from the others",
                  what, message);
        return KV_E_CORRUPT;
    case SQLITE_NOMEM:
        store_log(store, KV_LOG_ERROR, "%s: %s", what, message);
        return KV_E_NOMEM;
    default:
        store_log(store, KV_LOG_ERROR, "%s: %s", what, message);
        return KV_E_IO;
    }
}

/* A copy of the setting's value; NULL: no memory. */
static char *sqlite_copy(const struct kv_host *host, const struct kv_setting *settings,
                         uint32_t settings_len, const char *name)
{
    for (uint32_t i = 0; i < settings_len; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            size_t size = strlen(settings[i].value) + 1;
            char *copy = host->allocate(host->ctx, size);
            return copy == NULL ? NULL : memcpy(copy, settings[i].value, size);
        }
    }
    return NULL;
}

static void sqlite_destroy(void *self)
{
    struct store *store = self;
    const struct kv_host *host = store->host;
    host->release(host->ctx, store->path);
    host->release(host->ctx, store->table);
    host->release(host->ctx, store->key_column);
    host->release(host->ctx, store->value_column);
    host->release(host->ctx, store);
}

/* NULL, or what is wrong with the settings. */
static const char *sqlite_check(const struct store *store, const char *sync)
{
    if (store->path[0] == '\0' || strcmp(store->path, ":memory:") == 0) {
        return "path must name a file";
    }
    if (strcmp(sync, "always") != 0 && strcmp(sync, "never") != 0) {
        return "sync must be \"always\" or \"never\"";
    }
    if (store->table[0] == '\0' || store->key_column[0] == '\0' || store->value_column[0] == '\0') {
        return "table, key_column and value_column must not be empty";
    }
    if (sqlite3_strnicmp(store->table, "kvnode_", 7) == 0 ||
        sqlite3_strnicmp(store->table, "sqlite_", 7) == 0) {
        return "tables named kvnode_... and sqlite_... have other purposes";
    }
    if (sqlite3_stricmp(store->key_column, store->value_column) == 0) {
        return "key_column and value_column must be two columns";
    }
    return NULL;
}

static int32_t sqlite_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    struct store *store = host->allocate(host->ctx, sizeof(*store));
    if (store == NULL) {
        host->log(host->ctx, KV_LOG_ERROR, "no memory for an instance");
        return KV_E_NOMEM;
    }
    *store = (struct store){.host = host, .lock_fd = -1};
    int32_t status = KV_OK;
    char *sync = sqlite_copy(host, settings, settings_len, "sync");
    store->path = sqlite_copy(host, settings, settings_len, "path");
    store->table = sqlite_copy(host, settings, settings_len, "table");
    store->key_column = sqlite_copy(host, settings, settings_len, "key_column");
    store->value_column = sqlite_copy(host, settings, settings_len, "value_column");
    if (sync == NULL || store->path == NULL || store->table == NULL || store->key_column == NULL ||
        store->value_column == NULL) {
        host->log(host->ctx, KV_LOG_ERROR, "no memory for the settings");
        status = KV_E_NOMEM;
        goto out;
    }
    store->sync_always = strcmp(sync, "always") == 0;
    const char *wrong = sqlite_check(store, sync);
    if (wrong != NULL) {
        host->log(host->ctx, KV_LOG_ERROR, wrong);
        status = KV_E_INVALID;
    }
out:
    host->release(host->ctx, sync);
    if (status != KV_OK) {
        sqlite_destroy(store);
        return status;
    }
    *ret_self = store;
    return KV_OK;
}

static int32_t sqlite_open(void *self, struct kv_position *ret_position)
{
    struct store *store = self;
    struct kv_position position = {0, 0};
    int32_t status = database_open(store, &position);
    if (status != KV_OK) {
        database_close(store);
        return status;
    }
    *ret_position = position;
    return KV_OK;
}

static int32_t sqlite_load(void *self, kv_emit_fn emit, void *ctx)
{
    return content_load(self, emit, ctx);
}

static int32_t sqlite_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    return content_apply(self, records, count, position, results);
}

static void sqlite_close(void *self)
{
    database_close(self);
}

static int32_t sqlite_reset(void *self)
{
    return content_reset(self);
}

static int32_t sqlite_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    return content_get(self, key, key_len, emit, ctx);
}

static const struct kv_option sqlite_options[] = {
    {"path", NULL, "The database file, made if need be; its folder must exist.", KV_OPTION_STRING,
     0},
    {"table", "kv", "The table, made if need be.", KV_OPTION_STRING, 0},
    {"key_column", "key", "Its column for keys, which is PRIMARY KEY or UNIQUE.", KV_OPTION_STRING,
     0},
    {"value_column", "value", "Its column for values.", KV_OPTION_STRING, 0},
    {"sync", "always",
     "\"always\": what is stored survives power loss; \"never\": the last may not.",
     KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops sqlite_ops = {
    .create = sqlite_create,
    .open = sqlite_open,
    .load = sqlite_load,
    .apply = sqlite_apply,
    .close = sqlite_close,
    .destroy = sqlite_destroy,
    .reset = sqlite_reset,
    .get = sqlite_get,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(sqlite_options) / sizeof(sqlite_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE | KV_PERSIST_RESET |
                    KV_PERSIST_GET,
    .name = "persist-sqlite",
    .version = "0.1.0",
    .summary = "Keeps the content in a table of an SQLite database.",
    .options = sqlite_options,
    .ops = &sqlite_ops,
};

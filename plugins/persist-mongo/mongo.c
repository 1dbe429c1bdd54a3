/*
 * persist-mongo: the content as documents in a collection of MongoDB, or of a server that speaks
 * its protocol. This file: the settings, the connection, the operations of <kvnode/persist.h>.
 *
 * Happy path of apply(): the fence (state.h), the records in ordered bulk writes (batch.h), then
 * the position. Failure: whatever the server or the way to it does, the outcome is "not known to be
 * stored"; the node repeats the batch, after reopening where the connection is to blame, and a
 * repeat writes what is there. Transactions are not used: a single server has none.
 *
 * libmongoc has state of its own per process: it is set up once and never taken down, since others
 * in the process may use it as well; its own log is switched off, as what it has to say comes with
 * the errors.
 */
#include "batch.h"
#include "document.h"
#include "state.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MONGO_TIMEOUT_MIN_MS 50
#define MONGO_TIMEOUT_MAX_MS 600000

static pthread_once_t mongo_once = PTHREAD_ONCE_INIT;

static void mongo_set_up_library(void)
{
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
}

/* --- settings --- */

static const struct kv_option mongo_options[] = {
    {"uri", NULL,
     "Where the server is: mongodb://HOST:PORT, with user, password and TLS as MongoDB's URIs have "
     "them.",
     KV_OPTION_STRING, 0},
    {"database", "kvnode", "Name of the database.", KV_OPTION_STRING, 0},
    {"collection", "pairs",
     "Name of the collection; COLLECTION.kvnode beside it holds the position. Of its own for each "
     "node, unless scope is \"shared\".",
     KV_OPTION_STRING, 0},
    {"sync", "always",
     "\"always\": a batch is journaled by a majority before it counts; \"never\": when the server "
     "has it in memory.",
     KV_OPTION_STRING, 0},
    {"scope", "own",
     "\"own\": this node's collection; \"shared\": several nodes name one, only the primary "
     "writes.",
     KV_OPTION_STRING, 0},
    {"timeout_ms", "2000",
     "Milliseconds for finding a server, connecting and one answer, unless the URI says otherwise; "
     "50 to 600000.",
     KV_OPTION_INT, 0},
};

static const char *mongo_setting(const struct kv_setting *settings, uint32_t settings_len,
                                 const char *name)
{
    for (uint32_t i = 0; i < settings_len; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return settings[i].value;
        }
    }
    return "";
}

/* One of two texts. False, and said: neither. */
static bool mongo_set_choice(const struct mongo *mongo, const struct kv_setting *settings,
                             uint32_t settings_len, const char *name, const char *no,
                             const char *yes, bool *ret_is_yes)
{
    const char *value = mongo_setting(settings, settings_len, name);
    *ret_is_yes = strcmp(value, yes) == 0;
    if (!*ret_is_yes && strcmp(value, no) != 0) {
        mongo_log(mongo, KV_LOG_ERROR, "%s = \"%.40s\" is not possible: \"%s\" or \"%s\"", name,
                  value, no, yes);
        return false;
    }
    return true;
}

/* Names end up in error texts and in the server's own namespace. */
static char *mongo_copy_name(const struct mongo *mongo, const char *what, const char *name)
{
    const struct kv_host *host = mongo->host;
    size_t len = strnlen(name, 101);
    if (len == 0 || len > 100 || strpbrk(name, "$\"\\ /") != NULL || name[0] == '.' ||
        name[len - 1] == '.' || strncmp(name, "system.", 7) == 0) {
        mongo_log(mongo, KV_LOG_ERROR,
                  "%s is not possible: 1 to 100 letters, digits and signs, without $ \" \\ / and "
                  "space, no dot at its ends, not system.",
                  what);
        return NULL;
    }
    char *copy = host->allocate(host->ctx, len + 1);
    if (copy == NULL) {
        mongo_log(mongo, KV_LOG_ERROR, "no memory for the settings");
        return NULL;
    }
    memcpy(copy, name, len + 1);
    return copy;
}

static void mongo_set_timeout(mongoc_uri_t *uri, const char *option, int32_t timeout_ms)
{
    if (!mongoc_uri_has_option(uri, option)) {
        mongoc_uri_set_option_as_int32(uri, option, timeout_ms);
    }
}

static bool mongo_set_uri(struct mongo *mongo, const char *text, const char *timeout)
{
    bson_error_t error;
    long timeout_ms = strtol(timeout, NULL, 10);
    if (timeout_ms < MONGO_TIMEOUT_MIN_MS || timeout_ms > MONGO_TIMEOUT_MAX_MS) {
        mongo_log(mongo, KV_LOG_ERROR, "timeout_ms = %ld is not possible: %d to %d", timeout_ms,
                  MONGO_TIMEOUT_MIN_MS, MONGO_TIMEOUT_MAX_MS);
        return false;
    }
    mongo->uri = mongoc_uri_new_with_error(text, &error);
    if (mongo->uri == NULL) {
        /* Not error.message: it may repeat a part of the text, with a password in it. */
        mongo_log(mongo, KV_LOG_ERROR,
                  "uri is no URI of a MongoDB server: mongodb://HOST:PORT is one, "
                  "mongodb://USER:PASSWORD@HOST:PORT/?tls=true another (signs like @ : / in user "
                  "and password as %%40 and so on)");
        return false;
    }
    mongo_set_timeout(mongo->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, (int32_t)timeout_ms);
    mongo_set_timeout(mongo->uri, MONGOC_URI_CONNECTTIMEOUTMS, (int32_t)timeout_ms);
    mongo_set_timeout(mongo->uri, MONGOC_URI_SOCKETTIMEOUTMS, (int32_t)timeout_ms);
    /* The node repeats what fails, and knows what that means. */
    mongoc_uri_set_option_as_bool(mongo->uri, MONGOC_URI_RETRYWRITES, false);
    return true;
}

static void mongo_destroy(void *self)
{
    struct mongo *mongo = self;
    const struct kv_host *host = mongo->host;
    mongoc_uri_destroy(mongo->uri);
    host->release(host->ctx, mongo->database_name);
    host->release(host->ctx, mongo->collection_name);
    host->release(host->ctx, mongo);
}

static bool mongo_set(struct mongo *mongo, const struct kv_setting *settings, uint32_t settings_len)
{
    mongo->database_name =
        mongo_copy_name(mongo, "database", mongo_setting(settings, settings_len, "database"));
    mongo->collection_name =
        mongo_copy_name(mongo, "collection", mongo_setting(settings, settings_len, "collection"));
    return mongo->database_name != NULL && mongo->collection_name != NULL &&
           mongo_set_choice(mongo, settings, settings_len, "sync", "never", "always",
                            &mongo->is_synced) &&
           mongo_set_choice(mongo, settings, settings_len, "scope", "own", "shared",
                            &mongo->is_shared) &&
           mongo_set_uri(mongo, mongo_setting(settings, settings_len, "uri"),
                         mongo_setting(settings, settings_len, "timeout_ms"));
}

static int32_t mongo_create(const struct kv_host *host, const struct kv_setting *settings,
                            uint32_t settings_len, void **ret_self)
{
    pthread_once(&mongo_once, mongo_set_up_library);
    struct mongo *mongo = host->allocate(host->ctx, sizeof(*mongo));
    if (mongo == NULL) {
        return KV_E_NOMEM;
    }
    memset(mongo, 0, sizeof(*mongo));
    mongo->host = host;
    if (!mongo_set(mongo, settings, settings_len)) {
        mongo_destroy(mongo);
        return KV_E_INVALID;
    }
    *ret_self = mongo;
    return KV_OK;
}

/* --- the connection --- */

static void mongo_close(void *self)
{
    struct mongo *mongo = self;
    mongoc_collection_destroy(mongo->pairs);
    mongoc_collection_destroy(mongo->meta);
    mongoc_write_concern_destroy(mongo->concern);
    mongoc_client_destroy(mongo->client);
    mongo->pairs = NULL;
    mongo->meta = NULL;
    mongo->concern = NULL;
    mongo->client = NULL;
}

static void mongo_draw_writer(struct mongo *mongo)
{
    bson_oid_t id;
    bson_oid_init(&id, NULL);
    bson_oid_to_string(&id, mongo->writer);
}

/* Whatever the URI says: what was acknowledged must be seen. */
static void mongo_read_from_primary(struct mongo *mongo)
{
    mongoc_read_prefs_t *preference = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_client_set_read_prefs(mongo->client, preference);
    mongoc_read_prefs_destroy(preference);
}

static int32_t mongo_open(void *self, struct kv_position *ret_position)
{
    struct mongo *mongo = self;
    bson_error_t error;
    char meta_name[128];
    mongo->client = mongoc_client_new_from_uri_with_error(mongo->uri, &error);
    if (mongo->client == NULL) {
        return mongo_fail(mongo, "cannot make a client", &error);
    }
    mongoc_client_set_error_api(mongo->client, MONGOC_ERROR_API_VERSION_2);
    mongoc_client_set_appname(mongo->client, "kvnode persist-mongo");
    mongo_read_from_primary(mongo);
    snprintf(meta_name, sizeof(meta_name), "%s.kvnode", mongo->collection_name);
    mongo->pairs =
        mongoc_client_get_collection(mongo->client, mongo->database_name, mongo->collection_name);
    mongo->meta = mongoc_client_get_collection(mongo->client, mongo->database_name, meta_name);
    mongo->concern = mongoc_write_concern_new();
    if (mongo->is_synced) {
        mongoc_write_concern_set_w(mongo->concern, MONGOC_WRITE_CONCERN_W_MAJORITY);
        mongoc_write_concern_set_journal(mongo->concern, true);
    } else {
        mongoc_write_concern_set_w(mongo->concern, 1);
    }
    mongo_draw_writer(mongo);
    int32_t status = state_open(mongo);
    if (status != KV_OK) {
        mongo_close(mongo);
        return status == KV_E_IO ? KV_E_RETRY : status; /* a server that is away may come */
    }
    *ret_position = mongo->position;
    return KV_OK;
}

/* --- data --- */

static int32_t mongo_emit_all(const struct mongo *mongo, const bson_t *filter, kv_emit_fn emit,
                              void *ctx, uint64_t *ret_len)
{
    bson_error_t error;
    const bson_t *document;
    struct kv_record record;
    int32_t status = KV_OK;
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(mongo->pairs, filter, NULL, NULL);
    *ret_len = 0;
    while (status == KV_OK && mongoc_cursor_next(cursor, &document)) {
        const char *fault = document_read(document, &record);
        (*ret_len)++;
        if (fault == NULL) {
            status = emit(ctx, &record);
            continue;
        }
        char *text = bson_as_relaxed_extended_json(document, NULL);
        mongo_log(mongo, KV_LOG_ERROR, "a document of %s.%s is no pair: %s: %.200s",
                  mongo->database_name, mongo->collection_name, fault, text == NULL ? "" : text);
        bson_free(text);
        status = KV_E_CORRUPT;
    }
    if (status == KV_OK && mongoc_cursor_error(cursor, &error)) {
        status = mongo_fail(mongo, "cannot read the pairs", &error);
    }
    mongoc_cursor_destroy(cursor);
    return status;
}

static int32_t mongo_load(void *self, kv_emit_fn emit, void *ctx)
{
    bson_t all = BSON_INITIALIZER;
    uint64_t len;
    int32_t status = mongo_emit_all(self, &all, emit, ctx, &len);
    bson_destroy(&all);
    return status;
}

static int32_t mongo_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    const struct kv_record record = {.key = key, .key_len = key_len};
    bson_t filter;
    uint64_t len;
    bson_init(&filter);
    document_append_id(&filter, &record);
    int32_t status = mongo_emit_all(self, &filter, emit, ctx, &len);
    bson_destroy(&filter);
    return status == KV_OK && len == 0 ? KV_E_NOT_FOUND : status;
}

/* The view that a batch is written with: the newest in it. */
static uint64_t mongo_view(const struct kv_record *records, uint32_t count,
                           struct kv_position position)
{
    uint64_t view = position.view;
    for (uint32_t i = 0; i < count; i++) {
        view = records[i].position.view > view ? records[i].position.view : view;
    }
    return view;
}

static int32_t mongo_apply(void *self, const struct kv_record *records, uint32_t count,
                           struct kv_position position, uint32_t *results)
{
    struct mongo *mongo = self;
    bool is_incomplete = position.view == 0 && position.index == 0;
    if (!mongo->is_shared && !is_incomplete && mongo_compare(mongo->position, position) > 0) {
        return KV_OK; /* a repeat of what is long there must not take anything back */
    }
    uint64_t view = mongo_view(records, count, position);
    int32_t status = count > 0 ? batch_write(mongo, records, count, view, is_incomplete, results)
                               : state_fence(mongo, view);
    if (status == KV_OK) {
        status = state_write_position(mongo, view, position);
    }
    return status;
}

static int32_t mongo_reset(void *self)
{
    struct mongo *mongo = self;
    const struct kv_position none = {0, 0};
    bson_t all = BSON_INITIALIZER;
    bson_t options = BSON_INITIALIZER;
    bson_error_t error;
    int32_t status = state_fence(mongo, mongo->position.view);
    if (status == KV_OK) {
        status = state_write_position(mongo, mongo->position.view, none);
    }
    mongoc_write_concern_append(mongo->concern, &options);
    if (status == KV_OK &&
        !mongoc_collection_delete_many(mongo->pairs, &all, &options, NULL, &error)) {
        status = mongo_fail(mongo, "cannot empty the collection", &error);
    }
    bson_destroy(&options);
    bson_destroy(&all);
    return status;
}

static const struct kv_persist_ops mongo_ops = {
    .create = mongo_create,
    .open = mongo_open,
    .load = mongo_load,
    .apply = mongo_apply,
    .close = mongo_close,
    .destroy = mongo_destroy,
    .reset = mongo_reset,
    .get = mongo_get,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(mongo_options) / sizeof(mongo_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_DURABLE | KV_PERSIST_RESET | KV_PERSIST_GET |
                    KV_PERSIST_SHARED,
    .name = "persist-mongo",
    .version = "1",
    .summary = "Documents that a person can read, in a collection of MongoDB.",
    .options = mongo_options,
    .ops = &mongo_ops,
};

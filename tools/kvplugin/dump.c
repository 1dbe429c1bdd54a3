/*
 * Reads a store without a node: opens it as the node would, gives out what load() says. The last
 * record of a key is its state, so the records are gathered before anything is written.
 */
#include "kvplugin.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"
#include "host/guard_persist.h"
#include "pairs.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct dump_pair {
    struct dump_pair *next; /* of the same bucket */
    uint32_t key_len;
    uint32_t value_len;
    uint8_t *bytes; /* key, then value; NULL: removed */
    uint64_t hash;
};

#define DUMP_BUCKETS 65536u

struct dump {
    struct loaded_plugin *plugin;
    struct services *services;
    struct kv_setting *settings;
    struct guard_persist *guard;
    struct kv_position position;
    struct dump_pair **buckets;
};

static void dump_log(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    (void)ctx;
    if (level <= KV_LOG_WARN) {
        fprintf(stderr, "kvplugin: %s: %s\n", plugin, text);
    }
}

static void dump_close(struct dump *dump)
{
    for (uint32_t i = 0; dump->buckets != NULL && i < DUMP_BUCKETS; i++) {
        while (dump->buckets[i] != NULL) {
            struct dump_pair *pair = dump->buckets[i];
            dump->buckets[i] = pair->next;
            alloc_free(pair->bytes);
            alloc_free(pair);
        }
    }
    alloc_free(dump->buckets);
    guard_persist_destroy(dump->guard);
    services_destroy(dump->services);
    loader_settings_free(dump->settings);
    loader_release(dump->plugin);
}

/* Opening would make a new store where there is none: false, and said. */
static bool dump_has_path(const struct dump *dump)
{
    for (uint32_t i = 0; i < dump->plugin->descriptor.options_len; i++) {
        const struct kv_setting *setting = &dump->settings[i];
        if (strcmp(setting->name, "path") == 0 && access(setting->value, F_OK) != 0) {
            fprintf(stderr, "kvplugin: there is no store at %s\n", setting->value);
            return false;
        }
    }
    return true;
}

/* EXIT_DONE: the store is open. dump_close() in any case. */
static int dump_open(const struct arguments *arguments, struct dump *ret_dump)
{
    const struct kit_request *request = &arguments->request;
    char error[LOADER_ERROR_MAX];
    uint32_t at = 0;
    memset(ret_dump, 0, sizeof(*ret_dump));
    ret_dump->plugin = plugin_load(arguments->name, KV_KIND_PERSIST);
    if (ret_dump->plugin == NULL) {
        return EXIT_REFUSED;
    }
    if (loader_settings(ret_dump->plugin, request->given, request->given_len, &ret_dump->settings,
                        &at, error) != KV_OK) {
        fprintf(stderr, "kvplugin: %s\n", error);
        return EXIT_USAGE;
    }
    if (!dump_has_path(ret_dump)) {
        return EXIT_FAILED;
    }
    ret_dump->services = services_create(ret_dump->plugin->descriptor.name, NULL, dump_log, NULL);
    int32_t status = guard_persist_create(ret_dump->plugin, ret_dump->services, ret_dump->settings,
                                          NULL, &ret_dump->guard);
    if (status != KV_OK) {
        fprintf(stderr, "kvplugin: the plugin refused its settings: %s\n", status_text(status));
        return EXIT_USAGE;
    }
    status = guard_persist_open(ret_dump->guard, &ret_dump->position);
    if (status != KV_OK) {
        fprintf(stderr, "kvplugin: the store cannot be opened: %s\n", status_text(status));
        return EXIT_FAILED;
    }
    ret_dump->buckets = alloc_zeroed(DUMP_BUCKETS, sizeof(ret_dump->buckets[0]));
    return EXIT_DONE;
}

static struct dump_pair *dump_pair_at(struct dump *dump, const void *key, uint32_t key_len)
{
    uint64_t hash = hash_bytes(key, key_len);
    struct dump_pair **bucket = &dump->buckets[hash % DUMP_BUCKETS];
    for (struct dump_pair *pair = *bucket; pair != NULL; pair = pair->next) {
        if (pair->hash == hash && pair->key_len == key_len &&
            (key_len == 0 || memcmp(pair->bytes, key, key_len) == 0)) {
            return pair;
        }
    }
    struct dump_pair *pair = alloc_zeroed(1, sizeof(*pair));
    pair->hash = hash;
    pair->key_len = key_len;
    pair->next = *bucket;
    *bucket = pair;
    return pair;
}

/* A removal keeps the key's bytes: value_len is UINT32_MAX then. */
static int32_t dump_take(void *ctx, const struct kv_record *record)
{
    struct dump *dump = ctx;
    struct dump_pair *pair = dump_pair_at(dump, record->key, record->key_len);
    alloc_free(pair->bytes);
    pair->bytes = alloc_bytes((size_t)record->key_len + record->value_len);
    pair->value_len = record->kind == KV_RECORD_REMOVE ? UINT32_MAX : record->value_len;
    if (record->key_len > 0) {
        memcpy(pair->bytes, record->key, record->key_len);
    }
    if (record->value_len > 0) {
        memcpy(pair->bytes + record->key_len, record->value, record->value_len);
    }
    return KV_OK;
}

static int dump_load(struct dump *dump)
{
    if (!guard_persist_can_load(dump->guard)) {
        fprintf(stderr, "kvplugin: the plugin has no LOAD: it cannot give its content back\n");
        return EXIT_FAILED;
    }
    int32_t status = guard_persist_load(dump->guard, dump_take, dump);
    if (status != KV_OK) {
        fprintf(stderr, "kvplugin: the store cannot be read: %s\n", status_text(status));
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int verb_dump(const struct arguments *arguments)
{
    struct dump dump;
    struct text_buffer line = {0};
    uint64_t pairs = 0;
    int exit_status = dump_open(arguments, &dump);
    if (exit_status == EXIT_DONE) {
        exit_status = dump_load(&dump);
    }
    for (uint32_t i = 0; exit_status == EXIT_DONE && i < DUMP_BUCKETS; i++) {
        for (const struct dump_pair *pair = dump.buckets[i]; pair != NULL; pair = pair->next) {
            if (pair->value_len == UINT32_MAX) {
                continue;
            }
            line.len = 0;
            pairs_encode(arguments->is_tsv ? PAIRS_TSV : PAIRS_JSONL, pair->bytes, pair->key_len,
                         pair->bytes + pair->key_len, pair->value_len, &line);
            fwrite(line.bytes, 1, line.len, stdout);
            pairs++;
        }
    }
    if (exit_status == EXIT_DONE) {
        fprintf(stderr, "%" PRIu64 " pairs, position (%" PRIu64 ", %" PRIu64 ")\n", pairs,
                dump.position.view, dump.position.index);
        exit_status = fflush(stdout) == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_FAILED;
    }
    text_buffer_close(&line);
    dump_close(&dump);
    return exit_status;
}

int verb_get(const struct arguments *arguments)
{
    struct dump dump;
    const char *key = arguments->key;
    uint32_t key_len = (uint32_t)strlen(key);
    int exit_status = dump_open(arguments, &dump);
    if (exit_status == EXIT_DONE && (dump.plugin->descriptor.capabilities & KV_PERSIST_GET) != 0) {
        int32_t status = guard_persist_get(dump.guard, key, key_len, dump_take, &dump);
        if (status != KV_OK && status != KV_E_NOT_FOUND) {
            fprintf(stderr, "kvplugin: the store cannot be read: %s\n", status_text(status));
            exit_status = EXIT_FAILED;
        }
    } else if (exit_status == EXIT_DONE) {
        exit_status = dump_load(&dump);
    }
    if (exit_status == EXIT_DONE) {
        const struct dump_pair *pair = dump_pair_at(&dump, key, key_len);
        if (pair->bytes == NULL || pair->value_len == UINT32_MAX) {
            fprintf(stderr, "kvplugin: there is no such key\n");
            exit_status = EXIT_FAILED;
        } else {
            fwrite(pair->bytes + key_len, 1, pair->value_len, stdout);
            putchar('\n');
            exit_status = fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
        }
    }
    dump_close(&dump);
    return exit_status;
}

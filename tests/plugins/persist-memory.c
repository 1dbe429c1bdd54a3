/*
 * A store in memory for tests. The content belongs to the instance and outlives close(), so that a
 * reopened one gives it back with load(). Faults are asked for with options, each "every Nth call
 * of apply()", 0: never.
 */
#include <kvnode/persist.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct memory_item {
    struct memory_item *next;
    struct kv_record record; /* key and value stand behind the struct */
};

struct memory {
    const struct kv_host *host;
    struct memory_item *first; /* newest state of each key */
    struct kv_position position;
    uint64_t calls;
    uint64_t fail_every;
    uint64_t retry_every;
    uint64_t unknown_every;
    uint64_t lie_every;
    uint64_t delay_ms;
    char refuse[64]; /* keys that start with this are refused; "": none */
};

static int32_t memory_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    struct memory *memory = host->allocate(host->ctx, sizeof(*memory));
    if (memory == NULL) {
        return KV_E_NOMEM;
    }
    memset(memory, 0, sizeof(*memory));
    memory->host = host;
    for (uint32_t i = 0; i < settings_len; i++) {
        const char *name = settings[i].name;
        uint64_t number = strtoull(settings[i].value, NULL, 10);
        if (strcmp(name, "fail_every") == 0) {
            memory->fail_every = number;
        } else if (strcmp(name, "retry_every") == 0) {
            memory->retry_every = number;
        } else if (strcmp(name, "unknown_every") == 0) {
            memory->unknown_every = number;
        } else if (strcmp(name, "lie_every") == 0) {
            memory->lie_every = number;
        } else if (strcmp(name, "delay_ms") == 0) {
            memory->delay_ms = number;
        } else if (strcmp(name, "refuse") == 0) {
            size_t len = strnlen(settings[i].value, sizeof(memory->refuse) - 1);
            memcpy(memory->refuse, settings[i].value, len);
        }
    }
    *ret_self = memory;
    return KV_OK;
}

static int32_t memory_open(void *self, struct kv_position *ret_position)
{
    const struct memory *memory = self;
    *ret_position = memory->position;
    return KV_OK;
}

static int32_t memory_load(void *self, kv_emit_fn emit, void *ctx)
{
    const struct memory *memory = self;
    for (const struct memory_item *item = memory->first; item != NULL; item = item->next) {
        int32_t status = emit(ctx, &item->record);
        if (status != KV_OK) {
            return status;
        }
    }
    return KV_OK;
}

static void memory_forget(struct memory *memory, const struct kv_record *record)
{
    for (struct memory_item **at = &memory->first; *at != NULL; at = &(*at)->next) {
        struct memory_item *item = *at;
        if (item->record.key_len == record->key_len &&
            (record->key_len == 0 || memcmp(item->record.key, record->key, record->key_len) == 0)) {
            *at = item->next;
            memory->host->release(memory->host->ctx, item);
            return;
        }
    }
}

static int32_t memory_store(struct memory *memory, const struct kv_record *record)
{
    size_t size = sizeof(struct memory_item) + record->key_len + record->value_len;
    struct memory_item *item = memory->host->allocate(memory->host->ctx, size);
    if (item == NULL) {
        return KV_E_NOMEM;
    }
    memory_forget(memory, record);
    item->record = *record;
    char *bytes = (char *)(item + 1);
    if (record->key_len > 0) {
        memcpy(bytes, record->key, record->key_len);
    }
    if (record->value_len > 0) {
        memcpy(bytes + record->key_len, record->value, record->value_len);
    }
    item->record.key = bytes;
    item->record.value = record->kind == KV_RECORD_REMOVE ? NULL : bytes + record->key_len;
    item->next = memory->first;
    memory->first = item;
    return KV_OK;
}

static int memory_is_due(const struct memory *memory, uint64_t every)
{
    return every != 0 && memory->calls % every == 0;
}

static int32_t memory_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    struct memory *memory = self;
    size_t refuse_len = strlen(memory->refuse);
    uint32_t bad = 0;
    memory->calls++;
    if (memory->delay_ms > 0) {
        struct timespec pause = {(time_t)(memory->delay_ms / 1000u),
                                 (long)(memory->delay_ms % 1000u) * 1000000L};
        nanosleep(&pause, NULL); /* a slow store */
    }
    if (memory_is_due(memory, memory->fail_every)) {
        memory->host->log(memory->host->ctx, KV_LOG_ERROR, "a failure that was asked for");
        return KV_E_IO;
    }
    if (memory_is_due(memory, memory->lie_every)) {
        return 4711;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (refuse_len > 0 && records[i].key_len >= refuse_len &&
            memcmp(records[i].key, memory->refuse, refuse_len) == 0) {
            results[i] = KV_RESULT_REFUSED;
            bad++;
            continue;
        }
        int32_t status = memory_store(memory, &records[i]);
        if (status != KV_OK) {
            return status;
        }
    }
    if (count > 0 && memory_is_due(memory, memory->retry_every)) {
        results[count - 1] = KV_RESULT_RETRY;
        bad++;
    }
    if (count > 0 && memory_is_due(memory, memory->unknown_every)) {
        results[count - 1] = KV_RESULT_UNKNOWN;
        bad++;
    }
    if (bad == 0) {
        memory->position = position;
    }
    return KV_OK;
}

static void memory_close(void *self)
{
    (void)self;
}

static void memory_destroy(void *self)
{
    struct memory *memory = self;
    while (memory->first != NULL) {
        struct memory_item *item = memory->first;
        memory->first = item->next;
        memory->host->release(memory->host->ctx, item);
    }
    memory->host->release(memory->host->ctx, memory);
}

static const struct kv_option memory_options[] = {
    {"fail_every", "0", "Every Nth apply() fails with KV_E_IO.", KV_OPTION_INT, 0},
    {"retry_every", "0", "Every Nth apply() gives its last record RETRY.", KV_OPTION_INT, 0},
    {"unknown_every", "0", "Every Nth apply() gives its last record UNKNOWN.", KV_OPTION_INT, 0},
    {"lie_every", "0", "Every Nth apply() returns a number that is no code.", KV_OPTION_INT, 0},
    {"delay_ms", "0", "Milliseconds that each apply() takes.", KV_OPTION_INT, 0},
    {"refuse", "", "Keys that start with this are refused for good.", KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops memory_ops = {
    memory_create, memory_open, memory_load, memory_apply, memory_close, memory_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(memory_options) / sizeof(memory_options[0]),
    .capabilities = KV_PERSIST_LOAD,
    .name = "persist-memory",
    .version = "1",
    .summary = "A store in memory, with faults on demand, for tests.",
    .options = memory_options,
    .ops = &memory_ops,
};

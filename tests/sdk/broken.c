/*
 * A small right store, and with -DBROKEN_... one that breaks the contract in one way: each must
 * make the kit fail at the right check. One file, rewritten whole at each apply and moved into
 * place, so that it also survives kill -9.
 */
#include <kvnode/persist.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct broken_item {
    struct kv_record record; /* key and value are of malloc() */
};

struct broken {
    const struct kv_host *host;
    char *path;
    struct broken_item *items;
    uint32_t len;
    struct kv_position position;
    uint32_t applied; /* calls since open */
};

#ifdef BROKEN_SHARED
static struct broken broken_content; /* one for all instances */
#define CONTENT(self) (&broken_content)
#else
#define CONTENT(self) (self)
#endif

static int32_t broken_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    (void)settings_len;
    size_t size = strlen(settings[0].value) + 1;
    struct broken *broken = host->allocate(host->ctx, sizeof(*broken) + size);
    if (broken == NULL) {
        return KV_E_NOMEM;
    }
    memset(broken, 0, sizeof(*broken));
    broken->host = host;
#ifdef BROKEN_KEEPS_SETTING
    broken->path = (char *)settings[0].value;
#else
    broken->path = memcpy(broken + 1, settings[0].value, size);
#endif
    *ret_self = broken;
    return KV_OK;
}

static void *broken_copy(const void *bytes, size_t len)
{
    void *copy = malloc(len + 1);
    if (copy != NULL && len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

static void broken_clear(struct broken *broken)
{
    for (uint32_t i = 0; i < broken->len; i++) {
        free((void *)broken->items[i].record.key);
#ifndef BROKEN_KEEPS_RECORD
        free((void *)broken->items[i].record.value);
#endif
    }
    free(broken->items);
    broken->items = NULL;
    broken->len = 0;
}

static void broken_put(struct broken *broken, const struct kv_record *record)
{
    uint32_t at = 0;
    while (at < broken->len &&
           (broken->items[at].record.key_len != record->key_len ||
            memcmp(broken->items[at].record.key, record->key, record->key_len) != 0)) {
        at++;
    }
    if (at == broken->len) {
        broken->items = realloc(broken->items, (at + 1) * sizeof(struct broken_item));
        memset(&broken->items[at], 0, sizeof(broken->items[at]));
        broken->len++;
    } else {
        free((void *)broken->items[at].record.key);
#ifndef BROKEN_KEEPS_RECORD
        free((void *)broken->items[at].record.value);
#endif
    }
    broken->items[at].record = *record;
    broken->items[at].record.key = broken_copy(record->key, record->key_len);
    broken->items[at].record.value =
        record->kind == KV_RECORD_REMOVE ? NULL : broken_copy(record->value, record->value_len);
#ifdef BROKEN_KEEPS_RECORD
    broken->items[at].record.value = record->value; /* the node's memory */
#endif
#ifdef BROKEN_CUTS
    if (record->value_len > 1000) {
        broken->items[at].record.value_len = 1000;
    }
#endif
#ifdef BROKEN_TEXT
    if (record->value_len > 0) { /* values are texts, are they not? */
        broken->items[at].record.value_len = (uint32_t)strnlen(record->value, record->value_len);
    }
#endif
}

static int32_t broken_open(void *self, struct kv_position *ret_position)
{
    struct broken *broken = self;
    struct broken *content = CONTENT(broken);
    struct kv_record record;
    content->position.view = 0;
    content->position.index = 0;
    content->applied = 0;
#ifdef BROKEN_SILENT_OPEN
    if (strchr(broken->path, '/') != NULL && access(broken->path, F_OK) != 0 &&
        open(broken->path, O_CREAT | O_RDWR, 0600) < 0) {
        return KV_E_IO; /* and no word why */
    }
#endif
    FILE *file = fopen(broken->path, "a+e");
    if (file == NULL) {
        broken->host->log(broken->host->ctx, KV_LOG_ERROR, "cannot open the store");
        return KV_E_IO;
    }
    broken_clear(content);
    rewind(file);
    size_t got = fread(&content->position, sizeof(content->position), 1, file);
    while (got == 1 && fread(&record, sizeof(record), 1, file) == 1) {
        char *key = malloc(record.key_len + 1u);
        char *value = malloc(record.value_len + 1u);
        if (fread(key, 1, record.key_len, file) == record.key_len &&
            fread(value, 1, record.value_len, file) == record.value_len) {
            record.key = key;
            record.value = record.kind == KV_RECORD_REMOVE ? NULL : value;
            broken_put(content, &record);
        }
        free(key);
        free(value);
    }
#ifndef BROKEN_LEAKS_FILES
    fclose(file);
#endif
    *ret_position = content->position;
#ifdef BROKEN_FORGETS_POSITION
    ret_position->view = 0;
    ret_position->index = 0;
#endif
    return KV_OK;
}

static int32_t broken_load(void *self, kv_emit_fn emit, void *ctx)
{
    struct broken *content = CONTENT((struct broken *)self);
    for (uint32_t i = 0; i < content->len; i++) {
        int32_t status = emit(ctx, &content->items[i].record);
#ifdef BROKEN_IGNORES_EMIT
        (void)status;
#else
        if (status != KV_OK) {
            return status;
        }
#endif
    }
    return KV_OK;
}

static int32_t broken_save(const struct broken *broken, const struct broken *content)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s.new", broken->path);
    FILE *file = fopen(path, "we");
    int ok = file != NULL && fwrite(&content->position, sizeof(content->position), 1, file) == 1;
    for (uint32_t i = 0; ok && i < content->len; i++) {
        const struct kv_record *record = &content->items[i].record;
        ok = fwrite(record, sizeof(*record), 1, file) == 1 &&
             fwrite(record->key, 1, record->key_len, file) == record->key_len &&
             (record->value_len == 0 ||
              fwrite(record->value, 1, record->value_len, file) == record->value_len);
    }
    ok = file != NULL && fclose(file) == 0 && ok;
    if (!ok || rename(path, broken->path) != 0) {
        broken->host->log(broken->host->ctx, KV_LOG_ERROR, "cannot write the store");
        return KV_E_IO;
    }
    return KV_OK;
}

#ifdef BROKEN_REFUSES_ALL
static void broken_refuse_all(struct broken *broken, uint32_t count, uint32_t *results)
{
    for (uint32_t i = 0; i < count; i++) {
        results[i] = KV_RESULT_REFUSED;
    }
    broken->host->log(broken->host->ctx, KV_LOG_ERROR, "a value is too long");
}
#endif

static int32_t broken_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    struct broken *broken = self;
    struct broken *content = CONTENT(broken);
    content->applied++;
    (void)results;
#ifdef BROKEN_PRINTS
    printf("stored %u records\n", count);
#endif
#ifdef BROKEN_LEAKS
    broken->host->allocate(broken->host->ctx, 10);
#endif
#ifdef BROKEN_HANGS
    while (count > 1) {
        poll(NULL, 0, 1000);
    }
#endif
    for (uint32_t i = 0; i < count; i++) {
#ifdef BROKEN_ORDER
        uint32_t at = count - 1 - i;
#else
        uint32_t at = i;
#endif
#ifdef BROKEN_LOSES_LAST
        if (count > 1 && at == count - 1) {
            continue;
        }
#endif
#ifdef BROKEN_IGNORES_REMOVE
        if (records[at].kind == KV_RECORD_REMOVE) {
            continue;
        }
#endif
#ifdef BROKEN_REFUSES_ALL
        if (records[at].value_len > 1000000u) {
            broken_refuse_all(broken, count, results);
            content->position = position;
            return broken_save(broken, content);
        }
#endif
#ifdef BROKEN_NO_REASON
        if (records[at].value_len > 1000000u) {
            results[at] = KV_RESULT_REFUSED;
            continue;
        }
#endif
        broken_put(content, &records[at]);
#ifdef BROKEN_NOT_IDEMPOTENT
        if (records[at].kind == KV_RECORD_INSERT && content->position.view == position.view &&
            content->position.index == position.index) { /* counts what comes again */
            content->items[content->len - 1].record.position.index++;
        }
#endif
    }
#ifdef BROKEN_BEYOND_RESULTS
    results[count] = KV_RESULT_STORED;
#endif
    content->position = position;
#ifdef BROKEN_STRAY_CODE
    return 1;
#endif
#ifdef BROKEN_STRAY_RESULT
    if (count > 0) {
        results[0] = 17;
    }
#endif
#ifdef BROKEN_LATE
    if (content->applied > 1) { /* only the first one, and at the end all; whenever it is killed */
        return KV_OK;
    }
#endif
    return broken_save(broken, content);
}

static void broken_close(void *self)
{
    struct broken *broken = self;
    (void)broken;
#ifdef BROKEN_LATE
    broken_save(broken, broken);
#endif
#ifdef BROKEN_CRASHES
    if (CONTENT(broken)->applied > 0) {
        *(volatile int *)16 = 0;
    }
#endif
#ifdef BROKEN_EXITS
    if (CONTENT(broken)->applied > 0) {
        _exit(0);
    }
#endif
    broken_clear(CONTENT(broken));
}

static void broken_destroy(void *self)
{
    struct broken *broken = self;
#ifdef BROKEN_DOUBLE_FREE
    broken->host->release(broken->host->ctx, (char *)broken + 16);
#endif
    broken->host->release(broken->host->ctx, broken);
}

static const struct kv_option broken_options[] = {
    {"path", NULL, "The file of the store.", KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops broken_ops = {
    .create = broken_create,
    .open = broken_open,
    .load = broken_load,
    .apply = broken_apply,
    .close = broken_close,
    .destroy = broken_destroy,
};

#ifdef BROKEN_EXPORTS
__attribute__((visibility("default"))) int broken_helper(void);
int broken_helper(void)
{
    return 1;
}
#endif

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = 1,
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC,
    .name = "broken",
    .version = "1",
    .summary = "A store that breaks its contract in one way.",
    .options = broken_options,
    .ops = &broken_ops,
};

#include "kit.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/rand.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void kit_folder_make(char path[KIT_PATH_LEN_MAX])
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, KIT_PATH_LEN_MAX, "%s/%s-XXXXXX", parent == NULL ? "/tmp" : parent,
                   kv_plugin.name);
    KV_CHECK(mkdtemp(path) != NULL);
}

static void kit_path(char *path, const char *folder, const char *name)
{
    int len = snprintf(path, KIT_PATH_LEN_MAX, "%s/%s", folder, name);
    KV_CHECK(len > 0 && len < KIT_PATH_LEN_MAX);
}

/* Calls for each file: removes it (to NULL) or copies it; returns how many and adds up *bytes. */
static uint32_t kit_folder_each(const char *folder, bool remove, const char *to, uint64_t *bytes)
{
    char path[KIT_PATH_LEN_MAX];
    uint32_t files = 0;
    DIR *stream = opendir(folder);
    if (stream == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        struct stat stat_buffer;
        kit_path(path, folder, entry->d_name);
        if (stat(path, &stat_buffer) == 0) {
            *bytes += (uint64_t)stat_buffer.st_blocks * 512;
        }
        files++;
        if (remove) {
            (void)unlink(path);
        }
        if (to != NULL) {
            size_t len;
            uint8_t *content = kit_file_read(folder, entry->d_name, &len);
            kit_file_write(to, entry->d_name, content, len);
            free(content);
        }
    }
    closedir(stream);
    return files;
}

void kit_folder_remove(const char *path)
{
    uint64_t bytes = 0;
    (void)kit_folder_each(path, true, NULL, &bytes);
    (void)rmdir(path);
}

void kit_folder_copy(const char *from, const char *to)
{
    uint64_t bytes = 0;
    (void)kit_folder_each(to, true, NULL, &bytes);
    (void)kit_folder_each(from, false, to, &bytes);
}

uint32_t kit_folder_files(const char *path)
{
    uint64_t bytes = 0;
    return kit_folder_each(path, false, NULL, &bytes);
}

uint64_t kit_folder_bytes(const char *path)
{
    uint64_t bytes = 0;
    (void)kit_folder_each(path, false, NULL, &bytes);
    return bytes;
}

uint8_t *kit_file_read(const char *folder, const char *name, size_t *ret_len)
{
    char path[KIT_PATH_LEN_MAX];
    struct stat stat_buffer;
    kit_path(path, folder, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        return NULL;
    }
    KV_CHECK(fstat(fd, &stat_buffer) == 0);
    size_t len = (size_t)stat_buffer.st_size;
    uint8_t *bytes = malloc(len + 1);
    KV_CHECK(bytes != NULL && read(fd, bytes, len) == (ssize_t)len);
    close(fd);
    *ret_len = len;
    return bytes;
}

void kit_file_write(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[KIT_PATH_LEN_MAX];
    kit_path(path, folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    KV_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

bool kit_file_exists(const char *folder, const char *name)
{
    char path[KIT_PATH_LEN_MAX];
    kit_path(path, folder, name);
    return access(path, F_OK) == 0;
}

int32_t kit_open(struct kit_store *store, struct kit_host *host, const char *path,
                 const struct kit_options *options)
{
    const struct kv_option *names = kv_plugin.options;
    if (options == NULL) {
        options = &kit_plugin.small;
    }
    struct kv_setting settings[] = {{names[0].name, path},
                                    {names[1].name, options->sync},
                                    {names[2].name, options->size_1},
                                    {names[3].name, options->size_2},
                                    {names[4].name, options->size_3}};
    KV_CHECK(kv_plugin.options_len == sizeof(settings) / sizeof(settings[0]));
    memset(store, 0, sizeof(*store));
    store->ops = kv_plugin.ops;
    int32_t status =
        store->ops->create(&host->table, settings, kv_plugin.options_len, &store->self);
    if (status == KV_OK) {
        status = store->ops->open(store->self, &store->position);
        if (status != KV_OK) {
            store->ops->destroy(store->self);
            store->self = NULL;
        }
    }
    return status;
}

void kit_close(struct kit_store *store)
{
    if (store->self != NULL) {
        store->ops->close(store->self);
        store->ops->destroy(store->self);
        store->self = NULL;
    }
}

/* Key 0 is empty; the others contain a zero byte. */
static uint32_t kit_key(uint32_t key, char *bytes)
{
    if (key == 0) {
        return 0;
    }
    (void)snprintf(bytes, 32, "key_%03u", key);
    bytes[3] = '\0';
    return 7;
}

static uint32_t kit_key_parse(const struct kv_record *record)
{
    if (record->key_len == 0) {
        return 0;
    }
    for (uint32_t key = 1; key < KIT_KEYS; key++) {
        char bytes[32];
        uint32_t len = kit_key(key, bytes);
        if (len == record->key_len && memcmp(bytes, record->key, len) == 0) {
            return key;
        }
    }
    return KIT_KEYS;
}

void kit_batch_fill(struct kit_batch *ret_batch, uint64_t seed, uint64_t batch)
{
    struct rand rand = {seed * 1000003 + batch};
    ret_batch->count = 1 + (uint32_t)rand_below(&rand, KIT_RECORDS_MAX);
    ret_batch->position = (struct kv_position){1, batch};
    for (uint32_t i = 0; i < ret_batch->count; i++) {
        struct kv_record *record = &ret_batch->records[i];
        memset(record, 0, sizeof(*record));
        record->key = ret_batch->keys[i];
        record->key_len = kit_key((uint32_t)rand_below(&rand, KIT_KEYS), ret_batch->keys[i]);
        record->kind = rand_percent(&rand, 25) ? KV_RECORD_REMOVE : KV_RECORD_INSERT;
        record->position = ret_batch->position;
        record->client = KIT_CLIENT(batch);
        record->request = KIT_REQUEST(i);
        if (record->kind == KV_RECORD_INSERT) {
            record->value = ret_batch->values[i];
            bool is_long = kit_plugin.long_values && rand_percent(&rand, 5);
            uint32_t len_max = is_long ? KIT_LONG_LEN_MAX : KIT_VALUE_LEN_MAX;
            record->value_len =
                rand_percent(&rand, 10) ? 0 : (uint32_t)rand_below(&rand, len_max + 1);
            for (uint32_t k = 0; k < record->value_len; k++) {
                ret_batch->values[i][k] = (uint8_t)rand_next(&rand);
            }
        }
        ret_batch->results[i] = KV_RESULT_STORED;
    }
}

int32_t kit_apply(struct kit_store *store, uint64_t seed, uint64_t batch)
{
    struct kit_batch content;
    kit_batch_fill(&content, seed, batch);
    int32_t status = store->ops->apply(store->self, content.records, content.count,
                                       content.position, content.results);
    for (uint32_t i = 0; status == KV_OK && i < content.count; i++) {
        KV_CHECK(content.results[i] == KV_RESULT_STORED);
    }
    return status;
}

/* The state of one key, from the model or from load(). */
struct kit_entry {
    bool present;
    uint32_t value_len;
    uint32_t value_crc;
    struct kv_position position;
    uint64_t client;
    uint64_t request;
};

struct kit_content {
    struct kit_entry entries[KIT_KEYS];
    bool foreign;
};

static int32_t kit_take(void *ctx, const struct kv_record *record)
{
    struct kit_content *content = ctx;
    uint32_t key = kit_key_parse(record);
    if (key == KIT_KEYS || record->reserved != 0) {
        content->foreign = true;
        return KV_OK;
    }
    struct kit_entry *entry = &content->entries[key];
    memset(entry, 0, sizeof(*entry));
    if (record->kind == KV_RECORD_INSERT) {
        entry->present = true;
        entry->value_len = record->value_len;
        entry->value_crc = crc32c(0, record->value, record->value_len);
        entry->position = record->position;
        entry->client = record->client;
        entry->request = record->request;
    }
    return KV_OK;
}

static bool kit_entry_equal(const struct kit_entry *a, const struct kit_entry *b)
{
    return a->present == b->present && a->value_len == b->value_len &&
           a->value_crc == b->value_crc && a->position.view == b->position.view &&
           a->position.index == b->position.index && a->client == b->client &&
           a->request == b->request;
}

static bool kit_content_equal(const struct kit_content *a, const struct kit_content *b)
{
    bool equal = a->foreign == b->foreign;
    for (uint32_t key = 0; key < KIT_KEYS; key++) {
        equal = equal && kit_entry_equal(&a->entries[key], &b->entries[key]);
    }
    return equal;
}

/* Asks for each key; true when it is exactly what is expected. */
static bool kit_gets(struct kit_store *store, const struct kit_content *expected)
{
    struct kit_content found;
    bool fine = true;
    memset(&found, 0, sizeof(found));
    for (uint32_t key = 0; key < KIT_KEYS; key++) {
        char bytes[32];
        uint32_t len = kit_key(key, bytes);
        int32_t status = store->ops->get(store->self, bytes, len, kit_take, &found);
        fine = fine && (status == KV_OK || status == KV_E_NOT_FOUND);
    }
    return fine && kit_content_equal(expected, &found);
}

static bool kit_loads(struct kit_store *store, const struct kit_content *expected)
{
    struct kit_content found;
    memset(&found, 0, sizeof(found));
    return store->ops->load(store->self, kit_take, &found) == KV_OK &&
           kit_content_equal(expected, &found);
}

bool kit_holds(struct kit_store *store, uint64_t seed, uint64_t batch)
{
    struct kit_content expected;
    struct kit_batch content;
    memset(&expected, 0, sizeof(expected));
    for (uint64_t i = 1; i <= batch; i++) {
        kit_batch_fill(&content, seed, i);
        for (uint32_t k = 0; k < content.count; k++) {
            (void)kit_take(&expected, &content.records[k]);
        }
    }
    bool can_get = (kv_plugin.capabilities & KV_PERSIST_GET) != 0;
    bool may_load = kit_plugin.may_load == NULL || kit_plugin.may_load(store);
    return (can_get || may_load) && (!can_get || kit_gets(store, &expected)) &&
           (!may_load || kit_loads(store, &expected));
}

int32_t kit_stop_at_once(void *ctx, const struct kv_record *record)
{
    (void)record;
    ++*(uint32_t *)ctx;
    return KV_E_BUSY;
}

#include "kit.h"

#include "../store.h"
#include "base/crc32c.h"
#include "base/rand.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct kv_plugin kv_plugin;

#define KIT_REQUIRE(condition)                                                            \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

static void host_log(void *ctx, uint32_t level, const char *text)
{
    struct kit_host *host = ctx;
    pthread_mutex_lock(&host->lock);
    host->errors += level == KV_LOG_ERROR;
    host->warnings += level == KV_LOG_WARN;
    size_t len = strlen(text);
    if (host->log_len + len + 2 > sizeof(host->log)) {
        host->log_len = 0;
    }
    if (len + 2 <= sizeof(host->log)) {
        memcpy(host->log + host->log_len, text, len);
        host->log_len += len;
        host->log[host->log_len++] = '\n';
    }
    host->log[host->log_len] = '\0';
    pthread_mutex_unlock(&host->lock);
}

static uint64_t host_now_ms(void *ctx)
{
    struct kit_host *host = ctx;
    return __atomic_load_n(&host->now_ms, __ATOMIC_RELAXED);
}

static void host_count(struct kit_host *host, int64_t change)
{
    pthread_mutex_lock(&host->lock);
    host->live += change;
    host->live_most = host->live > host->live_most ? host->live : host->live_most;
    pthread_mutex_unlock(&host->lock);
}

/* Counts an allocation; true when it is to fail. */
static bool host_refuses(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    uint64_t number = ++host->allocations;
    bool refuse = host->fail_allocation != 0 &&
                  (number == host->fail_allocation || number == host->fail_allocation + 1);
    pthread_mutex_unlock(&host->lock);
    return refuse;
}

static void *host_allocate(void *ctx, size_t size)
{
    if (host_refuses(ctx)) {
        return NULL;
    }
    host_count(ctx, 1);
    return malloc(size);
}

static void *host_resize(void *ctx, void *memory, size_t size)
{
    if (host_refuses(ctx)) {
        return NULL;
    }
    host_count(ctx, memory == NULL ? 1 : 0);
    return realloc(memory, size);
}

static void host_release(void *ctx, void *memory)
{
    host_count(ctx, memory == NULL ? 0 : -1);
    free(memory);
}

static uint32_t host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

static void host_reason(void *ctx, uint32_t record, const char *text)
{
    struct kit_host *host = ctx;
    KIT_REQUIRE(text != NULL && text[0] != '\0');
    host->reasons++;
    host->reason_record = record;
}

void kit_host_init(struct kit_host *host)
{
    memset(host, 0, sizeof(*host));
    pthread_mutex_init(&host->lock, NULL);
    host->now_ms = 1000;
    host->table = (struct kv_host){.size = sizeof(host->table),
                                   .ctx = host,
                                   .log = host_log,
                                   .now_ms = host_now_ms,
                                   .allocate = host_allocate,
                                   .resize = host_resize,
                                   .release = host_release,
                                   .crc32c = host_crc32c,
                                   .reason = host_reason};
}

void kit_host_close(struct kit_host *host)
{
    if (host->live != 0) {
        fprintf(stderr, "%s", host->log);
    }
    KIT_REQUIRE(host->live == 0);
    pthread_mutex_destroy(&host->lock);
}

void kit_host_clear(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    host->log_len = 0;
    host->log[0] = '\0';
    host->errors = 0;
    host->warnings = 0;
    pthread_mutex_unlock(&host->lock);
}

bool kit_host_has(struct kit_host *host, const char *text)
{
    pthread_mutex_lock(&host->lock);
    bool has = strstr(host->log, text) != NULL;
    pthread_mutex_unlock(&host->lock);
    return has;
}

void kit_folder_make(char path[KIT_PATH_LEN_MAX])
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, KIT_PATH_LEN_MAX, "%s/persist-bdb-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    KIT_REQUIRE(mkdtemp(path) != NULL);
}

static void kit_path(char *path, const char *folder, const char *name)
{
    int len = snprintf(path, KIT_PATH_LEN_MAX, "%s/%s", folder, name);
    KIT_REQUIRE(len > 0 && len < KIT_PATH_LEN_MAX);
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
    KIT_REQUIRE(fstat(fd, &stat_buffer) == 0);
    size_t len = (size_t)stat_buffer.st_size;
    uint8_t *bytes = malloc(len + 1);
    KIT_REQUIRE(bytes != NULL && read(fd, bytes, len) == (ssize_t)len);
    close(fd);
    *ret_len = len;
    return bytes;
}

void kit_file_write(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[KIT_PATH_LEN_MAX];
    kit_path(path, folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    KIT_REQUIRE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
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
    static const struct kit_options small = {"always", "1048576", "131072", "262144"};
    if (options == NULL) {
        options = &small;
    }
    struct kv_setting settings[] = {{"path", path},
                                    {"sync", options->sync},
                                    {"cache_bytes", options->cache_bytes},
                                    {"log_bytes", options->log_bytes},
                                    {"checkpoint_bytes", options->checkpoint_bytes}};
    memset(store, 0, sizeof(*store));
    store->ops = kv_plugin.ops;
    int32_t status = store->ops->create(&host->table, settings, 5, &store->self);
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
            uint32_t len_max = rand_percent(&rand, 5) ? KIT_LONG_LEN_MAX : KIT_VALUE_LEN_MAX;
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
        KIT_REQUIRE(content.results[i] == KV_RESULT_STORED);
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

bool kit_holds(struct kit_store *store, uint64_t seed, uint64_t batch)
{
    struct kit_content expected;
    struct kit_content found;
    struct kit_batch content;
    memset(&expected, 0, sizeof(expected));
    memset(&found, 0, sizeof(found));
    for (uint64_t i = 1; i <= batch; i++) {
        kit_batch_fill(&content, seed, i);
        for (uint32_t k = 0; k < content.count; k++) {
            (void)kit_take(&expected, &content.records[k]);
        }
    }
    struct kit_content got;
    memset(&got, 0, sizeof(got));
    bool holds = true;
    for (uint32_t key = 0; key < KIT_KEYS; key++) {
        char bytes[32];
        uint32_t len = kit_key(key, bytes);
        int32_t status = store->ops->get(store->self, bytes, len, kit_take, &got);
        holds = holds && (status == KV_OK || status == KV_E_NOT_FOUND);
    }
    if (!((struct store *)store->self)->written) {
        holds = holds && store->ops->load(store->self, kit_take, &found) == KV_OK;
    } else {
        found = got;
    }
    holds = holds && !found.foreign && !got.foreign;
    for (uint32_t key = 0; key < KIT_KEYS; key++) {
        holds = holds && kit_entry_equal(&expected.entries[key], &found.entries[key]) &&
                kit_entry_equal(&expected.entries[key], &got.entries[key]);
    }
    return holds;
}

#include "kit.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIT_SETTINGS_MAX 16u

int kit_is_child(int argc, char **argv, int *ret_status)
{
    if (argc < 2 || strcmp(argv[1], ISOLATE_CHILD_ARGUMENT) != 0) {
        return 0;
    }
    *ret_status = isolate_child_main();
    return 1;
}

static void kit_on_log(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    struct kit *kit = ctx;
    char line[1200];
    snprintf(line, sizeof(line), "%s %" PRIu32 " %s", plugin, level, text);
    uint32_t len_max = level == KV_LOG_DEBUG ? KIT_LINES_MAX / 2 : KIT_LINES_MAX;
    if (kit->lines_len < len_max) {
        kit->lines[kit->lines_len++] = alloc_string(line, strlen(line));
    }
}

void kit_init(struct kit *kit, const char *folder, const char *name, const char *const *settings)
{
    char error[LOADER_ERROR_MAX];
    struct kv_setting given[KIT_SETTINGS_MAX];
    uint32_t given_len = 1;
    uint32_t index = 0;
    memset(kit, 0, sizeof(*kit));
    snprintf(kit->folder, sizeof(kit->folder), "/tmp/kv-isolate-XXXXXX");
    assert_non_null(mkdtemp(kit->folder));
    snprintf(kit->path, sizeof(kit->path), "%s/store", kit->folder);
    int32_t status = loader_load(name, folder, KV_KIND_PERSIST, &kit->plugin, error);
    if (status != KV_OK) {
        fail_msg("%s", error);
    }
    given[0] = (struct kv_setting){"path", kit->path};
    for (; settings != NULL && settings[0] != NULL; settings += 2) {
        given[given_len++] = (struct kv_setting){settings[0], settings[1]};
    }
    if (loader_settings(kit->plugin, given, given_len, &kit->settings, &index, error) != KV_OK) {
        fail_msg("%s", error);
    }
    kit->services = services_create(name, NULL, kit_on_log, kit);
    kit->isolate.call_timeout_ms = 20000;
}

int32_t kit_create(struct kit *kit, int is_isolated)
{
    return guard_persist_create(kit->plugin, kit->services, kit->settings,
                                is_isolated ? &kit->isolate : NULL, &kit->guard);
}

int32_t kit_open(struct kit *kit)
{
    return guard_persist_open(kit->guard, &kit->position);
}

int32_t kit_apply(struct kit *kit, const struct kv_record *records, uint32_t count,
                  struct kv_position position)
{
    return guard_persist_apply(kit->guard, records, count, position, &kit->refusals,
                               &kit->refusals_len);
}

int32_t kit_apply_one(struct kit *kit, uint64_t index)
{
    char key[32];
    char value[32];
    struct kv_record record = {.key = key, .value = value, .kind = KV_RECORD_INSERT};
    record.key_len = (uint32_t)snprintf(key, sizeof(key), "key-%" PRIu64, index);
    record.value_len = (uint32_t)snprintf(value, sizeof(value), "value %" PRIu64, index);
    record.position = (struct kv_position){1, index};
    record.client = 5;
    record.request = index;
    return kit_apply(kit, &record, 1, record.position);
}

uint32_t kit_lines_with(const struct kit *kit, const char *part)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < kit->lines_len; i++) {
        count += strstr(kit->lines[i], part) != NULL;
    }
    return count;
}

static void kit_remove_folder(const char *folder)
{
    char path[600];
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            unlink(path); /* or it is the folder of a store, removed before */
        }
    }
    closedir(directory);
    assert_int_equal(rmdir(folder), 0);
}

void kit_close(struct kit *kit)
{
    guard_persist_destroy(kit->guard);
    loader_settings_free(kit->settings);
    services_destroy(kit->services);
    loader_release(kit->plugin);
    DIR *store = opendir(kit->path);
    if (store != NULL) {
        closedir(store);
        kit_remove_folder(kit->path);
    }
    kit_remove_folder(kit->folder);
    for (uint32_t i = 0; i < kit->lines_len; i++) {
        alloc_free(kit->lines[i]);
    }
}

/* --- load --- */

struct kit_hash {
    uint64_t hash;
    uint32_t count;
};

static void kit_hash_add(struct kit_hash *hash, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i++) {
        hash->hash = (hash->hash ^ at[i]) * 1099511628211u;
    }
}

static void kit_hash_number(struct kit_hash *hash, uint64_t number)
{
    for (uint32_t i = 0; i < 8; i++) {
        hash->hash = (hash->hash ^ ((number >> (8 * i)) & 0xff)) * 1099511628211u;
    }
}

static int32_t kit_on_record(void *ctx, const struct kv_record *record)
{
    struct kit_hash *hash = ctx;
    kit_hash_number(hash, record->key_len);
    kit_hash_number(hash, record->value_len);
    kit_hash_number(hash, record->kind);
    kit_hash_number(hash, record->position.view);
    kit_hash_number(hash, record->position.index);
    kit_hash_number(hash, record->client);
    kit_hash_number(hash, record->request);
    kit_hash_add(hash, record->key, record->key_len);
    kit_hash_add(hash, record->value, record->value_len);
    hash->count++;
    return KV_OK;
}

int32_t kit_load_hash(struct kit *kit, uint64_t *ret_hash, uint32_t *ret_count)
{
    struct kit_hash hash = {14695981039346656037u, 0};
    int32_t status = guard_persist_load(kit->guard, kit_on_record, &hash);
    *ret_hash = hash.hash;
    *ret_count = hash.count;
    return status;
}

/* --- the process --- */

int kit_child_pid(const struct kit *kit)
{
    for (uint32_t i = kit->lines_len; i-- > 0;) {
        const char *at = strstr(kit->lines[i], "opened by ");
        if (at != NULL) {
            return (int)strtol(at + 10, NULL, 10);
        }
    }
    fail_msg("nobody has opened it");
    return 0;
}

uint32_t kit_descriptors(void)
{
    uint32_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

uint32_t kit_children(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

#include "example_kit.h"

#include <ctype.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT_SETTINGS_MAX 8u

uint64_t kit_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void kit_folder_make(char *path)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(path, KIT_PATH_MAX, "%s/kv-example-XXXXXX", temporary == NULL ? "/tmp" : temporary);
    assert_non_null(mkdtemp(path));
}

void kit_folder_remove(const char *path)
{
    char command[KIT_PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

/* --- life --- */

static const struct kv_plugin *kit_plugin(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays: a test uses one plugin */
    if (handle == NULL) {
        fail_msg("%s", dlerror());
    }
    const struct kv_plugin *plugin = dlsym(handle, KV_PLUGIN_SYMBOL);
    assert_non_null(plugin);
    assert_true(plugin->options_len <= KIT_SETTINGS_MAX);
    return plugin;
}

int32_t kit_create(struct kit *kit, const char *plugin, const char *const *settings)
{
    const struct kv_plugin *descriptor = kit_plugin(plugin);
    struct kv_setting filled[KIT_SETTINGS_MAX];
    memset(kit, 0, sizeof(*kit));
    kit->ops = descriptor->ops;
    check_host_init(&kit->host, NULL);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        const struct kv_option *option = &descriptor->options[i];
        size_t len = strlen(option->name);
        filled[i] = (struct kv_setting){option->name, option->default_value};
        for (const char *const *at = settings; *at != NULL; at++) {
            if (strncmp(*at, option->name, len) == 0 && (*at)[len] == '=') {
                filled[i].value = *at + len + 1;
            }
        }
        assert_non_null(filled[i].value);
    }
    return kit->ops->create(&kit->host.table, filled, descriptor->options_len, &kit->self);
}

int32_t kit_open(struct kit *kit)
{
    int32_t status = kit->ops->open(kit->self, &kit->position);
    kit->is_open = status == KV_OK;
    if (status != KV_OK) {
        assert_true(kit->host.errors > 0); /* never without a reason */
    }
    return status;
}

void kit_close(struct kit *kit)
{
    if (kit->is_open) {
        kit->ops->close(kit->self);
        kit->is_open = false;
    }
}

void kit_reopen(struct kit *kit)
{
    kit_close(kit);
    if (kit_open(kit) != KV_OK) {
        fail_msg("open() failed: %s", kit->host.last_error);
    }
}

void kit_end(struct kit *kit)
{
    kit_close(kit);
    if (kit->self != NULL) {
        kit->ops->destroy(kit->self);
        kit->self = NULL;
    }
    assert_string_equal(kit->host.fault, "");
    assert_int_equal(kit->host.live, 0);
    check_host_close(&kit->host);
}

/* --- apply --- */

struct kv_record kit_record(uint64_t index, const char *key, const char *value)
{
    return (struct kv_record){.key = key,
                              .value = value,
                              .key_len = (uint32_t)strlen(key),
                              .value_len = value == NULL ? 0 : (uint32_t)strlen(value),
                              .kind = value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                              .position = {1, index},
                              .client = 7,
                              .request = index};
}

int32_t kit_apply(struct kit *kit, const struct kv_record *records, uint32_t count,
                  struct kv_position position, uint32_t *ret_results)
{
    uint32_t *results = calloc(count + 1u, sizeof(*results));
    assert_non_null(results);
    results[count] = 0xc0de;
    check_host_begin_apply(&kit->host, count);
    int32_t status = kit->ops->apply(kit->self, records, count, position, results);
    check_host_end_apply(&kit->host);
    assert_int_equal(results[count], 0xc0de);
    for (uint32_t i = 0; i < count && status == KV_OK; i++) {
        if (ret_results != NULL) {
            ret_results[i] = results[i];
        } else if (results[i] != KV_RESULT_STORED) {
            const char *reason = check_host_reason(&kit->host, i);
            fail_msg("record %u has the result %u: %s", i, results[i],
                     reason == NULL ? "no reason" : reason);
        }
    }
    free(results);
    return status;
}

void kit_put(struct kit *kit, uint64_t index, const char *key, const char *value)
{
    struct kv_record record = kit_record(index, key, value);
    if (kit_apply(kit, &record, 1, record.position, NULL) != KV_OK) {
        fail_msg("apply() failed: %s", kit->host.last_error);
    }
}

void kit_refuse(struct kit *kit, uint64_t index, const char *key, const char *value,
                const char *reason_part)
{
    struct kv_record record = kit_record(index, key, value);
    uint32_t result = KV_RESULT_STORED;
    assert_int_equal(kit_apply(kit, &record, 1, record.position, &result), KV_OK);
    assert_int_equal(result, KV_RESULT_REFUSED);
    const char *reason = check_host_reason(&kit->host, 0);
    assert_non_null(reason);
    if (strstr(reason, reason_part) == NULL) {
        fail_msg("the reason is: %s", reason);
    }
}

/* --- the content --- */

struct kit_text {
    char **lines;
    size_t len;
};

static char *kit_print(char *at, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = ((const unsigned char *)bytes)[i];
        at += isprint(byte) ? snprintf(at, 2, "%c", byte) : snprintf(at, 5, "\\x%02x", byte);
    }
    return at;
}

static int32_t kit_emit(void *ctx, const struct kv_record *record)
{
    struct kit_text *text = ctx;
    char *line = malloc(((size_t)record->key_len + record->value_len) * 4 + 64);
    assert_non_null(line);
    char *at = kit_print(line, record->key, record->key_len);
    *at++ = '=';
    at = kit_print(at, record->value, record->value_len);
    snprintf(at, 32, "@%u;", (unsigned)record->position.index);
    text->lines = realloc(text->lines, (text->len + 1) * sizeof(*text->lines));
    assert_non_null(text->lines);
    text->lines[text->len++] = line;
    return KV_OK;
}

static int kit_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *kit_join(struct kit_text *text)
{
    size_t size = 1;
    if (text->len > 0) {
        qsort(text->lines, text->len, sizeof(*text->lines), kit_compare);
    }
    for (size_t i = 0; i < text->len; i++) {
        size += strlen(text->lines[i]);
    }
    char *joined = calloc(1, size);
    assert_non_null(joined);
    char *at = joined;
    for (size_t i = 0; i < text->len; i++) {
        at = stpcpy(at, text->lines[i]);
        free(text->lines[i]);
    }
    free(text->lines);
    return joined;
}

char *kit_content(struct kit *kit)
{
    struct kit_text text = {NULL, 0};
    if (kit->ops->load(kit->self, kit_emit, &text) != KV_OK) {
        fail_msg("load() failed: %s", kit->host.last_error);
    }
    return kit_join(&text);
}

void kit_expect(struct kit *kit, const char *content)
{
    char *found = kit_content(kit);
    assert_string_equal(found, content);
    free(found);
}

char *kit_get(struct kit *kit, const void *key, uint32_t key_len)
{
    struct kit_text text = {NULL, 0};
    int32_t status = kit->ops->get(kit->self, key, key_len, kit_emit, &text);
    assert_int_equal(status, text.len == 0 ? KV_E_NOT_FOUND : KV_OK);
    return kit_join(&text);
}

void kit_expect_error(struct kit *kit, const char *part)
{
    if (strstr(kit->host.last_error, part) == NULL) {
        fail_msg("the last error is: %s", kit->host.last_error);
    }
}

void kit_expect_line(struct kit *kit, const char *part)
{
    for (uint32_t i = 0; i < CHECK_HOST_LINES_MAX; i++) {
        if (strstr(kit->host.lines[i], part) != NULL) {
            return;
        }
    }
    fail_msg("no line has \"%s\"; the last error is: %s", part, kit->host.last_error);
}

void kit_expect_position(struct kit *kit, uint64_t view, uint64_t index)
{
    assert_int_equal(kit->position.view, view);
    assert_int_equal(kit->position.index, index);
}

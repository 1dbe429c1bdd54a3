/*
 * The loader's second half: the options that a plugin declares, checked when it is loaded, and the
 * settings that the user wrote for them. A setting's mistake is told with what would be right.
 */
#include "base/alloc.h"
#include "host/loader_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOADER_SCOPE        "scope"
#define LOADER_SCOPE_OWN    "own"
#define LOADER_SCOPE_SHARED "shared"

/* --- what both halves use --- */

int32_t loader_refuse(const struct loader_report *report, int32_t status, const char *format, ...)
{
    int len = snprintf(report->text, LOADER_ERROR_MAX, "%s: ", report->path);
    if (len < 0 || (size_t)len > LOADER_ERROR_MAX / 2) {
        len = 0; /* so long a path leaves no room for what matters */
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report->text + len, LOADER_ERROR_MAX - (size_t)len, format, arguments);
    va_end(arguments);
    return status;
}

bool loader_is_word(const char *text, size_t len, bool underscore)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || (underscore && c == '_');
        if (!is_fine) {
            return false;
        }
    }
    return len > 0;
}

int32_t loader_check_text(const struct loader_report *report, const char *field, const char *text,
                          size_t len_max)
{
    if (text == NULL) {
        return loader_refuse(report, KV_E_INVALID, "%s: the host needs a text, the plugin has NULL",
                             field);
    }
    if (strnlen(text, len_max + 1) > len_max) {
        return loader_refuse(report, KV_E_INVALID,
                             "%s: the host takes at most %zu bytes, the plugin's is longer: "
                             "\"%.64s...\"",
                             field, len_max, text);
    }
    return KV_OK;
}

/* --- options --- */

static bool loader_is_shared(const struct kv_plugin *descriptor)
{
    return descriptor->kind == KV_KIND_PERSIST &&
           (descriptor->capabilities & KV_PERSIST_SHARED) != 0;
}

static bool loader_is_int(const char *text)
{
    char *end = NULL;
    size_t sign = text[0] == '-' ? 1 : 0;
    if (text[sign] < '0' || text[sign] > '9') {
        return false;
    }
    errno = 0;
    (void)strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool loader_is_of_type(const char *text, uint32_t type)
{
    switch (type) {
    case KV_OPTION_INT:
        return loader_is_int(text);
    case KV_OPTION_BOOL:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    default:
        return true;
    }
}

static const char *loader_type_text(uint32_t type)
{
    switch (type) {
    case KV_OPTION_INT:
        return "a whole number of 64 bits";
    case KV_OPTION_BOOL:
        return "true or false";
    default:
        return "a text";
    }
}

/* Names that mean something to the host in the group where the plugin's settings stand. */
static bool loader_is_taken(uint32_t kind, const char *name)
{
    static const char *const of_persistence[] = {"isolate", "isolate_memory_mb",
                                                 "isolate_timeout_ms"};
    bool is_taken = strcmp(name, "plugin") == 0;
    if (kind == KV_KIND_TRANSPORT) {
        is_taken = is_taken || strcmp(name, "listen") == 0;
    }
    for (size_t i = 0; kind == KV_KIND_PERSIST && i < 3; i++) {
        is_taken = is_taken || strcmp(name, of_persistence[i]) == 0;
    }
    return is_taken;
}

/* The options before index `at` are checked already. */
static int32_t loader_check_option(const struct loader_report *report,
                                   const struct kv_plugin *descriptor, uint32_t at)
{
    const struct kv_option *option = &descriptor->options[at];
    char field[64];
    snprintf(field, sizeof(field), "options[%u].name", at);
    int32_t status = loader_check_text(report, field, option->name, LOADER_NAME_MAX);
    if (status != KV_OK) {
        return status;
    }
    if (!loader_is_word(option->name, strlen(option->name), true) ||
        loader_is_taken(descriptor->kind, option->name)) {
        return loader_refuse(report, KV_E_INVALID,
                             "%s: the host takes letters, digits, '-' and '_', and no word of its "
                             "own (plugin, %s); the plugin has \"%s\"",
                             field,
                             descriptor->kind == KV_KIND_TRANSPORT
                                 ? "listen"
                                 : "isolate, isolate_memory_mb, isolate_timeout_ms",
                             option->name);
    }
    for (uint32_t i = 0; i < at; i++) {
        if (strcmp(descriptor->options[i].name, option->name) == 0) {
            return loader_refuse(report, KV_E_INVALID,
                                 "%s: the host takes a name once, the plugin has \"%s\" as "
                                 "options[%u] too",
                                 field, option->name, i);
        }
    }
    if (option->type < KV_OPTION_STRING || option->type > KV_OPTION_BOOL) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].type: the host knows %u to %u, the plugin has %u for %s",
                             at, KV_OPTION_STRING, KV_OPTION_BOOL, option->type, option->name);
    }
    if (option->reserved != 0) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].reserved: the host needs 0, the plugin has %u for %s", at,
                             option->reserved, option->name);
    }
    if (option->help == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].help: the host needs a text, the plugin has NULL for %s",
                             at, option->name);
    }
    if (option->default_value != NULL && !loader_is_of_type(option->default_value, option->type)) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].default_value: the host needs %s, the plugin has "
                             "\"%.64s\" for %s",
                             at, loader_type_text(option->type), option->default_value,
                             option->name);
    }
    return KV_OK;
}

static const struct kv_option *loader_option_find(const struct kv_plugin *descriptor,
                                                  const char *name)
{
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        if (strcmp(descriptor->options[i].name, name) == 0) {
            return &descriptor->options[i];
        }
    }
    return NULL;
}

/* A shared store is told by an option: the host reads its value. */
static int32_t loader_check_scope(const struct loader_report *report,
                                  const struct kv_plugin *descriptor)
{
    if (!loader_is_shared(descriptor)) {
        return KV_OK;
    }
    const struct kv_option *option = loader_option_find(descriptor, LOADER_SCOPE);
    if (option == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "options: the host needs one named \"" LOADER_SCOPE
                             "\" with KV_PERSIST_SHARED, the plugin has none");
    }
    uint32_t at = (uint32_t)(option - descriptor->options);
    if (option->type != KV_OPTION_STRING) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].type: the host needs %u (a text) for \"" LOADER_SCOPE
                             "\" with KV_PERSIST_SHARED, the plugin has %u",
                             at, KV_OPTION_STRING, option->type);
    }
    if (option->default_value == NULL || strcmp(option->default_value, LOADER_SCOPE_OWN) != 0) {
        return loader_refuse(report, KV_E_INVALID,
                             "options[%u].default_value: the host needs \"" LOADER_SCOPE_OWN
                             "\" for \"" LOADER_SCOPE
                             "\" with KV_PERSIST_SHARED, the plugin has %s%.64s%s",
                             at, option->default_value == NULL ? "" : "\"",
                             option->default_value == NULL ? "NULL" : option->default_value,
                             option->default_value == NULL ? "" : "\"");
    }
    return KV_OK;
}

int32_t loader_check_options(const struct loader_report *report, const struct kv_plugin *descriptor)
{
    if (descriptor->options_len > LOADER_OPTIONS_MAX) {
        return loader_refuse(report, KV_E_INVALID,
                             "options_len: the host takes at most %u, the plugin has %u",
                             LOADER_OPTIONS_MAX, descriptor->options_len);
    }
    if (descriptor->options_len > 0 && descriptor->options == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "options: the host needs %u of them, the plugin has NULL",
                             descriptor->options_len);
    }
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        int32_t status = loader_check_option(report, descriptor, i);
        if (status != KV_OK) {
            return status;
        }
    }
    return loader_check_scope(report, descriptor);
}

/* --- settings --- */

const char *loader_nearest_name(const char *name, const char *const *known, uint32_t known_len)
{
    const char *nearest = NULL;
    uint32_t nearest_distance = UINT32_MAX;
    uint32_t row[LOADER_NAME_MAX + 2];
    size_t len = strnlen(name, LOADER_NAME_MAX);
    for (uint32_t k = 0; k < known_len; k++) {
        /* Levenshtein's distance, one row of the table at a time. */
        size_t known_name_len = strlen(known[k]);
        for (size_t i = 0; i <= len; i++) {
            row[i] = (uint32_t)i;
        }
        for (size_t j = 1; j <= known_name_len; j++) {
            uint32_t diagonal = row[0];
            row[0] = (uint32_t)j;
            for (size_t i = 1; i <= len; i++) {
                uint32_t replaced = diagonal + (name[i - 1] == known[k][j - 1] ? 0 : 1);
                uint32_t inserted = (row[i] < row[i - 1] ? row[i] : row[i - 1]) + 1;
                diagonal = row[i];
                row[i] = replaced < inserted ? replaced : inserted;
            }
        }
        if (row[len] < nearest_distance) {
            nearest_distance = row[len];
            nearest = known[k];
        }
    }
    return nearest;
}

/* What is wrong with given[at], seen after those before it. */
static int32_t loader_check_given(const struct kv_plugin *descriptor,
                                  const struct kv_setting *given, uint32_t at, char *ret_error)
{
    const char *name = given[at].name == NULL ? "" : given[at].name;
    struct loader_report report = {descriptor->name, ret_error};
    const struct kv_option *option = loader_option_find(descriptor, name);
    if (option == NULL) {
        const char *known[LOADER_OPTIONS_MAX];
        for (uint32_t i = 0; i < descriptor->options_len; i++) {
            known[i] = descriptor->options[i].name;
        }
        const char *nearest = loader_nearest_name(name, known, descriptor->options_len);
        if (nearest == NULL) {
            return loader_refuse(&report, KV_E_INVALID,
                                 "unknown setting \"%.64s\"; the plugin has no settings", name);
        }
        return loader_refuse(&report, KV_E_INVALID,
                             "unknown setting \"%.64s\"; the nearest is \"%s\"", name, nearest);
    }
    for (uint32_t i = 0; i < at; i++) {
        if (strcmp(given[i].name, name) == 0) {
            return loader_refuse(&report, KV_E_INVALID,
                                 "the setting \"%s\" is given twice; give it once", name);
        }
    }
    if (given[at].value == NULL || !loader_is_of_type(given[at].value, option->type)) {
        return loader_refuse(&report, KV_E_INVALID, "\"%s\" must be %s, not \"%.64s\" (%s)", name,
                             loader_type_text(option->type),
                             given[at].value == NULL ? "" : given[at].value, option->help);
    }
    if (loader_is_shared(descriptor) && strcmp(name, LOADER_SCOPE) == 0 &&
        strcmp(given[at].value, LOADER_SCOPE_OWN) != 0 &&
        strcmp(given[at].value, LOADER_SCOPE_SHARED) != 0) {
        return loader_refuse(&report, KV_E_INVALID,
                             "\"" LOADER_SCOPE "\" must be \"" LOADER_SCOPE_OWN
                             "\" or \"" LOADER_SCOPE_SHARED "\", not \"%.64s\" (%s)",
                             given[at].value, option->help);
    }
    return KV_OK;
}

/* The value of option `at`: what the user wrote, else the default, else NULL. */
static const char *loader_value(const struct kv_option *option, const struct kv_setting *given,
                                uint32_t given_len)
{
    for (uint32_t i = 0; i < given_len; i++) {
        if (strcmp(given[i].name, option->name) == 0) {
            return given[i].value;
        }
    }
    return option->default_value;
}

int32_t loader_settings(const struct loaded_plugin *plugin, const struct kv_setting *given,
                        uint32_t given_len, struct kv_setting **ret_settings,
                        uint32_t *ret_given_index, char *ret_error)
{
    const struct kv_plugin *descriptor = &plugin->descriptor;
    struct loader_report report = {descriptor->name, ret_error};
    for (uint32_t i = 0; i < given_len; i++) {
        int32_t status = loader_check_given(descriptor, given, i, ret_error);
        if (status != KV_OK) {
            *ret_given_index = i;
            return status;
        }
    }
    size_t size = descriptor->options_len * sizeof(struct kv_setting);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        const struct kv_option *option = &descriptor->options[i];
        const char *value = loader_value(option, given, given_len);
        if (value == NULL) {
            *ret_given_index = given_len;
            return loader_refuse(&report, KV_E_INVALID,
                                 "the setting \"%s\" is missing; it must be %s (%s)", option->name,
                                 loader_type_text(option->type), option->help);
        }
        size += strlen(option->name) + 1 + strlen(value) + 1;
    }
    /* One piece of memory: the array, then its texts. */
    struct kv_setting *settings = alloc_bytes(size);
    char *text = (char *)(settings + descriptor->options_len);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        const struct kv_option *option = &descriptor->options[i];
        const char *value = loader_value(option, given, given_len);
        size_t name_size = strlen(option->name) + 1;
        size_t value_size = strlen(value) + 1;
        settings[i].name = memcpy(text, option->name, name_size);
        settings[i].value = memcpy(text + name_size, value, value_size);
        text += name_size + value_size;
    }
    *ret_settings = settings;
    return KV_OK;
}

void loader_settings_free(struct kv_setting *settings)
{
    alloc_free(settings);
}

bool loader_scope_is_shared(const struct loaded_plugin *plugin, const struct kv_setting *settings)
{
    for (uint32_t i = 0; settings != NULL && i < plugin->descriptor.options_len; i++) {
        if (strcmp(settings[i].name, LOADER_SCOPE) == 0) {
            return loader_is_shared(&plugin->descriptor) &&
                   strcmp(settings[i].value, LOADER_SCOPE_SHARED) == 0;
        }
    }
    return false;
}

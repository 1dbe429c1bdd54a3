/*
 * Happy path: find the file, dlopen() it, find the descriptor, copy it into a struct of our own,
 * check each field, copy what it points to. The descriptor is a stranger's memory: its size is read
 * first and compared with the symbol's real size, and nothing beyond it is touched.
 *
 * Failure: the first wrong field is named, everything is freed and the object closed again.
 */
#include "host/loader.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/check.h"
#include "host/plugin_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* The sizes of ABI 1.0: frozen, so that a plugin built today loads in every later 1.x host. */
#define LOADER_PLUGIN_SIZE_MIN 88u
#define LOADER_PERSIST_MIN     48u
#define LOADER_TRANSPORT_MIN   72u

#define LOADER_MEMBERS_MAX     9u
#define LOADER_NAME_MAX        63u
#define LOADER_TEXT_MAX        255u

struct loader_plugin {
    struct loaded_plugin base; /* first: a pointer to it is one to the whole */
    struct arena arena;        /* all that base points to */
};

/* What is known about a kind of plugin. */
struct loader_kind {
    uint32_t kind;
    const char *name;
    uint32_t ops_size_min;
    uint32_t ops_size;
    uint64_t capabilities;
    uint64_t load_capability; /* with it members[2] must be there, without it must not; 0: none */
    uint32_t members_len;
    const char *members[LOADER_MEMBERS_MAX];
};

static const struct loader_kind loader_kinds[] = {
    {KV_KIND_PERSIST,
     "persistence",
     LOADER_PERSIST_MIN,
     sizeof(struct kv_persist_ops),
     KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE,
     KV_PERSIST_LOAD,
     6,
     {"create", "open", "load", "apply", "close", "destroy"}},
    {KV_KIND_TRANSPORT,
     "transport",
     LOADER_TRANSPORT_MIN,
     sizeof(struct kv_transport_ops),
     KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE,
     0,
     9,
     {"create", "start", "listen", "connect", "send", "flush", "close_link", "stop", "destroy"}},
};

_Static_assert(sizeof(struct kv_plugin) >= LOADER_PLUGIN_SIZE_MIN, "the host knows all of 1.0");
_Static_assert(sizeof(struct kv_persist_ops) >= LOADER_PERSIST_MIN, "the host knows all of 1.0");
_Static_assert(sizeof(struct kv_transport_ops) >= LOADER_TRANSPORT_MIN, "... all of 1.0");

/* Where an error goes and what it is about. */
struct loader_report {
    const char *path;
    char *text; /* LOADER_ERROR_MAX bytes */
};

__attribute__((format(printf, 3, 4))) static int32_t
loader_refuse(const struct loader_report *report, int32_t status, const char *format, ...)
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

static bool loader_is_word(const char *text, size_t len, bool underscore)
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

/* --- the descriptor --- */

/* Finds the descriptor and copies as much of it as both sides know. */
static int32_t loader_read_descriptor(const struct loader_report *report, void *handle,
                                      struct kv_plugin *ret_descriptor)
{
    const struct kv_plugin *foreign = dlsym(handle, KV_PLUGIN_SYMBOL);
    Dl_info about;
    void *extra = NULL;
    uint64_t symbol_size = UINT64_MAX; /* unknown */
    if (foreign == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "no plugin of kvnode: it does not export the symbol %s",
                             KV_PLUGIN_SYMBOL);
    }
    if (dladdr1(foreign, &about, &extra, RTLD_DL_SYMENT) != 0 && extra != NULL) {
        const ElfW(Sym) *symbol = extra;
        if (ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT) {
            return loader_refuse(report, KV_E_INVALID, "the symbol %s is no data",
                                 KV_PLUGIN_SYMBOL);
        }
        symbol_size = symbol->st_size == 0 ? UINT64_MAX : symbol->st_size;
    }
    if (symbol_size < offsetof(struct kv_plugin, ops_size)) {
        return loader_refuse(report, KV_E_INVALID,
                             "plugin_size: the host needs at least %u, the plugin's symbol has "
                             "%" PRIu64 " bytes",
                             LOADER_PLUGIN_SIZE_MIN, symbol_size);
    }
    if (foreign->magic != KV_ABI_MAGIC) {
        return loader_refuse(report, KV_E_INVALID, "magic: the host has 0x%08x, the plugin 0x%08x",
                             KV_ABI_MAGIC, foreign->magic);
    }
    if (foreign->abi_major != KV_ABI_MAJOR) {
        return loader_refuse(report, KV_E_VERSION, "abi_major: the host has %d, the plugin %d",
                             KV_ABI_MAJOR, foreign->abi_major);
    }
    if (foreign->plugin_size < LOADER_PLUGIN_SIZE_MIN || foreign->plugin_size > symbol_size) {
        return loader_refuse(report, KV_E_INVALID,
                             "plugin_size: the host needs at least %u, the plugin says %u and its "
                             "symbol has %" PRIu64 " bytes",
                             LOADER_PLUGIN_SIZE_MIN, foreign->plugin_size,
                             symbol_size == UINT64_MAX ? 0 : symbol_size);
    }
    uint32_t size = foreign->plugin_size < sizeof(*ret_descriptor)
                        ? foreign->plugin_size
                        : (uint32_t)sizeof(*ret_descriptor);
    memset(ret_descriptor, 0, sizeof(*ret_descriptor));
    memcpy(ret_descriptor, foreign, size);
    return KV_OK;
}

static int32_t loader_check_text(const struct loader_report *report, const char *field,
                                 const char *text, size_t len_max)
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

static int32_t loader_check_texts(const struct loader_report *report,
                                  const struct kv_plugin *descriptor)
{
    const char *name = descriptor->name;
    int32_t status = loader_check_text(report, "name", name, LOADER_NAME_MAX);
    if (status == KV_OK && !loader_is_word(name, strlen(name), false)) {
        status = loader_refuse(report, KV_E_INVALID,
                               "name: the host takes 1 to %u letters, digits and '-', the plugin "
                               "has \"%s\"",
                               LOADER_NAME_MAX, name);
    }
    if (status == KV_OK) {
        status = loader_check_text(report, "version", descriptor->version, LOADER_NAME_MAX);
    }
    if (status == KV_OK) {
        status = loader_check_text(report, "summary", descriptor->summary, LOADER_TEXT_MAX);
    }
    return status;
}

static const struct loader_kind *loader_kind_find(uint32_t kind)
{
    for (size_t i = 0; i < sizeof(loader_kinds) / sizeof(loader_kinds[0]); i++) {
        if (loader_kinds[i].kind == kind) {
            return &loader_kinds[i];
        }
    }
    return NULL;
}

static int32_t loader_check_kind(const struct loader_report *report,
                                 const struct kv_plugin *descriptor, uint32_t expected_kind)
{
    const struct loader_kind *kind = loader_kind_find(descriptor->kind);
    const struct loader_kind *expected = loader_kind_find(expected_kind);
    if (kind == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "kind: the host knows %u (persistence) and %u (transport), the plugin "
                             "has %u",
                             KV_KIND_PERSIST, KV_KIND_TRANSPORT, descriptor->kind);
    }
    if (expected != NULL && expected != kind) {
        return loader_refuse(report, KV_E_INVALID,
                             "kind: the host needs a %s plugin (%u) here, the plugin is a %s "
                             "plugin (%u)",
                             expected->name, expected->kind, kind->name, kind->kind);
    }
    if (descriptor->ops_size < kind->ops_size_min) {
        return loader_refuse(report, KV_E_INVALID,
                             "ops_size: the host needs at least %u, the plugin has %u",
                             kind->ops_size_min, descriptor->ops_size);
    }
    return KV_OK;
}

/* What the plugin needs of the host, and bits that neither side may invent. */
static int32_t loader_check_needs(const struct loader_report *report, struct kv_plugin *descriptor)
{
    uint64_t known = loader_kind_find(descriptor->kind)->capabilities;
    if (descriptor->abi_minor > KV_ABI_MINOR) {
        descriptor->capabilities &= known; /* of a later minor: of no use to this host */
    }
    if ((descriptor->capabilities & ~known) != 0) {
        return loader_refuse(report, KV_E_INVALID,
                             "capabilities: the host knows 0x%" PRIx64 " in ABI %d.%d, the plugin "
                             "has 0x%" PRIx64,
                             known, KV_ABI_MAJOR, descriptor->abi_minor, descriptor->capabilities);
    }
    if ((descriptor->host_features & ~KV_HOST_LOOP) != 0) {
        return loader_refuse(report, KV_E_VERSION,
                             "host_features: the host offers 0x%llx, the plugin needs 0x%" PRIx64,
                             KV_HOST_LOOP, descriptor->host_features);
    }
    if (descriptor->libuv_version == 0 && descriptor->libuv_loop_size == 0) {
        return KV_OK;
    }
    if (descriptor->libuv_version >> 8 != uv_version() >> 8) {
        return loader_refuse(report, KV_E_VERSION,
                             "libuv_version: the host has 0x%06x, the plugin 0x%06x; major and "
                             "minor must be the same",
                             uv_version(), descriptor->libuv_version);
    }
    if (descriptor->libuv_loop_size != uv_loop_size()) {
        return loader_refuse(report, KV_E_VERSION,
                             "libuv_loop_size: the host has %zu, the plugin %u", uv_loop_size(),
                             descriptor->libuv_loop_size);
    }
    return KV_OK;
}

/* --- options --- */

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
    bool is_taken = strcmp(option->name, "plugin") == 0 ||
                    (descriptor->kind == KV_KIND_TRANSPORT && strcmp(option->name, "listen") == 0);
    if (!loader_is_word(option->name, strlen(option->name), true) || is_taken) {
        return loader_refuse(report, KV_E_INVALID,
                             "%s: the host takes letters, digits, '-' and '_', and no word of its "
                             "own (plugin, listen); the plugin has \"%s\"",
                             field, option->name);
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

static int32_t loader_check_options(const struct loader_report *report,
                                    const struct kv_plugin *descriptor)
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
    return KV_OK;
}

/* --- operations, and the copy --- */

static int32_t loader_copy_ops(const struct loader_report *report, struct loaded_plugin *plugin)
{
    const struct kv_plugin *descriptor = &plugin->descriptor;
    const struct loader_kind *kind = loader_kind_find(descriptor->kind);
    void *members[LOADER_MEMBERS_MAX];
    KV_CHECK(kind->ops_size_min == kind->members_len * sizeof(members[0]));
    if (descriptor->ops == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "ops: the host needs the %s operations, the plugin has NULL",
                             kind->name);
    }
    memset(&plugin->ops, 0, sizeof(plugin->ops));
    memcpy(&plugin->ops, descriptor->ops,
           descriptor->ops_size < kind->ops_size ? descriptor->ops_size : kind->ops_size);
    memcpy(members, &plugin->ops, kind->ops_size_min);
    for (uint32_t i = 0; i < kind->members_len; i++) {
        bool is_load = kind->load_capability != 0 && i == 2;
        bool is_needed = !is_load || (descriptor->capabilities & kind->load_capability) != 0;
        if (is_needed && members[i] == NULL) {
            return loader_refuse(report, KV_E_INVALID,
                                 "ops.%s: the host needs a function%s, the plugin has NULL",
                                 kind->members[i], is_load ? " with KV_PERSIST_LOAD" : "");
        }
        if (!is_needed && members[i] != NULL) {
            return loader_refuse(report, KV_E_INVALID,
                                 "ops.%s: the host needs NULL without KV_PERSIST_LOAD, the plugin "
                                 "has a function",
                                 kind->members[i]);
        }
    }
    return KV_OK;
}

static const char *loader_copy_text(struct arena *arena, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(arena, size), text, size);
}

/* Replaces all that points into the shared object, but for the functions. */
static void loader_copy_descriptor(struct loader_plugin *plugin)
{
    struct arena *arena = &plugin->arena;
    struct kv_plugin *descriptor = &plugin->base.descriptor;
    size_t size = descriptor->options_len * sizeof(struct kv_option);
    struct kv_option *options = arena_alloc(arena, size);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        options[i] = descriptor->options[i];
        options[i].name = loader_copy_text(arena, options[i].name);
        options[i].default_value = loader_copy_text(arena, options[i].default_value);
        options[i].help = loader_copy_text(arena, options[i].help);
    }
    descriptor->options = options;
    descriptor->name = loader_copy_text(arena, descriptor->name);
    descriptor->version = loader_copy_text(arena, descriptor->version);
    descriptor->summary = loader_copy_text(arena, descriptor->summary);
    descriptor->ops = NULL;
}

static int32_t loader_check(const struct loader_report *report, struct loaded_plugin *plugin,
                            uint32_t expected_kind)
{
    struct kv_plugin *descriptor = &plugin->descriptor;
    int32_t status = loader_read_descriptor(report, plugin->handle, descriptor);
    if (status == KV_OK) {
        status = loader_check_kind(report, descriptor, expected_kind);
    }
    if (status == KV_OK) {
        status = loader_check_texts(report, descriptor);
    }
    if (status == KV_OK) {
        status = loader_check_needs(report, descriptor);
    }
    if (status == KV_OK) {
        status = loader_check_options(report, descriptor);
    }
    if (status == KV_OK) {
        status = loader_copy_ops(report, plugin);
    }
    return status;
}

int32_t loader_load(const char *name, const char *folder, uint32_t expected_kind,
                    struct loaded_plugin **ret_plugin, char *ret_error)
{
    char path[PATH_MAX];
    struct loader_report report = {path, ret_error};
    int32_t status = plugin_file_find(name, folder, path, ret_error);
    if (status == KV_OK) {
        status = plugin_file_check(path, ret_error);
    }
    if (status != KV_OK) {
        return status;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        return loader_refuse(&report, KV_E_INVALID, "cannot load the plugin: %s", dlerror());
    }
    struct loader_plugin *plugin = alloc_zeroed(1, sizeof(*plugin));
    arena_init(&plugin->arena);
    plugin->base.handle = handle;
    status = loader_check(&report, &plugin->base, expected_kind);
    if (status != KV_OK) {
        loader_release(&plugin->base);
        return status;
    }
    loader_copy_descriptor(plugin);
    size_t size = strlen(path) + 1;
    plugin->base.path = memcpy(arena_alloc(&plugin->arena, size), path, size);
    *ret_plugin = &plugin->base;
    return KV_OK;
}

void loader_release(struct loaded_plugin *plugin)
{
    if (plugin == NULL) {
        return;
    }
    struct loader_plugin *whole = (struct loader_plugin *)plugin;
    dlclose(plugin->handle); /* stays mapped after loader_pin() */
    arena_close(&whole->arena);
    alloc_free(whole);
}

void loader_pin(const struct loaded_plugin *plugin)
{
    void *pinned = dlopen(plugin->path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
    if (pinned != NULL) {
        dlclose(pinned); /* the mark stays, the count goes back */
    }
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

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
#include "host/loader_parts.h"
#include "host/plugin_file.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* The sizes of ABI 1.0: frozen, so that a plugin built today loads in every later 1.x host. */
#define LOADER_PLUGIN_SIZE_MIN 88u
#define LOADER_PERSIST_MIN     48u
#define LOADER_TRANSPORT_MIN   72u

#define LOADER_MEMBERS_MAX     9u

#define LOADER_TEXT_MAX        255u

struct loader_plugin {
    struct loaded_plugin base; /* first: a pointer to it is one to the whole */
    struct arena arena;        /* all that base points to */
};

/* One function of the operations. With its capability it must be there, without it it must not. */
struct loader_member {
    const char *name;
    uint64_t capability; /* 0: always there */
    const char *capability_name;
};

/* What is known about a kind of plugin. */
struct loader_kind {
    uint32_t kind;
    const char *name;
    uint32_t ops_size_min;
    uint32_t ops_size;
    uint64_t capabilities[KV_ABI_MINOR + 1]; /* known in each minor */
    uint32_t members_len;
    struct loader_member members[LOADER_MEMBERS_MAX];
};

#define LOADER_PERSIST_1_0 (KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE)
#define LOADER_PERSIST_1_1 \
    (LOADER_PERSIST_1_0 | KV_PERSIST_RESET | KV_PERSIST_GET | KV_PERSIST_SHARED)
#define LOADER_TRANSPORT_1_0 (KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE)

static const struct loader_kind loader_kinds[] = {
    {KV_KIND_PERSIST,
     "persistence",
     LOADER_PERSIST_MIN,
     sizeof(struct kv_persist_ops),
     {LOADER_PERSIST_1_0, LOADER_PERSIST_1_1},
     8,
     {{"create", 0, ""},
      {"open", 0, ""},
      {"load", KV_PERSIST_LOAD, "KV_PERSIST_LOAD"},
      {"apply", 0, ""},
      {"close", 0, ""},
      {"destroy", 0, ""},
      {"reset", KV_PERSIST_RESET, "KV_PERSIST_RESET"},
      {"get", KV_PERSIST_GET, "KV_PERSIST_GET"}}},
    {KV_KIND_TRANSPORT,
     "transport",
     LOADER_TRANSPORT_MIN,
     sizeof(struct kv_transport_ops),
     {LOADER_TRANSPORT_1_0, LOADER_TRANSPORT_1_0},
     9,
     {{"create", 0, ""},
      {"start", 0, ""},
      {"listen", 0, ""},
      {"connect", 0, ""},
      {"send", 0, ""},
      {"flush", 0, ""},
      {"close_link", 0, ""},
      {"stop", 0, ""},
      {"destroy", 0, ""}}},
};

_Static_assert(sizeof(struct kv_plugin) >= LOADER_PLUGIN_SIZE_MIN, "the host knows all of 1.0");
_Static_assert(sizeof(struct kv_persist_ops) >= LOADER_PERSIST_MIN, "the host knows all of 1.0");
_Static_assert(sizeof(struct kv_transport_ops) >= LOADER_TRANSPORT_MIN, "... all of 1.0");

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
    if (descriptor->ops_size % sizeof(void *) != 0) {
        return loader_refuse(report, KV_E_INVALID,
                             "ops_size: the host needs whole functions, a multiple of %zu, the "
                             "plugin has %u",
                             sizeof(void *), descriptor->ops_size);
    }
    return KV_OK;
}

/* What the plugin needs of the host, and bits that neither side may invent. */
static int32_t loader_check_needs(const struct loader_report *report, struct kv_plugin *descriptor)
{
    bool is_later = descriptor->abi_minor > KV_ABI_MINOR;
    uint64_t known = loader_kind_find(descriptor->kind)
                         ->capabilities[is_later ? KV_ABI_MINOR : descriptor->abi_minor];
    if (is_later) {
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

/* --- operations, and the copy --- */

static int32_t loader_copy_ops(const struct loader_report *report, struct loaded_plugin *plugin)
{
    const struct kv_plugin *descriptor = &plugin->descriptor;
    const struct loader_kind *kind = loader_kind_find(descriptor->kind);
    void *members[LOADER_MEMBERS_MAX];
    size_t size = kind->members_len * sizeof(members[0]);
    KV_CHECK(kind->ops_size == size);
    if (descriptor->ops == NULL) {
        return loader_refuse(report, KV_E_INVALID,
                             "ops: the host needs the %s operations, the plugin has NULL",
                             kind->name);
    }
    memset(&plugin->ops, 0, sizeof(plugin->ops));
    memcpy(&plugin->ops, descriptor->ops,
           descriptor->ops_size < kind->ops_size ? descriptor->ops_size : kind->ops_size);
    memcpy(members, &plugin->ops, size);
    for (uint32_t i = 0; i < kind->members_len; i++) {
        const struct loader_member *member = &kind->members[i];
        bool is_needed =
            member->capability == 0 || (descriptor->capabilities & member->capability) != 0;
        if (is_needed && members[i] == NULL) {
            return loader_refuse(
                report, KV_E_INVALID, "ops.%s: the host needs a function%s%s, the plugin has NULL",
                member->name, member->capability == 0 ? "" : " with ", member->capability_name);
        }
        if (!is_needed && members[i] != NULL) {
            return loader_refuse(report, KV_E_INVALID,
                                 "ops.%s: the host needs NULL without %s, the plugin has a "
                                 "function",
                                 member->name, member->capability_name);
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

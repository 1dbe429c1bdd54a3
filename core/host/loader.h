/*
 * Loads plugins: finds the file, dlopen()s it, checks its descriptor field by field and copies what
 * the host needs. Used by kvnode and by the client library, on the thread that starts them. It
 * calls nothing in the plugin; the guards do. A loaded plugin is never unloaded once an instance
 * was made.
 */
#ifndef HOST_LOADER_H
#define HOST_LOADER_H

#include <kvnode/persist.h>
#include <kvnode/transport.h>
#include <stdbool.h>

#define LOADER_ERROR_MAX   512u
#define LOADER_OPTIONS_MAX 256u /* options that a plugin may declare */

/* A checked descriptor: strings are copies, members that the plugin did not have yet are zero. */
struct loaded_plugin {
    void *handle; /* dlopen() */
    char *path;
    struct kv_plugin descriptor; /* ops is NULL here: see below */
    union {
        struct kv_persist_ops persist;
        struct kv_transport_ops transport;
    } ops;
};

/* Loads `name`: a path when it contains '/', else NAME.so in `folder`, or with folder NULL in the
 * first of these that has it: $KV_PLUGINS, ../plugins.d beside the program's folder, the installed
 * plugin folder. expected_kind: KV_KIND_, or 0 for any.
 * KV_OK; KV_E_NOT_FOUND: no such file; KV_E_INVALID: no shared object, or a field is wrong;
 * KV_E_VERSION: another ABI or libuv. ret_error then says which field, the host's value and the
 * plugin's (LOADER_ERROR_MAX bytes). */
int32_t loader_load(const char *name, const char *folder, uint32_t expected_kind,
                    struct loaded_plugin **ret_plugin, char *ret_error);

/* Frees the copy; closes the shared object only when no instance of it was ever made. NULL is fine.
 */
void loader_release(struct loaded_plugin *plugin);

/* Keeps the shared object mapped for good. The guards call it before they make an instance: code of
 * a plugin may still run (a thread, a libuv callback) when its instance is gone. */
void loader_pin(const struct loaded_plugin *plugin);

/* The settings for create(): every declared option once. given: what the user wrote.
 * *ret_settings has descriptor.options_len entries; free with loader_settings_free().
 * KV_E_INVALID: ret_error says which setting is unknown (with the nearest known name), missing, or
 * not of its type, and *ret_given_index which of the given ones it is about (given_len: a missing
 * one). */
int32_t loader_settings(const struct loaded_plugin *plugin, const struct kv_setting *given,
                        uint32_t given_len, struct kv_setting **ret_settings,
                        uint32_t *ret_given_index, char *ret_error);
void loader_settings_free(struct kv_setting *settings);

/* True when the plugin has KV_PERSIST_SHARED and its setting `scope` is "shared". settings: of
 * loader_settings(); NULL is fine. */
bool loader_scope_is_shared(const struct loaded_plugin *plugin, const struct kv_setting *settings);

/* The one of known (known_len names) that is nearest to name by edit distance; NULL when there is
 * none at all. */
const char *loader_nearest_name(const char *name, const char *const *known, uint32_t known_len);

#endif

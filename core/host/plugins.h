/*
 * The plugins that a configuration names: loaded, and their settings checked, before anything is
 * started. Main thread. Only plugins_check() makes an instance, and destroys it again.
 */
#ifndef HOST_PLUGINS_H
#define HOST_PLUGINS_H

#include "host/config.h"
#include "host/isolate.h"
#include "host/loader.h"

#define PLUGINS_ERROR_MAX 1024u

/* A loaded plugin with the settings for its create(). */
struct plugin {
    struct loaded_plugin *loaded;
    struct kv_setting *settings;
};

struct plugins {
    struct plugin transports[CONFIG_TRANSPORTS_MAX];
    uint32_t transports_len;
    bool has_persistence; /* the node is a replica */
    struct plugin persistence;
};

/* KV_OK; KV_E_INVALID: a setting or an address is wrong, a mistake of the configuration; any other
 * code: a plugin is missing or refused. ret_error (PLUGINS_ERROR_MAX bytes) says where and why. On
 * failure *ret_plugins is empty. */
int32_t plugins_load(const struct config *config, struct plugins *ret_plugins, char *ret_error);

/* What `--check` does more: makes an instance of each transport, which is not started, and one of
 * the persistence plugin, which touches no store yet, and destroys them, so that a setting's value
 * that a plugin refuses is found. KV_E_INVALID: it refuses its settings, a mistake of the
 * configuration; any other code: the plugin failed. ret_error (PLUGINS_ERROR_MAX bytes) says where
 * and why. */
int32_t plugins_check(const struct config *config, const struct plugins *plugins, char *ret_error);

/* How the persistence plugin is to be isolated, into *ret_isolate; NULL: not at all. */
const struct isolate_config *plugins_isolate(const struct config *config,
                                             struct isolate_config *ret_isolate);

/* After every instance is gone. */
void plugins_close(struct plugins *plugins);

/* The scheme of the URIs that a transport plugin serves: "tcp" of "transport-tcp". */
const char *plugins_scheme(const struct loaded_plugin *loaded);

#define PLUGINS_SCHEMES_MAX 640u

/* The schemes of all transports, each once: "tcp,udp". ret_text: PLUGINS_SCHEMES_MAX bytes. */
const char *plugins_schemes(const struct plugins *plugins, char *ret_text);

/* True when uri begins with "SCHEME://". */
bool plugins_serves(const struct loaded_plugin *loaded, const char *uri);

#endif

#include "host/plugins.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/status.h"
#include "host/guard_persist.h"
#include "host/services.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#define PLUGINS_TRANSPORT_PREFIX "transport-"
#define PLUGINS_REASON_MAX       512u

/* A plugin's name has at most 63 bytes (the loader's limit). */
_Static_assert(PLUGINS_SCHEMES_MAX >= CONFIG_TRANSPORTS_MAX * 65, "all schemes fit");

const char *plugins_scheme(const struct loaded_plugin *loaded)
{
    const char *name = loaded->descriptor.name;
    size_t prefix_len = strlen(PLUGINS_TRANSPORT_PREFIX);
    return strncmp(name, PLUGINS_TRANSPORT_PREFIX, prefix_len) == 0 ? name + prefix_len : name;
}

bool plugins_serves(const struct loaded_plugin *loaded, const char *uri)
{
    const char *scheme = plugins_scheme(loaded);
    size_t len = strlen(scheme);
    return strncmp(uri, scheme, len) == 0 && strncmp(uri + len, "://", 3) == 0;
}

/* True when an earlier transport has the same scheme. */
static bool plugins_repeats_scheme(const struct plugins *plugins, uint32_t place)
{
    uint32_t i = 0;
    while (i < place && strcmp(plugins_scheme(plugins->transports[i].loaded),
                               plugins_scheme(plugins->transports[place].loaded)) != 0) {
        i++;
    }
    return i < place;
}

const char *plugins_schemes(const struct plugins *plugins, char *ret_text)
{
    size_t len = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; i < plugins->transports_len; i++) {
        if (!plugins_repeats_scheme(plugins, i)) {
            int more = snprintf(ret_text + len, PLUGINS_SCHEMES_MAX - len, "%s%s",
                                len == 0 ? "" : ",", plugins_scheme(plugins->transports[i].loaded));
            len += (size_t)more;
        }
    }
    return ret_text;
}

/* The arbiter has one address only, so one of the transports must serve it. */
static int32_t plugins_check_arbiter(const struct config *config, const struct plugins *plugins,
                                     char *ret_error)
{
    char schemes[PLUGINS_SCHEMES_MAX];
    for (uint32_t i = 0; i < plugins->transports_len; i++) {
        if (plugins_serves(plugins->transports[i].loaded, config->node.arbiter)) {
            return KV_OK;
        }
    }
    snprintf(ret_error, PLUGINS_ERROR_MAX,
             "%s: node.arbiter is \"%s\", and no transport of this node serves such an address "
             "(schemes served: %s); give an address at which the arbiter can be reached so, or add "
             "the transport",
             config->node.arbiter_place, config->node.arbiter, plugins_schemes(plugins, schemes));
    return KV_E_INVALID;
}

/* KV_E_INVALID: its settings; KV_E_VERSION or KV_E_NOT_FOUND: the plugin itself. */
static int32_t plugins_load_one(const struct config *config, const struct config_plugin *wanted,
                                uint32_t kind, struct plugin *ret_plugin, char *ret_error)
{
    char error[LOADER_ERROR_MAX] = "";
    char where[256];
    uint32_t index = 0;
    int32_t status =
        loader_load(wanted->plugin, config->plugin_folder, kind, &ret_plugin->loaded, error);
    if (status != KV_OK) {
        config_where(config, wanted, wanted->settings_len, where, sizeof(where));
        snprintf(ret_error, PLUGINS_ERROR_MAX, "%s: plugin \"%s\": %s", where, wanted->plugin,
                 error);
        return status == KV_E_INVALID ? KV_E_VERSION : status;
    }
    status = loader_settings(ret_plugin->loaded, wanted->settings, wanted->settings_len,
                             &ret_plugin->settings, &index, error);
    if (status != KV_OK) {
        config_where(config, wanted, index, where, sizeof(where));
        snprintf(ret_error, PLUGINS_ERROR_MAX, "%s: %s", where, error);
        return KV_E_INVALID;
    }
    return KV_OK;
}

static int32_t plugins_load_transport(const struct config *config,
                                      const struct config_transport *wanted,
                                      struct plugin *ret_plugin, char *ret_error)
{
    int32_t status =
        plugins_load_one(config, &wanted->plugin, KV_KIND_TRANSPORT, ret_plugin, ret_error);
    for (uint32_t i = 0; status == KV_OK && i < wanted->uris_len; i++) {
        if (!plugins_serves(ret_plugin->loaded, wanted->uris[i])) {
            char where[256];
            config_where(config, &wanted->plugin, wanted->plugin.settings_len, where,
                         sizeof(where));
            snprintf(ret_error, PLUGINS_ERROR_MAX,
                     "%s: %s serves addresses that begin with %s://, not \"%s\"%s", where,
                     ret_plugin->loaded->descriptor.name, plugins_scheme(ret_plugin->loaded),
                     wanted->uris[i],
                     wanted->is_default ? ", the default from its file's name; give listen" : "");
            status = KV_E_INVALID;
        }
    }
    return status;
}

int32_t plugins_load(const struct config *config, struct plugins *ret_plugins, char *ret_error)
{
    *ret_plugins = (struct plugins){0};
    int32_t status = KV_OK;
    uint32_t uris_len = 0;
    for (uint32_t i = 0; status == KV_OK && i < config->transports_len; i++) {
        ret_plugins->transports_len++;
        status = plugins_load_transport(config, &config->transports[i], &ret_plugins->transports[i],
                                        ret_error);
        uris_len += config->transports[i].uris_len;
    }
    if (status == KV_OK && (uris_len == 0 || uris_len > URIS_MAX)) {
        snprintf(ret_error, PLUGINS_ERROR_MAX,
                 "%s: the transports together listen on %u addresses; a node needs 1 to %d",
                 config->file, uris_len, URIS_MAX);
        status = KV_E_INVALID;
    }
    if (status == KV_OK) {
        status = plugins_check_arbiter(config, ret_plugins, ret_error);
    }
    if (status == KV_OK && config->node.is_replica) {
        ret_plugins->has_persistence = true;
        status = plugins_load_one(config, &config->persistence, KV_KIND_PERSIST,
                                  &ret_plugins->persistence, ret_error);
    }
    if (status != KV_OK) {
        plugins_close(ret_plugins);
    }
    return status;
}

const struct isolate_config *plugins_isolate(const struct config *config,
                                             struct isolate_config *ret_isolate)
{
    if (!config->isolate.is_wanted) {
        return NULL;
    }
    *ret_isolate = (struct isolate_config){
        .memory_bytes = (uint64_t)config->isolate.memory_mb << 20,
        .call_timeout_ms = config->isolate.timeout_ms,
    };
    return ret_isolate;
}

/* What create() answered, with its reason: KV_E_INVALID for a mistake of the configuration. */
static int32_t plugins_judge(const struct config *config, const struct config_plugin *wanted,
                             const struct plugin *plugin, struct services *services, int32_t status,
                             char *ret_error)
{
    char reason[PLUGINS_REASON_MAX];
    char where[256];
    if (status == KV_OK) {
        return KV_OK;
    }
    services_last_error(services, reason, sizeof(reason));
    config_where(config, wanted, wanted->settings_len, where, sizeof(where));
    snprintf(ret_error, PLUGINS_ERROR_MAX, "%s: %s refuses its settings: %s%s%s (%s)", where,
             plugin->loaded->descriptor.name, reason, reason[0] == '\0' ? "" : ": ",
             status_text(status), status_name(status));
    return status_class(status) == KV_CLASS_CALLER ? KV_E_INVALID : status;
}

static int32_t plugins_check_store(const struct config *config, const struct plugin *plugin,
                                   char *ret_error)
{
    struct guard_persist *guard = NULL;
    struct isolate_config isolate;
    /* Its lines are not logged: the reason is what this returns. */
    struct services *services = services_create(plugin->loaded->descriptor.name, NULL, NULL, NULL);
    int32_t status = guard_persist_create(plugin->loaded, services, plugin->settings,
                                          plugins_isolate(config, &isolate), &guard);
    guard_persist_destroy(guard);
    status = plugins_judge(config, &config->persistence, plugin, services, status, ret_error);
    services_destroy(services);
    return status;
}

/* create() and destroy() with nothing in between, so there is nothing to guard: the guard starts
 * what it makes. */
static int32_t plugins_make_transport(const struct loaded_plugin *loaded, struct services *services,
                                      const struct kv_setting *settings)
{
    const struct kv_transport_ops *ops = &loaded->ops.transport;
    void *self = NULL;
    loader_pin(loaded);
    int32_t status =
        ops->create(services_table(services), settings, loaded->descriptor.options_len, &self);
    if (status > 0 || status < KV_STATUS_LAST_ || (status == KV_OK && self == NULL)) {
        return KV_E_CONTRACT;
    }
    if (status == KV_OK) {
        ops->destroy(self);
    }
    return status;
}

/* The plugin gets a loop, as it will at the start: its create() may count on one. */
static int32_t plugins_check_transport(const struct config *config,
                                       const struct config_transport *wanted,
                                       const struct plugin *plugin, char *ret_error)
{
    uv_loop_t *loop = alloc_zeroed(1, sizeof(*loop));
    KV_CHECK(uv_loop_init(loop) == 0);
    struct services *services = services_create(plugin->loaded->descriptor.name, loop, NULL, NULL);
    int32_t status = plugins_make_transport(plugin->loaded, services, plugin->settings);
    status = plugins_judge(config, &wanted->plugin, plugin, services, status, ret_error);
    uv_run(loop, UV_RUN_NOWAIT); /* a handle that destroy() closed is gone after a turn */
    if (uv_loop_close(loop) == 0) {
        alloc_free(loop);
    } else if (status == KV_OK) {
        /* Its handles are on the loop, which must stay. */
        snprintf(ret_error, PLUGINS_ERROR_MAX, "%s: plugin %s left handles on the loop",
                 wanted->plugin.place, plugin->loaded->descriptor.name);
        status = KV_E_CONTRACT;
    }
    services_destroy(services);
    return status;
}

int32_t plugins_check(const struct config *config, const struct plugins *plugins, char *ret_error)
{
    int32_t status = KV_OK;
    for (uint32_t i = 0; status == KV_OK && i < plugins->transports_len; i++) {
        status = plugins_check_transport(config, &config->transports[i], &plugins->transports[i],
                                         ret_error);
    }
    if (status == KV_OK && plugins->has_persistence) {
        status = plugins_check_store(config, &plugins->persistence, ret_error);
    }
    return status;
}

static void plugins_close_one(struct plugin *plugin)
{
    if (plugin->settings != NULL) {
        loader_settings_free(plugin->settings);
    }
    loader_release(plugin->loaded);
}

void plugins_close(struct plugins *plugins)
{
    for (uint32_t i = 0; i < plugins->transports_len; i++) {
        plugins_close_one(&plugins->transports[i]);
    }
    plugins_close_one(&plugins->persistence);
    *plugins = (struct plugins){0};
}

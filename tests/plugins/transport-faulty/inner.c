#include "inner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static int32_t inner_check(const struct kv_plugin *plugin, char *ret_error)
{
    if (plugin->magic != KV_ABI_MAGIC || plugin->abi_major != KV_ABI_MAJOR ||
        plugin->plugin_size < sizeof(struct kv_plugin)) {
        snprintf(ret_error, INNER_ERROR_MAX, "no plugin of ABI %d", KV_ABI_MAJOR);
        return KV_E_VERSION;
    }
    if (plugin->kind != KV_KIND_TRANSPORT || plugin->ops_size < sizeof(struct kv_transport_ops)) {
        snprintf(ret_error, INNER_ERROR_MAX, "no transport plugin");
        return KV_E_INVALID;
    }
    if (plugin->libuv_version != 0 && plugin->libuv_loop_size != sizeof(uv_loop_t)) {
        snprintf(ret_error, INNER_ERROR_MAX, "built with another libuv");
        return KV_E_VERSION;
    }
    return KV_OK;
}

int32_t inner_open(struct inner *inner, const char *path, char *ret_error)
{
    struct inner opened = {0};
    opened.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (opened.handle == NULL) {
        snprintf(ret_error, INNER_ERROR_MAX, "%s", dlerror());
        return KV_E_NOT_FOUND;
    }
    opened.plugin = dlsym(opened.handle, KV_PLUGIN_SYMBOL);
    int32_t status = KV_E_INVALID;
    if (opened.plugin == NULL) {
        snprintf(ret_error, INNER_ERROR_MAX, "no symbol " KV_PLUGIN_SYMBOL);
    } else {
        status = inner_check(opened.plugin, ret_error);
    }
    if (status != KV_OK) {
        inner_close(&opened);
        return status;
    }
    memcpy(&opened.ops, opened.plugin->ops, sizeof(opened.ops));
    *inner = opened;
    return KV_OK;
}

void inner_close(struct inner *inner)
{
    if (inner->handle != NULL) {
        dlclose(inner->handle);
        inner->handle = NULL;
    }
}

/* Puts "NAME=VALUE" where it belongs. */
static int32_t inner_set(const struct kv_plugin *plugin, struct kv_setting *settings, char *text,
                         char *ret_error)
{
    char *equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = '\0';
    }
    for (uint32_t i = 0; equals != NULL && i < plugin->options_len; i++) {
        if (strcmp(settings[i].name, text) == 0) {
            settings[i].value = equals + 1;
            return KV_OK;
        }
    }
    snprintf(ret_error, INNER_ERROR_MAX, "%s has no setting \"%.64s\", or it has no value",
             plugin->name, text);
    return KV_E_INVALID;
}

int32_t inner_settings(const struct inner *inner, const struct kv_host *host, char *given,
                       struct kv_setting **ret_settings, char *ret_error)
{
    const struct kv_plugin *plugin = inner->plugin;
    struct kv_setting *settings =
        host->allocate(host->ctx, (plugin->options_len + 1u) * sizeof(settings[0]));
    int32_t status = KV_OK;
    if (settings == NULL) {
        snprintf(ret_error, INNER_ERROR_MAX, "no memory");
        return KV_E_NOMEM;
    }
    for (uint32_t i = 0; i < plugin->options_len; i++) {
        settings[i].name = plugin->options[i].name;
        settings[i].value = plugin->options[i].default_value;
    }
    char *rest = given;
    for (char *text = strsep(&rest, ","); status == KV_OK && text != NULL;
         text = strsep(&rest, ",")) {
        status = text[0] == '\0' ? KV_OK : inner_set(plugin, settings, text, ret_error);
    }
    for (uint32_t i = 0; status == KV_OK && i < plugin->options_len; i++) {
        if (settings[i].value == NULL) {
            snprintf(ret_error, INNER_ERROR_MAX, "%s needs the setting \"%s\"", plugin->name,
                     settings[i].name);
            status = KV_E_INVALID;
        }
    }
    if (status != KV_OK) {
        host->release(host->ctx, settings);
        return status;
    }
    *ret_settings = settings;
    return KV_OK;
}

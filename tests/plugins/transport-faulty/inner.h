/*
 * The wrapped transport plugin: found, checked and given its settings as the host does it, without
 * any part of the host. Loop thread only, from create() and destroy() of the wrapper. It calls
 * nothing in the plugin.
 */
#ifndef FAULTY_INNER_H
#define FAULTY_INNER_H

#include <kvnode/transport.h>

#define INNER_ERROR_MAX 256u

struct inner {
    void *handle;
    const struct kv_plugin *plugin;
    struct kv_transport_ops ops;
};

/* path: as for dlopen(): one without '/' is looked for where the system looks. The shared object
 * stays mapped for good. KV_OK; KV_E_NOT_FOUND, KV_E_INVALID or KV_E_VERSION with a text in
 * ret_error (INNER_ERROR_MAX bytes). */
int32_t inner_open(struct inner *inner, const char *path, char *ret_error);

void inner_close(struct inner *inner);

/* given: "NAME=VALUE,NAME=VALUE" or ""; it is cut into pieces and borrowed by the result. Every
 * option once, defaults filled in: plugin->options_len settings of the host's memory. KV_E_INVALID:
 * a name that the plugin does not know or that it needs; KV_E_NOMEM. */
int32_t inner_settings(const struct inner *inner, const struct kv_host *host, char *given,
                       struct kv_setting **ret_settings, char *ret_error);

#endif

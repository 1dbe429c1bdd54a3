/*
 * The transport plugins of one client: "transport-SCHEME", loaded once per scheme when an address
 * of that scheme is first used. Loop thread. Knows nothing of messages.
 */
#ifndef CLIENT_CARRIER_H
#define CLIENT_CARRIER_H

#include "list.h"

#include "host/guard_transport.h"

#define CARRIER_SCHEME_MAX 31u

struct carrier {
    struct list link;
    struct kv_client *client;
    char scheme[CARRIER_SCHEME_MAX + 1u];
    struct loaded_plugin *plugin;
    struct services *services;
    struct guard_transport *guard; /* NULL: the plugin cannot be used, `error` says why */
    bool needs_flush;
    bool is_stopped;
    char error[LOADER_ERROR_MAX];
};

/* The carrier of an address's scheme; loads the plugin at the first call. Never NULL for an address
 * with a scheme; its guard is NULL when there is no usable plugin, *ret_status then says the code.
 * NULL, KV_E_INVALID: not an address. */
struct carrier *carrier_get(struct kv_client *client, const char *uri, int32_t *ret_status);

/* Frees it; after its on_stopped, or when it never got a guard. */
void carrier_destroy(struct carrier *carrier);

#endif

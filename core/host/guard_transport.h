/*
 * The only caller of a transport plugin that runs (plugins_check() makes one and destroys it
 * again). It enforces the contract of <kvnode/transport.h> on both sides: life cycle, sizes, known
 * return codes, no callback after close or stop, none from within a call. One guard is one plugin
 * instance; loop thread only. Used by kvnode and the client library.
 */
#ifndef HOST_GUARD_TRANSPORT_H
#define HOST_GUARD_TRANSPORT_H

#include "host/loader.h"
#include "host/services.h"

#include <stdbool.h>

struct guard_transport;

/* A link as the guard's user sees it; the guard owns it until on_down of an accepted one returns,
 * or guard_transport_close_link(). */
struct guard_link;

/* As struct kv_transport_events, with the guard's links. */
struct guard_transport_events {
    /* Returns false to turn the peer away. Use guard_link_set_user() to remember it. */
    bool (*on_accept)(void *ctx, struct guard_link *link, const char *remote_uri);
    void (*on_up)(void *ctx, struct guard_link *link);
    void (*on_message)(void *ctx, struct guard_link *link, const void *bytes, uint32_t len);
    void (*on_writable)(void *ctx, struct guard_link *link);
    void (*on_down)(void *ctx, struct guard_link *link, int32_t reason);
    void (*on_stopped)(void *ctx);
};

/* Calls create() and start(). Borrows plugin and services; copies limits and events. */
int32_t guard_transport_create(const struct loaded_plugin *plugin, struct services *services,
                               const struct kv_setting *settings,
                               const struct kv_transport_limits *limits,
                               const struct guard_transport_events *events, void *ctx,
                               struct guard_transport **ret_guard);

/* ret_uri: KV_URI_MAX bytes. These three: as in struct kv_transport_ops; KV_E_CLOSED after stop();
 * KV_E_CONTRACT when the plugin answered nonsense. */
int32_t guard_transport_listen(struct guard_transport *guard, const char *uri, char *ret_uri);
int32_t guard_transport_connect(struct guard_transport *guard, const char *uri, void *user,
                                struct guard_link **ret_link);
int32_t guard_transport_send(struct guard_transport *guard, struct guard_link *link,
                             const struct kv_slice *slices, uint32_t slices_len);
void guard_transport_flush(struct guard_transport *guard);

/* Also within a callback, of any link; the link is freed. */
void guard_transport_close_link(struct guard_transport *guard, struct guard_link *link);

/* Asynchronous: on_stopped follows; then guard_transport_destroy(). From here on nothing is sent
 * and no peer accepted; again: nothing. */
void guard_transport_stop(struct guard_transport *guard);

/* Frees the guard and the links that are left. A plugin that was stopped and never said on_stopped
 * is left alone with its instance (and its services, which must then stay too). NULL is fine. */
void guard_transport_destroy(struct guard_transport *guard);

/* How often the plugin broke its contract so far. Any thread. */
uint64_t guard_transport_violations(const struct guard_transport *guard);

void guard_link_set_user(struct guard_link *link, void *user);
void *guard_link_user(const struct guard_link *link);

#endif

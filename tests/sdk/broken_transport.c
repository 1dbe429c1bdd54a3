/*
 * A transport around a right one (INNER_FILE) that with -DBROKEN_... breaks the contract in one
 * way: each must make the kit fail at the right check. With BROKEN_NOTHING it must pass: it loses
 * messages, and does not claim otherwise.
 *
 * Everything but the faults is the inner plugin's; what it is called back with goes straight to the
 * host, but for on_up and on_down.
 */
#include <kvnode/transport.h>

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <uv.h>

#define BROKEN_LINKS_MAX 64u
#define BROKEN_EACH      10u /* of so many messages one has the fault */
#define BROKEN_HELD_MAX  65536u

struct broken {
    void *inner;
    const struct kv_host *host;
    const struct kv_transport_events *events;
    void *ctx;
    uint32_t sends;
    void *lost[BROKEN_LINKS_MAX]; /* users of links that went down */
    uint32_t lost_len;
    struct kv_link *held_link; /* of a message that goes at the end of the turn; NULL: none */
    size_t held_len;
    unsigned char held[BROKEN_HELD_MAX];
};

static struct kv_transport_ops broken_inner;

static int32_t broken_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    (void)settings;
    (void)settings_len;
    void *file = dlopen(INNER_FILE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct kv_plugin *plugin = file == NULL ? NULL : dlsym(file, KV_PLUGIN_SYMBOL);
    if (plugin == NULL || plugin->options_len > 16) {
        return KV_E_NOT_FOUND;
    }
    memcpy(&broken_inner, plugin->ops, sizeof(broken_inner));
    struct kv_setting given[16];
    for (uint32_t i = 0; i < plugin->options_len; i++) {
        given[i].name = plugin->options[i].name;
        given[i].value = plugin->options[i].default_value;
    }
    struct broken *broken = host->allocate(host->ctx, sizeof(*broken));
    if (broken == NULL) {
        return KV_E_NOMEM;
    }
    memset(broken, 0, sizeof(*broken));
    broken->host = host;
    int32_t status = broken_inner.create(host, given, plugin->options_len, &broken->inner);
    if (status != KV_OK) {
        host->release(host->ctx, broken);
        return status;
    }
    *ret_self = broken;
    return KV_OK;
}

static void *broken_on_accept(void *ctx, struct kv_link *link, const char *remote_uri)
{
    struct broken *broken = ctx;
    return broken->events->on_accept(broken->ctx, link, remote_uri);
}

static void broken_on_up(void *ctx, void *user)
{
    struct broken *broken = ctx;
#ifdef BROKEN_STAYS_DOWN
    for (uint32_t i = 0; i < broken->lost_len; i++) {
        if (broken->lost[i] == user) {
            return;
        }
    }
#endif
    broken->events->on_up(broken->ctx, user);
}

static void broken_on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    struct broken *broken = ctx;
    broken->events->on_message(broken->ctx, user, bytes, len);
}

static void broken_on_writable(void *ctx, void *user)
{
    struct broken *broken = ctx;
    broken->events->on_writable(broken->ctx, user);
}

static void broken_on_down(void *ctx, void *user, int32_t reason)
{
    struct broken *broken = ctx;
    if (broken->lost_len < BROKEN_LINKS_MAX) {
        broken->lost[broken->lost_len++] = user;
    }
    broken->held_link = NULL;
    broken->events->on_down(broken->ctx, user, reason);
}

static void broken_on_stopped(void *ctx)
{
    struct broken *broken = ctx;
    broken->events->on_stopped(broken->ctx);
}

static const struct kv_transport_events broken_events = {broken_on_accept,  broken_on_up,
                                                         broken_on_message, broken_on_writable,
                                                         broken_on_down,    broken_on_stopped};

static int32_t broken_start(void *self, const struct kv_transport_limits *limits,
                            const struct kv_transport_events *events, void *ctx)
{
    struct broken *broken = self;
    struct kv_transport_limits given = *limits;
    broken->events = events;
    broken->ctx = ctx;
#ifdef BROKEN_TAKES_ALL
    given.links_max = 1000;
#endif
    return broken_inner.start(broken->inner, &given, &broken_events, broken);
}

static int32_t broken_listen(void *self, const char *uri, char *ret_uri)
{
    return broken_inner.listen(((struct broken *)self)->inner, uri, ret_uri);
}

static int32_t broken_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    return broken_inner.connect(((struct broken *)self)->inner, uri, user, ret_link);
}

/* Keeps a copy for the end of the turn; false: it cannot. */
static bool broken_hold(struct broken *broken, struct kv_link *link, const struct kv_slice *slices,
                        uint32_t slices_len)
{
    size_t len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        len += slices[i].len;
    }
    if (broken->held_link != NULL || len > BROKEN_HELD_MAX) {
        return false;
    }
    broken->held_link = link;
    broken->held_len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > 0) {
            memcpy(broken->held + broken->held_len, slices[i].bytes, slices[i].len);
        }
        broken->held_len += slices[i].len;
    }
    return true;
}

static int32_t broken_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                           uint32_t slices_len)
{
    struct broken *broken = self;
    broken->sends++;
#if defined(BROKEN_REORDERS)
    if (broken->sends % BROKEN_EACH == 0 && broken_hold(broken, link, slices, slices_len)) {
        return KV_OK;
    }
#elif defined(BROKEN_LOSES) || defined(BROKEN_NOTHING)
    if (broken->sends % BROKEN_EACH == 5) {
        return KV_OK;
    }
#endif
    return broken_inner.send(broken->inner, link, slices, slices_len);
}

static void broken_flush(void *self)
{
    struct broken *broken = self;
    if (broken->held_link != NULL) {
        const struct kv_slice slice = {broken->held, broken->held_len};
        struct kv_link *link = broken->held_link;
        broken->held_link = NULL;
        broken_inner.send(broken->inner, link, &slice, 1);
    }
    broken_inner.flush(broken->inner);
}

static void broken_close_link(void *self, struct kv_link *link)
{
    struct broken *broken = self;
    broken->held_link = NULL;
    broken_inner.close_link(broken->inner, link);
}

static void broken_stop(void *self)
{
    broken_inner.stop(((struct broken *)self)->inner);
}

static void broken_destroy(void *self)
{
    struct broken *broken = self;
    broken_inner.destroy(broken->inner);
    broken->host->release(broken->host->ctx, broken);
}

static const struct kv_transport_ops broken_ops = {
    .create = broken_create,
    .start = broken_start,
    .listen = broken_listen,
    .connect = broken_connect,
    .send = broken_send,
    .flush = broken_flush,
    .close_link = broken_close_link,
    .stop = broken_stop,
    .destroy = broken_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin;

const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_transport_ops),
    .kind = KV_KIND_TRANSPORT,
#ifdef BROKEN_NOTHING
    .capabilities = KV_TRANSPORT_ORDERED,
#else
    .capabilities = KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE,
#endif
    .host_features = KV_HOST_LOOP,
    .libuv_version = UV_VERSION_HEX,
    .libuv_loop_size = sizeof(uv_loop_t),
    .name = "transport-tcp",
    .version = "1.0",
    .summary = "A transport with a fault, for the tests of kvplugin check.",
    .ops = &broken_ops,
};

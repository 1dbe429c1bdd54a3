/*
 * A transport plugin as somebody built it with the headers of ABI 1.0: one link to itself, which
 * gives each message back in a later turn of the loop.
 */
#include <kvnode/transport.h>

#include <string.h>
#include <uv.h>

#define FROZEN_LEN_MAX 100u

struct frozen {
    const struct kv_host *host;
    const struct kv_transport_events *events;
    void *ctx;
    void *user; /* of the link; NULL: there is none */
    uv_async_t turn;
    int is_up;
    uint32_t len; /* of the message that waits; 0: none */
    char message[FROZEN_LEN_MAX];
};

static void frozen_on_turn(uv_async_t *turn)
{
    struct frozen *frozen = turn->data;
    if (frozen->user == NULL) {
        return;
    }
    if (!frozen->is_up) {
        frozen->is_up = 1;
        frozen->events->on_up(frozen->ctx, frozen->user);
    } else if (frozen->len > 0) {
        uint32_t len = frozen->len;
        frozen->len = 0;
        frozen->events->on_message(frozen->ctx, frozen->user, frozen->message, len);
    }
}

static void frozen_on_closed(uv_handle_t *handle)
{
    struct frozen *frozen = handle->data;
    frozen->events->on_stopped(frozen->ctx);
}

static int32_t frozen_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    (void)settings;
    if (settings_len != 0 || host->loop == NULL) {
        return KV_E_INVALID;
    }
    struct frozen *frozen = host->allocate(host->ctx, sizeof(*frozen));
    if (frozen == NULL) {
        return KV_E_NOMEM;
    }
    memset(frozen, 0, sizeof(*frozen));
    frozen->host = host;
    *ret_self = frozen;
    return KV_OK;
}

static int32_t frozen_start(void *self, const struct kv_transport_limits *limits,
                            const struct kv_transport_events *events, void *ctx)
{
    struct frozen *frozen = self;
    if (limits->message_max > FROZEN_LEN_MAX ||
        uv_async_init(frozen->host->loop, &frozen->turn, frozen_on_turn) != 0) {
        return KV_E_INVALID;
    }
    frozen->turn.data = frozen;
    frozen->events = events;
    frozen->ctx = ctx;
    return KV_OK;
}

static int32_t frozen_listen(void *self, const char *uri, char *ret_uri)
{
    (void)self;
    memcpy(ret_uri, uri, strlen(uri) + 1);
    return KV_OK;
}

static int32_t frozen_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    struct frozen *frozen = self;
    (void)uri;
    if (frozen->user != NULL) {
        return KV_E_BUSY;
    }
    frozen->user = user;
    *ret_link = (struct kv_link *)self;
    uv_async_send(&frozen->turn);
    return KV_OK;
}

static int32_t frozen_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                           uint32_t slices_len)
{
    struct frozen *frozen = self;
    (void)link;
    if (frozen->len > 0) {
        return KV_E_BUSY;
    }
    for (uint32_t i = 0; i < slices_len; i++) {
        memcpy(frozen->message + frozen->len, slices[i].bytes, slices[i].len);
        frozen->len += (uint32_t)slices[i].len;
    }
    return KV_OK;
}

static void frozen_flush(void *self)
{
    uv_async_send(&((struct frozen *)self)->turn);
}

static void frozen_close_link(void *self, struct kv_link *link)
{
    (void)link;
    ((struct frozen *)self)->user = NULL;
}

static void frozen_stop(void *self)
{
    uv_close((uv_handle_t *)&((struct frozen *)self)->turn, frozen_on_closed);
}

static void frozen_destroy(void *self)
{
    const struct kv_host *host = ((struct frozen *)self)->host;
    host->release(host->ctx, self);
}

static const struct kv_transport_ops frozen_ops = {
    .create = frozen_create,
    .start = frozen_start,
    .listen = frozen_listen,
    .connect = frozen_connect,
    .send = frozen_send,
    .flush = frozen_flush,
    .close_link = frozen_close_link,
    .stop = frozen_stop,
    .destroy = frozen_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_transport_ops),
    .kind = KV_KIND_TRANSPORT,
    .host_features = KV_HOST_LOOP,
    .libuv_version = UV_VERSION_HEX,
    .libuv_loop_size = sizeof(uv_loop_t),
    .name = "frozen-transport",
    .version = "1.0",
    .summary = "Built with the headers of ABI 1.0.",
    .ops = &frozen_ops,
};

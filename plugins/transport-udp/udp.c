/*
 * The plugin's descriptor, the life cycle of an instance, and the endpoint's ties to the loop.
 *
 * stop() ends the links; when the endpoint has no more of them, the sockets and the two handles of
 * the instance are closed and the resolver is given up; on_stopped is called from the last of these
 * callbacks, after which the instance is not touched any more, so that the host may destroy it
 * there.
 */
#include "udp.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "common/settings.h"
#include "link.h"
#include "mtu.h"

#define UDP_OPTION_MAX 86400000 /* a day of milliseconds; keeps sums far from overflow */

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- the endpoint's ties ---- */

static void io_send(void *ctx, void *socket, const union address_socket *to, const uint8_t *header,
                    size_t header_len, const struct kv_slice *slices, uint32_t slices_len)
{
    struct udp *udp = ctx;
    outbox_add(&udp->outbox, socket, to, header, header_len, slices, slices_len);
}

static void io_commit(void *ctx)
{
    struct udp *udp = ctx;
    outbox_send(&udp->outbox);
}

static uint64_t io_random(void *ctx)
{
    uint64_t value = 0;
    (void)ctx;
    randombytes_buf(&value, sizeof value);
    return value;
}

static void io_resolve(void *ctx, struct kv_link *link, uint32_t attempt)
{
    struct udp *udp = ctx;
    resolver_ask(&udp->resolver, link, link->uri, attempt);
}

static void io_forget(void *ctx, struct kv_link *link)
{
    struct udp *udp = ctx;
    resolver_forget(&udp->resolver, link);
}

static const struct endpoint_io udp_io = {
    .send = io_send,
    .commit = io_commit,
    .random = io_random,
    .resolve = io_resolve,
    .forget = io_forget,
};

static void on_too_large(void *ctx, const union address_socket *to, uint32_t size)
{
    struct udp *udp = ctx;
    endpoint_on_too_large(&udp->endpoint, to, size, now_us());
}

static void on_answer(void *ctx, struct kv_link *link, int32_t error, const char *text,
                      const union address_socket *address)
{
    struct udp *udp = ctx;
    struct udp_socket *socket = NULL;
    if (address != NULL) {
        socket = listener_get_outgoing(udp, address->any.sa_family, &text);
        if (socket == NULL) {
            error = KV_E_IO;
            address = NULL;
        }
    }
    endpoint_on_resolved(&udp->endpoint, link, error, text, address, socket, now_us());
    udp_update(udp);
}

static void on_resolver_idle(void *ctx)
{
    udp_finish_stop(ctx);
}

/* ---- time ---- */

static void on_alarm(void *ctx)
{
    struct udp *udp = ctx;
    endpoint_on_time(&udp->endpoint, now_us());
    udp_update(udp);
    udp_finish_stop(udp);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct udp *udp = prepare->data;
    uv_prepare_stop(prepare);
    endpoint_flush(&udp->endpoint, now_us());
    udp_update(udp);
    udp_finish_stop(udp);
}

void udp_update(struct udp *udp)
{
    if (udp->is_closing) {
        return;
    }
    /* While something is to be sent in this turn, what will be due after it is not known yet: an
     * acknowledgement most often goes along with it. */
    if (endpoint_is_dirty(&udp->endpoint)) {
        uv_prepare_start(&udp->prepare, on_prepare);
    } else {
        alarm_set(&udp->alarm, endpoint_deadline_us(&udp->endpoint));
    }
}

/* ---- settings ---- */

static const struct kv_option udp_option_table[] = {
    {"connect_retry_ms", "50", "Milliseconds before the first new attempt to connect.",
     KV_OPTION_INT, 0},
    {"connect_retry_max_ms", "1000", "Milliseconds that doubling this pause ends at.",
     KV_OPTION_INT, 0},
    {"handshake_timeout_ms", "2000", "Milliseconds that a peer has to use the link it opened.",
     KV_OPTION_INT, 0},
    {"timeout_ms", "3000", "Milliseconds of silence after which a link is lost.", KV_OPTION_INT, 0},
    {"datagram_max", "16384", "Bytes of the largest datagram, if the path to the peer takes it.",
     KV_OPTION_INT, 0},
};

#define UDP_OPTIONS_LEN (sizeof udp_option_table / sizeof udp_option_table[0])

static int32_t parse_settings(struct udp *udp, const struct kv_setting *settings,
                              uint32_t settings_len)
{
    struct udp_options *options = &udp->options;
    const struct settings_number numbers[] = {
        {"connect_retry_ms", &options->connect_retry_ms, 1, UDP_OPTION_MAX},
        {"connect_retry_max_ms", &options->connect_retry_max_ms, 1, UDP_OPTION_MAX},
        {"handshake_timeout_ms", &options->handshake_timeout_ms, 1, UDP_OPTION_MAX},
        {"timeout_ms", &options->timeout_ms, 1, UDP_OPTION_MAX},
        {"datagram_max", &options->datagram_max, MTU_BASE, MTU_MAX},
    };
    int32_t status = settings_parse(udp->host, "udp", numbers, sizeof numbers / sizeof numbers[0],
                                    udp_option_table, UDP_OPTIONS_LEN, settings, settings_len);
    if (status == KV_OK && options->connect_retry_max_ms < options->connect_retry_ms) {
        log_line(udp->host, KV_LOG_ERROR, "udp: connect_retry_max_ms is below connect_retry_ms");
        status = KV_E_INVALID;
    }
    return status;
}

/* ---- the end ---- */

#define COUNTER_FORMAT_(name) " " #name "=%" PRIu64
#define COUNTER_VALUE_(name)  , c->name

static void log_counters(struct udp *udp)
{
    const struct endpoint_counters *c = &udp->endpoint.counters;
    log_line(udp->host, KV_LOG_INFO,
             "udp: stopped; calls=%" PRIu64
             " dropped=%" PRIu64 ENDPOINT_COUNTER_TABLE(COUNTER_FORMAT_),
             udp->outbox.calls, udp->outbox.dropped ENDPOINT_COUNTER_TABLE(COUNTER_VALUE_));
}

static void finish(struct udp *udp)
{
    if (udp->own_handles == 0 && list_is_empty(&udp->sockets) && resolver_is_idle(&udp->resolver) &&
        !udp->is_stopped) {
        udp->is_stopped = true;
        log_counters(udp);
        udp->events->on_stopped(udp->events_ctx);
    }
}

static void on_own_closed(void *ctx)
{
    struct udp *udp = ctx;
    udp->own_handles--;
    finish(udp);
}

static void on_prepare_closed(uv_handle_t *handle)
{
    on_own_closed(handle->data);
}

void udp_finish_stop(struct udp *udp)
{
    if (udp->is_closing) {
        finish(udp);
        return;
    }
    if (udp->is_stopping && endpoint_is_stopped(&udp->endpoint)) {
        udp->is_closing = true;
        outbox_send(&udp->outbox);
        listener_close_all(udp);
        resolver_stop(&udp->resolver);
        alarm_close(&udp->alarm);
        uv_close((uv_handle_t *)&udp->prepare, on_prepare_closed);
    }
}

/* ---- life cycle ---- */

static int32_t udp_create(const struct kv_host *host, const struct kv_setting *settings,
                          uint32_t settings_len, void **ret_self)
{
    struct udp *udp = host->allocate(host->ctx, sizeof *udp);
    if (udp == NULL) {
        return KV_E_NOMEM;
    }
    memset(udp, 0, sizeof *udp);
    udp->host = host;
    udp->loop = host->loop;
    list_init(&udp->sockets);
    int32_t status = parse_settings(udp, settings, settings_len);
    if (status != KV_OK) {
        host->release(host->ctx, udp);
        return status;
    }
    *ret_self = udp;
    return KV_OK;
}

static int32_t udp_start(void *self, const struct kv_transport_limits *limits,
                         const struct kv_transport_events *events, void *ctx)
{
    struct udp *udp = self;
    if (udp->is_started || udp->loop == NULL) {
        return KV_E_INVALID;
    }
    struct endpoint_options options = {
        .connect_retry_us = udp->options.connect_retry_ms * 1000,
        .connect_retry_max_us = udp->options.connect_retry_max_ms * 1000,
        .handshake_timeout_us = udp->options.handshake_timeout_ms * 1000,
        .timeout_us = udp->options.timeout_ms * 1000,
        .datagram_max = (uint32_t)udp->options.datagram_max,
    };
    uint8_t *buffer = udp->host->allocate(udp->host->ctx, SOCKET_RECEIVE_BYTES);
    if (buffer == NULL) {
        return KV_E_NOMEM;
    }
    int32_t status =
        endpoint_init(&udp->endpoint, udp->host, &options, limits, events, ctx, &udp_io, udp);
    if (status != KV_OK) {
        log_line(udp->host, KV_LOG_ERROR, "udp: the system gives no random numbers");
        goto out;
    }
    int error = alarm_open(&udp->alarm, udp->loop, on_alarm, on_own_closed, udp);
    if (error != 0) {
        log_line(udp->host, KV_LOG_ERROR, "udp: cannot make a timer: %s", uv_strerror(error));
        endpoint_close(&udp->endpoint);
        status = KV_E_IO;
        goto out;
    }
    udp->receive_buffer = buffer;
    udp->events = events;
    udp->events_ctx = ctx;
    outbox_init(&udp->outbox, on_too_large, udp);
    resolver_init(&udp->resolver, udp->host, on_answer, on_resolver_idle, udp);
    uv_prepare_init(udp->loop, &udp->prepare);
    udp->prepare.data = udp;
    udp->own_handles = 2;
    udp->is_started = true;
    return KV_OK;
out:
    udp->host->release(udp->host->ctx, buffer);
    return status;
}

static bool is_running(const struct udp *udp)
{
    return udp->is_started && !udp->is_stopping;
}

/* The host may call from a hook of its own in front of the loop's sleep, where ours has no turn any
 * more: then the alarm wakes the loop. */
static void update_for_host(struct udp *udp)
{
    udp_update(udp);
    if (!udp->is_closing && endpoint_is_dirty(&udp->endpoint)) {
        alarm_set(&udp->alarm, 0);
    }
}

static int32_t udp_listen(void *self, const char *uri, char *ret_uri)
{
    struct udp *udp = self;
    return is_running(udp) ? listener_open(udp, uri, ret_uri) : KV_E_CLOSED;
}

static int32_t udp_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    struct udp *udp = self;
    struct address address;
    if (!is_running(udp)) {
        return KV_E_CLOSED;
    }
    if (address_parse("udp", uri, &address) != KV_OK || address.port == 0) {
        log_line(udp->host, KV_LOG_ERROR,
                 "udp: cannot connect to %s: not of the form udp://HOST:PORT", uri);
        return KV_E_INVALID;
    }
    int32_t status = endpoint_connect(&udp->endpoint, uri, user, ret_link);
    update_for_host(udp);
    return status;
}

static int32_t udp_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                        uint32_t slices_len)
{
    struct udp *udp = self;
    return endpoint_send(&udp->endpoint, link, slices, slices_len);
}

static void udp_flush(void *self)
{
    struct udp *udp = self;
    if (udp->is_started && endpoint_is_dirty(&udp->endpoint)) {
        endpoint_flush(&udp->endpoint, now_us());
        udp_update(udp);
    }
}

static void udp_close_link(void *self, struct kv_link *link)
{
    struct udp *udp = self;
    endpoint_close_link(&udp->endpoint, link, now_us());
    update_for_host(udp);
}

static void udp_stop(void *self)
{
    struct udp *udp = self;
    if (!is_running(udp)) {
        return;
    }
    udp->is_stopping = true;
    endpoint_stop(&udp->endpoint, now_us());
    update_for_host(udp);
    udp_finish_stop(udp);
}

static void udp_destroy(void *self)
{
    struct udp *udp = self;
    if (udp->is_started) {
        endpoint_close(&udp->endpoint);
    }
    udp->host->release(udp->host->ctx, udp->receive_buffer);
    udp->host->release(udp->host->ctx, udp);
}

/* ---- descriptor ---- */

static const struct kv_transport_ops udp_ops = {
    .create = udp_create,
    .start = udp_start,
    .listen = udp_listen,
    .connect = udp_connect,
    .send = udp_send,
    .flush = udp_flush,
    .close_link = udp_close_link,
    .stop = udp_stop,
    .destroy = udp_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin;

const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_transport_ops),
    .kind = KV_KIND_TRANSPORT,
    .options_len = UDP_OPTIONS_LEN,
    .capabilities = KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE,
    .host_features = KV_HOST_LOOP,
    .libuv_version = UV_VERSION_HEX,
    .libuv_loop_size = sizeof(uv_loop_t),
    .name = "transport-udp",
    .version = "1.0",
    .summary = "Messages over UDP, in order and none lost, checked with CRC-32C.",
    .options = udp_option_table,
    .ops = &udp_ops,
};

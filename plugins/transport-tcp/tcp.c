/*
 * The plugin's descriptor, the life cycle of an instance, and what its parts share.
 *
 * stop() closes the listeners, drains the links, and when the last of them is freed closes the two
 * handles of the instance itself; on_stopped is called from the last close callback, after which
 * the instance is not touched any more, so that the host may destroy it there.
 */
#include "tcp.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "common/settings.h"
#include "link.h"
#include "listener.h"
#include "send.h"

#define TCP_OPTION_MAX    86400000 /* a day of milliseconds; keeps sums far from overflow */
#define TCP_KEEPALIVE_MAX 32767    /* what Linux takes */

/* ---- shared helpers ---- */

uint64_t tcp_get_random(struct tcp *tcp, uint64_t bound)
{
    tcp->random = tcp->random * 6364136223846793005ull + 1442695040888963407ull;
    return (tcp->random >> 33) % bound;
}

void *tcp_allocate(struct tcp *tcp, size_t size)
{
    return tcp->host->allocate(tcp->host->ctx, size);
}

void *tcp_resize(struct tcp *tcp, void *memory, size_t size)
{
    return tcp->host->resize(tcp->host->ctx, memory, size);
}

void tcp_release(struct tcp *tcp, void *memory)
{
    tcp->host->release(tcp->host->ctx, memory);
}

/* ---- settings ---- */

static const struct kv_option tcp_option_table[] = {
    {"connect_retry_ms", "50", "Milliseconds before the first new attempt to connect.",
     KV_OPTION_INT, 0},
    {"connect_retry_max_ms", "1000", "Milliseconds that doubling this pause ends at.",
     KV_OPTION_INT, 0},
    {"connect_timeout_ms", "1000",
     "Milliseconds until an unanswered attempt to connect is given up.", KV_OPTION_INT, 0},
    {"handshake_timeout_ms", "2000", "Milliseconds that a peer has to say who it is.",
     KV_OPTION_INT, 0},
    {"keepalive_s", "15", "Seconds of silence before TCP probes a peer; 0: never.", KV_OPTION_INT,
     0},
};

#define TCP_OPTIONS_LEN (sizeof tcp_option_table / sizeof tcp_option_table[0])

static int32_t parse_settings(struct tcp *tcp, const struct kv_setting *settings,
                              uint32_t settings_len)
{
    struct tcp_options *options = &tcp->options;
    const struct settings_number numbers[] = {
        {"connect_retry_ms", &options->connect_retry_ms, 1, TCP_OPTION_MAX},
        {"connect_retry_max_ms", &options->connect_retry_max_ms, 1, TCP_OPTION_MAX},
        {"connect_timeout_ms", &options->connect_timeout_ms, 1, TCP_OPTION_MAX},
        {"handshake_timeout_ms", &options->handshake_timeout_ms, 1, TCP_OPTION_MAX},
        {"keepalive_s", &options->keepalive_s, 0, TCP_KEEPALIVE_MAX},
    };
    int32_t status = settings_parse(tcp->host, "tcp", numbers, sizeof numbers / sizeof numbers[0],
                                    tcp_option_table, TCP_OPTIONS_LEN, settings, settings_len);
    if (status == KV_OK && options->connect_retry_max_ms < options->connect_retry_ms) {
        log_line(tcp->host, KV_LOG_ERROR, "tcp: connect_retry_max_ms is below connect_retry_ms");
        status = KV_E_INVALID;
    }
    return status;
}

/* ---- life cycle ---- */

static int32_t tcp_create(const struct kv_host *host, const struct kv_setting *settings,
                          uint32_t settings_len, void **ret_self)
{
    struct tcp *tcp = host->allocate(host->ctx, sizeof *tcp);
    if (tcp == NULL) {
        return KV_E_NOMEM;
    }
    memset(tcp, 0, sizeof *tcp);
    tcp->host = host;
    tcp->loop = host->loop;
    tcp->random = uv_hrtime() ^ (uint64_t)(uintptr_t)tcp;
    list_init(&tcp->links);
    list_init(&tcp->listeners);
    list_init(&tcp->unflushed);
    list_init(&tcp->deferred);
    int32_t status = parse_settings(tcp, settings, settings_len);
    if (status != KV_OK) {
        host->release(host->ctx, tcp);
        return status;
    }
    *ret_self = tcp;
    return KV_OK;
}

/* libuv writes with write(): a peer that is gone would end the process where nobody has decided
 * about SIGPIPE. */
static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 &&
        action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

static int32_t tcp_start(void *self, const struct kv_transport_limits *limits,
                         const struct kv_transport_events *events, void *ctx)
{
    struct tcp *tcp = self;
    if (tcp->is_started || tcp->loop == NULL) {
        return KV_E_INVALID;
    }
    tcp->read_buffer = tcp_allocate(tcp, TCP_READ_BUFFER_LEN);
    if (tcp->read_buffer == NULL) {
        return KV_E_NOMEM;
    }
    tcp->limits = *limits;
    tcp->events = events;
    tcp->events_ctx = ctx;
    uv_idle_init(tcp->loop, &tcp->deferred_idle);
    uv_timer_init(tcp->loop, &tcp->accept_timer);
    tcp->deferred_idle.data = tcp;
    tcp->accept_timer.data = tcp;
    tcp->own_handles = 2;
    tcp->is_started = true;
    ignore_sigpipe();
    return KV_OK;
}

static int32_t tcp_listen(void *self, const char *uri, char *ret_uri)
{
    struct tcp *tcp = self;
    return tcp->is_started && !tcp->is_stopping ? listener_open(tcp, uri, ret_uri) : KV_E_CLOSED;
}

static int32_t tcp_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    struct tcp *tcp = self;
    return tcp->is_started && !tcp->is_stopping ? link_connect(tcp, uri, user, ret_link)
                                                : KV_E_CLOSED;
}

static int32_t tcp_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                        uint32_t slices_len)
{
    (void)self;
    return send_message(link, slices, slices_len);
}

static void tcp_flush(void *self)
{
    send_flush(self);
}

static void tcp_close_link(void *self, struct kv_link *link)
{
    (void)self;
    link_close(link);
}

static void log_counters(struct tcp *tcp)
{
    const struct tcp_counters *c = &tcp->counters;
    log_line(tcp->host, KV_LOG_INFO,
             "tcp: stopped; accepted=%" PRIu64 " connected=%" PRIu64 " refused=%" PRIu64
             " malformed=%" PRIu64 " version=%" PRIu64 " too_large=%" PRIu64
             " handshake_timeouts=%" PRIu64 " accept_failures=%" PRIu64 " messages_sent=%" PRIu64
             " messages_received=%" PRIu64 " writes=%" PRIu64 " reads=%" PRIu64,
             c->accepted, c->connected, c->refused, c->malformed, c->version, c->too_large,
             c->handshake_timeouts, c->accept_failures, c->messages_sent, c->messages_received,
             c->writes, c->reads);
}

static void on_own_closed(uv_handle_t *handle)
{
    struct tcp *tcp = handle->data;
    tcp->own_handles--;
    if (tcp->own_handles == 0) {
        log_counters(tcp);
        tcp->events->on_stopped(tcp->events_ctx);
    }
}

void tcp_finish_stop(struct tcp *tcp)
{
    uv_handle_t *idle = (uv_handle_t *)&tcp->deferred_idle;
    if (tcp->is_stopping && list_is_empty(&tcp->links) && list_is_empty(&tcp->listeners) &&
        !uv_is_closing(idle)) {
        uv_close(idle, on_own_closed);
        uv_close((uv_handle_t *)&tcp->accept_timer, on_own_closed);
    }
}

static void tcp_stop(void *self)
{
    struct tcp *tcp = self;
    if (!tcp->is_started || tcp->is_stopping) {
        return;
    }
    tcp->is_stopping = true;
    uv_timer_stop(&tcp->accept_timer);
    for (struct list *at = tcp->listeners.next; at != &tcp->listeners; at = at->next) {
        listener_close(LIST_ENTRY(at, listener, node));
    }
    for (struct list *at = tcp->links.next; at != &tcp->links; at = at->next) {
        link_stop(LIST_ENTRY(at, kv_link, links_node));
    }
    tcp_finish_stop(tcp);
}

static void tcp_destroy(void *self)
{
    struct tcp *tcp = self;
    tcp_release(tcp, tcp->read_buffer);
    tcp_release(tcp, tcp);
}

/* ---- descriptor ---- */

static const struct kv_transport_ops tcp_ops = {
    .create = tcp_create,
    .start = tcp_start,
    .listen = tcp_listen,
    .connect = tcp_connect,
    .send = tcp_send,
    .flush = tcp_flush,
    .close_link = tcp_close_link,
    .stop = tcp_stop,
    .destroy = tcp_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin;

const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_transport_ops),
    .kind = KV_KIND_TRANSPORT,
    .options_len = TCP_OPTIONS_LEN,
    .capabilities = KV_TRANSPORT_ORDERED | KV_TRANSPORT_RELIABLE,
    .host_features = KV_HOST_LOOP,
    .libuv_version = UV_VERSION_HEX,
    .libuv_loop_size = sizeof(uv_loop_t),
    .name = "transport-tcp",
    .version = "1.0",
    .summary = "Messages over TCP connections, framed and checked with CRC-32C.",
    .options = tcp_option_table,
    .ops = &tcp_ops,
};

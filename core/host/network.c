#include "host/network.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/status.h"
#include "host/guard_transport.h"
#include "host/links.h"
#include "host/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Losses are logged at most this often; the pause doubles while they go on. */
#define NETWORK_REPORT_MIN_MS 1000u
#define NETWORK_REPORT_MAX_MS 64000u

/* So many addresses that lead nowhere are remembered, so that each is told once only: the logic
 * tries them again and again. */
#define NETWORK_TOLD_MAX 64u

/* X(name): totals since the start. */
#define NETWORK_COUNTER_TABLE(X)                                                 \
    X(sends_down)      /* messages for a link that is down or gone */            \
    X(sends_full)      /* messages for an opened link whose queue is full */     \
    X(sends_too_large) /* messages that the transport does not take */           \
    X(links_full)      /* accepted links ended because their queue was full */   \
    X(links_refused)   /* peers turned away: limits.links */                     \
    X(links_malformed) /* links that a transport ended for what the peer sent */ \
    X(links_too_large) /* the same for a message above the limit */

#define NETWORK_MEMBER_(name) uint64_t name;
struct network_counters {
    NETWORK_COUNTER_TABLE(NETWORK_MEMBER_)
};
#undef NETWORK_MEMBER_

struct network_transport {
    struct network *network;
    const struct plugin *plugin;
    const struct config_transport *config;
    struct services *services;
    struct guard_transport *guard;
    bool is_running;
};

struct network {
    uv_loop_t *loop;
    const struct config *config;
    const struct plugins *plugins;
    uint32_t message_max;
    struct network_events events;
    void *ctx;
    struct network_transport transports[CONFIG_TRANSPORTS_MAX];
    uint32_t transports_len;
    struct links links;
    uint64_t *ended; /* accepted links that network_send() ended, for network_take_ended() */
    uint32_t ended_len;
    uint32_t ended_capacity;
    struct network_counters counters;
    struct network_counters reported;
    uint64_t reported_ms;
    uint32_t report_pause_ms;
    uint64_t told[NETWORK_TOLD_MAX]; /* hashes; a ring */
    uint32_t told_count;
    bool is_stopping;
};

/* --- what transports tell --- */

static bool network_on_accept(void *ctx, struct guard_link *guard_link, const char *remote_uri)
{
    struct network_transport *transport = ctx;
    struct network *network = transport->network;
    struct link *link = links_accept(&network->links, transport->guard, guard_link);
    if (link == NULL) {
        network->counters.links_refused++;
        return false;
    }
    guard_link_set_user(guard_link, link);
    log_event(KV_LOG_DEBUG, "network", "link-accepted link=%" PRIx64 " from=%s", link->number,
              remote_uri);
    return true;
}

static void network_on_up(void *ctx, struct guard_link *guard_link)
{
    struct network_transport *transport = ctx;
    struct link *link = guard_link_user(guard_link);
    log_event(KV_LOG_DEBUG, "network", "link-up link=%" PRIx64, link->number);
    transport->network->events.on_up(transport->network->ctx, link->number);
}

static void network_on_message(void *ctx, struct guard_link *guard_link, const void *bytes,
                               uint32_t len)
{
    struct network_transport *transport = ctx;
    struct link *link = guard_link_user(guard_link);
    transport->network->events.on_message(transport->network->ctx, link->number, bytes, len);
}

static void network_on_writable(void *ctx, struct guard_link *guard_link)
{
    /* Nothing waits for it: what did not fit was dropped, and the logic sends it again. */
    (void)ctx;
    (void)guard_link;
}

static void network_on_down(void *ctx, struct guard_link *guard_link, int32_t reason)
{
    struct network_transport *transport = ctx;
    struct network *network = transport->network;
    struct link *link = guard_link_user(guard_link);
    uint64_t number = link->number;
    network->counters.links_malformed += reason == KV_E_MALFORMED;
    network->counters.links_too_large += reason == KV_E_TOO_LARGE;
    log_event(KV_LOG_DEBUG, "network", "link-down link=%" PRIx64 " reason=%s", number,
              status_name(reason));
    if (link_is_accepted(link)) {
        links_remove(&network->links, link);
    }
    network->events.on_down(network->ctx, number);
}

static void network_on_stopped(void *ctx)
{
    struct network_transport *transport = ctx;
    struct network *network = transport->network;
    transport->is_running = false;
    if (network_is_stopped(network)) {
        network->events.on_stopped(network->ctx);
    }
}

static const struct guard_transport_events network_guard_events = {
    .on_accept = network_on_accept,
    .on_up = network_on_up,
    .on_message = network_on_message,
    .on_writable = network_on_writable,
    .on_down = network_on_down,
    .on_stopped = network_on_stopped,
};

/* --- life --- */

struct network *network_create(uv_loop_t *loop, const struct config *config,
                               const struct plugins *plugins, uint32_t message_max,
                               const struct network_events *events, void *ctx)
{
    KV_CHECK(plugins->transports_len == config->transports_len);
    struct network *network = alloc_zeroed(1, sizeof(*network));
    network->loop = loop;
    network->config = config;
    network->plugins = plugins;
    network->message_max = message_max;
    network->events = *events;
    network->ctx = ctx;
    network->report_pause_ms = NETWORK_REPORT_MIN_MS;
    network->transports_len = plugins->transports_len;
    for (uint32_t i = 0; i < network->transports_len; i++) {
        struct network_transport *transport = &network->transports[i];
        transport->network = network;
        transport->plugin = &plugins->transports[i];
        transport->config = &config->transports[i];
        transport->services =
            services_create(transport->plugin->loaded->descriptor.name, loop, log_plugin, NULL);
    }
    links_init(&network->links, config->limits_links);
    return network;
}

/* The reason that the plugin logged, or the code's own text. */
static void network_explain(const struct network_transport *transport, int32_t status,
                            char *ret_reason, size_t size)
{
    services_last_error(transport->services, ret_reason, size);
    if (ret_reason[0] == '\0') {
        snprintf(ret_reason, size, "%s", status_text(status));
    }
}

int32_t network_start(struct network *network, char *ret_error)
{
    struct kv_transport_limits limits = {
        .message_max = network->message_max,
        .links_max = network->config->limits_links,
        .queue_bytes_max = network->config->limits_queue_bytes,
    };
    for (uint32_t i = 0; i < network->transports_len; i++) {
        struct network_transport *transport = &network->transports[i];
        int32_t status = guard_transport_create(
            transport->plugin->loaded, transport->services, transport->plugin->settings, &limits,
            &network_guard_events, transport, &transport->guard);
        if (status != KV_OK) {
            char reason[LOADER_ERROR_MAX];
            char where[256];
            network_explain(transport, status, reason, sizeof(reason));
            config_where(network->config, &transport->config->plugin,
                         transport->config->plugin.settings_len, where, sizeof(where));
            snprintf(ret_error, PLUGINS_ERROR_MAX, "%s: plugin %s does not start: %s", where,
                     transport->plugin->loaded->descriptor.name, reason);
            return status;
        }
        transport->is_running = true;
    }
    return KV_OK;
}

/* Others are told this very text as the node's address, so it must lead here from their side. */
static void network_warn_of_wildcard(const char *uri)
{
    if (strstr(uri, "://0.0.0.0:") != NULL || strstr(uri, "://[::]:") != NULL) {
        log_event(KV_LOG_WARN, "network",
                  "listen-any uri=%s help=\"other nodes and clients are told this very address and "
                  "cannot reach it: listen on an address that they can connect to\"",
                  uri);
    }
}

int32_t network_listen(struct network *network, struct network_uris *ret_uris, char *ret_error)
{
    struct network_uris uris = {0};
    for (uint32_t i = 0; i < network->transports_len; i++) {
        struct network_transport *transport = &network->transports[i];
        for (uint32_t u = 0; u < transport->config->uris_len; u++) {
            const char *uri = transport->config->uris[u];
            KV_CHECK(uris.len < URIS_MAX);
            services_clear_error(transport->services);
            int32_t status = guard_transport_listen(transport->guard, uri, uris.uris[uris.len]);
            if (status != KV_OK) {
                char reason[LOADER_ERROR_MAX];
                network_explain(transport, status, reason, sizeof(reason));
                if (status == KV_E_EXISTS) {
                    snprintf(reason, sizeof(reason), "the address is in use by another process");
                }
                /* Most plugins say at which address, too. */
                bool is_whole = strstr(reason, uri) != NULL;
                snprintf(ret_error, PLUGINS_ERROR_MAX, "%s%s%s%s",
                         is_whole ? "" : "cannot listen on ", is_whole ? "" : uri,
                         is_whole ? "" : ": ", reason);
                return status;
            }
            network_warn_of_wildcard(uris.uris[uris.len]);
            uris.len++;
        }
    }
    *ret_uris = uris;
    return KV_OK;
}

/* --- links --- */

static struct network_transport *network_transport_for(struct network *network, const char *uri)
{
    for (uint32_t i = 0; i < network->transports_len; i++) {
        if (plugins_serves(network->transports[i].plugin->loaded, uri)) {
            return &network->transports[i];
        }
    }
    return NULL;
}

/* The level of a line about these addresses: the second one is for debugging. */
static uint32_t network_level(struct network *network, const char *addresses)
{
    uint64_t hash = hash_bytes(addresses, strlen(addresses));
    for (uint32_t i = 0; i < NETWORK_TOLD_MAX && i < network->told_count; i++) {
        if (network->told[i] == hash) {
            return KV_LOG_DEBUG;
        }
    }
    network->told[network->told_count++ % NETWORK_TOLD_MAX] = hash;
    return KV_LOG_WARN;
}

/* False when no transport serves the address, or the one that does cannot make out what it says. */
static bool network_open_at(struct network *network, uint64_t number, const char *uri)
{
    struct network_transport *transport = network_transport_for(network, uri);
    if (transport == NULL) {
        return false;
    }
    struct link *link = links_open(&network->links, number, transport->guard);
    int32_t status = guard_transport_connect(transport->guard, uri, link, &link->guard);
    if (status != KV_OK) {
        char quoted[LOG_QUOTED_MAX];
        log_event(network_level(network, uri), "network",
                  "address-refused uri=\"%s\" reason=\"%s\"", log_quote(uri, quoted),
                  status_text(status));
        links_remove(&network->links, link);
        return false;
    }
    log_event(KV_LOG_DEBUG, "network", "link-opened link=%" PRIx64 " uri=%s", number, uri);
    return true;
}

static void network_note_impossible(struct network *network, const char *const *uris,
                                    uint32_t uris_len)
{
    char addresses[URIS_MAX * (URI_MAX + 1)];
    char schemes[PLUGINS_SCHEMES_MAX];
    char quoted[LOG_QUOTED_MAX];
    size_t len = 0;
    for (uint32_t i = 0; i < uris_len; i++) {
        len += (size_t)snprintf(addresses + len, sizeof(addresses) - len, "%s%s", i == 0 ? "" : ",",
                                uris[i]);
    }
    log_event(network_level(network, addresses), "network",
              "link-impossible uris=\"%s\" schemes=%s reason=\"no transport of this node serves "
              "any of these addresses\"",
              log_quote(addresses, quoted), plugins_schemes(network->plugins, schemes));
}

void network_open(struct network *network, uint64_t number, const char *const *uris,
                  uint32_t uris_len)
{
    KV_CHECK(uris_len >= 1 && uris_len <= URIS_MAX);
    for (uint32_t i = 0; i < uris_len; i++) {
        if (network_open_at(network, number, uris[i])) {
            return;
        }
    }
    network_note_impossible(network, uris, uris_len);
}

void network_close_link(struct network *network, uint64_t number)
{
    struct link *link = links_find(&network->links, number);
    if (link == NULL) {
        return;
    }
    guard_transport_close_link(link->transport, link->guard);
    links_remove(&network->links, link);
}

static void network_end_full_link(struct network *network, uint64_t number)
{
    network->counters.links_full++;
    network_close_link(network, number);
    if (network->ended_len == network->ended_capacity) {
        network->ended_capacity = network->ended_capacity == 0 ? 16 : network->ended_capacity * 2;
        network->ended =
            alloc_resize(network->ended, network->ended_capacity * sizeof(*network->ended));
    }
    network->ended[network->ended_len++] = number;
}

void network_send(struct network *network, uint64_t number, const struct kv_slice *slices,
                  uint32_t slices_len)
{
    struct link *link = links_find(&network->links, number);
    if (link == NULL) {
        network->counters.sends_down++;
        return;
    }
    int32_t status = guard_transport_send(link->transport, link->guard, slices, slices_len);
    if (status == KV_OK) {
        return;
    }
    if (status == KV_E_BUSY && link_is_accepted(link)) {
        network_end_full_link(network, number);
    } else if (status == KV_E_BUSY) {
        network->counters.sends_full++;
    } else if (status == KV_E_TOO_LARGE) {
        network->counters.sends_too_large++;
    } else {
        network->counters.sends_down++;
    }
}

bool network_take_ended(struct network *network, uint64_t *ret_number)
{
    if (network->ended_len == 0) {
        return false;
    }
    *ret_number = network->ended[--network->ended_len];
    return true;
}

/* --- turns --- */

#define NETWORK_FORMAT_(name)   " " #name "=%" PRIu64
#define NETWORK_ARGUMENT_(name) , counters->name

static void network_report(struct network *network)
{
    const struct network_counters *counters = &network->counters;
    if (memcmp(counters, &network->reported, sizeof(*counters)) == 0) {
        return;
    }
    uint64_t now_ms = uv_now(network->loop);
    uint64_t quiet_ms = now_ms - network->reported_ms;
    if (quiet_ms < network->report_pause_ms && !network->is_stopping) {
        return;
    }
    struct network_counters known = network->reported;
    known.sends_down = counters->sends_down;
    /* A peer that is away is told of where it matters; the messages to it are no news. */
    bool is_usual = memcmp(counters, &known, sizeof(known)) == 0;
    uint32_t longer_ms = network->report_pause_ms * 2;
    network->report_pause_ms = quiet_ms > NETWORK_REPORT_MAX_MS    ? NETWORK_REPORT_MIN_MS
                               : longer_ms < NETWORK_REPORT_MAX_MS ? longer_ms
                                                                   : NETWORK_REPORT_MAX_MS;
    network->reported = *counters;
    network->reported_ms = now_ms;
    log_event(is_usual ? KV_LOG_INFO : KV_LOG_WARN, "network",
              "losses" NETWORK_COUNTER_TABLE(NETWORK_FORMAT_)
                  NETWORK_COUNTER_TABLE(NETWORK_ARGUMENT_));
}

#undef NETWORK_FORMAT_
#undef NETWORK_ARGUMENT_

void network_flush(struct network *network)
{
    for (uint32_t i = 0; i < network->transports_len; i++) {
        if (network->transports[i].is_running) {
            guard_transport_flush(network->transports[i].guard);
        }
    }
    network_report(network);
}

void network_stop(struct network *network)
{
    KV_CHECK(!network->is_stopping);
    network_flush(network);
    network->is_stopping = true;
    network_report(network);
    for (uint32_t i = 0; i < network->transports_len; i++) {
        if (network->transports[i].is_running) {
            guard_transport_stop(network->transports[i].guard);
        }
    }
}

bool network_is_stopped(const struct network *network)
{
    bool is_running = false;
    for (uint32_t i = 0; i < network->transports_len; i++) {
        is_running = is_running || network->transports[i].is_running;
    }
    return network->is_stopping && !is_running;
}

void network_destroy(struct network *network)
{
    if (network == NULL) {
        return;
    }
    for (uint32_t i = 0; i < network->transports_len; i++) {
        guard_transport_destroy(network->transports[i].guard);
        services_destroy(network->transports[i].services);
    }
    links_close(&network->links);
    alloc_free(network->ended);
    alloc_free(network);
}

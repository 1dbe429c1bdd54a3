#include "client_state.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* Bytes that wait to be sent on one link; more stay in the client's queues. */
#define CARRIER_QUEUE_BYTES_MAX (8ull * 1024u * 1024u)

static bool carrier_on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    (void)ctx;
    (void)link;
    (void)remote_uri;
    return false; /* a client listens nowhere */
}

static void carrier_on_up(void *ctx, struct guard_link *link)
{
    (void)ctx;
    peer_on_up(guard_link_user(link));
}

static void carrier_on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    (void)ctx;
    answer_on_message(guard_link_user(link), bytes, len);
}

static void carrier_on_writable(void *ctx, struct guard_link *link)
{
    (void)ctx;
    peer_on_writable(guard_link_user(link));
}

static void carrier_on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)ctx;
    peer_on_down(guard_link_user(link), reason);
}

static void carrier_on_stopped(void *ctx)
{
    struct carrier *carrier = ctx;
    carrier->is_stopped = true;
    client_on_carrier_stopped(carrier->client);
}

/* What a transport logs may be the reason why a link does not come up. A plugin may log from any
 * thread; the client's state is the loop's only. */
static void carrier_on_log(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    struct kv_client *client = ctx;
    (void)plugin;
    (void)level;
    const uv_thread_t self = uv_thread_self();
    if (!uv_thread_equal(&self, &client->thread) || client->is_closing) {
        return;
    }
    peer_on_log(&client->arbiter, text);
    for (struct list *at = client->peers.next; at != &client->peers; at = at->next) {
        peer_on_log(LIST_ENTRY(at, struct peer, link), text);
    }
}

/* Letters and digits only: the scheme becomes part of a file name. 0: not an address. */
static size_t carrier_scheme_len(const char *uri)
{
    size_t len = 0;
    while ((uri[len] >= 'a' && uri[len] <= 'z') || (uri[len] >= '0' && uri[len] <= '9')) {
        len++;
    }
    bool is_address = len <= CARRIER_SCHEME_MAX && strncmp(uri + len, "://", 3) == 0;
    return is_address ? len : 0;
}

static int32_t carrier_start(struct carrier *carrier)
{
    static const struct guard_transport_events events = {
        .on_accept = carrier_on_accept,
        .on_up = carrier_on_up,
        .on_message = carrier_on_message,
        .on_writable = carrier_on_writable,
        .on_down = carrier_on_down,
        .on_stopped = carrier_on_stopped,
    };
    const struct kv_transport_limits limits = {
        .message_max = CLIENT_PAYLOAD_MAX + MESSAGE_OVERHEAD_MAX,
        .links_max = 1,
        .queue_bytes_max = CARRIER_QUEUE_BYTES_MAX,
    };
    struct kv_client *client = carrier->client;
    char name[sizeof("transport-") + CARRIER_SCHEME_MAX];
    snprintf(name, sizeof(name), "transport-%s", carrier->scheme);
    struct kv_setting *settings = NULL;
    uint32_t given_index = 0;
    int32_t status = loader_load(name, client->plugin_folder, KV_KIND_TRANSPORT, &carrier->plugin,
                                 carrier->error);
    if (status != KV_OK) {
        goto out;
    }
    status = loader_settings(carrier->plugin, NULL, 0, &settings, &given_index, carrier->error);
    if (status != KV_OK) {
        goto out;
    }
    carrier->services = services_create(name, client->loop, carrier_on_log, client);
    status = guard_transport_create(carrier->plugin, carrier->services, settings, &limits, &events,
                                    carrier, &carrier->guard);
    if (status != KV_OK) {
        char said[LOADER_ERROR_MAX / 2u];
        services_last_error(carrier->services, said, sizeof(said));
        snprintf(carrier->error, sizeof(carrier->error), "%s does not start: %s", name,
                 said[0] != '\0' ? said : status_text(status));
    }
out:
    loader_settings_free(settings);
    return status;
}

struct carrier *carrier_get(struct kv_client *client, const char *uri, int32_t *ret_status)
{
    size_t len = carrier_scheme_len(uri);
    if (len == 0) {
        *ret_status = KV_E_INVALID;
        return NULL;
    }
    for (struct list *at = client->carriers.next; at != &client->carriers; at = at->next) {
        struct carrier *carrier = LIST_ENTRY(at, struct carrier, link);
        if (strlen(carrier->scheme) == len && memcmp(carrier->scheme, uri, len) == 0) {
            *ret_status = carrier->guard != NULL ? KV_OK : KV_E_NOT_FOUND;
            return carrier;
        }
    }
    struct carrier *carrier = alloc_zeroed(1, sizeof(*carrier));
    carrier->client = client;
    memcpy(carrier->scheme, uri, len);
    *ret_status = carrier_start(carrier);
    list_append(&client->carriers, &carrier->link);
    return carrier;
}

void carrier_destroy(struct carrier *carrier)
{
    list_remove(&carrier->link);
    if (carrier->guard != NULL) {
        guard_transport_destroy(carrier->guard);
    }
    services_destroy(carrier->services);
    if (carrier->plugin != NULL) {
        loader_release(carrier->plugin);
    }
    alloc_free(carrier);
}

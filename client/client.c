/*
 * The client's life and its turn. A kv_client_ call only queues and wakes; everything else happens
 * in callbacks of the loop: messages (answer.c), deadlines (the tick), and the turn, which sends
 * what can be sent and flushes each transport once.
 * Closing: the turn answers what is outstanding with KV_E_CLOSED and stops the transports; when the
 * last has stopped the two handles are closed; when the last is closed all is freed.
 */
#include "client_state.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CLIENT_TIMEOUT_MS         2000u
#define CLIENT_INFLIGHT_MAX       65536u
#define CLIENT_INFLIGHT_BYTES_MAX (64ull * 1024ull * 1024ull)
#define CLIENT_INFLIGHT_MAX_MAX   (1u << 24)

uint64_t client_now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

void client_note_position(struct kv_client *client, struct kv_position position)
{
    if (position.index > client->position.index) {
        client->position = position;
    }
}

/* ---- the turn ---- */

/* Puts each request for a named node to that node's queue, or asks the arbiter once whether there
 * is such a node. */
static void client_resolve(struct kv_client *client)
{
    struct request *request = queue_first(&client->lookups);
    while (request != NULL && !client->is_closing) {
        const struct member *member = view_find_name(client->view, request->node);
        list_remove(&request->in_queue);
        if (!view_name_valid(request->node, strlen(request->node))) {
            request_fail(client, request, KV_E_NOT_FOUND, "no node can have this name");
        } else if (request_is_command(request)) {
            queue_push(&client->arbiter.queue, request); /* the arbiter knows best */
        } else if (member != NULL) {
            queue_push(&peer_get(client, member)->queue, request);
        } else if (request->unknown_since != 0 &&
                   client->locate.answered >= request->unknown_since) {
            request_fail(client, request, KV_E_NOT_FOUND, "no node %s in view %llu", request->node,
                         (unsigned long long)client->view->number);
        } else {
            if (request->unknown_since == 0) {
                request->unknown_since = client->locate.sent_len + 1u;
            }
            list_append(&client->unknown, &request->in_queue);
            if (client->locate.sent_len < request->unknown_since) {
                locate_want(client);
            }
        }
        request = queue_first(&client->lookups);
    }
}

static void client_drain(struct kv_client *client)
{
    peer_drain(&client->arbiter, &client->arbiter.queue);
    if (client->primary == NULL && queue_first(&client->primary_queue) != NULL) {
        const struct member *primary = locate_primary(client);
        client->primary = primary == NULL ? NULL : peer_get(client, primary);
    }
    if (client->primary != NULL) {
        peer_drain(client->primary, &client->primary_queue);
    }
    for (struct list *at = client->peers.next; at != &client->peers; at = at->next) {
        struct peer *peer = LIST_ENTRY(at, struct peer, link);
        if (!peer->is_orphan) {
            peer_drain(peer, &peer->queue);
        }
    }
}

/* Nodes that left the view: looks their waiting requests up anew, and closes the link once nothing
 * sent on it is unanswered. */
static void client_sweep(struct kv_client *client)
{
    struct list *at = client->peers.next;
    while (at != &client->peers) {
        struct peer *peer = LIST_ENTRY(at, struct peer, link);
        at = at->next;
        if (!peer->is_orphan) {
            continue;
        }
        struct request *request = queue_first(&peer->queue);
        while (request != NULL) {
            list_remove(&request->in_queue);
            queue_push(&client->lookups, request);
            client_wake(client);
            request = queue_first(&peer->queue);
        }
        if (list_is_empty(&peer->sent)) {
            KV_CHECK(client->primary != peer);
            locate_on_down(client, peer);
            peer_close(peer);
            alloc_free(peer);
        }
    }
}

static void client_flush(struct kv_client *client)
{
    for (struct list *at = client->carriers.next; at != &client->carriers; at = at->next) {
        struct carrier *carrier = LIST_ENTRY(at, struct carrier, link);
        if (carrier->needs_flush) {
            carrier->needs_flush = false;
            guard_transport_flush(carrier->guard);
        }
    }
}

/* ---- closing ---- */

static void client_free(struct kv_client *client)
{
    while (!list_is_empty(&client->peers)) {
        struct peer *peer = LIST_ENTRY(client->peers.next, struct peer, link);
        peer->guard_link = NULL; /* ended with its transport */
        peer_close(peer);
        alloc_free(peer);
    }
    client->arbiter.guard_link = NULL;
    peer_close(&client->arbiter);
    while (!list_is_empty(&client->carriers)) {
        carrier_destroy(LIST_ENTRY(client->carriers.next, struct carrier, link));
    }
    table_close(&client->table);
    wheel_close(&client->wheel);
    arena_close(&client->arena);
    alloc_free(client->scratch);
    alloc_free(client->view);
    alloc_free(client->arbiter_uri);
    alloc_free(client->plugin_folder);
    alloc_free(client);
}

static void client_on_handle_closed(uv_handle_t *handle)
{
    struct kv_client *client = handle->data;
    client->handles--;
    if (client->handles == 0) {
        if (client->on_closed != NULL) {
            client->on_closed(client->closed_ctx);
        }
        client_free(client);
    }
}

void client_on_carrier_stopped(struct kv_client *client)
{
    for (struct list *at = client->carriers.next; at != &client->carriers; at = at->next) {
        struct carrier *carrier = LIST_ENTRY(at, struct carrier, link);
        if (carrier->guard != NULL && !carrier->is_stopped) {
            return;
        }
    }
    uv_close((uv_handle_t *)&client->turn, client_on_handle_closed);
    uv_close((uv_handle_t *)&client->tick, client_on_handle_closed);
}

static void client_stop(struct kv_client *client)
{
    if (client->is_stopping) {
        return;
    }
    client->is_stopping = true;
    struct wheel_entry *entry = wheel_take(&client->wheel);
    while (entry != NULL) {
        request_fail(client, LIST_ENTRY(entry, struct request, in_wheel), KV_E_CLOSED,
                     "the client was closed");
        entry = wheel_take(&client->wheel);
    }
    uv_timer_stop(&client->tick);
    for (struct list *at = client->carriers.next; at != &client->carriers; at = at->next) {
        struct carrier *carrier = LIST_ENTRY(at, struct carrier, link);
        if (carrier->guard != NULL) {
            guard_transport_stop(carrier->guard);
        }
    }
}

/* ---- the loop's callbacks ---- */

static void client_run(struct kv_client *client)
{
    if (client->is_closing) {
        client_stop(client);
        return;
    }
    client->now_ms = client_now_ms();
    client_resolve(client);
    locate_step(client);
    client_drain(client);
    client_sweep(client);
    client_flush(client);
}

static void client_on_turn(uv_idle_t *handle)
{
    uv_idle_stop(handle);
    client_run(handle->data);
}

static void client_on_expired(void *ctx, struct wheel_entry *entry)
{
    request_expire(ctx, LIST_ENTRY(entry, struct request, in_wheel));
}

static void client_on_tick(uv_timer_t *handle)
{
    struct kv_client *client = handle->data;
    client->now_ms = client_now_ms();
    wheel_advance(&client->wheel, client->now_ms, client_on_expired, client);
    if (client->inflight == 0) {
        uv_timer_stop(handle);
    }
    client_run(client);
}

void client_wake(struct kv_client *client)
{
    if (!client->is_stopping) {
        uv_idle_start(&client->turn, client_on_turn);
    }
}

void client_start_tick(struct kv_client *client)
{
    if (!uv_is_active((uv_handle_t *)&client->tick)) {
        uv_timer_start(&client->tick, client_on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    }
}

/* ---- making one ---- */

static uint64_t client_draw_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        ssize_t got = getrandom(&id, sizeof(id), 0);
        KV_CHECK(got == (ssize_t)sizeof(id) || (got < 0 && errno == EINTR));
    }
    return id;
}

static struct kv_client *client_alloc(struct uv_loop_s *loop,
                                      const struct kv_client_options *options)
{
    struct kv_client *client = alloc_zeroed(1, sizeof(*client));
    client->loop = loop;
    client->thread = uv_thread_self();
    client->seen_index = options->seen_index;
    client->reads_stale = options->stale_reads != 0;
    client->arbiter_uri = alloc_string(options->arbiter_uri, strlen(options->arbiter_uri));
    if (options->plugin_folder != NULL) {
        client->plugin_folder =
            alloc_string(options->plugin_folder, strlen(options->plugin_folder));
    }
    client->id = options->client_id != 0 ? options->client_id : client_draw_id();
    client->outgoing.sender = client->id;
    client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : CLIENT_TIMEOUT_MS;
    client->inflight_max = options->inflight_max != 0 ? options->inflight_max : CLIENT_INFLIGHT_MAX;
    if (client->inflight_max > CLIENT_INFLIGHT_MAX_MAX) {
        client->inflight_max = CLIENT_INFLIGHT_MAX_MAX;
    }
    client->inflight_bytes_max =
        options->inflight_bytes_max != 0 ? options->inflight_bytes_max : CLIENT_INFLIGHT_BYTES_MAX;
    client->view = alloc_zeroed(1, sizeof(*client->view));
    client->now_ms = client_now_ms();
    list_init(&client->carriers);
    list_init(&client->peers);
    list_init(&client->unknown);
    queue_init(&client->primary_queue);
    queue_init(&client->lookups);
    table_init(&client->table);
    wheel_init(&client->wheel);
    arena_init(&client->arena);
    peer_init(&client->arbiter, client, "the arbiter", client->arbiter_uri);
    locate_init(client);
    return client;
}

int32_t kv_client_create(struct uv_loop_s *loop, const struct kv_client_options *options,
                         struct kv_client **ret_client, char *ret_error)
{
    if (loop == NULL || options->arbiter_uri == NULL) {
        snprintf(ret_error, LOADER_ERROR_MAX, "the arbiter's address is missing");
        return KV_E_INVALID;
    }
    if (strlen(options->arbiter_uri) > URI_MAX) {
        snprintf(ret_error, LOADER_ERROR_MAX, "the arbiter's address is longer than %u bytes",
                 URI_MAX);
        return KV_E_INVALID;
    }
    struct kv_client *client = client_alloc(loop, options);
    int32_t status = KV_OK;
    const struct carrier *carrier = carrier_get(client, client->arbiter_uri, &status);
    if (status != KV_OK) {
        snprintf(ret_error, LOADER_ERROR_MAX, "%s%.*s", carrier == NULL ? client->arbiter_uri : "",
                 (int)LOADER_ERROR_MAX - 64,
                 carrier == NULL ? ": not an address like tcp://HOST:PORT" : carrier->error);
        client_free(client);
        return status;
    }
    uv_idle_init(loop, &client->turn);
    uv_timer_init(loop, &client->tick);
    client->turn.data = client;
    client->tick.data = client;
    client->handles = 2;
    status = peer_connect(&client->arbiter);
    if (status != KV_OK) {
        snprintf(ret_error, LOADER_ERROR_MAX, "%.120s: %s", client->arbiter_uri,
                 client->arbiter.trouble);
        kv_client_close(client, NULL, NULL);
        return status;
    }
    client_wake(client);
    *ret_client = client;
    return KV_OK;
}

void kv_client_close(struct kv_client *client, kv_closed_fn on_closed, void *ctx)
{
    if (client->is_closing) {
        return;
    }
    client->is_closing = true;
    client->on_closed = on_closed;
    client->closed_ctx = ctx;
    client_wake(client);
}

uint32_t kv_client_inflight(const struct kv_client *client)
{
    return client->inflight;
}

void kv_client_read_counters(const struct kv_client *client,
                             struct kv_client_counters *ret_counters)
{
    *ret_counters = client->counters;
}

void kv_client_position(const struct kv_client *client, struct kv_position *ret_position)
{
    *ret_position = client->position;
}

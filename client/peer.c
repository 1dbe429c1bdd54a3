/*
 * Happy path: the client's turn calls peer_drain(), which opens the link if need be and sends what
 * is queued; answers take the requests out of `sent`. The transport keeps reconnecting by itself.
 * Failure modes: the address does not come up (the next one is tried), the link goes down (requests
 * in `sent` are sorted out), its queue is full (waits for on_writable), the peer sends garbage or
 * speaks another protocol version (the link is closed and opened again after a pause, so that a
 * broken peer costs little).
 */
#include "client_state.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* Between the last address and the first. */
#define PEER_ROUND_PAUSE_MS 50u

void peer_init(struct peer *peer, struct kv_client *client, const char *name, const char *uri)
{
    memset(peer, 0, sizeof(*peer));
    list_init(&peer->link);
    list_init(&peer->sent);
    queue_init(&peer->queue);
    peer->client = client;
    peer->name = alloc_string(name, strlen(name));
    size_t len = strlen(uri);
    KV_CHECK(len <= URI_MAX);
    memcpy(peer->uris[0], uri, len + 1u);
    peer->uris_len = 1;
    peer->patience_ms = PEER_PATIENCE_MS;
}

const char *peer_uri(const struct peer *peer)
{
    return peer->uris[peer->uri_at];
}

static void peer_close_link(struct peer *peer)
{
    if (peer->guard_link != NULL) {
        guard_transport_close_link(peer->carrier->guard, peer->guard_link);
    }
    peer->guard_link = NULL;
    peer->is_up = false;
    peer->is_blocked = false;
}

void peer_close(struct peer *peer)
{
    KV_CHECK(list_is_empty(&peer->sent) && queue_first(&peer->queue) == NULL);
    peer_close_link(peer);
    list_remove(&peer->link);
    alloc_free(peer->name);
}

struct peer *peer_find(struct kv_client *client, const char *name)
{
    for (struct list *at = client->peers.next; at != &client->peers; at = at->next) {
        struct peer *peer = LIST_ENTRY(at, struct peer, link);
        if (strcmp(peer->name, name) == 0) {
            return peer;
        }
    }
    return NULL;
}

struct peer *peer_get(struct kv_client *client, const struct member *member)
{
    struct peer *peer = peer_find(client, member->name);
    if (peer == NULL) {
        peer = alloc_bytes(sizeof(*peer));
        peer_init(peer, client, member->name, member->uris[0]);
        peer_set_uris(peer, member->uris, member->uris_len);
        list_append(&client->peers, &peer->link);
    }
    return peer;
}

static const char *peer_explain(const struct peer *peer, int32_t status)
{
    if (peer->carrier == NULL) {
        return "not an address like tcp://HOST:PORT";
    }
    if (peer->carrier->guard == NULL) {
        return peer->carrier->error;
    }
    return status == KV_E_INVALID ? "not an address of this transport" : status_text(status);
}

/* Goes on to the next address; after the last one pauses and then waits longer for each. */
static void peer_advance(struct peer *peer)
{
    peer->carrier = NULL;
    peer->uri_at = (peer->uri_at + 1u) % peer->uris_len;
    if (peer->uri_at == 0 && peer->uris_len > 1) {
        peer->retry_ms = peer->client->now_ms + PEER_ROUND_PAUSE_MS;
        peer->patience_ms =
            peer->patience_ms < PEER_PATIENCE_MS_MAX ? peer->patience_ms * 2u : peer->patience_ms;
    }
}

int32_t peer_connect(struct peer *peer)
{
    struct kv_client *client = peer->client;
    if (peer->guard_link != NULL && !peer->is_up && peer->uris_len > 1 &&
        client->now_ms > peer->opened_ms + peer->patience_ms) {
        peer_close_link(peer);
        peer_advance(peer);
    }
    if (peer->guard_link != NULL || client->now_ms < peer->retry_ms) {
        return KV_OK;
    }
    int32_t status = KV_OK;
    peer->carrier = carrier_get(client, peer_uri(peer), &status);
    if (status == KV_OK) {
        peer->opened_ms = client->now_ms;
        status =
            guard_transport_connect(peer->carrier->guard, peer_uri(peer), peer, &peer->guard_link);
    }
    if (status != KV_OK) {
        peer->guard_link = NULL;
        peer->retry_ms = client->now_ms + PEER_PAUSE_MS;
        snprintf(peer->trouble, sizeof(peer->trouble), "%.*s", (int)PEER_TROUBLE_MAX - 1,
                 peer_explain(peer, status));
        peer_advance(peer);
    }
    return status;
}

int32_t peer_send(struct peer *peer, const struct message *message)
{
    struct kv_client *client = peer->client;
    size_t size = message_size(message);
    if (size > client->scratch_capacity) {
        alloc_free(client->scratch);
        client->scratch_capacity = size + size / 2u;
        client->scratch = alloc_bytes(client->scratch_capacity);
    }
    size_t len = message_encode(message, client->scratch, client->scratch_capacity);
    KV_CHECK(len == size);
    const struct kv_slice slice = {client->scratch, len};
    int32_t status = guard_transport_send(peer->carrier->guard, peer->guard_link, &slice, 1);
    if (status == KV_OK) {
        peer->carrier->needs_flush = true;
    } else if (status == KV_E_BUSY) {
        peer->is_blocked = true;
        peer->carrier->needs_flush = true;
    }
    return status;
}

/* The link is gone: sorts out what was sent on it. */
static void peer_lose_sent(struct peer *peer)
{
    struct kv_client *client = peer->client;
    struct list lost;
    list_init(&lost);
    list_move_all(&lost, &peer->sent);
    while (!list_is_empty(&lost)) {
        struct request *request = LIST_ENTRY(lost.next, struct request, in_queue);
        if (request_changes(request)) {
            request_fail(client, request, KV_E_TIMEOUT,
                         "connection to %s lost, outcome unknown%s%s", peer->name,
                         peer->trouble[0] != '\0' ? ": " : "", peer->trouble);
        } else {
            request_requeue(client, request);
        }
    }
    locate_on_down(client, peer);
    if (peer != &client->arbiter) {
        locate_want(client);
    }
    client_wake(client);
}

void peer_set_uris(struct peer *peer, const char (*uris)[URI_MAX + 1u], uint32_t uris_len)
{
    KV_CHECK(uris_len > 0 && uris_len <= PEER_URIS_MAX);
    char kept[PEER_URIS_MAX][URI_MAX + 1u];
    uint32_t kept_len = 0;
    uint32_t at = PEER_URIS_MAX; /* of the address in use */
    for (uint32_t i = 0; i < uris_len; i++) {
        int32_t status = KV_OK;
        carrier_get(peer->client, uris[i], &status);
        if (status == KV_OK) {
            at = strcmp(uris[i], peer_uri(peer)) == 0 ? kept_len : at;
            memcpy(kept[kept_len++], uris[i], sizeof(kept[0]));
        }
    }
    if (kept_len == 0) {
        /* None can be used: keeps one to say so with. */
        at = strcmp(uris[0], peer_uri(peer)) == 0 ? 0 : at;
        memcpy(kept[kept_len++], uris[0], sizeof(kept[0]));
    }
    memcpy(peer->uris, kept, kept_len * sizeof(kept[0]));
    peer->uris_len = kept_len;
    peer->uri_at = at < kept_len ? at : 0;
    if (at < kept_len) {
        return;
    }
    peer_close_link(peer);
    peer->retry_ms = 0;
    peer->carrier = NULL;
    snprintf(peer->trouble, sizeof(peer->trouble), "it moved to %s", peer_uri(peer));
    peer_lose_sent(peer);
    peer->trouble[0] = '\0';
}

bool peer_has_more(const struct peer *peer)
{
    return peer->uris_len > 1;
}

void peer_try_next(struct peer *peer, const char *trouble)
{
    if (!peer_has_more(peer)) {
        return;
    }
    peer_close_link(peer);
    peer->retry_ms = 0;
    snprintf(peer->trouble, sizeof(peer->trouble), "%s", trouble);
    peer_advance(peer);
    peer_lose_sent(peer);
}

/* Lines are like "tcp: cannot connect to ADDRESS: REASON". */
void peer_on_log(struct peer *peer, const char *text)
{
    const char *uri = peer_uri(peer);
    const char *found = peer->is_up || peer->guard_link == NULL ? NULL : strstr(text, uri);
    if (found != NULL && strncmp(found + strlen(uri), ": ", 2) == 0) {
        const char *reason = found + strlen(uri) + 2u;
        snprintf(peer->trouble, sizeof(peer->trouble), "%.*s", (int)strcspn(reason, ";"), reason);
    }
}

void peer_drop(struct peer *peer, const char *trouble)
{
    peer_close_link(peer);
    peer->retry_ms = client_now_ms() + PEER_PAUSE_MS;
    snprintf(peer->trouble, sizeof(peer->trouble), "%s", trouble);
    peer->client->counters.links_lost++;
    peer_lose_sent(peer);
}

void peer_drop_version(struct peer *peer, uint8_t version)
{
    char trouble[PEER_TROUBLE_MAX];
    snprintf(trouble, sizeof(trouble), "it speaks protocol version %u, this client version %u",
             version, MESSAGE_VERSION);
    struct list refused;
    list_init(&refused);
    list_move_all(&refused, &peer->sent);
    while (!list_is_empty(&refused)) {
        struct request *request = LIST_ENTRY(refused.next, struct request, in_queue);
        request_fail(peer->client, request, KV_E_REJECTED, "%s does not understand: %s", peer->name,
                     trouble);
    }
    peer_drop(peer, trouble);
}

void peer_drain(struct peer *peer, struct queue *queue)
{
    struct kv_client *client = peer->client;
    struct request *request = queue_first(queue);
    if (request == NULL) {
        return;
    }
    peer_connect(peer);
    while (request != NULL && peer->is_up && !peer->is_blocked && !client->is_closing &&
           queue_is_open(queue, client->now_ms)) {
        if (request->in_wheel.deadline_ms <= client->now_ms) {
            request_expire(client, request);
        } else {
            int32_t status = request_send(request, peer, queue);
            if (status == KV_E_TOO_LARGE) {
                request_fail(client, request, KV_E_TOO_LARGE,
                             "key and value are larger than the node takes (limits.key_bytes, "
                             "limits.value_bytes)");
            } else if (status != KV_OK) {
                return; /* on_writable or on_down follows, or the next tick tries again */
            }
        }
        request = queue_first(queue);
    }
}

void peer_on_up(struct peer *peer)
{
    if (peer->client->is_closing) {
        return;
    }
    peer->is_up = true;
    peer->is_blocked = false;
    peer->patience_ms = PEER_PATIENCE_MS;
    peer->trouble[0] = '\0';
    client_wake(peer->client);
}

void peer_on_writable(struct peer *peer)
{
    peer->is_blocked = false;
    client_wake(peer->client);
}

void peer_on_down(struct peer *peer, int32_t reason)
{
    if (peer->client->is_closing) {
        return;
    }
    peer->is_up = false;
    peer->is_blocked = false;
    snprintf(peer->trouble, sizeof(peer->trouble), "%s",
             reason == KV_E_CLOSED ? "" : status_text(reason));
    peer->opened_ms = client_now_ms(); /* the transport tries again by itself */
    peer->client->counters.links_lost++;
    peer_lose_sent(peer);
}

/*
 * Happy path: the client's turn calls peer_drain(), which opens the link if need be and sends what
 * is queued; answers take the requests out of `sent`. The transport keeps reconnecting by itself.
 * Failure modes: the link goes down (requests in `sent` are sorted out), its queue is full (waits
 * for on_writable), the peer sends garbage or speaks another protocol version (the link is closed
 * and opened again after a pause, so that a broken peer costs little).
 */
#include "client_state.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

void peer_init(struct peer *peer, struct kv_client *client, const char *name, const char *uri)
{
    memset(peer, 0, sizeof(*peer));
    list_init(&peer->link);
    list_init(&peer->sent);
    queue_init(&peer->queue);
    peer->client = client;
    peer->name = alloc_string(name, strlen(name));
    peer->uri = alloc_string(uri, strlen(uri));
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
    alloc_free(peer->uri);
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

const char *peer_choose_uri(struct kv_client *client, const struct member *member)
{
    for (uint32_t i = 0; i < member->uris_len; i++) {
        int32_t status = KV_OK;
        carrier_get(client, member->uris[i], &status);
        if (status == KV_OK) {
            return member->uris[i];
        }
    }
    return member->uris[0];
}

struct peer *peer_get(struct kv_client *client, const struct member *member)
{
    struct peer *peer = peer_find(client, member->name);
    if (peer == NULL) {
        peer = alloc_bytes(sizeof(*peer));
        peer_init(peer, client, member->name, peer_choose_uri(client, member));
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

int32_t peer_connect(struct peer *peer)
{
    struct kv_client *client = peer->client;
    if (peer->guard_link != NULL || client->now_ms < peer->retry_ms) {
        return KV_OK;
    }
    int32_t status = KV_OK;
    peer->carrier = carrier_get(client, peer->uri, &status);
    if (status == KV_OK) {
        status = guard_transport_connect(peer->carrier->guard, peer->uri, peer, &peer->guard_link);
    }
    if (status != KV_OK) {
        peer->guard_link = NULL;
        peer->retry_ms = client->now_ms + PEER_PAUSE_MS;
        snprintf(peer->trouble, sizeof(peer->trouble), "%.*s", (int)PEER_TROUBLE_MAX - 1,
                 peer_explain(peer, status));
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
    if (peer == &client->arbiter) {
        locate_on_arbiter_down(client);
    } else {
        locate_want(client);
    }
    client_wake(client);
}

void peer_set_uri(struct peer *peer, const char *uri)
{
    if (strcmp(peer->uri, uri) == 0) {
        return;
    }
    peer_close_link(peer);
    peer->retry_ms = 0;
    peer->carrier = NULL;
    alloc_free(peer->uri);
    peer->uri = alloc_string(uri, strlen(uri));
    snprintf(peer->trouble, sizeof(peer->trouble), "it moved to %s", uri);
    peer_lose_sent(peer);
    peer->trouble[0] = '\0';
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
    peer->client->counters.links_lost++;
    peer_lose_sent(peer);
}

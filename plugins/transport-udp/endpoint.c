/*
 * Happy path: a datagram is decoded, its token leads to a link, the link takes it. At the end of a
 * turn endpoint_flush() asks each link that something happened to for what it has to send.
 *
 * Failure: what cannot be decoded, or has no link, changes nothing and is counted; a line says so
 * now and then. A DATA for a token that no link has is answered with UNKNOWN, which is shorter than
 * it, so that a peer learns soon that this node has restarted.
 */
#include "endpoint.h"

#include "bug.h"
#include "link.h"

#include <string.h>

/* --- life --- */

int32_t endpoint_init(struct endpoint *endpoint, const struct kv_host *host,
                      const struct endpoint_options *options,
                      const struct kv_transport_limits *limits,
                      const struct kv_transport_events *events, void *events_ctx,
                      const struct endpoint_io *io, void *io_ctx)
{
    *endpoint = (struct endpoint){
        .host = host,
        .options = *options,
        .limits = *limits,
        .events = events,
        .events_ctx = events_ctx,
        .io = *io,
        .io_ctx = io_ctx,
    };
    list_init(&endpoint->links);
    list_init(&endpoint->dirty);
    table_init(&endpoint->table, host);
    deadlines_init(&endpoint->deadlines, host);
    return cookie_secret_init(&endpoint->secret);
}

void endpoint_close(struct endpoint *endpoint)
{
    while (!list_is_empty(&endpoint->links)) {
        link_destroy(LIST_ENTRY(endpoint->links.next, kv_link, links_node));
    }
    table_close(&endpoint->table);
    deadlines_close(&endpoint->deadlines);
}

/* Frees the links that are gone. Not within a call that calls back: somebody uses them. */
static void endpoint_reap(struct endpoint *endpoint)
{
    if (endpoint->inside > 0 || endpoint->gone_len == 0 || BUG(keep_memory)) {
        return;
    }
    struct list *next = NULL;
    for (struct list *at = endpoint->links.next; at != &endpoint->links; at = next) {
        struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        next = at->next;
        if (link->state == LINK_GONE) {
            link_destroy(link);
        }
    }
    endpoint->gone_len = 0;
}

static void endpoint_enter(struct endpoint *endpoint)
{
    endpoint->inside++;
}

static void endpoint_leave(struct endpoint *endpoint)
{
    endpoint->inside--;
    endpoint_reap(endpoint);
}

/* --- datagrams in --- */

struct kv_link *endpoint_find(const struct endpoint *endpoint, uint64_t token)
{
    return table_find(&endpoint->table, token);
}

static void endpoint_drop(struct endpoint *endpoint, const union address_socket *from,
                          uint64_t *counter, const char *why)
{
    char uri[KV_URI_MAX];
    *counter += 1;
    address_format("udp", from, uri);
    log_limited(endpoint->host, &endpoint->dropped_notice, "udp: a datagram from %s is dropped: %s",
                uri, why);
}

/* For a token that no link has. */
static void endpoint_on_stranger(struct endpoint *endpoint, void *socket,
                                 const union address_socket *from,
                                 const struct wire_datagram *datagram)
{
    endpoint->counters.unknown++; /* after a restart, or the end of a link, no news */
    if (datagram->kind == WIRE_DATA) {
        const struct wire_datagram answer = {
            .kind = WIRE_UNKNOWN, .to = datagram->from, .from = datagram->to};
        endpoint_send_datagram(endpoint, socket, from, &answer);
    }
}

/* DATA, CLOSE and UNKNOWN come from the peer only when they tell its token too. */
static void endpoint_on_link(struct endpoint *endpoint, struct kv_link *link,
                             const union address_socket *from, const struct wire_datagram *datagram,
                             uint64_t now_us)
{
    bool is_proved = datagram->from == link->peer_token && link->peer_token != 0;
    switch (datagram->kind) {
    case WIRE_DATA:
        if (is_proved) {
            link_on_packet(link, &datagram->packet, now_us);
            return;
        }
        break;
    case WIRE_CLOSE:
        if ((is_proved || BUG(believe_close)) && link->has_streams) {
            link_lose(link, KV_E_CLOSED, "it has closed the link", now_us);
            return;
        }
        break;
    case WIRE_UNKNOWN:
        if ((is_proved || BUG(believe_unknown)) && link->has_streams) {
            link_lose(link, KV_E_CLOSED, "it does not know the link any more", now_us);
            return;
        }
        break;
    case WIRE_COOKIE:
        handshake_on_cookie(link, datagram, now_us);
        return;
    case WIRE_ACCEPT:
        handshake_on_accept(link, from, datagram, now_us);
        return;
    case WIRE_REFUSE:
        handshake_on_refuse(link, datagram, now_us);
        return;
    case WIRE_HELLO:
    case WIRE_OPEN:
        break; /* not for a link */
    }
    endpoint_drop(endpoint, from, &endpoint->counters.forged,
                  "it does not tell the token of the link's peer");
}

static void endpoint_take(struct endpoint *endpoint, void *socket, const union address_socket *from,
                          const struct wire_datagram *datagram, uint64_t now_us)
{
    if (datagram->kind == WIRE_HELLO) {
        handshake_on_hello(endpoint, socket, from, datagram, now_us);
        return;
    }
    if (datagram->kind == WIRE_OPEN) {
        handshake_on_open(endpoint, socket, from, datagram, now_us);
        return;
    }
    struct kv_link *link = endpoint_find(endpoint, datagram->to);
    bool has_source = link != NULL && (link->is_accepted || link->has_streams);
    if (link == NULL) {
        endpoint_on_stranger(endpoint, socket, from, datagram);
    } else if (has_source && !address_is_equal(&link->source, from)) {
        endpoint_drop(endpoint, from, &endpoint->counters.forged,
                      "it tells the token of a link with another address");
    } else {
        endpoint_on_link(endpoint, link, from, datagram, now_us);
    }
}

void endpoint_receive(struct endpoint *endpoint, void *socket, const union address_socket *from,
                      const uint8_t *bytes, size_t len, uint64_t now_us)
{
    struct wire_datagram datagram;
    endpoint->counters.datagrams_received++;
    int32_t status = wire_decode(endpoint->host, bytes, len, &datagram);
    if (status == KV_E_CORRUPT) {
        endpoint_drop(endpoint, from, &endpoint->counters.corrupt, "its checksum is wrong");
        return;
    }
    if (status != KV_OK) {
        endpoint_drop(endpoint, from, &endpoint->counters.malformed,
                      "it is none of this transport's");
        return;
    }
    endpoint_enter(endpoint);
    endpoint_take(endpoint, socket, from, &datagram, now_us);
    endpoint_leave(endpoint);
}

void endpoint_on_unreachable(struct endpoint *endpoint, const union address_socket *to,
                             const uint8_t *bytes, size_t len, uint64_t now_us)
{
    uint64_t to_token = 0;
    uint64_t from_token = 0;
    if (!wire_decode_tokens(bytes, len, &to_token, &from_token)) {
        return;
    }
    struct kv_link *link = endpoint_find(endpoint, from_token);
    if (link == NULL || !address_is_equal(&link->address, to)) {
        return;
    }
    endpoint_enter(endpoint);
    if (link->has_streams && to_token == link->peer_token) {
        endpoint->counters.unreachable++;
        link_lose(link, KV_E_CLOSED, "nobody is at its address any more", now_us);
    } else if (link->state == LINK_HELLO || link->state == LINK_OPENING) {
        link_retry(link, KV_E_UNREACHABLE, "nobody is at its address", now_us);
    }
    endpoint_leave(endpoint);
}

void endpoint_on_too_large(struct endpoint *endpoint, const union address_socket *to, uint32_t size,
                           uint64_t now_us)
{
    for (struct list *at = endpoint->links.next; at != &endpoint->links; at = at->next) {
        struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        if (link->has_streams && address_is_equal(&link->address, to)) {
            mtu_on_too_large(&link->sender.mtu, size, now_us);
            congestion_set_datagram(&link->sender.congestion, link->sender.mtu.size);
        }
    }
}

/* --- datagrams out --- */

void endpoint_send_datagram(struct endpoint *endpoint, void *socket, const union address_socket *to,
                            const struct wire_datagram *datagram)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    size_t len = wire_encode(endpoint->host, datagram, bytes);
    endpoint->counters.datagrams_sent++;
    endpoint->has_sent = true;
    endpoint->io.send(endpoint->io_ctx, socket, to, bytes, len, NULL, 0);
}

bool endpoint_is_dirty(const struct endpoint *endpoint)
{
    return endpoint->has_sent || !list_is_empty(&endpoint->dirty);
}

void endpoint_flush(struct endpoint *endpoint, uint64_t now_us)
{
    while (!list_is_empty(&endpoint->dirty)) {
        struct kv_link *link = LIST_ENTRY(endpoint->dirty.next, kv_link, dirty_node);
        list_remove(&link->dirty_node);
        link_produce(link, now_us);
        link_schedule(link);
    }
    endpoint->has_sent = false;
    endpoint->io.commit(endpoint->io_ctx);
}

/* --- time --- */

void endpoint_on_time(struct endpoint *endpoint, uint64_t now_us)
{
    endpoint_enter(endpoint);
    struct deadline *first = deadlines_first(&endpoint->deadlines);
    while (first != NULL && first->at_us <= now_us) {
        struct kv_link *link =
            (struct kv_link *)(void *)((char *)first - offsetof(struct kv_link, deadline));
        deadlines_set(&endpoint->deadlines, first, DEADLINES_NEVER);
        if (link->state == LINK_UP || link->state == LINK_DRAINING) {
            link_touch(link); /* the flush sets its next deadline */
        }
        link_on_time(link, now_us);
        first = deadlines_first(&endpoint->deadlines);
    }
    endpoint_flush(endpoint, now_us);
    endpoint_leave(endpoint);
}

uint64_t endpoint_deadline_us(const struct endpoint *endpoint)
{
    const struct deadline *first = deadlines_first(&endpoint->deadlines);
    if (endpoint->gone_len > 0 && endpoint->inside == 0 && !BUG(keep_memory)) {
        return 0;
    }
    return first != NULL ? first->at_us : DEADLINES_NEVER;
}

/* --- the host's operations --- */

int32_t endpoint_connect(struct endpoint *endpoint, const char *uri, void *user,
                         struct kv_link **ret_link)
{
    struct kv_link *link = link_create(endpoint, uri, false);
    if (link == NULL) {
        return KV_E_NOMEM;
    }
    link->user = user;
    link->state = LINK_RESOLVING;
    *ret_link = link;
    endpoint->io.resolve(endpoint->io_ctx, link, 0);
    return KV_OK;
}

void endpoint_on_resolved(struct endpoint *endpoint, struct kv_link *link, int32_t error,
                          const char *text, const union address_socket *address, void *socket,
                          uint64_t now_us)
{
    (void)endpoint;
    if (link->state != LINK_RESOLVING) {
        return;
    }
    if (error != KV_OK) {
        link_retry(link, error, text, now_us);
        return;
    }
    link->address = *address;
    link->socket = socket;
    handshake_begin(link, now_us);
}

int32_t endpoint_send(struct endpoint *endpoint, struct kv_link *link,
                      const struct kv_slice *slices, uint32_t slices_len)
{
    if (link->state != LINK_UP) {
        return KV_E_CLOSED;
    }
    uint32_t own_max = endpoint->limits.message_max;
    size_t len_max = own_max < link->peer_message_max || BUG(ignore_message_max)
                         ? own_max
                         : link->peer_message_max;
    size_t len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > len_max - len) {
            return KV_E_TOO_LARGE;
        }
        len += slices[i].len;
    }
    uint64_t queued = sender_queued(&link->sender);
    if (queued > 0 && queued + ASSEMBLY_HEADER_LEN + len > endpoint->limits.queue_bytes_max) {
        link->is_busy = true;
        return KV_E_BUSY;
    }
    if (sender_append(&link->sender, slices, slices_len, (uint32_t)len) != KV_OK) {
        return KV_E_NOMEM;
    }
    endpoint->counters.messages_sent++;
    link_touch(link);
    return KV_OK;
}

void endpoint_close_link(struct endpoint *endpoint, struct kv_link *link, uint64_t now_us)
{
    if (BUG(down_in_close) && link->is_up) {
        endpoint->events->on_down(endpoint->events_ctx, link->user, KV_E_CLOSED);
    }
    link->is_released = true;
    link_drain(link, now_us);
}

void endpoint_stop(struct endpoint *endpoint, uint64_t now_us)
{
    endpoint->is_stopping = true;
    for (struct list *at = endpoint->links.next; at != &endpoint->links; at = at->next) {
        link_drain(LIST_ENTRY(at, kv_link, links_node), now_us);
    }
}

bool endpoint_is_stopped(const struct endpoint *endpoint)
{
    return endpoint->is_stopping && endpoint->inside == 0 &&
           endpoint->links_len == endpoint->gone_len;
}

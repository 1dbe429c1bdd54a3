/*
 * Happy path: DATA comes in, its acknowledgement frees what was sent, its piece of the stream
 * completes messages, which the host gets; the next flush puts acknowledgements and what the host
 * sent meanwhile into datagrams.
 *
 * Failure: silence, a peer that says CLOSE or UNKNOWN, one that breaks the protocol, no memory: the
 * link is lost with all that was queued. One that the host made is looked for again. Each callback
 * of the host may close this link: `state` tells.
 */
#include "link.h"

#include "bug.h"

#include <string.h>

/* A silent peer is asked so often within timeout_us before it is taken for gone; also so that a
 * process that stood still itself looks at what has come before it judges. */
#define LINK_ASKS_MAX 3u

/* --- life --- */

static uint64_t link_new_token(struct endpoint *endpoint)
{
    uint64_t token = 0;
    while (token == 0 || endpoint_find(endpoint, token) != NULL) {
        token = endpoint->io.random(endpoint->io_ctx);
    }
    return token;
}

struct kv_link *link_create(struct endpoint *endpoint, const char *uri, bool is_accepted)
{
    const struct kv_host *host = endpoint->host;
    struct kv_link *link = host->allocate(host->ctx, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    memset(link, 0, sizeof(*link));
    link->endpoint = endpoint;
    link->is_accepted = is_accepted;
    link->retry_us = endpoint->options.connect_retry_us;
    memcpy(link->uri, uri, strlen(uri) + 1);
    list_init(&link->links_node);
    list_init(&link->dirty_node);
    deadline_init(&link->deadline);
    link->token = link_new_token(endpoint);
    if (deadlines_reserve(&endpoint->deadlines, endpoint->links_len + 1) != KV_OK ||
        table_add(&endpoint->table, link->token, link) != KV_OK) {
        host->release(host->ctx, link);
        return NULL;
    }
    list_append(&endpoint->links, &link->links_node);
    endpoint->links_len++;
    return link;
}

static void link_close_streams(struct kv_link *link)
{
    if (link->has_streams) {
        link->has_streams = false;
        link->endpoint->counters.packets_lost += link->sender.packets_lost;
        link->endpoint->counters.bytes_repeated += link->sender.bytes_repeated;
        sender_close(&link->sender);
        assembly_close(&link->assembly);
    }
}

void link_destroy(struct kv_link *link)
{
    struct endpoint *endpoint = link->endpoint;
    link_close_streams(link);
    deadlines_set(&endpoint->deadlines, &link->deadline, DEADLINES_NEVER);
    table_remove(&endpoint->table, link->token);
    list_remove(&link->dirty_node);
    list_remove(&link->links_node);
    endpoint->links_len--;
    endpoint->host->release(endpoint->host->ctx, link);
}

/* Another token: what was sent to the old one finds nobody. */
static void link_renew_token(struct kv_link *link)
{
    struct endpoint *endpoint = link->endpoint;
    table_remove(&endpoint->table, link->token);
    link->token = link_new_token(endpoint);
    table_add(&endpoint->table, link->token, link); /* has the room that was just given back */
}

int32_t link_open_streams(struct kv_link *link, const struct wire_hello *hello, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    uint32_t datagram_max = hello->datagram_max < endpoint->options.datagram_max
                                ? hello->datagram_max
                                : endpoint->options.datagram_max;
    int32_t status = sender_init(&link->sender, endpoint->host, datagram_max, hello->limit, now_us);
    if (status != KV_OK) {
        return status;
    }
    if (link->sends == 1) { /* else nobody knows which one was answered */
        congestion_on_rtt(&link->sender.congestion, now_us - link->asked_us, 0);
    }
    assembly_init(&link->assembly, endpoint->host, endpoint->limits.message_max);
    acks_init(&link->acks);
    link->peer_message_max = hello->message_max;
    link->has_streams = true;
    link->heard_us = now_us;
    link->asked_us = now_us;
    link->asks = 0;
    return KV_OK;
}

void link_touch(struct kv_link *link)
{
    list_remove(&link->dirty_node);
    list_append(&link->endpoint->dirty, &link->dirty_node);
}

/* --- ends --- */

/* The link is nobody's from now on; its memory goes with endpoint_reap(). */
static void link_end(struct kv_link *link)
{
    struct endpoint *endpoint = link->endpoint;
    endpoint->io.forget(endpoint->io_ctx, link);
    endpoint->accepted_len -= link->is_counted;
    endpoint->half_len -= link->state == LINK_HALF;
    endpoint->gone_len++;
    link->is_counted = false;
    link->state = LINK_GONE;
    table_remove(&endpoint->table, link->token);
    list_remove(&link->dirty_node);
    deadlines_set(&endpoint->deadlines, &link->deadline, DEADLINES_NEVER);
}

static void link_send_close(struct kv_link *link, enum wire_reason reason)
{
    const struct wire_datagram datagram = {
        .kind = WIRE_CLOSE, .to = link->peer_token, .from = link->token, .reason = reason};
    endpoint_send_datagram(link->endpoint, link->socket, &link->address, &datagram);
}

/* A failure to connect is logged when it is another one than before: an absent peer is tried for as
 * long as it takes. */
static void link_log_loss(struct kv_link *link, int32_t reason, const char *text)
{
    struct endpoint *endpoint = link->endpoint;
    if (link->is_released || endpoint->is_stopping) {
        return;
    }
    if (link->is_up) {
        /* That a peer which came goes again is no news: clients do. */
        log_line(endpoint->host, link->is_accepted ? KV_LOG_DEBUG : KV_LOG_INFO,
                 "udp: the link with %s is lost: %s", link->uri, text);
    } else if (link->is_accepted) {
        log_line(endpoint->host, KV_LOG_DEBUG, "udp: %s came and went: %s", link->uri, text);
    } else {
        log_line(endpoint->host, link->logged_reason == reason ? KV_LOG_DEBUG : KV_LOG_WARN,
                 "udp: cannot connect to %s: %s; trying again", link->uri, text);
        link->logged_reason = reason;
    }
}

static void link_pause(struct kv_link *link, uint64_t now_us)
{
    link->until_us = now_us + handshake_wait_us(link);
    link->state = LINK_PAUSE;
    link->attempt++;
    link_renew_token(link);
    link_schedule(link);
}

void link_retry(struct kv_link *link, int32_t reason, const char *text, uint64_t now_us)
{
    link_log_loss(link, reason, text);
    link_pause(link, now_us);
}

void link_lose(struct kv_link *link, int32_t reason, const char *text, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    const struct endpoint_options *options = &endpoint->options;
    if (link->state == LINK_GONE || link->state == LINK_PAUSE) {
        return;
    }
    bool is_told = link->is_up && !link->is_released;
    link_log_loss(link, reason, text);
    link_close_streams(link);
    list_remove(&link->dirty_node);
    if (link->is_accepted || link->is_released || endpoint->is_stopping) {
        link_end(link);
    } else {
        if (now_us - link->up_us >= options->connect_retry_max_us) {
            link->retry_us = options->connect_retry_us;
        }
        link_pause(link, now_us);
    }
    link->is_up = false;
    link->is_busy = false;
    if (is_told && !BUG(forget_down)) {
        endpoint->events->on_down(endpoint->events_ctx, link->user, reason);
    }
}

void link_break(struct kv_link *link, enum wire_reason told, int32_t reason, const char *text,
                uint64_t now_us)
{
    link_send_close(link, told);
    link_lose(link, reason, text, now_us);
}

void link_drain(struct kv_link *link, uint64_t now_us)
{
    if (link->state == LINK_UP) {
        link->state = LINK_DRAINING;
        link->until_us = now_us + LINK_DRAIN_US;
        link_touch(link);
        link_schedule(link);
    } else if (link->state != LINK_DRAINING && link->state != LINK_GONE) {
        link_end(link);
    }
}

/* --- coming in --- */

static bool link_deliver(void *ctx, const uint8_t *bytes, uint32_t len)
{
    struct kv_link *link = ctx;
    struct endpoint *endpoint = link->endpoint;
    endpoint->counters.messages_received++;
    endpoint->events->on_message(endpoint->events_ctx, link->user, bytes, len);
    return link->state == LINK_UP;
}

/* A piece of the stream. False: it was not taken, so it must not be acknowledged, or the link is no
 * longer up. */
static bool link_take_piece(struct kv_link *link, const struct wire_packet *packet, uint64_t now_us)
{
    int32_t status = assembly_add(&link->assembly, packet->offset, packet->bytes, packet->len,
                                  link_deliver, link);
    if (status == KV_E_MALFORMED) {
        link->endpoint->counters.malformed++;
        link_break(link, WIRE_REASON_MALFORMED, status, "it sent more than it may", now_us);
    } else if (status == KV_E_TOO_LARGE) {
        link->endpoint->counters.too_large++;
        link_break(link, WIRE_REASON_TOO_LARGE, status, "it announced a message above message_max",
                   now_us);
    }
    return status == KV_OK || (BUG(ack_untaken) && link->has_streams);
}

static void link_tell_writable(struct kv_link *link)
{
    struct endpoint *endpoint = link->endpoint;
    uint64_t queued = sender_queued(&link->sender);
    if (link->state == LINK_UP && link->is_busy && !BUG(forget_writable) &&
        (queued == 0 || queued < endpoint->limits.queue_bytes_max / 2)) {
        link->is_busy = false;
        endpoint->events->on_writable(endpoint->events_ctx, link->user);
    }
}

/* False: the link is lost. */
static bool link_take_ack(struct kv_link *link, const struct wire_ack *ack, uint64_t now_us)
{
    int32_t status = sender_on_ack(&link->sender, ack, now_us);
    if (status == KV_E_MALFORMED) {
        link->endpoint->counters.malformed++;
        link_break(link, WIRE_REASON_MALFORMED, status, "it acknowledged what was never sent",
                   now_us);
    } else if (status != KV_OK) {
        link_break(link, WIRE_REASON_NOMEM, status, "out of memory", now_us);
    }
    return status == KV_OK;
}

void link_on_packet(struct kv_link *link, const struct wire_packet *packet, uint64_t now_us)
{
    if (link->state == LINK_HALF && !handshake_on_used(link, now_us)) {
        return;
    }
    if (link->state != LINK_UP && link->state != LINK_DRAINING) {
        return;
    }
    link->heard_us = now_us;
    link->asks = 0;
    link_touch(link);
    if (packet->has_ack && !link_take_ack(link, &packet->ack, now_us)) {
        return;
    }
    link_tell_writable(link);
    if (link->state != LINK_UP) {
        return; /* what still comes in while draining is for nobody */
    }
    if ((packet->has_stream && link_take_piece(link, packet, now_us)) || packet->is_probe) {
        if (link->has_streams) {
            acks_on_packet(&link->acks, packet->number, true, now_us);
            link_touch(link); /* again: the host may have flushed within its callbacks */
        }
    }
}

/* --- going out --- */

/* Encodes a packet with an acknowledgement in it if one is wanted, and gives it to the socket. */
static uint32_t link_send_packet(struct kv_link *link, const struct sender_piece *piece,
                                 struct wire_datagram *datagram)
{
    struct endpoint *endpoint = link->endpoint;
    struct wire_packet *packet = &datagram->packet;
    uint8_t header[WIRE_BYTES_MAX];
    struct kv_slice slices[QUEUE_SLICES_MAX];
    uint32_t slices_len = piece != NULL ? piece->slices_len : 0;
    uint32_t filling = 0;
    datagram->kind = WIRE_DATA;
    datagram->to = link->peer_token;
    datagram->from = link->token;
    packet->number = link->sender.next_number;
    packet->has_stream = piece != NULL && piece->len > 0;
    packet->is_probe = piece != NULL && piece->len == 0;
    packet->offset = piece != NULL ? piece->offset : 0;
    if (piece != NULL) {
        memcpy(slices, piece->slices, sizeof(slices));
    }
    size_t header_len = wire_packet_len(packet);
    if (piece != NULL && piece->mtu_probe > header_len) {
        filling = piece->mtu_probe - (uint32_t)header_len;
    }
    wire_encode_packet(endpoint->host, datagram, slices, slices_len, filling, header);
    if (filling > 0) {
        slices[0] = (struct kv_slice){wire_zeros(), filling};
        slices_len = 1;
    }
    endpoint->counters.datagrams_sent++;
    endpoint->io.send(endpoint->io_ctx, link->socket, &link->address, header, header_len, slices,
                      slices_len);
    return (uint32_t)header_len + (piece != NULL ? piece->len : 0) + filling;
}

/* Whether the packet at hand takes an acknowledgement along. */
static void link_add_ack(struct kv_link *link, uint64_t now_us, struct wire_packet *packet)
{
    packet->has_ack = link->acks.waiting > 0 && acks_get(&link->acks, now_us, &packet->ack);
    if (packet->has_ack) {
        packet->ack.limit = assembly_limit(&link->assembly);
    }
}

void link_produce(struct kv_link *link, uint64_t now_us)
{
    if (!link->has_streams || (link->state != LINK_UP && link->state != LINK_DRAINING)) {
        return;
    }
    struct wire_datagram datagram; /* `packet` is large: only what counts is set */
    struct sender_piece piece;
    datagram.packet.has_stream = true;
    link_add_ack(link, now_us, &datagram.packet);
    while (
        sender_take(&link->sender, (uint32_t)wire_packet_len(&datagram.packet), now_us, &piece)) {
        uint32_t size = link_send_packet(link, &piece, &datagram);
        sender_on_sent(&link->sender, &piece, size, now_us);
        if (piece.len > 0) {
            acks_on_answer(&link->acks, now_us);
        }
        if (datagram.packet.has_ack) {
            acks_on_sent(&link->acks);
            datagram.packet.has_ack = false;
        }
        datagram.packet.has_stream = true;
    }
    if (datagram.packet.has_ack && acks_due_us(&link->acks) <= now_us) {
        link_send_packet(link, NULL, &datagram);
        acks_on_sent(&link->acks);
    }
}

/* --- time --- */

static uint64_t link_ask_pause_us(const struct kv_link *link)
{
    return link->endpoint->options.timeout_us / (LINK_ASKS_MAX + 1);
}

static uint64_t link_ask_at_us(const struct kv_link *link)
{
    uint64_t since_us = link->heard_us > link->asked_us ? link->heard_us : link->asked_us;
    return since_us + link_ask_pause_us(link);
}

static uint64_t link_deadline_us(const struct kv_link *link)
{
    uint64_t at_us = DEADLINES_NEVER;
    switch (link->state) {
    case LINK_RESOLVING:
    case LINK_GONE:
        break;
    case LINK_PAUSE:
    case LINK_HELLO:
    case LINK_OPENING:
    case LINK_HALF:
        at_us = link->until_us;
        break;
    case LINK_UP:
        at_us = acks_due_us(&link->acks);
        at_us = link_ask_at_us(link) < at_us ? link_ask_at_us(link) : at_us;
        break;
    case LINK_DRAINING:
        at_us = sender_queued(&link->sender) == 0 ? 0 : link->until_us;
        break;
    }
    if (link->state == LINK_UP || link->state == LINK_DRAINING) {
        uint64_t sender_us = sender_deadline_us(&link->sender);
        at_us = sender_us < at_us ? sender_us : at_us;
    }
    return at_us;
}

void link_schedule(struct kv_link *link)
{
    deadlines_set(&link->endpoint->deadlines, &link->deadline, link_deadline_us(link));
}

/* Asks a silent peer for a sign of life, and in the end gives it up. */
static void link_watch(struct kv_link *link, uint64_t now_us)
{
    if (now_us < link_ask_at_us(link)) {
        return;
    }
    if (link->asks < LINK_ASKS_MAX || BUG(never_silent)) {
        link->asks++;
        link->asked_us = now_us;
        sender_ask(&link->sender);
        return;
    }
    link->endpoint->counters.silent++;
    link_break(link, WIRE_REASON_TIMEOUT, KV_E_TIMEOUT, "nothing came from it for too long",
               now_us);
}

static void link_on_time_up(struct kv_link *link, uint64_t now_us)
{
    int32_t status = sender_on_time(&link->sender, now_us);
    if (status != KV_OK) {
        link_break(link, WIRE_REASON_NOMEM, status, "out of memory", now_us);
        return;
    }
    link_touch(link);
    if (link->state == LINK_UP) {
        link_watch(link, now_us);
    } else if (sender_queued(&link->sender) == 0 || link->until_us <= now_us || BUG(drop_drain)) {
        link_break(link, WIRE_REASON_CLOSED, KV_E_CLOSED, "closed", now_us);
    }
}

void link_on_time(struct kv_link *link, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    switch (link->state) {
    case LINK_PAUSE:
        link->state = LINK_RESOLVING;
        link_schedule(link);
        endpoint->io.resolve(endpoint->io_ctx, link, link->attempt);
        break;
    case LINK_HELLO:
    case LINK_OPENING:
        handshake_send(link, now_us);
        break;
    case LINK_HALF:
        endpoint->counters.handshake_timeouts++;
        link_lose(link, KV_E_TIMEOUT, "it did not use the link that it opened", now_us);
        break;
    case LINK_UP:
    case LINK_DRAINING:
        link_on_time_up(link, now_us);
        break;
    case LINK_RESOLVING:
    case LINK_GONE:
        break;
    }
}

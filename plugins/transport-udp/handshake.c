/*
 * How a link comes up. The peer that connects pays first:
 *
 *   HELLO  ->          its token; as long as OPEN
 *          <- COOKIE   a proof made of its address, token and the time; nothing is remembered
 *   OPEN   ->          the proof back: the peer gets what is sent to its address
 *          <- ACCEPT   our token; a half open link is kept for handshake_timeout_us
 *   DATA   ->          with our token: only now the host hears of the peer
 *
 * So a forged HELLO or OPEN costs nothing but an answer that is shorter than it, and a replayed
 * OPEN a half open link, of which there are few. Whatever is lost is sent again by the peer that
 * connects, with back-off.
 */
#include "link.h"

#include "bug.h"

/* HELLO and OPEN are sent so often before a round of attempts is given up. */
#define HANDSHAKE_SENDS_MAX 5u

/* --- the end that connects --- */

uint64_t handshake_wait_us(struct kv_link *link)
{
    struct endpoint *endpoint = link->endpoint;
    uint64_t half_us = link->retry_us / 2;
    uint64_t wait_us = half_us + endpoint->io.random(endpoint->io_ctx) % (half_us + 1);
    link->retry_us *= 2;
    if (link->retry_us > endpoint->options.connect_retry_max_us) {
        link->retry_us = endpoint->options.connect_retry_max_us;
    }
    return wait_us;
}

static struct wire_hello handshake_own_hello(const struct endpoint *endpoint)
{
    uint32_t message_max = endpoint->limits.message_max;
    return (struct wire_hello){message_max, MTU_MAX, assembly_window(message_max)};
}

/* A peer that has answered HELLO is there: OPEN starts with the short pause again. The back-off
 * between rounds goes on from where it was, for a peer that answers and then refuses. */
static uint64_t handshake_open_wait_us(const struct kv_link *link)
{
    const struct endpoint_options *options = &link->endpoint->options;
    uint64_t wait_us = options->connect_retry_us << (link->sends - 1);
    return wait_us < options->connect_retry_max_us ? wait_us : options->connect_retry_max_us;
}

void handshake_begin(struct kv_link *link, uint64_t now_us)
{
    link->state = LINK_HELLO;
    link->sends = 0;
    handshake_send(link, now_us);
}

void handshake_send(struct kv_link *link, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    if (link->sends == HANDSHAKE_SENDS_MAX) {
        link_retry(link, KV_E_TIMEOUT, "no answer", now_us);
        return;
    }
    const struct wire_datagram datagram = {
        .kind = link->state == LINK_HELLO ? WIRE_HELLO : WIRE_OPEN,
        .from = link->token,
        .version = WIRE_VERSION,
        .cookie = link->cookie,
        .hello = handshake_own_hello(endpoint),
    };
    endpoint_send_datagram(endpoint, link->socket, &link->address, &datagram);
    link->sends++;
    link->asked_us = now_us;
    link->until_us = now_us + (link->state == LINK_HELLO ? handshake_wait_us(link)
                                                         : handshake_open_wait_us(link));
    link_schedule(link);
}

/* Also while OPENING: the cookie was too old, or the peer has restarted. */
void handshake_on_cookie(struct kv_link *link, const struct wire_datagram *datagram,
                         uint64_t now_us)
{
    if (link->state != LINK_HELLO && link->state != LINK_OPENING) {
        return;
    }
    if (link->state == LINK_HELLO) {
        link->state = LINK_OPENING;
        link->sends = 0;
    } else if (link->cookie.time_s == datagram->cookie.time_s &&
               link->cookie.proof == datagram->cookie.proof) {
        return; /* it came twice */
    }
    link->cookie = datagram->cookie;
    handshake_send(link, now_us);
}

void handshake_on_accept(struct kv_link *link, const union address_socket *from,
                         const struct wire_datagram *datagram, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    /* From another address, perhaps, but never from another port. */
    if (link->state != LINK_OPENING || datagram->from == 0 ||
        !address_has_port_of(from, &link->address)) {
        return;
    }
    link->peer_token = datagram->from;
    link->source = *from;
    if (link_open_streams(link, &datagram->hello, now_us) != KV_OK) {
        link_retry(link, KV_E_NOMEM, "out of memory", now_us);
        return;
    }
    link->state = LINK_UP;
    link->is_up = true;
    link->up_us = now_us;
    link->attempt = 0;
    link->logged_reason = 0;
    endpoint->counters.connected++;
    sender_ask(&link->sender); /* the peer waits for a first packet */
    link_touch(link);
    endpoint->events->on_up(endpoint->events_ctx, link->user);
}

void handshake_on_refuse(struct kv_link *link, const struct wire_datagram *datagram,
                         uint64_t now_us)
{
    if (link->state != LINK_HELLO && link->state != LINK_OPENING) {
        return;
    }
    if (datagram->reason == WIRE_REASON_VERSION) {
        link->endpoint->counters.version++;
        log_limited(link->endpoint->host, &link->endpoint->foreign_notice,
                    "udp: %s speaks version %u of this transport, not %u", link->uri,
                    datagram->version, WIRE_VERSION);
        link_retry(link, KV_E_VERSION, "it speaks another version", now_us);
    } else {
        link_retry(link, KV_E_BUSY, "it takes no further links", now_us);
    }
}

/* --- the end that is connected to --- */

static void handshake_refuse(struct endpoint *endpoint, void *socket,
                             const union address_socket *from, uint64_t token,
                             enum wire_reason reason)
{
    const struct wire_datagram answer = {
        .kind = WIRE_REFUSE, .to = token, .version = WIRE_VERSION, .reason = reason};
    endpoint_send_datagram(endpoint, socket, from, &answer);
}

static bool handshake_has_version(struct endpoint *endpoint, void *socket,
                                  const union address_socket *from,
                                  const struct wire_datagram *datagram)
{
    if (datagram->version == WIRE_VERSION) {
        return true;
    }
    char uri[KV_URI_MAX];
    address_format("udp", from, uri);
    endpoint->counters.version++;
    log_limited(endpoint->host, &endpoint->foreign_notice,
                "udp: a peer at %s speaks version %u of this transport, not %u: refused", uri,
                datagram->version, WIRE_VERSION);
    handshake_refuse(endpoint, socket, from, datagram->from, WIRE_REASON_VERSION);
    return false;
}

static void handshake_send_cookie(struct endpoint *endpoint, void *socket,
                                  const union address_socket *from, uint64_t token, uint64_t now_us)
{
    const struct wire_datagram answer = {
        .kind = WIRE_COOKIE,
        .to = token,
        .version = WIRE_VERSION,
        .cookie = cookie_make(&endpoint->secret, from, token, (uint32_t)(now_us / 1000000u)),
    };
    for (int i = 0; i < (BUG(long_answer) ? 2 : 1); i++) {
        endpoint_send_datagram(endpoint, socket, from, &answer);
    }
}

void handshake_on_hello(struct endpoint *endpoint, void *socket, const union address_socket *from,
                        const struct wire_datagram *datagram, uint64_t now_us)
{
    if (endpoint->is_stopping || !handshake_has_version(endpoint, socket, from, datagram)) {
        return;
    }
    handshake_send_cookie(endpoint, socket, from, datagram->from, now_us);
    if (BUG(state_on_hello)) {
        link_create(endpoint, "udp://0.0.0.0:1", true);
    }
}

static void handshake_send_accept(struct kv_link *link)
{
    const struct wire_datagram answer = {
        .kind = WIRE_ACCEPT,
        .to = link->peer_token,
        .from = link->token,
        .hello = handshake_own_hello(link->endpoint),
    };
    endpoint_send_datagram(link->endpoint, link->socket, &link->address, &answer);
    link->sends++;
}

/* The half open link of that peer: its OPEN came twice, or our ACCEPT was lost. */
static struct kv_link *handshake_find_half(const struct endpoint *endpoint,
                                           const union address_socket *from, uint64_t token)
{
    if (endpoint->half_len == 0) {
        return NULL;
    }
    /* Newest last: half open links are near the end. */
    uint32_t left = endpoint->half_len;
    for (const struct list *at = endpoint->links.prev; at != &endpoint->links && left > 0;
         at = at->prev) {
        struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        left -= link->state == LINK_HALF;
        if (link->state == LINK_HALF && link->peer_token == token &&
            address_is_equal(&link->address, from)) {
            return link;
        }
    }
    return NULL;
}

/* The half open link that has waited longest makes room: a peer that means to use its link does so
 * within a round trip, so that one which opens links without end keeps nobody out. */
static void handshake_drop_oldest(struct endpoint *endpoint, uint64_t now_us)
{
    for (struct list *at = endpoint->links.next; at != &endpoint->links; at = at->next) {
        struct kv_link *link = LIST_ENTRY(at, kv_link, links_node);
        if (link->state == LINK_HALF) {
            endpoint->counters.handshake_timeouts++;
            link_lose(link, KV_E_TIMEOUT,
                      "others came, and it had not used the link that it opened", now_us);
            return;
        }
    }
}

static void handshake_accept(struct endpoint *endpoint, void *socket,
                             const union address_socket *from, const struct wire_datagram *datagram,
                             uint64_t now_us)
{
    char uri[KV_URI_MAX];
    address_format("udp", from, uri);
    if (endpoint->half_len >= LINK_HALF_MAX) {
        handshake_drop_oldest(endpoint, now_us);
    }
    if (endpoint->accepted_len >= endpoint->limits.links_max) {
        endpoint->counters.refused++;
        log_limited(endpoint->host, &endpoint->refused_notice,
                    "udp: %s is turned away: links_max (%u) accepted links are there", uri,
                    endpoint->limits.links_max);
        handshake_refuse(endpoint, socket, from, datagram->from, WIRE_REASON_FULL);
        return;
    }
    struct kv_link *link = link_create(endpoint, uri, true);
    if (link == NULL) {
        return; /* it will ask again */
    }
    link->socket = socket;
    link->address = *from;
    link->source = *from;
    link->peer_token = datagram->from;
    link->state = LINK_HALF;
    link->hello = datagram->hello;
    link->until_us = now_us + endpoint->options.handshake_timeout_us;
    link->asked_us = now_us;
    link->is_counted = true;
    endpoint->accepted_len++;
    endpoint->half_len++;
    link_schedule(link);
    handshake_send_accept(link);
    if (BUG(announce_on_open)) {
        handshake_on_used(link, now_us);
    }
}

void handshake_on_open(struct endpoint *endpoint, void *socket, const union address_socket *from,
                       const struct wire_datagram *datagram, uint64_t now_us)
{
    if (endpoint->is_stopping || !handshake_has_version(endpoint, socket, from, datagram)) {
        return;
    }
    if (!BUG(skip_cookie) && !cookie_is_valid(&endpoint->secret, &datagram->cookie, from,
                                              datagram->from, (uint32_t)(now_us / 1000000u))) {
        endpoint->counters.forged++;
        handshake_send_cookie(endpoint, socket, from, datagram->from, now_us);
        return;
    }
    struct kv_link *link = handshake_find_half(endpoint, from, datagram->from);
    if (link != NULL) {
        handshake_send_accept(link);
    } else if (datagram->from != 0) {
        handshake_accept(endpoint, socket, from, datagram, now_us);
    }
}

bool handshake_on_used(struct kv_link *link, uint64_t now_us)
{
    struct endpoint *endpoint = link->endpoint;
    if (link_open_streams(link, &link->hello, now_us) != KV_OK) {
        return false; /* the peer sends it again */
    }
    endpoint->half_len--;
    link->state = LINK_UP;
    link->up_us = now_us;
    void *user = endpoint->events->on_accept(endpoint->events_ctx, link, link->uri);
    if (link->is_released) {
        return false; /* the host closed it within the callback */
    }
    if (user == NULL) {
        endpoint->counters.refused++;
        link_break(link, WIRE_REASON_FULL, KV_E_BUSY, "turned away", now_us);
        return false;
    }
    endpoint->counters.accepted++;
    link->user = user;
    link->is_up = true;
    return link->state == LINK_UP; /* no longer if the host called stop() within the callback */
}

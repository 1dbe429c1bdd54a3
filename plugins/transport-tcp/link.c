/*
 * Happy path of a link that we make: WAITING -> [RESOLVING] -> CONNECTING -> HANDSHAKE -> UP; of
 * one that a peer makes: HANDSHAKE -> UP. The host ends it: DRAINING -> CLOSING -> freed.
 *
 * Failure modes: from any state with a socket to CLOSING, by link_lose(). When the socket's close
 * callback has come, a link of connect() tries the next address of its name or waits for the next
 * attempt; every other link is freed. A name that is being resolved holds its link until the
 * resolver answers.
 */
#include "link.h"

#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "receive.h"
#include "send.h"
#include "tcp.h"

#define LINK_KEEPALIVE_PROBES                                           \
    3 /* unanswered ones, a third of keepalive_s apart, that end a link \
       */

static void attempt(struct kv_link *link);
static void begin(struct kv_link *link);

/* ---- the end of a link ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct kv_link *link = handle->data;
    struct tcp *tcp = link->owner;
    send_close(link);
    receive_close(link);
    list_remove(&link->links_node);
    if (link->is_accepted) {
        tcp->accepted_total--;
    }
    tcp_release(tcp, link);
    tcp_finish_stop(tcp);
}

/* Frees a link of which nothing but its timer is left. */
static void retire(struct kv_link *link)
{
    if (!link->is_socket_open && !link->is_resolving && !link->is_retiring) {
        link->is_retiring = true;
        uv_close((uv_handle_t *)&link->timer, on_timer_closed);
    }
}

static bool is_wanted(const struct kv_link *link)
{
    return !link->is_accepted && !link->is_released && !link->owner->is_stopping;
}

static void on_timer(uv_timer_t *timer);

/* A pause before the next attempt: half of it fixed, half of it chance, so that many peers of a
 * node that comes back do not all come at once. */
static void wait_for_retry(struct kv_link *link)
{
    struct tcp *tcp = link->owner;
    uint64_t pause_ms = link->retry_ms / 2 + tcp_get_random(tcp, link->retry_ms / 2 + 1);
    link->retry_ms *= 2;
    if (link->retry_ms > tcp->options.connect_retry_max_ms) {
        link->retry_ms = tcp->options.connect_retry_max_ms;
    }
    link->state = LINK_WAITING;
    link->addresses_len = 0;
    uv_timer_start(&link->timer, on_timer, pause_ms, 0);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct kv_link *link = handle->data;
    link->is_socket_open = false;
    send_close(link);
    receive_close(link);
    if (!is_wanted(link)) {
        retire(link);
    } else if (link->address_index + 1 < link->addresses_len) {
        link->address_index++;
        attempt(link);
    } else {
        wait_for_retry(link);
    }
}

static void uncount(struct kv_link *link)
{
    if (link->is_counted) {
        link->is_counted = false;
        link->owner->accepted_len--;
    }
}

/* Ends the connection at once; never calls back. */
static void abort_connection(struct kv_link *link)
{
    link->state = LINK_CLOSING;
    list_remove(&link->unflushed_node);
    list_remove(&link->deferred_node);
    link->deferred_reason = 0;
    link->is_deferred_writable = false;
    link->is_reading = false;
    uncount(link);
    uv_timer_stop(&link->timer);
    if (link->is_socket_open) {
        uv_close((uv_handle_t *)&link->socket, on_socket_closed);
    } else if (link->is_resolving) {
        uv_cancel((uv_req_t *)&link->resolve_req);
    } else if (is_wanted(link)) {
        wait_for_retry(link);
    } else {
        retire(link);
    }
}

/* A failure to connect is logged when it is another one than before: an absent peer is tried for as
 * long as it takes. */
static void log_loss(struct kv_link *link, int32_t reason, const char *text)
{
    struct tcp *tcp = link->owner;
    if (text == NULL || link->is_released || tcp->is_stopping) {
        return;
    }
    if (link->is_up) {
        /* That a peer which came goes again is no news: clients do. */
        uint32_t level = link->is_accepted ? KV_LOG_DEBUG : KV_LOG_INFO;
        log_line(tcp->host, level, "tcp: the link with %s is lost: %s", link->uri, text);
    } else if (link->is_accepted) {
        log_line(tcp->host, KV_LOG_DEBUG, "tcp: %s came and went: %s", link->uri, text);
    } else {
        uint32_t level = link->logged_reason == reason ? KV_LOG_DEBUG : KV_LOG_WARN;
        link->logged_reason = reason;
        log_line(tcp->host, level, "tcp: cannot connect to %s: %s; trying again", link->uri, text);
    }
}

void link_lose(struct kv_link *link, int32_t reason, const char *text)
{
    struct tcp *tcp = link->owner;
    if (link->state == LINK_CLOSING) {
        return;
    }
    bool is_told = link->is_up && !link->is_released;
    log_loss(link, reason, text);
    if (link->is_up &&
        tcp->host->now_ms(tcp->host->ctx) - link->up_ms >= tcp->options.connect_retry_max_ms) {
        link->retry_ms = tcp->options.connect_retry_ms;
    }
    link->is_up = false;
    abort_connection(link);
    if (is_told) {
        tcp->events->on_down(tcp->events_ctx, link->user, reason);
    }
}

/* ---- callbacks owed to the host ---- */

static void defer(struct kv_link *link)
{
    struct tcp *tcp = link->owner;
    list_remove(&link->deferred_node);
    list_append(&tcp->deferred, &link->deferred_node);
    uv_idle_start(&tcp->deferred_idle, link_on_deferred);
}

void link_lose_later(struct kv_link *link, int32_t reason)
{
    if (link->state != LINK_CLOSING && link->deferred_reason == 0) {
        link->deferred_reason = reason;
        defer(link);
    }
}

void link_defer_writable(struct kv_link *link)
{
    link->is_deferred_writable = true;
    defer(link);
}

void link_on_deferred(uv_idle_t *idle)
{
    struct tcp *tcp = idle->data;
    struct list now; /* what the callbacks add waits for the next turn */
    list_move(&tcp->deferred, &now);
    while (!list_is_empty(&now)) {
        struct kv_link *link = LIST_ENTRY(now.next, kv_link, deferred_node);
        list_remove(&link->deferred_node);
        bool is_writable = link->is_deferred_writable && link->is_busy;
        link->is_deferred_writable = false;
        if (link->deferred_reason != 0) {
            link_lose(link, link->deferred_reason, "the socket failed");
        } else if (is_writable && link->state == LINK_UP) {
            link->is_busy = false;
            tcp->events->on_writable(tcp->events_ctx, link->user);
        }
    }
    if (list_is_empty(&tcp->deferred)) {
        uv_idle_stop(&tcp->deferred_idle);
    }
}

/* ---- draining ---- */

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct kv_link *link = req->data;
    if (link->state == LINK_DRAINING && (status < 0 || link->is_ended)) {
        link_lose(link, KV_E_CLOSED, "closed");
    }
}

/* After the last byte our end is shut, and the socket closed only when the peer has shut its own: a
 * close() with bytes unread would reset the connection and could lose what we sent last. */
void link_drain(struct kv_link *link)
{
    if (send_get_queued(link) > 0) {
        return;
    }
    if (!link->is_shut) {
        link->is_shut = true;
        link->shutdown_req.data = link;
        int status = uv_shutdown(&link->shutdown_req, (uv_stream_t *)&link->socket, on_shutdown);
        if (status != 0) {
            link_lose_later(link, KV_E_CLOSED);
        }
    } else if (link->is_ended) {
        link_lose_later(link, KV_E_CLOSED);
    }
}

static void begin_drain(struct kv_link *link)
{
    link->state = LINK_DRAINING;
    link->is_busy = false;
    uncount(link);
    if (link->deferred_reason != 0) {
        return; /* lost already: link_on_deferred() ends it */
    }
    list_remove(&link->deferred_node);
    uv_update_time(link->owner->loop); /* a long turn of the host is not to shorten the second */
    uv_timer_start(&link->timer, on_timer, LINK_DRAIN_MS, 0);
    send_write(link);
    receive_update(link);
    link_drain(link);
}

void link_close(struct kv_link *link)
{
    if (link->is_released) {
        return;
    }
    link->is_released = true;
    if (link->state == LINK_UP) {
        begin_drain(link);
    } else if (link->state != LINK_DRAINING && link->state != LINK_CLOSING) {
        abort_connection(link);
    }
}

void link_stop(struct kv_link *link)
{
    if (link->state == LINK_UP) {
        begin_drain(link);
    } else if (link->state != LINK_DRAINING && link->state != LINK_CLOSING) {
        abort_connection(link);
    }
}

/* ---- the way up ---- */

static struct kv_link *create(struct tcp *tcp, bool is_accepted)
{
    struct kv_link *link = tcp_allocate(tcp, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    memset(link, 0, sizeof *link);
    link->owner = tcp;
    link->is_accepted = is_accepted;
    link->retry_ms = tcp->options.connect_retry_ms;
    list_init(&link->unflushed_node);
    list_init(&link->deferred_node);
    list_append(&tcp->links, &link->links_node);
    uv_timer_init(tcp->loop, &link->timer);
    link->timer.data = link;
    return link;
}

static void set_socket_options(struct kv_link *link)
{
    int keepalive_s = (int)link->owner->options.keepalive_s;
    uv_tcp_nodelay(&link->socket, 1);
    if (keepalive_s > 0 && uv_tcp_keepalive(&link->socket, 1, (unsigned)keepalive_s) == 0) {
        /* libuv sets the idle time only; the rest of the detection should not last minutes. */
        int interval_s = keepalive_s >= 3 ? keepalive_s / 3 : 1;
        int probes = LINK_KEEPALIVE_PROBES;
        uv_os_fd_t fd = -1;
        if (uv_fileno((uv_handle_t *)&link->socket, &fd) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
        }
    }
}

/* The connection stands: both sides say who they are. Calls back never: the link is not up. */
static void begin_handshake(struct kv_link *link)
{
    struct tcp *tcp = link->owner;
    link->state = LINK_HANDSHAKE;
    uv_timer_start(&link->timer, on_timer, tcp->options.handshake_timeout_ms, 0);
    set_socket_options(link);
    if (send_preamble(link) != KV_OK) {
        link_lose(link, KV_E_NOMEM, "out of memory");
        return;
    }
    receive_update(link);
}

static int open_socket(struct kv_link *link)
{
    int status = uv_tcp_init(link->owner->loop, &link->socket);
    if (status == 0) {
        link->socket.data = link;
        link->is_socket_open = true;
        link->is_reading = false;
        link->is_ended = false;
        link->is_shut = false;
    }
    return status;
}

void link_accept(struct tcp *tcp, int fd, const union address_socket *remote)
{
    struct kv_link *link = create(tcp, true);
    if (link == NULL) {
        log_limited(tcp->host, &tcp->refused_notice, "tcp: a peer is turned away: out of memory");
        close(fd);
        return;
    }
    address_format("tcp", remote, link->uri);
    tcp->accepted_total++;
    tcp->accepted_len++;
    link->is_counted = true;
    int status = open_socket(link);
    if (status == 0) {
        status = uv_tcp_open(&link->socket, fd);
    }
    if (status != 0) {
        close(fd);
        link_lose(link, KV_E_IO, uv_strerror(status));
        return;
    }
    begin_handshake(link);
}

void link_become_up(struct kv_link *link)
{
    struct tcp *tcp = link->owner;
    link->state = LINK_UP;
    link->up_ms = tcp->host->now_ms(tcp->host->ctx);
    link->logged_reason = 0;
    link->addresses_len = 0;
    uv_timer_stop(&link->timer);
    if (!link->is_accepted) {
        link->is_up = true;
        tcp->counters.connected++;
        tcp->events->on_up(tcp->events_ctx, link->user);
        return;
    }
    tcp->counters.accepted++;
    void *user = tcp->events->on_accept(tcp->events_ctx, link, link->uri);
    link->user = user;
    if (user == NULL) {
        link_close(link);
    } else {
        link->is_up = true;
    }
}

/* The kernel may choose the very port that we connect to as our own, when nobody listens there:
 * then the connection is one with ourselves, and blocks the port for whom it belongs to. */
static bool is_self_connected(struct kv_link *link)
{
    union address_socket ours;
    union address_socket theirs;
    int ours_len = sizeof ours;
    int theirs_len = sizeof theirs;
    memset(&ours, 0, sizeof ours);
    memset(&theirs, 0, sizeof theirs);
    return uv_tcp_getsockname(&link->socket, &ours.any, &ours_len) == 0 &&
           uv_tcp_getpeername(&link->socket, &theirs.any, &theirs_len) == 0 &&
           address_is_equal(&ours, &theirs);
}

/* An orderly end would leave the port in TIME_WAIT, shut for its owner for a minute. */
static void reset_on_close(struct kv_link *link)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    uv_os_fd_t fd = -1;
    if (uv_fileno((uv_handle_t *)&link->socket, &fd) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct kv_link *link = req->data;
    if (link->state != LINK_CONNECTING) {
        return;
    }
    if (status < 0) {
        link_lose(link, KV_E_UNREACHABLE, uv_strerror(status));
    } else if (is_self_connected(link)) {
        reset_on_close(link);
        link_lose(link, KV_E_UNREACHABLE, "nobody listens there");
    } else {
        begin_handshake(link);
    }
}

/* Connects to addresses[address_index]. */
static void attempt(struct kv_link *link)
{
    link->state = LINK_CONNECTING;
    int status = open_socket(link);
    if (status == 0) {
        link->connect_req.data = link;
        status = uv_tcp_connect(&link->connect_req, &link->socket,
                                &link->addresses[link->address_index].any, on_connected);
    }
    if (status != 0) {
        link_lose(link, KV_E_IO, uv_strerror(status)); /* not up: calls nobody back */
        return;
    }
    uv_timer_start(&link->timer, on_timer, link->owner->options.connect_timeout_ms, 0);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct kv_link *link = req->data;
    link->is_resolving = false;
    link->addresses_len = 0;
    for (struct addrinfo *at = found; at != NULL && status == 0; at = at->ai_next) {
        if (link->addresses_len < LINK_ADDRESSES_MAX &&
            address_copy(at->ai_addr, &link->addresses[link->addresses_len])) {
            link->addresses_len++;
        }
    }
    uv_freeaddrinfo(found);
    if (!is_wanted(link)) {
        retire(link);
    } else if (link->addresses_len == 0) {
        link_lose(link, KV_E_NOT_FOUND, status < 0 ? uv_strerror(status) : "no address");
    } else {
        attempt(link);
    }
}

static void resolve(struct kv_link *link, const struct address *address)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    link->state = LINK_RESOLVING;
    link->resolve_req.data = link;
    int status = uv_getaddrinfo(link->owner->loop, &link->resolve_req, on_resolved, address->host,
                                address->port_text, &hints);
    if (status != 0) {
        link_lose(link, KV_E_IO, uv_strerror(status));
        return;
    }
    link->is_resolving = true;
}

/* A name is resolved anew for each round of attempts: its owner may have moved. */
static void begin(struct kv_link *link)
{
    struct address address;
    link->address_index = 0;
    if (address_parse("tcp", link->uri, &address) != KV_OK) {
        return; /* cannot be: link_connect() looked at it */
    }
    if (!address.is_literal) {
        resolve(link, &address);
        return;
    }
    link->addresses[0] = address.socket;
    link->addresses_len = 1;
    attempt(link);
}

static void on_timer(uv_timer_t *timer)
{
    struct kv_link *link = timer->data;
    switch (link->state) {
    case LINK_WAITING:
        begin(link);
        break;
    case LINK_CONNECTING:
        link_lose(link, KV_E_TIMEOUT, "no answer in time");
        break;
    case LINK_HANDSHAKE:
        link->owner->counters.handshake_timeouts++;
        link_lose(link, KV_E_TIMEOUT, "no preamble came in time");
        break;
    case LINK_DRAINING:
        link_lose(link, KV_E_CLOSED, NULL);
        break;
    default:
        break;
    }
}

int32_t link_connect(struct tcp *tcp, const char *uri, void *user, struct kv_link **ret_link)
{
    struct address address;
    if (address_parse("tcp", uri, &address) != KV_OK || address.port == 0) {
        log_line(tcp->host, KV_LOG_ERROR,
                 "tcp: cannot connect to %s: not of the form tcp://HOST:PORT", uri);
        return KV_E_INVALID;
    }
    struct kv_link *link = create(tcp, false);
    if (link == NULL) {
        return KV_E_NOMEM;
    }
    memcpy(link->uri, uri, strlen(uri) + 1);
    link->user = user;
    begin(link);
    *ret_link = link;
    return KV_OK;
}

#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/address.h"
#include "common/listen.h"
#include "link.h"
#include "tcp.h"

#define LISTENER_BACKLOG   1024
#define LISTENER_BURST_MAX 64  /* accepted at one wake-up, so that other links get their turn */
#define LISTENER_PAUSE_MS  100 /* after accept() failed */
#define LISTENER_CLOSING_MORE                                          \
    64 /* accepted links that may still be ending beyond 2 * links_max \
        */

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct tcp *tcp = listener->owner;
    list_remove(&listener->node);
    tcp_release(tcp, listener);
    tcp_finish_stop(tcp);
}

void listener_close(struct listener *listener)
{
    if (!listener->is_closing) {
        listener->is_closing = true;
        uv_close((uv_handle_t *)&listener->poll, on_closed);
        close(listener->fd);
    }
}

/* An accept() that fails would fail again at once, as the peer stays in the queue: pause all. */
static void pause_all(struct tcp *tcp, int error)
{
    tcp->counters.accept_failures++;
    log_limited(tcp->host, &tcp->accept_notice, "tcp: cannot accept a peer: %s; next try in %d ms",
                strerror(error), LISTENER_PAUSE_MS);
    for (struct list *at = tcp->listeners.next; at != &tcp->listeners; at = at->next) {
        struct listener *listener = LIST_ENTRY(at, listener, node);
        if (!listener->is_closing) {
            uv_poll_stop(&listener->poll);
            listener->is_paused = true;
        }
    }
    uv_timer_start(&tcp->accept_timer, listener_on_timer, LISTENER_PAUSE_MS, 0);
}

static void take_peer(struct tcp *tcp, int fd, const union address_socket *remote)
{
    uint64_t total_max = 2 * (uint64_t)tcp->limits.links_max + LISTENER_CLOSING_MORE;
    if (tcp->accepted_len >= tcp->limits.links_max || tcp->accepted_total >= total_max) {
        tcp->counters.refused++;
        log_limited(tcp->host, &tcp->refused_notice,
                    "tcp: a peer is turned away: links_max (%u) accepted links are there",
                    tcp->limits.links_max);
        close(fd);
        return;
    }
    link_accept(tcp, fd, remote);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct listener *listener = poll->data;
    struct tcp *tcp = listener->owner;
    if (status < 0) {
        pause_all(tcp, -status);
        return;
    }
    for (int i = 0; i < LISTENER_BURST_MAX; i++) {
        union address_socket remote;
        socklen_t remote_len = sizeof remote;
        memset(&remote, 0, sizeof remote);
        int fd = accept4(listener->fd, &remote.any, &remote_len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take_peer(tcp, fd, &remote);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            pause_all(tcp, errno);
            return;
        }
    }
}

static void resume(struct listener *listener)
{
    int status = uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    listener->is_paused = status != 0;
    if (status != 0) {
        pause_all(listener->owner, -status);
    }
}

void listener_on_timer(uv_timer_t *timer)
{
    struct tcp *tcp = timer->data;
    for (struct list *at = tcp->listeners.next; at != &tcp->listeners; at = at->next) {
        struct listener *listener = LIST_ENTRY(at, listener, node);
        if (listener->is_paused && !listener->is_closing) {
            resume(listener);
        }
    }
}

/* KV_OK and a bound, listening socket, or what the errno means to the host. */
static int32_t open_socket(struct tcp *tcp, const char *uri, const union address_socket *address,
                           int *ret_fd)
{
    int on = 1;
    int family = address->any.sa_family;
    const char *step = "socket";
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        goto out;
    }
    step = "setsockopt";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        goto out;
    }
    /* So that the same port can be had for both families. */
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
        goto out;
    }
    step = "bind";
    if (bind(fd, &address->any, address_len(address)) != 0) {
        goto out;
    }
    step = "listen";
    if (listen(fd, LISTENER_BACKLOG) != 0) {
        goto out;
    }
    *ret_fd = fd;
    return KV_OK;
out:;
    int error = errno;
    log_line(tcp->host, KV_LOG_ERROR, "tcp: cannot listen on %s: %s: %s", uri, step,
             strerror(error));
    if (fd >= 0) {
        close(fd);
    }
    switch (error) {
    case EADDRINUSE:
        return KV_E_EXISTS;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return KV_E_INVALID;
    default:
        return KV_E_IO;
    }
}

int32_t listener_open(struct tcp *tcp, const char *uri, char *ret_uri)
{
    union address_socket address;
    int32_t status = listen_find_address(tcp->host, "tcp", uri, &address);
    if (status != KV_OK) {
        return status;
    }
    struct listener *listener = tcp_allocate(tcp, sizeof *listener);
    if (listener == NULL) {
        log_line(tcp->host, KV_LOG_ERROR, "tcp: cannot listen on %s: out of memory", uri);
        return KV_E_NOMEM;
    }
    memset(listener, 0, sizeof *listener);
    listener->owner = tcp;
    status = open_socket(tcp, uri, &address, &listener->fd);
    if (status != KV_OK) {
        tcp_release(tcp, listener);
        return status;
    }
    union address_socket bound = address;
    socklen_t bound_len = sizeof bound;
    int error = getsockname(listener->fd, &bound.any, &bound_len) != 0 ? -errno : 0;
    if (error == 0) {
        error = uv_poll_init(tcp->loop, &listener->poll, listener->fd);
    }
    if (error != 0) {
        log_line(tcp->host, KV_LOG_ERROR, "tcp: cannot listen on %s: %s", uri, uv_strerror(error));
        close(listener->fd);
        tcp_release(tcp, listener);
        return KV_E_IO;
    }
    listener->poll.data = listener;
    list_append(&tcp->listeners, &listener->node);
    resume(listener);
    address_format("tcp", &bound, ret_uri);
    return KV_OK;
}

/* The sockets of an instance: those that listen, and the one per family that links go out from.
 * Declared in udp.h. */
#include <errno.h>
#include <string.h>

#include "common/address.h"
#include "common/listen.h"
#include "udp.h"

static void on_datagram(void *ctx, struct udp_socket *socket, const union address_socket *from,
                        const uint8_t *bytes, size_t len)
{
    struct udp *udp = ctx;
    /* Who does not listen takes nobody in: a peer that happens on an outgoing socket, or that
     * socket itself when the system gave it the port that it looks for a peer at. */
    bool is_knock = len > 0 && (bytes[0] == WIRE_HELLO || bytes[0] == WIRE_OPEN);
    if (is_knock && !socket->is_listening) {
        udp->endpoint.counters.unknown++;
        return;
    }
    endpoint_receive(&udp->endpoint, socket, from, bytes, len, uv_hrtime() / 1000);
}

static void on_batch_end(void *ctx)
{
    struct udp *udp = ctx;
    udp_update(udp);
    udp_finish_stop(udp);
}

static void on_unreachable(void *ctx, const union address_socket *to, const uint8_t *bytes,
                           size_t len)
{
    struct udp *udp = ctx;
    endpoint_on_unreachable(&udp->endpoint, to, bytes, len, uv_hrtime() / 1000);
}

static void on_closed(void *ctx, struct udp_socket *socket)
{
    struct udp *udp = ctx;
    list_remove(&socket->node);
    udp->host->release(udp->host->ctx, socket);
    udp_finish_stop(udp);
}

static const struct socket_events listener_events = {
    .on_datagram = on_datagram,
    .on_batch_end = on_batch_end,
    .on_unreachable = on_unreachable,
    .on_closed = on_closed,
};

/* A negative errno on failure, *ret_step: what failed. */
static int open_socket(struct udp *udp, const union address_socket *address, bool is_listening,
                       struct udp_socket **ret_socket, const char **ret_step)
{
    struct udp_socket *socket = udp->host->allocate(udp->host->ctx, sizeof *socket);
    if (socket == NULL) {
        *ret_step = "socket";
        return -ENOMEM;
    }
    int status = socket_open(socket, udp->host, address, udp->receive_buffer, &listener_events, udp,
                             ret_step);
    if (status != 0) {
        udp->host->release(udp->host->ctx, socket);
        return status;
    }
    list_append(&udp->sockets, &socket->node);
    socket->is_listening = is_listening;
    *ret_socket = socket;
    return 0;
}

int32_t listener_open(struct udp *udp, const char *uri, char *ret_uri)
{
    union address_socket address;
    struct udp_socket *socket = NULL;
    const char *step = NULL;
    int32_t status = listen_find_address(udp->host, "udp", uri, &address);
    if (status != KV_OK) {
        return status;
    }
    int error = open_socket(udp, &address, true, &socket, &step);
    if (error != 0) {
        log_line(udp->host, KV_LOG_ERROR, "udp: cannot listen on %s: %s: %s", uri, step,
                 strerror(-error));
    }
    switch (-error) {
    case 0:
        address_format("udp", &socket->bound, ret_uri);
        return KV_OK;
    case EADDRINUSE:
        return KV_E_EXISTS;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return KV_E_INVALID;
    case ENOMEM:
        return KV_E_NOMEM;
    default:
        return KV_E_IO;
    }
}

struct udp_socket *listener_get_outgoing(struct udp *udp, int family, const char **ret_text)
{
    struct udp_socket **place = family == AF_INET6 ? &udp->outgoing_v6 : &udp->outgoing_v4;
    union address_socket address;
    const char *step = NULL;
    if (*place == NULL) {
        memset(&address, 0, sizeof address); /* the wildcard address, any port */
        address.any.sa_family = (sa_family_t)family;
        int error = open_socket(udp, &address, false, place, &step);
        if (error != 0) {
            *ret_text = strerror(-error);
        }
    }
    return *place;
}

void listener_close_all(struct udp *udp)
{
    for (struct list *at = udp->sockets.next; at != &udp->sockets; at = at->next) {
        socket_close(LIST_ENTRY(at, udp_socket, node));
    }
}

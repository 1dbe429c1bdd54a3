/*
 * Happy path: libuv says that the descriptor is readable, up to SOCKET_BATCH_LEN datagrams are
 * received with one system call into the instance's buffer and handed over one by one, until a call
 * brings fewer than it could.
 *
 * Failure modes: an error of the network (ICMP) wakes the loop as well, and libuv then stops
 * watching; what it is about lies in the socket's error queue, which is emptied before the watching
 * goes on. Any callback may close the socket in the middle of a batch.
 */
#include "socket.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Taken from the error queue at one wake-up, so that other sockets get their turn. */
#define SOCKET_ERRORS_MAX 64
/* Of a datagram that comes back: at most 548 bytes of it over IPv4, 1232 over IPv6. */
#define SOCKET_ERROR_BYTES 1280

/* Whether the error says that the port is closed at the other end. What a router says of a path is
 * no such proof, and a datagram that this system found too large is the path probing's to see. */
static bool is_unreachable(struct msghdr *message)
{
    struct sock_extended_err error;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        bool is_v4 = at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_RECVERR;
        bool is_v6 = at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_RECVERR;
        if ((is_v4 || is_v6) && at->cmsg_len >= CMSG_LEN(sizeof error)) {
            memcpy(&error, CMSG_DATA(at), sizeof error);
            return error.ee_errno == ECONNREFUSED &&
                   (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6);
        }
    }
    return false;
}

/* Empties the error queue. False: it was empty, or nothing could be read. */
static bool take_error(struct udp_socket *socket)
{
    uint8_t bytes[SOCKET_ERROR_BYTES];
    union {
        struct cmsghdr align;
        uint8_t bytes[512];
    } control;
    union address_socket to;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {.msg_name = &to,
                             .msg_namelen = sizeof to,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    memset(&to, 0, sizeof to);
    ssize_t len = recvmsg(socket->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (len < 0) {
        return errno == EINTR;
    }
    if (is_unreachable(&message)) {
        socket->events->on_unreachable(socket->ctx, &to, bytes, (size_t)len);
    }
    return true;
}

static void take_errors(struct udp_socket *socket)
{
    for (int i = 0; i < SOCKET_ERRORS_MAX && !socket->is_closing; i++) {
        if (!take_error(socket)) {
            return;
        }
    }
}

/* One call. True: as many as it can bring; there may be more. */
static bool receive_batch(struct udp_socket *socket)
{
    struct mmsghdr messages[SOCKET_BATCH_LEN];
    struct iovec parts[SOCKET_BATCH_LEN];
    union address_socket from[SOCKET_BATCH_LEN];
    memset(messages, 0, sizeof messages);
    for (uint32_t i = 0; i < SOCKET_BATCH_LEN; i++) {
        parts[i].iov_base = socket->receive_buffer + (size_t)i * SOCKET_SLOT_BYTES;
        parts[i].iov_len = SOCKET_SLOT_BYTES;
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &from[i];
        messages[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    int len = recvmmsg(socket->fd, messages, SOCKET_BATCH_LEN, MSG_DONTWAIT, NULL);
    for (int i = 0; i < len && !socket->is_closing; i++) {
        union address_socket address;
        if ((messages[i].msg_hdr.msg_flags & MSG_TRUNC) == 0 &&
            address_copy(&from[i].any, &address)) {
            socket->events->on_datagram(socket->ctx, socket, &address, parts[i].iov_base,
                                        messages[i].msg_len);
        }
    }
    return len == (int)SOCKET_BATCH_LEN;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct udp_socket *socket = poll->data;
    (void)events;
    if (status < 0) {
        take_errors(socket);
        if (!socket->is_closing) {
            uv_poll_start(poll, UV_READABLE, on_readable); /* fails for a closing handle only */
        }
    }
    uint32_t batches = 0;
    while (batches < SOCKET_BATCHES_MAX && !socket->is_closing && receive_batch(socket)) {
        batches++;
    }
    if (!socket->is_closing) {
        socket->events->on_batch_end(socket->ctx);
    }
}

/* Large buffers, no splitting on the way, errors that name their datagram. None of it is needed for
 * the socket to work, and some systems refuse some of it. */
static void set_options(int fd, int family)
{
    int size = (int)SOCKET_BUFFER_BYTES;
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    if (family == AF_INET6) {
        int probe = IPV6_PMTUDISC_PROBE;
        setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe);
        setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on);
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    } else {
        int probe = IP_PMTUDISC_PROBE;
        setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
        setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    }
}

/* A bound descriptor, or a negative errno. Whatever may well fail is done here, before libuv has a
 * handle that could be closed only asynchronously. */
static int open_descriptor(const union address_socket *address, union address_socket *ret_bound,
                           const char **ret_step)
{
    int on = 1;
    int family = address->any.sa_family;
    socklen_t len = sizeof *ret_bound;
    *ret_step = "socket";
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    *ret_step = "setsockopt";
    /* So that the same port can be had for both families. */
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
        goto out;
    }
    set_options(fd, family);
    *ret_step = "bind";
    if (bind(fd, &address->any, address_len(address)) != 0) {
        goto out;
    }
    *ret_step = "getsockname";
    if (getsockname(fd, &ret_bound->any, &len) != 0) {
        goto out;
    }
    return fd;
out:;
    int error = errno;
    close(fd);
    return -error;
}

int socket_open(struct udp_socket *socket, const struct kv_host *host,
                const union address_socket *address, uint8_t *receive_buffer,
                const struct socket_events *events, void *ctx, const char **ret_step)
{
    memset(socket, 0, sizeof *socket);
    socket->host = host;
    socket->events = events;
    socket->ctx = ctx;
    socket->receive_buffer = receive_buffer;
    list_init(&socket->node);
    socket->fd = open_descriptor(address, &socket->bound, ret_step);
    if (socket->fd < 0) {
        return socket->fd;
    }
    int status = uv_poll_init(host->loop, &socket->poll, socket->fd);
    if (status != 0) {
        *ret_step = "uv_poll_init";
        close(socket->fd);
        return status;
    }
    socket->poll.data = socket;
    uv_poll_start(&socket->poll, UV_READABLE, on_readable); /* fails for a closing handle only */
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct udp_socket *socket = handle->data;
    socket->events->on_closed(socket->ctx, socket);
}

void socket_close(struct udp_socket *socket)
{
    if (!socket->is_closing) {
        socket->is_closing = true;
        uv_close((uv_handle_t *)&socket->poll, on_closed);
        close(socket->fd);
    }
}

/*
 * Happy path: libuv polls the descriptor and receives up to SOCKET_BATCH_LEN datagrams with one
 * system call into the instance's buffer, hands them over one by one, and says at the end that the
 * buffer is free again.
 *
 * Failure modes: an error of the network (ICMP) wakes the loop as well, with nothing to receive;
 * what it is about lies in the socket's error queue, and the socket stays readable until that is
 * empty. Any callback may close the socket in the middle of a batch.
 */
#include "socket.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Taken from the error queue at one wake-up, so that other sockets get their turn. */
#define SOCKET_ERRORS_MAX 64
/* Of a datagram that comes back; a system sends 548 bytes of it at most over IPv4, 1232 over IPv6.
 */
#define SOCKET_ERROR_BYTES 1280

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct udp_socket *socket = handle->data;
    (void)suggested;
    ret_buffer->base = (char *)socket->receive_buffer;
    ret_buffer->len = SOCKET_RECEIVE_BYTES;
}

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

static void on_receive(uv_udp_t *handle, ssize_t len, const uv_buf_t *buffer,
                       const struct sockaddr *from, unsigned flags)
{
    struct udp_socket *socket = handle->data;
    union address_socket address;
    if (socket->is_closing) {
        return;
    }
    if (from != NULL && len >= 0) {
        socket->has_received = true;
        if ((flags & UV_UDP_PARTIAL) == 0 && address_copy(from, &address)) {
            socket->events->on_datagram(socket->ctx, socket, &address,
                                        (const uint8_t *)buffer->base, (size_t)len);
        }
        return;
    }
    if ((flags & UV_UDP_MMSG_FREE) == 0) {
        /* The end of a wake-up. One that brought nothing was for an error; else an error that waits
         * besides wakes the loop once more. */
        if (len < 0 || !socket->has_received) {
            take_errors(socket);
        }
        socket->has_received = false;
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

/* From here on it is libuv's to close. */
static int begin(struct udp_socket *socket, const char **ret_step)
{
    int off = 0;
    *ret_step = "uv_udp_open";
    int status = uv_udp_open(&socket->handle, socket->fd);
    if (status != 0) {
        close(socket->fd);
        return status;
    }
    /* libuv lets others share the port; it is ours alone. */
    *ret_step = "setsockopt";
    if (setsockopt(socket->fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) != 0) {
        return -errno;
    }
    *ret_step = "uv_udp_recv_start";
    return uv_udp_recv_start(&socket->handle, on_allocate, on_receive);
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
    int status = uv_udp_init_ex(host->loop, &socket->handle, AF_UNSPEC | UV_UDP_RECVMMSG);
    if (status != 0) {
        *ret_step = "uv_udp_init_ex";
        close(socket->fd);
        return status;
    }
    socket->handle.data = socket;
    status = begin(socket, ret_step);
    if (status != 0) {
        socket_close(socket);
    }
    return status;
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
        uv_udp_recv_stop(&socket->handle); /* the rest of a batch is not handed over */
        uv_close((uv_handle_t *)&socket->handle, on_closed);
    }
}

#include "outbox.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

void outbox_init(struct outbox *outbox, outbox_too_large_fn on_too_large, void *ctx)
{
    memset(outbox, 0, sizeof *outbox);
    outbox->on_too_large = on_too_large;
    outbox->ctx = ctx;
}

void outbox_add(struct outbox *outbox, struct udp_socket *socket, const union address_socket *to,
                const uint8_t *header, size_t header_len, const struct kv_slice *slices,
                uint32_t slices_len)
{
    if (socket->is_closing || header_len > WIRE_BYTES_MAX || slices_len > QUEUE_SLICES_MAX) {
        outbox->dropped++;
        return;
    }
    if (outbox->len == OUTBOX_LEN_MAX) {
        outbox_send(outbox);
    }
    struct outbox_datagram *datagram = &outbox->datagrams[outbox->len];
    outbox->len++;
    datagram->socket = socket;
    datagram->to = *to;
    memcpy(datagram->header, header, header_len);
    datagram->parts[0].iov_base = datagram->header;
    datagram->parts[0].iov_len = header_len;
    datagram->parts_len = 1 + slices_len;
    for (uint32_t i = 0; i < slices_len; i++) {
        datagram->parts[1 + i].iov_base = (void *)(uintptr_t)slices[i].bytes;
        datagram->parts[1 + i].iov_len = slices[i].len;
    }
}

/* Fills messages with all that goes out by that socket, and takes it from the datagrams. */
static uint32_t gather(struct outbox *outbox, const struct udp_socket *socket, uint32_t from)
{
    uint32_t len = 0;
    for (uint32_t i = from; i < outbox->len; i++) {
        struct outbox_datagram *datagram = &outbox->datagrams[i];
        if (datagram->socket != socket) {
            continue;
        }
        struct msghdr *message = &outbox->messages[len].msg_hdr;
        memset(message, 0, sizeof *message);
        message->msg_name = &datagram->to;
        message->msg_namelen = address_len(&datagram->to);
        message->msg_iov = datagram->parts;
        message->msg_iovlen = datagram->parts_len;
        datagram->socket = NULL;
        len++;
    }
    return len;
}

/* The system refused this datagram, and not for an earlier one. */
static void refuse(struct outbox *outbox, const struct msghdr *message, int error)
{
    size_t size = 0;
    outbox->dropped++;
    if (error == EMSGSIZE) {
        for (size_t i = 0; i < message->msg_iovlen; i++) {
            size += message->msg_iov[i].iov_len;
        }
        outbox->on_too_large(outbox->ctx, message->msg_name, (uint32_t)size);
    }
}

static void send_messages(struct outbox *outbox, int fd, uint32_t len)
{
    uint32_t at = 0;
    bool is_second = false;
    while (at < len) {
        int sent = sendmmsg(fd, outbox->messages + at, len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        int error = errno;
        outbox->calls++;
        if (sent > 0) {
            outbox->sent += (uint32_t)sent;
            at += (uint32_t)sent;
            is_second = false;
        } else if (sent == 0 || error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS) {
            outbox->dropped += len - at;
            return;
        } else if (error != EINTR && !is_second) {
            /* With IP_RECVERR the error may be one that an earlier datagram met on its way. */
            is_second = true;
        } else if (error != EINTR) {
            is_second = false;
            refuse(outbox, &outbox->messages[at].msg_hdr, error);
            at++;
        }
    }
}

void outbox_send(struct outbox *outbox)
{
    for (uint32_t i = 0; i < outbox->len; i++) {
        struct udp_socket *socket = outbox->datagrams[i].socket;
        if (socket != NULL) {
            uint32_t len = gather(outbox, socket, i);
            if (socket->is_closing) {
                outbox->dropped += len;
            } else {
                send_messages(outbox, socket->fd, len);
            }
        }
    }
    outbox->len = 0;
}

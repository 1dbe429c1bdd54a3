/*
 * Datagrams on their way to the sockets: gathered, then sent with one system call per socket and
 * batch (sendmmsg). Loop thread only.
 *
 * A socket that takes no more (its buffer in the system is full) loses the rest of the batch, which
 * is counted: the links find it lost as they find any other loss, and slow down.
 */
#ifndef TRANSPORT_UDP_OUTBOX_H
#define TRANSPORT_UDP_OUTBOX_H

#include "queue.h"
#include "socket.h"
#include "wire.h"

#include <sys/socket.h>

#define OUTBOX_LEN_MAX 64u

struct outbox_datagram {
    struct udp_socket *socket;
    union address_socket to;
    uint8_t header[WIRE_BYTES_MAX];
    struct iovec parts[1 + QUEUE_SLICES_MAX];
    uint32_t parts_len;
};

/* The system refused a datagram of that size to that address. No callback of the host from it. */
typedef void (*outbox_too_large_fn)(void *ctx, const union address_socket *to, uint32_t size);

struct outbox {
    struct outbox_datagram datagrams[OUTBOX_LEN_MAX];
    struct mmsghdr messages[OUTBOX_LEN_MAX];
    uint32_t len;
    outbox_too_large_fn on_too_large;
    void *ctx;
    uint64_t calls; /* totals */
    uint64_t sent;
    uint64_t dropped; /* the socket's buffer was full, or the system refused it */
};

void outbox_init(struct outbox *outbox, outbox_too_large_fn on_too_large, void *ctx);

/* header is copied; the slices stay valid until outbox_send(). Sends by itself when it is full. */
void outbox_add(struct outbox *outbox, struct udp_socket *socket, const union address_socket *to,
                const uint8_t *header, size_t header_len, const struct kv_slice *slices,
                uint32_t slices_len);

void outbox_send(struct outbox *outbox);

#endif

/*
 * One UDP socket on the host's loop: received in batches (recvmmsg), sent in batches through an
 * outbox (sendmmsg), datagrams that routers must not split, errors of the network that name the
 * datagram they are about. Loop thread only; it never blocks and never looks into a datagram.
 *
 * libuv waits for the descriptor; what it would receive by itself is at most 32 datagrams in a turn
 * of the loop, with a call more to see that there are no others: too few for a node with hundreds
 * of clients, whose requests of one turn become one batch.
 */
#ifndef TRANSPORT_UDP_SOCKET_H
#define TRANSPORT_UDP_SOCKET_H

#include "common/address.h"
#include "common/list.h"

#include <stddef.h>
#include <uv.h>

#include <kvnode/transport.h>

/* Asked of the system for each direction; without CAP_NET_ADMIN it gives what net.core.rmem_max and
 * wmem_max allow. */
#define SOCKET_BUFFER_BYTES (4u * 1024u * 1024u)
/* Received with one system call: datagrams of up to 64 KiB each. Memory that no datagram has
 * reached costs nothing. */
#define SOCKET_BATCH_LEN     32u
#define SOCKET_SLOT_BYTES    65536u
#define SOCKET_RECEIVE_BYTES (SOCKET_BATCH_LEN * SOCKET_SLOT_BYTES)
/* Calls in one turn of the loop, so that other sockets get theirs. */
#define SOCKET_BATCHES_MAX 16u

struct udp_socket;

/* Callbacks, all from the loop. */
struct socket_events {
    void (*on_datagram)(void *ctx, struct udp_socket *socket, const union address_socket *from,
                        const uint8_t *bytes, size_t len);
    /* What was received with one wake-up is all there. */
    void (*on_batch_end)(void *ctx);
    /* The beginning of a datagram that was sent to `to` and found nobody. */
    void (*on_unreachable)(void *ctx, const union address_socket *to, const uint8_t *bytes,
                           size_t len);
    void (*on_closed)(void *ctx, struct udp_socket *socket);
};

struct udp_socket {
    const struct kv_host *host;
    const struct socket_events *events;
    void *ctx;
    uint8_t *receive_buffer; /* SOCKET_RECEIVE_BYTES, shared by the sockets of an instance */
    uv_poll_t poll;
    int fd;
    struct list node;  /* in the instance's list */
    bool is_listening; /* made by listen(); else the one that links of a family go out from */
    bool is_closing;
    union address_socket bound;
};

/* Binds to the address; port 0 takes a free one. On failure nothing was made, *ret_step names the
 * call that failed, and the result is a negative errno. The memory of the socket must stay until
 * on_closed. */
int socket_open(struct udp_socket *socket, const struct kv_host *host,
                const union address_socket *address, uint8_t *receive_buffer,
                const struct socket_events *events, void *ctx, const char **ret_step);

/* Asynchronous: on_closed follows. Again: nothing. */
void socket_close(struct udp_socket *socket);

#endif

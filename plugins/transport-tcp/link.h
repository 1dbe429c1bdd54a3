/*
 * A link: one peer, either a connection that it made or one that we make and make again.
 *
 * Loop thread only. link.c is the state machine, send.c the output queue, receive.c the reading.
 * A link's memory goes with the close callback of its timer, its last handle, never earlier: so
 * each function may go on using a link after a callback of the host, and looks at `state` to see
 * what the callback did. Functions marked "calls back" must not be reached from an operation of the
 * host.
 */
#ifndef TRANSPORT_TCP_LINK_H
#define TRANSPORT_TCP_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include <kvnode/transport.h>

#include "common/address.h"
#include "common/list.h"

struct tcp;

#define LINK_ADDRESSES_MAX 8u
#define LINK_DRAIN_MS      1000u /* given to a peer to take what is queued at the end */

enum link_state {
    LINK_WAITING,    /* connect: the back-off timer runs */
    LINK_RESOLVING,  /* connect: the name is looked up */
    LINK_CONNECTING, /* connect: TCP's handshake */
    LINK_HANDSHAKE,  /* our preamble is sent, the peer's is awaited */
    LINK_UP,         /* messages flow */
    LINK_DRAINING,   /* the host ended it: the rest is sent, what comes in is thrown away */
    LINK_CLOSING,    /* the socket's close callback is awaited, then LINK_WAITING or the end */
};

/* Bytes to be sent: [sent, len) of memory of that capacity. */
struct link_buffer {
    uint8_t *bytes;
    size_t sent;
    size_t len;
    size_t capacity;
};

struct kv_link {
    struct tcp *owner;
    void *user;
    enum link_state state;
    bool is_accepted;
    uint32_t peer_message_max; /* bytes of one message that the peer takes, as it said */
    bool is_up;                /* the host was told that it is there, and not yet that it is gone */
    bool is_released;          /* the host closed it: no callbacks any more */
    bool is_counted;           /* in tcp.accepted_len */
    bool is_resolving;         /* resolve_req is in flight */
    bool is_socket_open;
    bool is_retiring; /* the timer is being closed: the end */

    struct list links_node;
    struct list unflushed_node;
    struct list deferred_node;
    int32_t deferred_reason; /* the link is lost for it, the host does not know yet; 0: none */
    bool is_deferred_writable;

    uv_tcp_t socket;
    uv_timer_t timer; /* back-off, connect, handshake or drain, as the state says */
    uv_connect_t connect_req;
    uv_getaddrinfo_t resolve_req;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;

    /* send.c: `writing` is what the kernel is offered, `filling` what send() appends to. */
    struct link_buffer writing;
    struct link_buffer filling;
    size_t write_len; /* bytes of the uv_write() in flight; 0: none */
    bool is_busy;     /* KV_E_BUSY was answered, on_writable is owed */
    bool is_shut;     /* draining: our end of the stream is closed */

    /* receive.c: a message of which only a part has come. */
    uint8_t *partial;
    size_t partial_len;
    size_t partial_capacity;
    size_t partial_need; /* bytes of the whole frame as far as known */
    bool is_reading;
    bool is_ended; /* the peer sends nothing more */

    /* connect */
    union address_socket addresses[LINK_ADDRESSES_MAX];
    uint32_t addresses_len;
    uint32_t address_index;
    uint64_t retry_ms;     /* the next pause, before jitter */
    uint64_t up_ms;        /* when it came up */
    int32_t logged_reason; /* of the failures to connect: each kind is logged once */

    char uri[KV_URI_MAX]; /* the peer's */
};

/* As the operations of kv_transport_ops. */
int32_t link_connect(struct tcp *tcp, const char *uri, void *user, struct kv_link **ret_link);
void link_close(struct kv_link *link);

/* Takes over the socket of a peer. */
void link_accept(struct tcp *tcp, int fd, const union address_socket *remote);

/* stop(): as link_close(), but on_down follows for a link that was up. */
void link_stop(struct kv_link *link);

/* The peer's preamble is there. Calls back. */
void link_become_up(struct kv_link *link);

/* The connection is at its end. Calls back. text: why, for the log; NULL: logged already. */
void link_lose(struct kv_link *link, int32_t reason, const char *text);

/* The same from where no callback is allowed. */
void link_lose_later(struct kv_link *link, int32_t reason);

/* on_writable from where no callback is allowed. */
void link_defer_writable(struct kv_link *link);

/* Something was sent, or the peer ended its side: takes a draining link one step on. */
void link_drain(struct kv_link *link);

/* Callback of tcp.deferred_idle. Calls back. */
void link_on_deferred(uv_idle_t *idle);

#endif

/*
 * One instance of the transport: the endpoint, and what ties it to the loop and the system: the
 * sockets, the outbox, one alarm for all deadlines, and a hook before the loop sleeps that sends
 * what the endpoint owes (acknowledgements do not wait for the host's flush).
 *
 * Loop thread only. Nothing here blocks, and nothing outlives on_stopped: every libuv handle is
 * closed before it.
 */
#ifndef TRANSPORT_UDP_UDP_H
#define TRANSPORT_UDP_UDP_H

#include "alarm.h"
#include "endpoint.h"
#include "outbox.h"
#include "resolver.h"

struct udp_options {
    uint64_t connect_retry_ms;
    uint64_t connect_retry_max_ms;
    uint64_t handshake_timeout_ms;
    uint64_t timeout_ms;
    uint64_t datagram_max;
};

struct udp {
    const struct kv_host *host;
    uv_loop_t *loop;
    struct udp_options options;
    const struct kv_transport_events *events;
    void *events_ctx;
    struct endpoint endpoint;
    struct outbox outbox;
    struct resolver resolver;
    struct list sockets;            /* all, by udp_socket.node */
    struct udp_socket *outgoing_v4; /* that links of connect() go out from; NULL: not needed yet */
    struct udp_socket *outgoing_v6;
    uint8_t *receive_buffer; /* SOCKET_RECEIVE_BYTES */
    struct alarm alarm;      /* at the endpoint's next deadline */
    uv_prepare_t prepare;    /* runs while the endpoint is dirty */
    uint32_t own_handles;    /* of the two above, not yet closed */
    bool is_started;
    bool is_stopping;
    bool is_closing; /* the links are at their end, the handles are being closed */
    bool is_stopped;
};

/* ---- for the parts of the instance ---- */

/* --- listener.c --- */

/* As kv_transport_ops.listen. */
int32_t listener_open(struct udp *udp, const char *uri, char *ret_uri);

/* The socket that datagrams to that family go out from, made when first needed; NULL: it cannot be
 * made, *ret_text tells why. */
struct udp_socket *listener_get_outgoing(struct udp *udp, int family, const char **ret_text);

/* Closes all sockets; udp_finish_stop() follows from each. */
void listener_close_all(struct udp *udp);

/* Something that stop() waits for has ended. */
void udp_finish_stop(struct udp *udp);

/* The endpoint was called: sets the alarm and the hook by what it wants next. */
void udp_update(struct udp *udp);

#endif

/*
 * All links of one instance of the transport, and the datagrams between them and the sockets: the
 * pure heart of the plugin. It knows neither libuv nor a system call; time and randomness come with
 * the calls, datagrams go out through struct endpoint_io. So the tests run thousands of bad
 * networks with it in virtual time.
 *
 * Loop thread only. Functions marked "calls back" call the host's events, and must not be reached
 * from an operation of the host.
 */
#ifndef TRANSPORT_UDP_ENDPOINT_H
#define TRANSPORT_UDP_ENDPOINT_H

#include "common/list.h"
#include "common/log.h"
#include "cookie.h"
#include "deadlines.h"
#include "table.h"
#include "wire.h"

/* Bytes that go out in one datagram to one address. */
struct endpoint_io {
    /* header is copied; the slices stay valid until commit() returns. */
    void (*send)(void *ctx, void *socket, const union address_socket *to, const uint8_t *header,
                 size_t header_len, const struct kv_slice *slices, uint32_t slices_len);
    /* All that was given to send() since the last time goes to the sockets. */
    void (*commit)(void *ctx);
    /* 64 bits that nobody can guess. */
    uint64_t (*random)(void *ctx);
    /* A link of connect() wants an address of its peer's: endpoint_on_resolved() follows, at once
     * or later. attempt counts up: a name may have several addresses. */
    void (*resolve)(void *ctx, struct kv_link *link, uint32_t attempt);
    /* The link goes away: what resolve() began for it is of no use. */
    void (*forget)(void *ctx, struct kv_link *link);
};

/* X(name): totals, told in one log line when the instance has stopped. */
#define ENDPOINT_COUNTER_TABLE(X)                                                        \
    X(accepted)           /* peers that on_accept announced */                           \
    X(connected)          /* times that on_up was called */                              \
    X(refused)            /* peers turned away by links_max */                           \
    X(version)            /* peers of another version of this transport */               \
    X(corrupt)            /* datagrams with a wrong CRC, or too short */                 \
    X(malformed)          /* datagrams with a right CRC that are none of ours */         \
    X(unknown)            /* datagrams for a link that is not there */                   \
    X(forged)             /* proofs of an address, or ends of a link, that are wrong */  \
    X(too_large)          /* links ended: a message above message_max was announced */   \
    X(handshake_timeouts) /* peers that never used the link they opened */               \
    X(silent)             /* links ended: nothing came for timeout_ms */                 \
    X(unreachable)        /* links ended: the peer's system said that nobody is there */ \
    X(messages_sent)                                                                     \
    X(messages_received)                                                                 \
    X(datagrams_sent)                                                                    \
    X(datagrams_received)                                                                \
    X(packets_lost) /* found lost, and their bytes sent again */                         \
    X(bytes_repeated)

#define ENDPOINT_MEMBER_(name) uint64_t name;
struct endpoint_counters {
    ENDPOINT_COUNTER_TABLE(ENDPOINT_MEMBER_)
};
#undef ENDPOINT_MEMBER_

struct endpoint_options {
    uint64_t connect_retry_us;     /* before HELLO is sent again, and before a round of attempts */
    uint64_t connect_retry_max_us; /* ... doubling up to it */
    uint64_t handshake_timeout_us; /* an opened link must be used within it */
    uint64_t timeout_us;           /* silence after which a link is lost */
    uint32_t datagram_max;         /* bytes of one datagram, at most MTU_MAX */
};

struct endpoint {
    const struct kv_host *host;
    struct endpoint_options options;
    struct kv_transport_limits limits;
    const struct kv_transport_events *events;
    void *events_ctx;
    struct endpoint_io io;
    void *io_ctx;
    struct cookie_secret secret;
    struct list links;  /* all, by kv_link.links_node */
    struct list dirty;  /* links that may have something to send */
    struct table table; /* links by token */
    uint32_t links_len;
    uint32_t accepted_len; /* accepted links that are half open or up: links_max counts them */
    uint32_t half_len;     /* accepted and not used yet */
    struct deadlines deadlines;
    struct endpoint_counters counters;
    struct log_notice refused_notice;
    struct log_notice foreign_notice;
    struct log_notice dropped_notice;
    uint32_t inside;   /* calls into the endpoint that call back: links are freed outside of them */
    uint32_t gone_len; /* links that are to be freed */
    bool has_sent;     /* datagrams wait for commit() */
    bool is_stopping;
};

/* Borrows host and events; copies the others. KV_E_IO: the system gives no random numbers. */
int32_t endpoint_init(struct endpoint *endpoint, const struct kv_host *host,
                      const struct endpoint_options *options,
                      const struct kv_transport_limits *limits,
                      const struct kv_transport_events *events, void *events_ctx,
                      const struct endpoint_io *io, void *io_ctx);

/* Frees all links that are left, without a callback: before a start has succeeded, or when
 * endpoint_is_stopped(). */
void endpoint_close(struct endpoint *endpoint);

/* A datagram came to that socket. Calls back. */
void endpoint_receive(struct endpoint *endpoint, void *socket, const union address_socket *from,
                      const uint8_t *bytes, size_t len, uint64_t now_us);

/* A datagram of ours to that address found nobody. bytes: as much of it as the system gives back.
 * Calls back. */
void endpoint_on_unreachable(struct endpoint *endpoint, const union address_socket *to,
                             const uint8_t *bytes, size_t len, uint64_t now_us);

/* The system refused a datagram to that address as too large. No callback. */
void endpoint_on_too_large(struct endpoint *endpoint, const union address_socket *to, uint32_t size,
                           uint64_t now_us);

/* All that may go out does, in one commit(). No callback. */
void endpoint_flush(struct endpoint *endpoint, uint64_t now_us);

/* Whether endpoint_flush() has something to look at. */
bool endpoint_is_dirty(const struct endpoint *endpoint);

/* Something is due by time. Calls back; ends with a flush. */
void endpoint_on_time(struct endpoint *endpoint, uint64_t now_us);

/* When endpoint_on_time() is wanted; DEADLINES_NEVER: not at all. */
uint64_t endpoint_deadline_us(const struct endpoint *endpoint);

/* The operations of kv_transport_ops of these names. uri: of this scheme, checked. No callback. */
int32_t endpoint_connect(struct endpoint *endpoint, const char *uri, void *user,
                         struct kv_link **ret_link);
int32_t endpoint_send(struct endpoint *endpoint, struct kv_link *link,
                      const struct kv_slice *slices, uint32_t slices_len);
void endpoint_close_link(struct endpoint *endpoint, struct kv_link *link, uint64_t now_us);

/* Drains and ends all links; done when endpoint_is_stopped(). No callback. */
void endpoint_stop(struct endpoint *endpoint, uint64_t now_us);
bool endpoint_is_stopped(const struct endpoint *endpoint);

/* An answer to io.resolve(): the address to use and the socket to send from, or error (KV_E_...)
 * and why, in which case it is asked again after a pause. No callback. */
void endpoint_on_resolved(struct endpoint *endpoint, struct kv_link *link, int32_t error,
                          const char *text, const union address_socket *address, void *socket,
                          uint64_t now_us);

#endif

/*
 * One instance of the transport: what its links and listeners share.
 *
 * Loop thread only. Nothing here blocks, and nothing outlives on_stopped: every libuv handle is
 * closed before it.
 */
#ifndef TRANSPORT_TCP_TCP_H
#define TRANSPORT_TCP_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include <kvnode/transport.h>

#include "common/list.h"
#include "common/log.h"

/* One read() takes at most so much; shared by all links, since a read is handled to its end before
 * the next one begins. */
#define TCP_READ_BUFFER_LEN 65536u

struct tcp_options {
    uint64_t connect_retry_ms;
    uint64_t connect_retry_max_ms;
    uint64_t connect_timeout_ms;
    uint64_t handshake_timeout_ms;
    uint64_t keepalive_s; /* 0: off */
};

/* Told in one log line when the instance has stopped. */
struct tcp_counters {
    uint64_t accepted;           /* peers that on_accept announced */
    uint64_t connected;          /* times that on_up was called */
    uint64_t refused;            /* peers turned away by links_max */
    uint64_t malformed;          /* dropped: not a peer of ours, or a wrong CRC */
    uint64_t version;            /* dropped: another version of this transport */
    uint64_t too_large;          /* dropped: a message above message_max announced */
    uint64_t handshake_timeouts; /* dropped: no preamble in time */
    uint64_t accept_failures;    /* accept() failed, say for want of file descriptors */
    uint64_t messages_sent;
    uint64_t messages_received;
    uint64_t writes; /* write calls */
    uint64_t reads;  /* read calls that brought bytes */
};

struct tcp {
    const struct kv_host *host;
    uv_loop_t *loop;
    struct tcp_options options;
    struct kv_transport_limits limits;
    const struct kv_transport_events *events;
    void *events_ctx;
    struct list links;       /* all, by kv_link.links_node */
    struct list listeners;   /* all, by listener.node */
    struct list unflushed;   /* links with bytes that no write covers yet */
    struct list deferred;    /* links that owe the host a callback */
    uv_idle_t deferred_idle; /* active while `deferred` is not empty */
    uv_timer_t accept_timer; /* runs while listeners pause after a failed accept() */
    uint32_t own_handles;    /* of the two above, not yet closed */
    uint32_t accepted_len;   /* accepted links in handshake or up: what links_max counts */
    uint32_t accepted_total; /* ... and those whose end is still going on */
    uint8_t *read_buffer;    /* TCP_READ_BUFFER_LEN */
    uint64_t random;         /* state of the jitter */
    bool is_started;
    bool is_stopping;
    struct tcp_counters counters;
    struct log_notice refused_notice;
    struct log_notice foreign_notice;
    struct log_notice accept_notice;
};

/* Uniform in [0, bound); bound > 0. For jitter only. */
uint64_t tcp_get_random(struct tcp *tcp, uint64_t bound);

/* A link or listener is gone: ends stop() when it was the last one. */
void tcp_finish_stop(struct tcp *tcp);

/* The host's memory. */
void *tcp_allocate(struct tcp *tcp, size_t size);
void *tcp_resize(struct tcp *tcp, void *memory, size_t size);
void tcp_release(struct tcp *tcp, void *memory);

#endif

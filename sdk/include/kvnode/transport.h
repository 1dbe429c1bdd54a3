/*
 * Transport plugins: they carry whole messages between nodes and clients.
 *
 * The contract: a message arrives whole or not at all, possibly late, twice or out of order, never
 * altered, and never longer than message_max. What is lost is repaired by the node's sequencing.
 *
 * A link is one peer as the transport sees it: a connection, or an address. One made by connect()
 * belongs to the host until close_link(); while it is down the transport tries again by itself,
 * with back-off. One that a peer made is announced by on_accept and is gone when on_down returns.
 *
 * Threads: everything on the loop's thread; the plugin uses kv_host.loop and never blocks.
 * Re-entrance: the plugin calls no callback from within connect(), send(), flush(), close_link() or
 * stop(); the host may call any of these from within a callback (also close_link() of that link).
 * Life cycle: create -> start -> listen*, connect*, send*, flush* -> stop ... on_stopped ->
 * destroy. No callback after on_stopped. After stop() the host names no link any more; each is gone
 * when its on_down returns, or at once if it was not up. Valid C99 and C++11.
 */
#ifndef KVNODE_TRANSPORT_H
#define KVNODE_TRANSPORT_H

#include <kvnode/host.h>

/* capabilities */
#define KV_TRANSPORT_ORDERED  0x1ull /* while a link is up its messages arrive in order */
#define KV_TRANSPORT_RELIABLE 0x2ull /* ... and none is lost */

#define KV_URI_MAX            256u /* bytes of a URI with its NUL */

/* Opaque to the host; the plugin defines it. */
struct kv_link;

/* Bytes borrowed for the call. */
struct kv_slice {
    const void *bytes;
    size_t len;
};

struct kv_transport_limits {
    uint32_t message_max;     /* bytes of one message, both ways */
    uint32_t links_max;       /* accepted links at a time; further peers are turned away */
    uint64_t queue_bytes_max; /* bytes waiting to be sent on one link; see send() */
};

/* The host's callbacks. `user` is the pointer that the host gave with the link. */
struct kv_transport_events {
    /* A peer came. Returns the host's pointer for it, or NULL: turn it away. */
    void *(*on_accept)(void *ctx, struct kv_link *link, const char *remote_uri);
    /* A link of connect() can be sent on now. */
    void (*on_up)(void *ctx, void *user);
    /* bytes are borrowed for the call. */
    void (*on_message)(void *ctx, void *user, const void *bytes, uint32_t len);
    /* The queue of a link that answered KV_E_BUSY has room again. */
    void (*on_writable)(void *ctx, void *user);
    /* The peer is gone; what was queued is lost. reason: a KV_E_ code; KV_E_MALFORMED and
     * KV_E_TOO_LARGE when the transport itself dropped the peer for what it sent. */
    void (*on_down)(void *ctx, void *user, int32_t reason);
    /* stop() is complete. */
    void (*on_stopped)(void *ctx);
};

struct kv_transport_ops {
    /* As kv_persist_ops.create. */
    int32_t (*create)(const struct kv_host *host, const struct kv_setting *settings,
                      uint32_t settings_len, void **ret_self);

    /* Limits are copied; events and ctx stay valid until on_stopped. */
    int32_t (*start)(void *self, const struct kv_transport_limits *limits,
                     const struct kv_transport_events *events, void *ctx);

    /* Binds to a URI of the transport's scheme; port 0 takes a free one. Writes the URI with the
     * real port, NUL-terminated, into ret_uri (KV_URI_MAX bytes). KV_E_EXISTS: the address is in
     * use; KV_E_INVALID: not a URI of this transport, or no such address here; else KV_E_IO. */
    int32_t (*listen)(void *self, const char *uri, char *ret_uri);

    /* Makes a link towards uri and returns at once; on_up follows when the peer answers.
     * KV_E_INVALID: not a URI of this transport. */
    int32_t (*connect)(void *self, const char *uri, void *user, struct kv_link **ret_link);

    /* Queues one message made of slices_len slices; they are copied or written before it returns.
     * KV_E_BUSY: queue_bytes_max reached, nothing taken, on_writable follows (a message is always
     * taken while the queue is empty); KV_E_CLOSED: the link is down, nothing taken;
     * KV_E_TOO_LARGE: above message_max, or above what the peer takes; KV_E_NOMEM: nothing taken.
     */
    int32_t (*send)(void *self, struct kv_link *link, const struct kv_slice *slices,
                    uint32_t slices_len);

    /* End of a loop turn: what was queued since the last flush goes out, one gathered write per
     * link. The host calls it once a turn. */
    void (*flush)(void *self);

    /* Ends a link of either kind; what is queued is still sent if the peer takes it within a
     * second; no callback for it afterwards. */
    void (*close_link)(void *self, struct kv_link *link);

    /* Asynchronous: sends what is queued as far as the peers take it within a second, closes all,
     * then on_stopped. */
    void (*stop)(void *self);

    /* After on_stopped, or before start. */
    void (*destroy)(void *self);
    /* tail: later minors append here */
};

KV_ABI_OFFSET_(kv_transport_limits, queue_bytes_max, 8);
KV_ABI_OFFSET_(kv_transport_events, on_stopped, 40);
KV_ABI_OFFSET_(kv_transport_ops, start, 8);
KV_ABI_OFFSET_(kv_transport_ops, listen, 16);
KV_ABI_OFFSET_(kv_transport_ops, connect, 24);
KV_ABI_OFFSET_(kv_transport_ops, send, 32);
KV_ABI_OFFSET_(kv_transport_ops, flush, 40);
KV_ABI_OFFSET_(kv_transport_ops, close_link, 48);
KV_ABI_OFFSET_(kv_transport_ops, stop, 56);
KV_ABI_OFFSET_(kv_transport_ops, destroy, 64);

#endif

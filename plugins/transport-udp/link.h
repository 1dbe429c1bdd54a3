/*
 * A link: one peer, either one that came to us or one that we look for again and again. link.c is
 * its life, handshake.c how it comes up; sender.h and assembly.h carry its messages. Pure; a part
 * of the endpoint.
 *
 *   connect(): RESOLVING -> HELLO -> OPENING -> UP -> (lost) PAUSE -> RESOLVING ...
 *   accepted:  HALF -> UP
 *   ended by us: UP -> DRAINING -> gone
 *
 * A link's memory goes only between two calls into the endpoint (endpoint_reap()), so each function
 * may go on using a link after a callback of the host, and looks at `state`.
 */
#ifndef TRANSPORT_UDP_LINK_H
#define TRANSPORT_UDP_LINK_H

#include "acks.h"
#include "assembly.h"
#include "endpoint.h"
#include "sender.h"

#define LINK_DRAIN_US 1000000u /* given to a peer to take what is queued at the end */
#define LINK_HALF_MAX 256u     /* accepted links that were not used yet; then the oldest goes */

enum link_state {
    LINK_PAUSE,     /* connect: the back-off runs */
    LINK_RESOLVING, /* connect: an address is looked up */
    LINK_HELLO,     /* connect: HELLO is sent, COOKIE awaited */
    LINK_OPENING,   /* connect: OPEN is sent, ACCEPT awaited */
    LINK_HALF,      /* accepted: ACCEPT is sent, the first DATA awaited */
    LINK_UP,        /* messages flow */
    LINK_DRAINING,  /* ended by us: the rest is sent, what comes in is thrown away */
    LINK_GONE,      /* to be freed */
};

struct kv_link {
    struct endpoint *endpoint;
    void *user;
    enum link_state state;
    bool is_accepted;
    bool is_up;       /* the host was told that it is there, and not yet that it is gone */
    bool is_released; /* the host closed it: no callbacks any more */
    bool is_counted;  /* in endpoint.accepted_len */
    bool is_busy;     /* KV_E_BUSY was answered, on_writable is owed */
    bool has_streams; /* sender, assembly and acks are there */

    struct list links_node;
    struct list dirty_node;
    struct deadline deadline;

    void *socket;
    union address_socket address; /* the peer's: where we send to */
    union address_socket source; /* where it sends from, once there are streams: a peer that listens
                                  * on all of its addresses may answer from another one */
    uint64_t token;              /* ours; 0: in no table */
    uint64_t peer_token;
    uint32_t peer_message_max;

    struct wire_hello hello; /* accepted, half open: what the peer takes */

    struct sender sender;
    struct assembly assembly;
    struct acks acks;

    uint64_t heard_us; /* when something of the peer's came last */
    uint64_t asked_us; /* when we asked for a sign of life last, OPEN and ACCEPT included */
    uint32_t asks;     /* ... and how often since then */
    uint64_t until_us; /* end of the pause, the handshake or the drain */
    uint32_t sends;    /* of HELLO, OPEN or ACCEPT, while it is the one that is to be answered */

    /* connect */
    struct cookie cookie;
    uint32_t attempt;      /* rounds of HELLO, for the resolver */
    uint64_t retry_us;     /* the next wait before a repetition, before jitter */
    uint64_t up_us;        /* when it came up */
    int32_t logged_reason; /* each kind of failure is logged once; 0: none yet */

    char uri[KV_URI_MAX]; /* the peer's */
};

/* A link of either kind without streams, with a token of its own; NULL: no memory. */
struct kv_link *link_create(struct endpoint *endpoint, const char *uri, bool is_accepted);

/* Frees it; nothing may be using it. */
void link_destroy(struct kv_link *link);

/* Both ends have said what they take. KV_E_NOMEM: nothing made. */
int32_t link_open_streams(struct kv_link *link, const struct wire_hello *hello, uint64_t now_us);

/* The link is at its end: on_down if the host knows it, then a pause before it is looked for again,
 * or LINK_GONE. text: why, for the log. Calls back. */
void link_lose(struct kv_link *link, int32_t reason, const char *text, uint64_t now_us);

/* A round of attempts to connect has failed: the next one begins after the back-off. No callback.
 */
void link_retry(struct kv_link *link, int32_t reason, const char *text, uint64_t now_us);

/* Ends a link that the host has closed, or stop(): drains it first if it is up. No callback, except
 * that a link drained for stop() tells on_down when it is done. */
void link_drain(struct kv_link *link, uint64_t now_us);

/* Tells the peer that the link is at its end, and loses it. Calls back. */
void link_break(struct kv_link *link, enum wire_reason told, int32_t reason, const char *text,
                uint64_t now_us);

/* A DATA for this link. Calls back. */
void link_on_packet(struct kv_link *link, const struct wire_packet *packet, uint64_t now_us);

/* Its deadline has come. Calls back. */
void link_on_time(struct kv_link *link, uint64_t now_us);

/* Puts all that may go now into datagrams. No callback. */
void link_produce(struct kv_link *link, uint64_t now_us);

/* Sets the deadline by what the link waits for. No callback. */
void link_schedule(struct kv_link *link);

/* It may have something to send: endpoint_flush() looks at it. */
void link_touch(struct kv_link *link);

/* --- handshake.c --- */

/* The pause before HELLO or OPEN is sent again, and before the next round: half of it fixed, half
 * of it chance, so that many peers of a node that comes back do not all come at once. The one after
 * it is twice as long. */
uint64_t handshake_wait_us(struct kv_link *link);

/* A round of HELLO begins: the address is known. */
void handshake_begin(struct kv_link *link, uint64_t now_us);

/* HELLO or OPEN, first or again, as the state says. */
void handshake_send(struct kv_link *link, uint64_t now_us);

/* HELLO and OPEN of a peer; no link may be there yet. No callback. */
void handshake_on_hello(struct endpoint *endpoint, void *socket, const union address_socket *from,
                        const struct wire_datagram *datagram, uint64_t now_us);
void handshake_on_open(struct endpoint *endpoint, void *socket, const union address_socket *from,
                       const struct wire_datagram *datagram, uint64_t now_us);

/* Answers to ours. on_accept calls back. */
void handshake_on_cookie(struct kv_link *link, const struct wire_datagram *datagram,
                         uint64_t now_us);
void handshake_on_accept(struct kv_link *link, const union address_socket *from,
                         const struct wire_datagram *datagram, uint64_t now_us);
void handshake_on_refuse(struct kv_link *link, const struct wire_datagram *datagram,
                         uint64_t now_us);

/* The first DATA of an accepted link: announces it. False: turned away, or out of memory.
 * Calls back. */
bool handshake_on_used(struct kv_link *link, uint64_t now_us);

/* --- endpoint.c, for the parts --- */

struct kv_link *endpoint_find(const struct endpoint *endpoint, uint64_t token);
/* Encodes and gives to io.send() a datagram other than DATA. */
void endpoint_send_datagram(struct endpoint *endpoint, void *socket, const union address_socket *to,
                            const struct wire_datagram *datagram);

#endif

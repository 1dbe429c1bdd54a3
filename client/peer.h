/*
 * One link: to the arbiter or to a node of the view. Sends messages, and when the link goes down
 * sees to the requests that were sent on it: updates are answered "outcome unknown", what only
 * reads is sent again. Loop thread; peers are made and freed in the client's turn only.
 */
#ifndef CLIENT_PEER_H
#define CLIENT_PEER_H

#include "logic/message.h"

#include "carrier.h"
#include "queue.h"

/* A link that was closed for what came over it is opened again after this. */
#define PEER_PAUSE_MS 500u

/* One of several addresses that has not come up after this is left for the next one. Doubled after
 * each round, so that a slow network gets its time. */
#define PEER_PATIENCE_MS     200u
#define PEER_PATIENCE_MS_MAX 3200u

/* The arbiter's: the configured one and those that its view names. */
#define PEER_URIS_MAX    (1u + URIS_MAX)

#define PEER_TROUBLE_MAX 384u

struct peer {
    struct list link; /* in kv_client.peers; the arbiter's in none */
    struct kv_client *client;
    char *name;
    char uris[PEER_URIS_MAX][URI_MAX + 1u];
    uint32_t uris_len; /* at least 1 */
    uint32_t uri_at;   /* the one in use */
    struct carrier *carrier;
    struct guard_link *guard_link; /* NULL: none asked for */
    bool is_up;
    bool is_blocked; /* its queue is full until on_writable */
    bool is_orphan;  /* not in the view any more */
    uint64_t retry_ms;
    uint64_t opened_ms; /* when the link was asked for */
    uint32_t patience_ms;
    struct list sent;               /* requests that wait for their answer, oldest first */
    struct queue queue;             /* requests for this very peer */
    char trouble[PEER_TROUBLE_MAX]; /* why there is no link; "" when nothing is known */
};

/* name and uri: at most NODE_NAME_MAX and URI_MAX bytes. */
void peer_init(struct peer *peer, struct kv_client *client, const char *name, const char *uri);
/* Closes the link; no request is left at it. */
void peer_close(struct peer *peer);

struct peer *peer_find(struct kv_client *client, const char *name);

/* The peer of a member of the view, made when there is none yet. */
struct peer *peer_get(struct kv_client *client, const struct member *member);

/* The address in use. */
const char *peer_uri(const struct peer *peer);

/* Opens the link when there is none and it is time to; goes on to the next address when one does
 * not come up. KV_E_INVALID: the address is no address. Another code: no usable transport;
 * peer->trouble says why. */
int32_t peer_connect(struct peer *peer);

/* KV_OK, or the code of guard_transport_send(). */
int32_t peer_send(struct peer *peer, const struct message *message);

/* Where it listens now, at most PEER_URIS_MAX addresses of which those count whose transport can be
 * used. Stays where it is when that is among them. */
void peer_set_uris(struct peer *peer, const char (*uris)[URI_MAX + 1u], uint32_t uris_len);

/* Whether there is another address to try. */
bool peer_has_more(const struct peer *peer);

/* Gives the address in use up for the next one, if there is one; `trouble` says why. */
void peer_try_next(struct peer *peer, const char *trouble);

/* A transport said something; it may tell why there is no link. */
void peer_on_log(struct peer *peer, const char *text);

/* Closes the link because of what came over it; `trouble` says why. */
void peer_drop(struct peer *peer, const char *trouble);

/* The same: it speaks another protocol version, so it has executed nothing of what was sent. */
void peer_drop_version(struct peer *peer, uint8_t version);

/* Sends what the queue holds as far as it goes now; opens the link first. */
void peer_drain(struct peer *peer, struct queue *queue);

void peer_on_up(struct peer *peer);
void peer_on_writable(struct peer *peer);
void peer_on_down(struct peer *peer, int32_t reason);

#endif

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
#define PEER_PAUSE_MS    500u

#define PEER_TROUBLE_MAX 384u

struct peer {
    struct list link; /* in kv_client.peers; the arbiter's in none */
    struct kv_client *client;
    char *name;
    char *uri;
    struct carrier *carrier;
    struct guard_link *guard_link; /* NULL: none asked for */
    bool is_up;
    bool is_blocked; /* its queue is full until on_writable */
    bool is_orphan;  /* not in the view any more */
    uint64_t retry_ms;
    struct list sent;               /* requests that wait for their answer, oldest first */
    struct queue queue;             /* requests for this very peer */
    char trouble[PEER_TROUBLE_MAX]; /* why there is no link; "" when nothing is known */
};

void peer_init(struct peer *peer, struct kv_client *client, const char *name, const char *uri);
/* Closes the link; no request is left at it. */
void peer_close(struct peer *peer);

struct peer *peer_find(struct kv_client *client, const char *name);

/* The peer of a member of the view, made when there is none yet. */
struct peer *peer_get(struct kv_client *client, const struct member *member);

/* Opens the link when there is none and it is time to. KV_E_INVALID: the address is no address.
 * Another code: no usable transport; peer->trouble says why. */
int32_t peer_connect(struct peer *peer);

/* KV_OK, or the code of guard_transport_send(). */
int32_t peer_send(struct peer *peer, const struct message *message);

/* The member's address changed: goes over to the new one. */
void peer_set_uri(struct peer *peer, const char *uri);

/* Closes the link because of what came over it; `trouble` says why. */
void peer_drop(struct peer *peer, const char *trouble);

/* The same: it speaks another protocol version, so it has executed nothing of what was sent. */
void peer_drop_version(struct peer *peer, uint8_t version);

/* Sends what the queue holds as far as it goes now; opens the link first. */
void peer_drain(struct peer *peer, struct queue *queue);

/* The first of a member's addresses whose transport can be used, else its first. */
const char *peer_choose_uri(struct kv_client *client, const struct member *member);

void peer_on_up(struct peer *peer);
void peer_on_writable(struct peer *peer);
void peer_on_down(struct peer *peer, int32_t reason);

#endif

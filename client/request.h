/*
 * One request of the caller from its call to its one answer. It is queued (for the primary, for a
 * named node, or for the arbiter), then sent, then answered; what was certainly not executed goes
 * back into the queue. Loop thread.
 */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "base/bytes.h"

#include "list.h"
#include "wheel.h"

#include <kvnode/client.h>

enum request_kind {
    REQUEST_INSERT = 1,
    REQUEST_REMOVE,
    REQUEST_GET,
    REQUEST_SCAN,
    REQUEST_STATUS,
    REQUEST_VIEW,
    REQUEST_LEAVE,
    REQUEST_HANDOVER,
    REQUEST_TAKEOVER,
};

/* One block of memory: the struct, then key, value and the node's name with its NUL. */
struct request {
    struct list in_queue; /* of a queue, of peer.sent, or of kv_client.unknown */
    struct wheel_entry in_wheel;
    struct peer *peer;   /* where it was sent; NULL while it is queued */
    struct queue *queue; /* which it came out of, while it is sent */
    uint64_t id;         /* on the wire, another one each time it is sent; 0: not sent */
    uint64_t order;      /* in which the caller issued it */
    uint64_t sent_ms;
    uint64_t min_index;     /* get: as the caller gave it */
    uint64_t cursor;        /* scan */
    uint64_t unknown_since; /* its node is not in the view: locates sent by then */
    kv_answer_fn on_answer;
    void *ctx;
    const char *node; /* NULL: the primary, or the arbiter */
    uint32_t limit;
    uint32_t key_len;
    uint32_t value_len;
    uint32_t retry_after_ms; /* of the last refusal */
    uint8_t kind;            /* enum request_kind */
    uint8_t reject;          /* reason of the last refusal; 0: none, or it was sent since */
    bool was_sent;
    uint8_t bytes[];
};

/* What the caller gave; pointers are borrowed. */
struct request_call {
    enum request_kind kind;
    const char *node;
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
    uint64_t min_index;
    uint64_t cursor;
    uint32_t limit;
    uint32_t deadline_ms;
    kv_answer_fn on_answer;
    void *ctx;
};

/* Checks the limits, copies and queues. KV_OK, KV_E_BUSY, KV_E_TOO_LARGE, KV_E_CLOSED. */
int32_t request_create(struct kv_client *client, const struct request_call *call);

/* Sends it under a new id. */
int32_t request_send(struct request *request, struct peer *peer, struct queue *queue);

/* Back from sent to its queue: to be sent again. */
void request_requeue(struct kv_client *client, struct request *request);

/* Answers it and frees it. */
void request_answer(struct kv_client *client, struct request *request,
                    const struct kv_answer *answer);

/* The same with a status and a reason only. */
__attribute__((format(printf, 4, 5))) void request_fail(struct kv_client *client,
                                                        struct request *request, int32_t status,
                                                        const char *format, ...);

/* Its deadline has passed. */
void request_expire(struct kv_client *client, struct request *request);

/* The node refused it: sees to it that it is tried again, or answers it. */
void request_refused(struct kv_client *client, struct request *request, uint8_t reason,
                     uint32_t retry_after_ms, struct bytes_view text);

/* Joins a reason and what the node said of it, in CLIENT_REASON_MAX bytes. */
void request_reason(const char *reason, struct bytes_view text, char *ret_reason);

/* True when executing it twice could be told from executing it once. */
bool request_changes(const struct request *request);

/* True for what the arbiter is asked to do with a node: leave, handover, takeover. */
bool request_is_command(const struct request *request);

/* The queue it waits in until it is sent; that of the lookups when its node is not known. */
struct queue *request_queue(struct kv_client *client, const struct request *request);

#endif

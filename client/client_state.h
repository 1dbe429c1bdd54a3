/*
 * The state of one client and what its parts share. Internal to the client library, loop thread.
 * core/logic's headers come first: <uv.h> brings a NODE_NAME_MAX of its own.
 */
#ifndef CLIENT_STATE_H
#define CLIENT_STATE_H

#include "logic/message.h"
#include "logic/view.h"

#include "base/arena.h"
#include "base/check.h"

#include "answer.h"
#include "carrier.h"
#include "list.h"
#include "locate.h"
#include "peer.h"
#include "queue.h"
#include "request.h"
#include "table.h"
#include "wheel.h"

#include <kvnode/client.h>
#include <uv.h>

/* Bytes of key and value of one request; also what one answer may carry. */
#define CLIENT_PAYLOAD_MAX 67108864u /* 64 MiB */

#define CLIENT_REASON_MAX  512u

struct kv_client {
    uv_loop_t *loop;
    uv_thread_t thread;  /* the loop's */
    char *arbiter_uri;   /* as configured; the peer has the others that the view names */
    char *plugin_folder; /* NULL: the usual places */
    uint64_t id;
    uint32_t timeout_ms;
    uint32_t inflight_max;
    uint64_t inflight_bytes_max;

    uv_idle_t turn;  /* active while something waits to be done in the next turn */
    uv_timer_t tick; /* active while requests are outstanding */
    uint64_t now_ms; /* as of the start of the turn */

    struct list carriers;
    struct peer arbiter;
    struct list peers;
    struct peer *primary;       /* its peer; NULL: not made yet, or no primary is known */
    struct queue primary_queue; /* requests for whoever is primary */
    struct queue lookups;       /* requests for a node whose peer is to be looked up */
    struct list unknown;        /* the same, but the view has no such node: asked the arbiter */
    struct locate locate;
    struct view *view; /* number 0: none known */

    struct table table; /* sent requests by id */
    struct wheel wheel; /* all requests */
    uint32_t inflight;
    uint64_t inflight_bytes;
    uint64_t last_id;
    uint64_t last_order;
    struct kv_client_counters counters;
    struct kv_position position; /* the highest of its own acknowledged updates */
    uint64_t seen_index;         /* options.seen_index */
    bool reads_stale;            /* options.stale_reads */

    struct message outgoing; /* kept zeroed where unused, so that sending clears nothing */
    uint8_t *scratch;        /* one encoded message */
    size_t scratch_capacity;
    struct arena arena; /* of the answer being given */
    char reason[CLIENT_REASON_MAX];
    uint8_t reject; /* of the last refusal: enum reject_reason, and what the node said of it */
    char reject_text[CLIENT_REASON_MAX];

    bool is_closing;
    bool is_stopping; /* the requests are answered, the transports are being stopped */
    uint32_t handles;
    kv_closed_fn on_closed;
    void *closed_ctx;
};

/* Milliseconds of a clock that never goes back; exact also when the loop was kept busy. */
uint64_t client_now_ms(void);

/* An update of its own was acknowledged. */
void client_note_position(struct kv_client *client, struct kv_position position);

/* Has the next turn of the loop do what can be done. */
void client_wake(struct kv_client *client);

/* The first request is outstanding. */
void client_start_tick(struct kv_client *client);

void client_on_carrier_stopped(struct kv_client *client);

#endif

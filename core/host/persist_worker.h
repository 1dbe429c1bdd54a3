/*
 * The persistence thread: all calls of a node's persistence plugin, through its guard. It opens the
 * store, gives its content to the loop in pieces, then stores one batch at a time.
 *
 * Functions and callbacks: loop thread only. A plugin may block as long as it likes: nothing here
 * waits for it, except that persist_worker_stop() is answered only when its call has returned.
 */
#ifndef HOST_PERSIST_WORKER_H
#define HOST_PERSIST_WORKER_H

#include "host/isolate.h"
#include "host/loader.h"
#include "host/services.h"
#include "logic/event.h"

#include <stdbool.h>
#include <uv.h>

#define PERSIST_WORKER_ERROR_MAX 512u

struct persist_worker;

/* No callback comes from within a persist_worker_ function. */
struct persist_worker_events {
    /* Encoded records (logic/record.h) of the store's content; borrowed for the call. */
    void (*on_loaded_records)(void *ctx, const void *bytes, size_t len);
    /* All of it was given. position: what the content reaches; (0, 0) when the plugin cannot give
     * its content back. */
    void (*on_loaded)(void *ctx, struct kv_position position);
    /* The plugin refused its settings (is_create); or the store cannot be opened or read; or, later
     * and with KV_E_CORRUPT, a store that was opened again holds less than it had said to have
     * stored; or, with KV_E_REJECTED, a shared store of which this node would be the primary with
     * what it loaded has changed since. Nothing follows but on_stopped. */
    void (*on_failed)(void *ctx, bool is_create, int32_t status, const char *error);
    /* Outcome of a batch; error is NULL with KV_OK. refusals: with KV_OK, the records that the
     * store will never take, ascending; borrowed for the call. */
    void (*on_applied)(void *ctx, uint64_t batch, int32_t status, const char *error,
                       const struct persist_refusal *refusals, uint32_t refusals_len);
    /* The thread has ended, the store is closed, the instance destroyed. */
    void (*on_stopped)(void *ctx);
};

struct persist_worker_batch {
    uint64_t number;
    struct kv_position position;
    const struct kv_slice *slices; /* whole encoded records in each */
    uint32_t slices_len;
    uint32_t records_len;
    bool reset;      /* first empty the store, if it cannot give its content back (no `load`) */
    bool is_primary; /* a store in scope "shared" is written by the primary only: any other's batch
                        is answered with KV_OK without a call of the plugin */
    uint64_t view;   /* the primary's: what a store in scope "shared" is told as the view of a
                        position from before, so that it can refuse the primary before; or 0 */
};

/* Starts the thread. plugin, services, settings and isolate (NULL: the plugin runs in this process)
 * are borrowed until on_stopped; events are copied. When there is no thread to be had, on_failed
 * follows. */
struct persist_worker *persist_worker_create(uv_loop_t *loop, const struct loaded_plugin *plugin,
                                             struct services *services,
                                             const struct kv_setting *settings,
                                             const struct isolate_config *isolate,
                                             const struct persist_worker_events *events, void *ctx);

/* Hands a batch over: after on_loaded, one at a time. What it points to is borrowed until
 * on_applied (or on_stopped). */
void persist_worker_apply(struct persist_worker *worker, const struct persist_worker_batch *batch);

/* Asynchronous, once: ends after the call that the plugin is in and after a batch that was handed
 * over; its on_applied may still come before on_stopped. */
void persist_worker_stop(struct persist_worker *worker);

/* After on_stopped, or in it. NULL is fine. */
void persist_worker_destroy(struct persist_worker *worker);

#endif

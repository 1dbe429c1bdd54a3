/*
 * Happy path. The thread: create, open, load (pieces into a short queue, in which it waits for the
 * loop to take them), then for each batch: decode, apply, leave the outcome, wake the loop. The
 * loop: one piece or outcome a turn, so that a long load does not keep it from its peers.
 *
 * Failure. Before the content is there: told once, the thread ends. Later a failed batch is only
 * told; the logic hands it over again. After a failure that says that the store is in a bad way
 * (KV_E_IO, KV_CLASS_FATAL) the store is closed and opened again before the next apply, with
 * back-off: until its time has come, batches are answered with the failure that closed it. While it
 * fails again and again the log says so at doubling intervals (failure_log.h), and the plugin's own
 * lines are for debugging. A store that was opened again and holds less than it had said to have
 * stored has lost what the node has acknowledged: that is told like a failed first open, and the
 * thread ends.
 *
 * A store of several nodes (scope "shared") is written by the primary; the others' batches are
 * passed over. A node that becomes primary with what it has loaded, without having followed any
 * other since, first looks whether that still is what the store holds: the primary before may have
 * gone on. If not, the thread ends too, and the node is to be started again.
 *
 * The lock guards the exchange below; it is never held during a call of the plugin.
 */
#include "host/persist_worker.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/status.h"
#include "host/store_log.h"
#include "host/guard_persist.h"
#include "host/log.h"
#include "host/persist_batch.h"
#include "logic/record.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PERSIST_WORKER_PIECE_BYTES   ((size_t)1024 * 1024)
#define PERSIST_WORKER_PIECES_MAX    4u
#define PERSIST_WORKER_REOPEN_MIN_MS 100u
#define PERSIST_WORKER_REOPEN_MAX_MS 5000u
#define PERSIST_WORKER_SLOW_MS       5000u

struct persist_worker_piece {
    uint8_t *bytes;
    size_t len;
};

/* What the two threads leave for each other, under the lock. */
struct persist_worker_exchange {
    /* loop to thread */
    bool stop_wanted;
    bool has_batch;
    struct persist_worker_batch batch;
    /* thread to loop; pieces first */
    struct persist_worker_piece pieces[PERSIST_WORKER_PIECES_MAX];
    uint32_t pieces_len;
    bool is_loaded;
    struct kv_position position;
    bool has_failed;
    bool failed_in_create;
    bool has_outcome;
    uint64_t outcome_batch;
    int32_t status; /* of the failure or the outcome */
    char error[PERSIST_WORKER_ERROR_MAX];
    struct persist_refusal *refusals; /* one piece of memory with their texts; NULL: none */
    uint32_t refusals_len;
    bool has_ended;
};

struct persist_worker {
    /* set before the thread starts */
    const struct loaded_plugin *plugin;
    struct services *services;
    const struct kv_setting *settings;
    const struct isolate_config *isolate; /* NULL: in this process */
    bool is_shared;                       /* several nodes have this store */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* of the thread: a batch, room for a piece, stop */
    struct persist_worker_exchange exchange;
    /* loop only */
    struct persist_worker_events events;
    void *ctx;
    pthread_t thread;
    bool has_thread;
    uv_async_t async;
    uv_timer_t slow_timer;
    uint64_t batch; /* in flight; 0: none */
    uint64_t batch_ms;
    uint32_t handles_closed;
    bool is_loaded;
    bool is_stopping;
    bool is_stopped;
    /* thread only */
    struct guard_persist *guard;
    struct buffer piece;
    struct kv_record *records;
    uint32_t records_capacity;
    bool is_open;
    bool has_applied;          /* since it was opened */
    bool is_empty;             /* reset since it was opened, and nothing stored since */
    bool has_told_no_reset;    /* the warning that it cannot be emptied */
    bool has_begun;            /* a batch was taken, or passed over */
    struct kv_position loaded; /* what the content given to the loop reaches */
    struct kv_position stored; /* what it has said to have; (0, 0): nothing, or no whole */
    bool may_be_incomplete;    /* something was tried that makes its position (0, 0) */
    struct failure_log failures;
    int32_t closed_status; /* why it is not open */
    char closed_error[PERSIST_WORKER_ERROR_MAX];
    uint64_t reopen_ms; /* not before */
    uint32_t reopen_pause_ms;
};

static uint64_t persist_worker_now_ms(const struct persist_worker *worker)
{
    const struct kv_host *host = services_table(worker->services);
    return host->now_ms(host->ctx);
}

/* --- the thread --- */

/* The reason that the plugin gave, or the code's own text. */
static void persist_worker_explain(struct persist_worker *worker, int32_t status, char *ret_error)
{
    services_last_error(worker->services, ret_error, PERSIST_WORKER_ERROR_MAX);
    if (ret_error[0] == '\0') {
        snprintf(ret_error, PERSIST_WORKER_ERROR_MAX, "%s (%s)", status_text(status),
                 status_name(status));
    }
}

/* Waits for room in the queue. KV_E_CLOSED: the worker is to stop. */
static int32_t persist_worker_give_piece(struct persist_worker *worker)
{
    struct persist_worker_exchange *exchange = &worker->exchange;
    int32_t status = KV_OK;
    pthread_mutex_lock(&worker->lock);
    while (exchange->pieces_len == PERSIST_WORKER_PIECES_MAX && !exchange->stop_wanted) {
        pthread_cond_wait(&worker->wake, &worker->lock);
    }
    if (exchange->stop_wanted) {
        status = KV_E_CLOSED;
    } else {
        struct persist_worker_piece *piece = &exchange->pieces[exchange->pieces_len++];
        piece->bytes = buffer_take(&worker->piece, &piece->len);
    }
    pthread_mutex_unlock(&worker->lock);
    uv_async_send(&worker->async);
    return status;
}

static int32_t persist_worker_emit(void *ctx, const struct kv_record *record)
{
    struct persist_worker *worker = ctx;
    record_encode(record, buffer_room(&worker->piece, record_size(record)));
    return worker->piece.len < PERSIST_WORKER_PIECE_BYTES ? KV_OK
                                                          : persist_worker_give_piece(worker);
}

/* Waits, but not beyond the wish to stop. False: that has come. */
static bool persist_worker_pause(struct persist_worker *worker, uint32_t pause_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + (uint64_t)pause_ms * 1000000u;
    until.tv_sec += (time_t)(nanoseconds / 1000000000u);
    until.tv_nsec = (long)(nanoseconds % 1000000000u);
    pthread_mutex_lock(&worker->lock);
    int status = 0;
    while (!worker->exchange.stop_wanted && status != ETIMEDOUT) {
        status = pthread_cond_clockwait(&worker->wake, &worker->lock, CLOCK_MONOTONIC, &until);
    }
    bool goes_on = !worker->exchange.stop_wanted;
    pthread_mutex_unlock(&worker->lock);
    return goes_on;
}

/* Opens the store for the first time. One that says "not now", as a server that is started after
 * the node, is asked again and again. */
static int32_t persist_worker_open_first(struct persist_worker *worker,
                                         struct kv_position *ret_position)
{
    uint32_t pause_ms = PERSIST_WORKER_REOPEN_MIN_MS;
    int32_t status = guard_persist_open(worker->guard, ret_position);
    while (status == KV_E_RETRY) {
        char error[PERSIST_WORKER_ERROR_MAX];
        persist_worker_explain(worker, status, error);
        store_log_failure(&worker->failures, worker->services, status, error);
        if (!persist_worker_pause(worker, pause_ms)) {
            return KV_E_CLOSED;
        }
        pause_ms = pause_ms * 2 < PERSIST_WORKER_REOPEN_MAX_MS ? pause_ms * 2
                                                               : PERSIST_WORKER_REOPEN_MAX_MS;
        services_clear_error(worker->services);
        status = guard_persist_open(worker->guard, ret_position);
    }
    return status;
}

/* Creates, opens, loads. *ret_is_create: where it failed. */
static int32_t persist_worker_begin(struct persist_worker *worker, struct kv_position *ret_position,
                                    bool *ret_is_create)
{
    *ret_is_create = true;
    int32_t status = guard_persist_create(worker->plugin, worker->services, worker->settings,
                                          worker->isolate, &worker->guard);
    if (status != KV_OK) {
        return status;
    }
    *ret_is_create = false;
    struct kv_position position = {0, 0};
    status = persist_worker_open_first(worker, &position);
    if (status == KV_OK) {
        store_log_success(&worker->failures, worker->services);
        worker->is_open = true;
        worker->stored = position;
        worker->loaded = position;
        status = guard_persist_load(worker->guard, persist_worker_emit, worker);
    }
    if (status == KV_OK && worker->piece.len > 0) {
        status = persist_worker_give_piece(worker);
    }
    if (status == KV_OK) {
        /* A store that cannot give its content back leaves the memory empty: what the node has
         * is then nothing, whatever the store has reached. */
        *ret_position = guard_persist_can_load(worker->guard) ? position : (struct kv_position){0};
    }
    return status;
}

static void persist_worker_tell_begun(struct persist_worker *worker, int32_t status,
                                      struct kv_position position, bool is_create)
{
    struct persist_worker_exchange *exchange = &worker->exchange;
    char error[PERSIST_WORKER_ERROR_MAX] = "";
    if (status != KV_OK) {
        persist_worker_explain(worker, status, error);
    }
    pthread_mutex_lock(&worker->lock);
    exchange->is_loaded = status == KV_OK;
    exchange->has_failed = status != KV_OK && !exchange->stop_wanted;
    exchange->failed_in_create = is_create;
    exchange->position = position;
    exchange->status = status;
    memcpy(exchange->error, error, sizeof(error));
    pthread_mutex_unlock(&worker->lock);
    uv_async_send(&worker->async);
}

/* Waits for the next batch. False: there is none any more. */
static bool persist_worker_take_batch(struct persist_worker *worker,
                                      struct persist_worker_batch *ret_batch)
{
    struct persist_worker_exchange *exchange = &worker->exchange;
    pthread_mutex_lock(&worker->lock);
    while (!exchange->has_batch && !exchange->stop_wanted) {
        pthread_cond_wait(&worker->wake, &worker->lock);
    }
    bool has_batch = exchange->has_batch;
    if (has_batch) {
        *ret_batch = exchange->batch;
        exchange->has_batch = false;
    }
    pthread_mutex_unlock(&worker->lock);
    return has_batch;
}

/* Ends the use of the store; it is opened again before the next call. */
static void persist_worker_close_guard(struct persist_worker *worker)
{
    guard_persist_close(worker->guard);
    worker->is_open = false;
    worker->has_applied = false;
    worker->is_empty = false;
}

/* Closes a store that is in a bad way; it is opened again after a pause. */
static void persist_worker_close_store(struct persist_worker *worker, int32_t status)
{
    persist_worker_close_guard(worker);
    worker->closed_status = status;
    persist_worker_explain(worker, status, worker->closed_error);
    uint32_t pause_ms = worker->reopen_pause_ms;
    worker->reopen_ms = persist_worker_now_ms(worker) + pause_ms;
    worker->reopen_pause_ms =
        pause_ms * 2 < PERSIST_WORKER_REOPEN_MAX_MS ? pause_ms * 2 : PERSIST_WORKER_REOPEN_MAX_MS;
    log_event(KV_LOG_DEBUG, "persist", "store-closed status=%s reopen_in_ms=%" PRIu32,
              status_name(status), pause_ms);
}

/* True when a store that was opened again has less than it said to have. (0, 0) can be compared
 * only where nothing was tried that leads to it, and a store that gives nothing back may keep no
 * position at all. */
static bool persist_worker_is_behind(const struct persist_worker *worker,
                                     struct kv_position position)
{
    if (worker->stored.view == 0) {
        return false;
    }
    if (position.view == 0) {
        return guard_persist_can_load(worker->guard) && !worker->may_be_incomplete &&
               !worker->is_shared;
    }
    return position_compare(position, worker->stored) < 0;
}

/* Opens the store again. *ret_is_lost: it has lost something; ret_error says what. */
static int32_t persist_worker_reopen(struct persist_worker *worker, bool *ret_is_lost,
                                     char *ret_error)
{
    struct kv_position position;
    services_clear_error(worker->services);
    int32_t status = guard_persist_open(worker->guard, &position);
    if (status != KV_OK) {
        return status;
    }
    worker->is_open = true;
    if (persist_worker_is_behind(worker, position)) {
        snprintf(ret_error, PERSIST_WORKER_ERROR_MAX,
                 "the store was opened again and holds less than it had said to have stored: "
                 "position (%" PRIu64 ", %" PRIu64 ") instead of (%" PRIu64 ", %" PRIu64
                 ") of view and index",
                 position.view, position.index, worker->stored.view, worker->stored.index);
        *ret_is_lost = true;
        return KV_E_CORRUPT;
    }
    worker->stored = position;
    log_event(KV_LOG_DEBUG, "persist", "store-reopened view=%" PRIu64 " index=%" PRIu64,
              position.view, position.index);
    return KV_OK;
}

/* Empties a store of which the node knows nothing, for a batch that wants it: nothing with one that
 * gives its content back. A store is emptied before its first apply() only, so one that has applied
 * something is opened again for it. */
static int32_t persist_worker_empty(struct persist_worker *worker, bool *ret_is_lost,
                                    char *ret_error)
{
    uint64_t capabilities = worker->plugin->descriptor.capabilities;
    if (worker->is_empty || (capabilities & KV_PERSIST_LOAD) != 0) {
        return KV_OK;
    }
    if ((capabilities & KV_PERSIST_RESET) == 0) {
        if (!worker->has_told_no_reset) {
            worker->has_told_no_reset = true;
            log_event(KV_LOG_WARN, "persist",
                      "store-keeps-removed-keys plugin=%s text=\"the store can neither give its "
                      "content back nor be emptied: it cannot be told of keys that were removed "
                      "while this node was away\"",
                      worker->plugin->descriptor.name);
        }
        return KV_OK;
    }
    int32_t status = KV_OK;
    if (worker->has_applied) {
        persist_worker_close_guard(worker);
        status = persist_worker_reopen(worker, ret_is_lost, ret_error);
    }
    if (status == KV_OK) {
        services_clear_error(worker->services);
        worker->may_be_incomplete = true;
        status = guard_persist_reset(worker->guard);
    }
    if (status == KV_OK) {
        worker->is_empty = true;
        worker->stored = (struct kv_position){0, 0};
    }
    return status;
}

/* Before a node is the primary with what it has loaded from a store that others write, too: opens
 * the store once more, as only that shows its position. *ret_is_lost: it is another. */
static int32_t persist_worker_look_again(struct persist_worker *worker, bool *ret_is_lost,
                                         char *ret_error)
{
    if (worker->is_open) {
        persist_worker_close_guard(worker);
    }
    int32_t status = persist_worker_reopen(worker, ret_is_lost, ret_error);
    if (status == KV_OK && position_compare(worker->stored, worker->loaded) != 0) {
        snprintf(ret_error, PERSIST_WORKER_ERROR_MAX,
                 "another node has written the shared store after this one had loaded it: start "
                 "this node again (position (%" PRIu64 ", %" PRIu64 ") now, (%" PRIu64 ", %" PRIu64
                 ") then, of view and index)",
                 worker->stored.view, worker->stored.index, worker->loaded.view,
                 worker->loaded.index);
        *ret_is_lost = true;
        return KV_E_REJECTED;
    }
    return status;
}

static int32_t persist_worker_call(struct persist_worker *worker,
                                   const struct persist_worker_batch *batch,
                                   const struct persist_refusal **ret_refusals,
                                   uint32_t *ret_refusals_len)
{
    struct kv_position position = persist_batch_position(batch, worker->is_shared);
    persist_batch_decode(batch, &worker->records, &worker->records_capacity);
    services_clear_error(worker->services);
    worker->has_applied = true;
    worker->may_be_incomplete = worker->may_be_incomplete || position.view == 0;
    int32_t status = guard_persist_apply(worker->guard, worker->records, batch->records_len,
                                         position, ret_refusals, ret_refusals_len);
    if (status == KV_OK) {
        worker->stored = position;
        worker->may_be_incomplete = position.view == 0;
        worker->is_empty = false;
        worker->reopen_pause_ms = PERSIST_WORKER_REOPEN_MIN_MS;
    }
    return status;
}

static bool persist_worker_must_reopen(int32_t status)
{
    return status == KV_E_IO || status_class(status) == KV_CLASS_FATAL;
}

/* A call of the store failed. ret_error: PERSIST_WORKER_ERROR_MAX bytes. */
static void persist_worker_on_failure(struct persist_worker *worker, int32_t status,
                                      char *ret_error)
{
    persist_worker_explain(worker, status, ret_error);
    if (!worker->is_open || persist_worker_must_reopen(status)) {
        persist_worker_close_store(worker, status);
    }
    store_log_failure(&worker->failures, worker->services, status, ret_error);
}

/* Stores a batch, or says why not: ret_error (PERSIST_WORKER_ERROR_MAX bytes). *ret_is_lost: and
 * nothing more is to be tried. */
static int32_t persist_worker_store(struct persist_worker *worker,
                                    const struct persist_worker_batch *batch,
                                    const struct persist_refusal **ret_refusals,
                                    uint32_t *ret_refusals_len, bool *ret_is_lost, char *ret_error)
{
    int32_t status = KV_OK;
    if (worker->is_shared && !batch->is_primary) {
        worker->has_begun = true;
        return KV_OK; /* the primary writes it */
    }
    if (!worker->is_open && persist_worker_now_ms(worker) < worker->reopen_ms) {
        memcpy(ret_error, worker->closed_error, sizeof(worker->closed_error));
        return worker->closed_status;
    }
    if (worker->is_shared && !worker->has_begun) {
        status = persist_worker_look_again(worker, ret_is_lost, ret_error);
        worker->has_begun = status == KV_OK;
    } else if (!worker->is_open) {
        status = persist_worker_reopen(worker, ret_is_lost, ret_error);
    }
    if (status == KV_OK && batch->reset) {
        status = persist_worker_empty(worker, ret_is_lost, ret_error);
    }
    if (status == KV_OK) {
        status = persist_worker_call(worker, batch, ret_refusals, ret_refusals_len);
    }
    if (status == KV_OK) {
        store_log_success(&worker->failures, worker->services);
    } else if (!*ret_is_lost) {
        persist_worker_on_failure(worker, status, ret_error);
    }
    return status;
}

static void persist_worker_run_batches(struct persist_worker *worker)
{
    struct persist_worker_exchange *exchange = &worker->exchange;
    struct persist_worker_batch batch;
    bool is_lost = false;
    while (!is_lost && persist_worker_take_batch(worker, &batch)) {
        char error[PERSIST_WORKER_ERROR_MAX] = "";
        const struct persist_refusal *refusals = NULL;
        uint32_t refusals_len = 0;
        int32_t status =
            persist_worker_store(worker, &batch, &refusals, &refusals_len, &is_lost, error);
        struct persist_refusal *copy = persist_batch_copy_refusals(refusals, refusals_len);
        pthread_mutex_lock(&worker->lock);
        exchange->has_outcome = !is_lost;
        exchange->has_failed = is_lost && !exchange->stop_wanted;
        exchange->failed_in_create = false;
        exchange->outcome_batch = batch.number;
        exchange->status = status;
        exchange->refusals = copy;
        exchange->refusals_len = refusals_len;
        memcpy(exchange->error, error, sizeof(error));
        pthread_mutex_unlock(&worker->lock);
        uv_async_send(&worker->async);
    }
}

static void *persist_worker_run(void *argument)
{
    struct persist_worker *worker = argument;
    struct kv_position position = {0, 0};
    bool is_create = false;
    int32_t status = persist_worker_begin(worker, &position, &is_create);
    persist_worker_tell_begun(worker, status, position, is_create);
    if (status == KV_OK) {
        persist_worker_run_batches(worker);
    }
    guard_persist_destroy(worker->guard);
    alloc_free(worker->records);
    buffer_close(&worker->piece);
    pthread_mutex_lock(&worker->lock);
    worker->exchange.has_ended = true;
    pthread_mutex_unlock(&worker->lock);
    uv_async_send(&worker->async);
    return NULL;
}

/* --- the loop --- */

static void persist_worker_on_closed(uv_handle_t *handle)
{
    struct persist_worker *worker = handle->data;
    if (++worker->handles_closed == 2) {
        worker->is_stopped = true;
        worker->events.on_stopped(worker->ctx);
    }
}

/* Says that the plugin takes long: nothing can be done about it, but somebody should know. */
static void persist_worker_on_slow(uv_timer_t *timer)
{
    struct persist_worker *worker = timer->data;
    log_event(KV_LOG_WARN, "persist", "store-slow batch=%" PRIu64 " for_ms=%" PRIu64, worker->batch,
              uv_now(timer->loop) - worker->batch_ms);
}

/* Takes what the thread has left: one piece, or all that is not a piece when none is left. */
static struct persist_worker_exchange persist_worker_take(struct persist_worker *worker)
{
    struct persist_worker_exchange *exchange = &worker->exchange;
    pthread_mutex_lock(&worker->lock);
    struct persist_worker_exchange taken = *exchange;
    if (taken.pieces_len > 0) {
        exchange->pieces_len--;
        memmove(exchange->pieces, exchange->pieces + 1,
                exchange->pieces_len * sizeof(exchange->pieces[0]));
        pthread_cond_signal(&worker->wake);
    } else {
        exchange->is_loaded = false;
        exchange->has_failed = false;
        exchange->has_outcome = false;
        exchange->refusals = NULL;
        exchange->has_ended = false;
    }
    pthread_mutex_unlock(&worker->lock);
    return taken;
}

static void persist_worker_on_async(uv_async_t *async)
{
    struct persist_worker *worker = async->data;
    struct persist_worker_exchange taken = persist_worker_take(worker);
    if (taken.pieces_len > 0) {
        uv_async_send(&worker->async); /* there may be more, and what stands behind the pieces */
        if (!worker->is_stopping) {
            worker->events.on_loaded_records(worker->ctx, taken.pieces[0].bytes,
                                             taken.pieces[0].len);
        }
        alloc_free(taken.pieces[0].bytes);
        return;
    }
    if (taken.is_loaded && !worker->is_stopping) {
        worker->is_loaded = true;
        worker->events.on_loaded(worker->ctx, taken.position);
    }
    if (taken.has_failed) {
        worker->events.on_failed(worker->ctx, taken.failed_in_create, taken.status, taken.error);
    }
    if (taken.has_outcome) {
        KV_CHECK(worker->batch == taken.outcome_batch);
        worker->batch = 0;
        uv_timer_stop(&worker->slow_timer);
        worker->events.on_applied(worker->ctx, taken.outcome_batch, taken.status,
                                  taken.status == KV_OK ? NULL : taken.error, taken.refusals,
                                  taken.refusals_len);
        alloc_free(taken.refusals);
    }
    if (taken.has_ended) {
        if (worker->has_thread) {
            pthread_join(worker->thread, NULL);
        }
        uv_close((uv_handle_t *)&worker->async, persist_worker_on_closed);
        uv_close((uv_handle_t *)&worker->slow_timer, persist_worker_on_closed);
    }
}

/* Starts the thread with all signals blocked: they are the loop's, and would interrupt a plugin. */
static int persist_worker_start_thread(struct persist_worker *worker)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&worker->thread, NULL, persist_worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status == 0) {
        pthread_setname_np(worker->thread, "kv-persist");
    }
    return status;
}

struct persist_worker *persist_worker_create(uv_loop_t *loop, const struct loaded_plugin *plugin,
                                             struct services *services,
                                             const struct kv_setting *settings,
                                             const struct isolate_config *isolate,
                                             const struct persist_worker_events *events, void *ctx)
{
    struct persist_worker *worker = alloc_zeroed(1, sizeof(*worker));
    worker->plugin = plugin;
    worker->services = services;
    worker->settings = settings;
    worker->isolate = isolate;
    worker->is_shared = loader_scope_is_shared(plugin, settings);
    worker->events = *events;
    worker->ctx = ctx;
    worker->reopen_pause_ms = PERSIST_WORKER_REOPEN_MIN_MS;
    buffer_init(&worker->piece);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    KV_CHECK(uv_async_init(loop, &worker->async, persist_worker_on_async) == 0);
    KV_CHECK(uv_timer_init(loop, &worker->slow_timer) == 0);
    worker->async.data = worker;
    worker->slow_timer.data = worker;
    int status = persist_worker_start_thread(worker);
    worker->has_thread = status == 0;
    if (!worker->has_thread) {
        worker->exchange.has_failed = true;
        worker->exchange.has_ended = true;
        worker->exchange.status = KV_E_NOMEM;
        snprintf(worker->exchange.error, sizeof(worker->exchange.error), "no thread for it: %s",
                 strerror(status));
        uv_async_send(&worker->async);
    }
    return worker;
}

void persist_worker_apply(struct persist_worker *worker, const struct persist_worker_batch *batch)
{
    KV_CHECK(worker->is_loaded && !worker->is_stopping);
    KV_CHECK(worker->batch == 0 && batch->number != 0);
    worker->batch = batch->number;
    worker->batch_ms = uv_now(worker->async.loop);
    uv_timer_start(&worker->slow_timer, persist_worker_on_slow, PERSIST_WORKER_SLOW_MS,
                   PERSIST_WORKER_SLOW_MS);
    pthread_mutex_lock(&worker->lock);
    worker->exchange.batch = *batch;
    worker->exchange.has_batch = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}

void persist_worker_stop(struct persist_worker *worker)
{
    KV_CHECK(!worker->is_stopping);
    worker->is_stopping = true;
    pthread_mutex_lock(&worker->lock);
    worker->exchange.stop_wanted = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}

void persist_worker_destroy(struct persist_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    KV_CHECK(worker->is_stopped);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    alloc_free(worker);
}

/*
 * Happy path. Start: data folder, the arbiter's state, transports (real ports are known then), the
 * node, the store. Then turns of the loop: each callback steps the node with one event and carries
 * out its effects; at the end of the turn, if anything happened, EVENT_FLUSH lets the logic hand
 * over what has gathered, and the transports write once for each peer. Between turns the loop
 * sleeps until the next message, outcome or node_wake_ms().
 *
 * A turn ends before and after the loop waits for its descriptors (timers run before, everything
 * else after), so nothing that was decided waits for the next wake-up. Each event's time is read
 * from clock.h when its step begins; only the timer runs on the loop's own clock.
 *
 * Failure. Before the node runs: one line, and the exit status of section 6. Afterwards everything
 * that ends the node goes through runtime_stop(): transports, the store's thread and a write of the
 * arbiter's state under way end by themselves, then the loop does. What has not ended within
 * RUNTIME_STOP_MS (a plugin or disk that hangs) is left behind with the process.
 */
#include "host/runtime.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/status.h"
#include "host/arbiter_registry.h"
#include "host/clock.h"
#include "host/identity.h"
#include "host/log.h"
#include "host/network.h"
#include "host/persist_worker.h"
#include "host/registry_file.h"
#include "logic/node.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RUNTIME_MODULE "runtime"

struct runtime {
    const struct config *config;
    const struct plugins *plugins;
    int exit_status;
    struct clock clock;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t wake_timer;
    uv_timer_t stop_timer;
    uv_signal_t term_signal;
    uv_signal_t int_signal;
    uv_signal_t hup_signal; /* the terminal is gone: as SIGTERM */
    struct identity identity;
    struct network *network;
    struct network_uris uris;
    struct arbiter_registry *registry; /* NULL: no arbiter */
    bool registry_is_stopped;
    struct services *persist_services;
    struct isolate_config isolate;
    struct persist_worker *worker; /* NULL: no replica, or not started */
    bool worker_is_stopped;
    struct node *node;
    struct effects effects;
    uint64_t armed_ms; /* what wake_timer is set for; UINT64_MAX: not set */
    uint32_t signals;
    bool is_stepping;
    bool has_news; /* since the last EVENT_FLUSH */
    bool is_ready;
    bool stop_wanted;
    bool is_stopping;
    bool is_closed; /* the loop's own handles */
};

static void runtime_stop(struct runtime *runtime, int exit_status);

/* Remembers that the node is to end after the step that is going on. The first reason counts. */
static void runtime_want_stop(struct runtime *runtime, int exit_status)
{
    if (!runtime->stop_wanted) {
        runtime->stop_wanted = true;
        runtime->exit_status = exit_status;
    }
}

/* --- effects --- */

static void runtime_do_persist(struct runtime *runtime, const struct effect *effect)
{
    KV_CHECK(runtime->worker != NULL);
    struct persist_worker_batch batch = {
        .number = effect->as.persist.batch,
        .position = effect->as.persist.position,
        .slices = effect->as.persist.slices,
        .slices_len = effect->as.persist.slices_len,
        .records_len = effect->as.persist.records_len,
        .reset = effect->as.persist.reset,
        .is_primary = effect->as.persist.is_primary,
        .view = effect->as.persist.view,
    };
    persist_worker_apply(runtime->worker, &batch);
}

static void runtime_do_identity(struct runtime *runtime, const struct effect *effect)
{
    char error[IDENTITY_ERROR_MAX];
    char quoted[LOG_QUOTED_MAX];
    uint64_t cluster = effect->as.identity.cluster;
    bool is_copy = effect->as.identity.is_copy;
    int32_t status = is_copy ? identity_mark_copy(&runtime->identity, error)
                             : identity_set_cluster(&runtime->identity, cluster, error);
    if (status != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "identity-failed folder=%s reason=\"%s\"",
                  runtime->config->node.data, log_quote(error, quoted));
        runtime_want_stop(runtime, RUNTIME_EXIT_STORAGE);
        return;
    }
    log_event(is_copy ? KV_LOG_ERROR : KV_LOG_INFO, RUNTIME_MODULE,
              "identity node=%016" PRIx64 " cluster=%016" PRIx64 "%s", runtime->identity.node,
              cluster, is_copy ? " refused=copy" : "");
}

static void runtime_do_ready(struct runtime *runtime, const struct effect *effect)
{
    const char *role = message_role_name(effect->as.ready.role);
    log_event(KV_LOG_INFO, RUNTIME_MODULE, "ready role=%s", role);
    if (runtime->is_ready) {
        return;
    }
    runtime->is_ready = true;
    printf("ready name=%s role=%s listen=", runtime->config->node.name, role);
    for (uint32_t i = 0; i < runtime->uris.len; i++) {
        printf("%s%s", i == 0 ? "" : ",", runtime->uris.uris[i]);
    }
    printf("\n");
    if (fflush(stdout) != 0) {
        log_event(KV_LOG_WARN, RUNTIME_MODULE, "stdout-failed");
    }
}

static void runtime_do_note(const struct effect *effect)
{
    static const uint32_t levels[] = {
        [NOTE_DEBUG] = KV_LOG_DEBUG,
        [NOTE_INFO] = KV_LOG_INFO,
        [NOTE_WARN] = KV_LOG_WARN,
        [NOTE_ERROR] = KV_LOG_ERROR,
    };
    log_event(levels[effect->as.note.level], "node", "%s", effect->as.note.text);
}

static void runtime_do_stop(struct runtime *runtime, const struct effect *effect)
{
    char quoted[LOG_QUOTED_MAX];
    int exit_status = effect->as.stop.exit_status;
    log_event(exit_status == 0 ? KV_LOG_INFO : KV_LOG_ERROR, RUNTIME_MODULE,
              "stop status=%d reason=\"%s\"", exit_status,
              log_quote(effect->as.stop.reason, quoted));
    runtime_want_stop(runtime, exit_status);
}

static void runtime_do(struct runtime *runtime, const struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_PERSIST:
        runtime_do_persist(runtime, effect);
        break;
    case EFFECT_OPEN_LINK:
        network_open(runtime->network, effect->as.open_link.link, effect->as.open_link.uris,
                     effect->as.open_link.uris_len);
        break;
    case EFFECT_CLOSE_LINK:
        network_close_link(runtime->network, effect->as.close_link.link);
        break;
    case EFFECT_SEND:
        network_send(runtime->network, effect->as.send.link, effect->as.send.slices,
                     effect->as.send.slices_len);
        break;
    case EFFECT_REGISTRY_WRITE:
        KV_CHECK(runtime->registry != NULL);
        arbiter_registry_write(runtime->registry, effect);
        break;
    case EFFECT_IDENTITY:
        runtime_do_identity(runtime, effect);
        break;
    case EFFECT_READY:
        runtime_do_ready(runtime, effect);
        break;
    case EFFECT_NOTE:
        runtime_do_note(effect);
        break;
    case EFFECT_STOP:
        runtime_do_stop(runtime, effect);
        break;
    default:
        KV_CHECK(false);
    }
}

/* Carries out the effects of one step, in their order; checks the order rule of effect.h. */
static void runtime_do_all(struct runtime *runtime)
{
    bool has_sent = false;
    for (uint32_t i = 0; i < runtime->effects.len; i++) {
        const struct effect *effect = &runtime->effects.items[i];
        KV_CHECK(effect->kind != EFFECT_PERSIST || !has_sent);
        has_sent = has_sent || effect->kind == EFFECT_SEND;
        runtime_do(runtime, effect);
    }
}

/* --- steps and turns --- */

static void runtime_step_once(struct runtime *runtime, struct event *event)
{
    KV_CHECK(!runtime->is_stepping);
    runtime->is_stepping = true;
    event->now_ms = clock_now_ms(&runtime->clock);
    node_step(runtime->node, event, &runtime->effects);
    runtime_do_all(runtime);
    runtime->is_stepping = false;
}

/* One event, and what its effects bring with them: links that were ended because they were full.
 * Events that come while the node is stopping are dropped. */
static void runtime_step(struct runtime *runtime, struct event *event)
{
    if (runtime->is_stopping) {
        return;
    }
    runtime->has_news = runtime->has_news || event->kind != EVENT_FLUSH;
    runtime_step_once(runtime, event);
    uint64_t link;
    while (!runtime->stop_wanted && network_take_ended(runtime->network, &link)) {
        runtime->has_news = true;
        struct event down = {.kind = EVENT_LINK_DOWN, .as.link.link = link};
        runtime_step_once(runtime, &down);
    }
    if (runtime->stop_wanted) {
        runtime_stop(runtime, runtime->exit_status);
    }
}

static void runtime_on_wake(uv_timer_t *timer)
{
    struct runtime *runtime = timer->data;
    runtime->armed_ms = UINT64_MAX;
    struct event event = {.kind = EVENT_TICK};
    runtime_step(runtime, &event);
}

/* Sets the timer for the next EVENT_TICK. A time that is past comes with the next millisecond, so
 * that the loop can never spin on it. */
static void runtime_arm_wake(struct runtime *runtime)
{
    uint64_t wake_ms = node_wake_ms(runtime->node);
    if (wake_ms == runtime->armed_ms) {
        return;
    }
    runtime->armed_ms = wake_ms;
    if (wake_ms == UINT64_MAX) {
        uv_timer_stop(&runtime->wake_timer);
        return;
    }
    uint64_t now_ms = clock_now_ms(&runtime->clock);
    uv_update_time(&runtime->loop); /* from which the timer's delay counts */
    uv_timer_start(&runtime->wake_timer, runtime_on_wake, wake_ms > now_ms ? wake_ms - now_ms : 1,
                   0);
}

static void runtime_end_turn(struct runtime *runtime)
{
    if (!runtime->has_news || runtime->is_stopping) {
        return;
    }
    while (runtime->has_news && !runtime->is_stopping) {
        runtime->has_news = false;
        struct event event = {.kind = EVENT_FLUSH};
        runtime_step(runtime, &event);
    }
    if (!runtime->is_stopping) {
        network_flush(runtime->network);
        runtime_arm_wake(runtime);
    }
}

static void runtime_on_prepare(uv_prepare_t *prepare)
{
    runtime_end_turn(prepare->data);
}

static void runtime_on_check(uv_check_t *check)
{
    runtime_end_turn(check->data);
}

/* --- what happens --- */

static void runtime_on_link_up(void *ctx, uint64_t link)
{
    struct event event = {.kind = EVENT_LINK_UP, .as.link.link = link};
    runtime_step(ctx, &event);
}

static void runtime_on_link_down(void *ctx, uint64_t link)
{
    struct event event = {.kind = EVENT_LINK_DOWN, .as.link.link = link};
    runtime_step(ctx, &event);
}

static void runtime_on_message(void *ctx, uint64_t link, const void *bytes, size_t len)
{
    struct event event = {.kind = EVENT_MESSAGE,
                          .as.message = {.link = link, .bytes = bytes, .len = len}};
    runtime_step(ctx, &event);
}

static void runtime_on_loaded_records(void *ctx, const void *bytes, size_t len)
{
    struct event event = {.kind = EVENT_LOADED_RECORDS,
                          .as.loaded_records = {.bytes = bytes, .len = len}};
    runtime_step(ctx, &event);
}

static void runtime_on_loaded(void *ctx, struct kv_position position)
{
    struct event event = {.kind = EVENT_LOADED, .as.loaded.position = position};
    runtime_step(ctx, &event);
}

static void runtime_on_applied(void *ctx, uint64_t batch, int32_t status, const char *error,
                               const struct persist_refusal *refusals, uint32_t refusals_len)
{
    struct event event = {.kind = status == KV_OK ? EVENT_PERSISTED : EVENT_PERSIST_FAILED,
                          .as.persist = {.batch = batch,
                                         .status = status,
                                         .error = error,
                                         .refusals = refusals,
                                         .refusals_len = refusals_len}};
    runtime_step(ctx, &event);
}

/* The first open, or the plugin itself, failed, or the store lost what it had: the node must not
 * serve what it does not have. */
static void runtime_on_store_failed(void *ctx, bool is_create, int32_t status, const char *error)
{
    struct runtime *runtime = ctx;
    char quoted[LOG_QUOTED_MAX];
    const char *name = runtime->plugins->persistence.loaded->descriptor.name;
    if (is_create) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "plugin-refused plugin=%s status=%s reason=\"%s\"",
                  name, status_name(status), log_quote(error, quoted));
        runtime_stop(runtime, RUNTIME_EXIT_PLUGIN);
        return;
    }
    log_event(KV_LOG_ERROR, RUNTIME_MODULE, "store-failed plugin=%s status=%s reason=\"%s\"%s",
              name, status_name(status), log_quote(error, quoted),
              status != KV_E_CORRUPT
                  ? ""
                  : " help=\"the store is damaged and is not served: restore it from a copy; or, "
                    "unless this node is the primary, remove it and start again: the node then "
                    "resynchronises from the others\"");
    runtime_stop(runtime, RUNTIME_EXIT_STORAGE);
}

static void runtime_on_signal(uv_signal_t *handle, int number)
{
    struct runtime *runtime = handle->data;
    const char *name = number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
    runtime->signals++;
    if (runtime->signals == 1) {
        log_event(KV_LOG_INFO, RUNTIME_MODULE, "signal signal=%s action=leave", name);
        struct event event = {.kind = EVENT_LEAVE};
        runtime_step(runtime, &event);
    } else if (!runtime->is_stopping) {
        log_event(KV_LOG_WARN, RUNTIME_MODULE,
                  "signal signal=%s action=\"stop without leaving the cluster\"", name);
        runtime_stop(runtime, RUNTIME_EXIT_DONE);
    } else if (runtime->signals > 2) {
        log_event(KV_LOG_WARN, RUNTIME_MODULE, "signal signal=%s action=\"end at once\"", name);
        _exit(runtime->exit_status);
    }
}

/* --- stop --- */

static bool runtime_worker_is_done(const struct runtime *runtime)
{
    return runtime->worker == NULL || runtime->worker_is_stopped;
}

static bool runtime_registry_is_done(const struct runtime *runtime)
{
    return runtime->registry == NULL || runtime->registry_is_stopped;
}

static bool runtime_network_is_done(const struct runtime *runtime)
{
    return runtime->network == NULL || network_is_stopped(runtime->network);
}

static void runtime_on_stop_timeout(uv_timer_t *timer)
{
    struct runtime *runtime = timer->data;
    log_event(
        KV_LOG_ERROR, RUNTIME_MODULE,
        "stop-incomplete after_ms=%u transports=%s store=%s registry=%s: the process is ended",
        RUNTIME_STOP_MS, runtime_network_is_done(runtime) ? "done" : "hanging",
        runtime_worker_is_done(runtime) ? "done" : "hanging",
        runtime_registry_is_done(runtime) ? "done" : "hanging");
    _exit(runtime->exit_status);
}

/* When everything has ended, closes the loop's own handles, and with them uv_run() returns. */
static void runtime_end_stop(struct runtime *runtime)
{
    if (!runtime->is_stopping || runtime->is_closed || !runtime_network_is_done(runtime) ||
        !runtime_worker_is_done(runtime) || !runtime_registry_is_done(runtime)) {
        return;
    }
    runtime->is_closed = true;
    uv_close((uv_handle_t *)&runtime->prepare, NULL);
    uv_close((uv_handle_t *)&runtime->check, NULL);
    uv_close((uv_handle_t *)&runtime->wake_timer, NULL);
    uv_close((uv_handle_t *)&runtime->stop_timer, NULL);
    uv_close((uv_handle_t *)&runtime->term_signal, NULL);
    uv_close((uv_handle_t *)&runtime->int_signal, NULL);
    uv_close((uv_handle_t *)&runtime->hup_signal, NULL);
}

static void runtime_on_network_stopped(void *ctx)
{
    runtime_end_stop(ctx);
}

static void runtime_on_worker_stopped(void *ctx)
{
    struct runtime *runtime = ctx;
    runtime->worker_is_stopped = true;
    runtime_end_stop(runtime);
}

static void runtime_on_registry_stopped(void *ctx)
{
    struct runtime *runtime = ctx;
    runtime->registry_is_stopped = true;
    runtime_end_stop(runtime);
}

static void runtime_stop(struct runtime *runtime, int exit_status)
{
    if (runtime->is_stopping) {
        return;
    }
    runtime->is_stopping = true;
    runtime->exit_status = exit_status;
    uv_timer_stop(&runtime->wake_timer);
    uv_timer_start(&runtime->stop_timer, runtime_on_stop_timeout, RUNTIME_STOP_MS, 0);
    if (runtime->network != NULL) {
        network_stop(runtime->network);
    }
    if (runtime->worker != NULL && !runtime->worker_is_stopped) {
        persist_worker_stop(runtime->worker);
    }
    if (runtime->registry != NULL) {
        arbiter_registry_stop(runtime->registry, runtime_on_registry_stopped, runtime);
    }
    runtime_end_stop(runtime);
}

/* --- start --- */

static void runtime_init_loop(struct runtime *runtime)
{
    clock_init(&runtime->clock);
    KV_CHECK(uv_loop_init(&runtime->loop) == 0);
    uv_prepare_init(&runtime->loop, &runtime->prepare);
    uv_check_init(&runtime->loop, &runtime->check);
    uv_timer_init(&runtime->loop, &runtime->wake_timer);
    uv_timer_init(&runtime->loop, &runtime->stop_timer);
    uv_signal_init(&runtime->loop, &runtime->term_signal);
    uv_signal_init(&runtime->loop, &runtime->int_signal);
    uv_signal_init(&runtime->loop, &runtime->hup_signal);
    runtime->prepare.data = runtime;
    runtime->check.data = runtime;
    runtime->wake_timer.data = runtime;
    runtime->stop_timer.data = runtime;
    runtime->term_signal.data = runtime;
    runtime->int_signal.data = runtime;
    runtime->hup_signal.data = runtime;
    uv_prepare_start(&runtime->prepare, runtime_on_prepare);
    uv_check_start(&runtime->check, runtime_on_check);
    uv_signal_start(&runtime->term_signal, runtime_on_signal, SIGTERM);
    uv_signal_start(&runtime->int_signal, runtime_on_signal, SIGINT);
    uv_signal_start(&runtime->hup_signal, runtime_on_signal, SIGHUP);
    runtime->armed_ms = UINT64_MAX;
    effects_init(&runtime->effects);
}

/* Transports and addresses. Returns an exit status. */
static int runtime_start_network(struct runtime *runtime)
{
    static const struct network_events events = {
        .on_up = runtime_on_link_up,
        .on_message = runtime_on_message,
        .on_down = runtime_on_link_down,
        .on_stopped = runtime_on_network_stopped,
    };
    char error[PLUGINS_ERROR_MAX];
    char quoted[LOG_QUOTED_MAX];
    runtime->network = network_create(&runtime->loop, runtime->config, runtime->plugins,
                                      node_message_max(&runtime->config->limits), &events, runtime);
    if (network_start(runtime->network, error) != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "plugin-refused reason=\"%s\"",
                  log_quote(error, quoted));
        return RUNTIME_EXIT_PLUGIN;
    }
    if (network_listen(runtime->network, &runtime->uris, error) != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "listen-failed reason=\"%s\"",
                  log_quote(error, quoted));
        return RUNTIME_EXIT_NETWORK;
    }
    for (uint32_t i = 0; i < runtime->uris.len; i++) {
        log_event(KV_LOG_INFO, RUNTIME_MODULE, "listening uri=%s", runtime->uris.uris[i]);
    }
    return RUNTIME_EXIT_DONE;
}

/* The arbiter's address. An arbiter that names an address of its own with port 0 means the port
 * that it got. */
static const char *runtime_arbiter_uri(const struct runtime *runtime)
{
    const struct config *config = runtime->config;
    uint32_t at = 0;
    for (uint32_t i = 0; config->node.is_arbiter && i < config->transports_len; i++) {
        for (uint32_t u = 0; u < config->transports[i].uris_len; u++, at++) {
            if (strcmp(config->transports[i].uris[u], config->node.arbiter) == 0) {
                return runtime->uris.uris[at];
            }
        }
    }
    return config->node.arbiter;
}

static void runtime_on_registry_event(void *ctx, struct event *event)
{
    runtime_step(ctx, event);
}

static void runtime_create_registry(struct runtime *runtime)
{
    if (runtime->config->node.is_arbiter) {
        struct registry *file = registry_file_create(&runtime->loop, runtime->identity.folder_fd,
                                                     runtime->config->node.data);
        runtime->registry =
            arbiter_registry_create(file, &runtime->clock, runtime_on_registry_event, runtime);
    }
}

/* Reads what the arbiter knew and creates the node. Returns an exit status. */
static int runtime_create_node(struct runtime *runtime)
{
    const struct config *config = runtime->config;
    const uint8_t *registry = NULL;
    size_t registry_len = 0;
    char error[REGISTRY_ERROR_MAX];
    char quoted[LOG_QUOTED_MAX];
    if (runtime->registry != NULL &&
        arbiter_registry_read(runtime->registry, &registry, &registry_len, error) != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "registry-unusable reason=\"%s\"",
                  log_quote(error, quoted));
        return RUNTIME_EXIT_STORAGE;
    }
    struct node_config node = {
        .is_arbiter = config->node.is_arbiter,
        .is_replica = config->node.is_replica,
        .node = runtime->identity.node,
        .starts = runtime->identity.starts,
        .incarnation = identity_draw_incarnation(),
        .cluster = runtime->identity.cluster,
        .name = config->node.name,
        .arbiter_uri = runtime_arbiter_uri(runtime),
        .uris_len = runtime->uris.len,
        .ack = config->replication.ack,
        .min_in_sync = config->replication.min_in_sync,
        .operation_timeout_ms = config->replication.operation_timeout_ms,
        .retransmit_ms = config->replication.retransmit_ms,
        .replica_timeout_ms = config->replication.replica_timeout_ms,
        .join_timeout_ms = config->replication.join_timeout_ms,
        .return_wait_ms = config->replication.return_wait_ms,
        .limits = config->limits,
        .persist_plugin = "",
        .registry = registry,
        .registry_len = registry_len,
        .new_cluster = identity_draw(),
    };
    if (runtime->plugins->has_persistence) {
        const struct plugin *plugin = &runtime->plugins->persistence;
        node.persist_plugin = plugin->loaded->descriptor.name;
        node.persist_shared = loader_scope_is_shared(plugin->loaded, plugin->settings);
    }
    for (uint32_t i = 0; i < runtime->uris.len; i++) {
        node.uris[i] = runtime->uris.uris[i];
    }
    int32_t status = node_create(&node, &runtime->node);
    alloc_free((void *)registry);
    if (status == KV_E_CORRUPT) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE,
                  "registry-unusable reason=\"%s/" REGISTRY_FILE " holds no view that this program "
                  "understands: restore the file from a copy\"",
                  config->node.data);
        return RUNTIME_EXIT_STORAGE;
    }
    if (status != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "config-refused status=%s", status_name(status));
        return RUNTIME_EXIT_CONFIG;
    }
    return RUNTIME_EXIT_DONE;
}

static void runtime_start_worker(struct runtime *runtime)
{
    static const struct persist_worker_events events = {
        .on_loaded_records = runtime_on_loaded_records,
        .on_loaded = runtime_on_loaded,
        .on_failed = runtime_on_store_failed,
        .on_applied = runtime_on_applied,
        .on_stopped = runtime_on_worker_stopped,
    };
    const struct plugin *plugin = &runtime->plugins->persistence;
    runtime->persist_services =
        services_create(plugin->loaded->descriptor.name, NULL, log_plugin, NULL);
    runtime->worker = persist_worker_create(
        &runtime->loop, plugin->loaded, runtime->persist_services, plugin->settings,
        plugins_isolate(runtime->config, &runtime->isolate), &events, runtime);
}

/* Everything from the transports to EVENT_START. Returns an exit status. */
static int runtime_start(struct runtime *runtime)
{
    int exit_status = runtime_start_network(runtime);
    if (exit_status == RUNTIME_EXIT_DONE) {
        runtime_create_registry(runtime);
        exit_status = runtime_create_node(runtime);
    }
    if (exit_status != RUNTIME_EXIT_DONE) {
        return exit_status;
    }
    if (runtime->registry != NULL) {
        arbiter_registry_watch(runtime->registry);
    }
    struct event event = {.kind = EVENT_START};
    runtime_step(runtime, &event);
    if (runtime->config->node.is_replica && !runtime->is_stopping) {
        runtime_start_worker(runtime);
    }
    return RUNTIME_EXIT_DONE;
}

static void runtime_close(struct runtime *runtime)
{
    persist_worker_destroy(runtime->worker);
    services_destroy(runtime->persist_services);
    arbiter_registry_destroy(runtime->registry);
    network_destroy(runtime->network);
    node_destroy(runtime->node);
    effects_close(&runtime->effects);
    identity_close(&runtime->identity);
    if (uv_loop_close(&runtime->loop) != 0) {
        log_event(KV_LOG_WARN, RUNTIME_MODULE, "loop-not-empty: a plugin left handles on it");
    }
}

int runtime_run(const struct config *config, const struct plugins *plugins)
{
    struct runtime *runtime = alloc_zeroed(1, sizeof(*runtime));
    runtime->config = config;
    runtime->plugins = plugins;
    char error[IDENTITY_ERROR_MAX];
    char quoted[LOG_QUOTED_MAX];
    int32_t status = identity_open(config->node.data, &runtime->identity, error);
    if (status != KV_OK) {
        log_event(KV_LOG_ERROR, RUNTIME_MODULE, "data-unusable reason=\"%s\"",
                  log_quote(error, quoted));
        alloc_free(runtime);
        /* A copy is refused by the cluster, though it is known before the cluster is asked. */
        return status == KV_E_REJECTED ? RUNTIME_EXIT_NETWORK : RUNTIME_EXIT_STORAGE;
    }
    runtime_init_loop(runtime);
    int exit_status = runtime_start(runtime);
    if (exit_status != RUNTIME_EXIT_DONE) {
        runtime_stop(runtime, exit_status);
    }
    uv_run(&runtime->loop, UV_RUN_DEFAULT);
    KV_CHECK(runtime->is_closed);
    exit_status = runtime->exit_status;
    runtime_close(runtime);
    log_event(KV_LOG_INFO, RUNTIME_MODULE, "stopped status=%d", exit_status);
    alloc_free(runtime);
    return exit_status;
}

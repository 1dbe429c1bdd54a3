/*
 * The fault plugin: a transport that wraps another one and disturbs its messages by a seed. Here:
 * the descriptor, the settings and the life cycle; flow.c has the way of the messages.
 *
 * The host finds the transport of an address by the plugin's name, so this source is built once per
 * scheme with FAULTY_NAME, the wrapped plugin's name. The wrapped one is loaded in create(): what
 * is wrong with it is that call's failure, with a line that says why.
 *
 * stop() stops the wrapped plugin; when that has stopped, all links are freed and the timer is
 * closed, whose close callback tells the host.
 */
#include "faulty.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTY_LOG_MAX 512u

void *faulty_allocate(struct faulty *faulty, size_t size)
{
    return faulty->host->allocate(faulty->host->ctx, size);
}

void faulty_release(struct faulty *faulty, void *memory)
{
    faulty->host->release(faulty->host->ctx, memory);
}

__attribute__((format(printf, 3, 4))) static void faulty_log(struct faulty *faulty, uint32_t level,
                                                             const char *format, ...)
{
    char text[FAULTY_LOG_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    faulty->host->log(faulty->host->ctx, level, text);
}

/* --- settings --- */

enum faulty_option {
    FAULTY_INNER,
    FAULTY_INNER_SETTINGS,
    FAULTY_LINKS,
    FAULTY_PARTITION,
    FAULTY_SEED,
    FAULTY_DROP,
    FAULTY_DUPLICATE,
    FAULTY_REORDER,
    FAULTY_CORRUPT,
    FAULTY_DELAY,
    FAULTY_OPTIONS_LEN,
};

static const struct kv_option faulty_options[FAULTY_OPTIONS_LEN] = {
    [FAULTY_INNER] = {"inner", NULL, "File of the wrapped transport plugin.", KV_OPTION_STRING, 0},
    [FAULTY_INNER_SETTINGS] = {"inner_settings", "", "Its settings, NAME=VALUE,NAME=VALUE.",
                               KV_OPTION_STRING, 0},
    [FAULTY_LINKS] = {"links", "connected",
                      "Which links suffer: connected (those that this node makes), accepted, all.",
                      KV_OPTION_STRING, 0},
    [FAULTY_PARTITION] = {"partition", "",
                          "A file: while it exists, all messages on these links are lost; while "
                          "FILE.in or FILE.out exists, those of that way.",
                          KV_OPTION_STRING, 0},
    [FAULTY_SEED] = {"seed", "1", "Decides about each message.", KV_OPTION_INT, 0},
    [FAULTY_DROP] = {"drop_permille", "0", "Of a thousand messages, so many are lost.",
                     KV_OPTION_INT, 0},
    [FAULTY_DUPLICATE] = {"duplicate_permille", "0", "... come twice.", KV_OPTION_INT, 0},
    [FAULTY_REORDER] = {"reorder_permille", "0", "... are overtaken by later ones.", KV_OPTION_INT,
                        0},
    [FAULTY_CORRUPT] = {"corrupt_permille", "0",
                        "... are altered, which a transport never does: a broken one.",
                        KV_OPTION_INT, 0},
    [FAULTY_DELAY] = {"delay_ms", "0", "Each message is late by 0 to so many milliseconds.",
                      KV_OPTION_INT, 0},
};

/* The text of each option, by its place in the table. */
static int32_t faulty_sort(struct faulty *faulty, const struct kv_setting *settings,
                           uint32_t settings_len, const char **ret_texts)
{
    for (uint32_t k = 0; k < FAULTY_OPTIONS_LEN; k++) {
        ret_texts[k] = faulty_options[k].default_value;
        for (uint32_t i = 0; i < settings_len; i++) {
            if (strcmp(settings[i].name, faulty_options[k].name) == 0) {
                ret_texts[k] = settings[i].value;
            }
        }
        if (ret_texts[k] == NULL) {
            faulty_log(faulty, KV_LOG_ERROR, "faulty: the setting %s is missing",
                       faulty_options[k].name);
            return KV_E_INVALID;
        }
    }
    return KV_OK;
}

static int32_t faulty_read_faults(struct faulty *faulty, const char *const *texts)
{
    char text[FAULTY_LOG_MAX];
    char error[FAULTS_ERROR_MAX];
    struct faults_settings settings;
    snprintf(text, sizeof(text), "seed=%s,drop=%s,duplicate=%s,reorder=%s,corrupt=%s,delay_ms=%s",
             texts[FAULTY_SEED], texts[FAULTY_DROP], texts[FAULTY_DUPLICATE], texts[FAULTY_REORDER],
             texts[FAULTY_CORRUPT], texts[FAULTY_DELAY]);
    int32_t status = faults_parse(text, &settings, error);
    if (status == KV_OK) {
        status = faults_init(&faulty->faults, &settings, error);
    }
    if (status != KV_OK) {
        faulty_log(faulty, KV_LOG_ERROR, "faulty: %s", error);
    }
    return status;
}

static int32_t faulty_read_links(struct faulty *faulty, const char *text)
{
    bool is_all = strcmp(text, "all") == 0;
    faulty->suffers[0] = is_all || strcmp(text, "connected") == 0;
    faulty->suffers[1] = is_all || strcmp(text, "accepted") == 0;
    if (!faulty->suffers[0] && !faulty->suffers[1]) {
        faulty_log(faulty, KV_LOG_ERROR,
                   "faulty: links = \"%s\": connected, accepted or all is needed", text);
        return KV_E_INVALID;
    }
    return KV_OK;
}

/* text + end, in the host's memory. */
static char *faulty_join(struct faulty *faulty, const char *text, const char *end)
{
    size_t size = strlen(text) + strlen(end) + 1;
    char *joined = faulty_allocate(faulty, size);
    if (joined != NULL) {
        snprintf(joined, size, "%s%s", text, end);
    }
    return joined;
}

static int32_t faulty_read_partition(struct faulty *faulty, const char *text)
{
    faulty->partition = faulty_join(faulty, text, "");
    faulty->partition_ways[FAULTY_IN] = faulty_join(faulty, text, ".in");
    faulty->partition_ways[FAULTY_OUT] = faulty_join(faulty, text, ".out");
    bool is_there = faulty->partition != NULL && faulty->partition_ways[FAULTY_IN] != NULL &&
                    faulty->partition_ways[FAULTY_OUT] != NULL;
    return is_there ? KV_OK : KV_E_NOMEM;
}

/* Loads the wrapped plugin and makes its instance. */
static int32_t faulty_create_inner(struct faulty *faulty, const char *path, const char *given)
{
    struct kv_setting *settings = NULL;
    char error[INNER_ERROR_MAX] = "";
    char *text = faulty_join(faulty, given, "");
    int32_t status = text == NULL ? KV_E_NOMEM : inner_open(&faulty->inner, path, error);
    if (status == KV_OK) {
        status = inner_settings(&faulty->inner, faulty->host, text, &settings, error);
    }
    if (status == KV_OK) {
        status = faulty->inner.ops.create(faulty->host, settings, faulty->inner.plugin->options_len,
                                          &faulty->inner_self);
    } else {
        faulty_log(faulty, KV_LOG_ERROR, "faulty: inner = \"%s\": %s", path, error);
    }
    faulty_release(faulty, settings);
    faulty_release(faulty, text);
    return status;
}

/* --- life cycle --- */

static void faulty_free(struct faulty *faulty)
{
    inner_close(&faulty->inner);
    faulty_release(faulty, faulty->partition);
    faulty_release(faulty, faulty->partition_ways[FAULTY_IN]);
    faulty_release(faulty, faulty->partition_ways[FAULTY_OUT]);
    faulty_release(faulty, faulty);
}

static int32_t faulty_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    const char *texts[FAULTY_OPTIONS_LEN];
    struct faulty *faulty = host->allocate(host->ctx, sizeof(*faulty));
    if (faulty == NULL) {
        return KV_E_NOMEM;
    }
    memset(faulty, 0, sizeof(*faulty));
    faulty->host = host;
    faulty->links.next = &faulty->links;
    faulty->links.prev = &faulty->links;
    faults_queue_init(&faulty->held);
    int32_t status = faulty_sort(faulty, settings, settings_len, texts);
    if (status == KV_OK) {
        status = faulty_read_faults(faulty, texts);
    }
    if (status == KV_OK) {
        status = faulty_read_links(faulty, texts[FAULTY_LINKS]);
    }
    if (status == KV_OK) {
        status = faulty_read_partition(faulty, texts[FAULTY_PARTITION]);
    }
    if (status == KV_OK) {
        status = faulty_create_inner(faulty, texts[FAULTY_INNER], texts[FAULTY_INNER_SETTINGS]);
    }
    if (status != KV_OK) {
        faulty_free(faulty);
        return status;
    }
    *ret_self = faulty;
    return KV_OK;
}

static void faulty_on_timer_closed(uv_handle_t *handle)
{
    struct faulty *faulty = handle->data;
    const struct faults_counters *c = &faulty->faults.counters;
    faulty_log(faulty, KV_LOG_INFO,
               "faulty: stopped; messages=%" PRIu64 " dropped=%" PRIu64 " duplicated=%" PRIu64
               " reordered=%" PRIu64 " corrupted=%" PRIu64 " delayed=%" PRIu64
               " partitioned=%" PRIu64 " lost_at_limit=%" PRIu64 " lost_at_end=%" PRIu64
               " no_memory=%" PRIu64,
               c->messages, c->dropped, c->duplicated, c->reordered, c->corrupted, c->delayed,
               faulty->counters.partitioned, faulty->counters.lost_at_limit,
               faulty->counters.lost_at_end, faulty->counters.no_memory);
    faulty->events->on_stopped(faulty->events_ctx);
}

static void faulty_on_stopped(void *ctx)
{
    struct faulty *faulty = ctx;
    flow_close(faulty);
    uv_close((uv_handle_t *)&faulty->timer, faulty_on_timer_closed);
}

static const struct kv_transport_events faulty_events = {
    .on_accept = flow_on_accept,
    .on_up = flow_on_up,
    .on_message = flow_on_message,
    .on_writable = flow_on_writable,
    .on_down = flow_on_down,
    .on_stopped = faulty_on_stopped,
};

static int32_t faulty_start(void *self, const struct kv_transport_limits *limits,
                            const struct kv_transport_events *events, void *ctx)
{
    struct faulty *faulty = self;
    if (faulty->is_started || faulty->host->loop == NULL) {
        return KV_E_INVALID;
    }
    faulty->limits = *limits;
    faulty->events = events;
    faulty->events_ctx = ctx;
    int32_t status = faulty->inner.ops.start(faulty->inner_self, limits, &faulty_events, faulty);
    if (status == KV_OK) {
        uv_timer_init(faulty->host->loop, &faulty->timer);
        faulty->timer.data = faulty;
        faulty->is_started = true;
    }
    return status;
}

static int32_t faulty_listen(void *self, const char *uri, char *ret_uri)
{
    struct faulty *faulty = self;
    return faulty->inner.ops.listen(faulty->inner_self, uri, ret_uri);
}

static int32_t faulty_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    struct faulty *faulty = self;
    struct kv_link *link = flow_link_create(faulty, false);
    if (link == NULL) {
        return KV_E_NOMEM;
    }
    link->user = user;
    int32_t status = faulty->inner.ops.connect(faulty->inner_self, uri, link, &link->inner);
    if (status != KV_OK) {
        flow_link_end(link);
        return status;
    }
    *ret_link = link;
    return KV_OK;
}

static int32_t faulty_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                           uint32_t slices_len)
{
    (void)self;
    return flow_send(link, slices, slices_len);
}

static void faulty_flush(void *self)
{
    struct faulty *faulty = self;
    faulty->inner.ops.flush(faulty->inner_self);
}

static void faulty_close_link(void *self, struct kv_link *link)
{
    struct faulty *faulty = self;
    if (faulty->is_stopping) {
        flow_link_silence(link); /* the wrapped plugin ends all links by itself, and tells of it */
        return;
    }
    if (!link->is_pending) { /* else it is told by what our on_accept returns */
        faulty->inner.ops.close_link(faulty->inner_self, link->inner);
    }
    flow_link_end(link);
}

static void faulty_stop(void *self)
{
    struct faulty *faulty = self;
    if (!faulty->is_started || faulty->is_stopping) {
        return;
    }
    faulty->is_stopping = true;
    uv_timer_stop(&faulty->timer);
    faulty->inner.ops.stop(faulty->inner_self);
}

static void faulty_destroy(void *self)
{
    struct faulty *faulty = self;
    faulty->inner.ops.destroy(faulty->inner_self);
    faulty_free(faulty);
}

/* --- descriptor --- */

static const struct kv_transport_ops faulty_ops = {
    .create = faulty_create,
    .start = faulty_start,
    .listen = faulty_listen,
    .connect = faulty_connect,
    .send = faulty_send,
    .flush = faulty_flush,
    .close_link = faulty_close_link,
    .stop = faulty_stop,
    .destroy = faulty_destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin;

const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_transport_ops),
    .kind = KV_KIND_TRANSPORT,
    .options_len = FAULTY_OPTIONS_LEN,
    .capabilities = 0, /* neither ordered nor reliable */
    .host_features = KV_HOST_LOOP,
    .libuv_version = UV_VERSION_HEX,
    .libuv_loop_size = sizeof(uv_loop_t),
    .name = FAULTY_NAME,
    .version = "1.0",
    .summary = "For tests: another transport whose messages get lost, late, doubled or altered.",
    .options = faulty_options,
    .ops = &faulty_ops,
};

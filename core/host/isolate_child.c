/*
 * The child of isolate.h: one plugin, one instance, one socket. The main thread takes a call off
 * the socket, makes it, sends what came of it. Threads of the plugin may log at any time: whoever
 * writes to the socket holds the lock.
 *
 * Failure: the socket closed by the node means the end; the store is closed first. What breaks the
 * protocol between two ends of the same program ends this process with a line on stderr; the node
 * sees it die. An instance that is left behind is never waited for.
 */
#include "host/isolate.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/check.h"
#include "host/isolate_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Records and results are gathered up to so many bytes, or for so long. */
#define ISOLATE_GATHER_BYTES 65536u
#define ISOLATE_GATHER_MS    100u

/* Never a result: shows a plugin that writes beyond its results. */
#define ISOLATE_CANARY    0xc0defe11u

#define ISOLATE_EXIT_DONE 0
#define ISOLATE_EXIT_LOST 1 /* no socket, or nonsense on it */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ISOLATE_HAS_SHADOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ISOLATE_HAS_SHADOW 1
#endif
#endif
#ifndef ISOLATE_HAS_SHADOW
#define ISOLATE_HAS_SHADOW 0
#endif

struct isolate_child {
    struct isolate_reader reader;
    pthread_mutex_t lock; /* of out, and of writing to the socket */
    struct buffer out;
    _Atomic bool is_lost; /* the node is not there any more, or the plugin has closed the socket */
    uint64_t sent_ms;
    struct services *services;
    struct loaded_plugin *plugin;
    void *self; /* NULL: no instance */
    bool is_open;
    uint32_t call; /* the one under way */
    struct kv_record *records;
    uint32_t *results;
    uint32_t capacity; /* of both; results has one more */
    bool is_emitting;  /* within load() or get() */
    pthread_t main;
    int32_t stop; /* what emit() returns */
};

/* What a call gives back. */
struct isolate_outcome {
    int32_t status;
    uint32_t flags;
    struct kv_position position;
};

/* --- sending --- */

static uint64_t isolate_child_now_ms(const struct isolate_child *child)
{
    const struct kv_host *host = services_table(child->services);
    return host->now_ms(host->ctx);
}

/* Under the lock: all that has gathered. */
static void isolate_child_flush(struct isolate_child *child)
{
    size_t at = 0;
    while (at < child->out.len && !child->is_lost) {
        ssize_t sent =
            send(ISOLATE_CHILD_FD, child->out.bytes + at, child->out.len - at, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += (size_t)sent;
        } else if (errno != EINTR) {
            child->is_lost = true;
        }
    }
    child->out.len = 0;
    child->sent_ms = isolate_child_now_ms(child);
}

/* A services_log_fn. Sent at once: the plugin may be about to die. */
static void isolate_child_log(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    struct isolate_child *child = ctx;
    uint8_t head[4];
    (void)plugin;
    bytes_put_u32(head, level);
    size_t len = strnlen(text, ISOLATE_LINE_MAX);
    pthread_mutex_lock(&child->lock);
    isolate_append(&child->out, ISOLATE_LOG, 0, head, sizeof(head), text, len);
    isolate_child_flush(child);
    pthread_mutex_unlock(&child->lock);
}

__attribute__((format(printf, 3, 4))) static void
isolate_child_say(struct isolate_child *child, uint32_t level, const char *format, ...)
{
    char text[LOADER_ERROR_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const struct kv_host *host = services_table(child->services);
    host->log(host->ctx, level, text);
}

static void isolate_child_send_done(struct isolate_child *child,
                                    const struct isolate_outcome *outcome)
{
    uint8_t done[ISOLATE_DONE_BYTES];
    bytes_put_u32(done, (uint32_t)outcome->status);
    bytes_put_u32(done + 4, outcome->flags);
    bytes_put_u64(done + 8, outcome->position.view);
    bytes_put_u64(done + 16, outcome->position.index);
    bytes_put_u64(done + 24, (uint64_t)services_live(child->services));
    pthread_mutex_lock(&child->lock);
    isolate_append(&child->out, ISOLATE_DONE, child->call, done, sizeof(done), NULL, 0);
    isolate_child_flush(child);
    pthread_mutex_unlock(&child->lock);
}

/* --- records that the plugin emits --- */

/* Has the node said stop, or is it gone? */
static void isolate_child_look_for_stop(struct isolate_child *child)
{
    struct isolate_frame frame;
    ssize_t received = isolate_reader_fill(&child->reader, MSG_DONTWAIT);
    if (child->is_lost || received == 0) {
        child->stop = KV_E_CLOSED;
    } else if (received > 0 && isolate_reader_take(&child->reader, 4, &frame) == ISOLATE_TAKEN &&
               frame.type == ISOLATE_STOP && frame.len == 4 && frame.call == child->call) {
        child->stop = (int32_t)bytes_get_u32(frame.bytes);
    }
}

static void isolate_child_send_record(struct isolate_child *child, const struct kv_record *record)
{
    const struct isolate_record_form form = isolate_record_form(record);
    size_t len = ISOLATE_RECORD_BYTES + form.key_bytes + form.value_bytes;
    pthread_mutex_lock(&child->lock);
    uint8_t *at = buffer_room(&child->out, ISOLATE_HEADER_BYTES + len);
    isolate_put_header(at, ISOLATE_RECORD, child->call, len);
    at += ISOLATE_HEADER_BYTES;
    isolate_put_record(at, record, &form);
    at += ISOLATE_RECORD_BYTES;
    if (form.key_bytes > 0) {
        memcpy(at, record->key, form.key_bytes);
    }
    if (form.value_bytes > 0) {
        memcpy(at + form.key_bytes, record->value, form.value_bytes);
    }
    bool is_full = child->out.len >= ISOLATE_GATHER_BYTES ||
                   isolate_child_now_ms(child) - child->sent_ms >= ISOLATE_GATHER_MS;
    if (is_full) {
        isolate_child_flush(child);
    }
    pthread_mutex_unlock(&child->lock);
    if (is_full) {
        isolate_child_look_for_stop(child);
    }
}

/* A kv_emit_fn; ctx is the child. */
static int32_t isolate_child_emit(void *ctx, const struct kv_record *record)
{
    struct isolate_child *child = ctx;
    bool is_other = !pthread_equal(child->main, pthread_self());
    if (is_other || !child->is_emitting) {
        isolate_child_say(child, KV_LOG_ERROR,
                          "the plugin broke its contract: it emitted a record %s",
                          is_other ? "from another thread" : "outside load() and get()");
        return KV_E_CONTRACT;
    }
    if (child->stop == KV_OK) {
        isolate_child_send_record(child, record);
    }
    return child->stop;
}

/* --- create --- */

/* A view as text with a NUL, in the arena. */
static const char *isolate_child_read_text(struct bytes_reader *reader, struct arena *arena)
{
    struct bytes_view view = bytes_read_view(reader);
    char *text = arena_alloc(arena, view.len + 1);
    if (view.len > 0) {
        memcpy(text, view.at, view.len);
    }
    text[view.len] = '\0';
    return text;
}

static int32_t isolate_child_limit_memory(struct isolate_child *child, uint64_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    if (bytes == 0) {
        return KV_OK;
    }
    if (ISOLATE_HAS_SHADOW) {
        isolate_child_say(child, KV_LOG_WARN,
                          "the memory limit of the plugin's process is not set: this build has a "
                          "sanitizer, which needs address space of its own");
        return KV_OK;
    }
    if (setrlimit(RLIMIT_AS, &limit) != 0) {
        isolate_child_say(child, KV_LOG_ERROR,
                          "cannot limit the memory of the plugin's process: %s", strerror(errno));
        return KV_E_IO;
    }
    return KV_OK;
}

/* Loads the same plugin as the node did: a file replaced since then is not mixed with what the node
 * knows of the old one. */
static int32_t isolate_child_load_plugin(struct isolate_child *child, const char *path,
                                         const char *name, const char *version,
                                         uint64_t capabilities)
{
    char error[LOADER_ERROR_MAX];
    int32_t status = loader_load(path, NULL, KV_KIND_PERSIST, &child->plugin, error);
    if (status != KV_OK) {
        isolate_child_say(child, KV_LOG_ERROR, "%s", error);
        return status;
    }
    const struct kv_plugin *found = &child->plugin->descriptor;
    if (strcmp(found->name, name) != 0 || strcmp(found->version, version) != 0 ||
        found->capabilities != capabilities) {
        isolate_child_say(child, KV_LOG_ERROR,
                          "%.256s: another plugin than when the node started (%s %s, now %s %s); "
                          "restart the node",
                          path, name, version, found->name, found->version);
        return KV_E_VERSION;
    }
    loader_pin(child->plugin);
    return KV_OK;
}

/* KV_E_MALFORMED: the frame is none. */
static int32_t isolate_child_make(struct isolate_child *child, struct bytes_reader *reader,
                                  struct arena *arena, struct isolate_outcome *outcome)
{
    uint32_t parent = bytes_read_u32(reader);
    uint64_t memory_bytes = bytes_read_u64(reader);
    uint64_t capabilities = bytes_read_u64(reader);
    const char *path = isolate_child_read_text(reader, arena);
    const char *name = isolate_child_read_text(reader, arena);
    const char *version = isolate_child_read_text(reader, arena);
    uint32_t len = bytes_read_u32(reader);
    if (reader->failed || len > LOADER_OPTIONS_MAX || child->self != NULL) {
        return KV_E_MALFORMED;
    }
    if ((pid_t)parent != getppid()) {
        child->is_lost = true; /* it died before it could take us with it */
        return KV_OK;
    }
    struct kv_setting *settings = arena_alloc(arena, len * sizeof(*settings) + 1);
    for (uint32_t i = 0; i < len; i++) {
        settings[i].name = isolate_child_read_text(reader, arena);
        settings[i].value = isolate_child_read_text(reader, arena);
    }
    if (reader->failed) {
        return KV_E_MALFORMED;
    }
    outcome->status = isolate_child_limit_memory(child, memory_bytes);
    if (outcome->status == KV_OK) {
        outcome->status = isolate_child_load_plugin(child, path, name, version, capabilities);
    }
    if (outcome->status == KV_OK && child->plugin->descriptor.options_len != len) {
        outcome->status = KV_E_VERSION;
    }
    if (outcome->status == KV_OK) {
        outcome->status = child->plugin->ops.persist.create(services_table(child->services),
                                                            settings, len, &child->self);
        bool is_nothing = outcome->status == KV_OK && child->self == NULL;
        outcome->flags = is_nothing ? ISOLATE_NO_INSTANCE : 0;
    }
    return KV_OK;
}

/* --- apply --- */

static void isolate_child_send_results(struct isolate_child *child, uint32_t count)
{
    pthread_mutex_lock(&child->lock);
    for (uint32_t i = 0; i < count; i++) {
        if (child->results[i] == KV_RESULT_STORED) {
            continue;
        }
        uint8_t head[8];
        const char *reason = services_reason(child->services, i);
        bytes_put_u32(head, i);
        bytes_put_u32(head + 4, child->results[i]);
        isolate_append(&child->out, ISOLATE_RESULT, child->call, head, sizeof(head), reason,
                       reason == NULL ? 0 : strlen(reason));
        if (child->out.len >= ISOLATE_GATHER_BYTES) {
            isolate_child_flush(child);
        }
    }
    pthread_mutex_unlock(&child->lock);
}

static int32_t isolate_child_apply(struct isolate_child *child, struct bytes_reader *reader,
                                   struct isolate_outcome *outcome)
{
    struct kv_position position;
    position.view = bytes_read_u64(reader);
    position.index = bytes_read_u64(reader);
    uint32_t count = bytes_read_u32(reader);
    if (reader->failed || count > reader->left / ISOLATE_RECORD_BYTES) {
        return KV_E_MALFORMED;
    }
    if (child->results == NULL || count > child->capacity) {
        child->records = alloc_resize(child->records, count * sizeof(child->records[0]) + 1);
        child->results = alloc_resize(child->results, ((size_t)count + 1) * sizeof(uint32_t));
        child->capacity = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool is_null = false;
        if (!isolate_read_record(reader, &child->records[i], &is_null) || is_null) {
            return KV_E_MALFORMED;
        }
    }
    memset(child->results, 0, count * sizeof(uint32_t));
    child->results[count] = ISOLATE_CANARY;
    services_begin_reasons(child->services, count);
    outcome->status = child->plugin->ops.persist.apply(child->self, child->records, count, position,
                                                       child->results);
    services_end_reasons(child->services);
    outcome->flags = child->results[count] == ISOLATE_CANARY ? 0 : ISOLATE_WROTE_BEYOND;
    isolate_child_send_results(child, count);
    return KV_OK;
}

/* --- the other calls --- */

static void isolate_child_begin_emission(struct isolate_child *child)
{
    child->stop = KV_OK;
    child->is_emitting = true;
    pthread_mutex_lock(&child->lock);
    child->sent_ms = isolate_child_now_ms(child);
    pthread_mutex_unlock(&child->lock);
}

static void isolate_child_load(struct isolate_child *child, struct isolate_outcome *outcome)
{
    const struct kv_persist_ops *ops = &child->plugin->ops.persist;
    if (ops->load == NULL) {
        outcome->status = KV_E_REJECTED;
        return;
    }
    isolate_child_begin_emission(child);
    outcome->status = ops->load(child->self, isolate_child_emit, child);
    child->is_emitting = false;
}

static void isolate_child_get(struct isolate_child *child, const struct isolate_frame *frame,
                              struct isolate_outcome *outcome)
{
    const struct kv_persist_ops *ops = &child->plugin->ops.persist;
    if (ops->get == NULL) {
        outcome->status = KV_E_REJECTED;
        return;
    }
    /* A copy: emit() looks for the node's stop, which may replace the frame. */
    char *key = alloc_string((const char *)frame->bytes, frame->len);
    isolate_child_begin_emission(child);
    outcome->status = ops->get(child->self, key, (uint32_t)frame->len, isolate_child_emit, child);
    child->is_emitting = false;
    alloc_free(key);
}

static void isolate_child_open(struct isolate_child *child, struct isolate_outcome *outcome)
{
    outcome->status = child->plugin->ops.persist.open(child->self, &outcome->position);
    child->is_open = outcome->status == KV_OK;
}

static void isolate_child_close(struct isolate_child *child)
{
    if (child->is_open) {
        child->is_open = false;
        child->plugin->ops.persist.close(child->self);
    }
}

static void isolate_child_destroy(struct isolate_child *child)
{
    isolate_child_close(child);
    if (child->self != NULL) {
        child->plugin->ops.persist.destroy(child->self);
        child->self = NULL;
    }
}

/* A call of an instance. KV_E_MALFORMED: it is none. */
static int32_t isolate_child_call(struct isolate_child *child, const struct isolate_frame *frame,
                                  struct isolate_outcome *outcome)
{
    const struct kv_persist_ops *ops = &child->plugin->ops.persist;
    struct bytes_reader reader = bytes_reader_init(frame->bytes, frame->len);
    switch (frame->type) {
    case ISOLATE_OPEN:
        isolate_child_open(child, outcome);
        return KV_OK;
    case ISOLATE_LOAD:
        isolate_child_load(child, outcome);
        return KV_OK;
    case ISOLATE_GET:
        isolate_child_get(child, frame, outcome);
        return KV_OK;
    case ISOLATE_APPLY:
        return isolate_child_apply(child, &reader, outcome);
    case ISOLATE_RESET:
        outcome->status = ops->reset == NULL ? KV_E_REJECTED : ops->reset(child->self);
        return KV_OK;
    case ISOLATE_CLOSE:
        isolate_child_close(child);
        return KV_OK;
    case ISOLATE_DESTROY:
        isolate_child_destroy(child);
        return KV_OK;
    default:
        return KV_E_MALFORMED;
    }
}

static int32_t isolate_child_serve(struct isolate_child *child, const struct isolate_frame *frame)
{
    struct isolate_outcome outcome = {KV_OK, 0, {0, 0}};
    int32_t status = KV_E_MALFORMED;
    if (frame->type == ISOLATE_STOP) {
        return KV_OK; /* came when the call was over already */
    }
    child->call = frame->call;
    if (frame->type == ISOLATE_CREATE) {
        struct arena arena;
        struct bytes_reader reader = bytes_reader_init(frame->bytes, frame->len);
        arena_init(&arena);
        status = isolate_child_make(child, &reader, &arena, &outcome);
        arena_close(&arena);
    } else if (child->self != NULL) {
        status = isolate_child_call(child, frame, &outcome);
    }
    if (status == KV_OK) {
        isolate_child_send_done(child, &outcome);
    }
    return status;
}

/* --- the process --- */

/* What is no business of a store: a Ctrl-C or a stop of the service is for the node, which closes
 * the store in its own time. SIGPIPE as in the node. */
static int32_t isolate_child_prepare(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t none;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        signal(ignored[i], SIG_IGN);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        fprintf(stderr, "kvnode: isolated plugin: prctl: %s\n", strerror(errno));
        return KV_E_IO;
    }
    /* What the plugin starts does not keep the connection. */
    if (fcntl(ISOLATE_CHILD_FD, F_SETFD, FD_CLOEXEC) != 0) {
        fprintf(stderr, "kvnode: %s is for the node's own use\n", ISOLATE_CHILD_ARGUMENT);
        return KV_E_INVALID;
    }
    return KV_OK;
}

/* KV_OK: the node has closed the connection. */
static int32_t isolate_child_run(struct isolate_child *child)
{
    while (!child->is_lost) {
        struct isolate_frame frame;
        enum isolate_taken taken = isolate_reader_take(&child->reader, UINT64_MAX, &frame);
        if (taken == ISOLATE_MALFORMED ||
            (taken == ISOLATE_TAKEN && isolate_child_serve(child, &frame) != KV_OK)) {
            return KV_E_MALFORMED;
        }
        if (taken == ISOLATE_PART) {
            ssize_t received = isolate_reader_fill(&child->reader, 0);
            if (received == 0) {
                return KV_OK;
            }
            child->is_lost = received < 0 && errno != EINTR;
        }
    }
    return KV_E_IO;
}

int isolate_child_main(void)
{
    if (isolate_child_prepare() != KV_OK) {
        return ISOLATE_EXIT_LOST;
    }
    /* Not on the stack: threads that the plugin leaves behind may still log while the process ends.
     */
    static struct isolate_child child;
    child.main = pthread_self();
    pthread_mutex_init(&child.lock, NULL);
    buffer_init(&child.out);
    child.services = services_create("isolated", NULL, isolate_child_log, &child);
    isolate_reader_init(&child.reader, ISOLATE_CHILD_FD);
    int32_t status = isolate_child_run(&child);
    if (status != KV_OK) {
        fprintf(stderr, "kvnode: isolated plugin: the connection to the node is %s\n",
                status == KV_E_IO ? "lost" : "disturbed");
    }
    isolate_child_destroy(&child);
    return status == KV_OK ? ISOLATE_EXIT_DONE : ISOLATE_EXIT_LOST;
}

/*
 * Happy path: create() starts a child and tells it what to load; each call is one frame to it, and
 * its answers are read until ISOLATE_DONE: log lines, reasons, results and records come before.
 *
 * Failure: the child dies, is silent for too long or sends what is no answer. It is then ended and
 * reaped, the call gives KV_E_IO (KV_E_CONTRACT for nonsense) with an ERROR line, and so does every
 * further call until open(), which starts a new child. Nothing that the child sends is trusted:
 * lengths, counts and the place of each frame are checked.
 */
#include "host/isolate.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/check.h"
#include "host/guard_persist.h"
#include "host/isolate_process.h"
#include "host/isolate_wire.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* For what has arrived when the time of a call is over: this process may have been stopped. */
#define ISOLATE_LATE_MS 100

/* Of one frame from the child: the largest record, a log line and what stands around them. */
#define ISOLATE_ANSWER_BYTES_MAX (GUARD_KEY_BYTES_MAX + GUARD_VALUE_BYTES_MAX + 4096u)

/* Keys and values from this size on are sent from where they are; copying smaller ones is cheaper
 * than telling the kernel about each. */
#define ISOLATE_BORROW_BYTES_MIN 8192u

#define ISOLATE_EXIT_MS          5000 /* for the child to end after destroy() */
#define ISOLATE_LOST_MS          1000 /* for a child that closed its end to show how it died */

/* What the call under way expects, and what came. */
struct isolate_call {
    uint32_t type;
    kv_emit_fn emit; /* load and get */
    void *emit_ctx;
    bool is_stopped; /* emit gave another code than KV_OK */
    uint32_t count;  /* apply: of records */
    uint32_t *results;
    uint64_t deadline_ms; /* 0: none */
    bool is_late;         /* the deadline is over; what has arrived by then is still read */
    bool is_deaf;         /* the child has closed its end for reading */
    bool is_done;
    int32_t status; /* what the plugin returned */
    struct kv_position position;
};

struct isolate {
    const struct loaded_plugin *plugin;
    const struct kv_host *host;
    struct isolate_config config;
    struct arena arena; /* the settings */
    struct kv_setting *settings;
    struct isolate_process process; /* pid 0: there is none */
    struct isolate_reader reader;
    uint32_t calls; /* number of the last one */
    struct buffer request;
    struct iovec *pieces;
    uint32_t pieces_capacity;
    struct isolate_call call;
};

__attribute__((format(printf, 3, 4))) static void
isolate_log(struct isolate *isolate, uint32_t level, const char *format, ...)
{
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    isolate->host->log(isolate->host->ctx, level, text);
}

/* --- the end of a child --- */

static void isolate_end_process(struct isolate *isolate, int64_t grace_ms, char *ret_text,
                                bool *ret_was_killed, int *ret_signal)
{
    *ret_signal = isolate_process_end(&isolate->process, grace_ms, ret_text, ret_was_killed);
    isolate_reader_close(&isolate->reader);
}

/* It ended by itself, or it has closed its end of the socket pair. */
static int32_t isolate_on_death(struct isolate *isolate)
{
    char how[ISOLATE_PROCESS_TEXT_MAX];
    char hint[128] = "";
    bool was_killed = false;
    int number = 0;
    isolate_end_process(isolate, ISOLATE_LOST_MS, how, &was_killed, &number);
    if (was_killed) {
        isolate_log(isolate, KV_LOG_ERROR,
                    "the plugin closed its connection to the node; its process was ended");
        return KV_E_IO;
    }
    if (isolate->config.memory_bytes > 0 &&
        (number == SIGKILL || number == SIGABRT || number == SIGSEGV || number == SIGBUS)) {
        snprintf(hint, sizeof(hint), "; its memory limit of %" PRIu64 " MiB may be the cause",
                 isolate->config.memory_bytes >> 20);
    }
    isolate_log(isolate, KV_LOG_ERROR, "the plugin's process died: %s%s", how, hint);
    return KV_E_IO;
}

static int32_t isolate_on_silence(struct isolate *isolate)
{
    char how[ISOLATE_PROCESS_TEXT_MAX];
    bool was_killed = false;
    int number = 0;
    isolate_end_process(isolate, 0, how, &was_killed, &number);
    if (isolate->call.is_deaf) {
        isolate_log(isolate, KV_LOG_ERROR,
                    "the plugin closed its connection to the node; its process was ended");
    } else {
        isolate_log(isolate, KV_LOG_ERROR,
                    "the plugin did not answer for %" PRIu32 " ms; its process was ended",
                    isolate->config.call_timeout_ms);
    }
    return KV_E_IO;
}

static int32_t isolate_on_nonsense(struct isolate *isolate, const char *what)
{
    char how[ISOLATE_PROCESS_TEXT_MAX];
    bool was_killed = false;
    int number = 0;
    isolate_end_process(isolate, 0, how, &was_killed, &number);
    isolate_log(isolate, KV_LOG_ERROR,
                "the plugin's process sent what is no answer (%s); it was ended", what);
    return KV_E_CONTRACT;
}

/* --- sending --- */

static int64_t isolate_left_ms(const struct isolate *isolate)
{
    uint64_t now_ms = isolate_process_now_ms();
    uint64_t deadline_ms = isolate->call.deadline_ms;
    return deadline_ms == 0 ? -1 : deadline_ms > now_ms ? (int64_t)(deadline_ms - now_ms) : 0;
}

/* How many bytes of the pieces go, from the first on; what went is taken off them. */
static uint32_t isolate_skip(struct iovec *pieces, uint32_t len, size_t sent)
{
    uint32_t at = 0;
    while (at < len && sent >= pieces[at].iov_len) {
        sent -= pieces[at++].iov_len;
    }
    if (at < len) {
        pieces[at].iov_base = (uint8_t *)pieces[at].iov_base + sent;
        pieces[at].iov_len -= sent;
    }
    return at;
}

/* KV_OK also when the child is not there any more: the answer that does not come tells how. */
static int32_t isolate_send(struct isolate *isolate, struct iovec *pieces, uint32_t len)
{
    while (len > 0) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = len < IOV_MAX ? len : IOV_MAX};
        ssize_t sent = sendmsg(isolate->process.socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            uint32_t gone = isolate_skip(pieces, len, (size_t)sent);
            pieces += gone;
            len -= gone;
        } else if (errno == EAGAIN) {
            enum isolate_wait wait =
                isolate_process_wait(&isolate->process, POLLOUT, isolate_left_ms(isolate));
            if (wait == ISOLATE_EXPIRED) {
                return isolate_on_silence(isolate);
            }
            if (wait == ISOLATE_ENDED) {
                return KV_OK;
            }
        } else if (errno != EINTR) {
            uint64_t lost_ms = isolate_process_now_ms() + ISOLATE_LOST_MS;
            if (isolate->call.deadline_ms == 0 || isolate->call.deadline_ms > lost_ms) {
                isolate->call.deadline_ms = lost_ms; /* it reads no more: it will not answer */
            }
            isolate->call.is_deaf = true;
            return KV_OK;
        }
    }
    return KV_OK;
}

/* What emit() in the child is to return from now on. Fits into the socket: nothing else goes that
 * way during a call. */
static int32_t isolate_send_stop(struct isolate *isolate, int32_t status)
{
    uint8_t frame[ISOLATE_HEADER_BYTES + 4];
    isolate_put_header(frame, ISOLATE_STOP, isolate->calls, 4);
    bytes_put_u32(frame + ISOLATE_HEADER_BYTES, (uint32_t)status);
    struct iovec piece = {frame, sizeof(frame)};
    return isolate_send(isolate, &piece, 1);
}

/* --- answers --- */

static uint64_t isolate_deadline(const struct isolate *isolate)
{
    uint32_t timeout_ms = isolate->config.call_timeout_ms;
    return timeout_ms == 0 ? 0 : isolate_process_now_ms() + timeout_ms;
}

/* Copies what is left of the frame as a line. */
static void isolate_read_line(struct bytes_reader *reader, char ret_line[ISOLATE_LINE_MAX + 1])
{
    size_t len = reader->left < ISOLATE_LINE_MAX ? reader->left : ISOLATE_LINE_MAX;
    const uint8_t *at = bytes_read(reader, len);
    if (at != NULL) {
        memcpy(ret_line, at, len);
    }
    ret_line[at == NULL ? 0 : len] = '\0';
}

static const char *isolate_on_result(struct isolate *isolate, struct bytes_reader *reader)
{
    char line[ISOLATE_LINE_MAX + 1];
    struct isolate_call *call = &isolate->call;
    uint32_t record = bytes_read_u32(reader);
    uint32_t result = bytes_read_u32(reader);
    if (call->type != ISOLATE_APPLY || reader->failed) {
        return "a result out of place";
    }
    if (record >= call->count) {
        return "a result for a record that is not of the batch";
    }
    call->results[record] = result;
    isolate_read_line(reader, line);
    if (line[0] != '\0') {
        isolate->host->reason(isolate->host->ctx, record, line);
    }
    return NULL;
}

static const char *isolate_on_record(struct isolate *isolate, struct bytes_reader *reader,
                                     int32_t *ret_stop)
{
    struct isolate_call *call = &isolate->call;
    struct kv_record record;
    bool is_null = false;
    if (call->emit == NULL) {
        return "a record out of place";
    }
    if (!isolate_read_record(reader, &record, &is_null) || reader->left > 0) {
        return "a record that is none";
    }
    if (call->is_stopped) {
        return NULL;
    }
    *ret_stop = call->emit(call->emit_ctx, is_null ? NULL : &record);
    if (call->type == ISOLATE_LOAD || *ret_stop != KV_OK) {
        call->deadline_ms = isolate_deadline(isolate);
        call->is_late = false;
    }
    return NULL;
}

static const char *isolate_on_done(struct isolate *isolate, struct bytes_reader *reader)
{
    struct isolate_call *call = &isolate->call;
    int32_t status = (int32_t)bytes_read_u32(reader);
    uint32_t flags = bytes_read_u32(reader);
    call->position.view = bytes_read_u64(reader);
    call->position.index = bytes_read_u64(reader);
    int64_t live = (int64_t)bytes_read_u64(reader);
    if (reader->failed || reader->left > 0) {
        return "an end of a call that is none";
    }
    call->is_done = true;
    call->status = status;
    if ((flags & ISOLATE_WROTE_BEYOND) != 0) {
        isolate_log(isolate, KV_LOG_ERROR,
                    "the plugin broke its contract: apply() wrote beyond its %" PRIu32 " results",
                    call->count);
        call->status = KV_E_CONTRACT;
    }
    if (call->type == ISOLATE_CREATE && status == KV_OK && (flags & ISOLATE_NO_INSTANCE) != 0) {
        isolate_log(isolate, KV_LOG_ERROR,
                    "the plugin broke its contract: create() succeeded without an instance");
        call->status = KV_E_CONTRACT;
    }
    if (call->type == ISOLATE_DESTROY && live != 0) {
        isolate_log(isolate, KV_LOG_WARN,
                    "the plugin kept %" PRId64 " pieces of memory after destroy()", live);
    }
    return NULL;
}

/* NULL, or what is wrong with the frame. *ret_stop: what emit() gave. */
static const char *isolate_on_frame(struct isolate *isolate, const struct isolate_frame *frame,
                                    int32_t *ret_stop)
{
    struct bytes_reader reader = bytes_reader_init(frame->bytes, frame->len);
    if (frame->type == ISOLATE_LOG) {
        char line[ISOLATE_LINE_MAX + 1];
        uint32_t level = bytes_read_u32(&reader);
        isolate_read_line(&reader, line);
        if (reader.failed) {
            return "a log line that is none";
        }
        isolate->host->log(isolate->host->ctx, level, line);
        return NULL;
    }
    if (frame->call != isolate->calls) {
        return "the answer to another call";
    }
    switch (frame->type) {
    case ISOLATE_RESULT:
        return isolate_on_result(isolate, &reader);
    case ISOLATE_RECORD:
        return isolate_on_record(isolate, &reader, ret_stop);
    case ISOLATE_DONE:
        return isolate_on_done(isolate, &reader);
    default:
        return "an unknown frame";
    }
}

/* Gets more bytes. *ret_is_lost: the child is not there any more. */
static int32_t isolate_fill(struct isolate *isolate, bool *ret_is_lost)
{
    if (isolate_left_ms(isolate) == 0) {
        if (isolate->call.is_late) {
            return isolate_on_silence(isolate); /* it talks, but does not come to an end */
        }
        isolate->call.is_late = true;
        isolate->call.deadline_ms = isolate_process_now_ms() + ISOLATE_LATE_MS;
    }
    ssize_t received = isolate_reader_fill(&isolate->reader, MSG_DONTWAIT);
    if (received > 0 || (received < 0 && errno == EINTR)) {
        return KV_OK;
    }
    if (received == 0 || errno != EAGAIN) {
        *ret_is_lost = true;
        return KV_OK;
    }
    enum isolate_wait wait =
        isolate_process_wait(&isolate->process, POLLIN, isolate_left_ms(isolate));
    if (wait == ISOLATE_EXPIRED) {
        return isolate_on_silence(isolate);
    }
    *ret_is_lost = wait == ISOLATE_ENDED;
    return KV_OK;
}

/* Reads until the call is done. KV_OK: it is, and call.status is the plugin's code. */
static int32_t isolate_receive(struct isolate *isolate)
{
    struct isolate_call *call = &isolate->call;
    while (!call->is_done) {
        struct isolate_frame frame;
        int32_t status = KV_OK;
        int32_t stop = KV_OK;
        bool is_lost = false;
        enum isolate_taken taken =
            isolate_reader_take(&isolate->reader, ISOLATE_ANSWER_BYTES_MAX, &frame);
        const char *fault = taken == ISOLATE_MALFORMED ? "no frame" : NULL;
        if (taken == ISOLATE_TAKEN) {
            fault = isolate_on_frame(isolate, &frame, &stop);
        } else if (taken == ISOLATE_PART) {
            status = isolate_fill(isolate, &is_lost);
        }
        if (fault != NULL) {
            return isolate_on_nonsense(isolate, fault);
        }
        if (is_lost) {
            return isolate_on_death(isolate);
        }
        if (status == KV_OK && stop != KV_OK) {
            call->is_stopped = true;
            status = isolate_send_stop(isolate, stop);
        }
        if (status != KV_OK) {
            return status;
        }
    }
    return KV_OK;
}

/* --- calls --- */

/* A call is begun, its pieces are sent, its answer is read. The plugin's code, or how the child
 * was lost. */
static int32_t isolate_call(struct isolate *isolate, struct iovec *pieces, uint32_t pieces_len)
{
    isolate->call.deadline_ms = isolate_deadline(isolate);
    int32_t status = isolate_send(isolate, pieces, pieces_len);
    if (status == KV_OK) {
        status = isolate_receive(isolate);
    }
    return status == KV_OK ? isolate->call.status : status;
}

static bool isolate_is_alive(const struct isolate *isolate)
{
    return isolate->process.pid != 0;
}

static int32_t isolate_refuse_dead(struct isolate *isolate)
{
    isolate_log(isolate, KV_LOG_ERROR,
                "the plugin's process has ended; the store has to be opened again");
    return KV_E_IO;
}

/* A call whose frame has a body of at most a few bytes, or a key. */
static int32_t isolate_call_simply(struct isolate *isolate, struct isolate_call call,
                                   const void *body, size_t body_len)
{
    uint8_t header[ISOLATE_HEADER_BYTES];
    if (!isolate_is_alive(isolate)) {
        return isolate_refuse_dead(isolate);
    }
    isolate->call = call;
    isolate_put_header(header, call.type, ++isolate->calls, body_len);
    struct iovec pieces[2] = {{header, sizeof(header)}, {(void *)body, body_len}};
    return isolate_call(isolate, pieces, body_len > 0 ? 2 : 1);
}

static void isolate_put_u32(struct buffer *buffer, uint32_t value)
{
    bytes_put_u32(buffer_room(buffer, 4), value);
}

static void isolate_put_u64(struct buffer *buffer, uint64_t value)
{
    bytes_put_u64(buffer_room(buffer, 8), value);
}

static void isolate_put_view(struct buffer *buffer, const void *bytes, size_t len)
{
    isolate_put_u32(buffer, (uint32_t)len);
    if (len > 0) {
        memcpy(buffer_room(buffer, len), bytes, len);
    }
}

static void isolate_put_text(struct buffer *buffer, const char *text)
{
    isolate_put_view(buffer, text, strlen(text));
}

/* Starts a child and creates the instance in it; without one there is no child left. */
static int32_t isolate_begin(struct isolate *isolate)
{
    char text[ISOLATE_PROCESS_TEXT_MAX];
    const struct kv_plugin *descriptor = &isolate->plugin->descriptor;
    struct buffer *body = &isolate->request;
    int32_t status = isolate_process_start(&isolate->process, text);
    if (status != KV_OK) {
        isolate_log(isolate, KV_LOG_ERROR, "%s", text);
        return status;
    }
    isolate_reader_init(&isolate->reader, isolate->process.socket);
    body->len = 0;
    isolate_put_u32(body, (uint32_t)getpid());
    isolate_put_u64(body, isolate->config.memory_bytes);
    isolate_put_u64(body, descriptor->capabilities);
    isolate_put_text(body, isolate->plugin->path);
    isolate_put_text(body, descriptor->name);
    isolate_put_text(body, descriptor->version);
    isolate_put_u32(body, descriptor->options_len);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        isolate_put_text(body, isolate->settings[i].name);
        isolate_put_text(body, isolate->settings[i].value);
    }
    status = isolate_call_simply(isolate, (struct isolate_call){.type = ISOLATE_CREATE},
                                 body->bytes, body->len);
    if (status != KV_OK && isolate_is_alive(isolate)) {
        bool was_killed = false;
        int number = 0;
        isolate_end_process(isolate, 0, text, &was_killed, &number);
    }
    return status;
}

static void isolate_free(struct isolate *isolate)
{
    buffer_close(&isolate->request);
    alloc_free(isolate->pieces);
    arena_close(&isolate->arena);
    alloc_free(isolate);
}

static const char *isolate_keep_text(struct isolate *isolate, const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(&isolate->arena, size), text, size);
}

int32_t isolate_create(const struct loaded_plugin *plugin, struct services *services,
                       const struct kv_setting *settings, const struct isolate_config *config,
                       void **ret_self)
{
    struct isolate *isolate = alloc_zeroed(1, sizeof(*isolate));
    uint32_t settings_len = plugin->descriptor.options_len;
    isolate->plugin = plugin;
    isolate->host = services_table(services);
    isolate->config = *config;
    buffer_init(&isolate->request);
    arena_init(&isolate->arena);
    isolate->settings = arena_alloc(&isolate->arena, settings_len * sizeof(*settings) + 1);
    for (uint32_t i = 0; i < settings_len; i++) {
        isolate->settings[i].name = isolate_keep_text(isolate, settings[i].name);
        isolate->settings[i].value = isolate_keep_text(isolate, settings[i].value);
    }
    int32_t status = isolate_begin(isolate);
    if (status != KV_OK) {
        isolate_free(isolate);
        return status;
    }
    *ret_self = isolate;
    return KV_OK;
}

static int32_t isolate_open(void *self, struct kv_position *ret_position)
{
    struct isolate *isolate = self;
    int32_t status = isolate_is_alive(isolate) ? KV_OK : isolate_begin(isolate);
    if (status == KV_OK) {
        status = isolate_call_simply(isolate, (struct isolate_call){.type = ISOLATE_OPEN}, NULL, 0);
    }
    if (status == KV_OK) {
        *ret_position = isolate->call.position;
    }
    return status;
}

static int32_t isolate_load(void *self, kv_emit_fn emit, void *ctx)
{
    return isolate_call_simply(
        self, (struct isolate_call){.type = ISOLATE_LOAD, .emit = emit, .emit_ctx = ctx}, NULL, 0);
}

static int32_t isolate_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit,
                           void *ctx)
{
    return isolate_call_simply(
        self, (struct isolate_call){.type = ISOLATE_GET, .emit = emit, .emit_ctx = ctx}, key,
        key_len);
}

static int32_t isolate_reset(void *self)
{
    return isolate_call_simply(self, (struct isolate_call){.type = ISOLATE_RESET}, NULL, 0);
}

/* --- apply --- */

static bool isolate_is_borrowed(size_t len)
{
    return len >= ISOLATE_BORROW_BYTES_MIN;
}

/* Bytes of the frame's body, and how many of them are copied; room for the pieces. */
static size_t isolate_measure(struct isolate *isolate, const struct kv_record *records,
                              uint32_t count, size_t *ret_copied)
{
    size_t copied = ISOLATE_HEADER_BYTES + 20;
    size_t borrowed = 0;
    size_t pieces = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct isolate_record_form form = isolate_record_form(&records[i]);
        KV_CHECK(form.key_bytes == records[i].key_len && form.value_bytes == records[i].value_len);
        bool is_key_borrowed = isolate_is_borrowed(form.key_bytes);
        bool is_value_borrowed = isolate_is_borrowed(form.value_bytes);
        copied += ISOLATE_RECORD_BYTES + (is_key_borrowed ? 0 : form.key_bytes) +
                  (is_value_borrowed ? 0 : form.value_bytes);
        borrowed +=
            (is_key_borrowed ? form.key_bytes : 0) + (is_value_borrowed ? form.value_bytes : 0);
        pieces += (is_key_borrowed ? 2u : 0u) + (is_value_borrowed ? 2u : 0u);
    }
    if (isolate->pieces_capacity < pieces) {
        isolate->pieces = alloc_resize(isolate->pieces, pieces * sizeof(*isolate->pieces));
        isolate->pieces_capacity = (uint32_t)pieces;
    }
    *ret_copied = copied;
    return copied + borrowed - ISOLATE_HEADER_BYTES;
}

/* Appends bytes to the frame: a copy at *at, which belongs to the last piece, or a piece. */
static void isolate_add(struct isolate *isolate, uint32_t *pieces_len, uint8_t **at,
                        const void *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    if (!isolate_is_borrowed(len)) {
        memcpy(*at, bytes, len);
        *at += len;
        isolate->pieces[*pieces_len - 1].iov_len += len;
        return;
    }
    isolate->pieces[(*pieces_len)++] = (struct iovec){(void *)bytes, len};
    isolate->pieces[(*pieces_len)++] = (struct iovec){*at, 0};
}

static int32_t isolate_apply(void *self, const struct kv_record *records, uint32_t count,
                             struct kv_position position, uint32_t *results)
{
    struct isolate *isolate = self;
    if (!isolate_is_alive(isolate)) {
        return isolate_refuse_dead(isolate);
    }
    size_t copied = 0;
    size_t body_len = isolate_measure(isolate, records, count, &copied);
    isolate->request.len = 0;
    uint8_t *at = buffer_room(&isolate->request, copied);
    isolate->pieces[0] = (struct iovec){at, ISOLATE_HEADER_BYTES + 20};
    uint32_t pieces_len = 1;
    isolate->call =
        (struct isolate_call){.type = ISOLATE_APPLY, .count = count, .results = results};
    isolate_put_header(at, ISOLATE_APPLY, ++isolate->calls, body_len);
    at += ISOLATE_HEADER_BYTES;
    bytes_put_u64(at, position.view);
    bytes_put_u64(at + 8, position.index);
    bytes_put_u32(at + 16, count);
    at += 20;
    for (uint32_t i = 0; i < count; i++) {
        const struct isolate_record_form form = isolate_record_form(&records[i]);
        isolate_put_record(at, &records[i], &form);
        at += ISOLATE_RECORD_BYTES;
        isolate->pieces[pieces_len - 1].iov_len += ISOLATE_RECORD_BYTES;
        isolate_add(isolate, &pieces_len, &at, records[i].key, form.key_bytes);
        isolate_add(isolate, &pieces_len, &at, records[i].value, form.value_bytes);
    }
    KV_CHECK(at == isolate->request.bytes + copied);
    return isolate_call(isolate, isolate->pieces, pieces_len);
}

/* --- the end --- */

static void isolate_close(void *self)
{
    struct isolate *isolate = self;
    if (isolate_is_alive(isolate)) {
        isolate_call_simply(isolate, (struct isolate_call){.type = ISOLATE_CLOSE}, NULL, 0);
    }
}

static void isolate_destroy(void *self)
{
    struct isolate *isolate = self;
    if (isolate_is_alive(isolate)) {
        isolate_call_simply(isolate, (struct isolate_call){.type = ISOLATE_DESTROY}, NULL, 0);
    }
    if (isolate_is_alive(isolate)) {
        char how[ISOLATE_PROCESS_TEXT_MAX];
        bool was_killed = false;
        int number = 0;
        shutdown(isolate->process.socket, SHUT_WR); /* the last call was made */
        isolate_end_process(isolate, ISOLATE_EXIT_MS, how, &was_killed, &number);
        if (was_killed) {
            isolate_log(isolate, KV_LOG_WARN,
                        "the plugin's process did not end after destroy() and was killed");
        } else if (number != 0) {
            isolate_log(isolate, KV_LOG_WARN, "the plugin's process died after destroy(): %s", how);
        }
    }
    isolate_free(isolate);
}

const struct kv_persist_ops *isolate_ops(void)
{
    static const struct kv_persist_ops ops = {
        .create = NULL,
        .open = isolate_open,
        .load = isolate_load,
        .apply = isolate_apply,
        .close = isolate_close,
        .destroy = isolate_destroy,
        .reset = isolate_reset,
        .get = isolate_get,
    };
    return &ops;
}

/*
 * The file: "KVARBITR", u32 version, u64 number, u32 length, the bytes, u32 crc32c of all before;
 * numbers little-endian. It is replaced by durable_file_write(), so a crash leaves an old or a new
 * one; anything else is damage, and an arbiter that does not know its last view must not make
 * another one.
 *
 * All that touches the disk once the loop runs is a job on a thread of libuv's pool, one at a time:
 * a compare-and-set, or a look at the file after the folder's watch has told that something
 * happened to it, be it our own write. `known` is the file as last read, written or told of; `next`
 * is the one that the last compare-and-set wanted, which may be there even if writing it failed. A
 * look that finds neither has found a change. Without a watch (the system has no more of them) a
 * change is noticed by the next compare-and-set.
 */
#include "host/registry_file.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "host/durable_file.h"
#include "host/log.h"

#include <inttypes.h>
#include <kvnode/status.h>
#include <stdio.h>
#include <string.h>

#define REGISTRY_FILE_MODULE     "registry"
#define REGISTRY_FILE_MAGIC      "KVARBITR"
#define REGISTRY_FILE_MAGIC_LEN  8u
#define REGISTRY_FILE_VERSION    2u
#define REGISTRY_FILE_HEAD_BYTES (REGISTRY_FILE_MAGIC_LEN + 4u + 8u + 4u)
#define REGISTRY_FILE_CRC_BYTES  4u
#define REGISTRY_FILE_BYTES_MAX \
    (REGISTRY_FILE_HEAD_BYTES + REGISTRY_BYTES_MAX + REGISTRY_FILE_CRC_BYTES)

enum registry_file_job { REGISTRY_FILE_IDLE, REGISTRY_FILE_SET, REGISTRY_FILE_LOOK };

struct registry_file {
    struct registry base;
    uv_loop_t *loop;
    int folder_fd;
    char *folder;
    uv_work_t work;
    enum registry_file_job job; /* under way: the members marked * are the thread's then */
    bool look_wanted;           /* the file was touched during a job */
    bool set_wanted;            /* a compare-and-set came during a look */
    struct buffer wanted;       /* its file */
    uint64_t expected;
    uint64_t number;
    struct buffer next;  /* * */
    struct buffer known; /* * len 0: no file */
    struct buffer found; /* * what the job found, when it is neither known nor next */
    struct registry_state found_state;
    enum registry_outcome outcome;  /* * */
    char error[REGISTRY_ERROR_MAX]; /* * */
    bool has_change;                /* * found is one */
    registry_done_fn done;
    void *done_ctx;
    registry_changed_fn changed;
    void *changed_ctx;
    uv_fs_event_t watch;
    bool is_watching; /* the handle is open */
    bool is_stopping;
    bool is_stopped;
    registry_stopped_fn stopped;
    void *stopped_ctx;
};

static struct registry_file *registry_file_of(struct registry *registry)
{
    return (struct registry_file *)registry; /* base is its first member */
}

/* --- the file's form --- */

static const char registry_file_restore[] =
    "Without it the arbiter cannot know the last view, so it makes none: restore the file from a "
    "copy";

/* What is wrong with the file; NULL: nothing, then *ret_state is what is in it, borrowed. */
static const char *registry_file_decode(const uint8_t *file, size_t len,
                                        struct registry_state *ret_state)
{
    if (len < REGISTRY_FILE_MAGIC_LEN ||
        memcmp(file, REGISTRY_FILE_MAGIC, REGISTRY_FILE_MAGIC_LEN) != 0) {
        return "it does not begin like an arbiter's state";
    }
    if (len < REGISTRY_FILE_HEAD_BYTES + REGISTRY_FILE_CRC_BYTES) {
        return "it is cut off";
    }
    struct bytes_reader reader =
        bytes_reader_init(file + REGISTRY_FILE_MAGIC_LEN, len - REGISTRY_FILE_MAGIC_LEN);
    if (bytes_read_u32(&reader) != REGISTRY_FILE_VERSION) {
        return "it has a version that this program does not know";
    }
    uint64_t number = bytes_read_u64(&reader);
    struct bytes_view state = bytes_read_view(&reader);
    uint32_t crc = bytes_read_u32(&reader);
    if (reader.failed || reader.left != 0) {
        return "its length is not the one that it should have";
    }
    if (crc != crc32c(0, file, len - REGISTRY_FILE_CRC_BYTES)) {
        return "its checksum does not fit";
    }
    if (number == 0 || state.len == 0) {
        return "there is no view in it";
    }
    *ret_state = (struct registry_state){.number = number, .bytes = state.at, .len = state.len};
    return NULL;
}

/* True for a whole file as the first versions of kvnode wrote it: the same form around a view that
 * lacks what failover needs. */
static bool registry_file_is_of_version_1(const uint8_t *file, size_t len)
{
    static const uint8_t head[] = {'K', 'V', 'A', 'R', 'B', 'I', 'T', 'R', 1, 0, 0, 0};
    if (len < REGISTRY_FILE_HEAD_BYTES + REGISTRY_FILE_CRC_BYTES ||
        memcmp(file, head, sizeof(head)) != 0) {
        return false;
    }
    struct bytes_reader reader =
        bytes_reader_init(file + len - REGISTRY_FILE_CRC_BYTES, REGISTRY_FILE_CRC_BYTES);
    return bytes_read_u32(&reader) == crc32c(0, file, len - REGISTRY_FILE_CRC_BYTES);
}

static void registry_file_encode(uint64_t number, const void *bytes, size_t len,
                                 struct buffer *ret_file)
{
    size_t size = REGISTRY_FILE_HEAD_BYTES + len + REGISTRY_FILE_CRC_BYTES;
    ret_file->len = 0;
    struct bytes_writer writer = bytes_writer_init(buffer_room(ret_file, size), size);
    bytes_write(&writer, REGISTRY_FILE_MAGIC, REGISTRY_FILE_MAGIC_LEN);
    bytes_write_u32(&writer, REGISTRY_FILE_VERSION);
    bytes_write_u64(&writer, number);
    bytes_write_view(&writer, bytes, len);
    bytes_write_u32(&writer, crc32c(0, ret_file->bytes, size - REGISTRY_FILE_CRC_BYTES));
    KV_CHECK(!writer.failed && writer.len == size);
}

static bool registry_file_equals(const struct buffer *a, const struct buffer *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static void registry_file_copy(struct buffer *to, const struct buffer *from)
{
    to->len = 0;
    if (from->len > 0) {
        memcpy(buffer_room(to, from->len), from->bytes, from->len);
    }
}

/* Reads the file into `found` and looks into it. KV_OK with found_state.number 0: there is none. */
static int32_t registry_file_load(struct registry_file *self)
{
    char error[DURABLE_FILE_ERROR_MAX];
    uint8_t *file = NULL;
    size_t len = 0;
    self->found.len = 0;
    self->found_state = (struct registry_state){0};
    int32_t status = durable_file_read(self->folder_fd, REGISTRY_FILE, REGISTRY_FILE_BYTES_MAX,
                                       &file, &len, error);
    if (status == KV_E_NOT_FOUND) {
        return KV_OK;
    }
    if (status == KV_E_IO) {
        snprintf(self->error, sizeof(self->error), "in the data folder %s: %s", self->folder,
                 error);
        return KV_E_IO;
    }
    const char *fault = "it is too long";
    if (status == KV_OK) {
        if (len > 0) {
            memcpy(buffer_room(&self->found, len), file, len);
        }
        alloc_free(file);
        fault = registry_file_decode(self->found.bytes, len, &self->found_state);
    }
    if (fault == NULL) {
        return KV_OK;
    }
    if (status == KV_OK && registry_file_is_of_version_1(self->found.bytes, len)) {
        snprintf(self->error, sizeof(self->error),
                 "%s/" REGISTRY_FILE " has format 1, of a kvnode without failover; this one reads "
                 "format %u only. Start the version that wrote it, save the data with kvctl "
                 "export, and import it into a new cluster of this version",
                 self->folder, REGISTRY_FILE_VERSION);
    } else {
        snprintf(self->error, sizeof(self->error), "%s/" REGISTRY_FILE " is damaged: %s. %s",
                 self->folder, fault, registry_file_restore);
    }
    return KV_E_CORRUPT;
}

static int32_t registry_file_read(struct registry *registry, struct registry_state *ret_state,
                                  char *ret_error)
{
    struct registry_file *self = registry_file_of(registry);
    KV_CHECK(self->job == REGISTRY_FILE_IDLE);
    int32_t status = registry_file_load(self);
    if (status != KV_OK) {
        snprintf(ret_error, REGISTRY_ERROR_MAX, "%s", self->error);
        return status;
    }
    registry_file_copy(&self->known, &self->found);
    *ret_state = self->found_state;
    if (ret_state->len > 0) {
        uint8_t *copy = alloc_bytes(ret_state->len);
        memcpy(copy, ret_state->bytes, ret_state->len);
        ret_state->bytes = copy;
    }
    return KV_OK;
}

/* --- jobs; the first two functions run on a thread of libuv's pool --- */

static void registry_file_do_set(struct registry_file *self)
{
    self->outcome = REGISTRY_FAILED;
    if (registry_file_load(self) != KV_OK) {
        return;
    }
    if (self->found_state.number != self->expected &&
        !registry_file_equals(&self->found, &self->next)) {
        self->outcome = REGISTRY_CONFLICT;
        return;
    }
    if (durable_file_write(self->folder_fd, REGISTRY_FILE, self->next.bytes, self->next.len,
                           self->error) == KV_OK) {
        self->outcome = REGISTRY_STORED;
    }
}

static void registry_file_work(uv_work_t *work)
{
    struct registry_file *self = work->data;
    if (self->job == REGISTRY_FILE_SET) {
        registry_file_do_set(self);
    } else {
        self->has_change = registry_file_load(self) == KV_OK &&
                           !registry_file_equals(&self->found, &self->known) &&
                           !registry_file_equals(&self->found, &self->next);
    }
}

static void registry_file_on_work_done(uv_work_t *work, int uv_status);

static void registry_file_start(struct registry_file *self, enum registry_file_job job)
{
    KV_CHECK(self->job == REGISTRY_FILE_IDLE);
    self->job = job;
    int status =
        uv_queue_work(self->loop, &self->work, registry_file_work, registry_file_on_work_done);
    KV_CHECK(status == 0);
}

/* Calls stopped when nothing is left to wait for. */
static void registry_file_end_stop(struct registry_file *self)
{
    if (self->is_stopping && !self->is_stopped && self->job == REGISTRY_FILE_IDLE &&
        !self->is_watching) {
        self->is_stopped = true;
        self->stopped(self->stopped_ctx);
    }
}

/* What is told may lead to the next compare-and-set at once, so `found` is given away first. */
static void registry_file_tell(struct registry_file *self, enum registry_file_job job)
{
    size_t found_len;
    struct registry_state stored = self->found_state;
    uint8_t *found = NULL;
    if (job == REGISTRY_FILE_SET) {
        struct registry_result result = {.outcome = self->outcome, .number = self->number};
        if (self->outcome == REGISTRY_STORED) {
            registry_file_copy(&self->known, &self->next);
        } else if (self->outcome == REGISTRY_CONFLICT) {
            registry_file_copy(&self->known, &self->found);
            found = buffer_take(&self->found, &found_len);
            result.stored = stored;
        }
        char error[REGISTRY_ERROR_MAX];
        if (self->outcome == REGISTRY_FAILED) {
            snprintf(error, sizeof(error), "%s", self->error);
            result.error = error;
        }
        self->done(self->done_ctx, &result);
    } else if (self->has_change && !self->is_stopping) {
        registry_file_copy(&self->known, &self->found);
        found = buffer_take(&self->found, &found_len);
        self->changed(self->changed_ctx, &stored);
    }
    alloc_free(found);
}

static void registry_file_look(struct registry_file *self)
{
    self->look_wanted = self->job != REGISTRY_FILE_IDLE;
    if (!self->look_wanted && !self->is_stopping) {
        registry_file_start(self, REGISTRY_FILE_LOOK);
    }
}

static void registry_file_on_work_done(uv_work_t *work, int uv_status)
{
    struct registry_file *self = work->data;
    KV_CHECK(uv_status == 0); /* nobody cancels it */
    enum registry_file_job job = self->job;
    self->job = REGISTRY_FILE_IDLE;
    if (job == REGISTRY_FILE_LOOK && self->set_wanted) {
        /* It looks for itself, and tells what it finds. */
        struct buffer wanted = self->wanted;
        self->wanted = self->next;
        self->next = wanted;
        self->set_wanted = false;
        registry_file_start(self, REGISTRY_FILE_SET);
        return;
    }
    registry_file_tell(self, job);
    if (self->look_wanted) {
        registry_file_look(self);
    }
    registry_file_end_stop(self);
}

static void registry_file_compare_and_set(struct registry *registry, uint64_t expected,
                                          uint64_t number, const void *bytes, size_t len,
                                          registry_done_fn done, void *ctx)
{
    struct registry_file *self = registry_file_of(registry);
    KV_CHECK(self->job != REGISTRY_FILE_SET && !self->set_wanted && !self->is_stopping);
    KV_CHECK(number != 0 && len > 0 && len <= REGISTRY_BYTES_MAX);
    self->expected = expected;
    self->number = number;
    self->done = done;
    self->done_ctx = ctx;
    if (self->job == REGISTRY_FILE_LOOK) {
        registry_file_encode(number, bytes, len, &self->wanted);
        self->set_wanted = true;
        return;
    }
    registry_file_encode(number, bytes, len, &self->next);
    registry_file_start(self, REGISTRY_FILE_SET);
}

/* --- the watch, the end --- */

static void registry_file_on_event(uv_fs_event_t *watch, const char *name, int events, int status)
{
    (void)events;
    if (status == 0 && (name == NULL || strcmp(name, REGISTRY_FILE) == 0)) {
        registry_file_look(watch->data);
    }
}

static void registry_file_on_watch_closed(uv_handle_t *handle)
{
    struct registry_file *self = handle->data;
    self->is_watching = false;
    registry_file_end_stop(self);
}

static void registry_file_watch(struct registry *registry, registry_changed_fn changed, void *ctx)
{
    struct registry_file *self = registry_file_of(registry);
    KV_CHECK(self->changed == NULL && !self->is_stopping);
    self->changed = changed;
    self->changed_ctx = ctx;
    int status = uv_fs_event_init(self->loop, &self->watch);
    self->is_watching = status == 0;
    self->watch.data = self;
    if (status == 0) {
        status = uv_fs_event_start(&self->watch, registry_file_on_event, self->folder, 0);
    }
    if (status != 0) {
        log_event(
            KV_LOG_WARN, REGISTRY_FILE_MODULE,
            "registry-unwatched folder=%s reason=\"%s\": a file that is replaced from outside "
            "is noticed at the next change of the view",
            self->folder, uv_strerror(status));
    }
}

static void registry_file_stop(struct registry *registry, registry_stopped_fn stopped, void *ctx)
{
    struct registry_file *self = registry_file_of(registry);
    KV_CHECK(!self->is_stopping);
    self->is_stopping = true;
    self->stopped = stopped;
    self->stopped_ctx = ctx;
    if (self->is_watching) {
        uv_close((uv_handle_t *)&self->watch, registry_file_on_watch_closed);
    }
    registry_file_end_stop(self);
}

static void registry_file_destroy(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    struct registry_file *self = registry_file_of(registry);
    KV_CHECK(self->job == REGISTRY_FILE_IDLE && !self->is_watching);
    buffer_close(&self->wanted);
    buffer_close(&self->next);
    buffer_close(&self->known);
    buffer_close(&self->found);
    alloc_free(self->folder);
    alloc_free(self);
}

static const struct registry_ops registry_file_ops = {
    .read = registry_file_read,
    .compare_and_set = registry_file_compare_and_set,
    .watch = registry_file_watch,
    .stop = registry_file_stop,
    .destroy = registry_file_destroy,
};

struct registry *registry_file_create(uv_loop_t *loop, int folder_fd, const char *folder)
{
    struct registry_file *self = alloc_zeroed(1, sizeof(*self));
    self->base.ops = &registry_file_ops;
    self->loop = loop;
    self->folder_fd = folder_fd;
    self->folder = alloc_string(folder, strlen(folder));
    self->work.data = self;
    buffer_init(&self->wanted);
    buffer_init(&self->next);
    buffer_init(&self->known);
    buffer_init(&self->found);
    return &self->base;
}

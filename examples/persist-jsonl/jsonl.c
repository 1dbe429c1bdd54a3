/*
 * Change capture: every change is appended as one line of JSON to a file or a FIFO, for programs
 * that want to know what happens: an indexer, an audit log, a queue. It gives nothing back to the
 * node (no load), which makes it the smallest plugin: read it from step 1 to step 8.
 *
 *     {"op":"insert","key":"k","value":"v","position":{"view":1,"index":7},"client":9,"request":3}
 *     {"op":"remove","key":"k","position":{"view":1,"index":8},"client":9,"request":4}
 *     {"op":"position","position":{"view":1,"index":8}}
 *
 * A batch is its changes and then the position line that makes it complete: what stands behind the
 * last position line will come once more. When a batch cannot be written to a file, the file is cut
 * back to where it was; a FIFO that stands still gets the rest later, before anything else.
 * The contract: <kvnode/persist.h>.
 */
#include <kvnode/persist.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIFO_WAIT_MS   500     /* that one batch waits for a reader at most */
#define BUFFER_KEPT    1048576 /* bytes; a larger buffer is given back after its batch */
#define BLOCK_LEN      65536   /* bytes that are read at a time when searching the file */
#define POSITION_BEGIN "{\"op\":\"position\","
#define POSITION_FORM \
    "{\"op\":\"position\",\"position\":{\"view\":%" PRIu64 ",\"index\":%" PRIu64 "}}"
#define LINE_BEGIN "{\"op\":\""

/* Step 1: one instance. No globals: several instances live in one process. */
struct store {
    const struct kv_host *host;
    char *path;
    bool sync_always;
    bool is_fifo;
    bool is_torn;                /* the last line in the FIFO is not whole: end it first */
    int fd;                      /* -1: closed */
    struct kv_position position; /* reached */
    char *bytes;                 /* the batch being written */
    size_t len;
    size_t size;
    size_t sent;                      /* of len; a FIFO may take the rest later */
    struct kv_position sent_position; /* reached once the rest is written */
};

static void say(struct store *store, uint32_t level, const char *format, ...)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "%.200s: ", store->path);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, sizeof(text) - (size_t)len, format, arguments);
    va_end(arguments);
    store->host->log(store->host->ctx, level, text);
}

/* A code never comes without its reason. */
static int32_t fail(struct store *store, int32_t status, const char *what)
{
    say(store, KV_LOG_ERROR, "%s: %s", what, strerror(errno));
    return status;
}

/* Step 2: the settings, each declared option once. They are borrowed: copy what is kept. */
static int32_t create(const struct kv_host *host, const struct kv_setting *settings,
                      uint32_t settings_len, void **ret_self)
{
    const char *path = "";
    const char *sync = "";
    for (uint32_t i = 0; i < settings_len; i++) {
        path = strcmp(settings[i].name, "path") == 0 ? settings[i].value : path;
        sync = strcmp(settings[i].name, "sync") == 0 ? settings[i].value : sync;
    }
    if (path[0] == '\0' || (strcmp(sync, "always") != 0 && strcmp(sync, "never") != 0)) {
        host->log(host->ctx, KV_LOG_ERROR,
                  path[0] == '\0' ? "path is empty" : "sync must be \"always\" or \"never\"");
        return KV_E_INVALID;
    }
    size_t path_size = strlen(path) + 1;
    struct store *store = host->allocate(host->ctx, sizeof(*store) + path_size);
    if (store == NULL) {
        host->log(host->ctx, KV_LOG_ERROR, "no memory for an instance");
        return KV_E_NOMEM;
    }
    *store = (struct store){.host = host, .fd = -1, .sync_always = strcmp(sync, "always") == 0};
    store->path = memcpy(store + 1, path, path_size);
    *ret_self = store;
    return KV_OK;
}

/* Step 3: building lines. A buffer that cannot grow stays as it is and says so. */
static bool add(struct store *store, const void *bytes, size_t len)
{
    if (len > store->size - store->len) {
        size_t size = (store->len + len) * 2;
        char *moved = store->host->resize(store->host->ctx, store->bytes, size);
        if (moved == NULL) {
            return false;
        }
        store->bytes = moved;
        store->size = size;
    }
    if (len > 0) {
        memcpy(store->bytes + store->len, bytes, len);
    }
    store->len += len;
    return true;
}

__attribute__((format(printf, 2, 3))) static bool add_text(struct store *store, const char *format,
                                                           ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return add(store, text, (size_t)len);
}

/* Bytes of the UTF-8 character at `at`; 0: it is none. Overlong forms and surrogates are none. */
static size_t character_len(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len > left || first > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_bad = (first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
                  (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f);
    return is_bad ? 0 : len;
}

static bool is_utf8(const uint8_t *bytes, size_t len)
{
    size_t one = 1;
    for (size_t at = 0; at < len && one != 0; at += one) {
        one = character_len(bytes + at, len - at);
    }
    return one != 0;
}

static bool add_string(struct store *store, const uint8_t *bytes, size_t len)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char escaped[] = "\"\\bfnrt";
    bool ok = true;
    for (size_t i = 0; i < len && ok; i++) {
        const char *at = bytes[i] == 0 ? NULL : strchr(plain, bytes[i]);
        if (at != NULL) {
            ok = add_text(store, "\\%c", escaped[at - plain]);
        } else if (bytes[i] < 0x20) {
            ok = add_text(store, "\\u%04X", bytes[i]);
        } else {
            ok = add(store, bytes + i, 1);
        }
    }
    return ok;
}

static bool add_base64(struct store *store, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bool ok = true;
    for (size_t at = 0; at < len && ok; at += 3) {
        size_t left = len - at;
        uint32_t group = (uint32_t)bytes[at] << 16 | (left > 1 ? (uint32_t)bytes[at + 1] << 8 : 0) |
                         (left > 2 ? bytes[at + 2] : 0u);
        char text[4] = {digits[group >> 18], digits[group >> 12 & 63],
                        left > 1 ? digits[group >> 6 & 63] : '=',
                        left > 2 ? digits[group & 63] : '='};
        ok = add(store, text, sizeof(text));
    }
    return ok;
}

/* ,"NAME":"TEXT" or ,"NAME_base64":"..." when the bytes are no text: as kvctl export does. */
static bool add_bytes(struct store *store, const char *name, const void *bytes, size_t len)
{
    bool is_text = is_utf8(bytes, len);
    return add_text(store, ",\"%s%s\":\"", name, is_text ? "" : "_base64") &&
           (is_text ? add_string : add_base64)(store, bytes, len) && add_text(store, "\"");
}

static bool add_record(struct store *store, const struct kv_record *record)
{
    bool is_insert = record->kind == KV_RECORD_INSERT;
    return add_text(store, LINE_BEGIN "%s\"", is_insert ? "insert" : "remove") &&
           add_bytes(store, "key", record->key, record->key_len) &&
           (!is_insert || add_bytes(store, "value", record->value, record->value_len)) &&
           add_text(store,
                    ",\"position\":{\"view\":%" PRIu64 ",\"index\":%" PRIu64 "},\"client\":%" PRIu64
                    ",\"request\":%" PRIu64 "}\n",
                    record->position.view, record->position.index, record->client, record->request);
}

/* Step 4: writing. A FIFO whose reader goes away raises SIGPIPE, which ends a process. kvnode
 * blocks all signals on this thread; another host might not, so it is blocked here and taken. */
static ssize_t write_quietly(int fd, const char *bytes, size_t len)
{
    sigset_t pipe_only, before, pending;
    const struct timespec at_once = {0, 0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    sigpending(&pending);
    ssize_t put = write(fd, bytes, len);
    int error = errno;
    if (put < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
        sigtimedwait(&pipe_only, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return put;
}

/* Writes what is left of the buffer; then the position that it reaches is ours. */
static int32_t send_rest(struct store *store)
{
    uint64_t end_ms = store->host->now_ms(store->host->ctx) + FIFO_WAIT_MS;
    while (store->sent < store->len) {
        ssize_t put =
            write_quietly(store->fd, store->bytes + store->sent, store->len - store->sent);
        uint64_t now_ms = store->host->now_ms(store->host->ctx);
        if (put >= 0) {
            store->sent += (size_t)put;
        } else if (errno == EAGAIN && now_ms >= end_ms) {
            say(store, KV_LOG_ERROR, "the reader of the FIFO stands still");
            return KV_E_RETRY;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {store->fd, POLLOUT, 0};
            poll(&wait, 1, (int)(end_ms - now_ms));
        } else if (errno == EPIPE) {
            store->is_torn = store->is_torn || store->sent > 0;
            store->len = store->sent = 0; /* the next reader gets the batch from its begin */
            say(store, KV_LOG_ERROR, "nobody reads the FIFO");
            return KV_E_RETRY;
        } else if (errno != EINTR) {
            return fail(store, KV_E_IO, "cannot write");
        }
    }
    if (!store->is_fifo && store->sync_always && fdatasync(store->fd) != 0) {
        return fail(store, KV_E_IO, "cannot make durable");
    }
    store->is_torn = false;
    store->position = store->sent_position;
    store->len = store->sent = 0;
    if (store->size > BUFFER_KEPT) {
        store->host->release(store->host->ctx, store->bytes);
        store->bytes = NULL;
        store->size = 0;
    }
    return KV_OK;
}

/* Step 5: the end of a file, found by reading backwards. A newline stands only between lines, so a
 * search for "\n" and what a line begins with finds lines, whatever the values are. */
struct found {
    bool is_there;
    off_t at; /* of the text */
};

static int32_t find_last(struct store *store, off_t end, const char *text, struct found *ret_found)
{
    size_t text_len = strlen(text);
    char block[BLOCK_LEN + 64]; /* overlaps the block behind it by the length of the text */
    *ret_found = (struct found){false, 0};
    while (end > 0 && !ret_found->is_there) {
        off_t begin = end > BLOCK_LEN ? end - BLOCK_LEN : 0;
        size_t want = (size_t)(end - begin) + text_len - 1;
        ssize_t got = pread(store->fd, block, want, begin);
        if (got < end - begin) {
            errno = got < 0 ? errno : EIO;
            return fail(store, KV_E_IO, "cannot read");
        }
        for (ssize_t i = got - (ssize_t)text_len; i >= 0 && !ret_found->is_there; i--) {
            if (memcmp(block + i, text, text_len) == 0) {
                *ret_found = (struct found){true, begin + i};
            }
        }
        end = begin;
    }
    return KV_OK;
}

static int32_t refuse_file(struct store *store, const char *what)
{
    say(store, KV_LOG_ERROR,
        "%s: not a file of this plugin, or damaged; move it away to begin a new one", what);
    return KV_E_CORRUPT;
}

/* The position in the last whole position line; (0, 0) without one. Cuts a torn line off. */
static int32_t recover(struct store *store)
{
    char begin[sizeof(LINE_BEGIN) - 1];
    char line[128] = "";
    struct found newline, last;
    off_t end = lseek(store->fd, 0, SEEK_END);
    ssize_t got = pread(store->fd, begin, sizeof(begin), 0);
    if (end < 0 || got < 0) {
        return fail(store, KV_E_IO, "cannot read");
    }
    if (memcmp(begin, LINE_BEGIN, (size_t)got) != 0) {
        return refuse_file(store, "its first line is no change");
    }
    int32_t status = find_last(store, end, "\n", &newline);
    off_t whole = newline.is_there ? newline.at + 1 : 0;
    if (status == KV_OK && whole < end) {
        say(store, KV_LOG_WARN, "cut off a torn last line of %jd bytes", (intmax_t)(end - whole));
        status = ftruncate(store->fd, whole) == 0 ? KV_OK : fail(store, KV_E_IO, "cannot cut");
    }
    if (status == KV_OK) {
        status = find_last(store, whole, "\n" POSITION_BEGIN, &last);
    }
    if (status != KV_OK) {
        return status;
    }
    got = pread(store->fd, line, sizeof(line) - 1, last.is_there ? last.at + 1 : 0);
    if (got >= 0 && !last.is_there && strncmp(line, POSITION_BEGIN, strlen(POSITION_BEGIN)) != 0) {
        return KV_OK; /* not in the first line either, which no newline stands before */
    }
    if (got < 0 ||
        sscanf(line, POSITION_FORM, &store->position.view, &store->position.index) != 2) {
        return refuse_file(store, "its last position cannot be read");
    }
    return KV_OK;
}

/* Step 6: open the file, recover it, say which position it has reached. */
static int32_t open_file(struct store *store)
{
    struct stat is;
    store->is_fifo = stat(store->path, &is) == 0 && S_ISFIFO(is.st_mode);
    /* Not blocking: a FIFO that nobody reads is an error that passes, not a node that hangs. */
    int flags = O_CLOEXEC | O_NONBLOCK | (store->is_fifo ? O_WRONLY : O_RDWR | O_CREAT | O_APPEND);
    store->fd = open(store->path, flags, 0666);
    if (store->fd < 0 && errno == ENXIO && store->is_fifo) {
        say(store, KV_LOG_ERROR, "nobody reads the FIFO");
        return KV_E_RETRY;
    }
    if (store->fd < 0 || fstat(store->fd, &is) != 0) {
        return fail(store, KV_E_IO, "cannot open");
    }
    if (!(store->is_fifo ? S_ISFIFO(is.st_mode) : S_ISREG(is.st_mode))) {
        say(store, KV_LOG_ERROR, "is neither a file nor a FIFO");
        return KV_E_INVALID;
    }
    if (flock(store->fd, LOCK_EX | LOCK_NB) != 0) {
        return fail(store, errno == EWOULDBLOCK ? KV_E_EXISTS : KV_E_IO,
                    "cannot be locked; another instance may write to it");
    }
    return KV_OK;
}

/* Makes what was read durable, and the name of the file in its folder too. */
static int32_t make_durable(struct store *store)
{
    const char *slash = strrchr(store->path, '/');
    char folder[4096] = ".";
    if (slash != NULL) {
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - store->path) + 1, store->path);
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0 && fdatasync(store->fd) == 0;
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
    return ok ? KV_OK : fail(store, KV_E_IO, "cannot make durable");
}

static void store_close(void *self)
{
    struct store *store = self;
    store->is_torn = store->is_fifo && (store->is_torn || store->sent > 0);
    store->len = store->sent = 0;
    if (store->fd >= 0) {
        close(store->fd);
        store->fd = -1;
    }
}

static int32_t store_open(void *self, struct kv_position *ret_position)
{
    struct store *store = self;
    store->position = (struct kv_position){0, 0};
    int32_t status = open_file(store);
    if (status == KV_OK && !store->is_fifo) {
        status = recover(store);
    }
    if (status == KV_OK && !store->is_fifo && store->sync_always) {
        status = make_durable(store);
    }
    if (status != KV_OK) {
        store_close(store);
        return status;
    }
    *ret_position = store->position;
    return KV_OK;
}

/* Step 7: store a batch and its position. What is known already changes nothing. */
static int32_t out_of_memory(struct store *store)
{
    store->len = 0;
    say(store, KV_LOG_ERROR, "no memory for the lines of a batch");
    return KV_E_NOMEM;
}

/* Writes the buffer, ended by the position, or leaves a file as it was. */
static int32_t send_all(struct store *store, struct kv_position position)
{
    if (!add_text(store, POSITION_FORM "\n", position.view, position.index)) {
        return out_of_memory(store);
    }
    store->sent_position = position;
    if (store->is_fifo) {
        return send_rest(store);
    }
    off_t end = lseek(store->fd, 0, SEEK_END);
    int32_t status = end < 0 ? fail(store, KV_E_IO, "cannot write") : send_rest(store);
    if (status != KV_OK) {
        store->len = store->sent = 0;
        if (end >= 0 && ftruncate(store->fd, end) != 0) {
            return fail(store, KV_E_IO, "cannot take half a batch back");
        }
    }
    return status;
}

static bool is_reached(const struct store *store, struct kv_position position)
{
    bool is_before =
        position.view < store->position.view ||
        (position.view == store->position.view && position.index <= store->position.index);
    return position.view != 0 && is_before; /* (0, 0): another node's content is coming in */
}

static int32_t apply(void *self, const struct kv_record *records, uint32_t count,
                     struct kv_position position, uint32_t *results)
{
    struct store *store = self;
    (void)results;        /* every record is taken */
    if (store->len > 0) { /* a FIFO took a part of the batch that is repeated now, most likely */
        int32_t status = send_rest(store);
        if (status != KV_OK) {
            return status;
        }
    }
    if (is_reached(store, position)) {
        return KV_OK;
    }
    bool ok = !store->is_torn || add(store, "\n", 1);
    for (uint32_t i = 0; i < count && ok; i++) {
        ok = add_record(store, &records[i]);
    }
    return ok ? send_all(store, position) : out_of_memory(store);
}

/* The node is about to write another node's whole content: whoever follows the file must know. */
static int32_t reset(void *self)
{
    struct store *store = self;
    if (store->len > 0) { /* this line, of which a FIFO took a part */
        return send_rest(store);
    }
    if ((store->is_torn && !add(store, "\n", 1)) || !add_text(store, LINE_BEGIN "reset\"}\n")) {
        return out_of_memory(store);
    }
    return send_all(store, (struct kv_position){0, 0});
}

static void destroy(void *self)
{
    struct store *store = self;
    store->host->release(store->host->ctx, store->bytes);
    store->host->release(store->host->ctx, store);
}

/* Step 8: what the host reads. */
static const struct kv_option options[] = {
    {"path", NULL, "The file, made if need be, or a FIFO; its folder must exist.", KV_OPTION_STRING,
     0},
    {"sync", "always", "\"always\": a batch in a file survives power loss; \"never\": it may not.",
     KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops ops = {
    .create = create,
    .open = store_open,
    .apply = apply,
    .close = store_close,
    .destroy = destroy,
    .reset = reset,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(options) / sizeof(options[0]),
    .capabilities = KV_PERSIST_RESET | KV_PERSIST_DURABLE,
    .name = "persist-jsonl",
    .version = "0.1.0",
    .summary = "Appends every change as a line of JSON to a file or a FIFO.",
    .options = options,
    .ops = &ops,
};

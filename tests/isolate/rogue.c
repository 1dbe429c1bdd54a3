/*
 * A store in one file, for tests, that breaks in every way a process can. `fault` names the way, it
 * happens in the apply() number `at` of the process, or in open() etc., and only once as long as
 * PATH.done exists: after that the plugin behaves.
 *
 * The file: batches, each one write(): u64 length, u64 view, u64 index, then for each record
 * ROGUE_RECORD numbers of 64 bits, key and value. A torn one at the end is cut off by open().
 */
#include <errno.h>
#include <fcntl.h>
#include <kvnode/persist.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROGUE_RECORD 7u

struct rogue {
    const struct kv_host *host;
    char path[512];
    char fault[32];
    char refuse[64];
    int64_t at;
    int64_t load_count;
    int64_t load_bytes;
    int64_t applies;
    int fd;
    struct kv_position position;
};

static const struct kv_option rogue_options[] = {
    {"path", NULL, "The file.", KV_OPTION_STRING, 0},
    {"fault", "", "How it breaks.", KV_OPTION_STRING, 0},
    {"at", "1", "In which apply() of the process.", KV_OPTION_INT, 0},
    {"refuse", "", "Refuses keys that begin like this, for good.", KV_OPTION_STRING, 0},
    {"load_count", "-1", "load() emits so many made-up records.", KV_OPTION_INT, 0},
    {"load_bytes", "10", "Length of their values.", KV_OPTION_INT, 0},
};

static const char *rogue_setting(const struct kv_setting *settings, uint32_t len, const char *name)
{
    for (uint32_t i = 0; i < len; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return settings[i].value;
        }
    }
    return "";
}

static void rogue_log(struct rogue *rogue, uint32_t level, const char *text)
{
    rogue->host->log(rogue->host->ctx, level, text);
}

static void rogue_write(int fd, const void *bytes, size_t len)
{
    if (write(fd, bytes, len) < 0) {
        abort();
    }
}

/* The fault called name is to happen now; it will not again. */
static int rogue_is_due(struct rogue *rogue, const char *name)
{
    char done[600];
    snprintf(done, sizeof(done), "%s.done", rogue->path);
    if (strcmp(rogue->fault, name) != 0 || access(done, F_OK) == 0) {
        return 0;
    }
    int fd = open(done, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return 1;
}

static void rogue_crash(void)
{
    signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
    raise(SIGSEGV);
}

static int32_t rogue_create(const struct kv_host *host, const struct kv_setting *settings,
                            uint32_t len, void **ret_self)
{
    const char *fault = rogue_setting(settings, len, "fault");
    if (strcmp(fault, "create-refuse") == 0) {
        host->log(host->ctx, KV_LOG_ERROR, "I refuse to be created");
        return KV_E_INVALID;
    }
    if (strcmp(fault, "create-nothing") == 0) {
        return KV_OK;
    }
    struct rogue *rogue = host->allocate(host->ctx, sizeof(*rogue));
    if (rogue == NULL) {
        return KV_E_NOMEM;
    }
    memset(rogue, 0, sizeof(*rogue));
    rogue->host = host;
    rogue->fd = -1;
    snprintf(rogue->path, sizeof(rogue->path), "%s", rogue_setting(settings, len, "path"));
    snprintf(rogue->fault, sizeof(rogue->fault), "%s", fault);
    snprintf(rogue->refuse, sizeof(rogue->refuse), "%s", rogue_setting(settings, len, "refuse"));
    rogue->at = strtoll(rogue_setting(settings, len, "at"), NULL, 10);
    rogue->load_count = strtoll(rogue_setting(settings, len, "load_count"), NULL, 10);
    rogue->load_bytes = strtoll(rogue_setting(settings, len, "load_bytes"), NULL, 10);
    if (rogue_is_due(rogue, "create-crash")) {
        rogue_crash();
    }
    *ret_self = rogue;
    return KV_OK;
}

static int32_t rogue_open(void *self, struct kv_position *ret_position)
{
    struct rogue *rogue = self;
    uint64_t head[3];
    off_t end = 0;
    if (rogue_is_due(rogue, "open-crash")) {
        rogue_crash();
    }
    if (strcmp(rogue->fault, "open-odd") == 0) {
        return 4711;
    }
    rogue->fd = open(rogue->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rogue->fd < 0) {
        rogue_log(rogue, KV_LOG_ERROR, strerror(errno));
        return KV_E_IO;
    }
    struct stat about;
    rogue->position = (struct kv_position){0, 0};
    if (fstat(rogue->fd, &about) != 0) {
        return KV_E_IO;
    }
    while (pread(rogue->fd, head, sizeof(head), end) == sizeof(head) &&
           (uint64_t)(about.st_size - end) >= head[0]) {
        end += (off_t)head[0];
        rogue->position = (struct kv_position){head[1], head[2]};
    }
    if (ftruncate(rogue->fd, end) != 0 || lseek(rogue->fd, end, SEEK_SET) != end) {
        return KV_E_IO;
    }
    char text[128];
    snprintf(text, sizeof(text), "opened by %ld", (long)getpid());
    rogue_log(rogue, KV_LOG_INFO, text);
    *ret_position = rogue->position;
    return KV_OK;
}

static int32_t rogue_emit_made_up(struct rogue *rogue, kv_emit_fn emit, void *ctx)
{
    char key[32];
    char *value = calloc(1, (size_t)rogue->load_bytes + 1);
    int32_t status = value == NULL ? KV_E_NOMEM : KV_OK;
    int ignores = strcmp(rogue->fault, "load-ignore") == 0;
    for (int64_t i = 0; i < rogue->load_count && (status == KV_OK || ignores); i++) {
        struct kv_record record = {.key = key, .value = value, .kind = KV_RECORD_INSERT};
        record.key_len = (uint32_t)snprintf(key, sizeof(key), "key-%lld", (long long)i);
        record.value_len = (uint32_t)rogue->load_bytes;
        record.position = (struct kv_position){1, (uint64_t)i + 1};
        if (i == 10 && strcmp(rogue->fault, "load-null-key") == 0) {
            record.key = NULL;
        } else if (i == 10 && strcmp(rogue->fault, "load-long-key") == 0) {
            record.key_len = 0x7fffffff;
        } else if (i == 10 && strcmp(rogue->fault, "load-kind") == 0) {
            record.kind = 77;
        }
        if (i == 10 && rogue_is_due(rogue, "load-crash")) {
            rogue_crash();
        }
        int nothing = i == 10 && strcmp(rogue->fault, "load-null") == 0;
        status = emit(ctx, nothing ? NULL : &record);
    }
    free(value);
    return ignores ? KV_OK : status;
}

/* All records of the file in their order. */
static int32_t rogue_load(void *self, kv_emit_fn emit, void *ctx)
{
    struct rogue *rogue = self;
    struct stat about;
    if (rogue->load_count >= 0) {
        return rogue_emit_made_up(rogue, emit, ctx);
    }
    if (fstat(rogue->fd, &about) != 0) {
        return KV_E_IO;
    }
    size_t size = (size_t)about.st_size;
    char *all = malloc(size + 1);
    if (all == NULL || pread(rogue->fd, all, size, 0) != (ssize_t)size) {
        free(all);
        return KV_E_IO;
    }
    int32_t status = KV_OK;
    for (size_t at = 0; at < size && status == KV_OK;) {
        uint64_t head[3];
        memcpy(head, all + at, sizeof(head));
        size_t end = at + head[0];
        at += sizeof(head);
        while (at < end && status == KV_OK) {
            uint64_t numbers[ROGUE_RECORD];
            memcpy(numbers, all + at, sizeof(numbers));
            at += sizeof(numbers);
            struct kv_record record = {.key = all + at,
                                       .value = all + at + numbers[0],
                                       .key_len = (uint32_t)numbers[0],
                                       .value_len = (uint32_t)numbers[1],
                                       .kind = (uint32_t)numbers[2],
                                       .position = {numbers[3], numbers[4]},
                                       .client = numbers[5],
                                       .request = numbers[6]};
            if (record.kind == KV_RECORD_REMOVE) {
                record.value = NULL;
            }
            at += numbers[0] + numbers[1];
            status = emit(ctx, &record);
        }
    }
    free(all);
    return status;
}

static void *rogue_chatter(void *argument)
{
    struct rogue *rogue = argument;
    for (int i = 0; i < 1000; i++) {
        rogue_log(rogue, KV_LOG_DEBUG, "from a thread");
    }
    return NULL;
}

static void rogue_break_connection(struct rogue *rogue)
{
    if (rogue_is_due(rogue, "garbage")) {
        for (int i = 0; i < 100; i++) {
            rogue_write(3, "this is no frame at all", 23);
        }
    } else if (rogue_is_due(rogue, "close")) {
        close(3);
    } else if (rogue_is_due(rogue, "close-hang")) {
        close(3);
        for (;;) {
            pause();
        }
    } else if (rogue_is_due(rogue, "fork-crash")) {
        /* The grandchild keeps the connection open; it ends when the node closes its side. */
        if (fork() == 0) {
            char byte;
            while (read(3, &byte, 1) > 0) {
            }
            _exit(0);
        }
        rogue_crash();
    }
}

static void rogue_break(struct rogue *rogue, uint32_t *results, uint32_t count)
{
    if (rogue_is_due(rogue, "crash")) {
        rogue_crash();
    } else if (rogue_is_due(rogue, "abort")) {
        signal(SIGABRT, SIG_DFL);
        abort();
    } else if (rogue_is_due(rogue, "exit")) {
        rogue_log(rogue, KV_LOG_WARN, "last words");
        _exit(7);
    } else if (rogue_is_due(rogue, "hang")) {
        for (;;) {
            pause();
        }
    } else if (rogue_is_due(rogue, "babble")) {
        for (;;) {
            rogue_log(rogue, KV_LOG_DEBUG, "still here");
        }
    } else if (rogue_is_due(rogue, "greedy")) {
        for (;;) {
            char *memory = malloc(1048576);
            if (memory == NULL) {
                abort();
            }
            memset(memory, 1, 1048576);
        }
    } else if (strcmp(rogue->fault, "beyond") == 0) {
        memset(results + count, 0, sizeof(uint32_t));
    } else if (strcmp(rogue->fault, "print") == 0) {
        printf("printed by the plugin\n");
        fflush(stdout);
    } else if (strcmp(rogue->fault, "signals") == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGCHLD, SIG_IGN);
    } else if (strcmp(rogue->fault, "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, rogue_chatter, rogue) != 0) {
            abort();
        }
        pthread_join(thread, NULL);
    }
    rogue_break_connection(rogue);
}

static int32_t rogue_store(struct rogue *rogue, const struct kv_record *records, uint32_t count,
                           struct kv_position position, const uint32_t *results)
{
    uint64_t head[3] = {sizeof(head), position.view, position.index};
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_STORED) {
            head[0] += ROGUE_RECORD * 8u + records[i].key_len + records[i].value_len;
        }
    }
    char *all = malloc(head[0]);
    if (all == NULL) {
        return KV_E_NOMEM;
    }
    memcpy(all, head, sizeof(head));
    size_t at = sizeof(head);
    for (uint32_t i = 0; i < count; i++) {
        const struct kv_record *record = &records[i];
        uint64_t numbers[ROGUE_RECORD] = {
            record->key_len,        record->value_len, record->kind,   record->position.view,
            record->position.index, record->client,    record->request};
        if (results[i] != KV_RESULT_STORED) {
            continue;
        }
        memcpy(all + at, numbers, sizeof(numbers));
        at += sizeof(numbers);
        if (record->key_len > 0) {
            memcpy(all + at, record->key, record->key_len);
        }
        if (record->value_len > 0) {
            memcpy(all + at + record->key_len, record->value, record->value_len);
        }
        at += record->key_len + record->value_len;
    }
    ssize_t written = write(rogue->fd, all, head[0]);
    free(all);
    rogue->position = position;
    return written == (ssize_t)head[0] ? KV_OK : KV_E_IO;
}

static int32_t rogue_apply(void *self, const struct kv_record *records, uint32_t count,
                           struct kv_position position, uint32_t *results)
{
    struct rogue *rogue = self;
    size_t prefix_len = strlen(rogue->refuse);
    rogue->applies++;
    if (rogue->applies == rogue->at) {
        rogue_break(rogue, results, count);
    }
    if (strcmp(rogue->fault, "odd") == 0) {
        return 99;
    }
    if (strcmp(rogue->fault, "odd-result") == 0) {
        results[0] = 1234;
        return KV_OK;
    }
    if (position.view < rogue->position.view ||
        (position.view == rogue->position.view && position.index <= rogue->position.index)) {
        return KV_OK; /* a repeat */
    }
    for (uint32_t i = 0; i < count; i++) {
        if (prefix_len > 0 && records[i].key_len >= prefix_len &&
            memcmp(records[i].key, rogue->refuse, prefix_len) == 0) {
            char text[64];
            snprintf(text, sizeof(text), "no key like number %u", i);
            results[i] = KV_RESULT_REFUSED;
            rogue->host->reason(rogue->host->ctx, i, text);
        }
    }
    int32_t status = rogue_store(rogue, records, count, position, results);
    if (rogue->applies == rogue->at && rogue_is_due(rogue, "crash-after")) {
        rogue_crash();
    }
    return status;
}

static void rogue_close(void *self)
{
    struct rogue *rogue = self;
    if (rogue_is_due(rogue, "close-crash")) {
        rogue_crash();
    }
    char closed[600];
    snprintf(closed, sizeof(closed), "%s.closed", rogue->path);
    int fd = open(closed, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    close(rogue->fd);
    rogue->fd = -1;
}

static void rogue_destroy(void *self)
{
    struct rogue *rogue = self;
    const struct kv_host *host = rogue->host;
    if (strcmp(rogue->fault, "leak") == 0) {
        rogue_log(rogue, KV_LOG_INFO, "leaking");
        static void *kept;
        kept = host->allocate(host->ctx, 5);
        (void)kept;
    }
    host->release(host->ctx, rogue);
}

static int32_t rogue_reset(void *self)
{
    struct rogue *rogue = self;
    rogue->position = (struct kv_position){0, 0};
    return ftruncate(rogue->fd, 0) == 0 && lseek(rogue->fd, 0, SEEK_SET) == 0 ? KV_OK : KV_E_IO;
}

/* Knows one key, "k". */
static int32_t rogue_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    struct kv_record record = {.key = key, .value = "value", .key_len = key_len, .value_len = 5};
    (void)self;
    record.kind = KV_RECORD_INSERT;
    record.position = (struct kv_position){1, 1};
    return key_len == 1 && memcmp(key, "k", 1) == 0 ? emit(ctx, &record) : KV_E_NOT_FOUND;
}

static const struct kv_persist_ops rogue_ops = {
    rogue_create, rogue_open,    rogue_load,  rogue_apply,
    rogue_close,  rogue_destroy, rogue_reset, rogue_get,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(rogue_options) / sizeof(rogue_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_RESET | KV_PERSIST_GET,
    .name = "rogue",
    .version = "1",
    .summary = "Breaks on demand.",
    .options = rogue_options,
    .ops = &rogue_ops,
};

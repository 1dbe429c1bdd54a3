/*
 * A store in memory for tests. The content belongs to the instance and outlives close(), so that a
 * reopened one gives it back with load(); with the option `file` it is in a file too, and what
 * another process appended there is seen by the next open(). Faults are asked for with options,
 * most of them "every Nth call of apply()", 0: never; the calls are counted for each instance.
 *
 * With scope = "shared" several nodes have one file: each open() and apply() locks it, and apply()
 * first reads what others have written since, and refuses a view below the highest one in it.
 *
 * The file: one frame a batch, appended with one write(). A frame is u32 magic, u32 length of the
 * rest, u32 CRC-32C of the rest; the rest: position, u32 records, each as struct memory_entry with
 * key and value behind it. What follows the last whole frame is cut off by open().
 */
#include <kvnode/persist.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_MAGIC 0x4d454d31u

struct memory_item {
    struct memory_item *next;
    struct kv_record record; /* key and value stand behind the struct */
};

struct memory_frame {
    uint32_t magic;
    uint32_t len; /* of what follows this struct */
    uint32_t crc;
    uint32_t records_len;
    struct kv_position position;
};

struct memory_entry {
    uint32_t key_len;
    uint32_t value_len;
    uint32_t kind;
    uint32_t reserved;
    struct kv_position position;
    uint64_t client;
    uint64_t request;
};

struct memory {
    const struct kv_host *host;
    struct memory_item *first; /* newest state of each key */
    struct kv_position position;
    uint64_t view; /* the highest that the file has seen */
    int is_shared;
    int fd;   /* of the file, while it is open; -1: none */
    off_t at; /* the file is known up to here */
    uint64_t calls;
    uint64_t fail_every;
    uint64_t retry_every;
    uint64_t unknown_every;
    uint64_t lie_every;
    uint64_t bad_code_every;
    uint64_t crash_every;
    uint64_t hang_every;
    uint64_t hang_ms;
    uint64_t allocate_every;
    uint64_t allocate_mb;
    uint64_t delay_ms;
    char refuse[64]; /* keys that start with this are refused; "": none */
    char file[512];  /* its path; "": none */
};

static const struct {
    const char *name;
    size_t offset;
} memory_numbers[] = {
    {"fail_every", offsetof(struct memory, fail_every)},
    {"retry_every", offsetof(struct memory, retry_every)},
    {"unknown_every", offsetof(struct memory, unknown_every)},
    {"lie_every", offsetof(struct memory, lie_every)},
    {"bad_code_every", offsetof(struct memory, bad_code_every)},
    {"crash_every", offsetof(struct memory, crash_every)},
    {"hang_every", offsetof(struct memory, hang_every)},
    {"hang_ms", offsetof(struct memory, hang_ms)},
    {"allocate_every", offsetof(struct memory, allocate_every)},
    {"allocate_mb", offsetof(struct memory, allocate_mb)},
    {"delay_ms", offsetof(struct memory, delay_ms)},
};

static void memory_set(struct memory *memory, const struct kv_setting *setting)
{
    for (size_t i = 0; i < sizeof(memory_numbers) / sizeof(memory_numbers[0]); i++) {
        if (strcmp(setting->name, memory_numbers[i].name) == 0) {
            uint64_t number = strtoull(setting->value, NULL, 10);
            memcpy((char *)memory + memory_numbers[i].offset, &number, sizeof(number));
        }
    }
    if (strcmp(setting->name, "refuse") == 0) {
        memcpy(memory->refuse, setting->value, strnlen(setting->value, sizeof(memory->refuse) - 1));
    } else if (strcmp(setting->name, "scope") == 0) {
        memory->is_shared = strcmp(setting->value, "shared") == 0;
    } else if (strcmp(setting->name, "file") == 0) {
        memcpy(memory->file, setting->value, strnlen(setting->value, sizeof(memory->file) - 1));
    }
}

static int32_t memory_create(const struct kv_host *host, const struct kv_setting *settings,
                             uint32_t settings_len, void **ret_self)
{
    for (uint32_t i = 0; i < settings_len; i++) {
        if (settings[i].value[0] == '-') {
            host->log(host->ctx, KV_LOG_ERROR, "a number of \"faults\" cannot be negative");
            return KV_E_INVALID;
        }
    }
    struct memory *memory = host->allocate(host->ctx, sizeof(*memory));
    if (memory == NULL) {
        return KV_E_NOMEM;
    }
    memset(memory, 0, sizeof(*memory));
    memory->host = host;
    memory->fd = -1;
    for (uint32_t i = 0; i < settings_len; i++) {
        memory_set(memory, &settings[i]);
    }
    *ret_self = memory;
    return KV_OK;
}

/* --- the content --- */

static struct memory_item *memory_find(const struct memory *memory, const void *key,
                                       uint32_t key_len)
{
    struct memory_item *item = memory->first;
    while (item != NULL && (item->record.key_len != key_len ||
                            (key_len > 0 && memcmp(item->record.key, key, key_len) != 0))) {
        item = item->next;
    }
    return item;
}

static void memory_forget(struct memory *memory, const struct kv_record *record)
{
    struct memory_item *item = memory_find(memory, record->key, record->key_len);
    struct memory_item **at = &memory->first;
    while (*at != item) {
        at = &(*at)->next;
    }
    if (item != NULL) {
        *at = item->next;
        memory->host->release(memory->host->ctx, item);
    }
}

static void memory_forget_all(struct memory *memory)
{
    while (memory->first != NULL) {
        struct memory_item *item = memory->first;
        memory->first = item->next;
        memory->host->release(memory->host->ctx, item);
    }
    memory->position.view = 0;
    memory->position.index = 0;
}

static int32_t memory_store(struct memory *memory, const struct kv_record *record)
{
    size_t size = sizeof(struct memory_item) + record->key_len + record->value_len;
    struct memory_item *item = memory->host->allocate(memory->host->ctx, size);
    if (item == NULL) {
        return KV_E_NOMEM;
    }
    memory_forget(memory, record);
    item->record = *record;
    char *bytes = (char *)(item + 1);
    if (record->key_len > 0) {
        memcpy(bytes, record->key, record->key_len);
    }
    if (record->value_len > 0) {
        memcpy(bytes + record->key_len, record->value, record->value_len);
    }
    item->record.key = bytes;
    item->record.value = record->kind == KV_RECORD_REMOVE ? NULL : bytes + record->key_len;
    item->next = memory->first;
    memory->first = item;
    return KV_OK;
}

/* --- the file --- */

static int32_t memory_fail(const struct memory *memory, const char *text)
{
    memory->host->log(memory->host->ctx, KV_LOG_ERROR, text);
    return KV_E_IO;
}

/* Appends the records that are not refused. */
static int32_t memory_append(struct memory *memory, const struct kv_record *records, uint32_t count,
                             struct kv_position position, const uint32_t *results)
{
    struct memory_frame frame = {.magic = MEMORY_MAGIC, .position = position};
    size_t size = sizeof(frame);
    for (uint32_t i = 0; i < count; i++) {
        size += sizeof(struct memory_entry) + records[i].key_len + records[i].value_len;
    }
    char *bytes = memory->host->allocate(memory->host->ctx, size);
    if (bytes == NULL) {
        return KV_E_NOMEM;
    }
    size_t len = sizeof(frame);
    for (uint32_t i = 0; i < count; i++) {
        const struct kv_record *record = &records[i];
        struct memory_entry entry = {record->key_len,  record->value_len, record->kind,   0,
                                     record->position, record->client,    record->request};
        if (results[i] == KV_RESULT_REFUSED) {
            continue;
        }
        memcpy(bytes + len, &entry, sizeof(entry));
        len += sizeof(entry);
        if (record->key_len > 0) {
            memcpy(bytes + len, record->key, record->key_len);
        }
        len += record->key_len;
        if (record->value_len > 0) {
            memcpy(bytes + len, record->value, record->value_len);
        }
        len += record->value_len;
        frame.records_len++;
    }
    frame.len = (uint32_t)(len - sizeof(frame));
    frame.crc = memory->host->crc32c(memory->host->ctx, 0, bytes + sizeof(frame), frame.len);
    memcpy(bytes, &frame, sizeof(frame));
    ssize_t written = write(memory->fd, bytes, len);
    memory->host->release(memory->host->ctx, bytes);
    if (written != (ssize_t)len) {
        return memory_fail(memory, "the file takes no more");
    }
    memory->at += written;
    return KV_OK;
}

/* Takes over one frame of the file. */
static int32_t memory_replay(struct memory *memory, const struct memory_frame *frame,
                             const char *bytes)
{
    int32_t status = KV_OK;
    size_t at = 0;
    for (uint32_t i = 0; status == KV_OK && i < frame->records_len; i++) {
        struct memory_entry entry;
        memcpy(&entry, bytes + at, sizeof(entry));
        at += sizeof(entry);
        const struct kv_record record = {
            bytes + at,     entry.kind == KV_RECORD_REMOVE ? NULL : bytes + at + entry.key_len,
            entry.key_len,  entry.value_len,
            entry.kind,     0,
            entry.position, entry.client,
            entry.request};
        status = memory_store(memory, &record);
        at += entry.key_len + entry.value_len;
    }
    memory->position = frame->position;
    memory->view = frame->position.view > memory->view ? frame->position.view : memory->view;
    return status;
}

/* Reads on from where it is known. */
static int32_t memory_read_file(struct memory *memory)
{
    off_t at = memory->at;
    int32_t status = KV_OK;
    while (status == KV_OK) {
        struct memory_frame frame;
        char *bytes = NULL;
        int is_whole = pread(memory->fd, &frame, sizeof(frame), at) == (ssize_t)sizeof(frame) &&
                       frame.magic == MEMORY_MAGIC;
        if (is_whole) {
            bytes = memory->host->allocate(memory->host->ctx, frame.len);
            is_whole = bytes != NULL &&
                       pread(memory->fd, bytes, frame.len, at + (off_t)sizeof(frame)) ==
                           (ssize_t)frame.len &&
                       memory->host->crc32c(memory->host->ctx, 0, bytes, frame.len) == frame.crc;
        }
        if (is_whole) {
            status = memory_replay(memory, &frame, bytes);
            at += (off_t)(sizeof(frame) + frame.len);
        }
        memory->host->release(memory->host->ctx, bytes);
        if (!is_whole) {
            break;
        }
    }
    if (status == KV_OK && ftruncate(memory->fd, at) != 0) {
        status = memory_fail(memory, "the end of the file cannot be cut off");
    }
    memory->at = at;
    return status;
}

/* What others have appended to a shared file, which is left locked. */
static int32_t memory_lock(struct memory *memory)
{
    if (!memory->is_shared) {
        return KV_OK;
    }
    if (flock(memory->fd, LOCK_EX) != 0) {
        return memory_fail(memory, "the file cannot be locked");
    }
    return memory_read_file(memory);
}

static void memory_unlock(const struct memory *memory)
{
    if (memory->is_shared) {
        flock(memory->fd, LOCK_UN);
    }
}

/* --- the operations --- */

static void memory_close(void *self)
{
    struct memory *memory = self;
    if (memory->fd >= 0) {
        close(memory->fd);
        memory->fd = -1;
    }
}

static int32_t memory_open(void *self, struct kv_position *ret_position)
{
    struct memory *memory = self;
    if (memory->file[0] != '\0') {
        memory->fd = open(memory->file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (memory->fd < 0) {
            return memory_fail(memory, "the file cannot be opened");
        }
        memory_forget_all(memory);
        memory->at = 0;
        int32_t status = memory->is_shared ? memory_lock(memory) : memory_read_file(memory);
        memory_unlock(memory);
        if (status != KV_OK) {
            memory_close(memory);
            return status;
        }
    }
    *ret_position = memory->position;
    return KV_OK;
}

static int32_t memory_load(void *self, kv_emit_fn emit, void *ctx)
{
    const struct memory *memory = self;
    for (const struct memory_item *item = memory->first; item != NULL; item = item->next) {
        int32_t status = emit(ctx, &item->record);
        if (status != KV_OK) {
            return status;
        }
    }
    return KV_OK;
}

static int32_t memory_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    const struct memory_item *item = memory_find(self, key, key_len);
    return item == NULL ? KV_E_NOT_FOUND : emit(ctx, &item->record);
}

static int32_t memory_reset(void *self)
{
    struct memory *memory = self;
    memory_forget_all(memory);
    memory->at = 0;
    if (memory->fd >= 0 && ftruncate(memory->fd, 0) != 0) {
        return memory_fail(memory, "the file cannot be emptied");
    }
    return KV_OK;
}

static int memory_is_due(const struct memory *memory, uint64_t every)
{
    return every != 0 && memory->calls % every == 0;
}

static void memory_pause(uint64_t ms)
{
    struct timespec pause = {(time_t)(ms / 1000u), (long)(ms % 1000u) * 1000000L};
    nanosleep(&pause, NULL);
}

/* Takes memory, touches it and never gives it back. */
static void memory_be_greedy(const struct memory *memory)
{
    size_t size = (size_t)memory->allocate_mb << 20;
    char *taken = malloc(size);
    if (taken == NULL) {
        abort(); /* as many a program does that runs out of memory */
    }
    for (size_t i = 0; i < size; i += 4096) {
        *(volatile char *)(taken + i) = 1;
    }
}

/* What is asked for before a batch is looked at. The code to return, KV_OK: none. */
static int32_t memory_be_faulty(const struct memory *memory)
{
    if (memory->delay_ms > 0) {
        memory_pause(memory->delay_ms);
    }
    if (memory_is_due(memory, memory->crash_every)) {
        abort();
    }
    if (memory_is_due(memory, memory->hang_every)) {
        memory_pause(memory->hang_ms);
    }
    if (memory_is_due(memory, memory->allocate_every)) {
        memory_be_greedy(memory);
    }
    if (memory_is_due(memory, memory->fail_every)) {
        return memory_fail(memory, "a failure that was asked for");
    }
    if (memory_is_due(memory, memory->lie_every)) {
        return 4711;
    }
    return memory_is_due(memory, memory->bad_code_every) ? 7 : KV_OK;
}

/* A removal is never refused: it is how the node takes back what was. */
static int memory_refuses(const struct memory *memory, const struct kv_record *record)
{
    size_t len = strlen(memory->refuse);
    return len > 0 && record->kind == KV_RECORD_INSERT && record->key_len >= len &&
           memcmp(record->key, memory->refuse, len) == 0;
}

/* Marks the records that are refused, and says why. */
static void memory_refuse(const struct memory *memory, const struct kv_record *records,
                          uint32_t count, uint32_t *results)
{
    for (uint32_t i = 0; i < count; i++) {
        if (memory_refuses(memory, &records[i])) {
            results[i] = KV_RESULT_REFUSED;
            memory->host->reason(memory->host->ctx, i, "keys like this one are not taken here");
        }
    }
}

/* Appends the batch to the file, if this node may write it. */
static int32_t memory_write_file(struct memory *memory, const struct kv_record *records,
                                 uint32_t count, struct kv_position position,
                                 const uint32_t *results)
{
    int32_t status = memory_lock(memory);
    if (status == KV_OK && memory->is_shared && position.view < memory->view) {
        memory->host->log(memory->host->ctx, KV_LOG_ERROR,
                          "the primary of a later view has written this file");
        status = KV_E_REJECTED;
    }
    if (status == KV_OK) {
        status = memory_append(memory, records, count, position, results);
    }
    memory_unlock(memory);
    return status;
}

static int32_t memory_apply(void *self, const struct kv_record *records, uint32_t count,
                            struct kv_position position, uint32_t *results)
{
    struct memory *memory = self;
    memory->calls++;
    int32_t status = memory_be_faulty(memory);
    if (status != KV_OK) {
        return status;
    }
    if (count > 0 && memory_is_due(memory, memory->retry_every)) {
        results[count - 1] = KV_RESULT_RETRY;
        return KV_OK;
    }
    memory_refuse(memory, records, count, results);
    if (memory->fd >= 0) {
        status = memory_write_file(memory, records, count, position, results);
    }
    for (uint32_t i = 0; status == KV_OK && i < count; i++) {
        status = results[i] == KV_RESULT_REFUSED ? KV_OK : memory_store(memory, &records[i]);
    }
    if (status != KV_OK) {
        return status;
    }
    memory->position = position;
    if (count > 0 && memory_is_due(memory, memory->unknown_every)) {
        results[count - 1] = KV_RESULT_UNKNOWN;
    }
    return KV_OK;
}

static void memory_destroy(void *self)
{
    struct memory *memory = self;
    memory_forget_all(memory);
    memory->host->release(memory->host->ctx, memory);
}

static const struct kv_option memory_options[] = {
    {"fail_every", "0", "Every Nth apply() fails with KV_E_IO.", KV_OPTION_INT, 0},
    {"retry_every", "0", "Every Nth apply() gives its last record RETRY.", KV_OPTION_INT, 0},
    {"unknown_every", "0", "Every Nth apply() gives its last record UNKNOWN.", KV_OPTION_INT, 0},
    {"lie_every", "0", "Every Nth apply() returns a number that is no code.", KV_OPTION_INT, 0},
    {"bad_code_every", "0", "Every Nth apply() returns 7.", KV_OPTION_INT, 0},
    {"crash_every", "0", "Every Nth apply() ends the process with abort().", KV_OPTION_INT, 0},
    {"hang_every", "0", "Every Nth apply() takes hang_ms.", KV_OPTION_INT, 0},
    {"hang_ms", "3600000", "Milliseconds, see hang_every.", KV_OPTION_INT, 0},
    {"allocate_every", "0", "Every Nth apply() takes allocate_mb for good.", KV_OPTION_INT, 0},
    {"allocate_mb", "64", "MiB of memory, see allocate_every.", KV_OPTION_INT, 0},
    {"delay_ms", "0", "Milliseconds that each apply() takes.", KV_OPTION_INT, 0},
    {"refuse", "", "Insertions of keys that start with this are refused for good.",
     KV_OPTION_STRING, 0},
    {"file", "", "File that holds the content too.", KV_OPTION_STRING, 0},
    {"scope", "own", "\"shared\": several nodes have the file.", KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops memory_ops = {
    .create = memory_create,
    .open = memory_open,
    .load = memory_load,
    .apply = memory_apply,
    .close = memory_close,
    .destroy = memory_destroy,
    .reset = memory_reset,
    .get = memory_get,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(memory_options) / sizeof(memory_options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_RESET | KV_PERSIST_GET | KV_PERSIST_SHARED,
    .name = "persist-memory",
    .version = "1",
    .summary = "A store in memory, with faults on demand, for tests.",
    .options = memory_options,
    .ops = &memory_ops,
};

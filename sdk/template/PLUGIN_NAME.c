/*
 * A persistence plugin of kvnode: one file that only grows. Replace the file by your database.
 *
 * apply() appends one block for each batch: a head with the position and a checksum, then the
 * records. A block that a crash cut off does not match its checksum and is dropped at open(), so a
 * batch and its position are there together or not at all. The contract: <kvnode/persist.h>.
 */
#include <kvnode/persist.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Step 1: what stands in the store. */
struct block_head {
    uint32_t magic;
    uint32_t crc; /* CRC-32C of all that follows it, head and records */
    uint64_t len; /* bytes of the records */
    struct kv_position position;
};
struct record_head {
    uint32_t key_len;
    uint32_t value_len;
    uint32_t kind;
    uint32_t reserved;
    struct kv_position position;
};
#define BLOCK_MAGIC 0x4b4c4231u
#define BLOCK_CRC   offsetof(struct block_head, len) /* where the checked bytes begin */

/* Step 2: one instance. No globals: several instances live in one process. */
struct store {
    const struct kv_host *host;
    char *path;
    int fd;       /* -1: closed */
    uint64_t end; /* of the last whole block */
};

static int32_t fail(struct store *store, int32_t status, const char *what)
{
    char text[256];
    snprintf(text, sizeof(text), "%s %.150s: %s", what, store->path, strerror(errno));
    store->host->log(store->host->ctx, KV_LOG_ERROR, text); /* the reason, before the code */
    return status;
}

/* Settings are borrowed: copy what is kept. Nothing is opened yet. */
static int32_t create(const struct kv_host *host, const struct kv_setting *settings,
                      uint32_t settings_len, void **ret_self)
{
    size_t size = strlen(settings[0].value) + 1; /* the one option, `path` */
    struct store *store = host->allocate(host->ctx, sizeof(*store) + size);
    (void)settings_len;
    if (store == NULL) {
        return KV_E_NOMEM;
    }
    store->host = host;
    store->fd = -1;
    store->end = 0;
    store->path = memcpy(store + 1, settings[0].value, size);
    *ret_self = store;
    return KV_OK;
}

/* Reads the block at `at`. KV_OK; KV_E_NOT_FOUND: there is no whole one; *ret_records: release it.
 */
static int32_t read_block(struct store *store, uint64_t at, struct block_head *ret_head,
                          char **ret_records)
{
    const struct kv_host *host = store->host;
    off_t file_end = lseek(store->fd, 0, SEEK_END);
    ssize_t got = pread(store->fd, ret_head, sizeof(*ret_head), (off_t)at);
    if (got < 0 || file_end < 0) {
        return fail(store, KV_E_IO, "cannot read");
    }
    if (got != sizeof(*ret_head) || ret_head->magic != BLOCK_MAGIC ||
        ret_head->len > (uint64_t)file_end - at - sizeof(*ret_head)) {
        return KV_E_NOT_FOUND;
    }
    char *records = host->allocate(host->ctx, ret_head->len);
    if (records == NULL) {
        return KV_E_NOMEM;
    }
    for (uint64_t done = 0; done < ret_head->len; done += (uint64_t)got) {
        got = pread(store->fd, records + done, ret_head->len - done,
                    (off_t)(at + sizeof(*ret_head) + done));
        if (got <= 0) {
            host->release(host->ctx, records);
            return fail(store, KV_E_IO, "cannot read");
        }
    }
    uint32_t crc =
        host->crc32c(host->ctx, 0, (char *)ret_head + BLOCK_CRC, sizeof(*ret_head) - BLOCK_CRC);
    if (host->crc32c(host->ctx, crc, records, ret_head->len) != ret_head->crc) {
        host->release(host->ctx, records);
        return KV_E_NOT_FOUND;
    }
    *ret_records = records;
    return KV_OK;
}

/* Step 3: open or create the store, recover it, say which position it has reached. */
static int32_t store_open(void *self, struct kv_position *ret_position)
{
    struct store *store = self;
    struct kv_position position = {0, 0};
    struct block_head head;
    char *records = NULL;
    int32_t status;
    store->end = 0;
    store->fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->fd < 0) {
        return fail(store, KV_E_IO, "cannot open");
    }
    while ((status = read_block(store, store->end, &head, &records)) == KV_OK) {
        store->host->release(store->host->ctx, records);
        position = head.position;
        store->end += sizeof(head) + head.len;
    }
    if (status == KV_E_NOT_FOUND) { /* the end, or a block that a crash cut off */
        status = ftruncate(store->fd, (off_t)store->end) == 0 && fdatasync(store->fd) == 0
                     ? KV_OK
                     : fail(store, KV_E_IO, "cannot recover");
    }
    if (status != KV_OK) {
        close(store->fd);
        store->fd = -1;
        return status;
    }
    *ret_position = position;
    return KV_OK;
}

/* Step 4: give the content back, the last record of a key last. Stop when emit says so. */
static int32_t load(void *self, kv_emit_fn emit, void *ctx)
{
    struct store *store = self;
    struct block_head head;
    char *records = NULL;
    int32_t status = KV_OK;
    for (uint64_t at = 0; at < store->end && status == KV_OK; at += sizeof(head) + head.len) {
        status = read_block(store, at, &head, &records);
        if (status != KV_OK) {
            return status == KV_E_NOT_FOUND ? fail(store, KV_E_CORRUPT, "damage in") : status;
        }
        for (char *from = records; from < records + head.len && status == KV_OK;) {
            struct record_head of;
            memcpy(&of, from, sizeof(of));
            from += sizeof(of);
            struct kv_record record = {0};
            record.key = from;
            record.key_len = of.key_len;
            record.value = of.kind == KV_RECORD_REMOVE ? NULL : from + of.key_len;
            record.value_len = of.value_len;
            record.kind = of.kind;
            record.position = of.position;
            from += of.key_len + of.value_len;
            status = emit(ctx, &record);
        }
        store->host->release(store->host->ctx, records);
    }
    return status;
}

static char *append(char *to, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(to, bytes, len);
    }
    return to + len;
}

/* Step 5: store a batch and its position, together. Borrowed memory: nothing of it is kept. */
static int32_t apply(void *self, const struct kv_record *records, uint32_t count,
                     struct kv_position position, uint32_t *results)
{
    struct store *store = self;
    const struct kv_host *host = store->host;
    struct block_head head = {BLOCK_MAGIC, 0, 0, position};
    (void)results; /* all are stored; one that never can be: results[i] = KV_RESULT_REFUSED */
    for (uint32_t i = 0; i < count; i++) {
        head.len += sizeof(struct record_head) + records[i].key_len + records[i].value_len;
    }
    char *block = host->allocate(host->ctx, sizeof(head) + head.len);
    if (block == NULL) {
        return KV_E_NOMEM;
    }
    char *to = block + sizeof(head);
    for (uint32_t i = 0; i < count; i++) {
        struct record_head of = {records[i].key_len, records[i].value_len, records[i].kind, 0,
                                 records[i].position};
        to = append(to, &of, sizeof(of));
        to = append(to, records[i].key, records[i].key_len);
        to = append(to, records[i].value, records[i].value_len);
    }
    memcpy(block, &head, sizeof(head));
    head.crc = host->crc32c(host->ctx, 0, block + BLOCK_CRC, sizeof(head) - BLOCK_CRC + head.len);
    memcpy(block, &head, sizeof(head));
    int32_t status = KV_OK;
    ssize_t put = 0;
    for (uint64_t done = 0; done < sizeof(head) + head.len && put >= 0; done += (uint64_t)put) {
        put = pwrite(store->fd, block + done, sizeof(head) + head.len - done,
                     (off_t)(store->end + done));
    }
    host->release(host->ctx, block);
    if (put < 0 || fdatasync(store->fd) != 0) {
        status = fail(store, KV_E_IO, "cannot write"); /* the node repeats the batch */
    } else {
        store->end += sizeof(head) + head.len;
    }
    return status;
}

/* Step 6: the end, twofold. After close() open() may come again; after destroy() nothing. */
static void store_close(void *self)
{
    struct store *store = self;
    close(store->fd);
    store->fd = -1;
}

static void destroy(void *self)
{
    struct store *store = self;
    store->host->release(store->host->ctx, store);
}

/* Step 7: what the host reads. */
static const struct kv_option options[] = {
    {"path", NULL, "The file of the store; its folder must exist.", KV_OPTION_STRING, 0},
};

static const struct kv_persist_ops ops = {
    .create = create,
    .open = store_open,
    .load = load,
    .apply = apply,
    .close = store_close,
    .destroy = destroy,
};

KV_PLUGIN_EXPORT const struct kv_plugin kv_plugin = {
    .magic = KV_ABI_MAGIC,
    .abi_major = KV_ABI_MAJOR,
    .abi_minor = KV_ABI_MINOR,
    .plugin_size = sizeof(struct kv_plugin),
    .ops_size = sizeof(struct kv_persist_ops),
    .kind = KV_KIND_PERSIST,
    .options_len = sizeof(options) / sizeof(options[0]),
    .capabilities = KV_PERSIST_LOAD | KV_PERSIST_ATOMIC | KV_PERSIST_DURABLE,
    .name = "PLUGIN_NAME",
    .version = "0.1.0",
    .summary = "Keeps the updates in one file that only grows.",
    .options = options,
    .ops = &ops,
};

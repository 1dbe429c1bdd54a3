/*
 * Happy path: read the new segments once and note for every key which of its records is the latest;
 * write the temporary base: of the old base the records whose key is not among those, of the
 * segments the latest ones that are insertions; sync it; rename it; sync the folder; remove the old
 * base and the segments below it. The new base's number is that of the first segment after it:
 * recovery takes the highest base and ignores what is numbered below, so the crash of any step
 * leaves a readable store.
 *
 * A failure, say a full disk, leaves only the temporary file, which is removed; the log is as it
 * was. It is tried again later, each time later. The map takes memory in proportion to the keys
 * that were updated since the last base, and only while compacting.
 */
#include "compact.h"

#include "folder.h"
#include "format.h"
#include "keymap.h"
#include "reader.h"
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BLOCK_LEN      ((size_t)1 << 20) /* records are gathered to blocks of at least this */
#define SYNC_LEN       ((uint64_t)4 << 20)
#define RETRY_MS_FIRST 5000u
#define RETRY_MS_MAX   600000u

/* One run. */
struct merge {
    struct store *store;
    struct keymap map;
    uint64_t old_base;
    uint64_t target;
    uint64_t ordinal;            /* of the last record seen */
    struct kv_position seen;     /* of the last batch read */
    struct kv_position position; /* that the segments reach: the new base's */
    /* The new base. */
    int fd;
    uint32_t salt;
    uint64_t end;
    uint64_t synced_end;
    uint64_t blocks;
    uint64_t kept;
    uint8_t *block; /* room for the header, then the records */
    size_t block_len;
    size_t block_len_max;
    uint32_t block_count;
};

typedef int32_t (*merge_fn)(struct merge *merge, const struct kv_record *record);

static bool merge_is_stopped(struct merge *merge)
{
    struct compact *compact = &merge->store->compact;
    pthread_mutex_lock(&compact->lock);
    bool stop = compact->stop;
    pthread_mutex_unlock(&compact->lock);
    return stop;
}

static int32_t merge_note(struct merge *merge, const struct kv_record *record)
{
    merge->ordinal++;
    return keymap_put(&merge->map, record->key, record->key_len, merge->ordinal);
}

/* Writes the gathered records, or a seal, as the next block of the base. */
static int32_t merge_flush(struct merge *merge, uint32_t kind)
{
    struct store *store = merge->store;
    const struct kv_host *host = store->host;
    size_t len = FORMAT_BATCH_HEADER_LEN + merge->block_len;
    struct format_batch batch = {.kind = kind,
                                 .count = merge->block_count,
                                 .sequence = merge->blocks,
                                 .payload_len = merge->block_len,
                                 .position = merge->position};
    batch.payload_crc =
        host->crc32c(host->ctx, 0, merge->block + FORMAT_BATCH_HEADER_LEN, merge->block_len);
    format_batch_encode(host, &batch, merge->salt, merge->block);
    if (segment_write(merge->fd, merge->block, len, merge->end) != 0) {
        return store_fail(store, "write", FOLDER_BASE_TEMP);
    }
    merge->end += len;
    merge->blocks++;
    merge->block_len = 0;
    merge->block_count = 0;
    /* In small pieces: the writers' fdatasync() must not queue behind one long flush. */
    if (merge->end - merge->synced_end >= SYNC_LEN) {
        if (fdatasync(merge->fd) != 0) {
            return store_fail(store, "sync", FOLDER_BASE_TEMP);
        }
        merge->synced_end = merge->end;
    }
    return KV_OK;
}

/* Adds a record to the new base. */
static int32_t merge_keep(struct merge *merge, const struct kv_record *record)
{
    const struct kv_host *host = merge->store->host;
    uint64_t size = format_record_size(record);
    size_t need = FORMAT_BATCH_HEADER_LEN + merge->block_len + (size_t)size;
    if (need > merge->block_len_max) {
        size_t len_max = need + BLOCK_LEN;
        uint8_t *block = host->resize(host->ctx, merge->block, len_max);
        if (block == NULL) {
            return KV_E_NOMEM;
        }
        merge->block = block;
        merge->block_len_max = len_max;
    }
    (void)format_record_encode(record, merge->block + FORMAT_BATCH_HEADER_LEN + merge->block_len);
    merge->block_len += (size_t)size;
    merge->block_count++;
    merge->kept++;
    return merge->block_len >= BLOCK_LEN ? merge_flush(merge, FORMAT_BATCH_RECORDS) : KV_OK;
}

static int32_t merge_keep_old(struct merge *merge, const struct kv_record *record)
{
    if (keymap_get(&merge->map, record->key, record->key_len) != 0) {
        return KV_OK;
    }
    return merge_keep(merge, record);
}

static int32_t merge_keep_latest(struct merge *merge, const struct kv_record *record)
{
    merge->ordinal++;
    if (record->kind != KV_RECORD_INSERT ||
        keymap_get(&merge->map, record->key, record->key_len) != merge->ordinal) {
        return KV_OK;
    }
    return merge_keep(merge, record);
}

/* Calls fn with each record of a file; *ret_sequence: the sequence number after its last batch. */
static int32_t merge_read(struct merge *merge, uint32_t kind, uint64_t number, merge_fn fn,
                          uint64_t *ret_sequence)
{
    struct reader reader;
    struct reader_batch batch;
    struct kv_record record;
    int32_t status = reader_open(&reader, merge->store, kind, number);
    if (status == KV_E_NOT_FOUND) {
        status = reader_corrupt(&reader, 0, "the file is missing");
    }
    while (status == KV_OK) {
        status = merge_is_stopped(merge) ? KV_E_CLOSED : reader_next(&reader, &batch);
        if (status != KV_OK) {
            break;
        }
        if (batch.end != NULL) {
            status = reader_corrupt(&reader, batch.offset, batch.end);
            break;
        }
        merge->seen = batch.head.position;
        *ret_sequence = batch.head.sequence;
        if (batch.head.kind == FORMAT_BATCH_SEAL) {
            break;
        }
        while (status == KV_OK && batch.records.left > 0) {
            (void)format_record_decode(&batch.records, &record);
            status = fn(merge, &record);
        }
    }
    reader_close(&reader);
    return status;
}

static int32_t merge_read_segments(struct merge *merge, merge_fn fn, uint64_t *ret_sequence)
{
    int32_t status = KV_OK;
    merge->ordinal = 0;
    for (uint64_t i = merge->old_base > 0 ? merge->old_base : 1;
         status == KV_OK && i < merge->target; i++) {
        status = merge_read(merge, FORMAT_FILE_SEGMENT, i, fn, ret_sequence);
    }
    return status;
}

/* Creates the temporary base with its header. */
static int32_t merge_create(struct merge *merge, uint64_t first_sequence)
{
    struct store *store = merge->store;
    struct format_file file = {FORMAT_FILE_BASE, merge->target, store->store_id, first_sequence};
    uint8_t header[FORMAT_FILE_HEADER_LEN];
    merge->salt = format_file_encode(store->host, &file, header);
    merge->end = sizeof(header);
    merge->block_len_max = FORMAT_BATCH_HEADER_LEN + BLOCK_LEN;
    merge->block = store->host->allocate(store->host->ctx, merge->block_len_max);
    if (merge->block == NULL) {
        return KV_E_NOMEM;
    }
    merge->fd =
        openat(store->folder_fd, FOLDER_BASE_TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (merge->fd < 0) {
        return store_fail(store, "create", FOLDER_BASE_TEMP);
    }
    if (segment_write(merge->fd, header, sizeof(header), 0) != 0) {
        return store_fail(store, "write", FOLDER_BASE_TEMP);
    }
    return KV_OK;
}

/* The last block, the seal, and the final name, all durable. */
static int32_t merge_finish(struct merge *merge)
{
    struct store *store = merge->store;
    int32_t status = KV_OK;
    if (merge->block_count > 0) {
        status = merge_flush(merge, FORMAT_BATCH_RECORDS);
    }
    if (status == KV_OK) {
        status = merge_flush(merge, FORMAT_BATCH_SEAL);
    }
    if (status != KV_OK) {
        return status;
    }
    if (fsync(merge->fd) != 0) {
        return store_fail(store, "sync", FOLDER_BASE_TEMP);
    }
    char name[FOLDER_NAME_LEN_MAX];
    folder_name(FORMAT_FILE_BASE, merge->target, name);
    if (renameat(store->folder_fd, FOLDER_BASE_TEMP, store->folder_fd, name) != 0) {
        return store_fail(store, "rename to", name);
    }
    return folder_sync(store);
}

/* Merges what is below target; *ret_bytes: length of the new base. */
static int32_t merge_run(struct store *store, uint64_t old_base, uint64_t target,
                         uint64_t *ret_bytes)
{
    struct merge merge = {.store = store, .old_base = old_base, .target = target, .fd = -1};
    uint64_t first_sequence = 0;
    uint64_t unused;
    int32_t status = keymap_init(&merge.map, store->host);
    if (status == KV_OK) {
        status = merge_read_segments(&merge, merge_note, &first_sequence);
    }
    merge.position = merge.seen;
    if (status == KV_OK) {
        status = merge_create(&merge, first_sequence);
    }
    if (status == KV_OK && old_base > 0) {
        status = merge_read(&merge, FORMAT_FILE_BASE, old_base, merge_keep_old, &unused);
    }
    if (status == KV_OK) {
        status = merge_read_segments(&merge, merge_keep_latest, &unused);
    }
    if (status == KV_OK) {
        status = merge_finish(&merge);
    }
    if (status == KV_OK) {
        *ret_bytes = merge.end;
        store_log(store, KV_LOG_DEBUG,
                  "compacted: base %" PRIu64 " has %" PRIu64 " records, %" PRIu64 " bytes", target,
                  merge.kept, merge.end);
    } else {
        (void)unlinkat(store->folder_fd, FOLDER_BASE_TEMP, 0);
    }
    if (merge.fd >= 0) {
        (void)close(merge.fd);
    }
    store->host->release(store->host->ctx, merge.block);
    keymap_close(&merge.map);
    return status;
}

/* Takes the result over; the lock is held. */
static void compact_on_result(struct store *store, int32_t status, uint64_t bytes)
{
    struct compact *compact = &store->compact;
    if (status == KV_OK) {
        compact->base = compact->target;
        compact->base_bytes = bytes;
        compact->log_bytes -= compact->target_bytes;
        compact->retry_ms = RETRY_MS_FIRST;
        compact->done++;
    } else if (!compact->stop) {
        store_log(store, KV_LOG_ERROR,
                  "compaction failed (status %" PRId32 "); nothing is lost, tried again in %" PRIu64
                  " s",
                  status, compact->retry_ms / 1000);
        compact->retry_at_ms = store->host->now_ms(store->host->ctx) + compact->retry_ms;
        compact->retry_ms =
            compact->retry_ms * 2 < RETRY_MS_MAX ? compact->retry_ms * 2 : RETRY_MS_MAX;
        compact->failed++;
    }
    compact->target = 0;
}

static void *compact_main(void *argument)
{
    struct store *store = argument;
    struct compact *compact = &store->compact;
    pthread_mutex_lock(&compact->lock);
    while (!compact->stop) {
        if (compact->target == 0) {
            pthread_cond_wait(&compact->wake, &compact->lock);
            continue;
        }
        uint64_t old_base = compact->base;
        uint64_t target = compact->target;
        uint64_t bytes = 0;
        pthread_mutex_unlock(&compact->lock);
        int32_t status = merge_run(store, old_base, target, &bytes);
        if (status == KV_OK) {
            folder_clean(store, target);
        }
        pthread_mutex_lock(&compact->lock);
        compact_on_result(store, status, bytes);
    }
    pthread_mutex_unlock(&compact->lock);
    return NULL;
}

int32_t compact_start(struct store *store, uint64_t base, uint64_t base_bytes, uint64_t log_bytes)
{
    struct compact *compact = &store->compact;
    sigset_t all;
    sigset_t before;
    *compact = (struct compact){
        .base = base, .base_bytes = base_bytes, .log_bytes = log_bytes, .retry_ms = RETRY_MS_FIRST};
    (void)pthread_mutex_init(&compact->lock, NULL);
    (void)pthread_cond_init(&compact->wake, NULL);
    /* The host's signals are for the host's threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&compact->thread, NULL, compact_main, store);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        store_log(store, KV_LOG_ERROR, "cannot start the compaction thread (error %d)", error);
        (void)pthread_mutex_destroy(&compact->lock);
        (void)pthread_cond_destroy(&compact->wake);
        return KV_E_NOMEM;
    }
    compact->started = true;
    return KV_OK;
}

void compact_stop(struct store *store)
{
    struct compact *compact = &store->compact;
    if (!compact->started) {
        return;
    }
    pthread_mutex_lock(&compact->lock);
    compact->stop = true;
    pthread_cond_signal(&compact->wake);
    pthread_mutex_unlock(&compact->lock);
    (void)pthread_join(compact->thread, NULL);
    (void)pthread_mutex_destroy(&compact->lock);
    (void)pthread_cond_destroy(&compact->wake);
    compact->started = false;
}

void compact_on_append(struct compact *compact, uint64_t len)
{
    pthread_mutex_lock(&compact->lock);
    compact->log_bytes += len;
    pthread_mutex_unlock(&compact->lock);
}

bool compact_due(struct store *store)
{
    struct compact *compact = &store->compact;
    uint64_t now_ms = store->host->now_ms(store->host->ctx);
    pthread_mutex_lock(&compact->lock);
    uint64_t least = compact->base_bytes > store->compact_min_bytes ? compact->base_bytes
                                                                    : store->compact_min_bytes;
    bool due =
        compact->target == 0 && compact->log_bytes >= least && now_ms >= compact->retry_at_ms;
    pthread_mutex_unlock(&compact->lock);
    return due;
}

void compact_begin(struct compact *compact, uint64_t target)
{
    pthread_mutex_lock(&compact->lock);
    compact->target = target;
    compact->target_bytes = compact->log_bytes;
    pthread_cond_signal(&compact->wake);
    pthread_mutex_unlock(&compact->lock);
}

/*
 * Happy path: the batch is put together in one buffer, written with one pwrite() over zeros that
 * were written ahead in large steps, and made durable with one fdatasync().
 *
 * Failures. A failed or short write: the file is cut back to the last good end, so that the same
 * apply() may simply be repeated. A failed fdatasync(), or a failed cut: what the disk holds is not
 * known, and a second fdatasync() would report success for pages that the kernel gave up on; so
 * store.failed is set and only close() and open() help, which read and rewrite what is there.
 *
 * Roll-over from segment N: N+1 is made durable under its name first, then N gets its seal. So a
 * sealed segment always has a successor, and a crash between the two leaves an empty N+1, which
 * recovery removes. Nothing is written to N+1 before N's seal is durable.
 */
#include "segment.h"

#include "folder.h"
#include "format.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BUFFER_KEEP_LEN_MAX ((size_t)8 << 20) /* a larger one is freed after use */
#define ROLL_RETRY_BYTES    ((uint64_t)1 << 20)
#define ZEROS_LEN           ((size_t)1 << 16)

int segment_write(int fd, const uint8_t *bytes, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t put = pwrite(fd, bytes, len, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            errno = put < 0 ? errno : EIO;
            return -1;
        }
        bytes += put;
        len -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

int32_t segment_create(const struct store *store, uint64_t number, struct segment *ret_segment)
{
    struct format_file file = {FORMAT_FILE_SEGMENT, number, store->store_id, store->next_sequence};
    struct segment segment = {
        .number = number, .end = FORMAT_FILE_HEADER_LEN, .reserved_end = FORMAT_FILE_HEADER_LEN};
    char name[FOLDER_NAME_LEN_MAX];
    uint8_t header[FORMAT_FILE_HEADER_LEN];
    int folder = store->folder_fd;
    int32_t status = KV_OK;
    folder_name(FORMAT_FILE_SEGMENT, number, name);
    segment.salt = format_file_encode(store->host, &file, header);
    segment.fd = openat(folder, FOLDER_SEGMENT_TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (segment.fd < 0) {
        return store_fail(store, "create", name);
    }
    if (segment_write(segment.fd, header, sizeof(header), 0) != 0) {
        status = store_fail(store, "write", name);
    } else if (fsync(segment.fd) != 0) {
        status = store_fail(store, "sync", name);
    } else if (renameat(folder, FOLDER_SEGMENT_TEMP, folder, name) != 0) {
        status = store_fail(store, "rename to", name);
    } else {
        status = folder_sync(store);
    }
    if (status != KV_OK) {
        (void)close(segment.fd);
        (void)unlinkat(folder, FOLDER_SEGMENT_TEMP, 0);
        return status;
    }
    *ret_segment = segment;
    return KV_OK;
}

/* Ends segment->end with a seal, durably; the file is then exactly that long. */
static int32_t segment_seal(const struct store *store, const struct segment *segment)
{
    struct format_batch seal = {
        .kind = FORMAT_BATCH_SEAL, .sequence = store->next_sequence, .position = store->position};
    uint8_t bytes[FORMAT_BATCH_HEADER_LEN];
    format_batch_encode(store->host, &seal, segment->salt, bytes);
    if ((segment->reserved_end > segment->end &&
         ftruncate(segment->fd, (off_t)segment->end) != 0) ||
        segment_write(segment->fd, bytes, sizeof(bytes), segment->end) != 0 ||
        fdatasync(segment->fd) != 0) {
        char name[FOLDER_NAME_LEN_MAX];
        folder_name(FORMAT_FILE_SEGMENT, segment->number, name);
        return store_fail(store, "seal", name);
    }
    return KV_OK;
}

/* Goes over to a new segment. KV_OK also when that failed without harm: then the active one simply
 * grows on and the roll-over is tried again later. */
static int32_t segment_roll(struct store *store)
{
    struct segment next = {.fd = -1};
    struct folder_listing listing;
    int32_t status = segment_create(store, store->active.number + 1, &next);
    if (status != KV_OK) {
        if (folder_list(store, &listing) == KV_OK && listing.segment == store->active.number) {
            store->roll_retry_bytes = store->active.end + ROLL_RETRY_BYTES;
            return KV_OK;
        }
        store->failed = true; /* the new name may be there, perhaps not durably */
        return status;
    }
    status = segment_seal(store, &store->active);
    if (status != KV_OK) {
        (void)close(next.fd);
        store->failed = true;
        return status;
    }
    (void)close(store->active.fd);
    store->active = next;
    store->roll_retry_bytes = 0;
    compact_on_append(&store->compact, FORMAT_BATCH_HEADER_LEN);
    return KV_OK;
}

/* Rolls over when the active segment is full or a compaction wants it sealed. */
static int32_t segment_roll_due(struct store *store, uint64_t len)
{
    struct segment *active = &store->active;
    if (active->end == FORMAT_FILE_HEADER_LEN || active->end < store->roll_retry_bytes) {
        return KV_OK;
    }
    bool compact = compact_due(store);
    if (!compact && active->end + len <= store->segment_bytes) {
        return KV_OK;
    }
    uint64_t number = active->number;
    int32_t status = segment_roll(store);
    if (status == KV_OK && compact && active->number > number) {
        compact_begin(&store->compact, active->number);
    }
    return status;
}

/* Makes room in the buffer. */
static int32_t segment_buffer(struct store *store, size_t len)
{
    const struct kv_host *host = store->host;
    if (len <= store->buffer_len_max) {
        return KV_OK;
    }
    size_t len_max = len < SIZE_MAX / 2 ? len + len / 2 : len;
    uint8_t *buffer = host->resize(host->ctx, store->buffer, len_max);
    if (buffer == NULL) {
        store_log(store, KV_LOG_ERROR, "out of memory for a batch of %zu bytes", len);
        return KV_E_NOMEM;
    }
    store->buffer = buffer;
    store->buffer_len_max = len_max;
    return KV_OK;
}

/* Writes zeros ahead of the log, behind the batch of len bytes at its end: later batches then
 * overwrite blocks that the file has already, and their fdatasync() need not wait for the file
 * system's journal. Tried in vain it does no harm; the batches' own writes tell when there is no
 * room, and come first. */
static void segment_reserve(struct store *store, uint64_t len)
{
    static const uint8_t zeros[ZEROS_LEN];
    struct segment *active = &store->active;
    uint64_t at = active->end + len;
    /* A batch as long as what would be reserved gains nothing by it. */
    if (at <= active->reserved_end || len >= store->preallocate_bytes) {
        return;
    }
    uint64_t end = at + store->preallocate_bytes;
    end = end < store->segment_bytes ? end : store->segment_bytes;
    for (bool fine = true; fine && at < end; at += ZEROS_LEN) {
        size_t part = end - at < ZEROS_LEN ? (size_t)(end - at) : ZEROS_LEN;
        fine = segment_write(active->fd, zeros, part, at) == 0;
    }
    if (end > active->reserved_end) {
        active->reserved_end = end;
    }
}

/* Writes the batch that is in the buffer; see the head of this file for the failures. */
static int32_t segment_commit(struct store *store, size_t len)
{
    struct segment *active = &store->active;
    char name[FOLDER_NAME_LEN_MAX];
    folder_name(FORMAT_FILE_SEGMENT, active->number, name);
    if (segment_write(active->fd, store->buffer, len, active->end) != 0) {
        int32_t status = store_fail(store, "write", name);
        active->reserved_end = active->end;
        if (ftruncate(active->fd, (off_t)active->end) != 0) {
            store->failed = true;
            return store_fail(store, "cut off what was written of", name);
        }
        return status;
    }
    segment_reserve(store, len);
    if (store->sync_always && fdatasync(active->fd) != 0) {
        store->failed = true;
        return store_fail(store, "sync", name);
    }
    active->end += len;
    if (active->reserved_end < active->end) {
        active->reserved_end = active->end;
    }
    return KV_OK;
}

int32_t segment_append(struct store *store, const struct kv_record *records, uint32_t count,
                       const uint32_t *results, struct kv_position position)
{
    const struct kv_host *host = store->host;
    struct format_batch batch = {.kind = FORMAT_BATCH_RECORDS, .position = position};
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_STORED) {
            batch.payload_len += format_record_size(&records[i]);
            batch.count++;
        }
    }
    size_t len = FORMAT_BATCH_HEADER_LEN + (size_t)batch.payload_len;
    int32_t status = segment_buffer(store, len);
    if (status == KV_OK) {
        status = segment_roll_due(store, len);
    }
    if (status != KV_OK) {
        return status;
    }
    uint8_t *at = store->buffer + FORMAT_BATCH_HEADER_LEN;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_STORED) {
            at = format_record_encode(&records[i], at);
        }
    }
    batch.sequence = store->next_sequence;
    batch.payload_crc = host->crc32c(host->ctx, 0, store->buffer + FORMAT_BATCH_HEADER_LEN,
                                     (size_t)batch.payload_len);
    format_batch_encode(host, &batch, store->active.salt, store->buffer);
    status = segment_commit(store, len);
    if (status == KV_OK) {
        store->next_sequence++;
        store->position = position;
        compact_on_append(&store->compact, len);
    }
    if (store->buffer_len_max > BUFFER_KEEP_LEN_MAX) {
        host->release(host->ctx, store->buffer);
        store->buffer = NULL;
        store->buffer_len_max = 0;
    }
    return status;
}

void segment_close(struct store *store)
{
    struct segment *active = &store->active;
    char name[FOLDER_NAME_LEN_MAX];
    if (active->fd < 0) {
        return;
    }
    folder_name(FORMAT_FILE_SEGMENT, active->number, name);
    /* After a failure the file is left as it is: the next open() examines it. */
    if (!store->failed) {
        if (active->reserved_end > active->end && ftruncate(active->fd, (off_t)active->end) != 0) {
            store_log(store, KV_LOG_WARN, "cannot give back the unused room of %s", name);
        }
        if (fdatasync(active->fd) != 0) {
            (void)store_fail(store, "sync", name);
        }
    }
    (void)close(active->fd);
    active->fd = -1;
}

#include "reader.h"

#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_LEN ((size_t)1 << 20)

int32_t reader_corrupt(const struct reader *reader, uint64_t offset, const char *text)
{
    store_log(reader->store, KV_LOG_ERROR, "%s is damaged at offset %" PRIu64 ": %s", reader->name,
              offset, text);
    return KV_E_CORRUPT;
}

/* Makes buffer hold [offset, offset + len), which is inside the file, and reads ahead. */
static int32_t reader_fill(struct reader *reader, uint64_t offset, size_t len)
{
    const struct kv_host *host = reader->store->host;
    uint64_t have_end = reader->buffer_offset + reader->buffer_len;
    if (offset >= reader->buffer_offset && offset + len <= have_end) {
        return KV_OK;
    }
    size_t keep = 0;
    if (offset >= reader->buffer_offset && offset < have_end) {
        keep = (size_t)(have_end - offset);
        memmove(reader->buffer, reader->buffer + (offset - reader->buffer_offset), keep);
    }
    reader->buffer_offset = offset;
    reader->buffer_len = keep;
    if (len > reader->buffer_len_max) {
        size_t len_max = len + PIECE_LEN;
        uint8_t *buffer = host->resize(host->ctx, reader->buffer, len_max);
        if (buffer == NULL) {
            store_log(reader->store, KV_LOG_ERROR, "out of memory reading %s", reader->name);
            return KV_E_NOMEM;
        }
        reader->buffer = buffer;
        reader->buffer_len_max = len_max;
    }
    while (reader->buffer_len < len) {
        ssize_t got = pread(reader->fd, reader->buffer + reader->buffer_len,
                            reader->buffer_len_max - reader->buffer_len,
                            (off_t)(offset + reader->buffer_len));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got < 0 ? errno : EIO; /* shorter than a moment ago */
            return store_fail(reader->store, "read", reader->name);
        }
        reader->buffer_len += (size_t)got;
    }
    return KV_OK;
}

int32_t reader_open(struct reader *reader, const struct store *store, uint32_t kind,
                    uint64_t number)
{
    memset(reader, 0, sizeof(*reader));
    reader->store = store;
    folder_name(kind, number, reader->name);
    reader->fd = openat(store->folder_fd, reader->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->fd < 0) {
        return errno == ENOENT ? KV_E_NOT_FOUND : store_fail(store, "open", reader->name);
    }
    struct stat stat;
    if (fstat(reader->fd, &stat) != 0) {
        return store_fail(store, "examine", reader->name);
    }
    reader->size = (uint64_t)stat.st_size;
    if (!S_ISREG(stat.st_mode) || reader->size < FORMAT_FILE_HEADER_LEN) {
        return reader_corrupt(reader, 0, "too short for a file header");
    }
    int32_t status = reader_fill(reader, 0, FORMAT_FILE_HEADER_LEN);
    if (status != KV_OK) {
        return status;
    }
    const char *wrong =
        format_file_decode(store->host, reader->buffer, &reader->file, &reader->salt);
    if (wrong == NULL && (reader->file.kind != kind || reader->file.number != number)) {
        wrong = "its header belongs to another file name";
    }
    if (wrong != NULL) {
        return reader_corrupt(reader, 0, wrong);
    }
    reader->offset = FORMAT_FILE_HEADER_LEN;
    /* The blocks of a base are counted from 0; they are no batches of the log. */
    reader->next_sequence = kind == FORMAT_FILE_SEGMENT ? reader->file.first_sequence : 0;
    return KV_OK;
}

void reader_close(struct reader *reader)
{
    if (reader->store != NULL) {
        if (reader->fd >= 0) {
            (void)close(reader->fd);
        }
        reader->store->host->release(reader->store->host->ctx, reader->buffer);
    }
    memset(reader, 0, sizeof(*reader));
}

/* Decodes and judges the batch header at reader.offset, which is in the buffer. */
static const char *reader_header(const struct reader *reader, struct format_batch *ret_head)
{
    const uint8_t *at = reader->buffer + (reader->offset - reader->buffer_offset);
    const char *wrong = format_batch_decode(reader->store->host, at, reader->salt, ret_head);
    if (wrong != NULL) {
        return wrong;
    }
    if (ret_head->sequence != reader->next_sequence) {
        return "a batch header with the wrong sequence number";
    }
    if (ret_head->kind != FORMAT_BATCH_RECORDS && ret_head->kind != FORMAT_BATCH_SEAL) {
        return "a batch header of unknown kind";
    }
    if (ret_head->payload_len > reader->size - reader->offset - FORMAT_BATCH_HEADER_LEN) {
        return "a batch that reaches beyond the end of the file";
    }
    return NULL;
}

int32_t reader_next(struct reader *reader, struct reader_batch *ret_batch)
{
    const struct kv_host *host = reader->store->host;
    struct reader_batch batch = {.offset = reader->offset};
    uint64_t left = reader->size - reader->offset;
    if (left < FORMAT_BATCH_HEADER_LEN) {
        batch.end = left == 0 ? "end of the file" : "too short for a batch header";
        *ret_batch = batch;
        return KV_OK;
    }
    int32_t status = reader_fill(reader, reader->offset, FORMAT_BATCH_HEADER_LEN);
    if (status != KV_OK) {
        return status;
    }
    batch.end = reader_header(reader, &batch.head);
    if (batch.end != NULL) {
        *ret_batch = batch;
        return KV_OK;
    }
    uint64_t len = FORMAT_BATCH_HEADER_LEN + batch.head.payload_len;
    status = reader_fill(reader, reader->offset, (size_t)len);
    if (status != KV_OK) {
        return status;
    }
    const uint8_t *payload =
        reader->buffer + (reader->offset - reader->buffer_offset) + FORMAT_BATCH_HEADER_LEN;
    if (host->crc32c(host->ctx, 0, payload, (size_t)batch.head.payload_len) !=
        batch.head.payload_crc) {
        batch.end = "wrong checksum of a batch";
        *ret_batch = batch;
        return KV_OK;
    }
    if (!format_payload_check(payload, batch.head.payload_len, batch.head.count)) {
        return reader_corrupt(reader, reader->offset, "the records of a batch do not add up");
    }
    batch.records.at = payload;
    batch.records.left = batch.head.payload_len;
    reader->offset += len;
    reader->next_sequence++;
    *ret_batch = batch;
    return KV_OK;
}

int32_t reader_find_later(struct reader *reader, uint64_t offset, uint64_t *ret_offset)
{
    while (offset + FORMAT_BATCH_HEADER_LEN <= reader->size) {
        int32_t status = reader_fill(reader, offset, FORMAT_BATCH_HEADER_LEN);
        if (status != KV_OK) {
            return status;
        }
        size_t skip = (size_t)(offset - reader->buffer_offset);
        const uint8_t *at = reader->buffer + skip;
        size_t len = reader->buffer_len - skip;
        size_t step = format_batch_find(at, len);
        if (len - step < FORMAT_BATCH_HEADER_LEN) {
            /* Whatever starts in the last bytes of the piece is seen whole in the next one. */
            offset += len - (FORMAT_BATCH_HEADER_LEN - 1);
            continue;
        }
        struct format_batch head;
        if (format_batch_decode(reader->store->host, at + step, reader->salt, &head) == NULL &&
            head.sequence > reader->next_sequence) {
            *ret_offset = offset + step;
            return KV_OK;
        }
        offset += step + 1;
    }
    *ret_offset = 0;
    return KV_OK;
}

/*
 * Happy path: the newest base, if any, and the segments from the base's number on are read and
 * checked from front to back; the batches' sequence numbers have no gap from file to file; all
 * files but the last end with a seal. The last one is where appending goes on.
 *
 * A torn tail is told from damage so: a batch is only written when the one before it is durable, so
 * only the last batch of the last segment can be half there after a crash. Where the last segment
 * stops being readable, the rest of it is searched for the header of a later batch. One is there:
 * the unreadable one was complete once, so it is damage. None: it is the torn last batch, or
 * preallocated zeros, and is cut off. Everywhere else an unreadable byte is damage.
 *
 * Everything is checked before anything is changed. All changes may be interrupted and repeated.
 */
#include "recover.h"

#include "folder.h"
#include "format.h"
#include "reader.h"
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PIECE_LEN 16384

struct recover {
    struct store *store;
    struct folder_listing listing;
    uint64_t base_bytes;
    uint64_t log_bytes;
    uint64_t next_sequence;
    bool have_id; /* store->store_id is taken from a file */
    uint64_t store_id;
    struct kv_position position;
    /* The last segment. */
    uint64_t last;
    uint32_t last_salt;
    uint64_t last_end;   /* behind its last whole batch */
    uint64_t last_size;  /* of its file */
    uint64_t last_batch; /* where its last whole batch begins; last_end when it has none */
    const char *last_reason;
    bool drop_empty; /* segment last + 1 is there, empty, of an unfinished roll-over */
};

/* Checks what all files of a store have in common. */
static int32_t recover_identity(struct recover *recover, const struct reader *reader)
{
    if (recover->have_id && reader->file.store_id != recover->store_id) {
        return reader_corrupt(reader, 0, "it belongs to another store");
    }
    if (recover->have_id && reader->file.first_sequence != recover->next_sequence) {
        return reader_corrupt(reader, 0, "batches are missing before it");
    }
    recover->have_id = true;
    recover->store_id = reader->file.store_id;
    recover->next_sequence = reader->file.first_sequence;
    return KV_OK;
}

/* Opens a file that must be there. */
static int32_t recover_open(const struct recover *recover, struct reader *reader, uint32_t kind,
                            uint64_t number)
{
    int32_t status = reader_open(reader, recover->store, kind, number);
    if (status == KV_E_NOT_FOUND) {
        status = reader_corrupt(reader, 0, "the file is missing");
    }
    return status;
}

static int32_t recover_base(struct recover *recover)
{
    struct reader reader;
    struct reader_batch batch;
    int32_t status = recover_open(recover, &reader, FORMAT_FILE_BASE, recover->listing.base);
    if (status == KV_OK) {
        status = recover_identity(recover, &reader);
    }
    while (status == KV_OK) {
        status = reader_next(&reader, &batch);
        if (status != KV_OK) {
            break;
        }
        if (batch.end != NULL) {
            status = reader_corrupt(&reader, batch.offset, batch.end);
            break;
        }
        if (batch.head.kind == FORMAT_BATCH_SEAL) {
            if (reader.offset != reader.size) {
                status = reader_corrupt(&reader, reader.offset, "bytes after its seal");
            }
            recover->position = batch.head.position;
            recover->base_bytes = reader.size;
            break;
        }
    }
    reader_close(&reader);
    return status;
}

/* Whether the segment after `number` exists, is the last, holds nothing and begins with sequence:
 * what a crash in the middle of a roll-over leaves. */
static bool recover_is_unfinished_roll(const struct recover *recover, uint64_t number,
                                       uint64_t sequence)
{
    struct reader reader;
    if (number + 1 != recover->listing.segment) {
        return false;
    }
    bool unfinished =
        reader_open(&reader, recover->store, FORMAT_FILE_SEGMENT, number + 1) == KV_OK &&
        reader.size == FORMAT_FILE_HEADER_LEN && reader.file.store_id == recover->store_id &&
        reader.file.first_sequence == sequence;
    reader_close(&reader);
    return unfinished;
}

/* The segment stopped being readable at `batch`: is it the end of the log? */
static int32_t recover_end(struct recover *recover, struct reader *reader,
                           const struct reader_batch *batch)
{
    uint64_t number = reader->file.number;
    uint64_t later = 0;
    recover->drop_empty = recover_is_unfinished_roll(recover, number, reader->next_sequence);
    if (number != recover->listing.segment && !recover->drop_empty) {
        return reader_corrupt(reader, batch->offset, batch->end);
    }
    int32_t status = reader_find_later(reader, batch->offset, &later);
    if (status == KV_OK && later != 0) {
        store_log(recover->store, KV_LOG_ERROR,
                  "%s has a valid later batch at offset %" PRIu64 ", so this is no torn tail",
                  reader->name, later);
        status = reader_corrupt(reader, batch->offset, batch->end);
    }
    if (status == KV_OK) {
        recover->last = number;
        recover->last_salt = reader->salt;
        recover->last_end = batch->offset;
        recover->last_size = reader->size;
        recover->last_reason = batch->end;
    }
    return status;
}

/* Checks one segment; sets recover->last when the log ends in it. */
static int32_t recover_segment(struct recover *recover, uint64_t number)
{
    struct reader reader;
    struct reader_batch batch;
    int32_t status = recover_open(recover, &reader, FORMAT_FILE_SEGMENT, number);
    if (status == KV_OK) {
        status = recover_identity(recover, &reader);
        recover->last_batch = FORMAT_FILE_HEADER_LEN;
    }
    while (status == KV_OK) {
        status = reader_next(&reader, &batch);
        if (status != KV_OK) {
            break;
        }
        if (batch.end == NULL && batch.head.kind == FORMAT_BATCH_SEAL) {
            /* A seal takes no sequence number. */
            reader.next_sequence--;
            recover->next_sequence = reader.next_sequence;
            if (number == recover->listing.segment) {
                status = reader_corrupt(&reader, reader.offset, "the segment after it is missing");
            } else if (reader.offset != reader.size) {
                /* Sealing was interrupted before the preallocated room was given back for good. */
                batch.end = "bytes after its seal";
                status = recover_end(recover, &reader, &batch);
            }
            break;
        }
        if (batch.end != NULL) {
            status = recover_end(recover, &reader, &batch);
            break;
        }
        recover->position = batch.head.position;
        recover->next_sequence = reader.next_sequence;
        recover->last_batch = batch.offset;
    }
    recover->log_bytes += reader.offset;
    reader_close(&reader);
    return status;
}

/* Whether the bytes from `from` to `to` are anything but preallocated zeros; -1: could not read. */
static int recover_is_torn(int fd, uint64_t from, uint64_t to)
{
    uint8_t bytes[PIECE_LEN];
    while (from < to) {
        ssize_t got = pread(fd, bytes, sizeof(bytes), (off_t)from);
        if (got <= 0) {
            return -1;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (bytes[i] != 0) {
                return 1;
            }
        }
        from += (uint64_t)got;
    }
    return 0;
}

/* Writes the bytes from `from` to `to` over themselves. */
static int recover_rewrite(int fd, uint64_t from, uint64_t to)
{
    uint8_t bytes[PIECE_LEN];
    while (from < to) {
        size_t len = to - from < sizeof(bytes) ? (size_t)(to - from) : sizeof(bytes);
        ssize_t got = pread(fd, bytes, len, (off_t)from);
        if (got <= 0 || segment_write(fd, bytes, (size_t)got, from) != 0) {
            return -1;
        }
        from += (uint64_t)got;
    }
    return 0;
}

/* Makes the end of the last segment what was found: cuts the tail off, and writes the last batch
 * again. Again, because after a failed fdatasync() it may be readable from memory only, marked as
 * written; rewriting makes it dirty, so that the fsync() below tells the truth. */
static int32_t recover_tail(struct recover *recover)
{
    struct store *store = recover->store;
    uint64_t end = recover->last_end;
    struct segment segment = {
        .number = recover->last, .salt = recover->last_salt, .end = end, .reserved_end = end};
    char name[FOLDER_NAME_LEN_MAX];
    int32_t status = KV_OK;
    folder_name(FORMAT_FILE_SEGMENT, recover->last, name);
    segment.fd = openat(store->folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (segment.fd < 0) {
        return store_fail(store, "open", name);
    }
    int torn = recover_is_torn(segment.fd, end, recover->last_size);
    if (torn < 0) {
        status = store_fail(store, "read", name);
        goto out;
    }
    if (torn > 0) {
        store_log(store, KV_LOG_WARN,
                  "torn tail of %s cut off: %" PRIu64 " bytes at offset %" PRIu64 " (%s)", name,
                  recover->last_size - end, end, recover->last_reason);
    }
    if (recover->last_size > end && ftruncate(segment.fd, (off_t)end) != 0) {
        status = store_fail(store, "cut the tail off", name);
    } else if (recover_rewrite(segment.fd, recover->last_batch, end) != 0) {
        status = store_fail(store, "rewrite the last batch of", name);
    } else if (fsync(segment.fd) != 0) {
        status = store_fail(store, "sync", name);
    }
out:
    if (status == KV_OK) {
        store->active = segment;
    } else {
        (void)close(segment.fd);
    }
    return status;
}

/* An empty store: a random identity and the first segment. */
static int32_t recover_create(struct store *store)
{
    if (getrandom(&store->store_id, sizeof(store->store_id), 0) !=
        (ssize_t)sizeof(store->store_id)) {
        return store_fail(store, "draw an identity for", store->path);
    }
    store->next_sequence = 1;
    store->position = (struct kv_position){0, 0};
    int32_t status = folder_sync_parent(store);
    return status == KV_OK ? segment_create(store, 1, &store->active) : status;
}

/* Everything is checked: now change what a crash left behind. */
static int32_t recover_repair(struct recover *recover)
{
    struct store *store = recover->store;
    folder_clean_temp(store);
    folder_clean(store, recover->listing.base);
    if (recover->drop_empty) {
        char name[FOLDER_NAME_LEN_MAX];
        folder_name(FORMAT_FILE_SEGMENT, recover->last + 1, name);
        if (unlinkat(store->folder_fd, name, 0) != 0) {
            return store_fail(store, "remove the empty", name);
        }
    }
    int32_t status = folder_sync(store);
    return status == KV_OK ? recover_tail(recover) : status;
}

int32_t recover_run(struct store *store, uint64_t *ret_base, uint64_t *ret_base_bytes,
                    uint64_t *ret_log_bytes)
{
    struct recover recover = {.store = store};
    int32_t status = folder_list(store, &recover.listing);
    if (status == KV_OK && recover.listing.base == 0 && recover.listing.segment == 0) {
        folder_clean_temp(store);
        status = recover_create(store);
        recover.log_bytes = FORMAT_FILE_HEADER_LEN;
        goto out;
    }
    if (status == KV_OK && recover.listing.base > 0) {
        status = recover_base(&recover);
    }
    uint64_t first = recover.listing.base > 0 ? recover.listing.base : 1;
    for (uint64_t i = first; status == KV_OK && recover.last == 0; i++) {
        status = recover_segment(&recover, i);
    }
    if (status == KV_OK) {
        store->store_id = recover.store_id;
        store->next_sequence = recover.next_sequence;
        store->position = recover.position;
        status = recover_repair(&recover);
    }
out:
    if (status == KV_OK) {
        *ret_base = recover.listing.base;
        *ret_base_bytes = recover.base_bytes;
        *ret_log_bytes = recover.log_bytes;
    }
    return status;
}

/* Emits one file; *ret_more is false at the end of the log. */
static int32_t recover_load_file(const struct store *store, uint32_t kind, uint64_t number,
                                 kv_emit_fn emit, void *ctx)
{
    struct reader reader;
    struct reader_batch batch;
    struct kv_record record;
    int32_t status = reader_open(&reader, store, kind, number);
    bool more = true;
    while (status == KV_OK && more) {
        status = reader_next(&reader, &batch);
        more = status == KV_OK && batch.end == NULL && batch.head.kind == FORMAT_BATCH_RECORDS;
        while (status == KV_OK && more && batch.records.left > 0) {
            /* reader_next() has checked that these are records. */
            (void)format_record_decode(&batch.records, &record);
            status = emit(ctx, &record);
        }
    }
    /* The files were whole at open(); one that no longer is was damaged since. */
    if (status == KV_OK && batch.end != NULL &&
        !(kind == FORMAT_FILE_SEGMENT && number == store->active.number &&
          reader.offset == store->active.end)) {
        status = reader_corrupt(&reader, batch.offset, batch.end);
    }
    reader_close(&reader);
    return status;
}

int32_t recover_load(struct store *store, uint64_t base, kv_emit_fn emit, void *ctx)
{
    int32_t status = KV_OK;
    if (base > 0) {
        status = recover_load_file(store, FORMAT_FILE_BASE, base, emit, ctx);
    }
    for (uint64_t i = base > 0 ? base : 1; status == KV_OK && i <= store->active.number; i++) {
        status = recover_load_file(store, FORMAT_FILE_SEGMENT, i, emit, ctx);
    }
    return status == KV_E_NOT_FOUND ? KV_E_IO : status;
}

#include "marker.h"

#include "environment.h"
#include "folder.h"
#include "format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MARKER_PREFIX     "kvnode-batch "
#define MARKER_PREFIX_LEN (sizeof(MARKER_PREFIX) - 1)
#define MARKER_HEAD_LEN   (MARKER_PREFIX_LEN + STORE_ID_LEN + 1)
#define MARKER_DIGITS     16
#define MARKER_LEN        (MARKER_HEAD_LEN + MARKER_DIGITS)
#define MARKER_CHUNK_LEN  ((size_t)1 << 20)

/* Every log file of Berkeley DB 5.3 begins with a record of this length, which stands at this
 * offset. The library believes a damaged length there and reads beyond its memory. */
#define LOG_HEAD_LEN        28u
#define LOG_HEAD_LEN_OFFSET 4u

/* What a scan looks for, and what it has found. */
struct marker_search {
    const struct store *store;
    char head[MARKER_HEAD_LEN + 1];
    uint8_t *buffer; /* MARKER_CHUNK_LEN */
    uint64_t highest;
    bool found;
};

int marker_write(struct store *store, uint64_t batch)
{
    return store->env->log_printf(store->env, NULL, MARKER_PREFIX "%s %016" PRIx64, store->id,
                                  batch);
}

static void marker_search_init(struct marker_search *search, const struct store *store)
{
    memset(search, 0, sizeof(*search));
    search->store = store;
    (void)snprintf(search->head, sizeof(search->head), MARKER_PREFIX "%s ", store->id);
}

/* Takes account of the markers that are entirely within bytes. */
static void marker_search_bytes(struct marker_search *search, const uint8_t *bytes, size_t len)
{
    while (len >= MARKER_LEN) {
        const uint8_t *at = memmem(bytes, len - MARKER_DIGITS, search->head, MARKER_HEAD_LEN);
        if (at == NULL) {
            return;
        }
        char digits[MARKER_DIGITS + 1];
        uint64_t batch = 0;
        memcpy(digits, at + MARKER_HEAD_LEN, MARKER_DIGITS);
        digits[MARKER_DIGITS] = '\0';
        /* Digits that are damaged themselves count for nothing. */
        if (strspn(digits, "0123456789abcdef") == MARKER_DIGITS &&
            sscanf(digits, "%16" SCNx64, &batch) == 1) {
            search->highest = batch > search->highest ? batch : search->highest;
            search->found = true;
        }
        len -= (size_t)(at + MARKER_HEAD_LEN - bytes);
        bytes = at + MARKER_HEAD_LEN;
    }
}

/* Whether the beginning of a log file is sound enough to be shown to the library. A file that a
 * crash left without its first record is: it is ignored. */
static bool marker_head_is_sound(const uint8_t *bytes, size_t len)
{
    static const uint8_t zeros[LOG_HEAD_LEN];
    uint32_t head_len;
    if (len < LOG_HEAD_LEN || memcmp(bytes, zeros, LOG_HEAD_LEN) == 0) {
        return true;
    }
    memcpy(&head_len, bytes + LOG_HEAD_LEN_OFFSET, sizeof(head_len));
    return head_len == LOG_HEAD_LEN;
}

static int32_t marker_search_file(void *ctx, const char *name)
{
    struct marker_search *search = ctx;
    int32_t status = KV_OK;
    size_t kept = 0;
    off_t offset = 0;
    int fd = openat(search->store->folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return store_fail(search->store, "open", name);
    }
    for (;;) {
        ssize_t got = pread(fd, search->buffer + kept, MARKER_CHUNK_LEN - kept, offset);
        if (got < 0) {
            status = store_fail(search->store, "read", name);
        }
        if (got <= 0) {
            break;
        }
        size_t len = kept + (size_t)got;
        if (offset == 0 && !marker_head_is_sound(search->buffer, len)) {
            char how[STORE_TEXT_LEN_MAX];
            (void)snprintf(how, sizeof(how), "%s offset %u: the head of the log file", name,
                           LOG_HEAD_LEN_OFFSET);
            status = store_fail_damage(search->store, how);
            break;
        }
        offset += got;
        marker_search_bytes(search, search->buffer, len);
        /* A marker may go on in the next chunk. */
        kept = len < MARKER_LEN - 1 ? len : MARKER_LEN - 1;
        memmove(search->buffer, search->buffer + len - kept, kept);
    }
    (void)close(fd);
    return status;
}

int32_t marker_scan(const struct store *store, uint64_t *ret_highest)
{
    struct marker_search search;
    marker_search_init(&search, store);
    search.buffer = store->host->allocate(store->host->ctx, MARKER_CHUNK_LEN);
    if (search.buffer == NULL) {
        store_log(store, KV_LOG_ERROR, "out of memory");
        return KV_E_NOMEM;
    }
    int32_t status = folder_each_log(store, marker_search_file, &search);
    store->host->release(store->host->ctx, search.buffer);
    if (status == KV_OK) {
        *ret_highest = search.highest;
    }
    return status;
}

/* Walks the recovered log backwards to its last marker. */
static int marker_find_last(struct store *store, struct marker_search *search)
{
    DB_LOGC *cursor = NULL;
    DB_LSN lsn;
    DBT record;
    memset(&record, 0, sizeof(record));
    int error = store->env->log_cursor(store->env, &cursor, 0);
    if (error != 0) {
        return error;
    }
    for (uint32_t flags = DB_LAST; !search->found; flags = DB_PREV) {
        error = cursor->get(cursor, &lsn, &record, flags);
        if (error != 0) {
            break;
        }
        marker_search_bytes(search, record.data, record.size);
    }
    (void)cursor->close(cursor, 0);
    return error == DB_NOTFOUND ? 0 : error;
}

int32_t marker_check(struct store *store, uint64_t highest)
{
    char how[STORE_TEXT_LEN_MAX];
    struct marker_search search;
    marker_search_init(&search, store);
    int error = marker_find_last(store, &search);
    if (error != 0) {
        return environment_fail_open(store, error, "read the log");
    }
    uint64_t content = store->batch;
    uint64_t log = search.found ? search.highest : 0;
    if (!search.found || log < content) {
        (void)snprintf(how, sizeof(how),
                       "the log (files log.*) ends at batch %" PRIu64
                       " but the content has batch %" PRIu64 ": a part of the log is lost",
                       log, content);
    } else if (highest > content + 1 || highest > log + 1) {
        (void)snprintf(how, sizeof(how),
                       "the log (files log.*) is readable up to batch %" PRIu64
                       " only, and batch %" PRIu64 " is behind the place that is not",
                       content, highest);
    } else {
        return KV_OK;
    }
    return format_mark_damaged(store, how);
}

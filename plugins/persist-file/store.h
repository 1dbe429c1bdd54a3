/*
 * One instance of the plugin: its settings and what is open. Shared by all files of the plugin.
 *
 * Owned by the thread that calls the plugin; the compaction thread reads the settings, the folder
 * and the store id, which do not change while it runs, and shares `compact` under its lock.
 */
#ifndef PERSIST_FILE_STORE_H
#define PERSIST_FILE_STORE_H

#include "compact.h"
#include "segment.h"

#include <kvnode/persist.h>

#include <stdbool.h>

struct store {
    const struct kv_host *host;
    char *path; /* owned */
    bool sync_always;
    uint64_t compact_min_bytes;
    uint64_t segment_bytes;
    uint64_t preallocate_bytes;

    bool is_open;
    bool written; /* apply() was called since open() */
    /* The state of the file on disk is not known (a failed fdatasync): nothing more is written
     * until the store is reopened, which reads what is there. */
    bool failed;
    int folder_fd;
    int lock_fd;
    uint64_t store_id;
    uint64_t next_sequence; /* of the next batch */
    struct kv_position position;
    struct segment active;
    uint64_t roll_retry_bytes; /* a roll-over that failed is tried again at this length */
    uint8_t *buffer;           /* where a batch is put together; kept between batches */
    size_t buffer_len_max;
    struct compact compact;
};

/* One line to the host's log, with the store's path in front. Any thread. */
void store_log(const struct store *store, uint32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Logs "cannot WHAT NAME: errno's text" as an error and returns KV_E_IO. Any thread. */
int32_t store_fail(const struct store *store, const char *what, const char *name);

#endif

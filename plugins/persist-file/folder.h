/*
 * The folder of a store: its lock, the names of its files, and what changes names.
 *
 * Every change of a name that must survive is followed by folder_sync(). Called by the store's
 * thread, folder_sync() and folder_clean() also by the compaction thread.
 */
#ifndef PERSIST_FILE_FOLDER_H
#define PERSIST_FILE_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#define FOLDER_NAME_LEN_MAX 40
#define FOLDER_SEGMENT_TEMP "segment.tmp"
#define FOLDER_BASE_TEMP    "base.tmp"
#define FOLDER_LOCK         "lock"

struct store;

/* What is there. Numbers begin at 1; 0 is "none". */
struct folder_listing {
    uint64_t base;    /* the highest base */
    uint64_t segment; /* the highest segment */
};

/* Fills name (FOLDER_NAME_LEN_MAX bytes); kind is FORMAT_FILE_. */
void folder_name(uint32_t kind, uint64_t number, char *name);

/* Opens the folder, creating it with its parents, and locks it: sets store's folder_fd and lock_fd.
 * KV_E_EXISTS: another instance, here or in another process, has it open. Logs every failure. */
int32_t folder_open(struct store *store);

/* Gives up the lock. */
void folder_close(struct store *store);

int32_t folder_list(const struct store *store, struct folder_listing *ret_listing);

/* Makes the names durable. KV_E_IO: logged. */
int32_t folder_sync(const struct store *store);

/* Makes the folder's own name durable in its parent. */
int32_t folder_sync_parent(const struct store *store);

/* Removes bases and segments numbered below `number`, which a newer base has replaced. A file that
 * cannot be removed is logged and left: it is harmless and tried again at the next open. */
void folder_clean(const struct store *store, uint64_t number);

/* Removes unfinished temporary files of an earlier run. */
void folder_clean_temp(const struct store *store);

#endif

/*
 * The folder of a store: creating and locking it, its small files, and which of its files are
 * Berkeley DB's. Called by the thread that calls the plugin. Knows nothing of Berkeley DB but the
 * names of its files.
 */
#ifndef PERSIST_BDB_FOLDER_H
#define PERSIST_BDB_FOLDER_H

#include "store.h"

#define FOLDER_LOCK         "lock"
#define FOLDER_DATA         "data.db"
#define FOLDER_STATE        "state.db"
#define FOLDER_NAME_LEN_MAX 32

/* Opens the folder, creating it with its parents when it is missing, and locks it. KV_E_EXISTS:
 * another instance, of this or another process, has it open. */
int32_t folder_open(struct store *store);
void folder_close(struct store *store);

/* Makes the names in the folder durable. */
int32_t folder_sync(const struct store *store);

/* Whether there are files of Berkeley DB. */
int32_t folder_has_content(const struct store *store, bool *ret_content);

/* Whether there are files that are neither ours nor Berkeley DB's: somebody else's folder. Names
 * with a dot in front count for nothing. */
int32_t folder_has_others(const struct store *store, bool *ret_others);

/* Removes all files of Berkeley DB, durably. */
int32_t folder_clear(const struct store *store);

/* Calls back for the name of each log file, in no order; stops at the first that is not KV_OK. */
typedef int32_t (*folder_log_fn)(void *ctx, const char *name);
int32_t folder_each_log(const struct store *store, folder_log_fn on_log, void *ctx);

/* Cuts a file back to a whole number of blocks; fine when there is none. */
int32_t folder_trim(const struct store *store, const char *name, uint32_t block_len);

/* Puts a small text file in place, durably and at once: either the old or the new one is there. */
int32_t folder_write(const struct store *store, const char *name, const char *text);

/* Reads a small text file, at most size - 1 bytes, and ends it with a zero. KV_E_NOT_FOUND: there
 * is none, which is not logged. */
int32_t folder_read(const struct store *store, const char *name, char *text, size_t size);

/* Removes a file, durably; fine when there is none. */
int32_t folder_remove(const struct store *store, const char *name);

#endif

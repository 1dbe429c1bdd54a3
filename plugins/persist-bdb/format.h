/*
 * The small files that say what a folder is, read and checked before Berkeley DB touches anything:
 *
 *     format    what made the store, the version of its format, its id
 *     creating  the store is being made or reset: what else is there is of no value
 *     damaged   damage was found; holds the reason, and keeps the store closed
 *
 * Called by the thread that calls the plugin.
 */
#ifndef PERSIST_BDB_FORMAT_H
#define PERSIST_BDB_FORMAT_H

#include "store.h"

/* Reads what the folder is. *ret_new: there is no store yet, make one. Else store->id is set.
 * KV_E_VERSION: a later version or something else made it. KV_E_CORRUPT: damaged. */
int32_t format_check(struct store *store, bool *ret_new);

/* Begins a new store in place of what is there, with a new id. */
int32_t format_begin(struct store *store);

/* Ends it: from here on the store counts. */
int32_t format_finish(const struct store *store);

/* Remembers that the store is damaged, logs it as store_fail_damage() does. */
int32_t format_mark_damaged(const struct store *store, const char *how);

#endif

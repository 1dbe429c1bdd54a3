/*
 * The environment of Berkeley DB in a store's folder: opening with recovery, checkpoints, and what
 * its errors mean. Called by the thread that calls the plugin, which is the only one in the
 * environment: it is private, without locks, so that nothing in it can wait for anything but the
 * disk.
 */
#ifndef PERSIST_BDB_ENVIRONMENT_H
#define PERSIST_BDB_ENVIRONMENT_H

#include "store.h"

/* Opens the store in the locked folder, recovers it and reads its state; makes a new one where
 * there is none. On failure nothing stays open. */
int32_t environment_open(struct store *store);

/* Empties the open store, which stays open; with a failure it is as after environment_close(). */
int32_t environment_reset(struct store *store);

/* Ends use; tries a last checkpoint, so that the next open has nothing to recover. */
void environment_close(struct store *store);

/* After a batch: makes the name of a new log file durable (its failure is the batch's), and starts
 * a checkpoint when the log is long enough (its failure is only logged). */
int32_t environment_tend(struct store *store);

/* Logs an error of Berkeley DB and returns the status: KV_E_CORRUPT when it comes of damage,
 * KV_E_NOMEM, else KV_E_IO. The second is for use while opening, where what is no failure of the
 * system can only be damage. */
int32_t environment_fail(struct store *store, int error, const char *what);
int32_t environment_fail_open(struct store *store, int error, const char *what);

#endif

/*
 * Compaction: a thread of the instance that merges the sealed segments and the old base into a new
 * base, so that the store's size follows its content and not its history.
 *
 * The store's thread calls every function here; none of them waits for the disk except
 * compact_stop(), which waits until the thread has noticed. Writers go on in the active segment.
 */
#ifndef PERSIST_FILE_COMPACT_H
#define PERSIST_FILE_COMPACT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct compact {
    bool started;
    pthread_t thread;
    pthread_mutex_t lock; /* over all that follows */
    pthread_cond_t wake;
    bool stop;
    uint64_t target;       /* merge all segments below this one; 0: nothing to do */
    uint64_t target_bytes; /* log_bytes when target was set */
    uint64_t base;         /* number of the current base; 0: none */
    uint64_t base_bytes;
    uint64_t log_bytes; /* of the segments from `base` on */
    uint64_t done;      /* how many compactions succeeded, and failed */
    uint64_t failed;
    uint64_t retry_at_ms;
    uint64_t retry_ms;
};

/* Starts the idle thread. KV_E_NOMEM (logged): no thread to be had. */
int32_t compact_start(struct store *store, uint64_t base, uint64_t base_bytes, uint64_t log_bytes);

/* Aborts what runs and ends the thread; fine when it was not started. */
void compact_stop(struct store *store);

/* len bytes were added to the log. */
void compact_on_append(struct compact *compact, uint64_t len);

/* Whether there is enough to merge and the thread is idle: the active segment should be sealed and
 * compact_begin() called. */
bool compact_due(struct store *store);

/* Hands the segments below target, all sealed, to the thread. */
void compact_begin(struct compact *compact, uint64_t target);

#endif

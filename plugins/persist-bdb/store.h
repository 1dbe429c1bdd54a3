/*
 * One instance of the plugin: its settings and what is open. Shared by all files of the plugin.
 * Owned by the thread that calls the plugin; no file of it keeps anything outside this struct.
 */
#ifndef PERSIST_BDB_STORE_H
#define PERSIST_BDB_STORE_H

#include <kvnode/persist.h>

#include <db.h>
#include <limits.h>
#include <stdbool.h>

#define STORE_ID_LEN       16 /* hexadecimal digits */
#define STORE_TEXT_LEN_MAX 512

struct store {
    const struct kv_host *host;
    char *path; /* owned */
    bool sync_always;
    uint64_t cache_bytes;
    uint64_t log_bytes;
    uint64_t checkpoint_bytes;

    bool is_open;
    bool written; /* apply() or reset() was called since open() */
    /* What is stored is not known, or Berkeley DB gave up: nothing more is done until the store is
     * reopened, which recovers it. */
    bool failed;
    int folder_fd;
    int lock_fd;
    char home[PATH_MAX];       /* path, absolute */
    char id[STORE_ID_LEN + 1]; /* random, of this store */

    DB_ENV *env;
    DB *data;                     /* key -> positions and value, see content.c */
    DB *state;                    /* one record: the position and the number of the last batch */
    struct kv_position position;  /* what the last batch reached */
    uint64_t batch;               /* its number: each batch of the store has the next one */
    uint32_t log_file;            /* number of the log file whose name is known to be durable */
    uint64_t checkpoint_at_bytes; /* length of log that is worth the next checkpoint */
    uint8_t *buffer;              /* where a value is put together; kept between batches */
    size_t buffer_len_max;

    /* What Berkeley DB said since open(). */
    bool damaged;                   /* it spoke of damage */
    int panic_error;                /* the error that made it give up; 0: none */
    uint32_t lines;                 /* how many it said since the present call began */
    char text[STORE_TEXT_LEN_MAX];  /* its latest line */
    char place[STORE_TEXT_LEN_MAX]; /* its line that names what is damaged */
};

/* One line to the host's log, with the store's path in front. */
void store_log(const struct store *store, uint32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Logs "cannot WHAT NAME: errno's text" as an error and returns KV_E_IO. */
int32_t store_fail(const struct store *store, const char *what, const char *name);

/* Logs as an error that the store is damaged, how, and what to do; returns KV_E_CORRUPT. */
int32_t store_fail_damage(const struct store *store, const char *how);

#endif

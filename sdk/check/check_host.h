/*
 * A host for one plugin instance that trusts nobody: it hands out the table of <kvnode/host.h>,
 * counts memory, keeps what is logged, and notes the first misuse. It needs nothing but libc and
 * the public headers, so that a plugin's own unit tests can compile it in.
 *
 * The functions of the table: any thread. Those below: the thread that calls the plugin, if not
 * said otherwise. It never ends the process.
 */
#ifndef KVNODE_CHECK_HOST_H
#define KVNODE_CHECK_HOST_H

#include <kvnode/host.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define CHECK_HOST_TEXT_MAX    512u
#define CHECK_HOST_LINES_MAX   8u  /* the latest lines that are kept */
#define CHECK_HOST_REASONS_MAX 64u /* reasons of one apply() that are kept */

struct check_host_reason {
    uint32_t record;
    char text[CHECK_HOST_TEXT_MAX];
};

struct check_host {
    struct kv_host table;
    pthread_mutex_t lock; /* of all that follows */
    int64_t live;         /* allocations that were not released */
    int64_t live_bytes;
    uint64_t allocations; /* calls of allocate and growing calls of resize so far */
    uint64_t fail_at;     /* from this one on there is no memory; 0: never */
    uint64_t errors;      /* KV_LOG_ERROR lines */
    char last_error[CHECK_HOST_TEXT_MAX];
    char lines[CHECK_HOST_LINES_MAX][CHECK_HOST_TEXT_MAX];
    uint64_t lines_len; /* ever; the last CHECK_HOST_LINES_MAX of them are there */
    bool is_in_apply;
    pthread_t apply_thread;
    uint32_t records_len; /* of the apply() that runs */
    struct check_host_reason reasons[CHECK_HOST_REASONS_MAX];
    uint32_t reasons_len;
    char fault[CHECK_HOST_TEXT_MAX]; /* the first misuse; "": none */
    uint32_t crc_table[256];         /* of each byte; not changed after init */
};

/* loop: a uv_loop_t for a plugin that asks for one, else NULL. */
void check_host_init(struct check_host *host, void *loop);
void check_host_close(struct check_host *host);

/* Around each call of apply(): only in between is kv_host.reason allowed. */
void check_host_begin_apply(struct check_host *host, uint32_t records_len);
void check_host_end_apply(struct check_host *host);

/* The reason given for a record by the last apply(); NULL: none. */
const char *check_host_reason(const struct check_host *host, uint32_t record);

/* The allocation after `more` further ones fails, and all that follow; 0: none fails any more. */
void check_host_fail_after(struct check_host *host, uint64_t more);

#endif

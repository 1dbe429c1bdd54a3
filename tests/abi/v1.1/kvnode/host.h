/*
 * What the host offers to a plugin: a table of functions, handed to create().
 *
 * The table and everything it points to outlive the instance. `size` tells which members exist.
 * Threads: each member says from where it may be called. Valid C99 and C++11 on its own.
 */
#ifndef KVNODE_HOST_H
#define KVNODE_HOST_H

#include <kvnode/abi.h>

/* level of a log line */
#define KV_LOG_ERROR 1u /* also kept as the reason of the failure shown in `kvctl status` */
#define KV_LOG_WARN  2u
#define KV_LOG_INFO  3u
#define KV_LOG_DEBUG 4u

struct kv_host {
    uint32_t size;     /* sizeof(struct kv_host) as the host saw it */
    uint32_t reserved; /* 0 */
    void *ctx;         /* pass it as first argument to the functions below */

    /* One line of UTF-8 text without newline; copied. Any thread. */
    void (*log)(void *ctx, uint32_t level, const char *text);

    /* Milliseconds of a clock that never goes back. Any thread. */
    uint64_t (*now_ms)(void *ctx);

    /* Memory counted for this instance. allocate: NULL when there is none; resize: as realloc();
     * release: NULL is fine. Any thread. */
    void *(*allocate)(void *ctx, size_t size);
    void *(*resize)(void *ctx, void *memory, size_t size);
    void (*release)(void *ctx, void *memory);

    /* CRC-32C (Castagnoli) of bytes, continued from crc (0 to begin). Any thread. */
    uint32_t (*crc32c)(void *ctx, uint32_t crc, const void *bytes, size_t len);

    /* The uv_loop_t that the node runs on, for plugins that asked for KV_HOST_LOOP; else NULL.
     * To be touched on the loop's thread only, which is the one that calls a transport. */
    void *loop;

    /* ABI 1.1. From within apply(), on its thread: why records[record] of that call gets another
     * result than KV_RESULT_STORED; UTF-8, copied. The reason of a KV_RESULT_REFUSED is given to
     * the client whose update fails. Without it the last line logged with KV_LOG_ERROR counts. */
    void (*reason)(void *ctx, uint32_t record, const char *text);
    /* tail: later minors append here */
};

KV_ABI_OFFSET_(kv_host, ctx, 8);
KV_ABI_OFFSET_(kv_host, log, 16);
KV_ABI_OFFSET_(kv_host, now_ms, 24);
KV_ABI_OFFSET_(kv_host, allocate, 32);
KV_ABI_OFFSET_(kv_host, resize, 40);
KV_ABI_OFFSET_(kv_host, release, 48);
KV_ABI_OFFSET_(kv_host, crc32c, 56);
KV_ABI_OFFSET_(kv_host, loop, 64);
KV_ABI_OFFSET_(kv_host, reason, 72);

#endif

/*
 * Log lines of a transport: formatted, and for what a peer could provoke at will at most once a
 * second. Loop thread.
 */
#ifndef PLUGINS_COMMON_LOG_H
#define PLUGINS_COMMON_LOG_H

#include <stdint.h>

#include <kvnode/host.h>

/* A kind of line that is limited; all zero at first. */
struct log_notice {
    uint64_t logged_ms;
    uint64_t omitted;
};

/* One line; longer than 1,023 bytes is cut. */
void log_line(const struct kv_host *host, uint32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As log_line() with KV_LOG_WARN, at most once a second for that notice; the next one tells how
 * many were left out. */
void log_limited(const struct kv_host *host, struct log_notice *notice, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

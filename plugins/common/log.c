#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_LEN       1024
#define LOG_NOTICE_MS 1000

static void log_list(const struct kv_host *host, uint32_t level, uint64_t omitted,
                     const char *format, va_list arguments)
{
    char text[LOG_LEN];
    vsnprintf(text, sizeof text, format, arguments);
    size_t len = strlen(text);
    if (omitted > 0) {
        snprintf(text + len, sizeof text - len, " (and %" PRIu64 " like it before)", omitted);
    }
    host->log(host->ctx, level, text);
}

void log_line(const struct kv_host *host, uint32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(host, level, 0, format, arguments);
    va_end(arguments);
}

void log_limited(const struct kv_host *host, struct log_notice *notice, const char *format, ...)
{
    uint64_t now_ms = host->now_ms(host->ctx);
    if (notice->logged_ms != 0 && now_ms - notice->logged_ms < LOG_NOTICE_MS) {
        notice->omitted++;
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    log_list(host, KV_LOG_WARN, notice->omitted, format, arguments);
    va_end(arguments);
    notice->omitted = 0;
    notice->logged_ms = now_ms > 0 ? now_ms : 1;
}

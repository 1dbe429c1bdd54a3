#include "kit_host.h"

#include "base/check.h"
#include "base/crc32c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void host_log(void *ctx, uint32_t level, const char *text)
{
    struct kit_host *host = ctx;
    pthread_mutex_lock(&host->lock);
    host->errors += level == KV_LOG_ERROR;
    host->warnings += level == KV_LOG_WARN;
    size_t len = strlen(text);
    if (host->log_len + len + 2 > sizeof(host->log)) {
        host->log_len = 0;
    }
    if (len + 2 <= sizeof(host->log)) {
        memcpy(host->log + host->log_len, text, len);
        host->log_len += len;
        host->log[host->log_len++] = '\n';
    }
    host->log[host->log_len] = '\0';
    pthread_mutex_unlock(&host->lock);
}

static uint64_t host_now_ms(void *ctx)
{
    struct kit_host *host = ctx;
    return __atomic_load_n(&host->now_ms, __ATOMIC_RELAXED);
}

static void host_count(struct kit_host *host, int64_t change)
{
    pthread_mutex_lock(&host->lock);
    host->live += change;
    host->live_most = host->live > host->live_most ? host->live : host->live_most;
    pthread_mutex_unlock(&host->lock);
}

/* Counts an allocation; true when it is to fail. */
static bool host_refuses(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    uint64_t number = ++host->allocations;
    bool refuse = host->fail_allocation != 0 &&
                  (number == host->fail_allocation || number == host->fail_allocation + 1);
    pthread_mutex_unlock(&host->lock);
    return refuse;
}

static void *host_allocate(void *ctx, size_t size)
{
    if (host_refuses(ctx)) {
        return NULL;
    }
    host_count(ctx, 1);
    return malloc(size);
}

static void *host_resize(void *ctx, void *memory, size_t size)
{
    if (host_refuses(ctx)) {
        return NULL;
    }
    host_count(ctx, memory == NULL ? 1 : 0);
    return realloc(memory, size);
}

static void host_release(void *ctx, void *memory)
{
    host_count(ctx, memory == NULL ? 0 : -1);
    free(memory);
}

static uint32_t host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

static void host_reason(void *ctx, uint32_t record, const char *text)
{
    struct kit_host *host = ctx;
    KV_CHECK(text != NULL && text[0] != '\0');
    host->reasons++;
    host->reason_record = record;
    (void)snprintf(host->reason, sizeof(host->reason), "%s", text);
}

void kit_host_init(struct kit_host *host)
{
    memset(host, 0, sizeof(*host));
    pthread_mutex_init(&host->lock, NULL);
    host->now_ms = 1000;
    host->table = (struct kv_host){.size = sizeof(host->table),
                                   .ctx = host,
                                   .log = host_log,
                                   .now_ms = host_now_ms,
                                   .allocate = host_allocate,
                                   .resize = host_resize,
                                   .release = host_release,
                                   .crc32c = host_crc32c,
                                   .reason = host_reason};
}

void kit_host_close(struct kit_host *host)
{
    if (host->live != 0) {
        fprintf(stderr, "%s", host->log);
    }
    KV_CHECK(host->live == 0);
    pthread_mutex_destroy(&host->lock);
}

void kit_host_clear(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    host->log_len = 0;
    host->log[0] = '\0';
    host->errors = 0;
    host->warnings = 0;
    pthread_mutex_unlock(&host->lock);
}

uint32_t kit_host_errors(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    uint32_t errors = host->errors;
    pthread_mutex_unlock(&host->lock);
    return errors;
}

bool kit_host_has(struct kit_host *host, const char *text)
{
    pthread_mutex_lock(&host->lock);
    bool has = strstr(host->log, text) != NULL;
    pthread_mutex_unlock(&host->lock);
    return has;
}

#include "host/services.h"

#include "base/alloc.h"
#include "base/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SERVICES_TEXT_MAX 1024u /* bytes of one line with its NUL; what is longer is cut */

struct services {
    struct kv_host table;
    char *plugin;
    services_log_fn log;
    void *log_ctx;
    _Atomic int64_t live;
    _Atomic uint64_t errors;
    pthread_mutex_t lock; /* of last_error */
    char last_error[SERVICES_TEXT_MAX];
};

/* One line whatever the plugin wrote: control characters would forge or break lines of the log. */
static void services_copy_line(const char *text, char *ret_line)
{
    size_t len = strnlen(text, SERVICES_TEXT_MAX - 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        ret_line[i] = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
    ret_line[len] = '\0';
}

static void services_log(void *ctx, uint32_t level, const char *text)
{
    struct services *services = ctx;
    char line[SERVICES_TEXT_MAX];
    services_copy_line(text == NULL ? "(the plugin logged no text)" : text, line);
    if (level < KV_LOG_ERROR || level > KV_LOG_DEBUG) {
        level = KV_LOG_WARN; /* no level that we know: shown rather than lost */
    }
    if (level == KV_LOG_ERROR) {
        pthread_mutex_lock(&services->lock);
        memcpy(services->last_error, line, strlen(line) + 1);
        pthread_mutex_unlock(&services->lock);
        atomic_fetch_add_explicit(&services->errors, 1, memory_order_relaxed);
    }
    if (services->log != NULL) {
        services->log(services->log_ctx, services->plugin, level, line);
    }
}

static uint64_t services_now_ms(void *ctx)
{
    (void)ctx;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void *services_allocate(void *ctx, size_t size)
{
    struct services *services = ctx;
    void *memory = malloc(size == 0 ? 1 : size);
    if (memory != NULL) {
        atomic_fetch_add_explicit(&services->live, 1, memory_order_relaxed);
    }
    return memory;
}

static void *services_resize(void *ctx, void *memory, size_t size)
{
    if (memory == NULL) {
        return services_allocate(ctx, size);
    }
    return realloc(memory, size == 0 ? 1 : size);
}

static void services_release(void *ctx, void *memory)
{
    struct services *services = ctx;
    if (memory != NULL) {
        atomic_fetch_sub_explicit(&services->live, 1, memory_order_relaxed);
        free(memory);
    }
}

static uint32_t services_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

struct services *services_create(const char *plugin, void *loop, services_log_fn log, void *log_ctx)
{
    struct services *services = alloc_zeroed(1, sizeof(*services));
    services->plugin = alloc_string(plugin, strlen(plugin));
    services->log = log;
    services->log_ctx = log_ctx;
    pthread_mutex_init(&services->lock, NULL);
    services->table = (struct kv_host){
        .size = sizeof(struct kv_host),
        .ctx = services,
        .log = services_log,
        .now_ms = services_now_ms,
        .allocate = services_allocate,
        .resize = services_resize,
        .release = services_release,
        .crc32c = services_crc32c,
        .loop = loop,
    };
    return services;
}

void services_destroy(struct services *services)
{
    if (services == NULL) {
        return;
    }
    pthread_mutex_destroy(&services->lock);
    alloc_free(services->plugin);
    alloc_free(services);
}

const struct kv_host *services_table(struct services *services)
{
    return &services->table;
}

int64_t services_live(const struct services *services)
{
    return atomic_load_explicit(&services->live, memory_order_relaxed);
}

void services_last_error(struct services *services, char *ret_text, size_t size)
{
    if (size == 0) {
        return;
    }
    pthread_mutex_lock(&services->lock);
    size_t len = strnlen(services->last_error, size - 1);
    memcpy(ret_text, services->last_error, len);
    pthread_mutex_unlock(&services->lock);
    ret_text[len] = '\0';
}

void services_clear_error(struct services *services)
{
    pthread_mutex_lock(&services->lock);
    services->last_error[0] = '\0';
    pthread_mutex_unlock(&services->lock);
}

uint64_t services_errors(const struct services *services)
{
    return atomic_load_explicit(&services->errors, memory_order_relaxed);
}

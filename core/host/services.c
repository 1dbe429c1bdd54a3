#include "host/services.h"

#include "base/alloc.h"
#include "base/crc32c.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SERVICES_TEXT_MAX 1024u /* bytes of one line with its NUL; what is longer is cut */

struct services_reason {
    uint32_t record;
    char text[SERVICES_REASON_BYTES_MAX + 1];
};

struct services {
    struct kv_host table;
    char *plugin;
    services_log_fn log;
    void *log_ctx;
    _Atomic int64_t live;
    _Atomic uint64_t errors;
    _Atomic bool is_quiet;
    pthread_mutex_t lock; /* of what follows */
    char last_error[SERVICES_TEXT_MAX];
    bool hears_reasons;
    bool has_told_stray; /* a call of reason() where it has no place was logged */
    pthread_t reasons_thread;
    uint32_t records_len;            /* of the apply() going on */
    struct services_reason *reasons; /* ascending by record */
    uint32_t reasons_len;
    uint32_t reasons_capacity;
};

/* How many of the left bytes at text are one character of UTF-8 (RFC 3629); 0: none. */
static size_t services_character_len(const unsigned char *text, size_t left)
{
    size_t len = text[0] < 0x80   ? 1
                 : text[0] < 0xc2 ? 0
                 : text[0] < 0xe0 ? 2
                 : text[0] < 0xf0 ? 3
                 : text[0] < 0xf5 ? 4
                                  : 0;
    if (len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_wrong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
                    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f);
    return is_wrong ? 0 : len;
}

/* One line of UTF-8 whatever the plugin wrote: control characters, which would forge or break lines
 * of the log, become spaces, bytes that are no UTF-8 '?'. Takes whole characters up to len_max
 * bytes; ret_line has one more for the NUL. */
static void services_copy_line(const char *text, size_t len_max, char *ret_line)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t left = strnlen(text, len_max + 4); /* a character that is cut is seen as a whole */
    size_t len = 0;
    while (left > 0) {
        size_t taken = services_character_len(from, left);
        bool is_control = from[0] < 0x20 || from[0] == 0x7f || (from[0] == 0xc2 && from[1] < 0xa0);
        size_t size = taken == 0 || is_control ? 1 : taken;
        if (len + size > len_max) {
            break;
        }
        if (taken == 0) {
            ret_line[len] = '?';
        } else if (is_control) {
            ret_line[len] = ' ';
        } else {
            memcpy(ret_line + len, from, size);
        }
        taken = taken == 0 ? 1 : taken;
        len += size;
        from += taken;
        left -= taken;
    }
    ret_line[len] = '\0';
}

static void services_log(void *ctx, uint32_t level, const char *text)
{
    struct services *services = ctx;
    char line[SERVICES_TEXT_MAX];
    services_copy_line(text == NULL ? "(the plugin logged no text)" : text, sizeof(line) - 1, line);
    if (level < KV_LOG_ERROR || level > KV_LOG_DEBUG) {
        level = KV_LOG_WARN; /* no level that we know: shown rather than lost */
    }
    if (level == KV_LOG_ERROR) {
        pthread_mutex_lock(&services->lock);
        memcpy(services->last_error, line, strlen(line) + 1);
        pthread_mutex_unlock(&services->lock);
        atomic_fetch_add_explicit(&services->errors, 1, memory_order_relaxed);
    }
    if (level <= KV_LOG_WARN && atomic_load_explicit(&services->is_quiet, memory_order_relaxed)) {
        level = KV_LOG_DEBUG;
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

/* Where the record's reason stands or belongs. */
static uint32_t services_reason_at(const struct services *services, uint32_t record)
{
    uint32_t from = 0;
    uint32_t to = services->reasons_len;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (services->reasons[middle].record < record) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

/* Under the lock. The last reason given for a record counts; those beyond the limit are dropped. */
static void services_keep_reason(struct services *services, uint32_t record, const char *text)
{
    uint32_t at = services_reason_at(services, record);
    bool is_new = at == services->reasons_len || services->reasons[at].record != record;
    if (is_new && services->reasons_len == SERVICES_REASONS_MAX) {
        return;
    }
    if (is_new) {
        if (services->reasons_len == services->reasons_capacity) {
            services->reasons_capacity =
                services->reasons_capacity == 0 ? 8 : services->reasons_capacity * 2;
            services->reasons = alloc_resize(services->reasons, services->reasons_capacity *
                                                                    sizeof(services->reasons[0]));
        }
        memmove(services->reasons + at + 1, services->reasons + at,
                (services->reasons_len - at) * sizeof(services->reasons[0]));
        services->reasons_len++;
        services->reasons[at].record = record;
    }
    services_copy_line(text, SERVICES_REASON_BYTES_MAX, services->reasons[at].text);
}

static void services_reason_given(void *ctx, uint32_t record, const char *text)
{
    struct services *services = ctx;
    char line[256];
    const char *stray = NULL;
    pthread_mutex_lock(&services->lock);
    if (!services->hears_reasons) {
        stray = "outside apply()";
    } else if (!pthread_equal(services->reasons_thread, pthread_self())) {
        stray = "from another thread than apply()'s";
    } else if (record >= services->records_len) {
        stray = "for a record that is not of the batch";
    } else if (text == NULL) {
        stray = "without a text";
    } else {
        services_keep_reason(services, record, text);
    }
    bool is_told = stray == NULL || services->has_told_stray;
    services->has_told_stray = services->has_told_stray || stray != NULL;
    pthread_mutex_unlock(&services->lock);
    if (!is_told) {
        snprintf(line, sizeof(line),
                 "the plugin broke its contract: it called reason() %s (record %" PRIu32
                 "): ignored, and told this once only",
                 stray, record);
        services_log(services, KV_LOG_WARN, line);
    }
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
        .reason = services_reason_given,
    };
    return services;
}

void services_destroy(struct services *services)
{
    if (services == NULL) {
        return;
    }
    pthread_mutex_destroy(&services->lock);
    alloc_free(services->reasons);
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
    while (len > 0 && ((unsigned char)services->last_error[len] & 0xc0) == 0x80) {
        len--; /* no half characters */
    }
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

void services_set_quiet(struct services *services, bool is_quiet)
{
    atomic_store_explicit(&services->is_quiet, is_quiet, memory_order_relaxed);
}

void services_begin_reasons(struct services *services, uint32_t records_len)
{
    pthread_mutex_lock(&services->lock);
    services->hears_reasons = true;
    services->reasons_thread = pthread_self();
    services->records_len = records_len;
    services->reasons_len = 0;
    pthread_mutex_unlock(&services->lock);
}

void services_end_reasons(struct services *services)
{
    pthread_mutex_lock(&services->lock);
    services->hears_reasons = false;
    pthread_mutex_unlock(&services->lock);
}

const char *services_reason(const struct services *services, uint32_t record)
{
    uint32_t at = services_reason_at(services, record);
    bool is_there = at < services->reasons_len && services->reasons[at].record == record;
    return is_there && services->reasons[at].text[0] != '\0' ? services->reasons[at].text : NULL;
}

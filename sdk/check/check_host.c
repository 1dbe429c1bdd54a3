/*
 * Every piece of memory stands between a head, which names its owner and size, and a tail of known
 * bytes: a write beyond its end, a release of something foreign and a second release are seen when
 * it comes back. What is released is overwritten, and resize() always moves, so that a plugin that
 * keeps an old pointer reads nonsense rather than what it hoped for.
 */
#include "check_host.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK_HOST_MAGIC    0x6b76636865636b21ull
#define CHECK_HOST_RELEASED 0x72656c6561736564ull
#define CHECK_HOST_TAIL_LEN 16u
#define CHECK_HOST_TAIL     0xa5
#define CHECK_HOST_POISON   0xdd

struct check_host_head {
    uint64_t magic;
    struct check_host *owner;
    size_t size;
    uint64_t reserved; /* keeps what follows aligned to 16 bytes */
};

/* Under the lock. */
__attribute__((format(printf, 2, 3))) static void check_host_note_fault(struct check_host *host,
                                                                        const char *format, ...)
{
    if (host->fault[0] != '\0') {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(host->fault, sizeof(host->fault), format, arguments);
    va_end(arguments);
}

static void check_host_log(void *ctx, uint32_t level, const char *text)
{
    static const char *const names[] = {"?", "ERROR", "WARN", "INFO", "DEBUG"};
    struct check_host *host = ctx;
    pthread_mutex_lock(&host->lock);
    if (level < KV_LOG_ERROR || level > KV_LOG_DEBUG) {
        check_host_note_fault(host, "log() was called with the level %" PRIu32, level);
        level = 0;
    }
    if (text == NULL) {
        check_host_note_fault(host, "log() was called without a text");
        text = "";
    }
    if (strchr(text, '\n') != NULL) {
        check_host_note_fault(
            host, "log() was called with a text of more than one line: \"%.100s\"", text);
    }
    if (level == KV_LOG_ERROR) {
        host->errors++;
        snprintf(host->last_error, sizeof(host->last_error), "%s", text);
    }
    snprintf(host->lines[host->lines_len % CHECK_HOST_LINES_MAX], CHECK_HOST_TEXT_MAX, "%s: %s",
             names[level], text);
    host->lines_len++;
    pthread_mutex_unlock(&host->lock);
}

static uint64_t check_host_now_ms(void *ctx)
{
    struct timespec now;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void *check_host_allocate(void *ctx, size_t size)
{
    struct check_host *host = ctx;
    struct check_host_head *head = NULL;
    pthread_mutex_lock(&host->lock);
    host->allocations++;
    if ((host->fail_at == 0 || host->allocations < host->fail_at) &&
        size < SIZE_MAX - sizeof(*head) - CHECK_HOST_TAIL_LEN) {
        head = malloc(sizeof(*head) + size + CHECK_HOST_TAIL_LEN);
    }
    if (head != NULL) {
        *head = (struct check_host_head){CHECK_HOST_MAGIC, host, size, 0};
        memset(head + 1, CHECK_HOST_POISON, size); /* it is not zeroed: nobody may count on it */
        memset((char *)(head + 1) + size, CHECK_HOST_TAIL, CHECK_HOST_TAIL_LEN);
        host->live++;
        host->live_bytes += (int64_t)size;
    }
    pthread_mutex_unlock(&host->lock);
    return head == NULL ? NULL : head + 1;
}

/* The head of a piece of memory that comes back; NULL and a fault when it is none. Locked. */
static struct check_host_head *check_host_take_back(struct check_host *host, void *memory,
                                                    const char *function)
{
    struct check_host_head *head = (struct check_host_head *)memory - 1;
    if (head->magic == CHECK_HOST_RELEASED) {
        check_host_note_fault(host, "%s() got memory that was released before", function);
        return NULL;
    }
    if (head->magic != CHECK_HOST_MAGIC) {
        check_host_note_fault(host,
                              "%s() got memory that did not come from allocate(), or whose "
                              "bytes before its begin were overwritten",
                              function);
        return NULL;
    }
    if (head->owner != host) {
        check_host_note_fault(host, "%s() got memory of another instance", function);
        return NULL;
    }
    const unsigned char *tail = (const unsigned char *)(head + 1) + head->size;
    for (size_t i = 0; i < CHECK_HOST_TAIL_LEN; i++) {
        if (tail[i] != CHECK_HOST_TAIL) {
            check_host_note_fault(host,
                                  "the plugin wrote beyond the end of %zu bytes that it had "
                                  "allocated",
                                  head->size);
            return NULL;
        }
    }
    return head;
}

static void check_host_release(void *ctx, void *memory)
{
    struct check_host *host = ctx;
    if (memory == NULL) {
        return;
    }
    pthread_mutex_lock(&host->lock);
    struct check_host_head *head = check_host_take_back(host, memory, "release");
    if (head != NULL) {
        host->live--;
        host->live_bytes -= (int64_t)head->size;
        head->magic = CHECK_HOST_RELEASED;
        memset(memory, CHECK_HOST_POISON, head->size);
        free(head);
    }
    pthread_mutex_unlock(&host->lock);
}

static void *check_host_resize(void *ctx, void *memory, size_t size)
{
    struct check_host *host = ctx;
    size_t old_size = 0;
    if (memory != NULL) {
        pthread_mutex_lock(&host->lock);
        const struct check_host_head *head = check_host_take_back(host, memory, "resize");
        old_size = head == NULL ? 0 : head->size;
        pthread_mutex_unlock(&host->lock);
        if (head == NULL) {
            return NULL;
        }
    }
    void *moved = check_host_allocate(ctx, size);
    if (moved != NULL && memory != NULL) {
        memcpy(moved, memory, old_size < size ? old_size : size);
        check_host_release(ctx, memory);
    }
    return moved;
}

static uint32_t check_host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    const struct check_host *host = ctx;
    const unsigned char *from = bytes;
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc = (crc >> 8) ^ host->crc_table[(crc ^ from[i]) & 0xff];
    }
    return ~crc;
}

static void check_host_fill_crc_table(struct check_host *host)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
        }
        host->crc_table[byte] = crc;
    }
}

static void check_host_take_reason(void *ctx, uint32_t record, const char *text)
{
    struct check_host *host = ctx;
    pthread_mutex_lock(&host->lock);
    if (!host->is_in_apply) {
        check_host_note_fault(host, "reason() was called outside apply()");
    } else if (!pthread_equal(host->apply_thread, pthread_self())) {
        check_host_note_fault(host, "reason() was called from another thread than apply()'s");
    } else if (record >= host->records_len) {
        check_host_note_fault(host, "reason() was called for record %" PRIu32 " of %" PRIu32,
                              record, host->records_len);
    } else if (text == NULL) {
        check_host_note_fault(host, "reason() was called without a text");
    } else if (host->reasons_len < CHECK_HOST_REASONS_MAX) {
        struct check_host_reason *reason = &host->reasons[host->reasons_len++];
        reason->record = record;
        snprintf(reason->text, sizeof(reason->text), "%s", text);
    }
    pthread_mutex_unlock(&host->lock);
}

void check_host_init(struct check_host *host, void *loop)
{
    memset(host, 0, sizeof(*host));
    pthread_mutex_init(&host->lock, NULL);
    check_host_fill_crc_table(host);
    host->table = (struct kv_host){
        .size = sizeof(struct kv_host),
        .ctx = host,
        .log = check_host_log,
        .now_ms = check_host_now_ms,
        .allocate = check_host_allocate,
        .resize = check_host_resize,
        .release = check_host_release,
        .crc32c = check_host_crc32c,
        .loop = loop,
        .reason = check_host_take_reason,
    };
}

void check_host_close(struct check_host *host)
{
    pthread_mutex_destroy(&host->lock);
}

void check_host_begin_apply(struct check_host *host, uint32_t records_len)
{
    pthread_mutex_lock(&host->lock);
    host->is_in_apply = true;
    host->apply_thread = pthread_self();
    host->records_len = records_len;
    host->reasons_len = 0;
    pthread_mutex_unlock(&host->lock);
}

void check_host_end_apply(struct check_host *host)
{
    pthread_mutex_lock(&host->lock);
    host->is_in_apply = false;
    pthread_mutex_unlock(&host->lock);
}

const char *check_host_reason(const struct check_host *host, uint32_t record)
{
    const char *text = NULL;
    for (uint32_t i = 0; i < host->reasons_len; i++) {
        if (host->reasons[i].record == record) {
            text = host->reasons[i].text; /* the last one counts */
        }
    }
    return text;
}

void check_host_fail_after(struct check_host *host, uint64_t more)
{
    pthread_mutex_lock(&host->lock);
    host->fail_at = more == 0 ? 0 : host->allocations + more;
    pthread_mutex_unlock(&host->lock);
}

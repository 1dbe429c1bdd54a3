/*
 * The host that a plugin's tests give it: counts memory, keeps what is logged, stops the clock, and
 * refuses memory when it is told to. Its functions may be called on any thread. Test code only.
 */
#ifndef PLUGINS_TESTS_KIT_HOST_H
#define PLUGINS_TESTS_KIT_HOST_H

#include <kvnode/host.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIT_LOG_LEN_MAX    65536u
#define KIT_REASON_LEN_MAX 512u

struct kit_host {
    struct kv_host table; /* a test may make its size smaller: a host of an earlier ABI */
    pthread_mutex_t lock;
    char log[KIT_LOG_LEN_MAX]; /* the latest lines */
    size_t log_len;
    uint32_t errors;
    uint32_t warnings;
    int64_t live;      /* allocations */
    int64_t live_most; /* the highest ever */
    uint64_t now_ms;
    uint64_t allocations;
    uint64_t fail_allocation;        /* this one and the next get no memory; 0: none */
    uint32_t reasons;                /* calls of reason() */
    uint32_t reason_record;          /* of the latest */
    char reason[KIT_REASON_LEN_MAX]; /* its text */
};

void kit_host_init(struct kit_host *host);
/* Ends the process when something is still allocated. */
void kit_host_close(struct kit_host *host);
/* Forgets what was logged. */
void kit_host_clear(struct kit_host *host);
/* Errors logged; safe while the plugin's threads run. */
uint32_t kit_host_errors(struct kit_host *host);
/* Whether the log has this text. */
bool kit_host_has(struct kit_host *host, const char *text);

#endif

/*
 * When to log something that fails again and again: at once, then when its text changes, else at
 * doubling intervals; and once when it works again. What works for a moment only and fails anew for
 * the same reason is still the same trouble: the intervals go on. It decides and counts; the caller
 * writes the line. Caller's storage, one thread at a time.
 */
#ifndef HOST_FAILURE_LOG_H
#define HOST_FAILURE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#define FAILURE_LOG_FIRST_MS 1000u    /* the first interval */
#define FAILURE_LOG_MAX_MS   3600000u /* the longest one */
#define FAILURE_LOG_TEXT_MAX 512u     /* bytes of a text that are compared, NUL included */

struct failure_log {
    uint64_t attempts;  /* that failed since it last worked; 0: it works */
    uint64_t since_ms;  /* the first of them */
    uint64_t next_ms;   /* logged then at the latest, if it still fails */
    uint64_t worked_ms; /* when it worked last */
    uint32_t interval_ms;
    bool is_told;                    /* one of the attempts was logged */
    char text[FAILURE_LOG_TEXT_MAX]; /* of the line logged last */
};

/* Zeroed storage is one that works. An attempt failed, for the reason of text: true when that is to
 * be logged. */
bool failure_log_note(struct failure_log *failures, uint64_t now_ms, const char *text);

/* It worked: true when it had failed before and that was logged; then *ret_attempts attempts had,
 * and the first *ret_after_ms ago. */
bool failure_log_end(struct failure_log *failures, uint64_t now_ms, uint64_t *ret_attempts,
                     uint64_t *ret_after_ms);

#endif

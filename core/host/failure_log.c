#include "host/failure_log.h"

#include <string.h>

bool failure_log_note(struct failure_log *failures, uint64_t now_ms, const char *text)
{
    size_t len = strnlen(text, sizeof(failures->text) - 1);
    if (failures->attempts == 0) {
        failures->since_ms = now_ms;
        failures->is_told = false;
        if (now_ms - failures->worked_ms >= failures->interval_ms) {
            failures->interval_ms = 0; /* it had worked for long enough to be news */
        }
    }
    bool is_other = strncmp(failures->text, text, len) != 0 || failures->text[len] != '\0';
    failures->attempts++;
    if (failures->interval_ms == 0) {
        failures->interval_ms = FAILURE_LOG_FIRST_MS;
    } else if (!is_other && now_ms >= failures->next_ms) {
        failures->interval_ms = failures->interval_ms < FAILURE_LOG_MAX_MS / 2
                                    ? failures->interval_ms * 2
                                    : FAILURE_LOG_MAX_MS;
    } else if (!is_other) {
        return false;
    }
    failures->is_told = true;
    failures->next_ms = now_ms + failures->interval_ms;
    memcpy(failures->text, text, len);
    failures->text[len] = '\0';
    return true;
}

bool failure_log_end(struct failure_log *failures, uint64_t now_ms, uint64_t *ret_attempts,
                     uint64_t *ret_after_ms)
{
    if (failures->attempts == 0) {
        return false;
    }
    *ret_attempts = failures->attempts;
    *ret_after_ms = now_ms - failures->since_ms;
    failures->attempts = 0;
    failures->worked_ms = now_ms;
    return failures->is_told;
}

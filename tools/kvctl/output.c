#include "output.h"

#include "json_bytes.h"
#include "kvctl.h"
#include "pairs.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define OUTPUT_KEY_MAX 60u

void output_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("kvctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void outcome_take(struct outcome *outcome, const struct kv_answer *answer)
{
    outcome->is_done = true;
    outcome->status = answer->status;
    outcome->retry_after_ms = answer->retry_after_ms;
    outcome->position = answer->position;
    snprintf(outcome->reason, sizeof(outcome->reason), "%s",
             answer->reason == NULL ? "" : answer->reason);
}

void outcome_refuse(struct outcome *outcome, int32_t status)
{
    const char *reason = status == KV_E_TOO_LARGE ? "key or value is too large for any node"
                         : status == KV_E_BUSY    ? "too many requests at a time"
                                                  : "the client library does not take it";
    *outcome = (struct outcome){.is_done = true, .status = status};
    snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason);
}

int outcome_exit(int32_t status)
{
    switch (status) {
    case KV_OK:
        return EXIT_DONE;
    case KV_E_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case KV_E_REJECTED:
    case KV_E_BUSY:
    case KV_E_TOO_LARGE:
    case KV_E_INVALID:
        return EXIT_REJECTED;
    case KV_E_UNREACHABLE:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}

const char *outcome_word(int32_t status)
{
    static const char *const words[] = {
        [EXIT_DONE] = "ok",           [EXIT_NOT_FOUND] = "not_found",
        [EXIT_USAGE] = "usage",       [EXIT_FAILED] = "failed",
        [EXIT_REJECTED] = "rejected", [EXIT_UNREACHABLE] = "unreachable",
    };
    return words[outcome_exit(status)];
}

int outcome_report(const struct outcome *outcome, const char *what)
{
    static const char *const verdicts[] = {
        [EXIT_DONE] = "done",
        [EXIT_NOT_FOUND] = "not found",
        [EXIT_USAGE] = "usage",
        [EXIT_FAILED] = "not confirmed in time",
        [EXIT_REJECTED] = "rejected, certainly not executed",
        [EXIT_UNREACHABLE] = "nobody reachable",
    };
    int status = outcome_exit(outcome->status);
    const char *verdict = outcome->status == KV_E_REFUSED ? "failed" : verdicts[status];
    char retry[64] = "";
    if (outcome->retry_after_ms > 0) {
        snprintf(retry, sizeof(retry), " (may succeed in %u ms)", outcome->retry_after_ms);
    }
    const char *colon = outcome->reason[0] == '\0' ? "" : ": ";
    output_error("%s: %s%s%s%s", what, verdict, colon, outcome->reason, retry);
    return status;
}

const char *output_name_key(struct text_buffer *text, const char *what, const void *key, size_t len)
{
    text_buffer_append_text(text, what);
    text_buffer_append_text(text, " '");
    pairs_tsv_encode_field(key, len > OUTPUT_KEY_MAX ? OUTPUT_KEY_MAX : len, text);
    text_buffer_append_text(text, len > OUTPUT_KEY_MAX ? "...'" : "'");
    text_buffer_append_byte(text, 0);
    return (const char *)text->bytes;
}

void output_json(struct json_t *object)
{
    struct text_buffer line = {0};
    json_bytes_dump(object, &line);
    text_buffer_append_byte(&line, '\n');
    fwrite(line.bytes, 1, line.len, stdout);
    text_buffer_close(&line);
}

int output_finish(int status)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        output_error("cannot write the output: %s", errno == 0 ? "write error" : strerror(errno));
        return EXIT_FAILED;
    }
    return status;
}

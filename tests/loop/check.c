/*
 * Nearly all rules are of the form "this one had ended before that one began, therefore"; so every
 * pair is looked at. A history has some thousand requests.
 */
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define CHECK_NS_PER_MS 1000000u

__attribute__((format(printf, 2, 3))) static bool check_wrong(char *ret_text, const char *format,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ret_text, CHECK_TEXT_MAX, format, arguments);
    va_end(arguments);
    return false;
}

static bool check_is_update(const struct history_op *op)
{
    return op->kind != HISTORY_GET;
}

static bool check_is_acked(const struct history_op *op)
{
    return check_is_update(op) && op->outcome == HISTORY_OK;
}

static bool check_is_read(const struct history_op *op)
{
    return op->kind == HISTORY_GET && (op->outcome == HISTORY_OK || op->outcome == HISTORY_ABSENT);
}

static bool check_is_at_primary(const struct history_op *op)
{
    return strcmp(op->node, "-") == 0;
}

/* A read that has to show an update which ended before it. */
static bool check_must_show(const struct history_op *read, const struct history_op *update)
{
    return strcmp(read->key, update->key) == 0 &&
           (check_is_at_primary(read) || read->session == update->session);
}

/* --- of one --- */

static bool check_answer(const struct history_op *op, uint32_t slack_ms, char *ret_text)
{
    if (op->answers != 1 || op->returned_ns == UINT64_MAX) {
        return check_wrong(ret_text, "request %" PRIu64 " of session %u on %s has %u answers",
                           op->value, op->session, op->key, op->answers);
    }
    uint64_t took_ms = (op->returned_ns - op->invoked_ns) / CHECK_NS_PER_MS;
    if (took_ms > (uint64_t)op->deadline_ms + slack_ms) {
        return check_wrong(ret_text,
                           "session %u on %s: answered after %" PRIu64 " ms, the deadline was %u",
                           op->session, op->key, took_ms, op->deadline_ms);
    }
    return true;
}

/* The value was written, and not before the read had ended. */
static bool check_value(const struct history *history, const struct history_op *read,
                        char *ret_text)
{
    for (uint32_t i = 0; i < history->len; i++) {
        const struct history_op *op = &history->ops[i];
        if (op->kind == HISTORY_INSERT && op->value == read->value &&
            strcmp(op->key, read->key) == 0) {
            if (op->outcome == HISTORY_REJECTED) {
                return check_wrong(ret_text, "%s at %s: the rejected value %" PRIu64 " was read",
                                   read->key, read->node, read->value);
            }
            if (op->invoked_ns > read->returned_ns ||
                (op->outcome == HISTORY_OK && op->index > read->index)) {
                return check_wrong(ret_text,
                                   "%s at %s: value %" PRIu64 " was read before it was written",
                                   read->key, read->node, read->value);
            }
            return true;
        }
    }
    return check_wrong(ret_text, "%s at %s: value %" PRIu64 " was written by nobody", read->key,
                       read->node, read->value);
}

/* Somebody removed what was acknowledged before. */
static bool check_absence(const struct history *history, const struct history_op *read,
                          char *ret_text)
{
    const struct history_op *last = NULL;
    bool is_removed = false;
    for (uint32_t i = 0; i < history->len; i++) {
        const struct history_op *op = &history->ops[i];
        if (op->kind == HISTORY_INSERT && op->outcome == HISTORY_OK &&
            op->returned_ns < read->invoked_ns && check_must_show(read, op) &&
            (last == NULL || op->index > last->index)) {
            last = op;
        }
    }
    for (uint32_t i = 0; last != NULL && i < history->len; i++) {
        const struct history_op *op = &history->ops[i];
        is_removed = is_removed || (op->kind == HISTORY_REMOVE && strcmp(op->key, read->key) == 0 &&
                                    op->invoked_ns < read->returned_ns &&
                                    (op->outcome == HISTORY_UNKNOWN ||
                                     (op->outcome == HISTORY_OK && op->index > last->index)));
    }
    if (last != NULL && !is_removed) {
        return check_wrong(ret_text,
                           "%s at %s (state %" PRIu64 "): the acknowledged value %" PRIu64
                           " of index %" PRIu64 " is not there, and nobody removed it",
                           read->key, read->node, read->index, last->value, last->index);
    }
    return true;
}

/* --- of two: the earlier had ended before the later began --- */

static bool check_update_then_read(const struct history_op *update, const struct history_op *read,
                                   char *ret_text)
{
    bool is_other = read->outcome == HISTORY_OK && read->index == update->index &&
                    (update->kind != HISTORY_INSERT || update->value != read->value);
    if (read->index < update->index || is_other) {
        return check_wrong(ret_text,
                           "%s at %s: read value %" PRIu64 " of index %" PRIu64
                           ", after the acknowledged %s of %" PRIu64 " at index %" PRIu64,
                           read->key, read->node, read->value, read->index,
                           update->kind == HISTORY_INSERT ? "insert" : "remove", update->value,
                           update->index);
    }
    return true;
}

static bool check_read_then_read(const struct history_op *earlier, const struct history_op *later,
                                 char *ret_text)
{
    bool is_back = later->index < earlier->index;
    if (later->outcome == HISTORY_OK) {
        /* A record's index says something about its key only. */
        bool is_same = strcmp(earlier->key, later->key) == 0;
        bool is_old =
            is_back || (earlier->outcome == HISTORY_ABSENT && later->index == earlier->index);
        bool is_other = earlier->outcome == HISTORY_OK && earlier->index == later->index &&
                        earlier->value != later->value;
        is_back = is_same && (is_old || is_other);
    }
    if (is_back) {
        return check_wrong(ret_text,
                           "at %s a read went back: %s value %" PRIu64 " index %" PRIu64
                           ", then %s value %" PRIu64 " index %" PRIu64,
                           later->node, earlier->key, earlier->value, earlier->index, later->key,
                           later->value, later->index);
    }
    return true;
}

static bool check_pair(const struct history_op *earlier, const struct history_op *later,
                       char *ret_text)
{
    if (check_is_acked(earlier) && check_is_acked(later) && later->index <= earlier->index) {
        return check_wrong(ret_text,
                           "an update of %s got index %" PRIu64 ", after one of %s with index "
                           "%" PRIu64,
                           later->key, later->index, earlier->key, earlier->index);
    }
    if (check_is_acked(earlier) && check_is_read(later) && check_must_show(later, earlier)) {
        return check_update_then_read(earlier, later, ret_text);
    }
    if (check_is_read(earlier) && check_is_read(later) && strcmp(earlier->node, later->node) == 0) {
        return check_read_then_read(earlier, later, ret_text);
    }
    return true;
}

bool check_history(const struct history *history, uint32_t slack_ms, char *ret_text)
{
    for (uint32_t i = 0; i < history->len; i++) {
        const struct history_op *op = &history->ops[i];
        bool is_right = check_answer(op, slack_ms, ret_text);
        if (is_right && check_is_read(op)) {
            is_right = op->outcome == HISTORY_OK ? check_value(history, op, ret_text)
                                                 : check_absence(history, op, ret_text);
        }
        for (uint32_t j = 0; is_right && j < history->len; j++) {
            is_right = history->ops[j].returned_ns >= op->invoked_ns ||
                       check_pair(&history->ops[j], op, ret_text);
        }
        if (!is_right) {
            return false;
        }
    }
    return true;
}

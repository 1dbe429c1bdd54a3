/*
 * Looks at a history for what must never be in it:
 * - an acknowledged update that a later read at the primary does not show, and that nobody
 *   overwrote; the last reads of a history are made when all is quiet, so this is durability, too;
 * - a read at the primary that is older than an update or a read which had ended before it began;
 * - two updates whose order in the log is not that in which one ended before the other began;
 * - at one node: a read that is older than one before it, or than the session's own last update;
 * - a value that nobody wrote, or that was rejected;
 * - a request without exactly one answer, or with one that came too late.
 *
 * It knows the order from the indexes that nodes tell. What they tell wrongly is found by
 * linearizable/, which looks at values only.
 */
#ifndef LOOP_CHECK_H
#define LOOP_CHECK_H

#include "history.h"

#define CHECK_TEXT_MAX 512u

/* slack_ms: how much later than its deadline an answer may come. False: ret_text (CHECK_TEXT_MAX
 * bytes) says what is wrong. */
bool check_history(const struct history *history, uint32_t slack_ms, char *ret_text);

#endif

/*
 * What people and scripts read: results on stdout, one clear sentence per problem on stderr.
 */
#ifndef KVCTL_OUTPUT_H
#define KVCTL_OUTPUT_H

#include "text_buffer.h"

#include <kvnode/client.h>
#include <stdbool.h>
#include <stdio.h>

#define OUTPUT_REASON_MAX 512u

/* "kvctl: SENTENCE" and a newline on stderr. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What came of a request that was not answered with KV_OK: its answer, kept. */
struct outcome {
    bool is_done;
    int32_t status;
    uint32_t retry_after_ms;
    struct kv_position position;
    char reason[OUTPUT_REASON_MAX];
};

void outcome_take(struct outcome *outcome, const struct kv_answer *answer);

/* The same for a request that the client library did not take: never sent. */
void outcome_refuse(struct outcome *outcome, int32_t status);

/* The exit status that an answer's status stands for. */
int outcome_exit(int32_t status);

/* One word: ok, not_found, failed, rejected, unreachable. */
const char *outcome_word(int32_t status);

/* One error sentence on stderr about a request, `what` names it ("put of key 'x'"). Returns the
 * exit status. */
int outcome_report(const struct outcome *outcome, const char *what);

/* Appends `what 'KEY'` with the key's bytes made printable and long keys cut; NUL-terminated. */
const char *output_name_key(struct text_buffer *text, const char *what, const void *key,
                            size_t len);

/* Appends an object's line to stdout and frees it; see json_bytes_dump(). */
struct json_t;
void output_json(struct json_t *object);

/* Flushes stdout. Returns `status`, or EXIT_FAILED after a message when not everything could be
 * written. */
int output_finish(int status);

#endif

/*
 * What clients did and saw: one line for each request, in a text file that loop-load writes and
 * the checkers (check.h, linearizable/) read.
 *
 *   SESSION KIND KEY VALUE NODE MIN_INDEX DEADLINE_MS INVOKED_NS RETURNED_NS OUTCOME INDEX ANSWERS
 *
 * SESSION: its requests follow each other. KIND: insert, remove, get. VALUE: a number that only
 * one insert has; 0 for absent. NODE: where a get was read, "-" for the primary. Times are of
 * CLOCK_MONOTONIC. INDEX: of the update; of the record read; with "absent", of the state read.
 */
#ifndef LOOP_HISTORY_H
#define LOOP_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define HISTORY_NAME_MAX 32u

enum history_kind { HISTORY_INSERT, HISTORY_REMOVE, HISTORY_GET };

enum history_outcome {
    HISTORY_OK,       /* an update was acknowledged, a get has a value */
    HISTORY_ABSENT,   /* a get found no such key */
    HISTORY_UNKNOWN,  /* failed or not answered: may have taken effect, or may yet */
    HISTORY_REJECTED, /* certainly not executed */
};

struct history_op {
    uint32_t session;
    enum history_kind kind;
    char key[HISTORY_NAME_MAX];
    uint64_t value;
    char node[HISTORY_NAME_MAX];
    uint64_t min_index;
    uint32_t deadline_ms;
    uint64_t invoked_ns;
    uint64_t returned_ns; /* UINT64_MAX: there was no answer */
    enum history_outcome outcome;
    uint64_t index;
    uint32_t answers;
};

struct history {
    struct history_op *ops;
    uint32_t len;
    uint32_t size;
};

void history_write_op(FILE *file, const struct history_op *op);

/* Adds a copy. */
void history_add(struct history *history, const struct history_op *op);

/* Takes a text of lines. False: a line is malformed; its number is told, from 1. */
bool history_parse(struct history *history, const char *text, uint32_t *ret_line);

void history_close(struct history *history);

#endif

/*
 * What happens to the next message on a bad network, decided by a seed: whether it is lost, comes
 * twice, late, after those behind it, or altered. And the queue of those that are late.
 *
 * For tests, by whoever hands messages or datagrams on. Pure: no clock, no memory, no input or
 * output; the same seed and settings give the same verdicts in the same order. A struct belongs to
 * one thread. It never looks at a message but in faults_flip().
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTS_COPIES_MAX     2u
#define FAULTS_FLIPS_MAX      8u
#define FAULTS_REORDER_MS_MAX 10u    /* how long one is held so that others overtake it */
#define FAULTS_DELAY_MS_MAX   60000u /* bound of delay_ms */
#define FAULTS_ERROR_MAX      160u

struct faults_settings {
    uint64_t seed;
    uint32_t drop_permille;
    uint32_t duplicate_permille;
    uint32_t reorder_permille;
    uint32_t corrupt_permille;
    uint32_t delay_ms; /* each copy is late by 0 to so many, which swaps messages too */
};

struct faults_counters {
    uint64_t messages;
    uint64_t dropped;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t corrupted;
    uint64_t delayed; /* copies that do not go at once, for delay_ms */
};

struct faults {
    struct faults_settings settings;
    struct faults_counters counters;
    uint64_t state;
};

struct faults_copy {
    uint32_t delay_ms;                /* 0: at once */
    uint32_t flips_len;               /* 0: unaltered */
    uint64_t flips[FAULTS_FLIPS_MAX]; /* for faults_flip() */
};

struct faults_verdict {
    uint32_t copies_len; /* 0: the message is lost */
    struct faults_copy copies[FAULTS_COPIES_MAX];
};

/* Reads "seed=1,drop=50,duplicate=20,reorder=50,corrupt=5,delay_ms=3": rates in permille, each name
 * at most once, in any order, 0 when it is not there (seed: 1); "" is no fault. KV_OK, or
 * KV_E_INVALID with what is wrong in ret_error (FAULTS_ERROR_MAX bytes). */
int32_t faults_parse(const char *text, struct faults_settings *ret_settings, char *ret_error);

/* Settings out of range are KV_E_INVALID, with a text as above. */
int32_t faults_init(struct faults *faults, const struct faults_settings *settings, char *ret_error);

/* The fate of the next message. */
void faults_decide(struct faults *faults, struct faults_verdict *ret_verdict);

/* Flips bits of a message as its copy's verdict says; nothing when it has no bytes. Two flips of
 * one bit do not cancel each other: at least one bit is another afterwards. */
void faults_flip(const struct faults_copy *copy, void *bytes, size_t len);

/* --- messages that are late --- */

/* To be embedded in what is held. */
struct faults_held {
    uint64_t due_ms;
    struct faults_held *next;
    struct faults_held *prev;
};

/* Ordered by due_ms; those of the same millisecond in the order in which they were put in. */
struct faults_queue {
    struct faults_held ends; /* next: the first, prev: the last */
    uint32_t len;
};

void faults_queue_init(struct faults_queue *queue);
void faults_queue_put(struct faults_queue *queue, struct faults_held *held, uint64_t due_ms);

/* The first; NULL: the queue is empty. */
struct faults_held *faults_queue_first(const struct faults_queue *queue);

/* The one behind; NULL: there is none. */
struct faults_held *faults_queue_next(const struct faults_queue *queue,
                                      const struct faults_held *held);

/* Takes one of the queue out. */
void faults_queue_remove(struct faults_queue *queue, struct faults_held *held);

/* Takes the first out if it is due at now_ms; else NULL. */
struct faults_held *faults_queue_take(struct faults_queue *queue, uint64_t now_ms);

#endif

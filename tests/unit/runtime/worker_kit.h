/*
 * A persistence worker with a plugin that is part of the program, which does what `plan` says. What
 * the plugin saw is in `seen`, what the loop was told in `told`; all are cleared by worker_setup().
 */
#ifndef RUNTIME_WORKER_KIT_H
#define RUNTIME_WORKER_KIT_H

#include "host/log.h"
#include "host/persist_worker.h"
#include "kit.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORKER_OUTCOMES_MAX 16u
#define WORKER_APPLIED_MAX  64u

/* What the plugin is to do; set before the worker starts. */
struct worker_plan {
    int32_t create_status;
    int32_t open_statuses[WORKER_OUTCOMES_MAX];             /* of the n-th open */
    struct kv_position open_positions[WORKER_OUTCOMES_MAX]; /* view 0xff..: what it has reached */
    uint32_t load_records;
    int32_t load_status; /* after the records */
    int32_t apply_statuses[WORKER_OUTCOMES_MAX];
    uint32_t apply_results[WORKER_OUTCOMES_MAX]; /* of the first record */
    const char *apply_reason;                    /* of the first record; NULL: none */
    int32_t reset_statuses[WORKER_OUTCOMES_MAX];
    const struct kv_setting *settings;
    bool hold_apply; /* until `release` */
};
extern struct worker_plan plan;

#define WORKER_POSITION_REACHED ((struct kv_position){UINT64_MAX, 0})

/* What the plugin saw. */
struct worker_seen {
    _Atomic uint64_t emitted_bytes;
    _Atomic uint32_t opens;
    _Atomic uint32_t closes;
    _Atomic uint32_t applies;
    _Atomic uint32_t resets;
    _Atomic uint32_t destroys;
    _Atomic bool load_was_stopped;
    _Atomic bool is_in_apply;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool release;
    struct kv_position reached;
    char order[256]; /* one letter a call: Open, Reset, Apply, Close */
    /* of the last apply */
    char keys[WORKER_APPLIED_MAX][16];
    struct kv_record records[WORKER_APPLIED_MAX];
    uint32_t count;
    struct kv_position position;
};
extern struct worker_seen seen;

/* What the loop was told. */
struct worker_told {
    uv_loop_t loop;
    struct services *services;
    struct persist_worker *worker;
    uint64_t loaded_bytes;
    uint32_t loaded_records;
    uint32_t pieces;
    bool is_loaded;
    struct kv_position position;
    bool has_failed;
    bool failed_in_create;
    bool is_applied; /* or has failed */
    uint32_t outcomes;
    uint64_t batch;
    int32_t status;
    char error[PERSIST_WORKER_ERROR_MAX];
    uint32_t refusals_len;
    uint32_t refused[WORKER_APPLIED_MAX];
    char reason[PERSIST_WORKER_ERROR_MAX]; /* of the first refusal */
    bool is_stopped;
    bool stop_at_first_piece;
};
extern struct worker_told told;

extern struct loaded_plugin worker_plugin;

int worker_setup(void **state);
int worker_teardown(void **state);

void worker_start(void);
void worker_start_and_load(void);
void worker_stop(void);

/* A batch of `count` removals with keys "0" to "count - 1", cut into slices of two, and the flags
 * of `model`; the position is {4, number} unless model has one. Returns its outcome; when the
 * worker gives up instead, told.has_failed is set. */
int32_t worker_apply(uint64_t number, uint32_t count);
int32_t worker_apply_like(uint64_t number, uint32_t count,
                          const struct persist_worker_batch *model);

/* Repeats the batch until it is stored, and returns how many outcomes that took. */
uint32_t worker_apply_until_stored(uint64_t *number, const struct persist_worker_batch *model);

#endif

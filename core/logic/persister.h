/*
 * The queue towards the persistence plugin: jobs in the order in which the store must see them, one
 * batch in flight, the next one gathering meanwhile. A failed batch is handed over again, first
 * after retransmit_ms, then later and later, until it is stored: nothing is ever skipped, so the
 * store always follows the memory.
 *
 * Happy path: add, pump (emits PERSIST), on_persisted, which tells the highest mark that is
 * durable.
 */
#ifndef LOGIC_PERSISTER_H
#define LOGIC_PERSISTER_H

#include "logic/context.h"
#include "logic/log.h"

#define PERSISTER_SLICES_MAX 512u
#define PERSISTER_ERROR_MAX  256u

struct persist_job;

struct persister {
    struct persist_job *jobs; /* ring */
    uint32_t jobs_capacity;   /* a power of two, or 0 */
    uint32_t jobs_first;
    uint32_t jobs_len;
    uint32_t in_flight; /* jobs of the batch in flight; 0: none */
    bool failed;        /* the batch in flight is back and waits for retry_ms */
    uint64_t retry_ms;
    uint32_t failures; /* of the batch in flight */
    bool is_primary;   /* told with each batch */
    bool was_told;     /* the store was given a batch in this process */
    uint64_t batch;    /* number of the batch in flight, or of the last one */
    uint64_t bytes;    /* of all jobs */
    uint32_t
        records_max; /* of the next batch: so many that the store takes about replica_timeout / 8 */
    uint64_t since_ms;          /* when the batch in flight was handed over for the first time */
    uint64_t emitted_ms;        /* when it was handed over for the last time */
    uint32_t emitted_len;       /* records in it */
    bool measured;              /* ... and how long it took is known */
    struct kv_position offered; /* reached with the batch in flight */
    struct kv_position stored;  /* what the store has reached, as far as is known */
    struct kv_slice slices[PERSISTER_SLICES_MAX];
    char error[PERSISTER_ERROR_MAX]; /* of the last failure; "" once a batch succeeded */
};

void persister_init(struct persister *persister);
void persister_close(struct persister *persister);

/* Records first to last of the log, which stay held until durable. complete: with them the store's
 * content is complete as of that record (else its position is (0, 0): a transfer is going on).
 * mark: told when they are durable; marks never go down; 0: tell nothing. */
void persister_add_log(struct persister *persister, struct log *log, uint64_t first, uint64_t last,
                       bool complete, uint64_t mark);

/* Takes over encoded records (NULL when count is 0: only the position is stored). */
void persister_add_bytes(struct persister *persister, uint8_t *bytes, size_t len, uint32_t count,
                         struct kv_position position, uint64_t mark);

/* The job queued last is the last one of its batch: what follows must find its position stored. */
void persister_end_batch(struct persister *persister);

/* Makes every mark of the jobs queued so far void; they are still stored, in their order. */
void persister_void_marks(struct persister *persister);

/* Emits a PERSIST when something waits and nothing is in flight. */
void persister_pump(struct persister *persister, struct context *context);

struct persist_done {
    uint64_t mark;  /* highest mark in the batch, 0 for none */
    uint64_t index; /* highest index in it of records of the log asked about, 0 for none */
};

/* True when batch is the one in flight. */
bool persister_is_in_flight(const struct persister *persister, uint64_t batch);

/* One record of the batch in flight that the store refuses for good. */
struct refused {
    struct kv_record record; /* borrowed until the batch is done */
    uint64_t index;          /* its index when it is one of the log asked about, else 0 */
    const char *reason;      /* NULL or "": none was given */
};

/* Fills record and index of the one with this number in the batch in flight, from 0. */
void persister_find(const struct persister *persister, uint32_t number, const struct log *log,
                    struct refused *ret_refused);

/* The batch in flight is stored. False when it is not the batch in flight, which is then ignored.
 */
bool persister_on_persisted(struct persister *persister, uint64_t batch, const struct log *log,
                            struct persist_done *ret_done);

/* The batch in flight is not known to be stored; error may be NULL. False as above. */
bool persister_on_failed(struct persister *persister, struct context *context, uint64_t batch,
                         const char *error);

/* Nothing queued, nothing in flight. */
bool persister_idle(const struct persister *persister);

/* Bytes queued or in flight. */
uint64_t persister_bytes(const struct persister *persister);

/* The store has taken nothing for operation_timeout_ms, and something waits. error then says why.
 */
bool persister_is_stuck(const struct persister *persister, const struct context *context);

/* When pump() is wanted for a retry; UINT64_MAX: no retry waits. */
uint64_t persister_wake_ms(const struct persister *persister);

#endif

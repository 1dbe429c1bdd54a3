/*
 * What a secondary's store has refused for good in this session, until the primary has dealt with
 * it. Numbered from 0 in each session, told in every SnapshotAck (message.h), dealt with in their
 * order. The secondary's module only.
 *
 * A refused record is made up for when a later record of its key has been taken: an undo, or a
 * newer update. Until then the store lacks something that the memory will show.
 */
#ifndef LOGIC_REFUSALS_H
#define LOGIC_REFUSALS_H

#include "base/buffer.h"
#include "logic/log.h"

#include <kvnode/persist.h>
#include <stdbool.h>

struct refusal {
    struct kv_position position;
    uint64_t durable; /* what the secondary had told as durable before it: a seq */
    bool is_made_up;
    char *reason; /* owned */
    void *key;    /* owned */
    uint32_t key_len;
};

struct refusals {
    struct refusal *items; /* ascending by index, but for those of a store that changes its mind */
    uint32_t len;
    uint32_t capacity;
    uint64_t first; /* number of items[0] */
    uint64_t dealt; /* every number below is dealt with by the primary */
};

void refusals_init(struct refusals *refusals);
void refusals_close(struct refusals *refusals);

/* A record of the log was refused; is_made_up: a later one of its key is in the log already. */
void refusals_add(struct refusals *refusals, const struct kv_record *record, const char *reason,
                  uint64_t durable, bool is_made_up);

/* True when the record at that position was refused, as far as it is remembered. */
bool refusals_has(const struct refusals *refusals, struct kv_position position);

/* The log has taken one more record. */
void refusals_on_record(struct refusals *refusals, const struct kv_record *record);

/* The primary has dealt with every number below dealt. True: that is news. */
bool refusals_on_dealt(struct refusals *refusals, uint64_t dealt);

/* A new session goes on with this log: what is not in it, or made up for and not after committed,
 * is forgotten; the rest is told again, from number 0 on. */
void refusals_restart(struct refusals *refusals, const struct log *log, uint64_t committed);

/* Forgets what is dealt with, made up for, and below index: the log holds it no more. */
void refusals_trim(struct refusals *refusals, uint64_t index);

/* Appends those not dealt with (ACK_REFUSALS_MAX at most) in the form of a SnapshotAck.
 * *ret_durable: what may be told as durable at most. */
void refusals_encode(const struct refusals *refusals, struct buffer *ret_bytes, uint64_t *ret_first,
                     uint32_t *ret_len, uint64_t *ret_durable);

#endif

/*
 * What the simulator knows about the data: every record that a primary ever appended, as a tree. A
 * record's identity is its position; its parent is the record before it in the log of the primary
 * that appended it. Records of one view follow each other, so each view is a branch that begins
 * somewhere on another one. A position stands for a whole history, from the root to its record, and
 * so for one state. What a primary has called committed is a path from the root (the committed
 * line), which only grows; what is elsewhere was dropped, or still may be.
 *
 * Records are learnt from what the primary that appended them hands to its store and sends; nothing
 * else is known of the nodes. The simulator only.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "base/bytes.h"

#include <kvnode/persist.h>

#define KEY_NONE UINT32_MAX
#define ROOT     0u         /* the record that is none: the empty state */
#define UNKNOWN  UINT32_MAX /* no record at that position is known */

struct model_key {
    uint8_t *bytes;
    uint32_t len;
    uint32_t newest; /* the record of it that was learnt last, or ROOT */
};

struct model_record {
    struct kv_position position;
    uint32_t branch;
    uint32_t parent;
    uint32_t key;
    uint32_t older; /* the record of the same key that was learnt before, anywhere; or ROOT */
    uint32_t prev;  /* the record of the same key before it in its history; or ROOT */
    uint32_t kind;
    uint8_t *value;
    uint32_t value_len;
    uint64_t client;
    uint64_t request;
    uint64_t digest; /* of the state after it */
    uint64_t keys;   /* pairs in that state */
    uint64_t hash;   /* of the record */
};

/* The records of one view. */
struct model_branch {
    uint64_t view;
    uint64_t owner;           /* number of the process that appends to it */
    struct kv_position after; /* of the record before the first one, which may be learnt later */
    uint32_t base;            /* that record, once the first one is known */
    uint64_t first;           /* index of the first one */
    uint32_t *records;
    uint32_t records_len, records_capacity;
};

struct model {
    struct model_key *keys;
    uint32_t keys_len, keys_capacity;
    struct model_record *records; /* records[ROOT] is none */
    uint32_t records_len, records_capacity;
    struct model_branch *branches;
    uint32_t branches_len, branches_capacity;
    uint32_t committed; /* the end of the committed line */
};

enum model_result {
    MODEL_KNOWN = 1,
    MODEL_NEW,
    MODEL_CONFLICT, /* another record has this position */
    MODEL_GAP,      /* nobody has appended it, or the one before it is not known */
};

void model_init(struct model *model);
void model_close(struct model *model);

/* The key's number; a new one for a key never seen. */
uint32_t model_key(struct model *model, const void *bytes, size_t len);

/* A process appends records of a view, the first one after that position. False: another process
 * has done so before. */
bool model_begin(struct model *model, uint64_t view, uint64_t owner, struct kv_position after);

/* From the process with that number. Whoever does not own the record's view teaches nothing. */
enum model_result model_learn(struct model *model, const struct kv_record *record, uint64_t owner,
                              uint32_t *ret_id);

/* The record at a position; ROOT for index 0; UNKNOWN. */
uint32_t model_find(const struct model *model, struct kv_position position);

/* The record at an index of the history that ends with a record; UNKNOWN when that is shorter. */
uint32_t model_ancestor(const struct model *model, uint32_t id, uint64_t index);

/* The record at an index of the history that ends with a position, of which the last records may
 * not be known yet; UNKNOWN. */
uint32_t model_resolve(const struct model *model, struct kv_position last, uint64_t index);

/* Is one record in the history that ends with another one? */
bool model_is_before(const struct model *model, uint32_t one, uint32_t other);

/* The last record that two histories have in common. */
uint32_t model_common(const struct model *model, uint32_t one, uint32_t other);

uint64_t model_index(const struct model *model, uint32_t id);

/* The record that sets the key in the state after a record; ROOT when none does. */
uint32_t model_at(const struct model *model, uint32_t id, uint32_t key);

/* Is this the key's value (absent: found false) in the state after a record? */
bool model_value_is(const struct model *model, uint32_t id, uint32_t key, const void *value,
                    size_t len, bool found);

/* Is this the digest of the state after a record? */
bool model_digest_is(const struct model *model, uint32_t id, uint64_t digest, uint64_t keys);

#endif

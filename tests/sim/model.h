/*
 * What the simulator knows about the data: the one total order as it was seen to grow (the line),
 * the value of every key at every place of it, and the digest of each state. It learns records from
 * the batches that nodes hand to their stores, and knows nothing else of the nodes.
 *
 * A primary that lost what it had not stored continues from what it has: then the line is cut
 * there, and what came after it is abandoned. The simulator only.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "base/bytes.h"

#include <kvnode/persist.h>

#define KEY_NONE   UINT32_MAX
#define PLACE_NONE UINT32_MAX

struct model_key {
    uint8_t *bytes;
    uint32_t len;
    uint32_t last; /* place of its newest record on the line, or PLACE_NONE */
};

/* One place of the line. */
struct line_record {
    struct kv_position position;
    uint32_t key;
    uint32_t kind;
    uint8_t *value;
    uint32_t value_len;
    uint32_t prev; /* place of the record of the same key before, or PLACE_NONE */
    uint64_t client;
    uint64_t request;
    uint64_t digest; /* of the state after it */
    uint64_t keys;   /* pairs in that state */
    uint64_t hash;   /* of the record */
};

struct abandoned {
    struct kv_position position;
    uint64_t hash;
};

struct model {
    struct model_key *keys;
    uint32_t keys_len, keys_capacity;
    struct line_record *line;
    uint32_t line_len, line_capacity;
    uint32_t *places; /* places[i]: of the record with index i + 1 */
    uint32_t places_len, places_capacity;
    struct abandoned *abandoned;
    uint32_t abandoned_len, abandoned_capacity;
    uint64_t floor_view; /* what is not on the line and has a lower view is abandoned */
    uint64_t committed;  /* the highest index that the primary has called committed */
};

enum model_result {
    MODEL_KNOWN = 1, /* as it is on the line, or abandoned long ago */
    MODEL_NEW,       /* the line has grown by it */
    MODEL_CONFLICT,  /* another record has this position */
    MODEL_GAP,       /* it does not follow the newest record */
};

void model_init(struct model *model);
void model_close(struct model *model);

/* The key's number; a new one for a key never seen. */
uint32_t model_key(struct model *model, const void *bytes, size_t len);

enum model_result model_learn(struct model *model, const struct kv_record *record);

/* Index of the newest record. */
uint64_t model_last(const struct model *model);
struct kv_position model_position(const struct model *model, uint64_t index);

/* Cuts the line after index; records with a view below floor_view belong to it no more. */
void model_cut(struct model *model, uint64_t index, uint64_t floor_view);

/* Adds a record that counts as part of the state at the newest index: a part of a batch that a
 * store kept without the position. */
void model_overlay(struct model *model, const struct kv_record *record);

/* The places where the state at an index may end: *ret_low without, *ret_high with overlays; none
 * (false) when that state is the empty one. */
bool model_places(const struct model *model, uint64_t index, uint32_t *ret_low, uint32_t *ret_high);

/* The record that sets the key in the state at a place (PLACE_NONE: the empty state); NULL when
 * none does. */
const struct line_record *model_at(const struct model *model, uint32_t place, uint32_t key);

/* Is this the key's value (at NULL: absent) in the state at that index? */
bool model_value_is(const struct model *model, uint64_t index, uint32_t key, const void *value,
                    size_t len, bool found);

/* Is this the digest of the state at that index? */
bool model_digest_is(const struct model *model, uint64_t index, uint64_t digest, uint64_t keys);

/* What one pair adds to a digest (store.h). */
uint64_t model_pair_digest(const void *key, uint32_t key_len, const void *value,
                           uint32_t value_len);

#endif

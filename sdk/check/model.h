/*
 * What a store should hold, or what it was found to hold: the state of each key. Values are kept as
 * length, hash and first bytes, so that a check of large ones stays small. Any thread, one at a
 * time.
 */
#ifndef KVNODE_CHECK_MODEL_H
#define KVNODE_CHECK_MODEL_H

#include "batch.h"

#include <kvnode/persist.h>
#include <stdbool.h>

#define MODEL_SHOWN_MAX 24u  /* bytes of a value that are kept to be shown */
#define MODEL_TEXT_MAX  640u /* of a difference */

struct model_entry {
    uint8_t *key;
    uint32_t key_len;
    uint32_t kind; /* KV_RECORD_REMOVE: the key is absent */
    uint32_t value_len;
    uint64_t value_hash;
    uint8_t shown[MODEL_SHOWN_MAX];
    struct kv_position position;
    uint64_t client;
    uint64_t request;
};

struct model {
    struct model_entry *entries; /* in the order in which the keys came */
    uint32_t len;
    uint32_t capacity;
    uint32_t *slots; /* of the hash table: index of an entry + 1; 0: free */
    uint32_t slots_len;
};

void model_init(struct model *model);
void model_close(struct model *model);
void model_clear(struct model *model);

/* The record becomes the state of its key. */
void model_put(struct model *model, const struct kv_record *record);

/* All records of a batch in order; those whose result is not KV_RESULT_STORED are left out. results
 * NULL: all stored. */
void model_apply(struct model *model, const struct batch *batch, const uint32_t *results);

/* The entry of another model becomes the state of its key. */
void model_adopt(struct model *model, const struct model_entry *entry);

/* NULL: the key never came. */
const struct model_entry *model_find(const struct model *model, const void *key, uint32_t key_len);

/* Keys that are there. */
uint32_t model_present(const struct model *model);

/* True when the entry says what the record does. */
bool model_entry_is(const struct model_entry *entry, const struct kv_record *record);

/* The first difference between what is expected and what was found, as a text (MODEL_TEXT_MAX
 * bytes). A key that is absent may be told as a removal or not at all. False: there is none. */
bool model_differs(const struct model *expected, const struct model *found, char *ret_text);

/* As model_differs() for one key. found NULL: it is not there. */
bool model_entry_differs(const struct model_entry *expected, const struct model_entry *found,
                         char *ret_text);

/* Bytes as a text in quotes, unprintable ones as \xNN, cut after MODEL_SHOWN_MAX of them; text has
 * room for 128 bytes. Returns text. */
const char *model_show(const void *bytes, size_t len, char *text);
#define MODEL_SHOW_TEXT_MAX 128u

#endif

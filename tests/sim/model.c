#include "model.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"

#include <string.h>

void model_init(struct model *model)
{
    memset(model, 0, sizeof(*model));
    model->records_capacity = 256;
    model->records = alloc_zeroed(model->records_capacity, sizeof(*model->records));
    model->records_len = 1; /* ROOT */
}

void model_close(struct model *model)
{
    for (uint32_t i = 0; i < model->keys_len; i++) {
        alloc_free(model->keys[i].bytes);
    }
    for (uint32_t i = 0; i < model->records_len; i++) {
        alloc_free(model->records[i].value);
    }
    for (uint32_t i = 0; i < model->branches_len; i++) {
        alloc_free(model->branches[i].records);
    }
    alloc_free(model->keys);
    alloc_free(model->records);
    alloc_free(model->branches);
    memset(model, 0, sizeof(*model));
}

uint32_t model_key(struct model *model, const void *bytes, size_t len)
{
    for (uint32_t i = 0; i < model->keys_len; i++) {
        if (model->keys[i].len == len &&
            (len == 0 || memcmp(model->keys[i].bytes, bytes, len) == 0)) {
            return i;
        }
    }
    if (model->keys_len == model->keys_capacity) {
        model->keys_capacity = model->keys_capacity * 2 + 64;
        model->keys = alloc_resize(model->keys, model->keys_capacity * sizeof(*model->keys));
    }
    struct model_key *key = &model->keys[model->keys_len];
    key->bytes = (uint8_t *)alloc_string(bytes, len);
    key->len = (uint32_t)len;
    key->newest = ROOT;
    return model->keys_len++;
}

static uint64_t record_hash(const struct kv_record *record)
{
    uint64_t head[] = {record->kind, record->client, record->request, record->key_len};
    uint64_t hash = hash_bytes(head, sizeof(head));
    hash = hash_bytes_seeded(hash, record->key, record->key_len);
    if (record->kind == KV_RECORD_INSERT) {
        hash = hash_bytes_seeded(hash, record->value, record->value_len);
    }
    return hash;
}

/* What one pair adds to a digest (store.h). */
static uint64_t pair_digest(const void *key, uint32_t key_len, const void *value,
                            uint32_t value_len)
{
    uint64_t seed = hash_bytes(key, key_len) + key_len * 0x9e3779b97f4a7c15ull;
    return hash_bytes_seeded(seed, value, value_len);
}

static struct model_branch *branch_find(const struct model *model, uint64_t view)
{
    for (uint32_t i = model->branches_len; i-- > 0;) {
        if (model->branches[i].view == view) {
            return &model->branches[i];
        }
    }
    return NULL;
}

bool model_begin(struct model *model, uint64_t view, uint64_t owner, struct kv_position after)
{
    const struct model_branch *known = branch_find(model, view);
    if (known != NULL) {
        return known->owner == owner;
    }
    if (model->branches_len == model->branches_capacity) {
        model->branches_capacity = model->branches_capacity * 2 + 32;
        model->branches =
            alloc_resize(model->branches, model->branches_capacity * sizeof(*model->branches));
    }
    struct model_branch *branch = &model->branches[model->branches_len++];
    memset(branch, 0, sizeof(*branch));
    branch->view = view;
    branch->owner = owner;
    branch->after = after;
    branch->base = UNKNOWN;
    branch->first = after.index + 1;
    return true;
}

uint32_t model_find(const struct model *model, struct kv_position position)
{
    if (position.index == 0) {
        return ROOT;
    }
    const struct model_branch *branch = branch_find(model, position.view);
    if (branch == NULL || position.index < branch->first ||
        position.index - branch->first >= branch->records_len) {
        return UNKNOWN;
    }
    return branch->records[position.index - branch->first];
}

uint64_t model_index(const struct model *model, uint32_t id)
{
    return model->records[id].position.index;
}

uint32_t model_ancestor(const struct model *model, uint32_t id, uint64_t index)
{
    if (id == UNKNOWN || index > model_index(model, id)) {
        return UNKNOWN;
    }
    while (id != ROOT && index != 0) {
        const struct model_branch *branch = &model->branches[model->records[id].branch];
        if (index >= branch->first) {
            return branch->records[index - branch->first];
        }
        id = branch->base;
    }
    return ROOT;
}

uint32_t model_resolve(const struct model *model, struct kv_position last, uint64_t index)
{
    if (last.index == 0 || index == 0) {
        return index == 0 ? ROOT : UNKNOWN;
    }
    const struct model_branch *branch = branch_find(model, last.view);
    while (branch != NULL && index < branch->first) {
        branch = branch_find(model, branch->after.view);
    }
    return branch != NULL && index <= last.index && index - branch->first < branch->records_len
               ? branch->records[index - branch->first]
               : UNKNOWN;
}

bool model_is_before(const struct model *model, uint32_t one, uint32_t other)
{
    return one != UNKNOWN && other != UNKNOWN &&
           model_ancestor(model, other, model_index(model, one)) == one;
}

uint32_t model_common(const struct model *model, uint32_t one, uint32_t other)
{
    while (!model_is_before(model, one, other)) {
        const struct model_branch *branch = &model->branches[model->records[one].branch];
        uint64_t index = model_index(model, one) - 1;
        /* No branch begins in the middle of what is common but at its end. */
        one = index < branch->first ? branch->base : branch->records[index - branch->first];
    }
    return one;
}

uint32_t model_at(const struct model *model, uint32_t id, uint32_t key)
{
    uint32_t at = model->keys[key].newest;
    while (at != ROOT && !model_is_before(model, at, id)) {
        at = model->records[at].older;
    }
    return at;
}

/* What the state is after the record, whose history ends with its parent. */
static void record_digest(const struct model *model, struct model_record *record)
{
    const struct model_record *parent = &model->records[record->parent];
    const struct model_record *old = &model->records[record->prev];
    const struct model_key *key = &model->keys[record->key];
    record->digest = parent->digest;
    record->keys = parent->keys;
    if (record->prev != ROOT && old->kind == KV_RECORD_INSERT) {
        record->digest -= pair_digest(key->bytes, key->len, old->value, old->value_len);
        record->keys--;
    }
    if (record->kind == KV_RECORD_INSERT) {
        record->digest += pair_digest(key->bytes, key->len, record->value, record->value_len);
        record->keys++;
    }
}

static uint32_t record_add(struct model *model, const struct kv_record *record,
                           struct model_branch *branch, uint64_t hash)
{
    if (model->records_len == model->records_capacity) {
        model->records_capacity *= 2;
        model->records =
            alloc_resize(model->records, model->records_capacity * sizeof(*model->records));
    }
    uint32_t key = model_key(model, record->key, record->key_len);
    uint32_t id = model->records_len;
    struct model_record *added = &model->records[id];
    memset(added, 0, sizeof(*added));
    added->position = record->position;
    added->branch = (uint32_t)(branch - model->branches);
    added->parent =
        branch->records_len == 0 ? branch->base : branch->records[branch->records_len - 1];
    added->key = key;
    added->kind = record->kind;
    added->client = record->client;
    added->request = record->request;
    added->hash = hash;
    added->older = model->keys[key].newest;
    added->prev = model_at(model, added->parent, key);
    if (record->kind == KV_RECORD_INSERT) {
        added->value = (uint8_t *)alloc_string(record->value, record->value_len);
        added->value_len = record->value_len;
    }
    record_digest(model, added);
    model->keys[key].newest = id;
    model->records_len++;
    if (branch->records_len == branch->records_capacity) {
        branch->records_capacity = branch->records_capacity * 2 + 64;
        branch->records =
            alloc_resize(branch->records, branch->records_capacity * sizeof(*branch->records));
    }
    branch->records[branch->records_len++] = id;
    return id;
}

enum model_result model_learn(struct model *model, const struct kv_record *record, uint64_t owner,
                              uint32_t *ret_id)
{
    uint64_t hash = record_hash(record);
    uint32_t known = model_find(model, record->position);
    if (record->position.index == 0) {
        return MODEL_GAP;
    }
    if (known != UNKNOWN) {
        *ret_id = known;
        return model->records[known].hash == hash ? MODEL_KNOWN : MODEL_CONFLICT;
    }
    struct model_branch *branch = branch_find(model, record->position.view);
    if (branch == NULL || branch->owner != owner ||
        record->position.index != branch->first + branch->records_len) {
        return MODEL_GAP;
    }
    if (branch->records_len == 0) {
        branch->base = model_find(model, branch->after);
    }
    if (branch->base == UNKNOWN) {
        return MODEL_GAP;
    }
    *ret_id = record_add(model, record, branch, hash);
    return MODEL_NEW;
}

bool model_value_is(const struct model *model, uint32_t id, uint32_t key, const void *value,
                    size_t len, bool found)
{
    uint32_t at = model_at(model, id, key);
    const struct model_record *record = &model->records[at];
    if (at == ROOT || record->kind == KV_RECORD_REMOVE) {
        return !found;
    }
    return found && record->value_len == len &&
           (len == 0 || memcmp(record->value, value, len) == 0);
}

bool model_digest_is(const struct model *model, uint32_t id, uint64_t digest, uint64_t keys)
{
    return model->records[id].digest == digest && model->records[id].keys == keys;
}

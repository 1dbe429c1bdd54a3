#include "model.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"

#include <string.h>

void model_init(struct model *model)
{
    memset(model, 0, sizeof(*model));
}

void model_close(struct model *model)
{
    for (uint32_t i = 0; i < model->keys_len; i++) {
        alloc_free(model->keys[i].bytes);
    }
    for (uint32_t i = 0; i < model->line_len; i++) {
        alloc_free(model->line[i].value);
    }
    alloc_free(model->keys);
    alloc_free(model->line);
    alloc_free(model->places);
    alloc_free(model->abandoned);
    model_init(model);
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
    key->last = PLACE_NONE;
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

/* Appends a place to the line, and what the state is after it. */
static void line_append(struct model *model, const struct kv_record *record, uint64_t hash)
{
    if (model->line_len == model->line_capacity) {
        model->line_capacity = model->line_capacity * 2 + 256;
        model->line = alloc_resize(model->line, model->line_capacity * sizeof(*model->line));
    }
    uint32_t key = model_key(model, record->key, record->key_len);
    struct line_record *place = &model->line[model->line_len];
    memset(place, 0, sizeof(*place));
    place->position = record->position;
    place->key = key;
    place->kind = record->kind;
    place->client = record->client;
    place->request = record->request;
    place->hash = hash;
    place->prev = model->keys[key].last;
    if (model->line_len > 0) {
        place->digest = model->line[model->line_len - 1].digest;
        place->keys = model->line[model->line_len - 1].keys;
    }
    if (place->prev != PLACE_NONE && model->line[place->prev].kind == KV_RECORD_INSERT) {
        const struct line_record *old = &model->line[place->prev];
        place->digest -=
            model_pair_digest(record->key, record->key_len, old->value, old->value_len);
        place->keys--;
    }
    if (record->kind == KV_RECORD_INSERT) {
        place->value = (uint8_t *)alloc_string(record->value, record->value_len);
        place->value_len = record->value_len;
        place->digest +=
            model_pair_digest(record->key, record->key_len, record->value, record->value_len);
        place->keys++;
    }
    model->keys[key].last = model->line_len++;
}

static bool model_is_abandoned(const struct model *model, struct kv_position position,
                               uint64_t *ret_hash)
{
    for (uint32_t i = 0; i < model->abandoned_len; i++) {
        if (model->abandoned[i].position.view == position.view &&
            model->abandoned[i].position.index == position.index) {
            *ret_hash = model->abandoned[i].hash;
            return true;
        }
    }
    return false;
}

static void model_abandon(struct model *model, struct kv_position position, uint64_t hash)
{
    if (model->abandoned_len == model->abandoned_capacity) {
        model->abandoned_capacity = model->abandoned_capacity * 2 + 64;
        model->abandoned =
            alloc_resize(model->abandoned, model->abandoned_capacity * sizeof(*model->abandoned));
    }
    struct abandoned *abandoned = &model->abandoned[model->abandoned_len++];
    abandoned->position = position;
    abandoned->hash = hash;
}

enum model_result model_learn(struct model *model, const struct kv_record *record)
{
    uint64_t hash = record_hash(record);
    uint64_t index = record->position.index;
    if (index >= 1 && index <= model->places_len) {
        const struct line_record *known = &model->line[model->places[index - 1]];
        if (known->position.view == record->position.view) {
            return known->hash == hash ? MODEL_KNOWN : MODEL_CONFLICT;
        }
    }
    uint64_t abandoned_hash;
    if (model_is_abandoned(model, record->position, &abandoned_hash)) {
        return abandoned_hash == hash ? MODEL_KNOWN : MODEL_CONFLICT;
    }
    if (record->position.view < model->floor_view) {
        model_abandon(model, record->position, hash);
        return MODEL_KNOWN;
    }
    if (index <= model->places_len) {
        return MODEL_CONFLICT;
    }
    if (index != model->places_len + 1) {
        return MODEL_GAP;
    }
    if (index > 1 && record->position.view < model_position(model, index - 1).view) {
        return MODEL_CONFLICT;
    }
    if (model->places_len == model->places_capacity) {
        model->places_capacity = model->places_capacity * 2 + 256;
        model->places =
            alloc_resize(model->places, model->places_capacity * sizeof(*model->places));
    }
    model->places[model->places_len++] = model->line_len;
    line_append(model, record, hash);
    return MODEL_NEW;
}

uint64_t model_last(const struct model *model)
{
    return model->places_len;
}

struct kv_position model_position(const struct model *model, uint64_t index)
{
    struct kv_position none = {0, 0};
    return index == 0 || index > model->places_len ? none
                                                   : model->line[model->places[index - 1]].position;
}

void model_cut(struct model *model, uint64_t index, uint64_t floor_view)
{
    KV_CHECK(index <= model->places_len);
    while (model->places_len > index) {
        uint32_t place = model->places[model->places_len - 1];
        while (model->line_len > place) {
            struct line_record *record = &model->line[--model->line_len];
            if (model->line_len == place) {
                model_abandon(model, record->position, record->hash);
            }
            model->keys[record->key].last = record->prev;
            alloc_free(record->value);
        }
        model->places_len--;
    }
    model->floor_view = floor_view;
}

void model_overlay(struct model *model, const struct kv_record *record)
{
    struct kv_record copy = *record;
    copy.position = model_position(model, model_last(model));
    line_append(model, &copy, record_hash(record));
}

bool model_places(const struct model *model, uint64_t index, uint32_t *ret_low, uint32_t *ret_high)
{
    uint32_t end = index < model->places_len ? model->places[index] : model->line_len;
    if (end == 0) {
        *ret_low = *ret_high = PLACE_NONE;
        return false;
    }
    *ret_low = index == 0 ? PLACE_NONE : model->places[index - 1];
    *ret_high = end - 1;
    return true;
}

const struct line_record *model_at(const struct model *model, uint32_t place, uint32_t key)
{
    if (place == PLACE_NONE) {
        return NULL;
    }
    uint32_t at = model->keys[key].last;
    while (at != PLACE_NONE && at > place) {
        at = model->line[at].prev;
    }
    return at == PLACE_NONE ? NULL : &model->line[at];
}

static bool value_is_at(const struct model *model, uint32_t place, uint32_t key, const void *value,
                        size_t len, bool found)
{
    const struct line_record *record = model_at(model, place, key);
    if (record == NULL || record->kind == KV_RECORD_REMOVE) {
        return !found;
    }
    return found && record->value_len == len &&
           (len == 0 || memcmp(record->value, value, len) == 0);
}

bool model_value_is(const struct model *model, uint64_t index, uint32_t key, const void *value,
                    size_t len, bool found)
{
    if (index > model->places_len) {
        return false;
    }
    uint32_t low, high;
    model_places(model, index, &low, &high);
    return value_is_at(model, low, key, value, len, found) ||
           value_is_at(model, high, key, value, len, found);
}

static bool digest_is_at(const struct model *model, uint32_t place, uint64_t digest, uint64_t keys)
{
    if (place == PLACE_NONE) {
        return digest == 0 && keys == 0;
    }
    return model->line[place].digest == digest && model->line[place].keys == keys;
}

bool model_digest_is(const struct model *model, uint64_t index, uint64_t digest, uint64_t keys)
{
    if (index > model->places_len) {
        return false;
    }
    uint32_t low, high;
    model_places(model, index, &low, &high);
    return digest_is_at(model, low, digest, keys) || digest_is_at(model, high, digest, keys);
}

uint64_t model_pair_digest(const void *key, uint32_t key_len, const void *value, uint32_t value_len)
{
    uint64_t seed = hash_bytes(key, key_len) + key_len * 0x9e3779b97f4a7c15ull;
    return hash_bytes_seeded(seed, value, value_len);
}

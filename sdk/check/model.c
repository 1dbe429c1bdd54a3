#include "model.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void model_init(struct model *model)
{
    memset(model, 0, sizeof(*model));
}

void model_clear(struct model *model)
{
    for (uint32_t i = 0; i < model->len; i++) {
        alloc_free(model->entries[i].key);
    }
    model->len = 0;
    if (model->slots_len > 0) {
        memset(model->slots, 0, model->slots_len * sizeof(model->slots[0]));
    }
}

void model_close(struct model *model)
{
    model_clear(model);
    alloc_free(model->entries);
    alloc_free(model->slots);
    memset(model, 0, sizeof(*model));
}

static bool model_is_key(const struct model_entry *entry, const void *key, uint32_t key_len)
{
    return entry->key_len == key_len && (key_len == 0 || memcmp(entry->key, key, key_len) == 0);
}

/* The slot where the key is, or the free one where it belongs. The table is never full. */
static uint32_t *model_slot(const struct model *model, const void *key, uint32_t key_len)
{
    uint32_t at = (uint32_t)(hash_bytes(key, key_len) & (model->slots_len - 1));
    while (model->slots[at] != 0 &&
           !model_is_key(&model->entries[model->slots[at] - 1], key, key_len)) {
        at = (at + 1) & (model->slots_len - 1);
    }
    return &model->slots[at];
}

static void model_grow(struct model *model)
{
    model->capacity = model->capacity == 0 ? 64 : model->capacity * 2;
    model->entries = alloc_resize(model->entries, model->capacity * sizeof(model->entries[0]));
    alloc_free(model->slots);
    model->slots_len = model->capacity * 2;
    model->slots = alloc_zeroed(model->slots_len, sizeof(model->slots[0]));
    for (uint32_t i = 0; i < model->len; i++) {
        *model_slot(model, model->entries[i].key, model->entries[i].key_len) = i + 1;
    }
}

/* The entry of a key, made if need be. */
static struct model_entry *model_entry_at(struct model *model, const void *key, uint32_t key_len)
{
    if (model->len == model->capacity) {
        model_grow(model);
    }
    uint32_t *slot = model_slot(model, key, key_len);
    if (*slot == 0) {
        struct model_entry *fresh = &model->entries[model->len++];
        memset(fresh, 0, sizeof(*fresh));
        fresh->key = (uint8_t *)alloc_string(key == NULL ? "" : key, key_len);
        fresh->key_len = key_len;
        *slot = model->len;
    }
    return &model->entries[*slot - 1];
}

void model_put(struct model *model, const struct kv_record *record)
{
    struct model_entry *entry = model_entry_at(model, record->key, record->key_len);
    uint32_t shown = record->value_len < MODEL_SHOWN_MAX ? record->value_len : MODEL_SHOWN_MAX;
    entry->kind = record->kind;
    entry->value_len = record->value_len;
    entry->value_hash = hash_bytes(record->value, record->value_len);
    if (shown > 0) {
        memcpy(entry->shown, record->value, shown);
    }
    entry->position = record->position;
    entry->client = record->client;
    entry->request = record->request;
}

void model_adopt(struct model *model, const struct model_entry *entry)
{
    struct model_entry *own = model_entry_at(model, entry->key, entry->key_len);
    uint8_t *key = own->key;
    *own = *entry;
    own->key = key;
}

void model_apply(struct model *model, const struct batch *batch, const uint32_t *results)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        if (results == NULL || results[i] == KV_RESULT_STORED) {
            model_put(model, &batch->records[i]);
        }
    }
}

const struct model_entry *model_find(const struct model *model, const void *key, uint32_t key_len)
{
    if (model->slots_len == 0) {
        return NULL;
    }
    uint32_t slot = *model_slot(model, key, key_len);
    return slot == 0 ? NULL : &model->entries[slot - 1];
}

uint32_t model_present(const struct model *model)
{
    uint32_t present = 0;
    for (uint32_t i = 0; i < model->len; i++) {
        present += model->entries[i].kind == KV_RECORD_INSERT;
    }
    return present;
}

bool model_entry_is(const struct model_entry *entry, const struct kv_record *record)
{
    return model_is_key(entry, record->key, record->key_len) && entry->kind == record->kind &&
           entry->value_len == record->value_len &&
           entry->value_hash == hash_bytes(record->value, record->value_len) &&
           entry->position.view == record->position.view &&
           entry->position.index == record->position.index;
}

const char *model_show(const void *bytes, size_t len, char *text)
{
    const uint8_t *from = bytes;
    size_t at = 0;
    text[at++] = '"';
    for (size_t i = 0; i < len && i < MODEL_SHOWN_MAX; i++) {
        if (from[i] >= 0x20 && from[i] < 0x7f && from[i] != '"' && from[i] != '\\') {
            text[at++] = (char)from[i];
        } else {
            at += (size_t)snprintf(text + at, 5, "\\x%02x", from[i]);
        }
    }
    snprintf(text + at, MODEL_SHOW_TEXT_MAX - at, "\"%s", len > MODEL_SHOWN_MAX ? "..." : "");
    return text;
}

/* "the value "abc" of 3 bytes at (1, 7)", or that it is absent. */
static void model_show_state(const struct model_entry *entry, char *text, size_t size)
{
    char value[MODEL_SHOW_TEXT_MAX];
    if (entry == NULL || entry->kind == KV_RECORD_REMOVE) {
        snprintf(text, size, "nothing");
        return;
    }
    snprintf(text, size, "the value %s of %" PRIu32 " bytes at position (%" PRIu64 ", %" PRIu64 ")",
             model_show(entry->shown, entry->value_len, value), entry->value_len,
             entry->position.view, entry->position.index);
}

/* What a difference suggests. */
static const char *model_hint(const struct model_entry *expected, const struct model_entry *found)
{
    bool is_poison = found != NULL && found->kind == KV_RECORD_INSERT && found->value_len > 0;
    for (uint32_t i = 0; is_poison && i < found->value_len && i < MODEL_SHOWN_MAX; i++) {
        is_poison = found->shown[i] == BATCH_POISON;
    }
    if (is_poison) {
        return "; these bytes are what the kit writes over borrowed memory after the call: copy "
               "what is kept";
    }
    if (found != NULL && expected != NULL && expected->kind == KV_RECORD_INSERT &&
        found->kind == KV_RECORD_INSERT && found->value_len < expected->value_len) {
        return "; a value is stored whole or refused, never cut";
    }
    return "";
}

bool model_entry_differs(const struct model_entry *expected, const struct model_entry *found,
                         char *ret_text)
{
    char key[MODEL_SHOW_TEXT_MAX];
    char expected_text[192];
    char found_text[192];
    bool is_expected = expected != NULL && expected->kind == KV_RECORD_INSERT;
    bool is_found = found != NULL && found->kind == KV_RECORD_INSERT;
    if (!is_expected && !is_found) {
        return false;
    }
    if (is_expected && is_found && expected->value_len == found->value_len &&
        expected->value_hash == found->value_hash &&
        expected->position.view == found->position.view &&
        expected->position.index == found->position.index) {
        bool is_made_up =
            (found->client != 0 || found->request != 0) &&
            (found->client != expected->client || found->request != expected->request);
        if (is_made_up) {
            snprintf(ret_text, MODEL_TEXT_MAX,
                     "key %s: expected client %" PRIu64 " and request %" PRIu64
                     " as they were given (or 0 and 0), found %" PRIu64 " and %" PRIu64,
                     model_show(found->key, found->key_len, key), expected->client,
                     expected->request, found->client, found->request);
        }
        return is_made_up;
    }
    const struct model_entry *named = expected == NULL ? found : expected;
    model_show_state(expected, expected_text, sizeof(expected_text));
    model_show_state(found, found_text, sizeof(found_text));
    snprintf(ret_text, MODEL_TEXT_MAX, "key %s of %" PRIu32 " bytes: expected %s, found %s%s",
             model_show(named->key, named->key_len, key), named->key_len, expected_text, found_text,
             model_hint(expected, found));
    return true;
}

bool model_differs(const struct model *expected, const struct model *found, char *ret_text)
{
    for (uint32_t i = 0; i < expected->len; i++) {
        const struct model_entry *entry = &expected->entries[i];
        if (model_entry_differs(entry, model_find(found, entry->key, entry->key_len), ret_text)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < found->len; i++) {
        const struct model_entry *entry = &found->entries[i];
        if (model_find(expected, entry->key, entry->key_len) == NULL &&
            model_entry_differs(NULL, entry, ret_text)) {
            return true;
        }
    }
    return false;
}

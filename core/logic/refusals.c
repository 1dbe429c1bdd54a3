#include "logic/refusals.h"

#include "base/alloc.h"
#include "logic/message.h"
#include "logic/record.h"

#include <string.h>

void refusals_init(struct refusals *refusals)
{
    memset(refusals, 0, sizeof(*refusals));
}

static void refusals_free(struct refusal *refusal)
{
    alloc_free(refusal->reason);
    alloc_free(refusal->key);
}

void refusals_close(struct refusals *refusals)
{
    for (uint32_t i = 0; i < refusals->len; i++) {
        refusals_free(&refusals->items[i]);
    }
    alloc_free(refusals->items);
    refusals_init(refusals);
}

void refusals_add(struct refusals *refusals, const struct kv_record *record, const char *reason,
                  uint64_t durable, bool is_made_up)
{
    if (refusals->len == refusals->capacity) {
        refusals->capacity = refusals->capacity == 0 ? 8 : refusals->capacity * 2;
        refusals->items =
            alloc_resize(refusals->items, refusals->capacity * sizeof(*refusals->items));
    }
    struct refusal *refusal = &refusals->items[refusals->len++];
    memset(refusal, 0, sizeof(*refusal));
    refusal->position = record->position;
    refusal->durable = durable;
    refusal->is_made_up = is_made_up;
    size_t reason_len = strnlen(reason == NULL ? "" : reason, TEXT_MAX);
    refusal->reason = alloc_zeroed(1, reason_len + 1);
    memcpy(refusal->reason, reason == NULL ? "" : reason, reason_len);
    refusal->key_len = record->key_len;
    refusal->key = alloc_zeroed(1, record->key_len + 1u);
    if (record->key_len > 0) {
        memcpy(refusal->key, record->key, record->key_len);
    }
}

bool refusals_has(const struct refusals *refusals, struct kv_position position)
{
    for (uint32_t i = 0; i < refusals->len; i++) {
        if (position_compare(refusals->items[i].position, position) == 0) {
            return true;
        }
    }
    return false;
}

void refusals_on_record(struct refusals *refusals, const struct kv_record *record)
{
    for (uint32_t i = 0; i < refusals->len; i++) {
        struct refusal *refusal = &refusals->items[i];
        if (refusal->position.index < record->position.index &&
            record_has_key(record, refusal->key, refusal->key_len)) {
            refusal->is_made_up = true;
        }
    }
}

bool refusals_on_dealt(struct refusals *refusals, uint64_t dealt)
{
    if (dealt <= refusals->dealt || dealt > refusals->first + refusals->len) {
        return false;
    }
    refusals->dealt = dealt;
    return true;
}

/* A later record of the same key is in the log. */
static bool refusals_are_made_up(const struct refusal *refusal, const struct log *log)
{
    uint64_t index = refusal->position.index + 1;
    index = index < log_first_index(log) ? log_first_index(log) : index;
    for (; index <= log_last_index(log); index++) {
        struct kv_record later = log_get(log, index);
        if (record_has_key(&later, refusal->key, refusal->key_len)) {
            return true;
        }
    }
    return false;
}

void refusals_restart(struct refusals *refusals, const struct log *log, uint64_t committed)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < refusals->len; i++) {
        struct refusal *refusal = &refusals->items[i];
        bool is_gone = refusal->position.index > log_last_index(log);
        refusal->is_made_up = refusal->position.index <= committed ||
                              (!is_gone && refusals_are_made_up(refusal, log));
        if (is_gone || (refusal->is_made_up && refusal->position.index <= committed)) {
            refusals_free(refusal);
            continue;
        }
        refusal->durable = 0;
        refusals->items[len++] = *refusal;
    }
    refusals->len = len;
    refusals->first = 0;
    refusals->dealt = 0;
}

void refusals_trim(struct refusals *refusals, uint64_t index)
{
    uint32_t gone = 0;
    while (gone < refusals->len && refusals->first + gone < refusals->dealt &&
           refusals->items[gone].is_made_up && refusals->items[gone].position.index < index) {
        refusals_free(&refusals->items[gone]);
        gone++;
    }
    if (gone > 0) {
        refusals->len -= gone;
        refusals->first += gone;
        memmove(refusals->items, refusals->items + gone, refusals->len * sizeof(*refusals->items));
    }
}

void refusals_encode(const struct refusals *refusals, struct buffer *ret_bytes, uint64_t *ret_first,
                     uint32_t *ret_len, uint64_t *ret_durable)
{
    uint32_t place = 0;
    uint32_t len = 0;
    *ret_durable = UINT64_MAX;
    if (refusals->dealt > refusals->first) {
        place = (uint32_t)(refusals->dealt - refusals->first);
    }
    *ret_first = refusals->first + place;
    for (; place < refusals->len && len < ACK_REFUSALS_MAX; place++, len++) {
        const struct refusal *item = &refusals->items[place];
        struct message_refusal refusal = {item->position.index,
                                          {(const uint8_t *)item->reason, strlen(item->reason)}};
        size_t size = message_refusal_size(&refusal);
        struct bytes_writer writer = bytes_writer_init(buffer_room(ret_bytes, size), size);
        message_write_refusal(&writer, &refusal);
    }
    if (place < refusals->len) {
        *ret_durable = refusals->items[place].durable;
    }
    *ret_len = len;
}

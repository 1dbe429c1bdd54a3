#include "logic/tail.h"

#include "base/bytes.h"
#include "base/check.h"
#include "logic/record.h"

struct log *tail_cut(const struct log *log, uint64_t index)
{
    uint64_t first = log_first_index(log);
    struct log *kept = log_create(log_position_at(log, first - 1));
    for (uint64_t next = first; next <= index; next++) {
        struct kv_record record = log_get(log, next);
        log_append(kept, &record);
    }
    return kept;
}

/* Which record of the log is the last one of a key that stays: a store of indexes. */
static void tail_note(struct store *notes, const struct kv_record *record, uint64_t index)
{
    uint8_t bytes[8];
    bytes_put_u64(bytes, index);
    store_put(notes, record->key, record->key_len, bytes, sizeof(bytes), record->position);
}

static struct kv_record tail_state(const struct log *log, const struct store *store,
                                   const struct store *notes, const struct kv_record *dropped,
                                   struct kv_position at)
{
    struct store_entry entry;
    if (store_get(notes, dropped->key, dropped->key_len, &entry)) {
        return log_get(log, bytes_get_u64(entry.value));
    }
    struct kv_record state = {
        .key = dropped->key, .key_len = dropped->key_len, .kind = KV_RECORD_REMOVE, .position = at};
    if (store_get(store, dropped->key, dropped->key_len, &entry)) {
        state.kind = KV_RECORD_INSERT;
        state.value = entry.value;
        state.value_len = entry.value_len;
        state.position = entry.position;
    }
    return state;
}

void tail_undo(const struct log *log, const struct store *store, uint64_t committed, uint64_t index,
               struct buffer *ret_records, uint32_t *ret_count)
{
    KV_CHECK(committed <= index);
    struct store *notes = store_create();
    struct store *done = store_create();
    for (uint64_t next = committed + 1; next <= index; next++) {
        struct kv_record record = log_get(log, next);
        tail_note(notes, &record, next);
    }
    for (uint64_t next = index + 1; next <= log_last_index(log); next++) {
        struct kv_record dropped = log_get(log, next);
        struct store_entry entry;
        if (store_get(done, dropped.key, dropped.key_len, &entry)) {
            continue;
        }
        tail_note(done, &dropped, next);
        struct kv_record state =
            tail_state(log, store, notes, &dropped, log_position_at(log, index));
        record_encode(&state, buffer_room(ret_records, record_size(&state)));
        (*ret_count)++;
    }
    store_destroy(notes);
    store_destroy(done);
}

#include "logic/transfer.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "logic/bug.h"
#include "logic/record.h"

#include <string.h>

static void transfer_append(struct buffer *records, uint32_t *count, const struct kv_record *record)
{
    size_t size = record_size(record);
    record_encode(record, buffer_room(records, size));
    (*count)++;
}

/* --- primary --- */

struct transfer_cutter {
    size_t bytes_max;
    struct buffer *records;
    uint32_t count;
    uint64_t hash; /* of the last pair taken: others of the same hash belong to this piece */
};

static bool transfer_cut_visit(void *ctx, const struct store_entry *entry)
{
    struct transfer_cutter *cutter = ctx;
    struct kv_record record = {.key = entry->key,
                               .value = entry->value,
                               .key_len = entry->key_len,
                               .value_len = entry->value_len,
                               .kind = KV_RECORD_INSERT,
                               .position = entry->position};
    if (cutter->count > 0 && entry->hash != cutter->hash &&
        cutter->records->len + record_size(&record) > cutter->bytes_max) {
        return false;
    }
    cutter->hash = entry->hash;
    transfer_append(cutter->records, &cutter->count, &record);
    return true;
}

uint64_t transfer_cut(const struct store *store, uint64_t low, size_t bytes_max,
                      struct buffer *ret_records, uint32_t *ret_count)
{
    struct transfer_cutter cutter = {bytes_max, ret_records, 0, 0};
    uint64_t next;
    bool complete = store_scan(store, low, UINT64_MAX, &next, transfer_cut_visit, &cutter);
    *ret_count = cutter.count;
    if (complete) {
        return UINT64_MAX;
    }
    KV_CHECK(next > low);
    return next - 1;
}

/* --- joiner --- */

/* The pairs of this node in the piece's range that the piece lacks: gathered in one walk of both
 * sides, which are in ascending order of hash. */
struct transfer_merge {
    struct bytes_reader reader; /* at the first record of the piece whose hash is >= group_hash */
    struct buffer *records;
    uint32_t count;
};

static uint64_t transfer_record_hash(const struct kv_record *record)
{
    return hash_bytes(record->key, record->key_len);
}

static bool transfer_merge_has(struct transfer_merge *merge, const struct store_entry *entry)
{
    struct kv_record record;
    struct bytes_reader ahead = merge->reader;
    while (record_decode(&ahead, &record)) {
        uint64_t hash = transfer_record_hash(&record);
        if (hash > entry->hash) {
            return false;
        }
        if (hash < entry->hash) {
            merge->reader = ahead; /* no entry to come can match it */
        } else if (record_has_key(&record, entry->key, entry->key_len)) {
            return true;
        }
    }
    return false;
}

static bool transfer_merge_visit(void *ctx, const struct store_entry *entry)
{
    struct transfer_merge *merge = ctx;
    if (!transfer_merge_has(merge, entry)) {
        struct kv_record removal = {.key = entry->key,
                                    .key_len = entry->key_len,
                                    .kind = KV_RECORD_REMOVE,
                                    .position = entry->position};
        transfer_append(merge->records, &merge->count, &removal);
    }
    return true;
}

/* Removes, in memory, what the walk found. */
static void transfer_remove_stale(struct store *store, const struct buffer *records, size_t from)
{
    if (records->len == from) {
        return;
    }
    struct bytes_reader reader = bytes_reader_init(records->bytes + from, records->len - from);
    struct kv_record record;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record));
        KV_CHECK(store_remove(store, record.key, record.key_len));
    }
}

static bool transfer_valid(const struct transfer_piece *piece)
{
    struct bytes_reader reader = bytes_reader_init(piece->records, piece->len);
    struct kv_record record;
    uint64_t before = piece->low;
    while (reader.left > 0) {
        if (!record_decode(&reader, &record) || record.kind != KV_RECORD_INSERT) {
            return false;
        }
        uint64_t hash = transfer_record_hash(&record);
        if (hash < before || hash > piece->high) {
            return false;
        }
        before = hash;
    }
    return true;
}

/* The very same pair, of this node and of the piece. The value is compared too, since a store may
 * have outlived the cluster that its positions are of. */
static bool transfer_is_same(const struct store_entry *entry, const struct kv_record *record)
{
    return position_compare(entry->position, record->position) == 0 &&
           entry->value_len == record->value_len &&
           (entry->value_len == 0 || memcmp(entry->value, record->value, entry->value_len) == 0);
}

/* Puts the pairs of the piece that this node has not. */
static void transfer_put(struct store *store, const struct transfer_piece *piece,
                         struct buffer *records, uint32_t *count)
{
    struct bytes_reader reader = bytes_reader_init(piece->records, piece->len);
    struct kv_record record;
    struct store_entry entry;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record));
        if (store_get(store, record.key, record.key_len, &entry) &&
            transfer_is_same(&entry, &record)) {
            continue;
        }
        store_put(store, record.key, record.key_len, record.value, record.value_len,
                  record.position);
        transfer_append(records, count, &record);
    }
}

static void transfer_replay(struct store *store, const struct log *log, uint64_t applied,
                            const struct transfer_piece *piece, struct buffer *records,
                            uint32_t *count)
{
    KV_CHECK(log_first_index(log) <= piece->as_of + 1 || log_len(log) == 0);
    for (uint64_t index = piece->as_of + 1; index <= log_last_index(log); index++) {
        struct kv_record record = log_get(log, index);
        uint64_t hash = transfer_record_hash(&record);
        if (hash < piece->low || hash > piece->high) {
            continue;
        }
        transfer_append(records, count, &record);
        if (index > applied) {
            continue;
        }
        if (record.kind == KV_RECORD_REMOVE) {
            store_remove(store, record.key, record.key_len);
        } else {
            store_put(store, record.key, record.key_len, record.value, record.value_len,
                      record.position);
        }
    }
}

bool transfer_apply(struct store *store, const struct log *log, uint64_t applied,
                    const struct transfer_piece *piece, struct buffer *ret_records,
                    uint32_t *ret_count)
{
    if (!transfer_valid(piece)) {
        return false;
    }
    struct transfer_merge merge = {bytes_reader_init(piece->records, piece->len), ret_records, 0};
    size_t from = ret_records->len;
    uint64_t next;
    if (!BUG(forget_tombstone)) {
        store_scan(store, piece->low, piece->high, &next, transfer_merge_visit, &merge);
        transfer_remove_stale(store, ret_records, from);
    }
    *ret_count = merge.count;
    transfer_put(store, piece, ret_records, ret_count);
    if (!BUG(skip_tail_replay)) {
        transfer_replay(store, log, applied, piece, ret_records, ret_count);
    }
    return true;
}

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

/* --- source --- */

struct transfer_cutter {
    size_t bytes_max;
    struct buffer *records;
    uint32_t count;
    uint64_t hash; /* of the last pair taken: others of the same hash belong to this piece */
};

static struct kv_record transfer_record_of(const struct store_entry *entry)
{
    struct kv_record record = {.key = entry->key,
                               .value = entry->value,
                               .key_len = entry->key_len,
                               .value_len = entry->value_len,
                               .kind = KV_RECORD_INSERT,
                               .position = entry->position};
    return record;
}

static bool transfer_cut_visit(void *ctx, const struct store_entry *entry)
{
    struct transfer_cutter *cutter = ctx;
    struct kv_record record = transfer_record_of(entry);
    if (cutter->count > 0 && entry->hash != cutter->hash &&
        cutter->records->len + record_size(&record) > cutter->bytes_max) {
        return false;
    }
    cutter->hash = entry->hash;
    transfer_append(cutter->records, &cutter->count, &record);
    return true;
}

uint64_t transfer_cut(const struct store *store, uint64_t low, uint64_t high, size_t bytes_max,
                      struct buffer *ret_records, uint32_t *ret_count)
{
    struct transfer_cutter cutter = {bytes_max, ret_records, 0, 0};
    uint64_t next;
    bool complete = store_scan(store, low, high, &next, transfer_cut_visit, &cutter);
    *ret_count = cutter.count;
    if (complete) {
        return high;
    }
    KV_CHECK(next > low);
    return next - 1;
}

uint32_t transfer_part_bits(uint64_t low, uint64_t high, uint32_t parts)
{
    uint64_t last = high - low;
    KV_CHECK((last & (last + 1)) == 0 && (low & last) == 0);
    KV_CHECK(parts > 0 && (parts & (parts - 1)) == 0 && last >= parts - 1);
    uint32_t bits = 0;
    for (; bits < 64 && last >> bits > parts - 1; bits++) {
    }
    return bits;
}

uint64_t transfer_parts_high(uint64_t low, uint32_t part_bits, uint32_t parts_len)
{
    return part_bits >= 64 ? UINT64_MAX : low + ((uint64_t)parts_len << part_bits) - 1;
}

static bool transfer_newer_visit(void *ctx, const struct store_entry *entry)
{
    struct transfer_cutter *cutter = ctx;
    struct kv_record record = transfer_record_of(entry);
    if (cutter->records->len + record_size(&record) > cutter->bytes_max) {
        return false;
    }
    transfer_append(cutter->records, &cutter->count, &record);
    return true;
}

/* Appends the pairs of an index above base, in steps of whole parts and whole segments, since both
 * begin and end at multiples of their size. Returns how many parts fit. */
static uint32_t transfer_newer(const struct store *store, uint64_t low, uint32_t part_bits,
                               uint32_t parts, uint64_t base, struct transfer_cutter *cutter)
{
    uint32_t done = 0;
    while (done < parts) {
        uint64_t from = done == 0 ? low : transfer_parts_high(low, part_bits, done) + 1;
        uint32_t end = done + 1;
        uint64_t segment_high = store_segment_high(store, from);
        if (part_bits < 64 && segment_high > transfer_parts_high(low, part_bits, end)) {
            uint64_t reached = ((segment_high - low) >> part_bits) + 1;
            end = reached < parts ? (uint32_t)reached : parts;
        }
        size_t len = cutter->records->len;
        uint32_t count = cutter->count;
        uint64_t to = transfer_parts_high(low, part_bits, end);
        if (!store_scan_since(store, from, to, base, transfer_newer_visit, cutter)) {
            cutter->records->len = len;
            cutter->count = count;
            break;
        }
        done = end;
    }
    return done;
}

uint32_t transfer_digests(const struct store *store, uint64_t low, uint64_t high, uint32_t parts,
                          uint64_t base, size_t bytes_max, struct buffer *ret_digests,
                          struct buffer *ret_records, uint32_t *ret_count)
{
    struct transfer_cutter cutter = {bytes_max, ret_records, 0, 0};
    uint32_t part_bits = transfer_part_bits(low, high, parts);
    uint32_t done = parts;
    if (base != UINT64_MAX) {
        done = transfer_newer(store, low, part_bits, parts, base, &cutter);
        done = done == 0 ? 1 : done;
    }
    struct store_part *digests = alloc_zeroed(done, sizeof(*digests));
    store_part_digests(store, low, part_bits, done, digests);
    for (uint32_t i = 0; i < done; i++) {
        bytes_put_u64(buffer_room(ret_digests, 8), digests[i].digest);
    }
    alloc_free(digests);
    *ret_count = cutter.count;
    return done;
}

/* --- joiner --- */

static uint64_t transfer_record_hash(const struct kv_record *record)
{
    return hash_bytes(record->key, record->key_len);
}

/* What the log has after as_of in the piece's range: a store from the key to the index of the first
 * such record. NULL: nothing. */
static struct store *transfer_later(const struct log *log, const struct transfer_piece *piece)
{
    struct store *later = NULL;
    struct store_entry entry;
    KV_CHECK(log_first_index(log) <= piece->as_of + 1);
    for (uint64_t index = piece->as_of + 1; index <= log_last_index(log); index++) {
        struct kv_record record = log_get(log, index);
        uint64_t hash = transfer_record_hash(&record);
        if (hash < piece->low || hash > piece->high || BUG(skip_tail_replay)) {
            continue;
        }
        later = later == NULL ? store_create() : later;
        if (!store_get(later, record.key, record.key_len, &entry)) {
            uint8_t bytes[8];
            bytes_put_u64(bytes, index);
            store_put(later, record.key, record.key_len, bytes, sizeof(bytes), record.position);
        }
    }
    return later;
}

/* UINT64_MAX: the log has nothing of that key after as_of. */
static uint64_t transfer_later_index(const struct store *later, const void *key, uint32_t key_len)
{
    struct store_entry entry;
    bool is_there = later != NULL && store_get(later, key, key_len, &entry);
    return is_there ? bytes_get_u64(entry.value) : UINT64_MAX;
}

/* Where a piece goes. */
struct transfer_target {
    struct store *store;
    uint64_t applied;          /* the log's records up to here are in the store */
    const struct store *later; /* transfer_later() */
    struct buffer *records;    /* for the persistence plugin */
    uint32_t *count;
};

/* The persistence plugin has been told of every record of the log; so only of keys that the log has
 * nothing of is it told what the piece has. */
static void transfer_tell(const struct transfer_target *target, const struct kv_record *record)
{
    if (transfer_later_index(target->later, record->key, record->key_len) == UINT64_MAX) {
        transfer_append(target->records, target->count, record);
    }
}

/* The memory shows something newer than the piece. */
static bool transfer_is_passed(const struct transfer_target *target, const void *key,
                               uint32_t key_len)
{
    return transfer_later_index(target->later, key, key_len) <= target->applied;
}

/* The pairs of this node in the piece's range that the piece lacks: gathered in one walk of both
 * sides, which are in ascending order of hash. */
struct transfer_merge {
    struct bytes_reader reader; /* at the first record of the piece whose hash is >= group_hash */
    const struct transfer_target *target;
    struct buffer stale; /* removals */
    uint32_t count;
};

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
    if (!transfer_merge_has(merge, entry) &&
        !transfer_is_passed(merge->target, entry->key, entry->key_len)) {
        struct kv_record removal = {.key = entry->key,
                                    .key_len = entry->key_len,
                                    .kind = KV_RECORD_REMOVE,
                                    .position = entry->position};
        transfer_append(&merge->stale, &merge->count, &removal);
    }
    return true;
}

/* Removes what the piece lacks. */
static void transfer_remove_stale(const struct transfer_target *target,
                                  const struct transfer_piece *piece)
{
    struct transfer_merge merge = {bytes_reader_init(piece->records, piece->len), target, {0}, 0};
    uint64_t next;
    buffer_init(&merge.stale);
    if (!BUG(forget_tombstone)) {
        store_scan(target->store, piece->low, piece->high, &next, transfer_merge_visit, &merge);
    }
    struct bytes_reader reader = bytes_reader_init(merge.stale.bytes, merge.stale.len);
    struct kv_record record;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record));
        KV_CHECK(store_remove(target->store, record.key, record.key_len));
        transfer_tell(target, &record);
    }
    buffer_close(&merge.stale);
}

/* Insertions of the range; content is in ascending order of hash, too. */
static bool transfer_valid(const struct transfer_piece *piece, bool is_ordered)
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
        before = is_ordered ? hash : piece->low;
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

/* Puts the pairs of the piece that this node has not; with only_newer, those that are newer than
 * what is here. */
static void transfer_put(const struct transfer_target *target, const struct transfer_piece *piece,
                         bool only_newer)
{
    struct bytes_reader reader = bytes_reader_init(piece->records, piece->len);
    struct kv_record record;
    struct store_entry entry;
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record));
        if (transfer_is_passed(target, record.key, record.key_len)) {
            continue;
        }
        bool is_there = store_get(target->store, record.key, record.key_len, &entry);
        if (is_there && only_newer && position_compare(entry.position, record.position) >= 0) {
            continue; /* digests tell whatever is left aside */
        }
        if (is_there && transfer_is_same(&entry, &record)) {
            continue;
        }
        store_put(target->store, record.key, record.key_len, record.value, record.value_len,
                  record.position);
        transfer_tell(target, &record);
    }
}

static bool transfer_take(struct store *store, const struct log *log, uint64_t applied,
                          const struct transfer_piece *piece, bool only_newer,
                          struct buffer *ret_records, uint32_t *ret_count)
{
    if (!transfer_valid(piece, !only_newer)) {
        return false;
    }
    struct store *later = transfer_later(log, piece);
    struct transfer_target target = {store, applied, later, ret_records, ret_count};
    *ret_count = 0;
    if (!only_newer) {
        transfer_remove_stale(&target, piece);
    }
    transfer_put(&target, piece, only_newer);
    store_destroy(later);
    return true;
}

bool transfer_apply(struct store *store, const struct log *log, uint64_t applied,
                    const struct transfer_piece *piece, struct buffer *ret_records,
                    uint32_t *ret_count)
{
    return transfer_take(store, log, applied, piece, false, ret_records, ret_count);
}

bool transfer_apply_newer(struct store *store, const struct log *log, uint64_t applied,
                          const struct transfer_piece *piece, struct buffer *ret_records,
                          uint32_t *ret_count)
{
    return transfer_take(store, log, applied, piece, true, ret_records, ret_count);
}

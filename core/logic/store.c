/*
 * The directory of segments (store_segment.h), indexed by the top `depth` bits of a key's hash; a
 * segment that shares fewer bits than that stands at several places of it.
 *
 * Happy path of an update: hash, directory, segment, slot. A full segment is split in two by the
 * next bit of the hash; if it already stands at one place only, the directory is doubled first,
 * which copies pointers and nothing else. After removals two neighbours that have become small are
 * joined again, and the directory is halved when nobody needs its last bit.
 *
 * Keys crafted, or unlucky, to share many top bits cannot be separated by splitting. The directory
 * is therefore never larger than STORE_SPARSE_MAX places per segment: beyond that a full segment
 * gets a further one behind it (`next`), searched in turn. Keys with one and the same 64-bit hash
 * are slow, as in any hash table, but never lost and never harm the others.
 *
 * The digests are part of the protocol, docs/protocol.md 2.7 has the formulas: that of the content,
 * and that of a range, which the positions are part of too. Each segment knows its own, so that
 * only the segments at the ends of a range are looked into.
 */
#include "logic/store.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "logic/store_segment.h"

#include <stdlib.h>
#include <string.h>

#define STORE_SPARSE_MAX 8u
#define STORE_DEPTH_MAX  40u

/* Neighbours are joined when both together have no more pairs and chunks than this. */
#define STORE_JOIN_LEN_MAX    (SEGMENT_LEN_MAX / 4u)
#define STORE_JOIN_CHUNKS_MAX 32u

struct store {
    struct store_segment **directory; /* 1 << depth places */
    uint8_t depth;
    uint64_t segments_len; /* not counting those behind another */
    uint64_t deepest_len;  /* of these, the ones that stand at one place only */
    uint64_t len;
    uint64_t bytes;
    uint64_t digest;
};

static size_t store_directory_len(const struct store *store)
{
    return (size_t)1 << store->depth;
}

static size_t store_place(const struct store *store, uint64_t hash)
{
    return store->depth == 0 ? 0 : (size_t)(hash >> (64u - store->depth));
}

/* First of the places at which a segment stands, found from any of them, and how many. */
static size_t store_first_place(const struct store *store, const struct store_segment *segment,
                                size_t place, size_t *ret_len)
{
    KV_CHECK(segment->depth <= store->depth);
    size_t len = (size_t)1 << (store->depth - segment->depth);
    *ret_len = len;
    return place & ~(len - 1);
}

/* The lowest hash of the segments at a place, and the highest of one that begins there. */
static uint64_t store_place_low(const struct store *store, size_t place)
{
    return store->depth == 0 ? 0 : (uint64_t)place << (64u - store->depth);
}

static uint64_t store_high_from(uint64_t low, const struct store_segment *segment)
{
    return low + (UINT64_MAX >> segment->depth);
}

struct store *store_create(void)
{
    struct store *store = alloc_zeroed(1, sizeof(*store));
    store->directory = alloc_bytes(sizeof(struct store_segment *));
    store->directory[0] = store_segment_create(0);
    store->segments_len = 1;
    store->deepest_len = 1;
    return store;
}

static void store_destroy_chain(struct store_segment *segment)
{
    while (segment != NULL) {
        struct store_segment *next = segment->next;
        store_segment_destroy(segment);
        segment = next;
    }
}

void store_destroy(struct store *store)
{
    if (store == NULL) {
        return;
    }
    size_t place = 0;
    while (place < store_directory_len(store)) {
        struct store_segment *segment = store->directory[place];
        place += (size_t)1 << (store->depth - segment->depth);
        store_destroy_chain(segment);
    }
    alloc_free(store->directory);
    alloc_free(store);
}

/* --- digests --- */

static uint64_t store_pair_digest(const struct store_entry *entry)
{
    uint64_t seed = entry->hash + entry->key_len * 0x9e3779b97f4a7c15ull;
    return hash_bytes_seeded(seed, entry->value, entry->value_len);
}

/* What a pair adds to the digest of its range. */
static uint64_t store_placed_digest(uint64_t digest, struct kv_position position)
{
    digest += position.index * 0x9e3779b97f4a7c15ull;
    digest = (digest ^ (digest >> 30)) * 0xbf58476d1ce4e5b9ull;
    digest += position.view * 0x9e3779b97f4a7c15ull;
    digest = (digest ^ (digest >> 27)) * 0x94d049bb133111ebull;
    return digest ^ (digest >> 31);
}

static uint64_t store_entry_digest(const struct store_entry *entry)
{
    return store_placed_digest(store_pair_digest(entry), entry->position);
}

static void store_note_newest(struct store_segment *chain, uint64_t index)
{
    if (index > chain->newest) {
        chain->newest = index;
    }
}

/* --- splitting --- */

static void store_double_directory(struct store *store)
{
    size_t len = store_directory_len(store);
    struct store_segment **directory = alloc_bytes(2 * len * sizeof(struct store_segment *));
    for (size_t i = 0; i < len; i++) {
        directory[2 * i] = store->directory[i];
        directory[2 * i + 1] = store->directory[i];
    }
    alloc_free(store->directory);
    store->directory = directory;
    store->depth++;
    store->deepest_len = 0;
}

static bool store_can_split(const struct store *store, const struct store_segment *segment)
{
    if (segment->depth < store->depth) {
        return true;
    }
    return store->depth < STORE_DEPTH_MAX &&
           2 * store_directory_len(store) <= STORE_SPARSE_MAX * (store->segments_len + 1);
}

/* Moves one pair to the first segment of a chain that has room; lengthens the chain if none has. */
static void store_move_to_chain(struct store_segment *from, uint32_t slot,
                                struct store_segment *chain)
{
    while (!store_segment_move(from, slot, chain)) {
        if (chain->next == NULL) {
            chain->next = store_segment_create(chain->depth);
        }
        chain = chain->next;
    }
}

/* Deals the pairs of a chain out to two others by a bit of the hash, counted from the top; both may
 * be the same. Frees the old chain. Values are hashed for one of the two only: the other one has
 * the rest of the digest. */
static void store_deal(struct store_segment *chain, uint8_t bit, struct store_segment *zero,
                       struct store_segment *one)
{
    uint64_t digest = chain->digest;
    for (struct store_segment *from = chain; from != NULL; from = from->next) {
        for (uint32_t i = 0; i < store_segment_slots_len(from); i++) {
            if (from->slots[i] == 0) {
                continue;
            }
            struct store_entry entry;
            store_segment_entry(from, i, &entry);
            entry.hash = hash_bytes(entry.key, entry.key_len);
            struct store_segment *to = (entry.hash >> (63u - bit) & 1u) == 0 ? zero : one;
            store_note_newest(to, entry.position.index);
            if (to != one) {
                uint64_t part = store_entry_digest(&entry);
                to->digest += part;
                digest -= part;
            }
            store_move_to_chain(from, i, to);
        }
    }
    one->digest += digest;
    store_destroy_chain(chain);
}

static void store_split(struct store *store, uint64_t hash)
{
    struct store_segment *old = store->directory[store_place(store, hash)];
    if (old->depth == store->depth) {
        store_double_directory(store);
    }
    size_t len;
    size_t first = store_first_place(store, old, store_place(store, hash), &len);
    KV_CHECK(len >= 2);
    uint8_t bit = old->depth;
    struct store_segment *zero = store_segment_create((uint8_t)(bit + 1));
    struct store_segment *one = store_segment_create((uint8_t)(bit + 1));
    for (size_t i = 0; i < len; i++) {
        store->directory[first + i] = i < len / 2 ? zero : one;
    }
    store_deal(old, bit, zero, one);
    store->segments_len++;
    if (zero->depth == store->depth) {
        store->deepest_len += 2;
    }
}

/* --- joining --- */

static void store_halve_directory(struct store *store)
{
    while (store->depth > 0 && store->deepest_len == 0) {
        store->depth--;
        size_t len = store_directory_len(store);
        for (size_t i = 0; i < len; i++) {
            KV_CHECK(store->directory[2 * i] == store->directory[2 * i + 1]);
            store->directory[i] = store->directory[2 * i];
        }
        for (size_t i = 0; i < len; i++) {
            store->deepest_len += store->directory[i]->depth == store->depth ? 1u : 0u;
        }
        store->directory = alloc_resize(store->directory, len * sizeof(struct store_segment *));
    }
}

/* Joins a segment with its neighbour while both are small. */
static void store_join(struct store *store, uint64_t hash)
{
    for (;;) {
        struct store_segment *segment = store->directory[store_place(store, hash)];
        if (segment->depth == 0 || segment->next != NULL || segment->len > STORE_JOIN_LEN_MAX / 2) {
            return;
        }
        size_t len;
        size_t first = store_first_place(store, segment, store_place(store, hash), &len);
        size_t other = first ^ len;
        struct store_segment *neighbour = store->directory[other];
        if (neighbour->depth != segment->depth || neighbour->next != NULL ||
            segment->len + neighbour->len > STORE_JOIN_LEN_MAX ||
            segment->chunks_len + neighbour->chunks_len > STORE_JOIN_CHUNKS_MAX) {
            return;
        }
        if (segment->depth == store->depth) {
            store->deepest_len -= 2;
        }
        struct store_segment *joined = store_segment_create((uint8_t)(segment->depth - 1));
        store_deal(segment, joined->depth, joined, joined);
        store_deal(neighbour, joined->depth, joined, joined);
        for (size_t i = 0; i < 2 * len; i++) {
            store->directory[(first & ~len) + i] = joined;
        }
        store->segments_len--;
        store_halve_directory(store);
    }
}

/* --- pairs --- */

/* Once the pair is in its segment. */
static void store_count(struct store *store, const struct store_entry *entry)
{
    uint64_t digest = store_pair_digest(entry);
    struct store_segment *chain = store->directory[store_place(store, entry->hash)];
    store->len++;
    store->bytes += (uint64_t)entry->key_len + entry->value_len;
    store->digest += digest;
    chain->digest += store_placed_digest(digest, entry->position);
    store_note_newest(chain, entry->position.index);
}

/* Before it is taken out. */
static void store_uncount(struct store *store, const struct store_entry *entry)
{
    KV_CHECK(store->len > 0 && store->bytes >= (uint64_t)entry->key_len + entry->value_len);
    uint64_t digest = store_pair_digest(entry);
    struct store_segment *chain = store->directory[store_place(store, entry->hash)];
    store->len--;
    store->bytes -= (uint64_t)entry->key_len + entry->value_len;
    store->digest -= digest;
    chain->digest -= store_placed_digest(digest, entry->position);
}

/* The segment and slot of a key; NULL when it is absent. */
static struct store_segment *store_find(const struct store *store, uint64_t hash, const void *key,
                                        uint32_t key_len, uint32_t *ret_slot)
{
    struct store_segment *segment = store->directory[store_place(store, hash)];
    for (; segment != NULL; segment = segment->next) {
        uint32_t slot = store_segment_find(segment, hash, key, key_len);
        if (slot != SEGMENT_NONE) {
            *ret_slot = slot;
            return segment;
        }
    }
    return NULL;
}

static void store_add(struct store *store, const struct store_entry *entry)
{
    for (;;) {
        struct store_segment *segment = store->directory[store_place(store, entry->hash)];
        bool splittable = store_can_split(store, segment);
        for (;;) {
            if (store_segment_add(segment, entry)) {
                return;
            }
            if (segment->next == NULL) {
                break;
            }
            segment = segment->next;
        }
        if (splittable) {
            store_split(store, entry->hash);
        } else {
            segment->next = store_segment_create(segment->depth);
        }
    }
}

/* Takes a segment behind another out when its last pair has gone. */
static void store_drop_empty(struct store *store, uint64_t hash)
{
    struct store_segment **link = &store->directory[store_place(store, hash)];
    link = &(*link)->next;
    while (*link != NULL) {
        struct store_segment *segment = *link;
        if (segment->len == 0) {
            *link = segment->next;
            store_segment_destroy(segment);
        } else {
            link = &segment->next;
        }
    }
}

void store_put(struct store *store, const void *key, uint32_t key_len, const void *value,
               uint32_t value_len, struct kv_position position)
{
    struct store_entry entry = {.hash = hash_bytes(key, key_len),
                                .key = key,
                                .value = value,
                                .key_len = key_len,
                                .value_len = value_len,
                                .position = position};
    uint32_t slot;
    struct store_segment *segment = store_find(store, entry.hash, key, key_len, &slot);
    if (segment != NULL) {
        struct store_entry old;
        store_segment_entry(segment, slot, &old);
        old.hash = entry.hash;
        store_uncount(store, &old);
        if (store_segment_overwrite(segment, slot, &entry)) {
            store_count(store, &entry);
            return;
        }
        store_segment_remove(segment, slot);
    }
    store_add(store, &entry);
    store_count(store, &entry);
}

bool store_remove(struct store *store, const void *key, uint32_t key_len)
{
    uint64_t hash = hash_bytes(key, key_len);
    uint32_t slot;
    struct store_segment *segment = store_find(store, hash, key, key_len, &slot);
    if (segment == NULL) {
        return false;
    }
    struct store_entry entry;
    store_segment_entry(segment, slot, &entry);
    entry.hash = hash;
    store_uncount(store, &entry);
    store_segment_remove(segment, slot);
    store_drop_empty(store, hash);
    store_join(store, hash);
    KV_CHECK(store->len > 0 || (store->bytes == 0 && store->digest == 0));
    return true;
}

bool store_get(const struct store *store, const void *key, uint32_t key_len,
               struct store_entry *ret_entry)
{
    uint64_t hash = hash_bytes(key, key_len);
    uint32_t slot;
    const struct store_segment *segment = store_find(store, hash, key, key_len, &slot);
    if (segment == NULL) {
        return false;
    }
    store_segment_entry(segment, slot, ret_entry);
    ret_entry->hash = hash;
    return true;
}

uint64_t store_len(const struct store *store)
{
    return store->len;
}

uint64_t store_bytes(const struct store *store)
{
    return store->bytes;
}

uint64_t store_digest(const struct store *store)
{
    return store->digest;
}

/* --- ranges --- */

static void store_add_pairs(const struct store_segment *chain, uint64_t low, uint64_t high,
                            uint32_t part_bits, struct store_part *parts)
{
    for (const struct store_segment *segment = chain; segment != NULL; segment = segment->next) {
        for (uint32_t i = 0; i < store_segment_slots_len(segment); i++) {
            if (segment->slots[i] == 0) {
                continue;
            }
            struct store_entry entry;
            store_segment_entry(segment, i, &entry);
            entry.hash = hash_bytes(entry.key, entry.key_len);
            if (entry.hash < low || entry.hash > high) {
                continue;
            }
            struct store_part *part = &parts[part_bits >= 64 ? 0 : (entry.hash - low) >> part_bits];
            part->digest += store_entry_digest(&entry);
            part->len++;
        }
    }
}

/* Adds up the pairs of [low, high], of which every 2^part_bits hashes are a part. */
static void store_add_parts(const struct store *store, uint64_t low, uint64_t high,
                            uint32_t part_bits, struct store_part *parts)
{
    size_t last = store_place(store, high);
    for (size_t place = store_place(store, low); place <= last;) {
        const struct store_segment *chain = store->directory[place];
        size_t len;
        size_t first = store_first_place(store, chain, place, &len);
        place = first + len;
        uint64_t chain_low = store_place_low(store, first);
        uint64_t chain_high = store_high_from(chain_low, chain);
        uint64_t part_first = part_bits >= 64 ? 0 : (chain_low - low) >> part_bits;
        uint64_t part_last = part_bits >= 64 ? 0 : (chain_high - low) >> part_bits;
        if (chain_low < low || chain_high > high || part_first != part_last) {
            store_add_pairs(chain, low, high, part_bits, parts);
            continue;
        }
        parts[part_first].digest += chain->digest;
        for (const struct store_segment *segment = chain; segment; segment = segment->next) {
            parts[part_first].len += segment->len;
        }
    }
}

uint64_t store_range_digest(const struct store *store, uint64_t low, uint64_t high,
                            uint64_t *ret_len)
{
    struct store_part part = {0, 0};
    store_add_parts(store, low, high, 64, &part);
    *ret_len = part.len;
    return part.digest;
}

void store_part_digests(const struct store *store, uint64_t low, uint32_t part_bits,
                        uint32_t parts_len, struct store_part *ret_parts)
{
    KV_CHECK(parts_len > 0 && (part_bits < 64 || (parts_len == 1 && low == 0)));
    memset(ret_parts, 0, parts_len * sizeof(*ret_parts));
    uint64_t high = part_bits >= 64 ? UINT64_MAX : low + ((uint64_t)parts_len << part_bits) - 1;
    KV_CHECK(high >= low);
    store_add_parts(store, low, high, part_bits, ret_parts);
}

/* --- scans --- */

/* The pairs of one segment and of those behind it, to be sorted by hash. */
struct store_sorter {
    struct store_entry *items;
    size_t len;
    size_t capacity;
};

static int store_compare_hash(const void *a, const void *b)
{
    const struct store_entry *left = a;
    const struct store_entry *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash ? 1 : 0;
}

static void store_sort(struct store_sorter *sorter, const struct store_segment *chain, uint64_t low,
                       uint64_t high)
{
    sorter->len = 0;
    for (const struct store_segment *segment = chain; segment != NULL; segment = segment->next) {
        if (sorter->len + segment->len > sorter->capacity) {
            sorter->capacity = 2 * (sorter->len + segment->len);
            sorter->items = alloc_resize(sorter->items, sorter->capacity * sizeof(*sorter->items));
        }
        for (uint32_t i = 0; i < store_segment_slots_len(segment); i++) {
            if (segment->slots[i] == 0) {
                continue;
            }
            KV_CHECK(sorter->items != NULL && sorter->len < sorter->capacity);
            struct store_entry *item = &sorter->items[sorter->len];
            store_segment_entry(segment, i, item);
            item->hash = hash_bytes(item->key, item->key_len);
            sorter->len += item->hash >= low && item->hash <= high ? 1u : 0u;
        }
    }
    if (sorter->len > 1) {
        qsort(sorter->items, sorter->len, sizeof(*sorter->items), store_compare_hash);
    }
}

/* False: stopped at the hash given back. */
static bool store_visit_sorted(const struct store_sorter *sorter, uint64_t *ret_next,
                               store_visit_fn visit, void *ctx)
{
    for (size_t i = 0; i < sorter->len; i++) {
        const struct store_entry *entry = &sorter->items[i];
        bool first = i == 0 || entry->hash != entry[-1].hash;
        if (!visit(ctx, entry) && first) {
            *ret_next = entry->hash;
            return false;
        }
    }
    return true;
}

bool store_scan(const struct store *store, uint64_t low, uint64_t high, uint64_t *ret_next,
                store_visit_fn visit, void *ctx)
{
    struct store_sorter sorter = {NULL, 0, 0};
    bool complete = true;
    size_t last = store_place(store, high);
    for (size_t place = store_place(store, low); place <= last && complete;) {
        const struct store_segment *segment = store->directory[place];
        size_t len;
        place = store_first_place(store, segment, place, &len) + len;
        store_sort(&sorter, segment, low, high);
        complete = store_visit_sorted(&sorter, ret_next, visit, ctx);
    }
    alloc_free(sorter.items);
    return complete;
}

static bool store_visit_since(const struct store_segment *segment, uint64_t low, uint64_t high,
                              uint64_t base, store_visit_fn visit, void *ctx)
{
    for (uint32_t i = 0; i < store_segment_slots_len(segment); i++) {
        if (segment->slots[i] == 0) {
            continue;
        }
        struct store_entry entry;
        store_segment_entry(segment, i, &entry);
        if (entry.position.index <= base) {
            continue;
        }
        entry.hash = hash_bytes(entry.key, entry.key_len);
        if (entry.hash >= low && entry.hash <= high && !visit(ctx, &entry)) {
            return false;
        }
    }
    return true;
}

bool store_scan_since(const struct store *store, uint64_t low, uint64_t high, uint64_t base,
                      store_visit_fn visit, void *ctx)
{
    size_t last = store_place(store, high);
    for (size_t place = store_place(store, low); place <= last;) {
        const struct store_segment *segment = store->directory[place];
        size_t len;
        place = store_first_place(store, segment, place, &len) + len;
        if (segment->newest <= base) {
            continue; /* that is of those behind it, too */
        }
        for (; segment != NULL; segment = segment->next) {
            if (!store_visit_since(segment, low, high, base, visit, ctx)) {
                return false;
            }
        }
    }
    return true;
}

uint64_t store_segment_high(const struct store *store, uint64_t hash)
{
    size_t len;
    size_t place = store_place(store, hash);
    const struct store_segment *segment = store->directory[place];
    return store_high_from(store_place_low(store, store_first_place(store, segment, place, &len)),
                           segment);
}

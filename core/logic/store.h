/*
 * The node's content in memory: key -> value and the position of the update that wrote it, with a
 * digest that is always up to date.
 *
 * Extendible hashing by the top bits of hash_bytes(key) (Fagin, Nievergelt, Pippenger, Strong
 * 1979): a directory of small segments, each an open-addressed table that splits in two when it is
 * full, so no insertion ever waits for a rehash of the whole, and all keys of one hash range lie
 * together, which is what scans and transfers walk. Not thread-safe; no I/O.
 */
#ifndef LOGIC_STORE_H
#define LOGIC_STORE_H

#include <kvnode/persist.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* One pair, owned by the store, valid until the store is changed. */
struct store_entry {
    uint64_t hash;
    const void *key;
    const void *value;
    uint32_t key_len;
    uint32_t value_len;
    struct kv_position position;
};

struct store *store_create(void);
void store_destroy(struct store *store);

/* Sets or replaces a pair; key and value are copied and may be NULL when their length is 0. They
 * must not point into the store. */
void store_put(struct store *store, const void *key, uint32_t key_len, const void *value,
               uint32_t value_len, struct kv_position position);

/* True when the key was there. */
bool store_remove(struct store *store, const void *key, uint32_t key_len);

/* False when the key is absent; *ret_entry is then untouched. */
bool store_get(const struct store *store, const void *key, uint32_t key_len,
               struct store_entry *ret_entry);

uint64_t store_len(const struct store *store);

/* Bytes of keys and values. */
uint64_t store_bytes(const struct store *store);

/* The sum, modulo 2^64, over all pairs of a 64-bit hash of (key length, key, value): independent of
 * order, history and layout; 0 for an empty store. The exact formula stands in store.c. */
uint64_t store_digest(const struct store *store);

/* --- ranges --- */

/* Digest and number of the pairs of one hash range. This digest tells positions apart too: it is
 * the sum of a mix of each pair's digest and position; the exact formula stands in store.c. */
struct store_part {
    uint64_t digest;
    uint64_t len;
};

uint64_t store_range_digest(const struct store *store, uint64_t low, uint64_t high,
                            uint64_t *ret_len);

/* The same for each of parts_len ranges of 2^part_bits hashes that follow each other from low on, a
 * multiple of that size; the last one ends at UINT64_MAX at the latest. Costs as much as there are
 * segments, and as pairs in those that are cut by an end of a part. */
void store_part_digests(const struct store *store, uint64_t low, uint32_t part_bits,
                        uint32_t parts_len, struct store_part *ret_parts);

/* --- scans --- */

/* Visits one pair of a scan. Return false to stop before this pair. Must not change the store. */
typedef bool (*store_visit_fn)(void *ctx, const struct store_entry *entry);

/* Visits the pairs whose hash is in [low, high] in ascending order of hash. A stop never separates
 * pairs of one hash: the visitor is heard only at the first pair of each hash value and must take
 * the others. Returns true when the range was visited completely; else *ret_next is the hash at
 * which to go on. */
bool store_scan(const struct store *store, uint64_t low, uint64_t high, uint64_t *ret_next,
                store_visit_fn visit, void *ctx);

/* Visits the pairs whose hash is in [low, high] and whose index is above base, in no useful order;
 * every visit may stop it. Returns true when none did. Pairs lie together in segments: it is cheap
 * for ranges that end where a segment does. */
bool store_scan_since(const struct store *store, uint64_t low, uint64_t high, uint64_t base,
                      store_visit_fn visit, void *ctx);

/* The highest hash of the segment that a hash belongs to. */
uint64_t store_segment_high(const struct store *store, uint64_t hash);

#endif

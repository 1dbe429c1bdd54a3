/*
 * A segment of the store: a small open-addressed table and the memory of the pairs in it.
 *
 * A slot is 4 bytes: 15 bits of the hash (its tag), the chunk and the place in it where the pair
 * lies. A pair is its lengths and position as variable-length numbers, then key and value, packed
 * one after the other into chunks of 4 KiB; one above SEGMENT_INLINE_MAX bytes has a chunk of its
 * own. So a pair costs about 8 bytes of header, 5 to 9 of table, and a share of its segment's last
 * chunk. A segment never holds more than SEGMENT_LEN_MAX pairs, which bounds every step.
 *
 * Used by store.c only. It knows nothing of other segments.
 */
#ifndef LOGIC_STORE_SEGMENT_H
#define LOGIC_STORE_SEGMENT_H

#include "logic/store.h"

#define SEGMENT_BITS_MIN   3u
#define SEGMENT_BITS_MAX   10u
#define SEGMENT_LEN_MAX    ((1u << SEGMENT_BITS_MAX) / 8u * 7u)
#define SEGMENT_CHUNKS_MAX 127u
#define SEGMENT_INLINE_MAX 512u
#define SEGMENT_NONE       UINT32_MAX

struct store_chunk;

struct store_segment {
    struct store_segment *next; /* more pairs of the same hashes, see store.c */
    uint64_t
        digest; /* in the first of a chain, for the whole of it: see store_range_digest() ... */
    uint64_t newest; /* ... and no pair has an index above this; store.c keeps both */
    uint32_t *slots;
    struct store_chunk **chunks; /* may have gaps */
    uint32_t len;                /* pairs */
    uint32_t used;               /* bytes of ordinary chunks given out ... */
    uint32_t garbage;            /* ... and of these, not in use any more */
    uint8_t bits;                /* the table has 1 << bits slots */
    uint8_t depth;               /* how many top bits of the hash all its pairs share */
    uint8_t chunks_len;          /* used entries of chunks, gaps included */
    uint8_t chunks_capacity;
    uint8_t open; /* chunk that takes the next pair; chunks_len or more: none */
};

struct store_segment *store_segment_create(uint8_t depth);

/* This segment alone, not those after it. */
void store_segment_destroy(struct store_segment *segment);

/* The slot of a key, or SEGMENT_NONE. */
uint32_t store_segment_find(const struct store_segment *segment, uint64_t hash, const void *key,
                            uint32_t key_len);

/* The pair in a used slot; its hash is left for the caller to set. */
void store_segment_entry(const struct store_segment *segment, uint32_t slot,
                         struct store_entry *ret_entry);

/* Copies in a pair that is not there. False: the segment is full, nothing is changed. */
bool store_segment_add(struct store_segment *segment, const struct store_entry *entry);

/* Overwrites the pair in a slot by one of the same key. False: it needs another size, nothing is
 * changed. */
bool store_segment_overwrite(struct store_segment *segment, uint32_t slot,
                             const struct store_entry *entry);

/* Removes the pair in a slot; gives back memory that is not needed any more. */
void store_segment_remove(struct store_segment *segment, uint32_t slot);

/* Moves the pair in a slot to another segment. The slot it came from is no longer valid: the caller
 * moves all pairs and then destroys the old segment. False: the target is full. */
bool store_segment_move(struct store_segment *segment, uint32_t slot, struct store_segment *target);

static inline uint32_t store_segment_slots_len(const struct store_segment *segment)
{
    return 1u << segment->bits;
}

#endif

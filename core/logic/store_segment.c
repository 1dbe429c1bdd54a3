/*
 * Happy path of an addition: space at the end of the open chunk, the pair copied there, a slot
 * found by linear probing from the tag's top bits.
 *
 * Tag and home slot come from the same 15 bits, so growing, shrinking and the backward shift of a
 * removal look at the table alone and touch no pair. Removing leaves garbage in a chunk; an empty
 * chunk is freed at once, and when an eighth of a segment is garbage all its pairs are moved
 * together (at most SEGMENT_LEN_MAX small ones; a large one moves by its pointer).
 */
#include "logic/store_segment.h"

#include "base/alloc.h"
#include "base/check.h"

#include <string.h>

#define SEGMENT_TAG_BITS     15u
#define SEGMENT_TAG_SHIFT    17u
#define SEGMENT_CHUNK_SHIFT  10u
#define SEGMENT_CHUNK_MASK   127u
#define SEGMENT_UNITS_MASK   1023u
#define SEGMENT_UNIT         4u
#define SEGMENT_HEADER_BYTES 8u /* sizeof(struct store_chunk) */

/* With the allocator's own 8 bytes a chunk is 4096. */
#define SEGMENT_CHUNK_BYTES 4088u

/* Lengths and position at their longest: two numbers of 32 and two of 64 bits. */
#define SEGMENT_NUMBERS_MAX (2u * 5u + 2u * 10u)

struct store_chunk {
    uint32_t used; /* bytes given out, this header included */
    uint32_t live; /* bytes of pairs */
};

_Static_assert(sizeof(struct store_chunk) == SEGMENT_HEADER_BYTES, "a pair is never at unit 0");
_Static_assert(SEGMENT_CHUNK_BYTES / SEGMENT_UNIT <= SEGMENT_UNITS_MASK, "units fit in a slot");
_Static_assert(SEGMENT_CHUNKS_MAX <= SEGMENT_CHUNK_MASK, "chunks fit in a slot");

/* --- bytes of a pair --- */

static size_t segment_put_number(uint8_t *at, uint64_t value)
{
    size_t len = 0;
    for (; value >= 0x80u; value >>= 7) {
        at[len++] = (uint8_t)(value | 0x80u);
    }
    at[len++] = (uint8_t)value;
    return len;
}

static const uint8_t *segment_get_number(const uint8_t *at, uint64_t *ret_value)
{
    uint64_t value = *at & 0x7fu;
    for (unsigned shift = 7; (*at & 0x80u) != 0; shift += 7) {
        at++;
        value |= (uint64_t)(*at & 0x7fu) << shift;
    }
    *ret_value = value;
    return at + 1;
}

/* Everything of a pair that stands before its key. */
struct segment_numbers {
    uint8_t bytes[SEGMENT_NUMBERS_MAX];
    size_t len;
    size_t size; /* of the whole pair, in whole units */
};

static size_t segment_round(size_t size)
{
    return (size + SEGMENT_UNIT - 1) & ~(size_t)(SEGMENT_UNIT - 1);
}

static void segment_number_pair(const struct store_entry *entry, struct segment_numbers *numbers)
{
    uint8_t *at = numbers->bytes;
    at += segment_put_number(at, entry->key_len);
    at += segment_put_number(at, entry->value_len);
    at += segment_put_number(at, entry->position.view);
    at += segment_put_number(at, entry->position.index);
    numbers->len = (size_t)(at - numbers->bytes);
    numbers->size = segment_round(numbers->len + entry->key_len + entry->value_len);
    KV_CHECK(numbers->size <= UINT32_MAX - SEGMENT_CHUNK_BYTES);
}

static void segment_write_pair(uint8_t *at, const struct segment_numbers *numbers,
                               const struct store_entry *entry)
{
    memcpy(at, numbers->bytes, numbers->len);
    at += numbers->len;
    if (entry->key_len > 0) {
        memcpy(at, entry->key, entry->key_len);
        at += entry->key_len;
    }
    if (entry->value_len > 0) {
        memcpy(at, entry->value, entry->value_len);
    }
}

/* Reads a pair; returns its size in whole units. */
static size_t segment_read_pair(const uint8_t *at, struct store_entry *ret_entry)
{
    uint64_t key_len;
    uint64_t value_len;
    const uint8_t *key = segment_get_number(at, &key_len);
    key = segment_get_number(key, &value_len);
    key = segment_get_number(key, &ret_entry->position.view);
    key = segment_get_number(key, &ret_entry->position.index);
    ret_entry->key = key;
    ret_entry->key_len = (uint32_t)key_len;
    ret_entry->value = key + key_len;
    ret_entry->value_len = (uint32_t)value_len;
    return segment_round((size_t)(key - at) + key_len + value_len);
}

/* --- slots --- */

static uint32_t segment_tag(uint64_t hash)
{
    return (uint32_t)hash & ((1u << SEGMENT_TAG_BITS) - 1u);
}

static uint32_t segment_slot_tag(uint32_t slot)
{
    return slot >> SEGMENT_TAG_SHIFT;
}

static uint32_t segment_slot_chunk(uint32_t slot)
{
    return (slot >> SEGMENT_CHUNK_SHIFT) & SEGMENT_CHUNK_MASK;
}

static uint8_t *segment_slot_at(const struct store_segment *segment, uint32_t slot)
{
    uint32_t chunk = segment_slot_chunk(slot);
    KV_CHECK(slot != 0 && chunk < segment->chunks_len);
    return (uint8_t *)segment->chunks[chunk] + (size_t)(slot & SEGMENT_UNITS_MASK) * SEGMENT_UNIT;
}

static uint32_t segment_home(const struct store_segment *segment, uint32_t tag)
{
    return tag >> (SEGMENT_TAG_BITS - segment->bits);
}

static uint32_t segment_after(const struct store_segment *segment, uint32_t index)
{
    return (index + 1) & (store_segment_slots_len(segment) - 1);
}

/* Enters a slot value into the table, which has room. */
static void segment_enter(struct store_segment *segment, uint32_t slot)
{
    uint32_t index = segment_home(segment, segment_slot_tag(slot));
    while (segment->slots[index] != 0) {
        index = segment_after(segment, index);
    }
    segment->slots[index] = slot;
}

static void segment_resize_table(struct store_segment *segment, uint8_t bits)
{
    KV_CHECK(bits >= SEGMENT_BITS_MIN && bits <= SEGMENT_BITS_MAX);
    uint32_t *old = segment->slots;
    uint32_t old_len = store_segment_slots_len(segment);
    segment->bits = bits;
    KV_CHECK(segment->len < store_segment_slots_len(segment));
    segment->slots = alloc_zeroed(store_segment_slots_len(segment), sizeof(*segment->slots));
    for (uint32_t i = 0; i < old_len; i++) {
        if (old[i] != 0) {
            segment_enter(segment, old[i]);
        }
    }
    alloc_free(old);
}

/* Room for one more slot. False: the table is full at its largest. */
static bool segment_reserve_slot(struct store_segment *segment)
{
    if (segment->len < store_segment_slots_len(segment) / 8u * 7u) {
        return true;
    }
    if (segment->bits == SEGMENT_BITS_MAX) {
        return false;
    }
    segment_resize_table(segment, (uint8_t)(segment->bits + 1));
    return true;
}

/* --- chunks --- */

/* An unused place in the chunk table, which it enlarges; SEGMENT_NONE: there is none. */
static uint32_t segment_free_chunk(struct store_segment *segment)
{
    for (uint32_t i = 0; i < segment->chunks_len; i++) {
        if (segment->chunks[i] == NULL) {
            return i;
        }
    }
    if (segment->chunks_len == SEGMENT_CHUNKS_MAX) {
        return SEGMENT_NONE;
    }
    if (segment->chunks_len == segment->chunks_capacity) {
        uint32_t capacity = segment->chunks_capacity < 4 ? 4u : segment->chunks_capacity * 2u;
        if (capacity > SEGMENT_CHUNKS_MAX) {
            capacity = SEGMENT_CHUNKS_MAX;
        }
        segment->chunks = alloc_resize(segment->chunks, capacity * sizeof(struct store_chunk *));
        segment->chunks_capacity = (uint8_t)capacity;
    }
    segment->chunks[segment->chunks_len] = NULL;
    return segment->chunks_len++;
}

static struct store_chunk *segment_make_chunk(size_t bytes)
{
    struct store_chunk *chunk = alloc_bytes(bytes);
    chunk->used = SEGMENT_HEADER_BYTES;
    chunk->live = 0;
    return chunk;
}

/* Space for a pair of that size; the slot value without a tag, or SEGMENT_NONE. */
static uint32_t segment_take_space(struct store_segment *segment, size_t size)
{
    bool large = size > SEGMENT_INLINE_MAX;
    uint32_t place = segment->open;
    if (large || place >= segment->chunks_len || segment->chunks[place] == NULL ||
        segment->chunks[place]->used + size > SEGMENT_CHUNK_BYTES) {
        place = segment_free_chunk(segment);
        if (place == SEGMENT_NONE) {
            return SEGMENT_NONE;
        }
        segment->chunks[place] =
            segment_make_chunk(large ? SEGMENT_HEADER_BYTES + size : SEGMENT_CHUNK_BYTES);
        if (!large) {
            segment->open = (uint8_t)place;
        }
    }
    struct store_chunk *chunk = segment->chunks[place];
    uint32_t units = chunk->used / SEGMENT_UNIT;
    chunk->used += (uint32_t)size;
    chunk->live += (uint32_t)size;
    if (!large) {
        segment->used += (uint32_t)size;
    }
    return place << SEGMENT_CHUNK_SHIFT | units;
}

/* The pair's bytes are not needed any more. */
static void segment_give_space(struct store_segment *segment, uint32_t slot, size_t size)
{
    uint32_t place = segment_slot_chunk(slot);
    struct store_chunk *chunk = segment->chunks[place];
    KV_CHECK(chunk->live >= size);
    chunk->live -= (uint32_t)size;
    bool large = size > SEGMENT_INLINE_MAX;
    if (!large) {
        segment->garbage += (uint32_t)size;
    }
    if (chunk->live > 0) {
        return;
    }
    if (!large) {
        segment->used -= chunk->used - SEGMENT_HEADER_BYTES;
        segment->garbage -= chunk->used - SEGMENT_HEADER_BYTES;
    }
    alloc_free(chunk);
    segment->chunks[place] = NULL;
    if (place == segment->open) {
        segment->open = SEGMENT_CHUNKS_MAX;
    }
    while (segment->chunks_len > 0 && segment->chunks[segment->chunks_len - 1] == NULL) {
        segment->chunks_len--;
    }
}

/* --- life --- */

static void segment_init(struct store_segment *segment, uint8_t depth, uint8_t bits)
{
    memset(segment, 0, sizeof(*segment));
    segment->depth = depth;
    segment->bits = bits;
    segment->open = SEGMENT_CHUNKS_MAX;
    segment->slots = alloc_zeroed((size_t)1 << bits, sizeof(*segment->slots));
}

static void segment_close(struct store_segment *segment)
{
    for (uint32_t i = 0; i < segment->chunks_len; i++) {
        alloc_free(segment->chunks[i]);
    }
    alloc_free(segment->chunks);
    alloc_free(segment->slots);
}

struct store_segment *store_segment_create(uint8_t depth)
{
    struct store_segment *segment = alloc_bytes(sizeof(*segment));
    segment_init(segment, depth, SEGMENT_BITS_MIN);
    return segment;
}

void store_segment_destroy(struct store_segment *segment)
{
    if (segment != NULL) {
        segment_close(segment);
        alloc_free(segment);
    }
}

/* --- pairs --- */

uint32_t store_segment_find(const struct store_segment *segment, uint64_t hash, const void *key,
                            uint32_t key_len)
{
    uint32_t tag = segment_tag(hash);
    uint32_t index = segment_home(segment, tag);
    for (uint32_t slot; (slot = segment->slots[index]) != 0;
         index = segment_after(segment, index)) {
        if (segment_slot_tag(slot) != tag) {
            continue;
        }
        struct store_entry entry;
        segment_read_pair(segment_slot_at(segment, slot), &entry);
        if (entry.key_len == key_len && (key_len == 0 || memcmp(entry.key, key, key_len) == 0)) {
            return index;
        }
    }
    return SEGMENT_NONE;
}

void store_segment_entry(const struct store_segment *segment, uint32_t slot,
                         struct store_entry *ret_entry)
{
    segment_read_pair(segment_slot_at(segment, segment->slots[slot]), ret_entry);
}

bool store_segment_add(struct store_segment *segment, const struct store_entry *entry)
{
    struct segment_numbers numbers;
    segment_number_pair(entry, &numbers);
    if (!segment_reserve_slot(segment)) {
        return false;
    }
    uint32_t slot = segment_take_space(segment, numbers.size);
    if (slot == SEGMENT_NONE) {
        return false;
    }
    segment_write_pair(segment_slot_at(segment, slot), &numbers, entry);
    segment_enter(segment, slot | segment_tag(entry->hash) << SEGMENT_TAG_SHIFT);
    segment->len++;
    return true;
}

bool store_segment_overwrite(struct store_segment *segment, uint32_t slot,
                             const struct store_entry *entry)
{
    struct segment_numbers numbers;
    segment_number_pair(entry, &numbers);
    uint8_t *at = segment_slot_at(segment, segment->slots[slot]);
    struct store_entry old;
    if (segment_read_pair(at, &old) != numbers.size) {
        return false;
    }
    segment_write_pair(at, &numbers, entry);
    return true;
}

bool store_segment_move(struct store_segment *segment, uint32_t slot, struct store_segment *target)
{
    uint32_t value = segment->slots[slot];
    const uint8_t *at = segment_slot_at(segment, value);
    struct store_entry entry;
    size_t size = segment_read_pair(at, &entry);
    if (!segment_reserve_slot(target)) {
        return false;
    }
    uint32_t place;
    if (size > SEGMENT_INLINE_MAX) {
        uint32_t chunk = segment_free_chunk(target);
        if (chunk == SEGMENT_NONE) {
            return false;
        }
        target->chunks[chunk] = segment->chunks[segment_slot_chunk(value)];
        segment->chunks[segment_slot_chunk(value)] = NULL;
        place = chunk << SEGMENT_CHUNK_SHIFT | (value & SEGMENT_UNITS_MASK);
    } else {
        place = segment_take_space(target, size);
        if (place == SEGMENT_NONE) {
            return false;
        }
        memcpy(segment_slot_at(target, place), at, size);
    }
    segment_enter(target, place | segment_slot_tag(value) << SEGMENT_TAG_SHIFT);
    target->len++;
    return true;
}

/* Moves all pairs together. They always fit: what was left of `used` is at most 7/8 minus half a
 * chunk, and an ordinary chunk is closed only when fewer than SEGMENT_INLINE_MAX bytes of it are
 * free, which is 7/8 full. */
static void segment_compact(struct store_segment *segment)
{
    struct store_segment fresh;
    segment_init(&fresh, segment->depth, segment->bits);
    for (uint32_t i = 0; i < store_segment_slots_len(segment); i++) {
        if (segment->slots[i] != 0) {
            KV_CHECK(store_segment_move(segment, i, &fresh));
        }
    }
    KV_CHECK(fresh.len == segment->len && fresh.garbage == 0);
    fresh.next = segment->next;
    fresh.digest = segment->digest;
    fresh.newest = segment->newest;
    segment_close(segment);
    *segment = fresh;
}

/* Backward shift: what stands after the gap moves into it unless that would put it before its home,
 * so no tombstone is needed. */
static void segment_clear_slot(struct store_segment *segment, uint32_t gap)
{
    uint32_t mask = store_segment_slots_len(segment) - 1;
    uint32_t index = segment_after(segment, gap);
    for (uint32_t slot; (slot = segment->slots[index]) != 0;
         index = segment_after(segment, index)) {
        uint32_t home = segment_home(segment, segment_slot_tag(slot));
        if (((index - home) & mask) >= ((index - gap) & mask)) {
            segment->slots[gap] = slot;
            gap = index;
        }
    }
    segment->slots[gap] = 0;
}

void store_segment_remove(struct store_segment *segment, uint32_t slot)
{
    uint32_t value = segment->slots[slot];
    struct store_entry entry;
    size_t size = segment_read_pair(segment_slot_at(segment, value), &entry);
    KV_CHECK(segment->len > 0);
    segment_clear_slot(segment, slot);
    segment->len--;
    segment_give_space(segment, value, size);
    if (segment->garbage > segment->used / 8 + SEGMENT_CHUNK_BYTES / 2) {
        segment_compact(segment);
    }
    if (segment->bits > SEGMENT_BITS_MIN && segment->len < store_segment_slots_len(segment) / 8u) {
        segment_resize_table(segment, (uint8_t)(segment->bits - 1));
    }
}

/*
 * What a replica's content gives to a joiner, and how the joiner takes it, one hash range after the
 * other, while updates flow. Two kinds of answers:
 *
 *   content: the committed content of hash range [low, high] as of log index as_of (a piece). The
 *   joiner makes its range equal to the piece, but for the keys of which its log has something
 * after as_of: of those its store has been told, and its memory is or will be. So a piece and a
 * live update may come in either order, and keys that the source lacks disappear. as_of may be
 * beyond the log's end: what the log still brings up to there is in the piece already, and once it
 * is applied all is well.
 *
 *   digests: of equal parts of a range, and the newest of its pairs. The joiner puts the pairs
 *   that are newer than its own, likewise, and then asks for what differs still. Where a digest
 * (which positions are part of) is equal, its range is as if it had taken the piece.
 *
 * Pure functions on the two stores.
 */
#ifndef LOGIC_TRANSFER_H
#define LOGIC_TRANSFER_H

#include "base/buffer.h"
#include "logic/log.h"
#include "logic/store.h"

/* --- source --- */

/* Cuts the next piece of [low, high], of about bytes_max bytes (at least one pair when there is
 * any). Appends the encoded pairs in ascending order of hash to ret_records. Returns the highest
 * hash that the piece covers. */
uint64_t transfer_cut(const struct store *store, uint64_t low, uint64_t high, size_t bytes_max,
                      struct buffer *ret_records, uint32_t *ret_count);

/* A range of 2^m hashes, which begins at a multiple of that, cut into 2^k equal parts, k <= m: each
 * has two to the power of what is returned. */
uint32_t transfer_part_bits(uint64_t low, uint64_t high, uint32_t parts);

/* Highest hash of the first parts_len of these parts. */
uint64_t transfer_parts_high(uint64_t low, uint32_t part_bits, uint32_t parts_len);

/* Appends the digests of the first of these parts, and their pairs of an index above base
 * (UINT64_MAX: none); as many whole parts as fit in bytes_max bytes of pairs. Where not even those
 * fit that lie in one segment with the first part, it comes alone and without any. Returns how many
 * parts that is, one at least. */
uint32_t transfer_digests(const struct store *store, uint64_t low, uint64_t high, uint32_t parts,
                          uint64_t base, size_t bytes_max, struct buffer *ret_digests,
                          struct buffer *ret_records, uint32_t *ret_count);

/* --- joiner --- */

/* Pairs as received. The log must hold whatever there is after as_of. */
struct transfer_piece {
    uint64_t low;
    uint64_t high;
    uint64_t as_of;
    const uint8_t *records; /* valid encoded records */
    size_t len;
    uint32_t count;
};

/* Applies content; the log's records up to `applied` are in the store already. ret_records: what
 * the persistence plugin must be told, in that order. False, with nothing changed: a record of the
 * piece is not an insertion in its range, or not in ascending order of hash. */
bool transfer_apply(struct store *store, const struct log *log, uint64_t applied,
                    const struct transfer_piece *piece, struct buffer *ret_records,
                    uint32_t *ret_count);

/* The same for the pairs that come with digests: those are put that are newer than what is here.
 * False, with nothing changed: a record is not an insertion in the range. */
bool transfer_apply_newer(struct store *store, const struct log *log, uint64_t applied,
                          const struct transfer_piece *piece, struct buffer *ret_records,
                          uint32_t *ret_count);

#endif

/*
 * Transfer of a primary's content to a joiner, one hash range (a piece) after the other, while
 * updates flow. A piece is the committed content of hash range [low, high] as of log index as_of.
 *
 * The joiner's rule, for its memory and for its store alike: make the range equal to the piece,
 * then do again what its log holds after as_of in that range. So a piece and a live update may come
 * in either order, and keys that the primary lacks disappear. Pure functions on the two stores.
 */
#ifndef LOGIC_TRANSFER_H
#define LOGIC_TRANSFER_H

#include "base/buffer.h"
#include "logic/log.h"
#include "logic/store.h"

/* Primary: cuts the next piece, beginning at hash low, of about bytes_max bytes (at least one pair
 * when there is any). Appends the encoded pairs in ascending order of hash to ret_records. Returns
 * the highest hash that the piece covers; UINT64_MAX: it is the last. */
uint64_t transfer_cut(const struct store *store, uint64_t low, size_t bytes_max,
                      struct buffer *ret_records, uint32_t *ret_count);

/* A piece as received. */
struct transfer_piece {
    uint64_t low;
    uint64_t high;
    uint64_t as_of;
    const uint8_t *records; /* valid encoded records */
    size_t len;
    uint32_t count;
};

/* Joiner: applies a piece. The log's records in (as_of, applied] are done again in the memory
 * store, those in (as_of, last] are written again. Appends to ret_records what the persistence
 * plugin must be told, in that order. False, with nothing changed: a record of the piece is not an
 * insertion in its range, or not in ascending order of hash. */
bool transfer_apply(struct store *store, const struct log *log, uint64_t applied,
                    const struct transfer_piece *piece, struct buffer *ret_records,
                    uint32_t *ret_count);

#endif

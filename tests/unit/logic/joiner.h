/*
 * What the tests of transfers and of catching up share: a joiner, whose disk is another store, and
 * ways to fill and to compare stores. One per test; what differs fails it.
 */
#ifndef LOGIC_JOINER_H
#define LOGIC_JOINER_H

#include "logic/record.h"
#include "logic/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* A pair of texts. */
void joiner_fill(struct store *store, const char *key, const char *value, uint64_t view,
                 uint64_t index);

/* What a log's record does to a store. */
void joiner_apply(struct store *store, const struct kv_record *record);

/* What a persistence plugin does with a batch. Returns how many records there were. */
uint32_t joiner_apply_batch(struct store *disk, const struct buffer *records);

/* The same pairs, at the same positions. */
void joiner_assert_same(const struct store *a, struct store *b);

/* A piece as it is received. */
struct transfer_piece joiner_piece(const struct buffer *records, uint32_t count, uint64_t low,
                                   uint64_t high, uint64_t as_of);

struct joiner {
    struct store *memory;
    struct store *disk;
    struct log *log; /* goes on after index 10 of view 1 */
};

void joiner_open(struct joiner *joiner);
void joiner_close(struct joiner *joiner);

/* Keys of one and the same hash, one for each number. */
#define JOINER_COLLIDING_BYTES 32u
void joiner_colliding_key(uint8_t *key, uint8_t number);

/* In memory and on disk. */
void joiner_put(struct joiner *joiner, const char *key, const char *value, uint64_t view,
                uint64_t index);

/* Applies the whole of `source` as one piece; returns how many records the disk was told. */
uint32_t joiner_take(struct joiner *joiner, const struct store *source, uint64_t applied,
                     uint64_t as_of);

#endif

/*
 * A set of log indexes, kept as ranges in ascending order that neither touch nor overlap: small and
 * almost always empty. The primary has two: the updates that are void, and the stops that are
 * forbidden, that is, where the commit index may not stand, between a void update and the record
 * that makes up for it.
 */
#ifndef LOGIC_INDEX_SET_H
#define LOGIC_INDEX_SET_H

#include <stdbool.h>
#include <stdint.h>

struct index_range {
    uint64_t first;
    uint64_t last;
};

struct index_set {
    struct index_range *ranges;
    uint32_t len;
    uint32_t capacity;
};

void index_set_init(struct index_set *set);
void index_set_close(struct index_set *set);

/* Adds first to last (0 < first <= last). */
void index_set_add(struct index_set *set, uint64_t first, uint64_t last);

bool index_set_has(const struct index_set *set, uint64_t index);

/* The highest index up to and including this one that is not in the set. */
uint64_t index_set_floor(const struct index_set *set, uint64_t index);

/* True when the set has something beyond index. */
bool index_set_reaches(const struct index_set *set, uint64_t index);

/* Forgets the ranges that end at or before index. */
void index_set_trim(struct index_set *set, uint64_t index);

#endif

#include "logic/index_set.h"

#include "base/alloc.h"
#include "base/check.h"

#include <string.h>

void index_set_init(struct index_set *set)
{
    memset(set, 0, sizeof(*set));
}

void index_set_close(struct index_set *set)
{
    alloc_free(set->ranges);
    index_set_init(set);
}

/* Place of the first range that ends at or after index. */
static uint32_t index_set_find(const struct index_set *set, uint64_t index)
{
    uint32_t low = 0;
    uint32_t high = set->len;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->ranges[middle].last < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Replaces the ranges [place, end) by one. */
static void index_set_replace(struct index_set *set, uint32_t place, uint32_t end,
                              struct index_range range)
{
    if (place == end && set->len == set->capacity) {
        set->capacity = set->capacity == 0 ? 8 : set->capacity * 2;
        set->ranges = alloc_resize(set->ranges, set->capacity * sizeof(*set->ranges));
    }
    memmove(set->ranges + place + 1, set->ranges + end, (set->len - end) * sizeof(*set->ranges));
    set->ranges[place] = range;
    set->len = set->len - (end - place) + 1;
}

void index_set_add(struct index_set *set, uint64_t first, uint64_t last)
{
    KV_CHECK(first > 0 && first <= last);
    struct index_range range = {first, last};
    uint32_t place = index_set_find(set, first - 1); /* one that touches it counts */
    uint32_t end = place;
    while (end < set->len && set->ranges[end].first <= last + 1) {
        range.first = set->ranges[end].first < range.first ? set->ranges[end].first : range.first;
        range.last = set->ranges[end].last > range.last ? set->ranges[end].last : range.last;
        end++;
    }
    index_set_replace(set, place, end, range);
}

uint64_t index_set_floor(const struct index_set *set, uint64_t index)
{
    uint32_t place = index_set_find(set, index);
    if (place < set->len && set->ranges[place].first <= index) {
        return set->ranges[place].first - 1;
    }
    return index;
}

bool index_set_has(const struct index_set *set, uint64_t index)
{
    return index_set_floor(set, index) != index;
}

bool index_set_reaches(const struct index_set *set, uint64_t index)
{
    return set->len > 0 && set->ranges[set->len - 1].last > index;
}

void index_set_trim(struct index_set *set, uint64_t index)
{
    uint32_t end = 0;
    while (end < set->len && set->ranges[end].last <= index) {
        end++;
    }
    if (end > 0) {
        set->len -= end;
        memmove(set->ranges, set->ranges + end, set->len * sizeof(*set->ranges));
    }
}

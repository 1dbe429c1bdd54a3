#include "ranges.h"

#include <string.h>

#define CAPACITY_MIN 8u

void ranges_init(struct ranges *ranges, const struct kv_host *host)
{
    *ranges = (struct ranges){.host = host};
}

void ranges_close(struct ranges *ranges)
{
    ranges_clear(ranges);
}

void ranges_clear(struct ranges *ranges)
{
    ranges->host->release(ranges->host->ctx, ranges->at);
    ranges->at = NULL;
    ranges->len = 0;
    ranges->capacity = 0;
}

/* Index of the first range that ends above `number`, or len. */
static uint32_t find_index(const struct ranges *ranges, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = ranges->len;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges->at[middle].to > number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Index of the first range, from `low` on, that begins at or above `number`, or len. */
static uint32_t find_begin(const struct ranges *ranges, uint32_t low, uint64_t number)
{
    uint32_t high = ranges->len;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges->at[middle].from >= number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static void erase(struct ranges *ranges, uint32_t first, uint32_t behind)
{
    memmove(ranges->at + first, ranges->at + behind, (ranges->len - behind) * sizeof ranges->at[0]);
    ranges->len -= behind - first;
}

static int32_t insert(struct ranges *ranges, uint32_t index, uint64_t from, uint64_t to)
{
    if (ranges->len == ranges->capacity) {
        if (ranges->capacity > UINT32_MAX / 2) {
            return KV_E_NOMEM;
        }
        uint32_t capacity = ranges->capacity == 0 ? CAPACITY_MIN : ranges->capacity * 2;
        struct range *at = ranges->host->resize(ranges->host->ctx, ranges->at,
                                                (size_t)capacity * sizeof ranges->at[0]);
        if (at == NULL) {
            return KV_E_NOMEM;
        }
        ranges->at = at;
        ranges->capacity = capacity;
    }
    memmove(ranges->at + index + 1, ranges->at + index,
            (ranges->len - index) * sizeof ranges->at[0]);
    ranges->at[index] = (struct range){from, to};
    ranges->len++;
    return KV_OK;
}

int32_t ranges_add(struct ranges *ranges, uint64_t from, uint64_t to)
{
    if (from >= to) {
        return KV_OK;
    }
    /* What touches the new range, on either side, becomes one with it: [first, behind). */
    uint32_t first = from == 0 ? 0 : find_index(ranges, from - 1);
    uint32_t behind = to == UINT64_MAX ? ranges->len : find_begin(ranges, first, to + 1);
    if (first == behind) {
        return insert(ranges, first, from, to);
    }
    struct range *merged = &ranges->at[first];
    uint64_t last_to = ranges->at[behind - 1].to;
    merged->from = merged->from < from ? merged->from : from;
    merged->to = last_to > to ? last_to : to;
    erase(ranges, first + 1, behind);
    return KV_OK;
}

int32_t ranges_remove(struct ranges *ranges, uint64_t from, uint64_t to)
{
    if (from >= to) {
        return KV_OK;
    }
    uint32_t first = find_index(ranges, from);
    uint32_t behind = find_begin(ranges, first, to);
    if (first == behind) {
        return KV_OK;
    }
    struct range *lowest = &ranges->at[first];
    struct range *highest = &ranges->at[behind - 1];
    if (lowest->from < from && lowest->to > to) { /* a hole within one range */
        uint64_t begin = lowest->from;
        int32_t status = insert(ranges, first, begin, from);
        if (status == KV_OK) {
            ranges->at[first + 1].from = to;
        }
        return status;
    }
    if (lowest->from < from) {
        lowest->to = from;
        first++;
    }
    if (highest->to > to) {
        highest->from = to;
        behind--;
    }
    if (first < behind) {
        erase(ranges, first, behind);
    }
    return KV_OK;
}

bool ranges_has(const struct ranges *ranges, uint64_t number)
{
    const struct range *range = ranges_find(ranges, number);
    return range != NULL && range->from <= number;
}

const struct range *ranges_find(const struct ranges *ranges, uint64_t from)
{
    uint32_t index = find_index(ranges, from);
    return index < ranges->len ? &ranges->at[index] : NULL;
}

uint64_t ranges_total(const struct ranges *ranges)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < ranges->len; i++) {
        total += ranges->at[i].to - ranges->at[i].from;
    }
    return total;
}

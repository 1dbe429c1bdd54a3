#include "deadlines.h"

#include <assert.h>
#include <stddef.h>

#define CAPACITY_MIN 16u

void deadlines_init(struct deadlines *deadlines, const struct kv_host *host)
{
    *deadlines = (struct deadlines){.host = host};
}

void deadlines_close(struct deadlines *deadlines)
{
    deadlines->host->release(deadlines->host->ctx, deadlines->heap);
    deadlines->heap = NULL;
    deadlines->len = 0;
    deadlines->capacity = 0;
}

void deadline_init(struct deadline *deadline)
{
    *deadline = (struct deadline){DEADLINES_NEVER, DEADLINES_NONE};
}

int32_t deadlines_reserve(struct deadlines *deadlines, uint32_t len)
{
    if (len <= deadlines->capacity) {
        return KV_OK;
    }
    uint32_t capacity = deadlines->capacity > UINT32_MAX / 2 ? len : deadlines->capacity * 2;
    capacity = capacity < len ? len : capacity;
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    struct deadline **heap = deadlines->host->resize(deadlines->host->ctx, deadlines->heap,
                                                     (size_t)capacity * sizeof heap[0]);
    if (heap == NULL) {
        return KV_E_NOMEM;
    }
    deadlines->heap = heap;
    deadlines->capacity = capacity;
    return KV_OK;
}

static void put(struct deadlines *deadlines, uint32_t place, struct deadline *deadline)
{
    deadlines->heap[place] = deadline;
    deadline->place = place;
}

/* The place is free; the deadline goes there, or further up. */
static void sift_up(struct deadlines *deadlines, uint32_t place, struct deadline *deadline)
{
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (deadlines->heap[parent]->at_us <= deadline->at_us) {
            break;
        }
        put(deadlines, place, deadlines->heap[parent]);
        place = parent;
    }
    put(deadlines, place, deadline);
}

/* The same, or further down. */
static void sift_down(struct deadlines *deadlines, uint32_t place, struct deadline *deadline)
{
    while (place < deadlines->len / 2) {
        uint32_t child = 2 * place + 1;
        if (child + 1 < deadlines->len &&
            deadlines->heap[child + 1]->at_us < deadlines->heap[child]->at_us) {
            child++;
        }
        if (deadlines->heap[child]->at_us >= deadline->at_us) {
            break;
        }
        put(deadlines, place, deadlines->heap[child]);
        place = child;
    }
    put(deadlines, place, deadline);
}

static void settle(struct deadlines *deadlines, uint32_t place, struct deadline *deadline)
{
    if (place > 0 && deadline->at_us < deadlines->heap[(place - 1) / 2]->at_us) {
        sift_up(deadlines, place, deadline);
    } else {
        sift_down(deadlines, place, deadline);
    }
}

static void take_out(struct deadlines *deadlines, struct deadline *deadline)
{
    uint32_t place = deadline->place;
    deadline->place = DEADLINES_NONE;
    deadlines->len--;
    struct deadline *last = deadlines->heap[deadlines->len];
    if (last != deadline) {
        settle(deadlines, place, last);
    }
}

void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, uint64_t at_us)
{
    deadline->at_us = at_us;
    if (at_us == DEADLINES_NEVER) {
        if (deadline->place != DEADLINES_NONE) {
            take_out(deadlines, deadline);
        }
        return;
    }
    if (deadline->place != DEADLINES_NONE) {
        settle(deadlines, deadline->place, deadline);
        return;
    }
    assert(deadlines->len < deadlines->capacity); /* deadlines_reserve() was forgotten */
    deadlines->len++;
    sift_up(deadlines, deadlines->len - 1, deadline);
}

struct deadline *deadlines_first(const struct deadlines *deadlines)
{
    return deadlines->len > 0 ? deadlines->heap[0] : NULL;
}

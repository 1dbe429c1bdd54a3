#include "acks.h"

#include <string.h>

void acks_init(struct acks *acks)
{
    *acks = (struct acks){.due_us = UINT64_MAX};
}

/* A new range in front of the one at `place`; the oldest one goes when there is no room. */
static void insert(struct acks *acks, uint32_t place, uint64_t number)
{
    if (place == WIRE_RANGES_MAX) {
        return; /* older than all that are kept: forgotten at once */
    }
    uint32_t kept = acks->ranges_len < WIRE_RANGES_MAX ? acks->ranges_len : WIRE_RANGES_MAX - 1;
    memmove(acks->ranges + place + 1, acks->ranges + place,
            (kept - place) * sizeof acks->ranges[0]);
    memmove(acks->told + place + 1, acks->told + place, kept - place);
    acks->told[place] = 0;
    acks->ranges[place] = (struct range){number, number + 1};
    acks->ranges_len = kept + 1;
}

/* The range at `place` and the next older one have come to touch. */
static void merge_with_older(struct acks *acks, uint32_t place)
{
    acks->ranges[place].from = acks->ranges[place + 1].from;
    memmove(acks->ranges + place + 1, acks->ranges + place + 2,
            (acks->ranges_len - place - 2) * sizeof acks->ranges[0]);
    memmove(acks->told + place + 1, acks->told + place + 2, acks->ranges_len - place - 2);
    acks->ranges_len--;
}

static void remember(struct acks *acks, uint64_t number)
{
    uint32_t place = 0;
    while (place < acks->ranges_len && acks->ranges[place].from > number + 1) {
        place++;
    }
    /* Here is the newest range that does not lie wholly above the number and apart from it. */
    struct range *range = &acks->ranges[place];
    if (place == acks->ranges_len || range->to < number) {
        insert(acks, place, number);
    } else if (range->to == number) {
        range->to++;
        acks->told[place] = 0;
    } else if (range->from == number + 1) {
        range->from--;
        acks->told[place] = 0;
        if (place + 1 < acks->ranges_len && acks->ranges[place + 1].to == number) {
            merge_with_older(acks, place);
        }
    }
}

static uint64_t acks_delay_us(const struct acks *acks)
{
    uint64_t delay_us = 2 * acks->answer_us;
    if (delay_us > ACKS_DELAY_MAX_US) {
        return ACKS_DELAY_MAX_US;
    }
    return delay_us > ACKS_DELAY_US ? delay_us : ACKS_DELAY_US;
}

void acks_on_packet(struct acks *acks, uint64_t number, bool is_eliciting, uint64_t now_us)
{
    uint64_t expected = acks->ranges_len > 0 ? acks->ranges[0].to : 0;
    remember(acks, number);
    if (number >= expected) {
        acks->largest_us = now_us;
    }
    if (!is_eliciting) {
        return;
    }
    if (acks->asked_us == 0) {
        acks->asked_us = now_us;
    }
    if (acks->waiting == 0) {
        acks->due_us = now_us + acks_delay_us(acks);
    }
    acks->waiting++;
    if (!acks->is_urgent && (acks->waiting >= 2 || number != expected)) {
        acks->is_urgent = true;
        acks->due_us = now_us;
    }
}

uint64_t acks_due_us(const struct acks *acks)
{
    return acks->waiting > 0 ? acks->due_us : UINT64_MAX;
}

bool acks_get(const struct acks *acks, uint64_t now_us, struct wire_ack *ret_ack)
{
    if (acks->ranges_len == 0) {
        return false;
    }
    uint64_t delay_us = now_us > acks->largest_us ? now_us - acks->largest_us : 0;
    ret_ack->delay_us = delay_us < UINT32_MAX ? (uint32_t)delay_us : UINT32_MAX;
    ret_ack->ranges_len = acks->ranges_len;
    memcpy(ret_ack->ranges, acks->ranges, acks->ranges_len * sizeof acks->ranges[0]);
    return true;
}

void acks_on_sent(struct acks *acks)
{
    for (uint32_t i = 0; i < acks->ranges_len; i++) {
        if (acks->told[i] < ACKS_TOLD_MAX) {
            acks->told[i]++;
        }
    }
    while (acks->ranges_len > 1 && acks->told[acks->ranges_len - 1] == ACKS_TOLD_MAX) {
        acks->ranges_len--;
    }
    acks->waiting = 0;
    acks->is_urgent = false;
    acks->due_us = UINT64_MAX;
}

void acks_on_answer(struct acks *acks, uint64_t now_us)
{
    if (acks->asked_us != 0) {
        uint64_t sample_us = now_us - acks->asked_us;
        sample_us = sample_us < ACKS_DELAY_MAX_US ? sample_us : ACKS_DELAY_MAX_US;
        acks->answer_us = (7 * acks->answer_us + sample_us) / 8;
        acks->asked_us = 0;
    }
}

#include "host/clock.h"

#include "base/check.h"

/* CLOCK_BOOTTIME counts suspend; a kernel that hides it still has the other one. */
void clock_init(struct clock *clock)
{
    struct timespec now;
    clock->source = clock_gettime(CLOCK_BOOTTIME, &now) == 0 ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
    clock->last_ms = 0;
}

uint64_t clock_now_ms(struct clock *clock)
{
    struct timespec now;
    int status = clock_gettime(clock->source, &now);
    KV_CHECK(status == 0); /* it has worked before */
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
    if (now_ms > clock->last_ms) {
        clock->last_ms = now_ms;
    }
    return clock->last_ms;
}

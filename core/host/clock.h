/*
 * The node's clock: milliseconds that never go back and go on while the machine is suspended, read
 * anew each time. Every event carries such a reading, taken after what it brings has arrived: a
 * process that was stopped in between must not judge a lease by a time from before it. The cached
 * time of the loop, and a clock that stands still in suspend, would. Caller's storage, one thread.
 */
#ifndef HOST_CLOCK_H
#define HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

struct clock {
    clockid_t source;
    uint64_t last_ms;
};

void clock_init(struct clock *clock);

/* Costs some tens of nanoseconds. */
uint64_t clock_now_ms(struct clock *clock);

#endif

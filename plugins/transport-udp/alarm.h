/*
 * One moment that the loop wakes up at, exact to the microsecond. Loop thread only; never blocks.
 *
 * libuv's timers count whole milliseconds, which is many round trips of a local network, but cost
 * no system call; a timerfd is exact, and costs two for each ring. So what is a millisecond or more
 * away is left to libuv, which rings up to two milliseconds early: whoever set the alarm finds
 * nothing due yet, most often because it has moved on, or sets it to the rest.
 */
#ifndef TRANSPORT_UDP_ALARM_H
#define TRANSPORT_UDP_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define ALARM_NEVER UINT64_MAX
/* What is nearer is the timerfd's. */
#define ALARM_EXACT_US 1000u

typedef void (*alarm_fn)(void *ctx);

struct alarm {
    uv_poll_t poll; /* of the timerfd */
    uv_timer_t timer;
    int fd;
    uint64_t at_us; /* what it is set to; ALARM_NEVER: it has rung, or was not set yet */
    alarm_fn on_alarm;
    alarm_fn on_closed;
    void *ctx;
    uint32_t handles_len; /* not closed yet */
};

/* A negative errno on failure: nothing was made. */
int alarm_open(struct alarm *alarm, uv_loop_t *loop, alarm_fn on_alarm, alarm_fn on_closed,
               void *ctx);

/*
 * Rings at that time of uv_hrtime() / 1000, or less than two milliseconds before, from the loop, at
 * once if it is over. When it is set to an earlier time already it stays so: a ring too early does
 * no harm.
 */
void alarm_set(struct alarm *alarm, uint64_t at_us);

/* Asynchronous: on_closed follows, and no on_alarm. */
void alarm_close(struct alarm *alarm);

#endif

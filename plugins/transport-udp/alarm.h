/*
 * One moment that the loop wakes up at, exact to the microsecond: libuv's timers count whole
 * milliseconds, which is many round trips of a local network. Loop thread only; never blocks.
 */
#ifndef TRANSPORT_UDP_ALARM_H
#define TRANSPORT_UDP_ALARM_H

#include <stdint.h>
#include <uv.h>

#define ALARM_NEVER UINT64_MAX

typedef void (*alarm_fn)(void *ctx);

struct alarm {
    uv_poll_t poll;
    int fd;         /* a timerfd */
    uint64_t at_us; /* what it is set to; ALARM_NEVER: it has rung, or was not set yet */
    alarm_fn on_alarm;
    alarm_fn on_closed;
    void *ctx;
};

/* A negative errno on failure: nothing was made. */
int alarm_open(struct alarm *alarm, uv_loop_t *loop, alarm_fn on_alarm, alarm_fn on_closed,
               void *ctx);

/*
 * Rings at that time of uv_hrtime() / 1000, from the loop, at once if it is over. When it is set to
 * an earlier time already it stays so: a ring too early does no harm, and setting costs a call.
 */
void alarm_set(struct alarm *alarm, uint64_t at_us);

/* Asynchronous: on_closed follows, and no on_alarm. */
void alarm_close(struct alarm *alarm);

#endif

#include "alarm.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void ring(struct alarm *alarm)
{
    alarm->at_us = ALARM_NEVER;
    alarm->on_alarm(alarm->ctx);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct alarm *alarm = poll->data;
    uint64_t rings = 0;
    (void)status;
    (void)events;
    if (read(alarm->fd, &rings, sizeof rings) == (ssize_t)sizeof rings) {
        ring(alarm);
    }
}

static void on_timer(uv_timer_t *timer)
{
    ring(timer->data);
}

int alarm_open(struct alarm *alarm, uv_loop_t *loop, alarm_fn on_alarm, alarm_fn on_closed,
               void *ctx)
{
    memset(alarm, 0, sizeof *alarm);
    alarm->at_us = ALARM_NEVER;
    alarm->on_alarm = on_alarm;
    alarm->on_closed = on_closed;
    alarm->ctx = ctx;
    /* The clock of uv_hrtime(). */
    alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (alarm->fd < 0) {
        return -errno;
    }
    int status = uv_poll_init(loop, &alarm->poll, alarm->fd);
    if (status != 0) {
        close(alarm->fd);
        return status;
    }
    uv_timer_init(loop, &alarm->timer);
    alarm->timer.data = alarm;
    alarm->poll.data = alarm;
    alarm->handles_len = 2;
    uv_poll_start(&alarm->poll, UV_READABLE, on_readable); /* fails for a closing handle only */
    return 0;
}

static void set_exact(struct alarm *alarm, uint64_t at_us)
{
    struct itimerspec moment = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000),
                     .tv_nsec = (long)(at_us % 1000000) * 1000},
    };
    if (at_us == 0) {
        moment.it_value.tv_nsec = 1; /* all zero would stop it */
    }
    timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &moment, NULL);
}

void alarm_set(struct alarm *alarm, uint64_t at_us)
{
    if (at_us >= alarm->at_us) {
        return;
    }
    uint64_t now_us = uv_hrtime() / 1000;
    alarm->at_us = at_us;
    if (at_us < now_us + ALARM_EXACT_US) {
        set_exact(alarm, at_us);
        return;
    }
    uv_update_time(alarm->timer.loop); /* libuv counts from there */
    uv_timer_start(&alarm->timer, on_timer, (at_us - now_us) / 1000, 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct alarm *alarm = handle->data;
    alarm->handles_len--;
    if (alarm->handles_len == 0) {
        alarm->on_closed(alarm->ctx);
    }
}

void alarm_close(struct alarm *alarm)
{
    uv_close((uv_handle_t *)&alarm->timer, on_closed);
    uv_close((uv_handle_t *)&alarm->poll, on_closed);
    close(alarm->fd);
}

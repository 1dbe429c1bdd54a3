/*
 * A listening socket. Loop thread only.
 *
 * It polls and accepts by itself instead of with uv_listen(), which would call back in an endless
 * loop when the process has no file descriptor left.
 */
#ifndef TRANSPORT_TCP_LISTENER_H
#define TRANSPORT_TCP_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/list.h"

struct tcp;

struct listener {
    struct tcp *owner;
    struct list node;
    uv_poll_t poll;
    int fd;
    bool is_paused;
    bool is_closing;
};

/* As kv_transport_ops.listen. */
int32_t listener_open(struct tcp *tcp, const char *uri, char *ret_uri);

/* The port is free on return; the memory goes with libuv's close callback. */
void listener_close(struct listener *listener);

/* Callback of tcp.accept_timer: goes on after a pause. */
void listener_on_timer(uv_timer_t *timer);

#endif

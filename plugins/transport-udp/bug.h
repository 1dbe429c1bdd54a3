/*
 * Real mistakes that the simulator of this transport can switch on, one at a time, to show that its
 * checkers catch them. Only the pure parts and tests/ include it. In the plugin BUG() is a constant
 * false and nothing of this is left; the switch exists only where UDP_WITH_BUGS is defined.
 *
 *     if (BUG(deliver_twice)) { ... the wrong thing ... }
 */
#ifndef TRANSPORT_UDP_BUG_H
#define TRANSPORT_UDP_BUG_H

#include <stdbool.h>

/* X(name, what the wrong transport does) */
#define BUG_TABLE(X)                                                                    \
    X(deliver_twice, "a piece of the stream that was taken already is taken again")     \
    X(forget_lost, "the bytes of a lost packet are not sent again")                     \
    X(ack_untaken, "a packet is acknowledged that was not taken")                       \
    X(skip_cookie, "the proof in OPEN is not looked at")                                \
    X(long_answer, "the answer to HELLO is longer than it")                             \
    X(state_on_hello, "a link is made for each HELLO")                                  \
    X(believe_unknown, "UNKNOWN ends a link whatever token of the peer it tells")       \
    X(believe_close, "CLOSE ends a link whatever token of the peer it tells")           \
    X(skip_crc, "the CRC is not looked at")                                             \
    X(probe_flood, "probe time-outs do not back off")                                   \
    X(probe_never, "no probe is sent when all acknowledgements are missing")            \
    X(ignore_window, "more is sent than the congestion window and the pacing allow")    \
    X(ignore_limit, "more is sent than the peer says it takes")                         \
    X(ignore_message_max, "send() takes messages longer than the peer takes")           \
    X(announce_on_open, "a link is announced by OPEN, which may be replayed")           \
    X(forget_writable, "on_writable does not follow KV_E_BUSY")                         \
    X(keep_memory, "the memory of a link that is gone is kept")                         \
    X(ignore_black_hole, "the datagram size is not lowered when nothing comes through") \
    X(forget_down, "the host is not told that a link was lost")                         \
    X(down_in_close, "close_link() calls back")                                         \
    X(never_silent, "a link whose peer is silent is never lost")                        \
    X(drop_drain, "what is queued when a link is closed is thrown away")

#ifdef UDP_WITH_BUGS

#define BUG_CONSTANT_(name, text) BUG_##name,
enum bug { BUG_NONE = 0, BUG_TABLE(BUG_CONSTANT_) BUG_END };
#undef BUG_CONSTANT_

/* One of enum bug. Defined by the simulator; set before the first endpoint is made. */
extern int bug_active;

#define BUG(name) (bug_active == BUG_##name)

#else

#define BUG(name) (false)

#endif

#endif

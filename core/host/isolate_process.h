/*
 * The child process of isolate.h as seen from its parent: started, waited for, ended, reaped. Only
 * its own pid is ever waited for, so that other children of the node are not disturbed.
 *
 * The kernel ends the child (PR_SET_PDEATHSIG) when the *thread* that started it ends: start it on
 * the thread that calls the plugin, which in kvnode lives until the instance is destroyed.
 */
#ifndef HOST_ISOLATE_PROCESS_H
#define HOST_ISOLATE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ISOLATE_PROCESS_TEXT_MAX 256u

struct isolate_process {
    pid_t pid;  /* 0: there is none */
    int pid_fd; /* -1: the kernel has none for us; the pid is looked at now and then instead */
    int socket; /* our end */
};

enum isolate_wait {
    ISOLATE_READY,   /* the socket can be used, be it to find it closed */
    ISOLATE_ENDED,   /* the process has ended, and nothing is left in the socket */
    ISOLATE_EXPIRED, /* the time is over */
};

/* KV_OK, or KV_E_IO and a text (ISOLATE_PROCESS_TEXT_MAX bytes). */
int32_t isolate_process_start(struct isolate_process *process, char *ret_text);

/* Waits for events (of poll()) on the socket. timeout_ms: -1 for ever. */
enum isolate_wait isolate_process_wait(const struct isolate_process *process, short events,
                                       int64_t timeout_ms);

/* Gives the process grace_ms to end, then kills it, reaps it, closes the socket. ret_text
 * (ISOLATE_PROCESS_TEXT_MAX bytes) says how it ended: "signal 11 (Segmentation fault)", "exit
 * status 1"; *ret_was_killed: by us. Returns the signal that ended it, 0: none. */
int isolate_process_end(struct isolate_process *process, int64_t grace_ms, char *ret_text,
                        bool *ret_was_killed);

/* Milliseconds of a clock that never goes back. */
uint64_t isolate_process_now_ms(void);

#endif

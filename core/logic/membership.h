/*
 * A replica's side of membership: it joins at the arbiter, says regularly that it lives, takes each
 * new view, and leaves. The arbiter's side is arbiter.h.
 */
#ifndef LOGIC_MEMBERSHIP_H
#define LOGIC_MEMBERSHIP_H

#include "logic/replica.h"

/* Exit statuses of kvnode (SYSTEM.md section 6) that the logic decides on. */
#define EXIT_DONE           0
#define EXIT_JOIN_FAILED    4
#define EXIT_STORAGE_FAILED 5

/* Ends the process: emits STOP once, after every request that waits was answered. */
void membership_stop(struct replica *replica, int exit_status, const char *reason);

/* Opens the link to the arbiter. */
void membership_init(struct replica *replica);

/* The content is loaded: joining may begin. */
void membership_start(struct replica *replica);

/* JoinedPrimary, JoinedSecondary, JoinRejected, Replicas, and a Leave from the arbiter. */
void membership_on_message(struct replica *replica, uint64_t link, const struct message *message);

/* Sends what is due at once: a heartbeat with news. */
void membership_send_now(struct replica *replica);

/* Gives the session up and joins anew, after a pause that doubles up to REFUSED_BACKOFF_MS_MAX. */
void membership_rejoin(struct replica *replica);

/* Leaves the view cleanly, and then, with stops, ends the process. */
void membership_leave(struct replica *replica, bool stops);

void membership_on_link_up(struct replica *replica, uint64_t link);
void membership_tick(struct replica *replica);
uint64_t membership_wake_ms(const struct replica *replica);

#endif

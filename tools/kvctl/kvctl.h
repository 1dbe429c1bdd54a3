/*
 * kvctl, the command-line tool: what its parts share. One thread, one loop, one verb a process.
 * It talks to the cluster through the client library (kvnode/client.h) only.
 */
#ifndef KVCTL_KVCTL_H
#define KVCTL_KVCTL_H

#include "options.h"
#include "session.h"

/* Exit status; scripts depend on these. */
#define EXIT_DONE        0
#define EXIT_NOT_FOUND   1
#define EXIT_USAGE       2
#define EXIT_FAILED      3 /* not confirmed in time */
#define EXIT_REJECTED    4 /* certainly not executed */
#define EXIT_UNREACHABLE 5

struct kvctl {
    struct options options;
    struct session session;
};

/* The whole program; returns its exit status. */
int kvctl_run(int argc, char **argv);

/* The verbs. Each gets an open session (but those said to need none), prints its result and its
 * errors, and returns the exit status. */
int verb_bench(struct kvctl *ctl); /* makes clients of its own: no session */
int verb_digest(struct kvctl *ctl);
int verb_export(struct kvctl *ctl);
int verb_get(struct kvctl *ctl);
int verb_handover(struct kvctl *ctl);
int verb_import(struct kvctl *ctl);
int verb_leave(struct kvctl *ctl);
int verb_put(struct kvctl *ctl);
int verb_remove(struct kvctl *ctl);
int verb_scan(struct kvctl *ctl);
int verb_status(struct kvctl *ctl);
int verb_takeover(struct kvctl *ctl);

#endif

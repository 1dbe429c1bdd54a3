/*
 * The node as a process: a libuv loop that turns what happens (messages, time, outcomes of the
 * store) into events for node_step(), of which it is the only caller, and carries out the effects
 * that come back. Main thread. It decides nothing about data or membership.
 */
#ifndef HOST_RUNTIME_H
#define HOST_RUNTIME_H

#include "host/config.h"
#include "host/plugins.h"

/* Runs the node until it stops; returns the process's exit status (SYSTEM.md section 6). Prints the
 * `ready` line to stdout. config and plugins are borrowed. SIGTERM and SIGINT are its own: the
 * first makes the node leave the cluster, the second stops it without that, the third ends the
 * process. When a plugin or a disk does not come back within RUNTIME_STOP_MS of a stop, the process
 * is ended from within. */
int runtime_run(const struct config *config, const struct plugins *plugins);

#define RUNTIME_STOP_MS      5000u

#define RUNTIME_EXIT_DONE    0
#define RUNTIME_EXIT_CONFIG  2 /* usage or configuration */
#define RUNTIME_EXIT_PLUGIN  3 /* a plugin is missing or refused */
#define RUNTIME_EXIT_NETWORK 4 /* could not bind or join */
#define RUNTIME_EXIT_STORAGE 5 /* the data folder or the store failed */

#endif

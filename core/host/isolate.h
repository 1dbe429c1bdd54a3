/*
 * A persistence plugin in a child process of its own: what it breaks, its process breaks. The guard
 * calls isolate_ops() as it would call the plugin's; each call travels over a socket pair to the
 * child, which loads the plugin from the same path and calls it there.
 *
 * A child that dies (signal, abort, exit, too much memory) or does not answer for call_timeout_ms
 * (it is then killed) makes the call end with KV_E_IO and an ERROR line that says how; the worker
 * closes and reopens the store, and open() starts a new child. The child dies with its parent.
 *
 * Threads: as the guard, one call at a time per instance. The plugin in this process is used for
 * its descriptor only: nothing in it is called.
 */
#ifndef HOST_ISOLATE_H
#define HOST_ISOLATE_H

#include "host/loader.h"
#include "host/services.h"

struct isolate_config {
    uint64_t memory_bytes;    /* address space that the child may use (RLIMIT_AS); 0: no limit */
    uint32_t call_timeout_ms; /* of one call but load(); 0: none */
};

/* The program's hidden first argument: `kvnode --isolated-plugin` is a child. */
#define ISOLATE_CHILD_ARGUMENT "--isolated-plugin"

/* Starts a child and creates the instance in it. On KV_OK *ret_self is what isolate_ops() takes.
 * The codes of the plugin's create(), or KV_E_IO: there is no child to be had. */
int32_t isolate_create(const struct loaded_plugin *plugin, struct services *services,
                       const struct kv_setting *settings, const struct isolate_config *config,
                       void **ret_self);

/* Its create is NULL. load, reset and get work when the plugin has the capability. */
const struct kv_persist_ops *isolate_ops(void);

/* main() of the child: serves the socket on descriptor 3 until it is closed. Returns the exit
 * status. */
int isolate_child_main(void);

#endif

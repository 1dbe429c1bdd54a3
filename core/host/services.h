/*
 * The host's services for one plugin instance: the struct kv_host of <kvnode/host.h>, with memory
 * counted per instance, lines passed on to the process's log with the plugin's name, and the last
 * error text kept. Functions of the table: any thread. The rest: the thread that made it.
 */
#ifndef HOST_SERVICES_H
#define HOST_SERVICES_H

#include <kvnode/host.h>

struct services;

/* Receives each line that a plugin logs. Any thread. */
typedef void (*services_log_fn)(void *ctx, const char *plugin, uint32_t level, const char *text);

/* loop: uv_loop_t * or NULL. log may be NULL: lines are dropped. */
struct services *services_create(const char *plugin, void *loop, services_log_fn log,
                                 void *log_ctx);
void services_destroy(struct services *services);

const struct kv_host *services_table(struct services *services);

/* Allocations of the instance that are live. */
int64_t services_live(const struct services *services);

/* Copies the last KV_LOG_ERROR line ("" when none) into ret_text, size bytes; any thread. */
void services_last_error(struct services *services, char *ret_text, size_t size);
void services_clear_error(struct services *services);

/* How many KV_LOG_ERROR lines there were so far: tells whether a call left a reason. Any thread. */
uint64_t services_errors(const struct services *services);

#endif

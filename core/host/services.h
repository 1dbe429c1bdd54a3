/*
 * The host's services for one plugin instance: the struct kv_host of <kvnode/host.h>, with memory
 * counted per instance, lines passed on to the process's log with the plugin's name, the last error
 * text and the reasons of a running apply() kept. Functions of the table: any thread, but reason().
 * The rest: the thread that made it, or the one that calls the plugin, if not said otherwise.
 */
#ifndef HOST_SERVICES_H
#define HOST_SERVICES_H

#include <kvnode/host.h>
#include <stdbool.h>

#define SERVICES_REASONS_MAX      1024u /* reasons of one apply() that are kept */
#define SERVICES_REASON_BYTES_MAX 255u  /* of one of them; what is longer is cut */

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

/* From now on KV_LOG_ERROR and KV_LOG_WARN lines of the plugin are passed on as KV_LOG_DEBUG: for a
 * store that keeps failing, whose caller reports it. Error texts are kept as ever. Any thread. */
void services_set_quiet(struct services *services, bool is_quiet);

/* Around a call of apply() with records_len records, on its thread: only in between, from that
 * thread and for these records kv_host.reason is heard; any other call of it is logged once as a
 * broken contract. Begin forgets what was kept; after the end it stays until the next begin. */
void services_begin_reasons(struct services *services, uint32_t records_len);
void services_end_reasons(struct services *services);

/* The reason kept for a record, one line of UTF-8; NULL: there is none. Borrowed until the next
 * begin. */
const char *services_reason(const struct services *services, uint32_t record);

#endif

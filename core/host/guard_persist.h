/*
 * The only caller of a persistence plugin. It enforces the life cycle of <kvnode/persist.h>, checks
 * what comes back (return codes, results, emitted records) and turns a stray into KV_E_CONTRACT
 * with a log line, so that a plugin's fault stays there (G10). Threads: all calls from one thread
 * at a time; in kvnode that is the persistence worker.
 */
#ifndef HOST_GUARD_PERSIST_H
#define HOST_GUARD_PERSIST_H

#include "host/isolate.h"
#include "host/loader.h"
#include "host/services.h"
#include "logic/event.h"

#include <stdbool.h>

/* No node takes keys or values longer than this, whatever its `limits` say. */
#define GUARD_KEY_BYTES_MAX   1048576u
#define GUARD_VALUE_BYTES_MAX 67108864u

struct guard_persist;

/* Calls create(). Borrows plugin and services, which must outlive it. isolate: run it in a child
 * process (isolate.h), copied; NULL: in this one. */
int32_t guard_persist_create(const struct loaded_plugin *plugin, struct services *services,
                             const struct kv_setting *settings,
                             const struct isolate_config *isolate,
                             struct guard_persist **ret_guard);

/* Opens the store; also again after guard_persist_close(). A failed one needs no close. */
int32_t guard_persist_open(struct guard_persist *guard, struct kv_position *ret_position);

/* KV_PERSIST_LOAD of the descriptor; without it load() gives nothing and KV_OK. Malformed records
 * from the plugin end it with KV_E_CONTRACT. */
bool guard_persist_can_load(const struct guard_persist *guard);
int32_t guard_persist_load(struct guard_persist *guard, kv_emit_fn emit, void *ctx);

/* With KV_PERSIST_RESET of the descriptor; without it nothing and KV_OK. Before any apply. */
int32_t guard_persist_reset(struct guard_persist *guard);

/* KV_OK when every record was stored or refused for good and the position is reached; the refused
 * ones are told by ret_refusals, *ret_refusals_len of them, ascending, with their reasons; valid
 * until the next call. A record with RETRY or UNKNOWN gives KV_E_RETRY: the whole batch is to be
 * repeated; the reason is kept for the status. */
int32_t guard_persist_apply(struct guard_persist *guard, const struct kv_record *records,
                            uint32_t count, struct kv_position position,
                            const struct persist_refusal **ret_refusals,
                            uint32_t *ret_refusals_len);

/* With KV_PERSIST_GET of the descriptor; without it KV_E_REJECTED. Checks as in load(). */
int32_t guard_persist_get(struct guard_persist *guard, const void *key, uint32_t key_len,
                          kv_emit_fn emit, void *ctx);

/* Nothing when it is not open. */
void guard_persist_close(struct guard_persist *guard);

/* Closes it if need be. NULL is fine. */
void guard_persist_destroy(struct guard_persist *guard);

#endif

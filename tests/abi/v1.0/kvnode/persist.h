/*
 * Persistence plugins: the store, chosen by its user, that a node backs every update up into.
 *
 * Life cycle, each step on the node's persistence thread, one call at a time per instance:
 *
 *     create -> open -> [load] -> apply, apply, ... -> close -> destroy
 *                 ^                                      |
 *                 +------------ reopened ----------------+
 *
 * All calls block; the node gathers the next batch meanwhile. Several instances may live in one
 * process, each on a thread of its own: keep no globals. A function returns KV_OK or a KV_E_ code
 * of status.h; log an error's reason (kv_host.log, KV_LOG_ERROR) before returning it. Never calls
 * back into the host other than through kv_host and `emit`. Valid C99 and C++11.
 */
#ifndef KVNODE_PERSIST_H
#define KVNODE_PERSIST_H

#include <kvnode/host.h>

/* capabilities */
#define KV_PERSIST_LOAD    0x1ull /* load() gives back what was applied: fast restart */
#define KV_PERSIST_ATOMIC  0x2ull /* a batch and its position are stored entirely or not at all */
#define KV_PERSIST_DURABLE 0x4ull /* when apply() returns KV_OK the batch survives power loss */

/* The place of an update in the one total order; (0, 0) is "nothing yet". Compare view first. */
struct kv_position {
    uint64_t view;
    uint64_t index;
};

/* kind of a record */
#define KV_RECORD_INSERT 1u
#define KV_RECORD_REMOVE \
    2u /* value is NULL, value_len 0; the key may be absent: that is no error */

/* One insertion or removal. Keys and values are arbitrary bytes, possibly none. */
struct kv_record {
    const void *key;
    const void *value;
    uint32_t key_len;
    uint32_t value_len;
    uint32_t kind;     /* KV_RECORD_ */
    uint32_t reserved; /* 0 */
    struct kv_position position;
    uint64_t client; /* who asked for it: client id and request id */
    uint64_t request;
};

/* result of one record, see apply() */
#define KV_RESULT_STORED  0u
#define KV_RESULT_RETRY   1u /* not stored; the same record may succeed later */
#define KV_RESULT_REFUSED 2u /* never will be: the store does not take such a record */
#define KV_RESULT_UNKNOWN 3u /* may have happened */

/* Receives one record of load(); borrowed for the call. KV_OK: go on; else load() stops at once and
 * returns that code. */
typedef int32_t (*kv_emit_fn)(void *ctx, const struct kv_record *record);

struct kv_persist_ops {
    /* Makes an instance out of its settings; touches no store yet. On failure *ret_self stays
     * untouched and nothing is left behind. */
    int32_t (*create)(const struct kv_host *host, const struct kv_setting *settings,
                      uint32_t settings_len, void **ret_self);

    /* Opens the store, creating an empty one where there is none, and recovers it.
     * *ret_position: the position given with the last batch that is completely there.
     * KV_E_CORRUPT: damage that is more than a torn last write; the node does not start on it. */
    int32_t (*open)(void *self, struct kv_position *ret_position);

    /* With KV_PERSIST_LOAD, else NULL: emits the content. The last record emitted for a key is its
     * state, with the position that it was applied with; removals may be emitted. Called at most
     * once, after open and before any apply. */
    int32_t (*load)(void *self, kv_emit_fn emit, void *ctx);

    /* Stores count records (0: only the position changes) in the order given and then the position
     * they reach, which is (0, 0) while the content is being replaced by another node's and so is
     * not complete. Idempotent: the node repeats a call whose outcome is not KV_OK, and records may
     * come again after a restart. A repeat, even one cut short by a crash, never takes the content
     * back behind the position: a store without atomic batches skips a batch whose position it has
     * reached. records and results are borrowed for the call. results: count
     * entries, all KV_RESULT_STORED at the call; change those that differ. KV_OK: look at results.
     * Any other code: nothing is known to be stored; the node tries again. */
    int32_t (*apply)(void *self, const struct kv_record *records, uint32_t count,
                     struct kv_position position, uint32_t *results);

    /* Ends use of the store; makes durable what is not yet. After it open() may be called again. */
    void (*close)(void *self);

    /* Frees the instance. NULL is not passed. */
    void (*destroy)(void *self);
    /* tail: later minors append here */
};

KV_ABI_OFFSET_(kv_record, key_len, 16);
KV_ABI_OFFSET_(kv_record, kind, 24);
KV_ABI_OFFSET_(kv_record, position, 32);
KV_ABI_OFFSET_(kv_record, client, 48);
KV_ABI_OFFSET_(kv_record, request, 56);
KV_ABI_OFFSET_(kv_persist_ops, open, 8);
KV_ABI_OFFSET_(kv_persist_ops, load, 16);
KV_ABI_OFFSET_(kv_persist_ops, apply, 24);
KV_ABI_OFFSET_(kv_persist_ops, close, 32);
KV_ABI_OFFSET_(kv_persist_ops, destroy, 40);

#endif

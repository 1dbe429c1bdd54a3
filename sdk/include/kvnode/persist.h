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
 *
 * One store for several nodes (KV_PERSIST_SHARED): the plugin declares the string option `scope`,
 * "own" by default. With "shared" the node calls apply() only while it is the primary, and the view
 * of the position given with the batch is the primary's: it says whose write it is, also with
 * records of views before, or none. The store must refuse a batch (KV_E_REJECTED) once it has taken
 * one of a later view; with a later view the index may be lower. load() may see a state that the
 * primary is changing: what it emits is of the position that open() gave, or later.
 */
#ifndef KVNODE_PERSIST_H
#define KVNODE_PERSIST_H

#include <kvnode/host.h>

/* capabilities */
#define KV_PERSIST_LOAD    0x1ull /* load() gives back what was applied: fast restart */
#define KV_PERSIST_ATOMIC  0x2ull /* a batch and its position are stored entirely or not at all */
#define KV_PERSIST_DURABLE 0x4ull /* when apply() returns KV_OK the batch survives power loss */
/* since ABI 1.1 */
#define KV_PERSIST_RESET  0x8ull  /* reset() empties the store */
#define KV_PERSIST_GET    0x10ull /* get() gives one key's state back */
#define KV_PERSIST_SHARED 0x20ull /* an option `scope`; see "One store for several nodes" */

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
     * KV_E_CORRUPT: damage that is more than a torn last write; the node does not start on it.
     * KV_E_RETRY: not now (a server is away); the node tries again, later and later. Any other
     * failure of the first open() ends the node. */
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
     * Any other code: nothing is known to be stored; the node tries again.
     *
     * KV_RESULT_REFUSED, with KV_OK: that record is not stored, all others and the position are.
     * The update fails everywhere: a later record restores what its key had before. Give the
     * reason with kv_host.reason. A record that the node cannot take back (a repair of its own, a
     * pair of another node's content) is tried again, later and later, when it is refused.
     * KV_RESULT_RETRY, KV_RESULT_UNKNOWN: the node repeats the whole batch. */
    int32_t (*apply)(void *self, const struct kv_record *records, uint32_t count,
                     struct kv_position position, uint32_t *results);

    /* Ends use of the store; makes durable what is not yet. After it open() may be called again. */
    void (*close)(void *self);

    /* Frees the instance. NULL is not passed. */
    void (*destroy)(void *self);

    /* ABI 1.1. With KV_PERSIST_RESET, else NULL: forgets all records and the position, as in a new
     * store. Called after open and before any apply, when another node's content is going to be
     * written and this node cannot know what the store holds (there is no load). Idempotent. */
    int32_t (*reset)(void *self);

    /* ABI 1.1. With KV_PERSIST_GET, else NULL: emits the state of one key as load() would, with its
     * position; KV_E_NOT_FOUND when the store has no such key. Any time between open and close. For
     * tools and checks: a node answers reads from its memory. */
    int32_t (*get)(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx);
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
KV_ABI_OFFSET_(kv_persist_ops, reset, 48);
KV_ABI_OFFSET_(kv_persist_ops, get, 56);

#endif

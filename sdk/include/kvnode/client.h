/*
 * The client library: asynchronous, on the caller's libuv loop. It needs one address only, the
 * arbiter's or any member's, finds the primary, follows it through failover and handover, also
 * while the arbiter is away or after it has moved, pipelines, and gives each request exactly one
 * answer by its deadline.
 *
 * Threads: the loop's thread only. No callback comes from within a kv_client_ call. Keys, values
 * and texts given are copied; those in an answer are borrowed for the callback.
 *
 * A request that was certainly not executed (the node refused it, or it was never sent) is tried
 * again by the library until its deadline, at the new primary once there is one; so is whatever
 * merely reads. An update that may have been executed is not.
 *
 * A client reads its own updates at every node: a get or scan waits, at most until its deadline,
 * for the state that holds whatever this client had acknowledged before the read was sent.
 *
 * Order: a client's requests to the primary go out in the order of the calls, on one connection.
 * One that is refused and tried again may thus be executed after a later one: who needs an order
 * between two updates issues the second when the first is answered.
 *
 * The connections keep uv_run() going until kv_client_close().
 */
#ifndef KVNODE_CLIENT_H
#define KVNODE_CLIENT_H

#include <kvnode/persist.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* what the shared library exports */

struct uv_loop_s; /* uv_loop_t of <uv.h> */
struct kv_client;

struct kv_client_options {
    const char *arbiter_uri;     /* required, for example "tcp://127.0.0.1:7400" */
    const char *plugin_folder;   /* where the transport plugins are; NULL: the usual places */
    uint32_t timeout_ms;         /* deadline of requests that give none; 0: 2000 */
    uint32_t inflight_max;       /* requests at a time, more are refused with KV_E_BUSY; 0: 65536 */
    uint64_t inflight_bytes_max; /* the same in bytes of keys and values; 0: 64 MiB */
    uint64_t client_id;          /* 0: drawn at random */
    /* since protocol version 2 */
    uint64_t seen_index;  /* reads wait for this index of the log too: the position that another
                             client was told, handed over; 0: none */
    uint32_t stale_reads; /* 1: reads at a node that the caller names do not wait for this client's
                             own updates; 0: they do */
    uint32_t reserved;    /* 0 */
};

/* One node of the view, for kv_client_view() and kv_client_status(). */
struct kv_client_node {
    const char *name;
    const char *role; /* "primary", "secondary", "candidate" */
    const char *const *uris;
    uint32_t uris_len;
};

/* The answer to a request. Members that do not belong to the request are zero. */
struct kv_answer {
    int32_t status;          /* KV_OK; KV_E_NOT_FOUND: the key or node is absent; KV_E_TIMEOUT: not
                                confirmed in time, may have been executed; KV_E_REJECTED: certainly
                                not executed; KV_E_TOO_LARGE: likewise, the node takes no
                                such key or value; KV_E_REFUSED: a store refuses it for good,
                                it is undone everywhere; KV_E_UNREACHABLE: not sent, nobody reachable;
                                KV_E_CLOSED: the client was closed before the answer came */
    const char *reason;      /* why, for people; "" with KV_OK */
    uint32_t retry_after_ms; /* with KV_E_REJECTED: when it may succeed */
    struct kv_position position; /* of the update, or of the record read */
    const void *value;           /* get */
    uint32_t value_len;
    /* scan */
    const struct kv_record *records;
    uint32_t records_len;
    uint64_t next; /* cursor for the next scan */
    uint32_t end;  /* 1: nothing is left */
    /* view */
    uint64_t cluster;
    uint64_t view;
    const char *primary; /* its name; "" when there is none */
    const struct kv_client_node *nodes;
    uint32_t nodes_len;
    /* status of one node */
    const char *name;
    const char *role;
    uint64_t durable_index;
    uint64_t committed_index;
    uint64_t keys;
    uint64_t digest;
    const char *persist_plugin;
    const char *persist_state;
    const char *persist_error;
    const char *const *counter_names;
    const uint64_t *counter_values;
    uint32_t counters_len;
    /* view */
    uint64_t forced;     /* number of the last view that an operator forced, after which earlier
                            updates may be missing; 0: none */
    const char *told_by; /* name of the member that told it: the arbiter does not answer, or the
                            address given is that member's; "": the arbiter */
    const char *const *arbiter_uris; /* where the arbiter that made the view listens */
    uint32_t arbiter_uris_len;
};

typedef void (*kv_answer_fn)(void *ctx, const struct kv_answer *answer);
typedef void (*kv_closed_fn)(void *ctx);

/* KV_E_INVALID: options not usable; KV_E_NOT_FOUND, KV_E_VERSION: no fitting transport plugin. The
 * reason is written to ret_error (512 bytes) then. Begins to connect and to ask for the view, and
 * returns at once, also when nobody is reachable. After a KV_E_INVALID the loop has to run once
 * more before uv_loop_close(): the transport may have been started already. */
int32_t kv_client_create(struct uv_loop_s *loop, const struct kv_client_options *options,
                         struct kv_client **ret_client, char *ret_error);

/* Asynchronous: outstanding requests are answered with KV_E_CLOSED, then on_closed (NULL is fine);
 * the client is freed after that returns. Any call after the first does nothing. */
void kv_client_close(struct kv_client *client, kv_closed_fn on_closed, void *ctx);

/* Requests. deadline_ms: from now; 0: options.timeout_ms. Each returns KV_OK and answers once
 * later, or another code and never answers: KV_E_BUSY: a limit of the options is reached;
 * KV_E_TOO_LARGE: no node takes this; KV_E_CLOSED. */
int32_t kv_client_insert(struct kv_client *client, const void *key, size_t key_len,
                         const void *value, size_t value_len, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx);
int32_t kv_client_remove(struct kv_client *client, const void *key, size_t key_len,
                         uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx);

/* node: name of the node to read from; NULL: the primary, then the read is linearizable. min_index:
 * answer from a state at or after that index of the log; 0: any. What the client has acknowledged
 * itself, and options.seen_index, are waited for without it. */
int32_t kv_client_get(struct kv_client *client, const char *node, const void *key, size_t key_len,
                      uint64_t min_index, uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx);

/* Pairs whose key starts with prefix, in no useful order, from cursor (0 to begin) on; limit: at
 * most so many, 0: as many as fit in one answer. A key present throughout is given exactly once,
 * also when the pages come from different nodes. */
int32_t kv_client_scan(struct kv_client *client, const char *node, const void *prefix,
                       size_t prefix_len, uint64_t cursor, uint32_t limit, uint32_t deadline_ms,
                       kv_answer_fn on_answer, void *ctx);

/* The arbiter's view; when it does not answer, the newest one that a known member has. */
int32_t kv_client_view(struct kv_client *client, uint32_t deadline_ms, kv_answer_fn on_answer,
                       void *ctx);

/* One node's own account of itself. */
int32_t kv_client_status(struct kv_client *client, const char *node, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx);

/* Asks the arbiter to let a node leave; answered when it is out of the view. A primary hands over
 * first. */
int32_t kv_client_leave(struct kv_client *client, const char *node, uint32_t deadline_ms,
                        kv_answer_fn on_answer, void *ctx);

/* Asks the arbiter to make an in-sync member the primary; answered when it is. Nothing is lost. */
int32_t kv_client_handover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx);

/* The same by force, while the primary is gone and no member can follow it safely: the node becomes
 * the only member, and updates that it lacks are lost even if they were acknowledged. Refused while
 * the primary is there. */
int32_t kv_client_takeover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx);

/* The position of the last of this client's acknowledged updates, (0, 0) when there is none: hand
 * it to another process, as its options.seen_index, and that one reads at least this state. Goes
 * back to (0, 0) when the client learns that an operator forced a later view, in which it may be
 * lost. */
void kv_client_position(const struct kv_client *client, struct kv_position *ret_position);

/* Requests that wait for their answer. */
uint32_t kv_client_inflight(const struct kv_client *client);

/* What has happened since the client was made. */
struct kv_client_counters {
    uint64_t sent;       /* requests sent, repetitions included */
    uint64_t answered;   /* requests that got their answer */
    uint64_t retried;    /* put back to be sent again: refused, or a read whose link was lost */
    uint64_t locates;    /* questions for the view of the library's own */
    uint64_t links_lost; /* connections that were up, or were closed for what came over them */
    uint64_t strays;     /* answers that nobody waited for: late or repeated; ignored */
    uint64_t malformed;  /* messages for which the connection was closed */
};

void kv_client_read_counters(const struct kv_client *client,
                             struct kv_client_counters *ret_counters);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

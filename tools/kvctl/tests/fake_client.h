/*
 * A stand-in for the client library: a cluster in memory that a test scripts. Requests are executed
 * when they are answered, in a later turn of the loop and in an order drawn at random, so that a
 * caller that relies on an order of its own is found out.
 */
#ifndef TEST_FAKE_CLIENT_H
#define TEST_FAKE_CLIENT_H

#include <kvnode/client.h>
#include <stdbool.h>

#define FAKE_NODES_MAX  4u
#define FAKE_PAIRS_MAX  20000u
#define FAKE_PAGE_PAIRS 7u

struct fake_pair {
    uint8_t *key;
    uint8_t *value;
    size_t key_len;
    size_t value_len;
};

struct fake_node {
    const char *name;
    const char *role;
    const char *says; /* of itself; NULL: its role */
    bool is_up;
    uint64_t committed_index;
    uint64_t digest;
};

struct fake {
    struct fake_node nodes[FAKE_NODES_MAX];
    uint32_t nodes_len;
    const char *primary;
    int32_t view_status; /* what asking for the view is answered with */
    uint64_t view_forced;
    const char *told_by;
    const char *arbiter_uri;    /* that the view names; NULL: none */
    bool is_arbiter_away;       /* nobody answers at arbiter_uri */
    int32_t command_status;     /* what leave, handover and takeover are answered with */
    const char *command_reason; /* NULL: "scripted" */
    uint32_t takeovers;
    uint64_t seen_index;     /* options of the last client */
    const char *last_node;   /* of the last get or scan; "": the primary */
    char last_node_name[64]; /* its memory */

    struct fake_pair pairs[FAKE_PAIRS_MAX];
    uint32_t pairs_len;

    /* What the n-th insert (from 0) or page is answered with; NULL: KV_OK. An insert answered with
     * KV_E_TIMEOUT is executed all the same when is_executed_late is set. */
    int32_t (*decide_insert)(uint64_t number, const void *key, size_t key_len);
    int32_t (*decide_scan)(uint64_t number);
    bool is_executed_late;
    /* Called before each status answer. */
    void (*on_status)(struct fake_node *node);

    uint64_t inserts;
    uint64_t scans;
    uint32_t inflight;
    uint32_t inflight_max; /* seen */
    uint32_t clients;      /* open */
    uint64_t random;
};

/* The one cluster; fake_reset() gives an empty one with an n1 that is primary, n2, n3. */
extern struct fake fake;
void fake_reset(void);

void fake_put(const void *key, size_t key_len, const void *value, size_t value_len);
const struct fake_pair *fake_find(const void *key, size_t key_len);

#endif

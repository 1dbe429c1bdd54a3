/*
 * What the tests of a transport stand on: a loop, and nodes, each a fake host with one instance of
 * the plugin, loaded from its shared object as a real host does. One thread. The build says which
 * plugin: PLUGIN_FILE, and the scheme of its URIs, PLUGIN_SCHEME ("tcp").
 *
 * The fake host checks on every callback that no operation of that plugin is on the stack, that an
 * up and a down alternate, and that nothing comes after on_stopped.
 */
#ifndef PLUGINS_COMMON_TESTS_WORLD_H
#define PLUGINS_COMMON_TESTS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include <kvnode/transport.h>

#define WORLD_NODES_MAX   4
#define WORLD_DEADLINE_MS 15000

struct world {
    uv_loop_t loop;
    uv_prepare_t prepare; /* the end of a host's turn: flush */
    uv_timer_t tick;      /* lets uv_run() come back, so that conditions are looked at */
    struct node *nodes[WORLD_NODES_MAX];
    uint64_t deadline_ms;
};

struct peer;
typedef void (*peer_fn)(struct peer *peer);
typedef void (*peer_message_fn)(struct peer *peer, const uint8_t *bytes, uint32_t len);

/* The host's side of one link; kept until node_close(). */
struct peer {
    struct node *node;
    struct kv_link *link; /* NULL: gone */
    struct peer *next;
    bool is_accepted;
    bool is_up;
    uint32_t up_count;
    uint32_t down_count;
    uint32_t writable_count;
    int32_t reason; /* of the last on_down */
    uint64_t messages_len;
    uint64_t bytes_len;
    uint8_t *received; /* payloads, one behind the other, with node.is_recording */
    size_t received_len;
    uint64_t tag; /* the test's own */
};

struct node {
    struct world *world;
    struct kv_host host;
    const struct kv_transport_ops *ops;
    void *self;
    struct kv_transport_limits limits;
    struct kv_transport_events events;
    struct peer *peers; /* newest first */
    uint32_t peers_len;
    uint32_t accepted_len; /* on_accept calls that were not turned away */
    bool is_stopped;
    bool is_recording;
    bool is_refusing;  /* on_accept answers NULL */
    bool is_no_flush;  /* the test flushes itself */
    int operations;    /* of the plugin, on the stack */
    peer_fn on_accept; /* hooks of the test, or NULL */
    peer_fn on_up;
    peer_fn on_down;
    peer_fn on_writable;
    peer_message_fn on_message;
    /* memory */
    uint64_t allocations;
    uint64_t fail_at; /* the allocation that fails; 0: none */
    bool has_failed;
    size_t live_bytes;
    size_t peak_bytes;
    char log[1 << 20];
    size_t log_len;
};

#define WAIT_FOR(world, condition)                                   \
    do {                                                             \
        world_begin_wait(world);                                     \
        while (!(condition)) {                                       \
            if (!world_turn(world)) {                                \
                fail_msg("not within the deadline: %s", #condition); \
            }                                                        \
        }                                                            \
    } while (0)

void world_init(struct world *world);
/* Every node must be closed. Checks that no handle is left. */
void world_close(struct world *world);
void world_begin_wait(struct world *world);
/* One turn of the loop; false: the deadline has passed. */
bool world_turn(struct world *world);
/* Turns until that time has gone by: to see that something does not happen. */
void world_run_ms(struct world *world, uint64_t duration_ms);
uint64_t world_now_ms(void);

/* The loaded plugin. */
const struct kv_plugin *world_get_plugin(void);

/* message_max 1 MiB, links_max 1000, queue_bytes_max 4 MiB. */
struct kv_transport_limits world_default_limits(void);

/* settings: NULL-terminated name, value, name, value, ...; may be NULL. */
struct node *node_open(struct world *world, const struct kv_transport_limits *limits,
                       const char *const *settings);
/* The same with the fail_at-th allocation failing; NULL: create or start refused. */
struct node *node_try_open(struct world *world, const struct kv_transport_limits *limits,
                           const char *const *settings, uint64_t fail_at);
/* stop, on_stopped, destroy; checks that all memory came back. */
void node_close(struct node *node);
void node_stop(struct node *node);
int32_t node_try_listen(struct node *node, const char *uri, char *ret_uri);
/* On 127.0.0.1, a free port; returns it. */
uint16_t node_listen(struct node *node, char *ret_uri);
struct peer *node_connect(struct node *node, const char *uri);
int32_t node_try_connect(struct node *node, const char *uri, struct peer **ret_peer);
void node_flush(struct node *node);
bool node_has_logged(const struct node *node, const char *text);
/* How often text is in the log. */
uint32_t node_count_logged(const struct node *node, const char *text);
/* A counter of the line logged at on_stopped. */
uint64_t node_get_counter(const struct node *node, const char *name);
/* Stops that node, unless it has stopped, and reads one counter of what it logs then. */
uint64_t node_stop_and_count(struct node *node, const char *counter);
uint32_t node_count_up(const struct node *node);

int32_t peer_send(struct peer *peer, const void *bytes, size_t len);
void peer_close(struct peer *peer);

#endif

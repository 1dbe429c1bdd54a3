#include "world.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"

uint64_t world_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

const struct kv_plugin *world_get_plugin(void)
{
    static const struct kv_plugin *plugin;
    if (plugin == NULL) {
        void *library = dlopen(PLUGIN_FILE, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fail_msg("dlopen: %s", dlerror());
        }
        plugin = dlsym(library, KV_PLUGIN_SYMBOL);
        assert_non_null(plugin);
    }
    return plugin;
}

struct kv_transport_limits world_default_limits(void)
{
    struct kv_transport_limits limits = {1u << 20, 1000, 4u << 20};
    return limits;
}

/* ---- world ---- */

static void on_prepare(uv_prepare_t *prepare)
{
    struct world *world = prepare->data;
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        struct node *node = world->nodes[i];
        if (node != NULL && !node->is_no_flush && !node->is_stopped) {
            node_flush(node);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void world_init(struct world *world)
{
    memset(world, 0, sizeof *world);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    uv_prepare_init(&world->loop, &world->prepare);
    uv_timer_init(&world->loop, &world->tick);
    world->prepare.data = world;
    uv_prepare_start(&world->prepare, on_prepare);
    uv_timer_start(&world->tick, on_tick, 1, 1);
}

void world_close(struct world *world)
{
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        assert_null(world->nodes[i]);
    }
    uv_close((uv_handle_t *)&world->prepare, NULL);
    uv_close((uv_handle_t *)&world->tick, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

void world_begin_wait(struct world *world)
{
    world->deadline_ms = world_now_ms() + WORLD_DEADLINE_MS;
}

bool world_turn(struct world *world)
{
    uv_run(&world->loop, UV_RUN_ONCE);
    return world_now_ms() < world->deadline_ms;
}

void world_run_ms(struct world *world, uint64_t duration_ms)
{
    uint64_t end_ms = world_now_ms() + duration_ms;
    WAIT_FOR(world, world_now_ms() >= end_ms);
}

/* ---- the fake host ---- */

static void host_log(void *ctx, uint32_t level, const char *text)
{
    struct node *node = ctx;
    size_t len = strlen(text);
    assert_true(level >= KV_LOG_ERROR && level <= KV_LOG_DEBUG);
    assert_null(strchr(text, '\n'));
    if (node->log_len + len + 2 < sizeof node->log) {
        memcpy(node->log + node->log_len, text, len);
        node->log_len += len;
        node->log[node->log_len++] = '\n';
        node->log[node->log_len] = '\0';
    }
}

static uint64_t host_now_ms(void *ctx)
{
    (void)ctx;
    return world_now_ms();
}

/* The size stands in front of the memory. */
#define BLOCK_HEAD 16

static void *host_resize(void *ctx, void *memory, size_t size)
{
    struct node *node = ctx;
    uint8_t *old = memory == NULL ? NULL : (uint8_t *)memory - BLOCK_HEAD;
    size_t old_size = 0;
    if (old != NULL) {
        memcpy(&old_size, old, sizeof old_size);
    }
    node->allocations++;
    if (node->allocations == node->fail_at) {
        node->has_failed = true;
        return NULL;
    }
    /* Always moves: who keeps the old address is found out. */
    uint8_t *block = malloc(BLOCK_HEAD + size);
    assert_non_null(block);
    memcpy(block, &size, sizeof size);
    if (old != NULL) {
        memcpy(block + BLOCK_HEAD, memory, old_size < size ? old_size : size);
        free(old);
    }
    node->live_bytes += size - old_size;
    if (node->live_bytes > node->peak_bytes) {
        node->peak_bytes = node->live_bytes;
    }
    return block + BLOCK_HEAD;
}

static void *host_allocate(void *ctx, size_t size)
{
    return host_resize(ctx, NULL, size);
}

static void host_release(void *ctx, void *memory)
{
    struct node *node = ctx;
    if (memory != NULL) {
        uint8_t *block = (uint8_t *)memory - BLOCK_HEAD;
        size_t size = 0;
        memcpy(&size, block, sizeof size);
        node->live_bytes -= size;
        free(block);
    }
}

static uint32_t host_crc32c(void *ctx, uint32_t crc, const void *bytes, size_t len)
{
    (void)ctx;
    return crc32c(crc, bytes, len);
}

/* ---- callbacks ---- */

static void check_callback(const struct node *node)
{
    assert_int_equal(node->operations, 0);
    assert_false(node->is_stopped);
}

static struct peer *add_peer(struct node *node)
{
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->node = node;
    peer->next = node->peers;
    node->peers = peer;
    node->peers_len++;
    return peer;
}

static void *on_accept(void *ctx, struct kv_link *link, const char *remote_uri)
{
    struct node *node = ctx;
    check_callback(node);
    assert_memory_equal(remote_uri, PLUGIN_SCHEME "://", strlen(PLUGIN_SCHEME "://"));
    if (node->is_refusing) {
        return NULL;
    }
    struct peer *peer = add_peer(node);
    peer->link = link;
    peer->is_accepted = true;
    peer->is_up = true;
    peer->up_count = 1;
    node->accepted_len++;
    if (node->on_accept != NULL) {
        node->on_accept(peer);
    }
    return peer;
}

static void on_up(void *ctx, void *user)
{
    struct peer *peer = user;
    check_callback(ctx);
    assert_non_null(peer->link);
    assert_false(peer->is_up);
    peer->is_up = true;
    peer->up_count++;
    if (peer->node->on_up != NULL) {
        peer->node->on_up(peer);
    }
}

static void on_message(void *ctx, void *user, const void *bytes, uint32_t len)
{
    struct peer *peer = user;
    struct node *node = peer->node;
    check_callback(ctx);
    assert_non_null(peer->link);
    assert_true(peer->is_up);
    assert_true(len <= node->limits.message_max);
    peer->messages_len++;
    peer->bytes_len += len;
    if (node->is_recording && len > 0) {
        peer->received = realloc(peer->received, peer->received_len + len);
        assert_non_null(peer->received);
        memcpy(peer->received + peer->received_len, bytes, len);
        peer->received_len += len;
    }
    if (node->on_message != NULL) {
        node->on_message(peer, bytes, len);
    }
}

static void on_writable(void *ctx, void *user)
{
    struct peer *peer = user;
    check_callback(ctx);
    assert_non_null(peer->link);
    assert_true(peer->is_up);
    peer->writable_count++;
    if (peer->node->on_writable != NULL) {
        peer->node->on_writable(peer);
    }
}

static void on_down(void *ctx, void *user, int32_t reason)
{
    struct peer *peer = user;
    check_callback(ctx);
    assert_non_null(peer->link);
    assert_true(peer->is_up);
    assert_true(reason < 0);
    peer->is_up = false;
    peer->down_count++;
    peer->reason = reason;
    if (peer->node->on_down != NULL) {
        peer->node->on_down(peer);
    }
    if (peer->is_accepted) {
        peer->link = NULL;
    }
}

static void on_stopped(void *ctx)
{
    struct node *node = ctx;
    check_callback(node);
    node->is_stopped = true;
    /* The host may do so at once. */
    node->ops->destroy(node->self);
    node->self = NULL;
}

/* ---- nodes ---- */

static void node_free(struct node *node)
{
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        if (node->world->nodes[i] == node) {
            node->world->nodes[i] = NULL;
        }
    }
    assert_int_equal(node->live_bytes, 0);
    while (node->peers != NULL) {
        struct peer *peer = node->peers;
        node->peers = peer->next;
        free(peer->received);
        free(peer);
    }
    free(node);
}

struct node *node_try_open(struct world *world, const struct kv_transport_limits *limits,
                           const char *const *settings, uint64_t fail_at)
{
    struct node *node = calloc(1, sizeof *node);
    assert_non_null(node);
    struct kv_host host = {.size = sizeof host,
                           .ctx = node,
                           .log = host_log,
                           .now_ms = host_now_ms,
                           .allocate = host_allocate,
                           .resize = host_resize,
                           .release = host_release,
                           .crc32c = host_crc32c,
                           .loop = &world->loop};
    struct kv_transport_events events = {on_accept,   on_up,   on_message,
                                         on_writable, on_down, on_stopped};
    node->world = world;
    node->host = host;
    node->events = events;
    node->limits = *limits;
    node->ops = world_get_plugin()->ops;
    node->fail_at = fail_at;
    struct kv_setting list[8];
    uint32_t list_len = 0;
    for (; settings != NULL && settings[(size_t)2 * list_len] != NULL; list_len++) {
        assert_true(list_len < 8);
        list[list_len].name = settings[(size_t)2 * list_len];
        list[list_len].value = settings[(size_t)2 * list_len + 1];
    }
    int32_t status = node->ops->create(&node->host, list, list_len, &node->self);
    if (status == KV_OK) {
        status = node->ops->start(node->self, &node->limits, &node->events, node);
        if (status != KV_OK) {
            node->ops->destroy(node->self);
        }
    }
    if (status != KV_OK) {
        node_free(node);
        return NULL;
    }
    int at = 0;
    while (world->nodes[at] != NULL) {
        at++;
        assert_true(at < WORLD_NODES_MAX);
    }
    world->nodes[at] = node;
    return node;
}

struct node *node_open(struct world *world, const struct kv_transport_limits *limits,
                       const char *const *settings)
{
    struct node *node = node_try_open(world, limits, settings, 0);
    assert_non_null(node);
    return node;
}

void node_stop(struct node *node)
{
    node->operations++;
    node->ops->stop(node->self);
    node->operations--;
}

void node_close(struct node *node)
{
    if (!node->is_stopped) {
        node_stop(node);
    }
    WAIT_FOR(node->world, node->is_stopped);
    for (struct peer *peer = node->peers; peer != NULL; peer = peer->next) {
        assert_false(peer->is_up && peer->link != NULL); /* on_down came for each that was up */
    }
    node_free(node);
}

uint64_t node_stop_and_count(struct node *node, const char *counter)
{
    if (!node->is_stopped) {
        node_stop(node);
        WAIT_FOR(node->world, node->is_stopped);
    }
    return node_get_counter(node, counter);
}

int32_t node_try_listen(struct node *node, const char *uri, char *ret_uri)
{
    node->operations++;
    int32_t status = node->ops->listen(node->self, uri, ret_uri);
    node->operations--;
    return status;
}

uint16_t node_listen(struct node *node, char *ret_uri)
{
    char uri[KV_URI_MAX];
    assert_int_equal(node_try_listen(node, PLUGIN_SCHEME "://127.0.0.1:0", uri), KV_OK);
    if (ret_uri != NULL) {
        memcpy(ret_uri, uri, sizeof uri);
    }
    unsigned long port = strtoul(strrchr(uri, ':') + 1, NULL, 10);
    assert_true(port > 0 && port < 65536);
    return (uint16_t)port;
}

int32_t node_try_connect(struct node *node, const char *uri, struct peer **ret_peer)
{
    struct peer *peer = add_peer(node);
    node->operations++;
    int32_t status = node->ops->connect(node->self, uri, peer, &peer->link);
    node->operations--;
    if (status == KV_OK) {
        *ret_peer = peer;
    }
    return status;
}

struct peer *node_connect(struct node *node, const char *uri)
{
    struct peer *peer = NULL;
    assert_int_equal(node_try_connect(node, uri, &peer), KV_OK);
    return peer;
}

void node_flush(struct node *node)
{
    node->operations++;
    node->ops->flush(node->self);
    node->operations--;
}

bool node_has_logged(const struct node *node, const char *text)
{
    return strstr(node->log, text) != NULL;
}

uint32_t node_count_logged(const struct node *node, const char *text)
{
    uint32_t count = 0;
    for (const char *at = strstr(node->log, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

uint64_t node_get_counter(const struct node *node, const char *name)
{
    char text[64];
    snprintf(text, sizeof text, " %s=", name);
    const char *line = strstr(node->log, PLUGIN_SCHEME ": stopped;");
    assert_non_null(line);
    const char *at = strstr(line, text);
    assert_non_null(at);
    return strtoull(at + strlen(text), NULL, 10);
}

uint32_t node_count_up(const struct node *node)
{
    uint32_t count = 0;
    for (const struct peer *peer = node->peers; peer != NULL; peer = peer->next) {
        count += peer->is_up && peer->link != NULL;
    }
    return count;
}

int32_t peer_send(struct peer *peer, const void *bytes, size_t len)
{
    struct node *node = peer->node;
    /* Two slices, so that both paths of gathering are walked. */
    struct kv_slice slices[2] = {{bytes, len / 2},
                                 {(const uint8_t *)bytes + len / 2, len - len / 2}};
    node->operations++;
    int32_t status = node->ops->send(node->self, peer->link, slices, 2);
    node->operations--;
    return status;
}

void peer_close(struct peer *peer)
{
    struct node *node = peer->node;
    node->operations++;
    node->ops->close_link(node->self, peer->link);
    node->operations--;
    peer->link = NULL; /* any callback for it from here on fails */
}

/*
 * A transport on loopback: two instances in one process talk to each other, driven through the
 * host's own guard, which counts every breach of <kvnode/transport.h> (callbacks from within calls,
 * after stop, of unknown links; stray codes).
 */
#include "cases.h"

#include "base/alloc.h"
#include "host/guard_transport.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#define TRANSPORT_MESSAGE_MAX 65536u
#define TRANSPORT_QUEUE_MAX   262144u
#define TRANSPORT_DEADLINE_MS 20000u
#define TRANSPORT_SIZES       9u

static const uint32_t transport_sizes[TRANSPORT_SIZES] = {
    0, 1, 2, 100, 4095, 4096, 65535, TRANSPORT_MESSAGE_MAX, 3};

/* One end. */
struct transport_end {
    struct guard_transport *guard;
    struct services *services;
    struct guard_link *link; /* the accepted one, or the one made */
    char uri[KV_URI_MAX];
    uint32_t ups;
    uint32_t downs;
    uint32_t writables;
    uint32_t stops;
    uint32_t received;
    uint64_t received_bytes;
    bool is_stopping;
};

struct transport_world {
    struct kit *kit;
    uv_loop_t loop;
    uv_timer_t timer;
    struct transport_end ends[2];
};

static uint8_t transport_byte(uint32_t len, uint32_t at)
{
    return (uint8_t)(len * 31 + at * 7 + at / 251);
}

static bool transport_on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    struct transport_end *end = ctx;
    (void)remote_uri;
    end->link = link;
    return true;
}

static void transport_on_up(void *ctx, struct guard_link *link)
{
    (void)link;
    ((struct transport_end *)ctx)->ups++;
}

static void transport_on_message(void *ctx, struct guard_link *link, const void *bytes,
                                 uint32_t len)
{
    struct transport_end *end = ctx;
    const uint8_t *from = bytes;
    (void)link;
    if (len > TRANSPORT_MESSAGE_MAX) {
        kit_fail("on_message: expected at most message_max (%u) bytes, found %" PRIu32,
                 TRANSPORT_MESSAGE_MAX, len);
    }
    for (uint32_t i = 0; i < len; i++) {
        if (from[i] != transport_byte(len, i)) {
            kit_fail("on_message: byte %" PRIu32 " of %" PRIu32 " is altered", i, len);
        }
    }
    end->received++;
    end->received_bytes += len;
}

static void transport_on_writable(void *ctx, struct guard_link *link)
{
    (void)link;
    ((struct transport_end *)ctx)->writables++;
}

static void transport_on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    struct transport_end *end = ctx;
    (void)link;
    (void)reason;
    end->downs++;
}

static void transport_on_stopped(void *ctx)
{
    ((struct transport_end *)ctx)->stops++;
}

static const struct guard_transport_events transport_events = {
    transport_on_accept,   transport_on_up,   transport_on_message,
    transport_on_writable, transport_on_down, transport_on_stopped};

static void transport_on_timer(uv_timer_t *timer)
{
    (void)timer;
}

static void transport_start(struct transport_world *world, struct transport_end *end)
{
    static const struct kv_transport_limits limits = {TRANSPORT_MESSAGE_MAX, 16,
                                                      TRANSPORT_QUEUE_MAX};
    struct kv_setting *settings = NULL;
    char error[LOADER_ERROR_MAX];
    uint32_t at = 0;
    const struct kit_request *request = world->kit->request;
    if (loader_settings(world->kit->plugin, request->given, request->given_len, &settings, &at,
                        error) != KV_OK) {
        kit_fail("settings: %s", error);
    }
    end->services = services_create("checked", &world->loop, NULL, NULL);
    int32_t status = guard_transport_create(world->kit->plugin, end->services, settings, &limits,
                                            &transport_events, end, &end->guard);
    if (status != KV_OK) {
        kit_fail("create() and start(): expected KV_OK, found %s", kit_code(status));
    }
    loader_settings_free(settings);
}

static void transport_open(struct kit *kit, struct transport_world *world)
{
    memset(world, 0, sizeof(*world));
    world->kit = kit;
    if (uv_loop_init(&world->loop) != 0 || uv_timer_init(&world->loop, &world->timer) != 0) {
        kit_fail("the kit cannot make a loop");
    }
    uv_timer_start(&world->timer, transport_on_timer, 10, 10); /* so that a turn ends */
    transport_start(world, &world->ends[0]);
    transport_start(world, &world->ends[1]);
}

/* Turns of the loop until *count is at least `wanted`. */
static void transport_wait(struct transport_world *world, const uint32_t *count, uint32_t wanted,
                           const char *what)
{
    uint64_t until = uv_hrtime() / 1000000u + TRANSPORT_DEADLINE_MS;
    while (*count < wanted) {
        if (uv_hrtime() / 1000000u > until) {
            kit_fail("expected %" PRIu32 " times %s within %u s, found %" PRIu32, wanted, what,
                     TRANSPORT_DEADLINE_MS / 1000u, *count);
        }
        uv_run(&world->loop, UV_RUN_ONCE);
        for (int i = 0; i < 2; i++) {
            if (world->ends[i].guard != NULL && !world->ends[i].is_stopping) {
                guard_transport_flush(world->ends[i].guard);
            }
        }
    }
}

/* Stops both, looks for what is left. */
static void transport_close(struct transport_world *world)
{
    for (int i = 0; i < 2; i++) {
        struct transport_end *end = &world->ends[i];
        end->is_stopping = true;
        guard_transport_stop(end->guard);
        transport_wait(world, &end->stops, 1, "on_stopped");
    }
    for (int turn = 0; turn < 5; turn++) {
        uv_run(&world->loop, UV_RUN_ONCE); /* the guard counts what still comes */
    }
    for (int i = 0; i < 2; i++) {
        struct transport_end *end = &world->ends[i];
        char error[512];
        services_last_error(end->services, error, sizeof(error));
        if (guard_transport_violations(end->guard) != 0) {
            kit_fail("expected no breach of the contract, found %" PRIu64 "; the last one: %s",
                     guard_transport_violations(end->guard), error);
        }
        guard_transport_destroy(end->guard);
        if (services_live(end->services) != 0) {
            kit_fail("destroy(): expected no memory of kv_host.allocate left, found %" PRId64
                     " pieces",
                     services_live(end->services));
        }
        services_destroy(end->services);
    }
    uv_close((uv_handle_t *)&world->timer, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&world->loop) != 0) {
        kit_fail("expected no handle of the plugin on the loop after destroy, found some");
    }
}

/* Listens at one end, connects from the other. */
static void transport_join(struct transport_world *world)
{
    char uri[KV_URI_MAX];
    const char *name = world->kit->plugin->descriptor.name;
    const char *dash = strchr(name, '-');
    if (world->kit->request->listen != NULL) {
        snprintf(uri, sizeof(uri), "%s", world->kit->request->listen);
    } else {
        snprintf(uri, sizeof(uri), "%s://127.0.0.1:0", dash == NULL ? name : dash + 1);
    }
    int32_t status = guard_transport_listen(world->ends[0].guard, uri, world->ends[0].uri);
    if (status != KV_OK) {
        kit_fail("listen(\"%s\"): expected KV_OK, found %s; --listen names another", uri,
                 kit_code(status));
    }
    status = guard_transport_connect(world->ends[1].guard, world->ends[0].uri, NULL,
                                     &world->ends[1].link);
    if (status != KV_OK) {
        kit_fail("connect(\"%s\"): expected KV_OK, found %s", world->ends[0].uri, kit_code(status));
    }
    transport_wait(world, &world->ends[1].ups, 1, "on_up");
}

static int32_t transport_send(struct transport_end *end, uint32_t len)
{
    uint8_t *bytes = alloc_bytes(len);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = transport_byte(len, i);
    }
    uint32_t first = len / 3;
    const struct kv_slice slices[] = {
        {bytes, first}, {bytes + first, 0}, {bytes + first, len - first}};
    int32_t status = guard_transport_send(end->guard, end->link, slices, 3);
    memset(bytes, BATCH_POISON, len); /* borrowed for the call only */
    alloc_free(bytes);
    return status;
}

static void transport_twice(struct kit *kit)
{
    for (int i = 0; i < 2; i++) {
        struct transport_world world;
        transport_open(kit, &world);
        transport_close(&world);
    }
}

static void transport_addresses(struct kit *kit)
{
    struct transport_world world;
    char uri[KV_URI_MAX];
    transport_open(kit, &world);
    transport_join(&world);
    int32_t status = guard_transport_listen(world.ends[0].guard, "nonsense", uri);
    if (status != KV_E_INVALID) {
        kit_fail("listen(\"nonsense\"): expected KV_E_INVALID, found %s", kit_code(status));
    }
    struct guard_link *link = NULL;
    status = guard_transport_connect(world.ends[1].guard, "other://nowhere:1", NULL, &link);
    if (status != KV_E_INVALID) {
        kit_fail("connect(\"other://nowhere:1\"): expected KV_E_INVALID, found %s",
                 kit_code(status));
    }
    status = guard_transport_listen(world.ends[1].guard, world.ends[0].uri, uri);
    if (status != KV_E_EXISTS) {
        kit_fail("listen() at an address in use: expected KV_E_EXISTS, found %s", kit_code(status));
    }
    transport_close(&world);
}

static void transport_messages(struct kit *kit)
{
    struct transport_world world;
    transport_open(kit, &world);
    transport_join(&world);
    bool is_reliable = kit_has(kit, KV_TRANSPORT_RELIABLE);
    for (uint32_t i = 0; i < TRANSPORT_SIZES; i++) {
        uint32_t before = world.ends[0].received;
        uint64_t bytes_before = world.ends[0].received_bytes;
        int32_t status = transport_send(&world.ends[1], transport_sizes[i]);
        if (status != KV_OK) {
            kit_fail("send() of %" PRIu32 " bytes to an empty queue: expected KV_OK, found %s",
                     transport_sizes[i], kit_code(status));
        }
        transport_wait(&world, &world.ends[0].received, before + 1, "on_message");
        if (is_reliable && world.ends[0].received_bytes != bytes_before + transport_sizes[i]) {
            kit_fail("expected the message of %" PRIu32 " bytes, found another length",
                     transport_sizes[i]);
        }
    }
    int32_t status = transport_send(&world.ends[1], TRANSPORT_MESSAGE_MAX + 1);
    if (status != KV_E_TOO_LARGE) {
        kit_fail("send() of message_max + 1 bytes: expected KV_E_TOO_LARGE, found %s",
                 kit_code(status));
    }
    uint32_t before = world.ends[1].received; /* the other way */
    if (transport_send(&world.ends[0], 1000) != KV_OK) {
        kit_fail("send() on the accepted link: expected KV_OK");
    }
    transport_wait(&world, &world.ends[1].received, before + 1, "on_message");
    transport_close(&world);
}

static void transport_pressure(struct kit *kit)
{
    struct transport_world world;
    transport_open(kit, &world);
    transport_join(&world);
    uint32_t sent = 0;
    int32_t status = KV_OK;
    while (status == KV_OK && sent < 10000) { /* no turn of the loop in between */
        status = transport_send(&world.ends[1], 8192);
        sent += status == KV_OK;
    }
    if (status != KV_E_BUSY) {
        kit_fail("send() without end: expected KV_E_BUSY at queue_bytes_max, found %s after "
                 "%" PRIu32 " messages",
                 kit_code(status), sent);
    }
    transport_wait(&world, &world.ends[1].writables, 1, "on_writable");
    if (kit_has(kit, KV_TRANSPORT_RELIABLE)) {
        transport_wait(&world, &world.ends[0].received, sent, "on_message");
    }
    if (transport_send(&world.ends[1], 100) != KV_OK) {
        kit_fail("send() after on_writable: expected KV_OK");
    }
    transport_close(&world);
}

static void transport_ends(struct kit *kit)
{
    struct transport_world world;
    transport_open(kit, &world);
    transport_join(&world);
    transport_send(&world.ends[1], 10);
    transport_wait(&world, &world.ends[0].received, 1, "on_message");
    guard_transport_close_link(world.ends[1].guard, world.ends[1].link);
    transport_wait(&world, &world.ends[0].downs, 1, "on_down at the other end");
    transport_close(&world);
}

static const struct check_case transport_cases[] = {
    {"create, start, stop and destroy, twice", transport_twice, 0, 0},
    {"a strange address is KV_E_INVALID, one in use KV_E_EXISTS", transport_addresses, 0, 0},
    {"whole messages of 0 to message_max bytes arrive unaltered", transport_messages, 0, 0},
    {"a full queue is KV_E_BUSY and on_writable follows", transport_pressure, 0, 0},
    {"the end of a link is told to the other end", transport_ends, 0, 0},
};

const struct check_group group_transport_life = {"transport", KV_KIND_TRANSPORT,
                                                 CASES_OF(transport_cases)};

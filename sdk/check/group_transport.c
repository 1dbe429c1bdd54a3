/*
 * A transport on loopback: two instances in one process talk to each other, driven through the
 * host's own guard, which counts every breach of <kvnode/transport.h> (callbacks from within calls,
 * after stop, of unknown links; stray codes).
 *
 * What a plugin without KV_TRANSPORT_RELIABLE loses is no fault: such a message is sent again until
 * it comes. A message is known by its length.
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
#define TRANSPORT_AGAIN_MS    50u /* until a message is sent again that did not come */
#define TRANSPORT_LINKS_MAX   16u /* but where links_max is what is looked at */
#define TRANSPORT_LINKS_FEW   2u
#define TRANSPORT_LOOK_MS     500u /* for what must not happen */
#define TRANSPORT_NUMBERED    2000u
#define TRANSPORT_NUMBER_LEN  8u

static const uint32_t transport_sizes[TRANSPORT_SIZES] = {
    0, 1, 2, 100, 4095, 4096, 65535, TRANSPORT_MESSAGE_MAX, 3};

/* One end. */
struct transport_end {
    struct guard_transport *guard;
    struct services *services;
    struct guard_link *link; /* the last accepted one, or the one made */
    char uri[KV_URI_MAX];
    uint32_t accepts;
    uint32_t ups;
    uint32_t downs;
    uint32_t writables;
    uint32_t stops;
    uint32_t received;
    uint64_t received_bytes;
    uint32_t wanted_len; /* of the message that is waited for */
    uint32_t wanted;     /* how often it came */
    bool is_numbered;    /* from now on they are those of transport_in_order() */
    uint64_t last_number;
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
    end->accepts++;
    return true;
}

static void transport_on_up(void *ctx, struct guard_link *link)
{
    (void)link;
    ((struct transport_end *)ctx)->ups++;
}

/* One that comes twice is fine. */
static void transport_take_number(struct transport_end *end, const uint8_t *bytes, uint32_t len)
{
    uint64_t number = 0;
    if (len < TRANSPORT_NUMBER_LEN) {
        kit_fail("on_message: expected a numbered message, found one of %" PRIu32 " bytes", len);
    }
    memcpy(&number, bytes, sizeof(number));
    if (number < end->last_number) {
        kit_fail("KV_TRANSPORT_ORDERED: expected the messages in order, found message %" PRIu64
                 " after message %" PRIu64,
                 number, end->last_number);
    }
    end->received += number > end->last_number;
    end->last_number = number;
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
    if (end->is_numbered) {
        transport_take_number(end, from, len);
        return;
    }
    for (uint32_t i = 0; i < len; i++) {
        if (from[i] != transport_byte(len, i)) {
            kit_fail("on_message: byte %" PRIu32 " of %" PRIu32 " is altered", i, len);
        }
    }
    end->received++;
    end->received_bytes += len;
    end->wanted += len == end->wanted_len;
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

/* An instance at an end where none is. */
static void transport_start(struct transport_world *world, struct transport_end *end,
                            uint32_t links_max)
{
    const struct kv_transport_limits limits = {TRANSPORT_MESSAGE_MAX, links_max,
                                               TRANSPORT_QUEUE_MAX};
    *end = (struct transport_end){0};
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

/* links_max: of the end that listens. */
static void transport_open(struct kit *kit, struct transport_world *world, uint32_t links_max)
{
    memset(world, 0, sizeof(*world));
    world->kit = kit;
    if (uv_loop_init(&world->loop) != 0 || uv_timer_init(&world->loop, &world->timer) != 0) {
        kit_fail("the kit cannot make a loop");
    }
    uv_timer_start(&world->timer, transport_on_timer, 10, 10); /* so that a turn ends */
    transport_start(world, &world->ends[0], links_max);
    transport_start(world, &world->ends[1], TRANSPORT_LINKS_MAX);
}

static uint64_t transport_now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

/* Within the check's own time, so that it ends with a sentence. */
static uint32_t transport_deadline_ms(const struct transport_world *world)
{
    uint64_t most_ms = world->kit->request->timeout_s * 750ull;
    return most_ms < TRANSPORT_DEADLINE_MS ? (uint32_t)most_ms : TRANSPORT_DEADLINE_MS;
}

static void transport_turn(struct transport_world *world)
{
    uv_run(&world->loop, UV_RUN_ONCE);
    for (int i = 0; i < 2; i++) {
        if (world->ends[i].guard != NULL && !world->ends[i].is_stopping) {
            guard_transport_flush(world->ends[i].guard);
        }
    }
}

/* Fails the check when the time is over. */
static void transport_look_at_clock(const struct transport_world *world, uint64_t began_ms,
                                    uint32_t wanted, uint32_t found, const char *what)
{
    uint32_t deadline_ms = transport_deadline_ms(world);
    if (transport_now_ms() - began_ms > deadline_ms) {
        kit_fail("expected %" PRIu32 " times %s within %.1f s, found %" PRIu32, wanted, what,
                 deadline_ms / 1000.0, found);
    }
}

/* Turns of the loop until *count is at least `wanted`. */
static void transport_wait(struct transport_world *world, const uint32_t *count, uint32_t wanted,
                           const char *what)
{
    uint64_t began_ms = transport_now_ms();
    while (*count < wanted) {
        transport_look_at_clock(world, began_ms, wanted, *count, what);
        transport_turn(world);
    }
}

static void transport_stop_end(struct transport_world *world, struct transport_end *end)
{
    end->is_stopping = true;
    guard_transport_stop(end->guard);
    transport_wait(world, &end->stops, 1, "on_stopped");
}

/* After its stop: looks for what is left. */
static void transport_destroy_end(struct transport_end *end)
{
    char error[512];
    services_last_error(end->services, error, sizeof(error));
    if (guard_transport_violations(end->guard) != 0) {
        kit_fail("expected no breach of the contract, found %" PRIu64 "; the last one: %s",
                 guard_transport_violations(end->guard), error);
    }
    guard_transport_destroy(end->guard);
    if (services_live(end->services) != 0) {
        kit_fail("destroy(): expected no memory of kv_host.allocate left, found %" PRId64 " pieces",
                 services_live(end->services));
    }
    services_destroy(end->services);
    end->guard = NULL;
}

/* Stops both, looks for what is left. */
static void transport_close(struct transport_world *world)
{
    transport_stop_end(world, &world->ends[0]);
    transport_stop_end(world, &world->ends[1]);
    for (int turn = 0; turn < 5; turn++) {
        uv_run(&world->loop, UV_RUN_ONCE); /* the guard counts what still comes */
    }
    transport_destroy_end(&world->ends[0]);
    transport_destroy_end(&world->ends[1]);
    uv_close((uv_handle_t *)&world->timer, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&world->loop) != 0) {
        kit_fail("expected no handle of the plugin on the loop after destroy, found some");
    }
}

static void transport_listen(struct transport_world *world)
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
}

static struct guard_link *transport_connect(struct transport_world *world)
{
    struct guard_link *link = NULL;
    int32_t status = guard_transport_connect(world->ends[1].guard, world->ends[0].uri, NULL, &link);
    if (status != KV_OK) {
        kit_fail("connect(\"%s\"): expected KV_OK, found %s", world->ends[0].uri, kit_code(status));
    }
    return link;
}

/* Listens at one end, connects from the other. */
static void transport_join(struct transport_world *world)
{
    transport_listen(world);
    world->ends[1].link = transport_connect(world);
    transport_wait(world, &world->ends[1].ups, 1, "on_up");
}

/* number 0: the message's bytes follow from its length alone. */
static int32_t transport_send_on(struct transport_end *end, struct guard_link *link, uint32_t len,
                                 uint64_t number)
{
    uint8_t *bytes = alloc_bytes(len);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = transport_byte(len, i);
    }
    if (number != 0) {
        memcpy(bytes, &number, sizeof(number));
    }
    uint32_t first = len / 3;
    const struct kv_slice slices[] = {
        {bytes, first}, {bytes + first, 0}, {bytes + first, len - first}};
    int32_t status = guard_transport_send(end->guard, link, slices, 3);
    memset(bytes, BATCH_POISON, len); /* borrowed for the call only */
    alloc_free(bytes);
    return status;
}

static int32_t transport_send(struct transport_end *end, uint32_t len)
{
    return transport_send_on(end, end->link, len, 0);
}

/* Sends a message to the other end and waits until it is there. With is_again it is sent again
 * until it comes, and a link that is down or full meanwhile is waited for. */
static void transport_carry_on(struct transport_world *world, struct transport_end *from,
                               struct guard_link *link, uint32_t len, bool is_again)
{
    struct transport_end *to = from == &world->ends[0] ? &world->ends[1] : &world->ends[0];
    uint64_t began_ms = transport_now_ms();
    uint64_t sent_ms = 0;
    char what[64];
    snprintf(what, sizeof(what), "on_message with the %" PRIu32 " bytes", len);
    to->wanted_len = len;
    to->wanted = 0;
    while (to->wanted == 0) {
        transport_look_at_clock(world, began_ms, 1, 0, what);
        if (sent_ms == 0 || (is_again && transport_now_ms() - sent_ms >= TRANSPORT_AGAIN_MS)) {
            int32_t status = transport_send_on(from, link, len, 0);
            bool is_later = is_again && (status == KV_E_CLOSED || status == KV_E_BUSY);
            if (status != KV_OK && !is_later) {
                kit_fail("send() of %" PRIu32 " bytes to an empty queue: expected KV_OK, found %s",
                         len, kit_code(status));
            }
            sent_ms = transport_now_ms();
        }
        transport_turn(world);
    }
}

/* On the link that both ends have; a reliable plugin delivers nothing else meanwhile. */
static void transport_carry(struct transport_world *world, struct transport_end *from, uint32_t len)
{
    const struct transport_end *to = from == &world->ends[0] ? &world->ends[1] : &world->ends[0];
    bool is_reliable = kit_has(world->kit, KV_TRANSPORT_RELIABLE);
    uint64_t bytes_before = to->received_bytes;
    transport_carry_on(world, from, from->link, len, !is_reliable);
    if (is_reliable && to->received_bytes != bytes_before + len) {
        kit_fail("expected the message of %" PRIu32 " bytes alone, found others beside it", len);
    }
}

static void transport_twice(struct kit *kit)
{
    for (int i = 0; i < 2; i++) {
        struct transport_world world;
        transport_open(kit, &world, TRANSPORT_LINKS_MAX);
        transport_close(&world);
    }
}

static void transport_addresses(struct kit *kit)
{
    struct transport_world world;
    char uri[KV_URI_MAX];
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
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
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
    transport_join(&world);
    for (uint32_t i = 0; i < TRANSPORT_SIZES; i++) {
        transport_carry(&world, &world.ends[1], transport_sizes[i]);
    }
    int32_t status = transport_send(&world.ends[1], TRANSPORT_MESSAGE_MAX + 1);
    if (status != KV_E_TOO_LARGE) {
        kit_fail("send() of message_max + 1 bytes: expected KV_E_TOO_LARGE, found %s",
                 kit_code(status));
    }
    transport_carry(&world, &world.ends[0], 1000); /* the other way */
    transport_close(&world);
}

static void transport_pressure(struct kit *kit)
{
    struct transport_world world;
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
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
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
    transport_join(&world);
    transport_carry(&world, &world.ends[1], 10);
    guard_transport_close_link(world.ends[1].guard, world.ends[1].link);
    transport_wait(&world, &world.ends[0].downs, 1, "on_down at the other end");
    transport_close(&world);
}

/* Numbered messages of many lengths, as many a turn as the queue takes. */
static void transport_send_numbered(struct transport_world *world, struct transport_end *from,
                                    struct transport_end *to)
{
    uint64_t began_ms = transport_now_ms();
    uint64_t number = 0;
    uint32_t writables = 0; /* that must have come before the next send() */
    bool is_reliable = kit_has(world->kit, KV_TRANSPORT_RELIABLE);
    to->received = 0;
    to->last_number = 0;
    to->is_numbered = true;
    while (to->received < TRANSPORT_NUMBERED) {
        transport_look_at_clock(world, began_ms, TRANSPORT_NUMBERED, to->received,
                                "a numbered message");
        int32_t status = KV_OK;
        uint64_t turn_end = number + 50;
        /* What may be lost is replaced by further ones. */
        while (status == KV_OK && number < turn_end && from->writables >= writables &&
               (!is_reliable || number < TRANSPORT_NUMBERED)) {
            uint32_t len = TRANSPORT_NUMBER_LEN + (uint32_t)(number * 37 % 3000);
            status = transport_send_on(from, from->link, len, number + 1);
            number += status == KV_OK;
        }
        if (status == KV_E_BUSY) {
            writables = from->writables + 1;
        } else if (status != KV_OK) {
            kit_fail("send() on a link that is up: expected KV_OK or KV_E_BUSY, found %s",
                     kit_code(status));
        }
        transport_turn(world);
    }
}

static void transport_in_order(struct kit *kit)
{
    struct transport_world world;
    if (!kit_has(kit, KV_TRANSPORT_ORDERED)) {
        kit_skip("the plugin has no KV_TRANSPORT_ORDERED");
    }
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
    transport_join(&world);
    transport_send_numbered(&world, &world.ends[1], &world.ends[0]);
    transport_send_numbered(&world, &world.ends[0], &world.ends[1]);
    transport_close(&world);
}

/* The listener's instance goes and another comes to the same address. */
static void transport_again(struct kit *kit)
{
    struct transport_world world;
    struct transport_end *listener = &world.ends[0];
    char uri[KV_URI_MAX];
    transport_open(kit, &world, TRANSPORT_LINKS_MAX);
    transport_join(&world);
    transport_carry(&world, &world.ends[1], 10);
    memcpy(uri, listener->uri, sizeof(uri));
    transport_stop_end(&world, listener);
    transport_wait(&world, &world.ends[1].downs, 1, "on_down after the listener's stop()");
    transport_destroy_end(listener);
    transport_start(&world, listener, TRANSPORT_LINKS_MAX);
    uint64_t began_ms = transport_now_ms();
    int32_t status = guard_transport_listen(listener->guard, uri, listener->uri);
    while (status == KV_E_EXISTS) { /* the system may keep it for a moment */
        transport_look_at_clock(&world, began_ms, 1, 0, "KV_OK of listen() where one was stopped");
        transport_turn(&world);
        status = guard_transport_listen(listener->guard, uri, listener->uri);
    }
    if (status != KV_OK) {
        kit_fail("listen(\"%s\") where another instance was stopped: expected KV_OK, found %s", uri,
                 kit_code(status));
    }
    transport_wait(&world, &world.ends[1].ups, 2, "on_up, again for the second listener,");
    transport_carry_on(&world, &world.ends[1], world.ends[1].link, 20, true);
    transport_carry_on(&world, listener, listener->link, 30, true);
    transport_close(&world);
}

/* The messages of each link have a length of their own, so that it is seen whose they are. */
static void transport_many(struct kit *kit)
{
    struct transport_world world;
    struct transport_end *from = &world.ends[1];
    struct guard_link *links[TRANSPORT_LINKS_FEW];
    transport_open(kit, &world, TRANSPORT_LINKS_FEW);
    transport_listen(&world);
    for (uint32_t i = 0; i < TRANSPORT_LINKS_FEW; i++) {
        links[i] = transport_connect(&world);
        transport_carry_on(&world, from, links[i], 100 + i, true);
    }
    struct guard_link *further = transport_connect(&world);
    uint64_t began_ms = transport_now_ms();
    while (transport_now_ms() - began_ms < TRANSPORT_LOOK_MS) {
        for (uint32_t i = 0; i < TRANSPORT_LINKS_FEW; i++) {
            transport_carry_on(&world, from, links[i], 100 + i,
                               !kit_has(kit, KV_TRANSPORT_RELIABLE));
        }
    }
    if (world.ends[0].accepts != TRANSPORT_LINKS_FEW || world.ends[0].downs != 0) {
        kit_fail("links_max of %u: expected as many times on_accept and none on_down, found "
                 "%" PRIu32 " and %" PRIu32,
                 TRANSPORT_LINKS_FEW, world.ends[0].accepts, world.ends[0].downs);
    }
    guard_transport_close_link(from->guard, links[0]); /* and the one that waits has its place */
    transport_carry_on(&world, from, further, 1000, true);
    transport_carry_on(&world, from, links[1], 101, true);
    transport_close(&world);
}

static const struct check_case transport_cases[] = {
    {"create, start, stop and destroy, twice", transport_twice, 0, 0},
    {"a strange address is KV_E_INVALID, one in use KV_E_EXISTS", transport_addresses, 0, 0},
    {"whole messages of 0 to message_max bytes arrive unaltered", transport_messages, 0, 0},
    {"a full queue is KV_E_BUSY and on_writable follows", transport_pressure, 0, 0},
    {"the end of a link is told to the other end", transport_ends, 0, 0},
    {"while a link is up its messages arrive in order", transport_in_order, 0, 0},
    {"a link comes up again when the address is listened at again", transport_again, 0, 0},
    {"a peer above links_max is turned away, and has its turn later", transport_many, 0, 0},
};

const struct check_group group_transport_life = {"transport", KV_KIND_TRANSPORT,
                                                 CASES_OF(transport_cases)};

/* The fault plugin over transport-tcp, behind the host's guard: without faults it behaves as the
 * wrapped one; each fault happens at about its rate; it keeps the contract of a transport. */
#include "base/alloc.h"
#include "host/guard_transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#define MESSAGES    5000u
#define NUMBERS     (4u * MESSAGES) /* with the markers behind them */
#define MESSAGE_LEN 40u
#define MESSAGE_MAX 4096u
#define QUEUE_MAX   262144u /* room for all MESSAGES */
#define DEADLINE_MS 30000u

struct end {
    struct guard_transport *guard;
    struct services *services;
    struct guard_link *link;
    char uri[KV_URI_MAX];
    uint32_t accepts, ups, downs, writables, stops;
    uint32_t received; /* messages that are what was sent */
    uint32_t distinct; /* ... for the first time */
    uint32_t altered;
    uint32_t overtaken; /* ... after one with a higher number */
    uint32_t highest;
    uint8_t *seen;      /* by number: how often */
    bool closes_within; /* the link, in on_message */
    bool is_stopping;
};

/* ends[0] listens, ends[1] connects. */
struct world {
    struct loaded_plugin *plugin;
    uv_loop_t loop;
    uv_timer_t timer;
    struct end ends[2];
};

/* --- callbacks --- */

static bool on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    (void)remote_uri;
    struct end *end = ctx;
    end->link = link;
    end->accepts++;
    return true;
}

static void on_up(void *ctx, struct guard_link *link)
{
    (void)link;
    ((struct end *)ctx)->ups++;
}

static void message_fill(uint8_t *bytes, uint32_t number)
{
    /* Each bit of the number has a say in the rest, so that no altered one looks right. */
    uint32_t mixed = number * 2654435761u;
    for (uint32_t i = 0; i < MESSAGE_LEN; i++) {
        bytes[i] = (uint8_t)((i < 4 ? number : mixed + i) >> (8 * (i % 4)));
    }
}

static void on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    struct end *end = ctx;
    uint8_t expected[MESSAGE_LEN];
    uint32_t number = 0;
    if (len == MESSAGE_LEN) {
        const uint8_t *from = bytes;
        number = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
                 (uint32_t)from[3] << 24;
        message_fill(expected, number);
    }
    if (len != MESSAGE_LEN || number >= NUMBERS || memcmp(bytes, expected, len) != 0) {
        end->altered++;
        return;
    }
    end->received++;
    end->distinct += end->seen[number]++ == 0 ? 1 : 0;
    end->overtaken += number < end->highest ? 1 : 0;
    end->highest = number > end->highest ? number : end->highest;
    if (end->closes_within) {
        end->link = NULL;
        guard_transport_close_link(end->guard, link);
    }
}

static void on_writable(void *ctx, struct guard_link *link)
{
    (void)link;
    ((struct end *)ctx)->writables++;
}

static void on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)link;
    (void)reason;
    ((struct end *)ctx)->downs++;
}

static void on_stopped(void *ctx)
{
    ((struct end *)ctx)->stops++;
}

static const struct guard_transport_events events = {on_accept,   on_up,   on_message,
                                                     on_writable, on_down, on_stopped};

/* --- the world --- */

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

/* settings: "NAME=VALUE NAME=VALUE", beside inner. KV_OK, or create()'s code and text. */
static int32_t end_create(struct world *world, struct end *end, const char *inner, const char *text,
                          char *ret_error, size_t size)
{
    static const struct kv_transport_limits limits = {MESSAGE_MAX, 16, QUEUE_MAX};
    struct kv_setting given[12] = {{"inner", inner}};
    struct kv_setting *settings = NULL;
    char error[LOADER_ERROR_MAX];
    char words[512];
    uint32_t given_len = 1;
    uint32_t at = 0;
    snprintf(words, sizeof(words), "%s", text);
    char *rest = words;
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = '\0';
        given[given_len++] = (struct kv_setting){word, equals + 1};
    }
    if (loader_settings(world->plugin, given, given_len, &settings, &at, error) != KV_OK) {
        fail_msg("%s", error);
    }
    end->seen = alloc_zeroed(NUMBERS, 1);
    end->services = services_create("faulty", &world->loop, NULL, NULL);
    int32_t status = guard_transport_create(world->plugin, end->services, settings, &limits,
                                            &events, end, &end->guard);
    services_last_error(end->services, ret_error, size);
    loader_settings_free(settings);
    return status;
}

static void world_init(struct world *world)
{
    char error[LOADER_ERROR_MAX];
    memset(world, 0, sizeof(*world));
    if (loader_load(FAULTY_FILE, NULL, KV_KIND_TRANSPORT, &world->plugin, error) != KV_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(uv_timer_init(&world->loop, &world->timer), 0);
    uv_timer_start(&world->timer, on_timer, 5, 5); /* so that a turn ends */
}

static void world_turn(struct world *world)
{
    uv_run(&world->loop, UV_RUN_ONCE);
    for (int i = 0; i < 2; i++) {
        if (!world->ends[i].is_stopping) {
            guard_transport_flush(world->ends[i].guard);
        }
    }
}

static void world_wait(struct world *world, const uint32_t *count, uint32_t wanted)
{
    uint64_t until_ms = uv_hrtime() / 1000000u + DEADLINE_MS;
    while (*count < wanted) {
        if (uv_hrtime() / 1000000u > until_ms) {
            fail_msg("%u instead of %u after %u ms", *count, wanted, DEADLINE_MS);
        }
        world_turn(world);
    }
}

/* Two ends with these settings, and a link between them. */
static void world_open(struct world *world, const char *listening, const char *connecting)
{
    char error[512];
    world_init(world);
    if (end_create(world, &world->ends[0], INNER_FILE, listening, error, sizeof(error)) != KV_OK ||
        end_create(world, &world->ends[1], INNER_FILE, connecting, error, sizeof(error)) != KV_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(
        guard_transport_listen(world->ends[0].guard, "tcp://127.0.0.1:0", world->ends[0].uri),
        KV_OK);
    assert_int_equal(guard_transport_connect(world->ends[1].guard, world->ends[0].uri, NULL,
                                             &world->ends[1].link),
                     KV_OK);
    world_wait(world, &world->ends[1].ups, 1);
    world_wait(world, &world->ends[0].accepts, 1);
}

/* Stops both; nothing may be left, and the contract was kept. */
static void world_close(struct world *world)
{
    for (int i = 1; i >= 0; i--) {
        world->ends[i].is_stopping = true;
        guard_transport_stop(world->ends[i].guard);
        world_wait(world, &world->ends[i].stops, 1);
    }
    for (int turn = 0; turn < 3; turn++) {
        uv_run(&world->loop, UV_RUN_ONCE);
    }
    for (int i = 0; i < 2; i++) {
        struct end *end = &world->ends[i];
        char error[512];
        services_last_error(end->services, error, sizeof(error));
        if (guard_transport_violations(end->guard) != 0) {
            fail_msg("%s", error);
        }
        guard_transport_destroy(end->guard);
        assert_int_equal(services_live(end->services), 0);
        services_destroy(end->services);
        alloc_free(end->seen);
    }
    uv_close((uv_handle_t *)&world->timer, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    loader_release(world->plugin);
}

/* --- messages --- */

static int32_t send_number(struct end *end, uint32_t number)
{
    uint8_t bytes[MESSAGE_LEN];
    message_fill(bytes, number);
    const struct kv_slice slices[] = {{bytes, 10}, {bytes + 10, MESSAGE_LEN - 10}};
    int32_t status = guard_transport_send(end->guard, end->link, slices, 2);
    memset(bytes, 0xa5, sizeof(bytes)); /* borrowed for the call only */
    return status;
}

/* Sends numbers `from` to `to` in order, waiting where the queue is full. */
static void send_numbers(struct world *world, struct end *end, uint32_t from, uint32_t to)
{
    for (uint32_t number = from; number < to; number++) {
        uint32_t writables = end->writables;
        int32_t status = send_number(end, number);
        while (status == KV_E_BUSY) {
            world_wait(world, &end->writables, writables + 1);
            writables = end->writables;
            status = send_number(end, number);
        }
        assert_int_equal(status, KV_OK);
        if (number % 50 == 49) {
            world_turn(world);
        }
    }
}

/* Sends all from one end to the other, then markers, until one of them arrives: as the wrapped
 * transport is ordered and nothing is late, what went before has then arrived or never will. */
static void exchange(struct world *world, int from)
{
    struct end *receiver = &world->ends[1 - from];
    uint32_t marker = MESSAGES;
    send_numbers(world, &world->ends[from], 0, MESSAGES);
    while (receiver->highest < MESSAGES) {
        assert_true(marker < NUMBERS);
        send_numbers(world, &world->ends[from], marker, marker + 1);
        marker++;
        world_turn(world);
    }
}

/* How many of the messages came so often. */
static uint32_t seen_times(const struct end *end, uint32_t times)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        count += end->seen[i] == times ? 1 : 0;
    }
    return count;
}

/* Seeds are fixed; 30 % is beyond six standard deviations for each rate here. */
static void expect_about(uint32_t count, uint32_t permille)
{
    uint32_t expected = MESSAGES * permille / 1000u;
    if (count < expected * 7 / 10 || count > expected * 13 / 10) {
        fail_msg("%u, expected about %u", count, expected);
    }
}

static void test_no_faults(void **state)
{
    struct world world;
    (void)state;
    world_open(&world, "links=all", "links=all inner_settings=keepalive_s=20,connect_retry_ms=10");
    for (int from = 0; from < 2; from++) {
        exchange(&world, from);
        struct end *receiver = &world.ends[1 - from];
        assert_int_equal(seen_times(receiver, 1), MESSAGES);
        assert_int_equal(receiver->overtaken, 0);
        assert_int_equal(receiver->altered, 0);
    }
    const struct kv_slice large = {world.ends, MESSAGE_MAX + 1};
    assert_int_equal(guard_transport_send(world.ends[1].guard, world.ends[1].link, &large, 1),
                     KV_E_TOO_LARGE);
    world_close(&world);
}

static void test_drop(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) { /* both directions of the link that was made */
        struct world world;
        world_open(&world, "drop_permille=1000", "drop_permille=200 seed=11");
        exchange(&world, from);
        struct end *receiver = &world.ends[1 - from];
        expect_about(seen_times(receiver, 0), 200);
        assert_int_equal(seen_times(receiver, 0) + seen_times(receiver, 1), MESSAGES);
        assert_int_equal(receiver->overtaken + receiver->altered, 0);
        world_close(&world);
    }
}

static void test_duplicate(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) {
        struct world world;
        world_open(&world, "", "duplicate_permille=200 seed=12");
        exchange(&world, from);
        struct end *receiver = &world.ends[1 - from];
        expect_about(seen_times(receiver, 2), 200);
        /* A second copy may be lost where the queue is full; a message itself never. */
        assert_int_equal(seen_times(receiver, 0), 0);
        assert_int_equal(seen_times(receiver, 1) + seen_times(receiver, 2), MESSAGES);
        world_close(&world);
    }
}

static void test_corrupt(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) {
        struct world world;
        world_open(&world, "links=accepted corrupt_permille=200 seed=13", "");
        exchange(&world, from);
        struct end *receiver = &world.ends[1 - from];
        expect_about(seen_times(receiver, 0), 200);
        expect_about(receiver->altered, 200);
        assert_int_equal(seen_times(receiver, 0) + seen_times(receiver, 1), MESSAGES);
        world_close(&world);
    }
}

static void late(const char *settings, uint32_t overtaken_permille)
{
    for (int from = 0; from < 2; from++) {
        struct world world;
        world_open(&world, "", settings);
        struct end *receiver = &world.ends[1 - from];
        send_numbers(&world, &world.ends[from], 0, MESSAGES);
        world_wait(&world, &receiver->received, MESSAGES);
        assert_int_equal(seen_times(receiver, 1), MESSAGES);
        assert_int_equal(receiver->altered, 0);
        assert_true(receiver->overtaken > MESSAGES * overtaken_permille / 1000u);
        world_close(&world);
    }
}

static void test_reorder(void **state)
{
    (void)state;
    /* One that is held is overtaken by all that follow at once: only the last are not. */
    late("reorder_permille=100 seed=14", 50);
}

static void test_delay(void **state)
{
    (void)state;
    late("delay_ms=5 seed=15", 0);
}

/* Cuts the connecting end off by a file, both ways or one, and heals it. */
static void partition(const char *folder, const char *end_of_name, bool is_in_cut, bool is_out_cut)
{
    char path[300];
    char settings[300];
    struct world world;
    struct end *listening = &world.ends[0];
    struct end *connecting = &world.ends[1];
    snprintf(settings, sizeof(settings), "partition=%s/cut", folder);
    world_open(&world, "", settings);
    snprintf(path, sizeof(path), "%s/cut%s", folder, end_of_name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    send_numbers(&world, connecting, 0, 50);
    send_numbers(&world, listening, 0, 50);
    if (!is_out_cut) {
        world_wait(&world, &listening->received, 50);
    }
    /* The end of the link comes behind all that was sent on it. */
    guard_transport_close_link(listening->guard, listening->link);
    world_wait(&world, &connecting->downs, 1);
    assert_int_equal(connecting->received, is_in_cut ? 0 : 50);
    assert_int_equal(listening->received, is_out_cut ? 0 : 50);
    assert_int_equal(unlink(path), 0);
    world_wait(&world, &connecting->ups, 2);
    world_wait(&world, &listening->accepts, 2);
    send_numbers(&world, connecting, 50, 60);
    send_numbers(&world, listening, 50, 60);
    world_wait(&world, &listening->received, is_out_cut ? 10 : 60);
    world_wait(&world, &connecting->received, is_in_cut ? 10 : 60);
    world_close(&world);
}

static void test_partition(void **state)
{
    char folder[256];
    const char *temporary = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof(folder), "%s/kv-faulty-XXXXXX", temporary == NULL ? "/tmp" : temporary);
    assert_non_null(mkdtemp(folder));
    partition(folder, "", true, true);
    partition(folder, ".in", true, false);
    partition(folder, ".out", false, true);
    assert_int_equal(rmdir(folder), 0);
}

static void test_pressure(void **state)
{
    /* The wrapped queue gets full; it does so by second copies too, which the host does not know
     * of; late messages count as queued. */
    static const char *const settings[] = {"", "duplicate_permille=500 seed=17",
                                           "delay_ms=50 seed=16",
                                           "delay_ms=1 duplicate_permille=500 seed=18"};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct world world;
        uint32_t sent = 0;
        world_open(&world, "", settings[i]);
        struct end *receiver = &world.ends[0];
        struct end *sender = &world.ends[1];
        while (send_number(sender, sent) == KV_OK) {
            assert_true(++sent < NUMBERS);
        }
        assert_in_range(sent, QUEUE_MAX / MESSAGE_LEN / 4, QUEUE_MAX / MESSAGE_LEN * 2);
        uint32_t busy = 0; /* times, each followed by one on_writable */
        while (send_number(sender, sent) == KV_E_BUSY) {
            assert_int_equal(send_number(sender, sent), KV_E_BUSY);
            world_wait(&world, &sender->writables, ++busy);
        }
        assert_true(busy > 0);
        world_wait(&world, &receiver->distinct, sent + 1);
        for (uint32_t number = 0; number <= sent; number++) {
            assert_in_range(receiver->seen[number], 1, 2); /* taken is taken */
        }
        assert_int_equal(sender->writables, busy);
        world_close(&world);
    }
}

static void test_ends_while_late(void **state)
{
    (void)state;
    /* 0: the link is closed; 1: its peer closes it; 2: in on_message; 3: the transport stops */
    for (int how = 0; how < 4; how++) {
        struct world world;
        world_open(&world, "links=all duplicate_permille=500 delay_ms=40",
                   "links=all duplicate_permille=500 delay_ms=40");
        struct end *listening = &world.ends[0];
        struct end *connecting = &world.ends[1];
        connecting->closes_within = how == 2;
        for (uint32_t number = 0; number < 200; number++) { /* no callback in between */
            assert_int_equal(send_number(connecting, number), KV_OK);
            assert_int_equal(send_number(listening, number), KV_OK);
        }
        if (how == 0) {
            guard_transport_close_link(connecting->guard, connecting->link);
            world_wait(&world, &listening->downs, 1);
        } else if (how == 1) {
            guard_transport_close_link(listening->guard, listening->link);
            world_wait(&world, &connecting->downs, 1);
            world_wait(&world, &connecting->ups, 2); /* it connects again by itself */
        } else if (how == 2) {
            world_wait(&world, &listening->downs, 1);
            assert_int_equal(connecting->received, 1);
        }
        world_close(&world);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *inner, *settings;
        int32_t status;
        const char *text;
    } cases[] = {
        {"/nowhere/at-all.so", "", KV_E_NOT_FOUND, "/nowhere/at-all.so"},
        {OTHER_FILE, "", KV_E_INVALID, "no transport plugin"},
        {INNER_FILE, "inner_settings=nonsense=1", KV_E_INVALID, "nonsense"},
        {INNER_FILE, "inner_settings=keepalive_s", KV_E_INVALID, "keepalive_s"},
        {INNER_FILE, "inner_settings=keepalive_s=x", KV_E_INVALID, "keepalive_s"},
        {INNER_FILE, "links=some", KV_E_INVALID, "links"},
        {INNER_FILE, "drop_permille=1001", KV_E_INVALID, "drop"},
        {INNER_FILE, "delay_ms=-1", KV_E_INVALID, "delay_ms"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        char error[512];
        world_init(&world);
        struct end *end = &world.ends[0];
        assert_int_equal(
            end_create(&world, end, cases[i].inner, cases[i].settings, error, sizeof(error)),
            cases[i].status);
        if (strstr(error, cases[i].text) == NULL) {
            fail_msg("no \"%s\" in \"%s\"", cases[i].text, error);
        }
        assert_int_equal(services_live(end->services), 0);
        services_destroy(end->services);
        alloc_free(end->seen);
        uv_close((uv_handle_t *)&world.timer, NULL);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&world.loop), 0);
        loader_release(world.plugin);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_faults),       cmocka_unit_test(test_drop),
        cmocka_unit_test(test_duplicate),       cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_reorder),         cmocka_unit_test(test_delay),
        cmocka_unit_test(test_partition),       cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_ends_while_late), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

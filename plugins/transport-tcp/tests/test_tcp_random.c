/* Allocations that fail, each once; and random schedules against a model. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/rand.h"

/* ---- the n-th allocation fails ---- */

#define LARGE 200000u

struct scenario {
    struct world world;
    struct node *server;
    struct node *client;
    struct peer *peer;
    uint64_t sent_ms;
    bool is_done; /* the large message came back to the client */
};

static void echo_if_possible(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    int32_t status = peer_send(peer, bytes, len);
    assert_true(status == KV_OK || status == KV_E_NOMEM || status == KV_E_CLOSED);
}

static struct scenario *current;

static void note_large(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    (void)peer;
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(bytes[i], (uint8_t)(len + i));
    }
    current->is_done = current->is_done || len == LARGE;
}

/* Sends the three messages anew every 30 ms: what was refused or lost with a link comes then. */
static bool is_done(struct scenario *s)
{
    static uint8_t bytes[LARGE];
    static const uint32_t lens[] = {20, LARGE, 20};
    if (s->peer->is_up && world_now_ms() - s->sent_ms > 30) {
        s->sent_ms = world_now_ms();
        for (int i = 0; i < 3; i++) {
            for (uint32_t j = 0; j < lens[i]; j++) {
                bytes[j] = (uint8_t)(lens[i] + j);
            }
            int32_t status = peer_send(s->peer, bytes, lens[i]);
            assert_true(status == KV_OK || status == KV_E_NOMEM || status == KV_E_CLOSED);
        }
    }
    return s->is_done;
}

/* Returns whether the allocation was reached. */
static bool run_with_failure(uint64_t server_fail_at, uint64_t client_fail_at)
{
    static const char *const settings[] = {"connect_retry_ms", "5", NULL};
    struct scenario s;
    memset(&s, 0, sizeof s);
    current = &s;
    struct kv_transport_limits limits = world_default_limits();
    char uri[KV_URI_MAX];
    bool has_failed = true;
    world_init(&s.world);
    s.server = node_try_open(&s.world, &limits, settings, server_fail_at);
    if (s.server == NULL) {
        goto out;
    }
    s.server->on_message = echo_if_possible;
    int32_t status = node_try_listen(s.server, "tcp://127.0.0.1:0", uri);
    if (status != KV_OK) {
        assert_int_equal(status, KV_E_NOMEM);
        assert_int_equal(node_try_listen(s.server, "tcp://127.0.0.1:0", uri), KV_OK);
    }
    s.client = node_try_open(&s.world, &limits, settings, client_fail_at);
    if (s.client == NULL) {
        goto out;
    }
    s.client->on_message = note_large;
    status = node_try_connect(s.client, uri, &s.peer);
    if (status != KV_OK) {
        assert_int_equal(status, KV_E_NOMEM);
        assert_int_equal(node_try_connect(s.client, uri, &s.peer), KV_OK);
    }
    WAIT_FOR(&s.world, is_done(&s));
    has_failed = s.server->has_failed || s.client->has_failed;
out:
    if (s.client != NULL) {
        node_close(s.client);
    }
    if (s.server != NULL) {
        node_close(s.server);
    }
    world_close(&s.world);
    return has_failed;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    uint64_t count = 0;
    for (int at_server = 0; at_server < 2; at_server++) {
        for (uint64_t n = 1; run_with_failure(at_server ? n : 0, at_server ? 0 : n); n++) {
            count++;
            assert_true(n < 1000);
        }
    }
    assert_true(count > 15); /* the scenario does allocate */
}

/* ---- random schedules ---- */

#define LINKS     6
#define PEERS_MAX 4096
#define LEN_MAX   150000u
#define HEAD_LEN  12u /* link, session, index */
#define STEPS     2000
#define SEEDS     40

/* One direction of one session (from up to down) of one link. */
struct side {
    uint32_t link;
    uint32_t session;
    uint32_t sent;
    uint32_t received;
    bool is_known; /* accepted: the first message told which link and session it is */
};

struct model {
    struct world world;
    struct node *server;
    struct node *client;
    struct rand rand;
    char uri[KV_URI_MAX];
    struct peer *links[LINKS]; /* of the client; NULL: closed */
    struct side sides[PEERS_MAX];
    uint32_t sides_len;
    uint32_t sessions;
    uint64_t checked;
};

static struct model model;
static uint64_t total_checked;

static struct side *get_side(struct peer *peer)
{
    if (peer->tag == 0) {
        assert_true(model.sides_len + 1 < PEERS_MAX);
        model.sides_len++;
        memset(&model.sides[model.sides_len], 0, sizeof model.sides[0]);
        peer->tag = model.sides_len;
    }
    return &model.sides[peer->tag];
}

/* The content follows from who sends what. */
static uint32_t make_message(uint8_t *bytes, uint32_t link, uint32_t session, uint32_t index,
                             bool is_accepted)
{
    struct rand rand = {((uint64_t)session << 32 | index) * 2 + is_accepted};
    uint64_t kind = rand_below(&rand, 100);
    uint32_t len = HEAD_LEN + (uint32_t)rand_below(&rand, kind < 80   ? 300
                                                          : kind < 97 ? 9000
                                                                      : LEN_MAX);
    bytes_put_u32(bytes, link);
    bytes_put_u32(bytes + 4, session);
    bytes_put_u32(bytes + 8, index);
    for (uint32_t i = HEAD_LEN; i < len; i++) {
        bytes[i] = (uint8_t)(rand.state >> (i % 57));
    }
    return len;
}

/* Received is a prefix of sent: the next index, with exactly its content. */
static void check_message(struct peer *peer, const uint8_t *bytes, uint32_t len)
{
    static uint8_t expected[HEAD_LEN + LEN_MAX];
    struct side *side = get_side(peer);
    assert_true(len >= HEAD_LEN);
    if (peer->is_accepted && !side->is_known) {
        side->link = bytes_get_u32(bytes);
        side->session = bytes_get_u32(bytes + 4);
        side->is_known = true;
    }
    uint32_t expected_len =
        make_message(expected, side->link, side->session, side->received, !peer->is_accepted);
    assert_int_equal(len, expected_len);
    assert_memory_equal(bytes, expected, len);
    side->received++;
    model.checked++;
}

static void begin_session(struct peer *peer)
{
    struct side *side = get_side(peer);
    side->session = ++model.sessions;
    side->sent = 0;
    side->received = 0;
}

static void send_some(struct peer *peer, uint32_t count)
{
    static uint8_t bytes[HEAD_LEN + LEN_MAX];
    struct side *side = get_side(peer);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len =
            make_message(bytes, side->link, side->session, side->sent, peer->is_accepted);
        int32_t status = peer_send(peer, bytes, len);
        if (status != KV_OK) {
            assert_true(status == KV_E_BUSY || status == KV_E_CLOSED);
            return;
        }
        side->sent++;
    }
}

/* A server's first message waits for the client's, which tells the session. */
static bool may_send(struct peer *peer)
{
    return peer->link != NULL && peer->is_up && (!peer->is_accepted || get_side(peer)->is_known);
}

static void send_more(struct peer *peer)
{
    if (may_send(peer)) {
        send_some(peer, 3);
    }
}

static void open_link(uint32_t i)
{
    model.links[i] = node_connect(model.client, model.uri);
    get_side(model.links[i])->link = i;
}

static void open_server(void)
{
    static const struct kv_transport_limits limits = {HEAD_LEN + LEN_MAX, 64, 60000};
    char bound[KV_URI_MAX];
    model.server = node_open(&model.world, &limits, NULL);
    model.server->on_message = check_message;
    model.server->on_writable = send_more;
    assert_int_equal(node_try_listen(model.server, model.uri, bound), KV_OK);
    memcpy(model.uri, bound, sizeof bound);
}

static struct peer *pick_accepted(void)
{
    uint64_t skip = rand_below(&model.rand, LINKS);
    for (struct peer *peer = model.server->peers; peer != NULL; peer = peer->next) {
        if (may_send(peer) && skip-- == 0) {
            return peer;
        }
    }
    return NULL;
}

static void step(void)
{
    uint64_t action = rand_below(&model.rand, 1000);
    uint32_t i = (uint32_t)rand_below(&model.rand, LINKS);
    uint32_t count = 1 + (uint32_t)rand_below(&model.rand, 10);
    struct peer *peer = NULL;
    if (action < 400) {
        if (model.links[i] != NULL && model.links[i]->is_up) {
            send_some(model.links[i], count);
        }
    } else if (action < 700) {
        peer = pick_accepted();
        if (peer != NULL) {
            send_some(peer, count);
        }
    } else if (action < 740) {
        if (model.links[i] == NULL) {
            open_link(i);
        } else {
            peer_close(model.links[i]);
            model.links[i] = NULL;
        }
    } else if (action < 760) {
        peer = pick_accepted();
        if (peer != NULL) {
            peer_close(peer);
        }
    } else if (action < 763) {
        node_close(model.server);
        open_server();
    } else if (action < 800) {
        node_flush(rand_percent(&model.rand, 50) ? model.server : model.client);
    } else {
        uv_run(&model.world.loop, UV_RUN_NOWAIT);
    }
}

/* All links up, and each has got all that its other end sent in this session. */
static bool is_settled(void)
{
    uint32_t settled = 0;
    for (struct peer *peer = model.server->peers; peer != NULL; peer = peer->next) {
        struct side *theirs = get_side(peer);
        if (!may_send(peer)) {
            continue;
        }
        struct peer *mate = model.links[theirs->link];
        struct side *ours = get_side(mate);
        settled += mate->is_up && ours->session == theirs->session &&
                   ours->sent == theirs->received && theirs->sent == ours->received;
    }
    return settled == LINKS;
}

static void run_seed(uint64_t seed)
{
    static const struct kv_transport_limits limits = {HEAD_LEN + LEN_MAX, 0, 60000};
    static const char *const settings[] = {"connect_retry_ms", "1", "connect_retry_max_ms", "10",
                                           NULL};
    memset(&model, 0, sizeof model);
    model.rand.state = seed;
    memcpy(model.uri, "tcp://127.0.0.1:0", 18);
    world_init(&model.world);
    open_server();
    model.client = node_open(&model.world, &limits, settings);
    model.client->on_up = begin_session;
    model.client->on_message = check_message;
    model.client->on_writable = send_more;
    for (uint32_t i = 0; i < LINKS; i++) {
        open_link(i);
    }
    for (int i = 0; i < STEPS; i++) {
        step();
    }
    model.client->on_writable = NULL;
    model.server->on_writable = NULL;
    for (uint32_t i = 0; i < LINKS; i++) {
        if (model.links[i] == NULL) {
            open_link(i);
        }
        /* The link may be lost once more while it settles; then it says hello again. */
        while (model.links[i]->messages_len < UINT64_MAX) {
            WAIT_FOR(&model.world, model.links[i]->is_up);
            uint32_t session = get_side(model.links[i])->session;
            uint32_t before = get_side(model.links[i])->sent;
            world_run_ms(&model.world, 2);
            send_some(model.links[i], 1);
            if (session == get_side(model.links[i])->session &&
                get_side(model.links[i])->sent > before) {
                break;
            }
        }
    }
    WAIT_FOR(&model.world, is_settled());
    total_checked += model.checked;
    node_close(model.client);
    node_close(model.server);
    world_close(&model.world);
}

static void test_random_schedules(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run_seed(seed);
    }
    print_message("%u messages checked\n", (unsigned)total_checked);
    assert_true(total_checked > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_random_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

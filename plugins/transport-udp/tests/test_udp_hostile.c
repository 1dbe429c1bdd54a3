/*
 * Peers and strangers that mean ill: garbage, truncated, altered, repeated and forged datagrams
 * change nothing for the links beside them, cost no memory, and get no more bytes back than they
 * sent before they have proved that they receive at their address.
 */
#include "pair.h"

#include <stdlib.h>
#include <unistd.h>

static uint8_t datagram[RAW_BYTES_MAX];

/* The same on every run. */
static uint64_t next_random(void)
{
    static uint64_t random_state = 88172645463325252ull;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void fill_random(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)next_random();
    }
}

/* The link beside all this goes on, both ways, and it is still the same one. */
static void check_alive(struct pair *pair, struct peer *peer, struct peer *accepted)
{
    uint64_t ours = peer->messages_len;
    uint64_t theirs = accepted->messages_len;
    assert_true(peer->is_up && accepted->is_up);
    assert_int_equal(peer_send(peer, "ping", 4), KV_OK);
    assert_int_equal(peer_send(accepted, "pong", 4), KV_OK);
    WAIT_FOR(&pair->world, peer->messages_len == ours + 1 && accepted->messages_len == theirs + 1);
    assert_int_equal(peer->up_count, 1);
    assert_int_equal(peer->down_count + accepted->down_count, 0);
}

/* ---- garbage ---- */

static void test_garbage_of_all_lengths(void **state)
{
    (void)state;
    struct pair pair;
    uint16_t port = 0;
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    int fd = raw_open(&port);
    check_alive(&pair, peer, accepted);
    size_t before = pair.server->live_bytes;
    uint64_t sent = 0;
    for (size_t len = 0; len <= 65507; len += len < 2000 ? 1 : 997) {
        fill_random(datagram, len);
        raw_send_to(fd, pair.server_port, datagram, len);
        /* The same from the address of the link's peer. */
        raw_relay_to_server(&pair.relay, datagram, len);
        sent += 2;
        if (len % 32 == 0 || len > 2000) { /* before a small buffer in the system is full */
            world_run_ms(&pair.world, 1);
        }
    }
    check_alive(&pair, peer, accepted);
    assert_int_equal(raw_drain(fd), 0);
    assert_true(pair.server->live_bytes <= before + 4096);
    assert_int_equal(pair.server->accepted_len, 1);
    close(fd);
    /* None that arrived was taken for anything; the log did not run full of it. */
    assert_int_equal(node_stop_and_count(pair.server, "corrupt"), sent);
    assert_true(node_count_logged(pair.server, "is dropped") < 20);
    pair_close(&pair);
}

/* Random bytes, random bytes behind a right header, and whole datagrams with a right CRC. */
static size_t make_garbage(uint32_t number)
{
    size_t len = next_random() % 1400;
    fill_random(datagram, len);
    if (number % 3 > 0 && len > 0) {
        datagram[0] = (uint8_t)(RAW_HELLO + next_random() % 9);
    }
    if (number % 3 == 2 && len >= RAW_HEADER_LEN) {
        raw_seal(datagram, len, datagram[0], next_random(), next_random());
    }
    return len;
}

static void test_garbage_flood(void **state)
{
    (void)state;
    enum { COUNT = 20000, SOCKETS = 8 };
    struct pair pair;
    int fds[SOCKETS];
    uint64_t bytes_sent[SOCKETS] = {0};
    uint64_t bytes_got[SOCKETS] = {0};
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    check_alive(&pair, peer, accepted);
    for (int i = 0; i < SOCKETS; i++) {
        uint16_t port = 0;
        fds[i] = raw_open(&port);
    }
    size_t before = pair.server->live_bytes;
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t len = make_garbage(i);
        uint32_t which = (uint32_t)(next_random() % SOCKETS);
        raw_send_to(fds[which], pair.server_port, datagram, len);
        bytes_sent[which] += len;
        if (i % 64 == 0) {
            uv_run(&pair.world.loop, UV_RUN_NOWAIT);
        }
        if (i % 1000 == 0) {
            check_alive(&pair, peer, accepted);
        }
    }
    check_alive(&pair, peer, accepted);
    for (int i = 0; i < SOCKETS; i++) {
        bytes_got[i] = raw_drain(fds[i]);
        assert_true(bytes_got[i] <= bytes_sent[i]);
        close(fds[i]);
    }
    assert_true(pair.server->live_bytes <= before + 4096);
    assert_int_equal(pair.server->accepted_len, 1);
    assert_true(node_stop_and_count(pair.server, "corrupt") > COUNT / 2);
    assert_true(node_get_counter(pair.server, "malformed") > 0);
    assert_true(node_get_counter(pair.server, "unknown") > 0);
    assert_true(node_count_logged(pair.server, "is dropped") < 60); /* once a second */
    pair_close(&pair);
}

/* ---- real datagrams, altered ---- */

static uint8_t altered[RAW_BYTES_MAX];

/* Sends cut and altered copies of each datagram before it, and it itself twice. */
static bool alter(struct raw_relay *relay, bool is_to_server, uint8_t *bytes, size_t len)
{
    void (*pass)(struct raw_relay *, const void *, size_t) =
        is_to_server ? raw_relay_to_server : raw_relay_to_client;
    for (int i = 0; i < 6; i++) {
        pass(relay, bytes, next_random() % len); /* cut */
        memcpy(altered, bytes, len);
        altered[next_random() % len] ^= (uint8_t)(1u << next_random() % 8);
        pass(relay, altered, len);
        memcpy(altered, bytes, len);
        altered[len] = (uint8_t)i;
        pass(relay, altered, len + 1); /* too long */
    }
    pass(relay, bytes, len);
    return true;
}

static void test_altered_copies(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    pair.server->is_recording = true;
    pair.relay.look = alter;
    struct peer *peer = node_connect(pair.client, pair.uri);
    WAIT_FOR(&pair.world, peer->is_up && pair.server->accepted_len == 1);
    struct peer *accepted = pair.server->peers;
    uint8_t *expected = malloc((size_t)COUNT * 5000);
    assert_non_null(expected);
    fill_random(expected, (size_t)COUNT * 5000);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(peer_send(peer, expected + (size_t)i * 5000, 5000), KV_OK);
        assert_int_equal(peer_send(accepted, "other way", 9), KV_OK);
        world_run_ms(&pair.world, 1);
    }
    WAIT_FOR(&pair.world, accepted->messages_len == COUNT && peer->messages_len == COUNT);
    check_alive(&pair, peer, accepted);
    assert_int_equal(accepted->received_len, COUNT * 5000 + 4);
    assert_memory_equal(accepted->received, expected, COUNT * 5000);
    assert_int_equal(pair.server->accepted_len, 1);
    free(expected);
    assert_true(node_stop_and_count(pair.server, "corrupt") > 500);
    pair_close(&pair);
}

/* ---- repeated datagrams ---- */

enum { KEPT_MAX = 64 };

struct kept {
    bool is_to_server;
    size_t len;
    uint8_t bytes[2000];
};

static struct kept kept[KEPT_MAX];
static uint32_t kept_len;

static bool keep(struct raw_relay *relay, bool is_to_server, uint8_t *bytes, size_t len)
{
    (void)relay;
    if (kept_len < KEPT_MAX && len <= sizeof kept[0].bytes) {
        kept[kept_len].is_to_server = is_to_server;
        kept[kept_len].len = len;
        memcpy(kept[kept_len].bytes, bytes, len);
        kept_len++;
    }
    return true;
}

static void test_replays(void **state)
{
    (void)state;
    struct pair pair;
    uint16_t port = 0;
    int fd = raw_open(&port);
    kept_len = 0;
    pair_open(&pair, NULL, NULL);
    pair.relay.look = keep;
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    for (int i = 0; i < 10; i++) {
        check_alive(&pair, peer, accepted);
    }
    assert_true(kept_len >= 20); /* the handshake, and both ways since */
    pair.relay.look = NULL;
    size_t sent = 0;
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < kept_len; i++) {
            /* From another address, to both ends; and from the right one. */
            raw_send_to(fd, kept[i].is_to_server ? pair.server_port : pair.relay.client_port,
                        kept[i].bytes, kept[i].len);
            sent += kept[i].len;
            if (kept[i].is_to_server) {
                raw_relay_to_server(&pair.relay, kept[i].bytes, kept[i].len);
            } else {
                raw_relay_to_client(&pair.relay, kept[i].bytes, kept[i].len);
            }
        }
        check_alive(&pair, peer, accepted);
    }
    assert_int_equal(peer->messages_len, 30);
    assert_int_equal(accepted->messages_len, 30);
    assert_int_equal(pair.server->accepted_len, 1);
    assert_int_equal(pair.client->accepted_len, 0);
    assert_true(raw_drain(fd) <= sent);
    close(fd);
    pair_close(&pair);
}

/* All that was recorded of a link that is at its end makes no link again, also not from its peer's
 * address while the cookie is still good: at most a half open one, which the host never hears of.
 */
static void test_replay_after_the_end(void **state)
{
    (void)state;
    static const char *const settings[] = {"handshake_timeout_ms", "100", NULL};
    struct pair pair;
    kept_len = 0;
    pair_open(&pair, NULL, settings);
    size_t before = pair.server->live_bytes;
    pair.relay.look = keep;
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    check_alive(&pair, peer, accepted);
    peer_close(peer);
    WAIT_FOR(&pair.world, accepted->link == NULL);
    pair.relay.look = NULL;
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < kept_len; i++) {
            if (kept[i].is_to_server) {
                raw_relay_to_server(&pair.relay, kept[i].bytes, kept[i].len);
            }
        }
        world_run_ms(&pair.world, 5);
    }
    world_run_ms(&pair.world, 400);
    assert_int_equal(pair.server->accepted_len, 1);
    assert_int_equal(accepted->messages_len, 1);
    assert_true(pair.server->live_bytes <= before + 4096);
    pair_close(&pair);
}

/* ---- forged datagrams ---- */

/* What follows the header, of that kind, so that it is well formed. */
static void fill_body(uint8_t *bytes, enum raw_kind kind)
{
    memset(bytes + RAW_HEADER_LEN, 0, 16);
    bytes[RAW_HEADER_LEN] = 1; /* a version, a reason, a message_max */
    if (kind == RAW_ACCEPT) {
        bytes[RAW_HEADER_LEN + 5] = 16; /* datagram_max: 4096 */
    }
}

/* Each kind with a right CRC: with one token wrong from the right address, with both right from
 * another address. */
static void test_forged(void **state)
{
    (void)state;
    static const enum raw_kind kinds[] = {RAW_COOKIE, RAW_ACCEPT, RAW_REFUSE, RAW_CLOSE,
                                          RAW_UNKNOWN};
    static const size_t lens[] = {37, 37, 29, 25, 21};
    struct pair pair;
    uint16_t port = 0;
    int fd = raw_open(&port);
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    check_alive(&pair, peer, accepted);
    uint64_t client = pair.relay.client_token;
    uint64_t server = pair.relay.server_token;
    assert_true(client != 0 && server != 0);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        fill_body(datagram, kinds[i]);
        raw_seal(datagram, lens[i], kinds[i], server, client ^ 1);
        raw_relay_to_server(&pair.relay, datagram, lens[i]);
        raw_seal(datagram, lens[i], kinds[i], server ^ 1, client);
        raw_relay_to_server(&pair.relay, datagram, lens[i]);
        raw_seal(datagram, lens[i], kinds[i], client, server ^ 1);
        raw_relay_to_client(&pair.relay, datagram, lens[i]);
        raw_seal(datagram, lens[i], kinds[i], client, 0);
        raw_relay_to_client(&pair.relay, datagram, lens[i]);
        raw_seal(datagram, lens[i], kinds[i], server, client);
        raw_send_to(fd, pair.server_port, datagram, lens[i]);
        raw_seal(datagram, lens[i], kinds[i], client, server);
        raw_send_to(fd, pair.relay.client_port, datagram, lens[i]);
        check_alive(&pair, peer, accepted);
    }
    assert_int_equal(raw_drain(fd), 0);
    close(fd);
    /* From another address all five, from the right one CLOSE and UNKNOWN: the others mean nothing
     * to a link that is up. */
    assert_int_equal(node_stop_and_count(pair.server, "forged"), 5 + 2);
    assert_int_equal(node_stop_and_count(pair.client, "forged"), 5 + 2 * 2);
    pair_close(&pair);
}

/* A datagram with both tokens right, and what it may do, ends the link: the ones above are not
 * dropped for another reason. */
static void test_close_is_believed(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    fill_body(datagram, RAW_CLOSE);
    raw_seal(datagram, 25, RAW_CLOSE, pair.relay.server_token, pair.relay.client_token);
    raw_relay_to_server(&pair.relay, datagram, 25);
    WAIT_FOR(&pair.world, accepted->link == NULL);
    assert_int_equal(accepted->reason, KV_E_CLOSED);
    WAIT_FOR(&pair.world, peer->up_count == 2); /* DATA for a link that is not there: UNKNOWN */
    pair_close(&pair);
}

/* Answers that somebody else gives before the real ones. */
static bool answer_falsely(struct raw_relay *relay, bool is_to_server, uint8_t *bytes, size_t len)
{
    if (is_to_server && len >= RAW_HEADER_LEN && (bytes[0] == RAW_HELLO || bytes[0] == RAW_OPEN)) {
        const int *stranger = relay->ctx;
        if (bytes[0] == RAW_HELLO) {
            /* A cookie that is no good, from the right address. */
            fill_body(altered, RAW_COOKIE);
            fill_random(altered + RAW_HEADER_LEN + 4, 12);
            raw_seal(altered, 37, RAW_COOKIE, raw_get_from(bytes), 0);
            raw_relay_to_client(relay, altered, 37);
        }
        /* A link with somebody else, who has not seen the token. */
        fill_body(altered, RAW_ACCEPT);
        raw_seal(altered, 37, RAW_ACCEPT, raw_get_from(bytes) ^ 1, 4711);
        raw_send_to(*stranger, relay->client_port, altered, 37);
        raw_relay_to_client(relay, altered, 37);
    }
    return true;
}

static void test_false_answers(void **state)
{
    (void)state;
    struct pair pair;
    uint16_t port = 0;
    int fd = raw_open(&port);
    pair_open(&pair, NULL, NULL);
    pair.relay.look = answer_falsely;
    pair.relay.ctx = &fd;
    struct peer *peer = pair_connect(&pair);
    check_alive(&pair, peer, pair.server->peers);
    assert_int_equal(raw_drain(fd), 0); /* nothing was sent to it */
    close(fd);
    assert_true(node_stop_and_count(pair.server, "forged") > 0); /* an OPEN with that cookie */
    pair_close(&pair);
}

/* ---- floods of handshakes ---- */

static void test_hello_flood(void **state)
{
    (void)state;
    enum { PORTS = 200, EACH = 10 };
    struct pair pair;
    static int fds[PORTS];
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    check_alive(&pair, peer, accepted);
    size_t before = pair.server->live_bytes;
    for (uint32_t i = 0; i < PORTS; i++) {
        uint16_t port = 0;
        fds[i] = raw_open(&port);
        for (uint32_t j = 0; j < EACH; j++) {
            raw_make_hello(datagram, next_random());
            if (j == 1) { /* another version */
                datagram[RAW_HEADER_LEN + 4] = 2;
                raw_seal(datagram, RAW_OPEN_LEN, RAW_HELLO, 0, 5);
            } else if (j == 2) { /* a proof that was never given */
                raw_make_open(datagram, next_random(), altered);
            } else if (j == 3) { /* too short for an answer */
                raw_seal(datagram, RAW_OPEN_LEN - 1, RAW_HELLO, 0, 5);
            }
            raw_send_to(fds[i], pair.server_port, datagram,
                        j == 3 ? RAW_OPEN_LEN - 1 : RAW_OPEN_LEN);
        }
        uv_run(&pair.world.loop, UV_RUN_NOWAIT);
    }
    check_alive(&pair, peer, accepted);
    assert_true(pair.server->live_bytes <= before + 4096);
    for (uint32_t i = 0; i < PORTS; i++) {
        size_t got = raw_drain(fds[i]);
        assert_in_range(got, 1, EACH * RAW_OPEN_LEN - 1);
        close(fds[i]);
    }
    assert_int_equal(pair.server->accepted_len, 1);
    assert_true(node_stop_and_count(pair.server, "version") >= PORTS);
    pair_close(&pair);
}

/* A handshake up to the OPEN; what comes back later is left there. Returns how many bytes came. */
static size_t open_unused(struct pair *pair, int fd, uint64_t token)
{
    static uint8_t answer[RAW_BYTES_MAX];
    raw_make_hello(datagram, token);
    raw_send_to(fd, pair->server_port, datagram, RAW_OPEN_LEN);
    size_t got = (size_t)raw_receive(&pair->world, fd, answer);
    while (answer[0] != RAW_COOKIE) { /* to an OPEN before */
        got += (size_t)raw_receive(&pair->world, fd, answer);
    }
    raw_make_open(datagram, token, answer);
    raw_send_to(fd, pair->server_port, datagram, RAW_OPEN_LEN);
    return got;
}

/* A peer that has proved its address and opens link after link without using one: half open links
 * are few, and go. */
static void test_open_flood(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static const char *const settings[] = {"handshake_timeout_ms", "2000", NULL};
    struct pair pair;
    uint16_t port = 0;
    int fd = raw_open(&port);
    pair_open(&pair, NULL, settings);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    check_alive(&pair, peer, accepted);
    size_t before = pair.server->live_bytes;
    size_t bytes_sent = 0;
    size_t bytes_got = 0;
    for (uint64_t i = 1; i <= COUNT; i++) {
        bytes_got += open_unused(&pair, fd, i);
        bytes_sent += 2 * RAW_OPEN_LEN;
        assert_true(pair.server->live_bytes < before + (1u << 20));
    }
    check_alive(&pair, peer, accepted);
    bytes_got += raw_drain(fd);
    assert_true(bytes_got <= bytes_sent);
    WAIT_FOR(&pair.world, pair.server->live_bytes <= before + 65536);
    assert_int_equal(pair.server->accepted_len, 1);
    close(fd);
    assert_int_equal(node_stop_and_count(pair.server, "refused"), 0);
    assert_true(node_get_counter(pair.server, "handshake_timeouts") > COUNT - 256);
    pair_close(&pair);
}

/* ... and who uses its link gets one, however long the unused ones may stay. */
static void test_open_flood_keeps_nobody_out(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static const char *const settings[] = {"handshake_timeout_ms", "60000", NULL};
    struct pair pair;
    uint16_t port = 0;
    int fd = raw_open(&port);
    pair_open(&pair, NULL, settings);
    for (uint64_t i = 1; i <= COUNT; i++) {
        open_unused(&pair, fd, i);
    }
    struct peer *peer = pair_connect(&pair);
    check_alive(&pair, peer, pair.server->peers);
    close(fd);
    assert_int_equal(node_stop_and_count(pair.server, "refused"), 0);
    pair_close(&pair);
}

/* ---- a peer that has a link and breaks the rules ---- */

struct rogue {
    int fd;
    uint16_t server_port;
    uint64_t own;
    uint64_t theirs;
    uint64_t number; /* of the next packet */
};

static void put_u64(uint8_t *at, uint64_t number)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(number >> (8 * i));
    }
}

/* flags and what follows them. */
static void rogue_send(struct rogue *rogue, uint8_t flags, const uint8_t *body, size_t len)
{
    put_u64(datagram + RAW_HEADER_LEN, rogue->number);
    rogue->number++;
    datagram[RAW_HEADER_LEN + 8] = flags;
    memcpy(datagram + RAW_HEADER_LEN + 9, body, len);
    raw_seal(datagram, RAW_HEADER_LEN + 9 + len, RAW_DATA, rogue->theirs, rogue->own);
    raw_send_to(rogue->fd, rogue->server_port, datagram, RAW_HEADER_LEN + 9 + len);
}

static void rogue_send_stream(struct rogue *rogue, uint64_t offset, const void *bytes, size_t len)
{
    uint8_t body[1200];
    put_u64(body, offset);
    memcpy(body + 8, bytes, len);
    rogue_send(rogue, 2, body, 8 + len);
}

static void rogue_open(struct rogue *rogue, struct pair *pair)
{
    static uint8_t answer[RAW_BYTES_MAX];
    uint16_t port = 0;
    uint32_t accepted = pair->server->accepted_len;
    memset(rogue, 0, sizeof *rogue);
    rogue->fd = raw_open(&port);
    rogue->server_port = pair->server_port;
    rogue->own = next_random();
    raw_make_hello(datagram, rogue->own);
    raw_send_to(rogue->fd, rogue->server_port, datagram, RAW_OPEN_LEN);
    raw_receive(&pair->world, rogue->fd, answer);
    assert_int_equal(answer[0], RAW_COOKIE);
    raw_make_open(datagram, rogue->own, answer);
    raw_send_to(rogue->fd, rogue->server_port, datagram, RAW_OPEN_LEN);
    raw_receive(&pair->world, rogue->fd, answer);
    assert_int_equal(answer[0], RAW_ACCEPT);
    rogue->theirs = raw_get_from(answer);
    rogue_send_stream(rogue, 0, "\5\0\0\0hello", 9);
    WAIT_FOR(&pair->world, pair->server->accepted_len == accepted + 1);
    WAIT_FOR(&pair->world, pair->server->peers->messages_len == 1);
}

static void break_length(struct rogue *rogue)
{
    rogue_send_stream(rogue, 9, "\1\0\20\0", 4); /* message_max + 1 */
}

static void break_limit(struct rogue *rogue)
{
    rogue_send_stream(rogue, 1ull << 40, "far away", 8);
}

static void break_ack(struct rogue *rogue)
{
    uint8_t body[29] = {0};
    body[12] = 1;
    put_u64(body + 13, 0);
    put_u64(body + 21, 1000000); /* packets that were never sent */
    rogue_send(rogue, 1, body, sizeof body);
}

static void test_rule_breakers(void **state)
{
    (void)state;
    static const struct {
        void (*act)(struct rogue *rogue);
        int32_t reason;
    } table[] = {
        {break_length, KV_E_TOO_LARGE}, {break_limit, KV_E_MALFORMED}, {break_ack, KV_E_MALFORMED}};
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct rogue rogue;
        rogue_open(&rogue, &pair);
        struct peer *theirs = pair.server->peers;
        table[i].act(&rogue);
        WAIT_FOR(&pair.world, theirs->link == NULL);
        assert_int_equal(theirs->reason, table[i].reason);
        assert_int_equal(theirs->messages_len, 1);
        check_alive(&pair, peer, accepted);
        close(rogue.fd);
    }
    pair_close(&pair);
}

/* Announces the longest message and then sends every second byte of it: memory stays within the
 * window, and nothing is delivered. */
static void test_holes_cost_no_more_than_the_window(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct pair pair;
    struct rogue rogue;
    pair_open(&pair, NULL, NULL);
    struct peer *peer = pair_connect(&pair);
    struct peer *accepted = pair.server->peers;
    size_t before = pair.server->live_bytes;
    rogue_open(&rogue, &pair);
    struct peer *theirs = pair.server->peers;
    rogue_send_stream(&rogue, 9, "\0\0\20\0", 4); /* message_max */
    for (uint32_t i = 0; i < COUNT; i++) {
        rogue_send_stream(&rogue, 14 + (uint64_t)i * 340, "x", 1);
        if (i % 32 == 0) {
            world_run_ms(&pair.world, 1);
        }
    }
    check_alive(&pair, peer, accepted);
    assert_int_equal(theirs->messages_len, 1);
    assert_true(pair.server->live_bytes < before + (5u << 20));
    close(rogue.fd);
    peer_close(theirs);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_of_all_lengths),
        cmocka_unit_test(test_garbage_flood),
        cmocka_unit_test(test_altered_copies),
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_replay_after_the_end),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_close_is_believed),
        cmocka_unit_test(test_false_answers),
        cmocka_unit_test(test_hello_flood),
        cmocka_unit_test(test_open_flood),
        cmocka_unit_test(test_open_flood_keeps_nobody_out),
        cmocka_unit_test(test_rule_breakers),
        cmocka_unit_test(test_holes_cost_no_more_than_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Peers that do not keep to the protocol, and machines that run out of something. */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/rand.h"

struct fixture {
    struct world world;
    struct node *server;
    uint16_t port;
};

static void open_fixture(struct fixture *f, const struct kv_transport_limits *limits,
                         const char *const *settings)
{
    struct kv_transport_limits defaults = world_default_limits();
    world_init(&f->world);
    f->server = node_open(&f->world, limits == NULL ? &defaults : limits, settings);
    f->port = node_listen(f->server, NULL);
}

static void close_fixture(struct fixture *f)
{
    node_close(f->server);
    world_close(&f->world);
}

/* A good client is served whatever the others did. */
static void check_alive(struct fixture *f)
{
    uint8_t frame[16];
    uint32_t before = f->server->accepted_len;
    int fd = raw_connect(&f->world, f->port);
    raw_shake_hands(&f->world, fd);
    raw_send(&f->world, fd, frame, raw_encode(frame, "alive", 5));
    WAIT_FOR(&f->world, f->server->accepted_len == before + 1);
    struct peer *peer = f->server->peers;
    WAIT_FOR(&f->world, peer->messages_len == 1);
    close(fd);
    WAIT_FOR(&f->world, !peer->is_up);
}

static void test_foreign_preambles(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9}, /* TLS */
        {"*1\r\n$4\r\nPING\r\n", 14},
        {"X", 1},
        {"KVTX", 4},
    };
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    size_t count = sizeof cases / sizeof cases[0];
    for (size_t i = 0; i < count; i++) {
        int fd = raw_connect(&f.world, f.port);
        raw_send(&f.world, fd, cases[i].bytes, cases[i].len);
        assert_true(raw_wait_end(&f.world, fd) <= 12); /* our preamble at most */
        close(fd);
    }
    int fd = raw_connect(&f.world, f.port);
    raw_send(&f.world, fd, "KVTC\x09\0\0\0", 8);
    assert_int_equal(raw_wait_end(&f.world, fd), 12);
    close(fd);
    assert_true(node_has_logged(f.server, "KV_E_MALFORMED"));
    assert_in_range(node_count_logged(f.server, "not a kvnode peer"), 1, count - 1);
    assert_int_equal(f.server->peers_len, 0);
    check_alive(&f);
    assert_int_equal(node_stop_and_count(f.server, "malformed"), count);
    assert_int_equal(node_stop_and_count(f.server, "version"), 1);
    close_fixture(&f);
}

static void test_version_is_logged(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    int fd = raw_connect(&f.world, f.port);
    raw_send(&f.world, fd, "KVTC\x09\0\0\0", 8);
    assert_int_equal(raw_wait_end(&f.world, fd), 12);
    close(fd);
    assert_true(node_has_logged(f.server, "speaks version 9 of this transport, we speak 1"));
    assert_true(node_has_logged(f.server, "KV_E_VERSION"));
    close_fixture(&f);
}

/* The side that connects tells as much, does not come up, and goes on trying. */
static void test_foreign_server(void **state)
{
    (void)state;
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *client = node_open(&world, &limits, NULL);
    uint16_t port = 0;
    int listener = raw_listen(&port);
    char uri[KV_URI_MAX];
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", port);
    struct peer *peer = node_connect(client, uri);
    for (int i = 0; i < 3; i++) {
        int fd = raw_accept(&world, listener);
        raw_send(&world, fd, i == 0 ? "SSH-2.0-x" : "KVTC\2\0\0\0", 8);
        assert_int_equal(raw_wait_end(&world, fd), 12); /* our preamble */
        close(fd);
    }
    int fd = raw_accept(&world, listener);
    assert_int_equal(peer->up_count + peer->down_count, 0);
    raw_shake_hands(&world, fd);
    WAIT_FOR(&world, peer->is_up);
    close(fd);
    close(listener);
    node_close(client);
    world_close(&world);
}

struct frames {
    uint8_t bytes[70000];
    size_t len;
    uint32_t count;
    size_t payload_len;
};

static void make_frames(struct frames *frames)
{
    static const uint32_t lens[] = {0, 1, 7, 100, 0, 300, 33000, 5};
    uint8_t payload[33000];
    for (size_t i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i ^ (i >> 7));
    }
    memset(frames, 0, sizeof *frames);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        frames->len += raw_encode(frames->bytes + frames->len, payload, lens[i]);
        frames->payload_len += lens[i];
        frames->count++;
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    struct frames *frames = malloc(sizeof *frames);
    assert_non_null(frames);
    make_frames(frames);
    int fd = raw_connect(&f.world, f.port);
    int on = 1;
    setsockopt(fd, 6, 1, &on, sizeof on); /* TCP_NODELAY */
    static const uint8_t preamble[12] = {'K', 'V', 'T', 'C', 1, 0, 0, 0, 0, 0, 0, 1};
    for (size_t i = 0; i < sizeof preamble; i++) {
        raw_send(&f.world, fd, preamble + i, 1);
    }
    WAIT_FOR(&f.world, f.server->accepted_len == 1);
    /* Single bytes at both ends of the stream and pieces that fit nothing in between. */
    size_t at = 0;
    while (at < frames->len) {
        size_t piece = at < 1000 || frames->len - at < 1200 ? 1 : 997;
        raw_send(&f.world, fd, frames->bytes + at, piece);
        at += piece;
    }
    struct peer *peer = f.server->peers;
    WAIT_FOR(&f.world, peer->messages_len == frames->count);
    assert_int_equal(peer->bytes_len, frames->payload_len);
    free(frames);
    close(fd);
    close_fixture(&f);
}

/* Memory that a large message needed must not let the read of the next one run beyond its end. */
static void test_part_behind_part(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    f.server->is_recording = true;
    uint8_t payload[20000];
    uint8_t bytes[60000];
    for (size_t i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    size_t first = raw_encode(bytes, payload, 20000);
    size_t second = first + raw_encode(bytes + first, payload, 17000);
    size_t total = second + raw_encode(bytes + second, payload, 9000);
    /* 16 000 bytes of the first, then the rest with 16 500 of the second, then all the rest. */
    const size_t cuts[] = {0, 16000, first + 16500, total};
    int fd = raw_connect(&f.world, f.port);
    raw_shake_hands(&f.world, fd);
    for (int i = 0; i < 3; i++) {
        raw_send(&f.world, fd, bytes + cuts[i], cuts[i + 1] - cuts[i]);
        world_run_ms(&f.world, 20);
    }
    struct peer *peer = f.server->peers;
    WAIT_FOR(&f.world, peer->messages_len == 3);
    assert_int_equal(peer->received_len, 46000);
    assert_memory_equal(peer->received, payload, 20000);
    assert_memory_equal(peer->received + 20000, payload, 17000);
    assert_memory_equal(peer->received + 37000, payload, 9000);
    close(fd);
    close_fixture(&f);
}

/* Cut off anywhere: the messages that were whole arrive, nothing else does. */
static void test_truncated(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    uint8_t bytes[64];
    size_t first = raw_encode(bytes, "0123456789", 10);
    size_t total = first + raw_encode(bytes + first, "abcdefghijklm", 13);
    for (size_t cut = 0; cut < total; cut++) {
        uint32_t before = f.server->accepted_len;
        int fd = raw_connect(&f.world, f.port);
        raw_shake_hands(&f.world, fd);
        WAIT_FOR(&f.world, f.server->accepted_len == before + 1);
        struct peer *peer = f.server->peers;
        raw_send(&f.world, fd, bytes, cut);
        close(fd);
        WAIT_FOR(&f.world, peer->down_count == 1);
        assert_int_equal(peer->messages_len, cut >= first ? 1 : 0);
        assert_int_equal(peer->reason, KV_E_CLOSED);
    }
    close_fixture(&f);
}

static void check_dropped(struct fixture *f, const uint8_t *bytes, size_t len, int32_t reason,
                          uint64_t messages_len)
{
    uint32_t before = f->server->accepted_len;
    int fd = raw_connect(&f->world, f->port);
    raw_shake_hands(&f->world, fd);
    raw_send(&f->world, fd, bytes, len);
    raw_wait_end(&f->world, fd);
    WAIT_FOR(&f->world, f->server->accepted_len == before + 1);
    struct peer *peer = f->server->peers;
    WAIT_FOR(&f->world, peer->down_count == 1);
    assert_int_equal(peer->reason, reason);
    assert_int_equal(peer->messages_len, messages_len);
    close(fd);
}

static void test_bad_frames(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    limits.message_max = 1000;
    struct fixture f;
    open_fixture(&f, &limits, NULL);
    uint8_t bytes[2048];
    size_t first = raw_encode(bytes, "good", 4);
    /* The length alone decides, before any payload or even the CRC came. */
    bytes_put_u32(bytes + first, 1001);
    check_dropped(&f, bytes, first + 4, KV_E_TOO_LARGE, 1);
    bytes_put_u32(bytes + first, UINT32_MAX);
    check_dropped(&f, bytes, first + 8, KV_E_TOO_LARGE, 1);
    /* Each bit of a CRC, and a bit of a payload. */
    for (int bit = 0; bit < 32; bit++) {
        size_t len = first + raw_encode(bytes + first, "payload", 7);
        bytes[first + 4 + bit / 8] ^= (uint8_t)(1 << (bit % 8));
        check_dropped(&f, bytes, len, KV_E_MALFORMED, 1);
    }
    size_t len = first + raw_encode(bytes + first, "payload", 7);
    bytes[first + 8] ^= 0x10;
    check_dropped(&f, bytes, len, KV_E_MALFORMED, 1);
    check_alive(&f);
    assert_int_equal(node_stop_and_count(f.server, "too_large"), 2);
    assert_int_equal(node_stop_and_count(f.server, "malformed"), 33);
    close_fixture(&f);
}

/* Many peers announce the largest message and send little of it. */
static void test_announced_length_is_not_allocated(void **state)
{
    (void)state;
    enum { PEERS = 50 };
    struct kv_transport_limits limits = world_default_limits();
    limits.message_max = 64u << 20;
    struct fixture f;
    open_fixture(&f, &limits, NULL);
    int fds[PEERS];
    uint8_t bytes[40000] = {0};
    bytes_put_u32(bytes, limits.message_max);
    for (int i = 0; i < PEERS; i++) {
        fds[i] = raw_connect(&f.world, f.port);
        raw_shake_hands(&f.world, fds[i]);
        raw_send(&f.world, fds[i], bytes, i % 2 == 0 ? 100 : sizeof bytes);
    }
    world_run_ms(&f.world, 50);
    assert_int_equal(node_count_up(f.server), PEERS);
    assert_true(f.server->peak_bytes < 5u << 20); /* announced: 3200 MiB */
    for (int i = 0; i < PEERS; i++) {
        close(fds[i]);
    }
    WAIT_FOR(&f.world, node_count_up(f.server) == 0);
    close_fixture(&f);
}

static void test_random_garbage(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    limits.message_max = 100000;
    struct fixture f;
    open_fixture(&f, &limits, NULL);
    struct rand rand = {20};
    struct frames *frames = malloc(sizeof *frames);
    assert_non_null(frames);
    for (int i = 0; i < 150; i++) {
        make_frames(frames);
        for (uint64_t flips = 1 + rand_below(&rand, 3); flips > 0; flips--) {
            frames->bytes[rand_below(&rand, frames->len)] ^= (uint8_t)(1 + rand_below(&rand, 255));
        }
        int fd = raw_connect(&f.world, f.port);
        if (i % 3 != 0) {
            raw_shake_hands(&f.world, fd);
        }
        raw_send(&f.world, fd, frames->bytes, frames->len);
        shutdown(fd, SHUT_WR);
        raw_wait_end(&f.world, fd);
        close(fd);
    }
    free(frames);
    WAIT_FOR(&f.world, node_count_up(f.server) == 0);
    for (struct peer *peer = f.server->peers; peer != NULL; peer = peer->next) {
        assert_true(peer->messages_len < 8); /* never all of them */
    }
    check_alive(&f);
    close_fixture(&f);
}

static void test_links_max(void **state)
{
    (void)state;
    struct kv_transport_limits limits = world_default_limits();
    limits.links_max = 3;
    struct fixture f;
    open_fixture(&f, &limits, NULL);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = raw_connect(&f.world, f.port);
        raw_shake_hands(&f.world, fds[i]);
    }
    WAIT_FOR(&f.world, f.server->accepted_len == 3);
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(&f.world, f.port);
        assert_int_equal(raw_wait_end(&f.world, fd), 0); /* at once, without a preamble */
        close(fd);
    }
    assert_in_range(node_count_logged(f.server, "links_max"), 1, 19);
    close(fds[0]);
    WAIT_FOR(&f.world, node_count_up(f.server) == 2);
    check_alive(&f);
    close(fds[1]);
    close(fds[2]);
    assert_int_equal(node_stop_and_count(f.server, "refused"), 20);
    close_fixture(&f);
}

static void test_handshake_timeout(void **state)
{
    (void)state;
    static const char *const settings[] = {"handshake_timeout_ms", "400", NULL};
    struct kv_transport_limits limits = world_default_limits();
    limits.links_max = 2;
    struct fixture f;
    open_fixture(&f, &limits, settings);
    int idle = raw_connect(&f.world, f.port);
    int half = raw_connect(&f.world, f.port);
    uint8_t preamble[12];
    raw_send(&f.world, half, "KVTC\1", 5);
    assert_int_equal(raw_receive(&f.world, idle, preamble, 12), 12);
    assert_int_equal(raw_receive(&f.world, half, preamble, 12), 12);
    int more = raw_connect(&f.world, f.port);
    assert_int_equal(raw_wait_end(&f.world, more), 0); /* the silent ones count */
    close(more);
    assert_int_equal(raw_wait_end(&f.world, idle), 0);
    assert_int_equal(raw_wait_end(&f.world, half), 0);
    close(idle);
    close(half);
    assert_int_equal(f.server->peers_len, 0);
    check_alive(&f);
    assert_int_equal(node_stop_and_count(f.server, "handshake_timeouts"), 2);
    close_fixture(&f);
}

static void test_turned_away(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    f.server->is_refusing = true;
    int fd = raw_connect(&f.world, f.port);
    raw_shake_hands(&f.world, fd);
    assert_int_equal(raw_wait_end(&f.world, fd), 0);
    close(fd);
    f.server->is_refusing = false;
    check_alive(&f);
    close_fixture(&f);
}

/* No file descriptor left: the process stays idle, says so, and takes the peer when there is one.
 */
static void test_no_descriptors(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    int fd = raw_connect(&f.world, f.port);
    struct rlimit saved;
    struct rlimit none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    none = saved;
    none.rlim_cur = (rlim_t)fd; /* fd is the highest number in use */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t begin_ms = world_now_ms();
    world_run_ms(&f.world, 350);
    uint64_t took_ms = world_now_ms() - begin_ms;
    uint32_t lines = node_count_logged(f.server, "cannot accept a peer");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    assert_in_range(lines, 1, 1 + took_ms / 1000);
    raw_shake_hands(&f.world, fd);
    WAIT_FOR(&f.world, f.server->accepted_len == 1);
    close(fd);
    /* One each 100 ms; a busy loop would make thousands. */
    assert_in_range(node_stop_and_count(f.server, "accept_failures"), 1, 2 + took_ms / 100);
    close_fixture(&f);
}

/* Writing to a peer that is gone must not end the process. */
static void test_sigpipe(void **state)
{
    (void)state;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    assert_int_equal(sigaction(SIGPIPE, &standard, NULL), 0);
    struct fixture f;
    open_fixture(&f, NULL, NULL);
    f.server->is_no_flush = true;
    for (int round = 0; round < 20; round++) {
        int fd = raw_connect(&f.world, f.port);
        raw_shake_hands(&f.world, fd);
        WAIT_FOR(&f.world, node_count_up(f.server) == 1);
        struct peer *peer = f.server->peers;
        struct linger linger = {1, 0}; /* a reset, so that the next write fails */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(peer_send(peer, "late", 4), KV_OK);
            node_flush(f.server);
        }
        WAIT_FOR(&f.world, peer->down_count == 1);
    }
    close_fixture(&f);
}

/* A network of this process alone, with so few ports to connect from that a connection to one of
 * them, where nobody listens, soon becomes one with itself. */
static bool enter_small_network(void)
{
    static const char range[] = "40000 40003";
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return false;
    }
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int status = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        status |= write(fd, range, sizeof range - 1) != (ssize_t)(sizeof range - 1);
        close(fd);
    }
    return fd >= 0 && status == 0;
}

/* The last test of this program: there is no way back out of that network. */
static void test_self_connection(void **state)
{
    (void)state;
    static const char *const settings[] = {"connect_retry_ms", "1", "connect_retry_max_ms", "5",
                                           NULL};
    if (!enter_small_network()) {
        print_message("SKIPPED: no network namespace can be had here\n");
        skip();
    }
    struct world world;
    world_init(&world);
    struct kv_transport_limits limits = world_default_limits();
    struct node *client = node_open(&world, &limits, settings);
    struct node *server = node_open(&world, &limits, NULL);
    char uri[KV_URI_MAX];
    struct peer *peer = node_connect(client, "tcp://127.0.0.1:40000");
    WAIT_FOR(&world, node_has_logged(client, "nobody listens there"));
    assert_int_equal(peer->up_count, 0);
    WAIT_FOR(&world, node_try_listen(server, "tcp://127.0.0.1:40000", uri) == KV_OK);
    WAIT_FOR(&world, peer->is_up && server->accepted_len == 1);
    node_close(client);
    node_close(server);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_preambles),
        cmocka_unit_test(test_version_is_logged),
        cmocka_unit_test(test_foreign_server),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_part_behind_part),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_announced_length_is_not_allocated),
        cmocka_unit_test(test_random_garbage),
        cmocka_unit_test(test_links_max),
        cmocka_unit_test(test_handshake_timeout),
        cmocka_unit_test(test_turned_away),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_sigpipe),
        cmocka_unit_test(test_self_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

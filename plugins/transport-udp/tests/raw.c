#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc32c.h"

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int raw_open(uint16_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    int size = 4 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

void raw_send_to(int fd, uint16_t port, const void *bytes, size_t len)
{
    struct sockaddr_in address = loopback(port);
    ssize_t sent = -1;
    /* An error that an earlier datagram met is told here once. */
    for (int i = 0; i < 3 && sent < 0; i++) {
        sent = sendto(fd, bytes, len, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
    }
    assert_int_equal(sent, len);
}

int raw_take(int fd, uint8_t *bytes, uint16_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    ssize_t got = recvfrom(fd, bytes, RAW_BYTES_MAX, 0, (struct sockaddr *)&address, &len);
    if (got >= 0 && ret_port != NULL) {
        *ret_port = ntohs(address.sin_port);
    }
    return (int)got;
}

int raw_receive(struct world *world, int fd, uint8_t *bytes)
{
    int got = -1;
    WAIT_FOR(world, (got = raw_take(fd, bytes, NULL)) >= 0);
    return got;
}

size_t raw_drain(int fd)
{
    static uint8_t bytes[RAW_BYTES_MAX];
    size_t total = 0;
    int got = 0;
    while ((got = raw_take(fd, bytes, NULL)) >= 0) {
        total += (size_t)got;
    }
    return total;
}

/* ---- datagrams ---- */

static void put(uint8_t *at, uint64_t number, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        at[i] = (uint8_t)(number >> (8 * i));
    }
}

static uint64_t get(const uint8_t *at)
{
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) {
        number |= (uint64_t)at[i] << (8 * i);
    }
    return number;
}

void raw_seal(uint8_t *bytes, size_t len, enum raw_kind kind, uint64_t to, uint64_t from)
{
    assert_true(len >= RAW_HEADER_LEN);
    bytes[0] = (uint8_t)kind;
    put(bytes + 1, 0, 4);
    put(bytes + 5, to, 8);
    put(bytes + 13, from, 8);
    put(bytes + 1, crc32c(0, bytes, len), 4);
}

uint64_t raw_get_to(const uint8_t *bytes)
{
    return get(bytes + 5);
}

uint64_t raw_get_from(const uint8_t *bytes)
{
    return get(bytes + 13);
}

static void begin_open(uint8_t *bytes)
{
    memset(bytes, 0, RAW_OPEN_LEN);
    memcpy(bytes + RAW_HEADER_LEN, "KVTU", 4);
    put(bytes + RAW_HEADER_LEN + 4, 1, 4);
}

void raw_make_hello(uint8_t *bytes, uint64_t from)
{
    begin_open(bytes);
    raw_seal(bytes, RAW_OPEN_LEN, RAW_HELLO, 0, from);
}

void raw_make_open(uint8_t *bytes, uint64_t from, const uint8_t *cookie)
{
    begin_open(bytes);
    memcpy(bytes + RAW_HEADER_LEN + 8, cookie + RAW_HEADER_LEN + 4, 12);
    put(bytes + RAW_HEADER_LEN + 20, 1u << 20, 4); /* message_max */
    put(bytes + RAW_HEADER_LEN + 24, 1200, 4);     /* datagram_max */
    put(bytes + RAW_HEADER_LEN + 28, 1u << 20, 8); /* limit */
    raw_seal(bytes, RAW_OPEN_LEN, RAW_OPEN, 0, from);
}

/* ---- the relay ---- */

static void on_inner(uv_poll_t *poll, int status, int events)
{
    struct raw_relay *relay = poll->data;
    static uint8_t bytes[RAW_BYTES_MAX];
    int len = 0;
    (void)status;
    (void)events;
    while ((len = raw_take(relay->inner_fd, bytes, &relay->client_port)) >= 0) {
        if (len >= (int)RAW_HEADER_LEN && bytes[0] == RAW_OPEN) {
            relay->client_token = raw_get_from(bytes);
        }
        if (!relay->is_cut &&
            (relay->look == NULL || relay->look(relay, true, bytes, (size_t)len))) {
            raw_send_to(relay->outer_fd, relay->server_port, bytes, (size_t)len);
        }
    }
}

static void on_outer(uv_poll_t *poll, int status, int events)
{
    struct raw_relay *relay = poll->data;
    static uint8_t bytes[RAW_BYTES_MAX];
    int len = 0;
    (void)status;
    (void)events;
    while ((len = raw_take(relay->outer_fd, bytes, NULL)) >= 0) {
        if (len >= (int)RAW_HEADER_LEN && bytes[0] == RAW_ACCEPT) {
            relay->server_token = raw_get_from(bytes);
        }
        if (!relay->is_cut && relay->client_port != 0 &&
            (relay->look == NULL || relay->look(relay, false, bytes, (size_t)len))) {
            raw_send_to(relay->inner_fd, relay->client_port, bytes, (size_t)len);
        }
    }
}

void raw_relay_open(struct raw_relay *relay, struct world *world, uint16_t server_port)
{
    memset(relay, 0, sizeof *relay);
    relay->world = world;
    relay->server_port = server_port;
    relay->inner_fd = raw_open(&relay->port);
    relay->outer_fd = raw_open(&relay->outer_port);
    assert_int_equal(uv_poll_init(&world->loop, &relay->inner, relay->inner_fd), 0);
    assert_int_equal(uv_poll_init(&world->loop, &relay->outer, relay->outer_fd), 0);
    relay->inner.data = relay;
    relay->outer.data = relay;
    uv_poll_start(&relay->inner, UV_READABLE, on_inner);
    uv_poll_start(&relay->outer, UV_READABLE, on_outer);
}

static void on_closed(uv_handle_t *handle)
{
    handle->data = NULL;
}

void raw_relay_close(struct raw_relay *relay)
{
    uv_close((uv_handle_t *)&relay->inner, on_closed);
    uv_close((uv_handle_t *)&relay->outer, on_closed);
    WAIT_FOR(relay->world, relay->inner.data == NULL && relay->outer.data == NULL);
    close(relay->inner_fd);
    close(relay->outer_fd);
}

void raw_relay_to_server(struct raw_relay *relay, const void *bytes, size_t len)
{
    raw_send_to(relay->outer_fd, relay->server_port, bytes, len);
}

void raw_relay_to_client(struct raw_relay *relay, const void *bytes, size_t len)
{
    assert_int_not_equal(relay->client_port, 0);
    raw_send_to(relay->inner_fd, relay->client_port, bytes, len);
}

#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/crc32c.h"

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int raw_connect(struct world *world, uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    /* The kernel completes it without anybody's accept(). */
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    (void)world;
    return fd;
}

int raw_listen(uint16_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

int raw_accept(struct world *world, int listener)
{
    int fd = -1;
    WAIT_FOR(world, (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

void raw_send(struct world *world, int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    size_t left = len;
    world_begin_wait(world);
    while (left > 0) {
        ssize_t sent = send(fd, at, left, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            left -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return; /* dropped by the peer: the test sees it when it reads */
        }
        assert_true(world_turn(world));
    }
}

size_t raw_receive(struct world *world, int fd, void *bytes, size_t len)
{
    size_t at = 0;
    world_begin_wait(world);
    while (at < len) {
        ssize_t got = recv(fd, (uint8_t *)bytes + at, len - at, 0);
        if (got > 0) {
            at += (size_t)got;
        } else if (got == 0 || errno != EAGAIN) {
            return at;
        } else {
            assert_true(world_turn(world));
        }
    }
    return at;
}

size_t raw_wait_end(struct world *world, int fd)
{
    uint8_t bytes[4096];
    size_t total = 0;
    size_t got = 0;
    do {
        got = raw_receive(world, fd, bytes, sizeof bytes);
        total += got;
    } while (got == sizeof bytes);
    return total;
}

void raw_shake_hands(struct world *world, int fd)
{
    static const uint8_t preamble[12] = {'K', 'V', 'T', 'C', 1, 0, 0, 0, 0, 0, 0, 1};
    uint8_t theirs[12];
    raw_send(world, fd, preamble, sizeof preamble);
    assert_int_equal(raw_receive(world, fd, theirs, sizeof theirs), sizeof theirs);
    assert_memory_equal(theirs, preamble, 8); /* message_max is each side's own */
}

size_t raw_encode(uint8_t *at, const void *payload, uint32_t len)
{
    bytes_put_u32(at, len);
    bytes_put_u32(at + 4, crc32c(0, payload, len));
    if (len > 0) {
        memcpy(at + 8, payload, len);
    }
    return 8 + (size_t)len;
}

#include "wire.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

int wire_connect(const char *uri)
{
    const char *colon = strrchr(uri, ':');
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void wire_send(int fd, const void *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t took = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (took < 0) {
            assert_true(errno == EPIPE || errno == ECONNRESET);
            return;
        }
        done += (size_t)took;
    }
}

void wire_send_preamble(int fd, uint32_t version)
{
    uint8_t bytes[12];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    bytes_write(&writer, "KVTC", 4);
    bytes_write_u32(&writer, version);
    bytes_write_u32(&writer, WIRE_MESSAGE_MAX);
    wire_send(fd, bytes, sizeof(bytes));
}

void wire_send_frame(int fd, const void *payload, size_t len)
{
    uint8_t bytes[8];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    bytes_write_u32(&writer, (uint32_t)len);
    bytes_write_u32(&writer, crc32c(0, payload, len));
    wire_send(fd, bytes, sizeof(bytes));
    wire_send(fd, payload, len);
}

size_t wire_wait_end(int fd, void *ret_bytes, size_t size)
{
    size_t len = 0;
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (;;) {
        uint8_t bytes[4096];
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        uint64_t now_ms = proc_now_ms();
        if (now_ms > end_ms || poll(&wait, 1, (int)(end_ms - now_ms)) == 0) {
            fail_msg("the node does not end the connection within %u ms", PROC_DEADLINE_MS);
        }
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
        if (got <= 0) {
            return len; /* the end, or a reset, which is one as well */
        }
        size_t keep = len < size ? size - len : 0;
        keep = keep < (size_t)got ? keep : (size_t)got;
        if (keep > 0) {
            memcpy((uint8_t *)ret_bytes + len, bytes, keep);
        }
        len += (size_t)got;
    }
}

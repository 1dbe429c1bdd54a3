/* Bytes from strangers: whatever comes, that connection ends, it is counted where the protocol
 * counts, and everybody else is served as before. */
#include "state.h"
#include "wire.h"

#include "base/bytes.h"
#include "base/rand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WIRE_HEADER_BYTES 28u /* of every message */
#define WIRE_VERSION      2u
#define WIRE_INSERT       32u
#define WIRE_GET          34u

static struct rig_node *wire_start(struct rig *rig)
{
    struct rig_node *node = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL);
    rig_start(node);
    KVCTL_EXPECT(rig, 0, "put", "k", "before");
    return node;
}

/* It serves, and its content is what it was. */
static void wire_expect_served(struct rig *rig)
{
    assert_true(proc_is_running(&rig->nodes[0].proc));
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "k")->out, "before\n");
    assert_int_equal(state_number(rig, "n1", "keys"), 1);
}

/* Sends the bytes as they are; the node has to end the connection. */
static void wire_throw(struct rig *rig, const void *bytes, size_t len)
{
    int fd = wire_connect(rig->arbiter);
    wire_send(fd, bytes, len);
    wire_wait_end(fd, NULL, 0);
    close(fd);
    wire_expect_served(rig);
}

static void test_no_preamble(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = wire_start(rig);
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char redis[] = "*1\r\n$4\r\nPING\r\n";
    static const uint8_t tls[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03};
    static const uint8_t zeros[64] = {0};
    wire_throw(rig, http, sizeof(http) - 1);
    wire_throw(rig, redis, sizeof(redis) - 1);
    wire_throw(rig, tls, sizeof(tls));
    wire_throw(rig, zeros, sizeof(zeros));
    struct rand rand = {1};
    for (uint32_t i = 0; i < 10; i++) {
        uint8_t noise[4096];
        for (size_t k = 0; k < sizeof(noise); k++) {
            noise[k] = (uint8_t)rand_next(&rand);
        }
        wire_throw(rig, noise, sizeof(noise));
    }
    rig_stop(node);
    rig_pass(rig);
}

static void test_half_a_preamble_times_out(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = wire_start(rig);
    wire_throw(rig, "KVTC", 4);
    wire_throw(rig, "", 0);
    rig_stop(node);
    rig_pass(rig);
}

static void test_another_transport_version(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = wire_start(rig);
    int fd = wire_connect(rig->arbiter);
    wire_send_preamble(fd, 2);
    wire_wait_end(fd, NULL, 0);
    close(fd);
    rig_wait_log(node, "version");
    wire_expect_served(rig);
    rig_stop(node);
    rig_pass(rig);
}

static void test_frames_that_are_wrong(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = wire_start(rig);
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    static const uint8_t over[] = {0, 0, 0x40, 0, 0, 0, 0, 0}; /* 4 MiB, the limit is below */
    static const uint8_t checksum[] = {3, 0, 0, 0, 1, 2, 3, 4, 'a', 'b', 'c'};
    const struct {
        const uint8_t *bytes;
        size_t len;
    } frames[] = {{huge, sizeof(huge)}, {over, sizeof(over)}, {checksum, sizeof(checksum)}};
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        int fd = wire_connect(rig->arbiter);
        wire_send_preamble(fd, 1);
        wire_send(fd, frames[i].bytes, frames[i].len);
        wire_wait_end(fd, NULL, 0);
        close(fd);
        wire_expect_served(rig);
    }
    rig_stop(node);
    rig_pass(rig);
}

/* A frame that ends in the middle is dropped with its connection. */
static void test_a_frame_cut_off(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = wire_start(rig);
    static const uint8_t cut[] = {100, 0, 0, 0, 1, 2, 3, 4, 'K', 'V', WIRE_VERSION};
    for (size_t len = 1; len <= sizeof(cut); len++) {
        int fd = wire_connect(rig->arbiter);
        wire_send_preamble(fd, 1);
        wire_send(fd, cut, len);
        shutdown(fd, SHUT_WR);
        wire_wait_end(fd, NULL, 0);
        close(fd);
    }
    wire_expect_served(rig);
    assert_int_equal(state_counter(rig, "n1", "messages_malformed"), 0);
    rig_stop(node);
    rig_pass(rig);
}

/* --- messages in good frames --- */

/* An Insert of key "k", value "after", request 7, of client 99 (docs/protocol.md); at: 128 bytes.
 */
static size_t wire_insert(uint8_t *at)
{
    struct bytes_writer writer = bytes_writer_init(at, 128);
    bytes_write(&writer, "KV", 2);
    bytes_write_u8(&writer, WIRE_VERSION);
    bytes_write_u8(&writer, WIRE_INSERT);
    bytes_write_u64(&writer, 0);  /* cluster */
    bytes_write_u64(&writer, 0);  /* view */
    bytes_write_u64(&writer, 99); /* sender */
    bytes_write_u64(&writer, 7);  /* request */
    bytes_write_u32(&writer, 0);  /* deadline */
    bytes_write_u32(&writer, 1);
    bytes_write(&writer, "k", 1);
    bytes_write_u32(&writer, 5);
    bytes_write(&writer, "after", 5);
    assert_false(writer.failed);
    return writer.len;
}

static void wire_throw_message(struct rig *rig, const void *bytes, size_t len)
{
    int fd = wire_connect(rig->arbiter);
    wire_send_preamble(fd, 1);
    wire_send_frame(fd, bytes, len);
    wire_wait_end(fd, NULL, 0);
    close(fd);
}

/* First that the message is right: else the tests below would show nothing. */
static void test_a_message_that_is_right(void **state)
{
    struct rig *rig = *state;
    uint8_t message[128];
    uint8_t answer[256];
    struct rig_node *node = wire_start(rig);
    int fd = wire_connect(rig->arbiter);
    wire_send_preamble(fd, 1);
    wire_send_frame(fd, message, wire_insert(message));
    size_t len = 0;
    while (len < 12 + 8 + WIRE_HEADER_BYTES + 8) {
        ssize_t got = recv(fd, answer + len, sizeof(answer) - len, 0);
        assert_true(got > 0);
        len += (size_t)got;
    }
    close(fd);
    assert_memory_equal(answer, "KVTC", 4);
    assert_memory_equal(answer + 12 + 8, "KV\x02\x30", 4); /* OperationAck */
    assert_int_equal(answer[12 + 8 + WIRE_HEADER_BYTES], 7);
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "k")->out, "after\n");
    rig_stop(node);
    rig_pass(rig);
}

static void test_messages_that_are_malformed(void **state)
{
    struct rig *rig = *state;
    uint8_t message[128];
    struct rig_node *node = wire_start(rig);
    size_t len = wire_insert(message);
    uint64_t expected = 0;
    for (size_t cut = 0; cut < len; cut += cut < WIRE_HEADER_BYTES ? 9 : 5, expected++) {
        wire_throw_message(rig, message, cut);
    }
    message[len] = 0; /* a byte left over */
    wire_throw_message(rig, message, len + 1);
    expected++;
    message[3] = 200; /* a type that is none */
    wire_throw_message(rig, message, len);
    expected++;
    wire_insert(message);
    message[0] = 'X';
    wire_throw_message(rig, message, len);
    expected++;
    wire_insert(message);
    memset(message + len - 9, 0xff, 4); /* the value's length */
    wire_throw_message(rig, message, len);
    expected++;
    wire_expect_served(rig);
    assert_int_equal(state_counter(rig, "n1", "messages_malformed"), expected);
    rig_stop(node);
    rig_pass(rig);
}

/* Told which version is spoken here, then dropped; not guessed at. */
static void test_another_protocol_version(void **state)
{
    struct rig *rig = *state;
    uint8_t message[128];
    uint8_t answer[256];
    struct rig_node *node = wire_start(rig);
    size_t len = wire_insert(message);
    message[2] = WIRE_VERSION + 1;
    int fd = wire_connect(rig->arbiter);
    wire_send_preamble(fd, 1);
    wire_send_frame(fd, message, len);
    size_t got = wire_wait_end(fd, answer, sizeof(answer));
    close(fd);
    assert_true(got >= 12 + 8 + WIRE_HEADER_BYTES);
    assert_memory_equal(answer + 12 + 8, "KV\x02\xff", 4); /* Unsupported */
    wire_expect_served(rig);
    assert_int_equal(state_counter(rig, "n1", "messages_foreign_version"), 1);
    assert_int_equal(state_counter(rig, "n1", "messages_malformed"), 0);
    rig_stop(node);
    rig_pass(rig);
}

/* Well-formed messages of types that a stranger has no business to send, with made-up senders and
 * views, change nothing either. Bytes are turned at random within good frames. */
static void test_messages_with_turned_bytes(void **state)
{
    struct rig *rig = *state;
    struct rand rand = {5};
    struct rig_node *node = wire_start(rig);
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t message[128];
        size_t len = wire_insert(message);
        message[3] = (uint8_t)(i % 64); /* each type; an Insert of another key is well possible */
        if (message[3] == WIRE_INSERT || message[3] == WIRE_INSERT + 1) {
            message[3] = WIRE_GET;
        }
        for (uint64_t turns = rand_below(&rand, 4); turns > 0; turns--) {
            uint64_t at = 4 + rand_below(&rand, len - 4);
            message[at] = (uint8_t)rand_next(&rand);
        }
        int fd = wire_connect(rig->arbiter);
        wire_send_preamble(fd, 1);
        wire_send_frame(fd, message, len);
        shutdown(fd, SHUT_WR);
        wire_wait_end(fd, NULL, 0);
        close(fd);
    }
    wire_expect_served(rig);
    rig_stop(node);
    rig_pass(rig);
}

/* A cluster of two is as untouched: the view stays, the secondary stays. */
static void test_noise_does_not_move_the_view(void **state)
{
    struct rig *rig = *state;
    wire_start(rig);
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    state_wait_agree(rig, 2);
    json_t *before = state_read(rig);
    const char *uri =
        json_string_value(json_array_get(json_object_get(state_node(before, "n2"), "listen"), 0));
    struct rand rand = {9};
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t message[128];
        size_t len = wire_insert(message);
        message[3] = (uint8_t)(1 + i % 20); /* membership and replication */
        for (size_t at = 4; at < len; at++) {
            message[at] = (uint8_t)rand_below(&rand, 3);
        }
        int fd = wire_connect(i % 2 == 0 ? uri : rig->arbiter);
        wire_send_preamble(fd, 1);
        wire_send_frame(fd, message, len);
        shutdown(fd, SHUT_WR);
        wire_wait_end(fd, NULL, 0);
        close(fd);
    }
    state_wait_agree(rig, 2);
    json_t *after = state_read(rig);
    assert_true(json_equal(json_object_get(before, "view"), json_object_get(after, "view")));
    json_decref(before);
    json_decref(after);
    wire_expect_served(rig);
    rig_pass(rig);
}

#define WIRE(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE(test_no_preamble),
        WIRE(test_half_a_preamble_times_out),
        WIRE(test_another_transport_version),
        WIRE(test_frames_that_are_wrong),
        WIRE(test_a_frame_cut_off),
        WIRE(test_a_message_that_is_right),
        WIRE(test_messages_that_are_malformed),
        WIRE(test_another_protocol_version),
        WIRE(test_messages_with_turned_bytes),
        WIRE(test_noise_does_not_move_the_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

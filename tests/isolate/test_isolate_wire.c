/* The two ends of the socket pair, each against a stranger: random and mutated answers to the node,
 * and a child whose node goes away. */
#include "kit.h"

#include "base/alloc.h"
#include "host/isolate_process.h"
#include "host/isolate_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIRE_ROUNDS 150u

/* The variable that makes this program a stranger instead of a plugin's process; its value is the
 * seed. */
#define WIRE_STRANGER "KV_TEST_STRANGER"

static uint64_t wire_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* --- the stranger --- */

static void stranger_send(const struct buffer *out)
{
    size_t at = 0;
    while (at < out->len) {
        ssize_t sent = send(ISOLATE_CHILD_FD, out->bytes + at, out->len - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            _exit(0);
        }
        at += (size_t)sent;
    }
}

static void stranger_put(struct buffer *out, uint64_t *seed, uint32_t call)
{
    uint8_t body[200];
    uint32_t type = ISOLATE_STOP + (uint32_t)(wire_next(seed) % 7);
    size_t len = wire_next(seed) % 4 == 0 ? wire_next(seed) % sizeof(body) : 0;
    memset(body, 0, sizeof(body));
    if (type == ISOLATE_DONE && len == 0) {
        len = ISOLATE_DONE_BYTES;
    } else if (type == ISOLATE_LOG && len == 0) {
        len = 4 + wire_next(seed) % 20;
    } else if (type == ISOLATE_RESULT && len == 0) {
        len = 8 + wire_next(seed) % 20;
    } else if (type == ISOLATE_RECORD && len == 0) {
        len = ISOLATE_RECORD_BYTES + 6;
        bytes_put_u32(body + 4, KV_RECORD_INSERT);
        bytes_put_u32(body + 8, 2);
        bytes_put_u32(body + 12, 4);
    }
    for (uint64_t i = wire_next(seed) % 4; i > 0 && len > 0; i--) {
        body[wire_next(seed) % len] = (uint8_t)wire_next(seed);
    }
    isolate_append(out, type, call, body, len, NULL, 0);
    if (wire_next(seed) % 8 == 0) { /* somewhere in the frame, its header too */
        out->bytes[out->len - 1 - wire_next(seed) % (ISOLATE_HEADER_BYTES + len)] =
            (uint8_t)wire_next(seed);
    }
}

/* Lets create() and, mostly, open() succeed, then sends whatever comes to its mind. */
static int stranger_main(uint64_t seed)
{
    struct isolate_reader reader;
    struct buffer out;
    uint8_t done[ISOLATE_DONE_BYTES] = {0};
    buffer_init(&out);
    isolate_reader_init(&reader, ISOLATE_CHILD_FD);
    for (;;) {
        struct isolate_frame frame;
        enum isolate_taken taken = isolate_reader_take(&reader, UINT64_MAX, &frame);
        if (taken != ISOLATE_TAKEN) {
            if (taken == ISOLATE_MALFORMED || isolate_reader_fill(&reader, 0) <= 0) {
                return 0;
            }
            continue;
        }
        out.len = 0;
        if (frame.type == ISOLATE_CREATE ||
            (frame.type == ISOLATE_OPEN && wire_next(&seed) % 8 != 0)) {
            isolate_append(&out, ISOLATE_DONE, frame.call, done, sizeof(done), NULL, 0);
        } else {
            for (uint64_t i = wire_next(&seed) % 6; i > 0; i--) {
                stranger_put(&out, &seed, frame.call);
            }
            if (wire_next(&seed) % 3 != 0) {
                isolate_append(&out, ISOLATE_DONE, frame.call, done, sizeof(done), NULL, 0);
            } else if (wire_next(&seed) % 2 == 0) {
                stranger_send(&out);
                return 0;
            }
        }
        stranger_send(&out);
    }
}

/* --- the node's end --- */

static int32_t wire_on_record(void *ctx, const struct kv_record *record)
{
    uint64_t *sum = ctx;
    const uint8_t *key = record->key;
    const uint8_t *value = record->value;
    for (uint32_t i = 0; i < record->key_len; i++) {
        *sum += key[i];
    }
    for (uint32_t i = 0; i < record->value_len; i++) {
        *sum += value[i];
    }
    return *sum % 5 == 4 ? KV_E_BUSY : KV_OK;
}

static void test_strange_answers(void **state)
{
    (void)state;
    uint32_t outcomes[3] = {0, 0, 0}; /* fine, KV_E_IO, KV_E_CONTRACT */
    uint32_t descriptors = kit_descriptors();
    for (uint32_t round = 1; round <= WIRE_ROUNDS; round++) {
        struct kit kit;
        char seed[32];
        uint64_t sum = 0;
        snprintf(seed, sizeof(seed), "%u", round * 2654435761u);
        assert_int_equal(setenv(WIRE_STRANGER, seed, 1), 0);
        kit_init(&kit, KV_TEST_PLUGINS, "rogue", NULL);
        kit.isolate.call_timeout_ms = 250;
        int32_t status = kit_create(&kit, 1);
        assert_true(status == KV_OK || status == KV_E_IO); /* a busy machine: too late */
        status = status == KV_OK ? kit_open(&kit) : status;
        if (status == KV_OK) {
            status = guard_persist_load(kit.guard, wire_on_record, &sum);
            outcomes[status == KV_OK ? 0 : status == KV_E_IO ? 1 : 2]++;
            for (uint64_t i = 1; i < 10; i++) {
                status = kit_apply_one(&kit, i);
                outcomes[status == KV_OK ? 0 : status == KV_E_IO ? 1 : 2]++;
            }
        }
        kit_close(&kit);
    }
    unsetenv(WIRE_STRANGER);
    assert_false(kit_children());
    assert_int_equal(kit_descriptors(), descriptors);
    assert_true(outcomes[0] > 10 && outcomes[1] > 10 && outcomes[2] > 10);
}

/* --- the child's end --- */

static void wire_put_view(struct buffer *out, const void *bytes, size_t len)
{
    bytes_put_u32(buffer_room(out, 4), (uint32_t)len);
    if (len > 0) {
        memcpy(buffer_room(out, len), bytes, len);
    }
}

static void wire_put_text(struct buffer *out, const char *text)
{
    wire_put_view(out, text, strlen(text));
}

static void wire_call(const struct isolate_process *process, uint32_t type, uint32_t call,
                      const struct buffer *body)
{
    struct buffer out;
    buffer_init(&out);
    isolate_append(&out, type, call, body->bytes, body->len, NULL, 0);
    assert_int_equal(send(process->socket, out.bytes, out.len, MSG_NOSIGNAL), out.len);
    buffer_close(&out);
}

/* The status of the answer to a call. */
static int32_t wire_answer(struct isolate_reader *reader, uint32_t call)
{
    for (;;) {
        struct isolate_frame frame;
        enum isolate_taken taken = isolate_reader_take(reader, 100000, &frame);
        assert_int_not_equal(taken, ISOLATE_MALFORMED);
        if (taken == ISOLATE_PART) {
            assert_true(isolate_reader_fill(reader, 0) > 0);
        } else if (frame.type == ISOLATE_DONE) {
            assert_int_equal(frame.call, call);
            assert_int_equal(frame.len, ISOLATE_DONE_BYTES);
            return (int32_t)bytes_get_u32(frame.bytes);
        }
    }
}

static void wire_create(const struct kit *kit, const struct isolate_process *process,
                        uint32_t parent)
{
    struct buffer body;
    const struct kv_plugin *descriptor = &kit->plugin->descriptor;
    buffer_init(&body);
    bytes_put_u32(buffer_room(&body, 4), parent);
    bytes_put_u64(buffer_room(&body, 8), 0);
    bytes_put_u64(buffer_room(&body, 8), descriptor->capabilities);
    wire_put_text(&body, kit->plugin->path);
    wire_put_text(&body, descriptor->name);
    wire_put_text(&body, descriptor->version);
    bytes_put_u32(buffer_room(&body, 4), descriptor->options_len);
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        wire_put_text(&body, kit->settings[i].name);
        wire_put_text(&body, kit->settings[i].value);
    }
    wire_call(process, ISOLATE_CREATE, 1, &body);
    buffer_close(&body);
}

/* The node's end is closed without a word: the store is closed and the process ends by itself. */
static void test_closed_socket_closes_the_store(void **state)
{
    (void)state;
    struct kit kit;
    struct isolate_process process;
    struct isolate_reader reader;
    struct buffer empty;
    char text[ISOLATE_PROCESS_TEXT_MAX];
    char closed[128];
    bool was_killed = true;
    buffer_init(&empty);
    kit_init(&kit, KV_TEST_PLUGINS, "rogue", NULL);
    assert_int_equal(isolate_process_start(&process, text), KV_OK);
    isolate_reader_init(&reader, process.socket);
    wire_create(&kit, &process, (uint32_t)getpid());
    assert_int_equal(wire_answer(&reader, 1), KV_OK);
    wire_call(&process, ISOLATE_OPEN, 2, &empty);
    assert_int_equal(wire_answer(&reader, 2), KV_OK);
    snprintf(closed, sizeof(closed), "%s.closed", kit.path);
    assert_int_not_equal(access(closed, F_OK), 0);
    shutdown(process.socket, SHUT_RDWR);
    assert_int_equal(isolate_process_end(&process, 20000, text, &was_killed), 0);
    assert_false(was_killed);
    assert_int_equal(access(closed, F_OK), 0);
    isolate_reader_close(&reader);
    kit_close(&kit);
}

/* What is no call, or of another node, makes nothing but the process end. */
static void test_child_refuses_nonsense(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        struct kit kit;
        struct isolate_process process;
        struct buffer body;
        char text[ISOLATE_PROCESS_TEXT_MAX];
        bool was_killed = true;
        buffer_init(&body);
        kit_init(&kit, KV_TEST_PLUGINS, "rogue", NULL);
        assert_int_equal(isolate_process_start(&process, text), KV_OK);
        if (i == 0) {
            wire_create(&kit, &process, (uint32_t)getpid() + 1); /* its node has died meanwhile */
        } else if (i == 1) {
            assert_int_equal(send(process.socket, "nonsense of a length that is enough", 35, 0),
                             35);
        } else if (i == 2) {
            wire_call(&process, ISOLATE_OPEN, 1, &body); /* there is no instance */
        } else if (i == 3) {
            memset(buffer_room(&body, 24), 0xff, 24);
            wire_call(&process, ISOLATE_CREATE, 1, &body);
        } else {
            wire_create(&kit, &process, (uint32_t)getpid());
            memset(buffer_room(&body, 20), 0xff, 20); /* more records than bytes */
            wire_call(&process, ISOLATE_APPLY, 2, &body);
        }
        assert_int_equal(isolate_process_end(&process, 20000, text, &was_killed), 0);
        assert_false(was_killed);
        assert_string_equal(text, "exit status 1");
        buffer_close(&body);
        kit_close(&kit);
    }
}

int main(int argc, char **argv)
{
    int status;
    const char *seed = getenv(WIRE_STRANGER);
    if (seed != NULL && argc > 1 && strcmp(argv[1], ISOLATE_CHILD_ARGUMENT) == 0) {
        _exit(stranger_main(strtoull(seed, NULL, 10) | 1)); /* what it keeps does not matter */
    }
    if (kit_is_child(argc, argv, &status)) {
        return status;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strange_answers),
        cmocka_unit_test(test_closed_socket_closes_the_store),
        cmocka_unit_test(test_child_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

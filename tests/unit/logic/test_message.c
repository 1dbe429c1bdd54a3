/* The messages: byte form, strict in what it takes, names and texts. */
#include "base/alloc.h"
#include "harness.h"
#include "logic/node.h"
#include "logic/record.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <kvnode/status.h>
#include <string.h>
#include <time.h>

#define BODY MESSAGE_HEADER_BYTES

static struct sample sample_named(const char *name)
{
    for (size_t i = 0; i < samples_len(); i++) {
        struct sample sample = sample_make(i);
        if (strcmp(sample.folder, "message") == 0 && strcmp(sample.name, name) == 0) {
            return sample;
        }
        alloc_free(sample.bytes);
    }
    fail_msg("no sample %s", name);
    struct sample none = {NULL, NULL, NULL, 0};
    return none;
}

/* A sample with one byte of its body set must be accepted or not. */
static void assert_byte(const char *name, size_t at, uint8_t value, bool accepted)
{
    struct sample sample = sample_named(name);
    assert_true(BODY + at < sample.len);
    sample.bytes[BODY + at] = value;
    if (harness_message(sample.bytes, sample.len) != accepted) {
        fail_msg("%s, byte %zu of the body = %u", name, at, value);
    }
    alloc_free(sample.bytes);
}

static void test_header(void **state)
{
    (void)state;
    struct message message = {.type = MESSAGE_STATUS,
                              .cluster = 0x0102030405060708ull,
                              .view = 0x1112131415161718ull,
                              .sender = 0x2122232425262728ull};
    message.body.request.request = 0x3132333435363738ull;
    static const uint8_t expected[] = {'K',  'V',  2,    36,   8,    7,    6,    5,    4,
                                       3,    2,    1,    0x18, 0x17, 0x16, 0x15, 0x14, 0x13,
                                       0x12, 0x11, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22,
                                       0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31};
    uint8_t bytes[sizeof(expected)];
    assert_int_equal(message_size(&message), sizeof(expected));
    assert_int_equal(message_encode(&message, bytes, sizeof(bytes)), sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));
    struct message read;
    assert_int_equal(message_decode(bytes, sizeof(bytes), &read), KV_OK);
    assert_int_equal(read.version, MESSAGE_VERSION);
    assert_int_equal(read.type, MESSAGE_STATUS);
    assert_int_equal(read.cluster, message.cluster);
    assert_int_equal(read.view, message.view);
    assert_int_equal(read.sender, message.sender);
    assert_int_equal(read.body.request.request, message.body.request.request);
}

static void test_foreign_bytes(void **state)
{
    (void)state;
    struct message message;
    assert_int_equal(message_decode(NULL, 0, &message), KV_E_MALFORMED);
    struct sample sample = sample_named("status");
    sample.bytes[0] = 'k';
    assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_E_MALFORMED);
    sample.bytes[0] = 'K';
    sample.bytes[1] = 'W';
    assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_E_MALFORMED);
    alloc_free(sample.bytes);
}

static void test_foreign_version(void **state)
{
    (void)state;
    struct sample sample = sample_named("insert");
    struct message message;
    sample.bytes[2] = 9;
    sample.bytes[3] = 200; /* a type of that version */
    assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_E_VERSION);
    assert_int_equal(message.version, 9);
    assert_int_equal(message.type, 200);
    assert_int_equal(message.sender, 101);
    assert_int_equal(message.view, 7);
    assert_int_equal(message_decode(sample.bytes, BODY, &message), KV_E_VERSION);
    assert_int_equal(message_decode(sample.bytes, BODY - 1, &message), KV_E_MALFORMED);
    alloc_free(sample.bytes);
}

static void test_unsupported_in_every_version(void **state)
{
    (void)state;
    struct sample sample = sample_named("unsupported");
    assert_int_equal(sample.len, BODY + 1);
    for (uint32_t version = 0; version < 256; version++) {
        struct message message;
        sample.bytes[2] = (uint8_t)version;
        assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_OK);
        assert_int_equal(message.version, version);
        assert_int_equal(message.body.unsupported.version, 9);
        assert_int_equal(message_decode(sample.bytes, BODY, &message), KV_E_MALFORMED);
    }
    alloc_free(sample.bytes);
}

static void test_every_type(void **state)
{
    (void)state;
    bool sampled[256] = {false};
    for (size_t i = 0; i < samples_len(); i++) {
        struct sample sample = sample_make(i);
        if (strcmp(sample.folder, "message") == 0) {
            sampled[sample.bytes[3]] = true;
        }
        alloc_free(sample.bytes);
    }
    uint8_t bytes[BODY + 64] = {'K', 'V', MESSAGE_VERSION};
    for (uint32_t type = 0; type < 256; type++) {
        bool known = strcmp(message_type_name((uint8_t)type), "?") != 0;
        assert_int_equal(known, sampled[type]);
        bytes[3] = (uint8_t)type;
        for (size_t len = BODY; len <= sizeof(bytes); len++) {
            bool accepted = harness_message(bytes, len);
            assert_true(known || !accepted);
        }
    }
}

static void test_truncated_longer_or_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i < samples_len(); i++) {
        struct sample sample = sample_make(i);
        if (strcmp(sample.folder, "message") != 0) {
            alloc_free(sample.bytes);
            continue;
        }
        assert_true(harness_message(sample.bytes, sample.len));
        for (size_t len = 0; len < sample.len; len++) {
            assert_false(harness_message(sample.bytes, len));
        }
        for (size_t at = 0; at < sample.len; at++) {
            uint8_t right = sample.bytes[at];
            for (uint32_t wrong = 0; wrong < 256; wrong++) {
                sample.bytes[at] = (uint8_t)wrong;
                harness_message(sample.bytes, sample.len);
            }
            sample.bytes[at] = right;
        }
        uint8_t *longer = alloc_zeroed(1, sample.len + 1);
        memcpy(longer, sample.bytes, sample.len);
        assert_false(harness_message(longer, sample.len + 1));
        alloc_free(longer);
        alloc_free(sample.bytes);
    }
}

static void test_numbers_out_of_range(void **state)
{
    (void)state;
    assert_byte("join", 33 + 4 + 6, 0, false); /* uris_len */
    assert_byte("join", 33 + 4 + 6, URIS_MAX + 1, false);
    assert_byte("join", 33 + 4, ' ', false);              /* first letter of the name */
    assert_byte("join", 33 + 4 + 6 + 1 + 4, '\0', false); /* of a URI */
    assert_byte("join", 16, 0, false);                    /* enum ack_mode */
    assert_byte("join", 16, ACK_LOCAL, true);
    assert_byte("join", 16, ACK_LOCAL + 1, false);
    assert_byte("join-rejected", 8, 0, false);
    assert_byte("join-rejected", 8, REJECT_LAST, true);
    assert_byte("join-rejected", 8, REJECT_LAST + 1, false);
    assert_byte("join-rejected", 9, 0, true);
    assert_byte("join-rejected", 9, 2, false);
    assert_byte("leave", 20, '/', false);
    assert_byte("operation-failed", 8, 0, false);
    assert_byte("operation-failed", 8, FAIL_STOPPED, true);
    assert_byte("operation-failed", 8, FAIL_REFUSED + 1, false);
    assert_byte("operation-failed", 9, 1, false);          /* a text longer than the message */
    assert_byte("operation-failed-refused", 9, 11, false); /* ... or shorter */
    assert_byte("operation-rejected", 13, 22, false);
    assert_byte("heartbeat", 40, 0, true); /* asks */
    assert_byte("heartbeat", 40, 2, false);
    assert_byte("snapshot-ack-refusals", 32, 2, false); /* complete */
    assert_byte("snapshot-ack-refusals", 41, 1, false); /* how many refusals */
    assert_byte("snapshot-ack-refusals", 41, 3, false);
    assert_byte("snapshot-ack-refusals", 42, 2, false);     /* more than ACK_REFUSALS_MAX */
    assert_byte("snapshot-ack-refusals", 45 + 8, 7, false); /* length of the first text */
    assert_byte("operation-rejected", 8, 0, false);
    assert_byte("operation-rejected", 8, REJECT_LAST + 1, false);
    assert_byte("get-result", 8, 2, false);
    assert_byte("get-result", 8, 0, false); /* a value that was not found */
    assert_byte("get-result-none", 8, 1, true);
    assert_byte("scan-result", 8, 2, false);
    assert_byte("status-result", 8, 0, false);
    assert_byte("status-result", 8, ROLE_ARBITER, true);
    assert_byte("status-result", 8, ROLE_ARBITER + 1, false);
    assert_byte("status-result", 9, 0, false);
    assert_byte("status-result", 9, PERSIST_REFUSING + 1, false);
    assert_byte("snapshot-ack", 8, 20, false); /* received below durable */
    assert_byte("snapshot-ack", 8, 21, true);
}

static void test_snapshot_contents(void **state)
{
    (void)state;
    enum {
        SEQ = 8,
        KIND = 40,
        TAIL = KIND + 1,
        BASE = TAIL + 1 + 16,
        LAST = BASE + 8,
        COUNT = LAST + 8,
        RECORDS = COUNT + 4
    };
    assert_byte("snapshot-records", KIND, 0, false);
    assert_byte("snapshot-records", KIND, SNAPSHOT_PROBE + 1, false);
    assert_byte("snapshot-records", COUNT, 2, false);
    assert_byte("snapshot-records", COUNT, 4, false);
    assert_byte("snapshot-records", COUNT + 3, 0xff, false);
    assert_byte("snapshot-records", RECORDS, 2, false);         /* length of the first key */
    assert_byte("snapshot-records", TAIL, TAIL_FOLLOWS, false); /* that is for BEGIN alone */
    assert_byte("snapshot-records", BASE, 1, false);
    assert_byte("snapshot-records", LAST, 1, false);
    assert_byte("snapshot-records", KIND, SNAPSHOT_BEGIN, false); /* takes no records */
    assert_byte("snapshot-begin", TAIL, TAIL_COMPARE, true);
    assert_byte("snapshot-begin", TAIL, TAIL_COMPARE + 1, false);
    assert_byte("snapshot-begin", TAIL, TAIL_NONE, true);
    assert_byte("snapshot-begin", BASE, 1, false); /* only of one that fetches */
    assert_byte("snapshot-begin-fetch", BASE, 1, true);
    assert_byte("snapshot-begin-fetch", TAIL, TAIL_FOLLOWS, false);
    assert_byte("snapshot-commit", SEQ, 1, false);
    assert_byte("snapshot-probe", SEQ, 1, false);
    assert_byte("snapshot-begin", SEQ, 1, true);
    assert_byte("snapshot-begin", COUNT, 1, false);
    /* a removal has no place in the answer to a scan */
    struct sample sample = sample_named("scan-result");
    size_t value_len_at = BODY + 8 + 1 + 8 + 4 + 4;
    bytes_put_u32(sample.bytes + value_len_at, RECORD_VALUE_NONE);
    assert_false(harness_message(sample.bytes, sample.len - 5));
    alloc_free(sample.bytes);
}

/* What is told and asked when a session begins, and while content is fetched. */
static void test_catch_up_contents(void **state)
{
    (void)state;
    enum {
        COMMITTED = 8 + 8, /* index, after the session and the view */
        COMPLETE = 8 + 32,
        LOW = 24,
        HIGH = 32,
        PARTS = 40,
        FETCHED_LOW = 24,
        FETCHED_HIGH = 32,
        DIGESTS = 40
    };
    assert_byte("resume", COMPLETE, 0, true);
    assert_byte("resume", COMPLETE, 2, false);
    assert_byte("resume", COMMITTED + 1, 2, false); /* beyond the last one */
    assert_byte("fetch", LOW + 7, 0x20, false);     /* above high */
    assert_byte("fetch", LOW, 1, true);             /* content of any range */
    assert_byte("fetch-digests", LOW, 1, false);    /* parts of one that cannot be cut so */
    assert_byte("fetch-digests", HIGH, 0, false);
    assert_byte("fetch-digests", PARTS, 17, false); /* no power of two */
    assert_byte("fetch-digests", PARTS, 32, true);
    assert_byte("fetch-digests", PARTS, 0, true);
    assert_byte("fetch-digests", PARTS + 1, 8, false); /* more than FETCH_PARTS_MAX, and no power */
    assert_byte("fetched", FETCHED_LOW + 7, 0x20, false);
    assert_byte("fetched", DIGESTS, 1, false); /* a digest that is not there */
    assert_byte("fetched-digests", DIGESTS, 3, false);
    assert_byte("fetched-digests", DIGESTS + 1, 0xff, false);
    assert_byte("fetched-digests", DIGESTS + 4 + 32, 0, false); /* records, and none announced */
    assert_byte("get", 12, 0, true);                            /* at_primary */
    assert_byte("get", 12, 2, false);
    assert_byte("scan", 12, 2, false);
    assert_byte("promote", 8, 1, true); /* force */
    assert_byte("promote", 8, 2, false);
}

/* Texts come from plugins: they are cut, so that the other side never refuses a long one. */
static void test_long_texts_are_cut(void **state)
{
    (void)state;
    static uint8_t text[1000];
    memset(text, 't', sizeof(text));
    struct bytes_view longest = {text, sizeof(text)};
    struct message message = {.type = MESSAGE_STATUS_RESULT};
    message.body.status_result.role = ROLE_PRIMARY;
    message.body.status_result.persist_state = PERSIST_OK;
    message.body.status_result.name.at = text;
    message.body.status_result.name.len = NODE_NAME_MAX;
    message.body.status_result.persist_plugin = longest;
    message.body.status_result.persist_error = longest;
    message.body.status_result.counters_len = COUNTERS_MAX;
    for (uint32_t i = 0; i < COUNTERS_MAX; i++) {
        message.body.status_result.counters[i].name = longest;
    }
    size_t size = message_size(&message);
    uint8_t *bytes = alloc_bytes(size);
    assert_int_equal(message_encode(&message, bytes, size), size);
    struct message read;
    assert_int_equal(message_decode(bytes, size, &read), KV_OK);
    assert_int_equal(read.body.status_result.persist_plugin.len, NODE_NAME_MAX);
    assert_int_equal(read.body.status_result.persist_error.len, TEXT_MAX);
    assert_int_equal(read.body.status_result.counters[31].name.len, NODE_NAME_MAX);
    alloc_free(bytes);

    struct message rejected = {.type = MESSAGE_JOIN_REJECTED};
    rejected.body.join_rejected.reason = REJECT_NOT_READY;
    rejected.body.join_rejected.text = longest;
    uint8_t small[BODY + 512];
    size = message_encode(&rejected, small, sizeof(small));
    assert_int_equal(message_decode(small, size, &read), KV_OK);
    assert_int_equal(read.body.join_rejected.text.len, TEXT_MAX);
}

static void test_records_as_slices(void **state)
{
    (void)state;
    struct sample sample = sample_named("snapshot-records");
    struct message message;
    assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_OK);
    struct bytes_view records = message.body.snapshot.records;
    message.body.snapshot.records.at = NULL;
    uint8_t whole[512];
    size_t head_len = message_size(&message);
    assert_int_equal(head_len + records.len, sample.len);
    assert_int_equal(message_encode(&message, whole, head_len), head_len);
    memcpy(whole + head_len, records.at, records.len);
    assert_memory_equal(whole, sample.bytes, sample.len);
    alloc_free(sample.bytes);
}

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(message_type_name(MESSAGE_SNAPSHOT), "Snapshot");
    assert_string_equal(message_type_name(MESSAGE_OPERATION_ACK), "OperationAck");
    assert_string_equal(message_type_name(0), "?");
    assert_string_equal(message_reject_text(REJECT_NOT_PRIMARY), "not the primary");
    for (uint32_t reason = 1; reason <= REJECT_LAST; reason++) {
        assert_string_not_equal(message_reject_text((uint8_t)reason), "unknown reason");
    }
    assert_string_equal(message_reject_text(REJECT_LAST + 1), "unknown reason");
    assert_string_equal(message_reject_text(0), "unknown reason");
    assert_string_not_equal(message_fail_text(FAIL_STOPPED), message_fail_text(FAIL_TIMEOUT));
    assert_string_equal(message_fail_text(77), "unknown reason");
    assert_string_equal(message_role_name(ROLE_PRIMARY), "primary");
    assert_string_equal(message_role_name(ROLE_SECONDARY), "secondary");
    assert_string_equal(message_role_name(ROLE_CANDIDATE), "candidate");
    assert_string_equal(message_role_name(ROLE_JOINING), "joining");
    assert_string_equal(message_role_name(ROLE_ARBITER), "arbiter");
    assert_string_equal(message_role_name(0), "?");
    assert_string_equal(message_persist_state_name(PERSIST_LOADING), "loading");
    assert_string_equal(message_persist_state_name(PERSIST_OK), "ok");
    assert_string_equal(message_persist_state_name(PERSIST_RETRYING), "retrying");
    assert_string_equal(message_persist_state_name(9), "?");
}

/* Prints what decoding costs; asserts nothing about it. */
static void test_decode_cost(void **state)
{
    (void)state;
    enum { ROUNDS = 200000 };
    static const char *const names[] = {"insert", "snapshot-ack", "get", "snapshot-records"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct sample sample = sample_named(names[i]);
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        for (int round = 0; round < ROUNDS; round++) {
            struct message message;
            assert_int_equal(message_decode(sample.bytes, sample.len, &message), KV_OK);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        double ns =
            (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
        print_message("decode %s: %.0f ns\n", names[i], ns / ROUNDS);
        alloc_free(sample.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_foreign_bytes),
        cmocka_unit_test(test_foreign_version),
        cmocka_unit_test(test_unsupported_in_every_version),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_truncated_longer_or_corrupt),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_snapshot_contents),
        cmocka_unit_test(test_catch_up_contents),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_records_as_slices),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_decode_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

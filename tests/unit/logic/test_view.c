/* The view: look-ups and the byte form, strict in what it takes. */
#include "base/alloc.h"
#include "harness.h"
#include "logic/node.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <kvnode/status.h>
#include <string.h>

/* Too large for a stack. */
static struct view view;
static struct view read;
static uint8_t bytes[VIEW_BYTES_MAX];

static size_t encode(void)
{
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    view_encode(&view, &writer);
    assert_false(writer.failed);
    return writer.len;
}

/* Encodes the view as it is and tells what decoding says. */
static int32_t decode_encoded(void)
{
    size_t len = encode();
    return view_decode(bytes, len, &read);
}

static void test_find(void **state)
{
    (void)state;
    sample_view(&view, 5);
    assert_ptr_equal(view_find(&view, 103), &view.members[2]);
    assert_null(view_find(&view, 100));
    assert_null(view_find(&view, 0));
    assert_ptr_equal(view_find_name(&view, "n-5_x.y"), &view.members[4]);
    assert_null(view_find_name(&view, "n-5_x.yy"));
    assert_null(view_find_name(&view, ""));
    assert_int_equal(view_in_sync_len(&view), 4);
}

static void test_names(void **state)
{
    (void)state;
    static const char longest[] =
        "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    assert_true(view_name_valid("n", 1));
    assert_true(view_name_valid(longest, NODE_NAME_MAX));
    assert_true(view_name_valid(".-_09azAZ", 9));
    assert_false(view_name_valid(longest, NODE_NAME_MAX + 1));
    assert_false(view_name_valid("", 0));
    assert_false(view_name_valid(NULL, 0));
    for (int c = 0; c < 256; c++) {
        char name[2] = {'n', (char)c};
        bool valid = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_.",
                                      c) != NULL;
        assert_int_equal(view_name_valid(name, 2), valid);
    }
}

static void test_every_size_comes_back(void **state)
{
    (void)state;
    for (uint32_t len = 1; len <= MEMBERS_MAX; len++) {
        sample_view(&view, len);
        assert_int_equal(decode_encoded(), KV_OK);
        assert_memory_equal(&view, &read, sizeof(view));
    }
    memset(&view, 0, sizeof(view));
    assert_int_equal(decode_encoded(), KV_OK);
    assert_int_equal(read.number, 0);
}

static void test_the_largest_view_fits(void **state)
{
    (void)state;
    sample_view(&view, MEMBERS_MAX);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        struct member *member = &view.members[i];
        memset(member->name, 'n', NODE_NAME_MAX);
        member->name[0] = (char)('A' + i % 26);
        member->name[1] = (char)('A' + i / 26);
        member->uris_len = URIS_MAX;
        for (uint32_t j = 0; j < URIS_MAX; j++) {
            memset(member->uris[j], 'u', URI_MAX);
        }
    }
    view.arbiter_uris_len = URIS_MAX;
    for (uint32_t j = 0; j < URIS_MAX; j++) {
        memset(view.arbiter_uris[j], 'a', URI_MAX);
    }
    assert_int_equal(decode_encoded(), KV_OK);
    assert_memory_equal(&view, &read, sizeof(view));
}

static void test_what_no_arbiter_writes(void **state)
{
    (void)state;
    sample_view(&view, 3);
    assert_int_equal(decode_encoded(), KV_OK);
    view.members[1].node = 0;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.members[1].node = 101; /* twice */
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    memcpy(view.members[2].name, view.members[0].name, sizeof(view.members[0].name));
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.members[1].name[0] = ' ';
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.members[1].name[0] = '\0';
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.members[1].uris[1][0] = '\0';
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.members[1].joined = view.number + 1;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.cluster = 0;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.number = 0;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.forced = view.number;
    assert_int_equal(decode_encoded(), KV_OK);
    view.forced = view.number + 1;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.ack = ACK_LOCAL;
    assert_int_equal(decode_encoded(), KV_OK);
    view.ack = ACK_LOCAL + 1;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.ack = 0; /* there is a primary */
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    sample_view(&view, 3);
    view.arbiter_uris[1][0] = '\0';
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.arbiter_uris_len = 0;
    memset(view.arbiter_uris, 0, sizeof(view.arbiter_uris));
    assert_int_equal(decode_encoded(), KV_OK);
    assert_memory_equal(&view, &read, sizeof(view));
}

static void test_primary_must_be_in_sync(void **state)
{
    (void)state;
    sample_view(&view, 3);
    view.primary = 0;
    assert_int_equal(decode_encoded(), KV_E_MALFORMED); /* whose ack is that? */
    view.ack = 0;
    assert_int_equal(decode_encoded(), KV_OK);
    view.ack = ACK_LOCAL;
    view.primary = 103; /* a candidate */
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.primary = 999; /* nobody */
    assert_int_equal(decode_encoded(), KV_E_MALFORMED);
    view.primary = 102;
    assert_int_equal(decode_encoded(), KV_OK);
}

static void test_numbers_out_of_range(void **state)
{
    (void)state;
    enum {
        ARBITER_URIS_LEN_AT = 33,
        MEMBERS_LEN_AT = 34,
        STATE_AT = 38 + 32,
        URIS_LEN_AT = STATE_AT + 1,
        NAME_AT
    };
    sample_view(&view, 2);
    view.arbiter_uris_len = 0;
    size_t len = encode();
    static const uint8_t bad_states[] = {0, 3, 255};
    for (size_t i = 0; i < sizeof(bad_states); i++) {
        bytes[STATE_AT] = bad_states[i];
        assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
    }
    encode();
    bytes[ARBITER_URIS_LEN_AT] = URIS_MAX + 1;
    assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
    encode();
    bytes[URIS_LEN_AT] = 0;
    assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
    bytes[URIS_LEN_AT] = URIS_MAX + 1;
    assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
    encode();
    static const uint32_t bad_lens[] = {1, 3, MEMBERS_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(bad_lens) / sizeof(bad_lens[0]); i++) {
        bytes_put_u32(bytes + MEMBERS_LEN_AT, bad_lens[i]);
        assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
    }
    encode();
    bytes_put_u32(bytes + NAME_AT, UINT32_MAX);
    assert_int_equal(view_decode(bytes, len, &read), KV_E_MALFORMED);
}

static void test_truncated_longer_or_corrupt(void **state)
{
    (void)state;
    sample_view(&view, 3);
    size_t len = encode();
    static uint8_t copy[VIEW_BYTES_MAX];
    memcpy(copy, bytes, len);
    for (size_t cut = 0; cut < len; cut++) {
        assert_false(harness_view(copy, cut));
    }
    assert_false(harness_view(copy, len + 1));
    uint32_t accepted = 0;
    for (size_t at = 0; at < len; at++) {
        uint8_t right = copy[at];
        for (uint32_t wrong = 0; wrong < 256; wrong++) {
            copy[at] = (uint8_t)wrong;
            accepted += harness_view(copy, len) ? 1u : 0u;
        }
        copy[at] = right;
    }
    assert_true(accepted > 256 && accepted < 256 * len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_size_comes_back),
        cmocka_unit_test(test_the_largest_view_fits),
        cmocka_unit_test(test_what_no_arbiter_writes),
        cmocka_unit_test(test_primary_must_be_in_sync),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_truncated_longer_or_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

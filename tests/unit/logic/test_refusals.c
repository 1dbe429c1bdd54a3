/* What a secondary tells of its store's refusals, and until when. */
#include "base/alloc.h"
#include "logic/message.h"
#include "logic/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct kv_record record_of(uint64_t index, const char *key)
{
    struct kv_record record = {.key = key,
                               .key_len = (uint32_t)strlen(key),
                               .kind = KV_RECORD_REMOVE,
                               .position = {3, index}};
    return record;
}

static void add(struct refusals *refusals, uint64_t index, const char *key, uint64_t durable)
{
    struct kv_record record = record_of(index, key);
    char reason[32];
    snprintf(reason, sizeof(reason), "no %s", key);
    refusals_add(refusals, &record, reason, durable, false);
}

/* What an acknowledgement would tell: first number, how many, cap; and the indexes. */
static void expect_told(const struct refusals *refusals, uint64_t first, uint32_t len,
                        uint64_t durable)
{
    struct buffer bytes;
    uint64_t told_first;
    uint32_t told_len;
    uint64_t told_durable;
    struct message_refusal refusal;
    buffer_init(&bytes);
    refusals_encode(refusals, &bytes, &told_first, &told_len, &told_durable);
    assert_int_equal(told_first, first);
    assert_int_equal(told_len, len);
    assert_int_equal(told_durable, durable);
    struct bytes_reader reader = bytes_reader_init(bytes.bytes, bytes.len);
    for (uint32_t i = 0; i < len; i++) {
        assert_true(message_read_refusal(&reader, &refusal));
        assert_int_equal(refusal.index,
                         refusals->items[first - refusals->first + i].position.index);
        assert_memory_equal(refusal.text.at, "no ", 3);
    }
    assert_int_equal(reader.left, 0);
    buffer_close(&bytes);
}

static void test_told_until_dealt_with(void **state)
{
    struct refusals refusals;
    (void)state;
    refusals_init(&refusals);
    expect_told(&refusals, 0, 0, UINT64_MAX);
    add(&refusals, 10, "a", 4);
    add(&refusals, 12, "b", 4);
    expect_told(&refusals, 0, 2, UINT64_MAX);
    assert_true(refusals_on_dealt(&refusals, 1));
    assert_false(refusals_on_dealt(&refusals, 1)); /* no news */
    assert_false(refusals_on_dealt(&refusals, 0)); /* an old message */
    assert_false(refusals_on_dealt(&refusals, 3)); /* more than there are */
    expect_told(&refusals, 1, 1, UINT64_MAX);
    add(&refusals, 14, "c", 5);
    expect_told(&refusals, 1, 2, UINT64_MAX);
    assert_true(refusals_has(&refusals, (struct kv_position){3, 10}));
    assert_false(refusals_has(&refusals, (struct kv_position){3, 11}));
    refusals_close(&refusals);
    assert_int_equal(alloc_live(), 0);
}

static void test_forgotten_when_dealt_with_and_made_up_for(void **state)
{
    struct refusals refusals;
    struct kv_record later = record_of(20, "a");
    struct kv_record other = record_of(21, "z");
    (void)state;
    refusals_init(&refusals);
    add(&refusals, 10, "a", 4);
    add(&refusals, 12, "b", 4);
    refusals_on_record(&refusals, &other);
    assert_true(refusals_on_dealt(&refusals, 2));
    refusals_trim(&refusals, 100);
    assert_int_equal(refusals.len, 2); /* nothing has made up for them */
    refusals_on_record(&refusals, &later);
    refusals_trim(&refusals, 10); /* the log still holds index 10 */
    assert_int_equal(refusals.len, 2);
    refusals_trim(&refusals, 11);
    assert_int_equal(refusals.len, 1);
    assert_int_equal(refusals.first, 1);
    expect_told(&refusals, 2, 0, UINT64_MAX);
    add(&refusals, 30, "c", 9);
    expect_told(&refusals, 2, 1, UINT64_MAX);
    refusals_close(&refusals);
}

/* More than one acknowledgement holds: what lies behind the first that is not told is not told to
 * be durable either. */
static void test_more_than_fit(void **state)
{
    struct refusals refusals;
    char key[16];
    (void)state;
    refusals_init(&refusals);
    for (uint64_t i = 0; i < ACK_REFUSALS_MAX + 10; i++) {
        snprintf(key, sizeof(key), "k%u", (unsigned)i);
        add(&refusals, 10 + i, key, i < ACK_REFUSALS_MAX ? 4 : 7);
    }
    expect_told(&refusals, 0, ACK_REFUSALS_MAX, 7);
    assert_true(refusals_on_dealt(&refusals, 3));
    expect_told(&refusals, 3, ACK_REFUSALS_MAX, 7);
    assert_true(refusals_on_dealt(&refusals, 100));
    expect_told(&refusals, 100, ACK_REFUSALS_MAX - 90, UINT64_MAX);
    refusals_close(&refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_until_dealt_with),
        cmocka_unit_test(test_forgotten_when_dealt_with_and_made_up_for),
        cmocka_unit_test(test_more_than_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

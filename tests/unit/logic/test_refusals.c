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

/* A log of view 3 with these keys, from index 10 on. */
static struct log *log_of(const char *const *keys, uint32_t len)
{
    struct log *log = log_create((struct kv_position){3, 9});
    for (uint32_t i = 0; i < len; i++) {
        struct kv_record record = record_of(10 + i, keys[i]);
        log_append(log, &record);
    }
    return log;
}

/* Another session, of another primary maybe: what it has to know is told from number 0 on, whatever
 * was dealt with before. */
static void test_told_again_in_another_session(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "a", "d"}; /* 10 to 14 */
    int64_t before = alloc_live();
    struct refusals refusals;
    struct log *log = log_of(keys, 5);
    (void)state;
    refusals_init(&refusals);
    for (uint32_t i = 0; i < 3; i++) {
        add(&refusals, 10 + i, keys[i], 4);
    }
    add(&refusals, 15, "e", 5); /* dropped with the end of the log */
    add(&refusals, 16, "a", 5); /* likewise: it makes up for nothing */
    assert_true(refusals_on_dealt(&refusals, 2));
    refusals_restart(&refusals, log, 11);
    /* 10 is committed and made up for; 11 is committed, and what memory shows the store lacks is
     * not the log's business any more. */
    expect_told(&refusals, 0, 1, UINT64_MAX);
    assert_int_equal(refusals.items[0].position.index, 12);
    assert_false(refusals.items[0].is_made_up);
    refusals_restart(&refusals, log, 11); /* and again */
    expect_told(&refusals, 0, 1, UINT64_MAX);
    assert_true(refusals_on_dealt(&refusals, 1));
    refusals_close(&refusals);
    log_unref(log);
    assert_int_equal(alloc_live(), before);
}

/* Made up for by a record that is not committed: a new primary may have dropped that. */
static void test_made_up_for_as_far_as_the_log_goes(void **state)
{
    static const char *const keys[] = {"a", "b", "a"}; /* 10 to 12 */
    struct refusals refusals;
    struct log *whole = log_of(keys, 3);
    struct log *cut = log_of(keys, 2);
    (void)state;
    refusals_init(&refusals);
    add(&refusals, 10, "a", 4);
    refusals_restart(&refusals, whole, 9);
    assert_int_equal(refusals.len, 1);
    assert_true(refusals.items[0].is_made_up);
    refusals_restart(&refusals, cut, 9);
    assert_int_equal(refusals.len, 1);
    assert_false(refusals.items[0].is_made_up);
    refusals_close(&refusals);
    log_unref(whole);
    log_unref(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_until_dealt_with),
        cmocka_unit_test(test_forgotten_when_dealt_with_and_made_up_for),
        cmocka_unit_test(test_more_than_fit),
        cmocka_unit_test(test_told_again_in_another_session),
        cmocka_unit_test(test_made_up_for_as_far_as_the_log_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

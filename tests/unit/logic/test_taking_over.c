/*
 * A node that becomes primary with what it has as a secondary: what is not committed of that
 * becomes so when all in sync have it, and nobody reads before; what was void stays void. And a
 * node that stops being primary: what waits there is answered, and what nobody else has is taken
 * back.
 */
#include "leading.h"

#include "logic/record.h"
#include "refusing.h"

#include <stdlib.h>
#include <string.h>

#define OTHER  33u /* the first other one in sync */
#define SECOND 34u

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct leading));
    return 0;
}

static int teardown(void **state)
{
    leading_end(*state);
    free(*state);
    return 0;
}

/* Indexes 11 and 12, of the primary before. */
static void take_over_two(struct leading *leading, uint32_t others)
{
    struct kv_record records[] = {fixture_record("a", "1", 2, 11), fixture_record("b", "2", 2, 12)};
    leading_take_over(leading, records, 2, others);
    assert_int_equal(leading_observe(leading).role, ROLE_PRIMARY);
    assert_int_equal(leading_observe(leading).last.index, 12);
    assert_int_equal(leading_observe(leading).committed_index, others == 0 ? 12 : 10);
}

static void resume_at(struct leading *leading, uint64_t node, uint64_t view, uint64_t index)
{
    leading_resume(leading, node, (struct kv_position){1, 10}, (struct kv_position){view, index},
                   true);
}

static void flush(struct leading *leading)
{
    fixture_happens(&leading->fixture, EVENT_FLUSH, 0);
}

static uint32_t reads(struct leading *leading)
{
    return fixture_sent_len(&leading->fixture, MESSAGE_GET_RESULT);
}

/* --- what was not committed --- */

static void alone_in_sync_it_commits_at_once(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 0);
    assert_int_equal(leading_observe(leading).committed_index, 12);
    refusing_expect(&leading->fixture, "b", "2");
    leading_get(leading, "a");
    assert_int_equal(reads(leading), 1);
}

static void it_commits_when_all_in_sync_have_it(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 2);
    resume_at(leading, OTHER, 2, 12);
    struct message begin = leading_sent(leading, OTHER, SNAPSHOT_BEGIN);
    assert_int_equal(begin.body.snapshot.tail, TAIL_FOLLOWS);
    assert_int_equal(begin.body.snapshot.as_of.index, 12);
    assert_int_equal(begin.body.snapshot.last, 12);
    assert_int_equal(begin.body.snapshot.committed, 10);
    leading_ack(leading, OTHER, 1, 1, 0);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    resume_at(leading, SECOND, 2, 11); /* one behind: it gets the rest */
    assert_int_equal(leading_sent(leading, SECOND, SNAPSHOT_BEGIN).body.snapshot.as_of.index, 11);
    leading_ack(leading, SECOND, 1, 1, 0);
    assert_int_equal(leading_observe(leading).committed_index, 11);
    flush(leading);
    struct message records = leading_sent(leading, SECOND, SNAPSHOT_RECORDS);
    assert_int_equal(records.body.snapshot.count, 1);
    leading_ack(leading, SECOND, 2, 2, 0);
    assert_int_equal(leading_observe(leading).committed_index, 12);
    refusing_expect(&leading->fixture, "b", "2");
    flush(leading); /* ... and they are told */
    assert_int_equal(leading_sent(leading, OTHER, SNAPSHOT_COMMIT).body.snapshot.committed, 12);
}

/* Before it has said how far it is, one in sync vouches for nothing but what was committed. */
static void one_that_is_silent_vouches_for_nothing(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 2);
    resume_at(leading, OTHER, 2, 12);
    leading_ack(leading, OTHER, 1, 1, 0);
    leading_insert(leading, "c", "3");
    leading_store(leading);
    flush(leading);
    leading_ack(leading, OTHER, 2, 2, 0);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    leading->view.members_len--; /* it is out: now the others are enough */
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).committed_index, 13);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK), 1);
}

static void updates_are_taken_at_once_and_come_behind(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 1);
    uint64_t request = leading_insert(leading, "a", "new");
    assert_int_equal(fixture_effects_len(&leading->fixture, EFFECT_SEND), 0);
    assert_int_equal(leading_observe(leading).last.index, 13);
    assert_int_equal(leading_observe(leading).last.view, 3);
    leading_store(leading); /* that it is a primary's, and the update */
    resume_at(leading, OTHER, 2, 12);
    leading_ack(leading, OTHER, 1, 1, 0);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK), 0);
    flush(leading);
    leading_ack(leading, OTHER, 2, 2, 0);
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_ACK, 0, NULL);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_OPERATION_ACK), 1);
    assert_int_equal(answer.body.operation_ack.request, request);
    assert_int_equal(answer.body.operation_ack.position.index, 13);
}

/* What the primary before may have acknowledged is not shown here yet: no read before it is. */
static void reads_wait_until_that_is_settled(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 1);
    leading_get(leading, "b");
    assert_int_equal(reads(leading), 0);
    resume_at(leading, OTHER, 2, 11);
    leading_ack(leading, OTHER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(leading_observe(leading).committed_index, 11);
    assert_int_equal(reads(leading), 0);
    flush(leading);
    leading_ack(leading, OTHER, 2, 2, leading->fixture.now_ms);
    assert_int_equal(reads(leading), 1);
    assert_true(fixture_equals(
        fixture_sent(&leading->fixture, MESSAGE_GET_RESULT, 0, NULL).body.get_result.value, "2"));
}

/* Nothing more than the primary has may stay in a store that counts. */
static void one_in_sync_that_is_beyond_has_to_go(void **state)
{
    struct leading *leading = *state;
    take_over_two(leading, 1);
    resume_at(leading, OTHER, 2, 13);
    assert_int_equal(leading_sent_len(leading, OTHER, SNAPSHOT_BEGIN), 0);
    struct message suspect = fixture_sent(&leading->fixture, MESSAGE_SUSPECT, 0, NULL);
    assert_int_equal(suspect.body.member.node, OTHER);
    leading->view.members_len = 1;
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).committed_index, 12);
}

/* A store that only the primary writes has got nothing of it from this node. */
static void a_shared_store_is_given_the_tail(void **state)
{
    struct leading *leading = *state;
    struct kv_record records[] = {fixture_record("a", "1", 2, 11),
                                  fixture_record("b", NULL, 2, 12)};
    char given[64];
    memset(leading, 0, sizeof(*leading));
    fixture_init(&leading->fixture, false, true);
    leading->fixture.config.persist_shared = true;
    fixture_become_complete(&leading->fixture);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t bytes[128];
        struct message message =
            fixture_snapshot(&leading->fixture, 2, SNAPSHOT_RECORDS, (uint64_t)i + 1);
        record_encode(&records[i], bytes);
        message.body.snapshot.committed = 10;
        message.body.snapshot.count = 1;
        message.body.snapshot.records.at = bytes;
        message.body.snapshot.records.len = record_size(&records[i]);
        fixture_deliver(&leading->fixture, FIXTURE_PRIMARY_LINK, &message);
        while (fixture_store_all(&leading->fixture) > 0) {
        }
    }
    fixture_view(&leading->view, 2, FIXTURE_NODE);
    fixture_add_member(&leading->view, FIXTURE_NODE, 3, MEMBER_IN_SYNC);
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).committed_index, 10); /* not in that store yet */
    uint64_t batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "a=1 b=-");
    assert_true(fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.is_primary);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    assert_int_equal(leading_observe(leading).committed_index, 12);
}

/* It is told whose write it is; what the members have is not enough before that store has taken
 * it: until then the primary before may write there. */
static void a_shared_store_comes_before_the_members(void **state)
{
    struct leading *leading = *state;
    struct kv_record records[] = {fixture_record("a", "1", 2, 11)};
    char given[64];
    leading_take_over_shared(leading, records, 1, 1);
    uint64_t batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "a=1");
    const struct effect *persist = fixture_effect(&leading->fixture, EFFECT_PERSIST, 0);
    assert_int_equal(persist->as.persist.view, 3);
    assert_int_equal(persist->as.persist.position.view, 2); /* the record is the one before's */
    resume_at(leading, OTHER, 2, 11);
    leading_ack(leading, OTHER, 1, 1, leading->fixture.now_ms);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    leading_get(leading, "a");
    assert_int_equal(reads(leading), 0);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    assert_int_equal(leading_observe(leading).committed_index, 11);
    assert_int_equal(reads(leading), 1);
}

/* Also with nothing to write: until that store knows this primary, the one before may commit. */
static void it_settles_when_a_shared_store_knows_it(void **state)
{
    struct leading *leading = *state;
    char given[64];
    leading_take_over_shared(leading, NULL, 0, 1);
    uint64_t batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "");
    resume_at(leading, OTHER, 1, 10);
    leading_ack(leading, OTHER, 1, 1, leading->fixture.now_ms);
    leading_get(leading, "a");
    assert_int_equal(reads(leading), 0);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    assert_int_equal(reads(leading), 1);
}

/* A batch of its time as a secondary was under way: what that says of the store is not counted. */
static void a_batch_from_before_says_nothing_of_a_shared_store(void **state)
{
    struct leading *leading = *state;
    uint8_t bytes[128];
    char given[64];
    struct kv_record record = fixture_record("a", "1", 2, 11);
    fixture_init(&leading->fixture, false, true);
    leading->fixture.config.persist_shared = true;
    fixture_become_complete(&leading->fixture);
    struct message message = fixture_snapshot(&leading->fixture, 2, SNAPSHOT_RECORDS, 1);
    record_encode(&record, bytes);
    message.body.snapshot.committed = 10;
    message.body.snapshot.count = 1;
    message.body.snapshot.records.at = bytes;
    message.body.snapshot.records.len = record_size(&record);
    fixture_deliver(&leading->fixture, FIXTURE_PRIMARY_LINK, &message);
    uint64_t before = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "a=1");
    assert_false(fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.is_primary);
    fixture_view(&leading->view, 2, FIXTURE_NODE);
    fixture_add_member(&leading->view, FIXTURE_NODE, 3, MEMBER_IN_SYNC);
    leading_tell(leading);
    refusing_persisted(&leading->fixture, before, NULL, 0, NULL);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    uint64_t batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "a=1"); /* once more, as the primary */
    assert_true(fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.is_primary);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    assert_int_equal(leading_observe(leading).committed_index, 11);
}

/* Too few in sync to take updates: what was taken over is committed all the same. */
static void too_few_in_sync_are_enough_for_what_was_taken_over(void **state)
{
    struct leading *leading = *state;
    struct kv_record records[] = {fixture_record("a", "1", 2, 11)};
    leading_take_over_needing(leading, records, 1, 0, 2);
    assert_int_equal(leading_observe(leading).committed_index, 11);
    leading_get(leading, "a");
    assert_int_equal(reads(leading), 1);
    leading_insert(leading, "b", "2");
    struct message answer = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_MIN_IN_SYNC);
    assert_int_equal(leading_observe(leading).last.index, 11);
}

/* Its updates wait for enough in sync, and what was taken over does not wait with them. */
static void updates_behind_it_wait_for_enough(void **state)
{
    struct leading *leading = *state;
    struct kv_record records[] = {fixture_record("a", "1", 2, 11)};
    leading_take_over_needing(leading, records, 1, 1, 2);
    leading_insert(leading, "b", "2");
    leading_store(leading);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    leading->view.members_len = 1;
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).last.index, 12);
    assert_int_equal(leading_observe(leading).committed_index, 11);
}

/* --- what was void --- */

/* An undo that was on its way: the commit index does not stop between, here neither. */
static void an_undo_taken_over_makes_void_what_it_undoes(void **state)
{
    struct leading *leading = *state;
    struct kv_record records[] = {fixture_record("a", "bad", 2, 11),
                                  fixture_record("b", "2", 2, 12),
                                  fixture_record("a", NULL, 2, 13)};
    records[2].client = 0;
    records[2].request = 11;
    leading_take_over(leading, records, 3, 1);
    resume_at(leading, OTHER, 2, 11);
    leading_ack(leading, OTHER, 1, 1, 0);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    flush(leading);
    assert_int_equal(leading_sent(leading, OTHER, SNAPSHOT_RECORDS).body.snapshot.committed, 10);
    leading_ack(leading, OTHER, 2, 2, 0);
    assert_int_equal(leading_observe(leading).committed_index, 13);
    refusing_expect(&leading->fixture, "a", NULL);
    refusing_expect(&leading->fixture, "b", "2");
    assert_int_equal(fixture_counter(&leading->fixture, "operations_undone"), 0); /* it is there */
}

/* What its own store had refused as a secondary's, and the primary before has not dealt with. */
static void what_its_store_has_refused_is_undone(void **state)
{
    static const uint32_t first[] = {0};
    struct leading *leading = *state;
    uint8_t bytes[128];
    struct kv_record bad = fixture_record("a", "bad", 2, 11);
    memset(leading, 0, sizeof(*leading));
    fixture_init(&leading->fixture, false, true);
    fixture_become_complete(&leading->fixture);
    struct message message = fixture_snapshot(&leading->fixture, 2, SNAPSHOT_RECORDS, 1);
    record_encode(&bad, bytes);
    message.body.snapshot.committed = 10;
    message.body.snapshot.count = 1;
    message.body.snapshot.records.at = bytes;
    message.body.snapshot.records.len = record_size(&bad);
    fixture_deliver(&leading->fixture, FIXTURE_PRIMARY_LINK, &message);
    refusing_persisted(&leading->fixture, refusing_flush(&leading->fixture, NULL, 0), first, 1,
                       "bad is forbidden");
    fixture_view(&leading->view, 2, FIXTURE_NODE);
    fixture_add_member(&leading->view, FIXTURE_NODE, 3, MEMBER_IN_SYNC);
    leading_tell(leading);
    assert_int_equal(leading_observe(leading).last.index, 12);
    assert_int_equal(leading_observe(leading).committed_index, 10);
    refusing_stores(&leading->fixture, "a=-");
    assert_int_equal(leading_observe(leading).committed_index, 12);
    refusing_expect(&leading->fixture, "a", NULL);
    assert_int_equal(fixture_counter(&leading->fixture, "operations_undone"), 1);
}

/* --- deposed --- */

/* In view 4 node 22 is primary, and this node its secondary in that state. */
static void depose(struct leading *leading, enum member_state state)
{
    leading->view.number = 3;
    leading->view.members_len = 0;
    leading->view.primary = FIXTURE_PRIMARY;
    fixture_add_member(&leading->view, FIXTURE_PRIMARY, 4, MEMBER_IN_SYNC);
    fixture_add_member(&leading->view, FIXTURE_NODE, 4, state);
    leading_tell(leading);
}

/* A primary, in sync with node 22, whose update "k" = "new" is in its own store alone; "k" = "old"
 * is committed. */
static uint64_t open_with_tail(struct leading *leading)
{
    leading_begin(leading);
    leading_bring_in(leading, FIXTURE_PRIMARY);
    leading_insert(leading, "k", "old");
    leading_store(leading);
    leading_ack(leading, FIXTURE_PRIMARY, 2, 2, leading->fixture.now_ms);
    uint64_t request = leading_insert(leading, "k", "new");
    leading_store(leading);
    assert_int_equal(leading_observe(leading).committed_index, 1);
    return request;
}

static void deposed_it_answers_what_waits(void **state)
{
    struct leading *leading = *state;
    uint64_t update = open_with_tail(leading);
    fixture_happens(&leading->fixture, EVENT_FLUSH, FIXTURE_REPLICA_MS / 2);
    uint64_t read = leading_get(leading, "k");
    depose(leading, MEMBER_CANDIDATE);
    struct message failed = fixture_sent(&leading->fixture, MESSAGE_OPERATION_FAILED, 0, NULL);
    assert_int_equal(failed.body.operation_failed.request, update);
    assert_int_equal(failed.body.operation_failed.reason, FAIL_STOPPED);
    struct message rejected = fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(rejected.body.operation_rejected.request, read);
    assert_int_equal(rejected.body.operation_rejected.reason, REJECT_NOT_PRIMARY);
    assert_int_equal(fixture_effects_len(&leading->fixture, EFFECT_CLOSE_LINK), 1); /* the member */
    assert_int_equal(leading_observe(leading).role, ROLE_CANDIDATE);
    leading_insert(leading, "k", "later");
    assert_int_equal(fixture_sent(&leading->fixture, MESSAGE_OPERATION_REJECTED, 0, NULL)
                         .body.operation_rejected.reason,
                     REJECT_NOT_PRIMARY);
}

/* It says what it has; what the new primary has not is dropped, and its store is told. */
static void deposed_it_gives_back_its_tail(void **state)
{
    struct leading *leading = *state;
    char given[64];
    open_with_tail(leading);
    depose(leading, MEMBER_CANDIDATE);
    struct message probe = fixture_snapshot(&leading->fixture, 4, SNAPSHOT_PROBE, 0);
    fixture_deliver(&leading->fixture, FIXTURE_PRIMARY_LINK, &probe);
    struct message resume = fixture_sent(&leading->fixture, MESSAGE_RESUME, 0, NULL);
    assert_int_equal(resume.body.resume.session, 4);
    assert_int_equal(resume.body.resume.committed.index, 1);
    assert_int_equal(resume.body.resume.last.view, 3);
    assert_int_equal(resume.body.resume.last.index, 2);
    assert_int_equal(resume.body.resume.complete, 1);
    fixture_begin(&leading->fixture, 4, TAIL_FOLLOWS, resume.body.resume.committed);
    assert_int_equal(leading_observe(leading).last.index, 1);
    /* First that its content is no state of the log any more: then what the key had. */
    uint64_t batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "");
    assert_int_equal(fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.position.view,
                     0);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    batch = refusing_flush(&leading->fixture, given, sizeof(given));
    assert_string_equal(given, "k=old");
    assert_int_equal(
        fixture_effect(&leading->fixture, EFFECT_PERSIST, 0)->as.persist.position.index, 1);
    assert_int_equal(fixture_sent_len(&leading->fixture, MESSAGE_SNAPSHOT_ACK), 0);
    refusing_persisted(&leading->fixture, batch, NULL, 0, NULL);
    flush(leading);
    struct message ack = fixture_sent(&leading->fixture, MESSAGE_SNAPSHOT_ACK, 0, NULL);
    assert_int_equal(ack.body.snapshot_ack.durable, 1);
    assert_int_equal(ack.body.snapshot_ack.complete, 1);
    refusing_expect(&leading->fixture, "k", "old");
    assert_int_equal(fixture_counter(&leading->fixture, "records_dropped"), 1);
}

/* Handed over with all committed: it stays in sync, and reads go on without a pause. */
static void handed_over_it_goes_on_serving(void **state)
{
    struct leading *leading = *state;
    open_with_tail(leading);
    leading_ack(leading, FIXTURE_PRIMARY, 3, 3, leading->fixture.now_ms);
    assert_int_equal(leading_observe(leading).committed_index, 2);
    depose(leading, MEMBER_IN_SYNC);
    assert_true(leading_observe(leading).serves_reads);
    fixture_begin(&leading->fixture, 4, TAIL_FOLLOWS, (struct kv_position){3, 2});
    while (fixture_store_all(&leading->fixture) > 0) {
    }
    assert_true(leading_observe(leading).serves_reads);
    assert_int_equal(fixture_counter(&leading->fixture, "records_dropped"), 0);
    refusing_expect(&leading->fixture, "k", "new");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alone_in_sync_it_commits_at_once),
        TEST(it_commits_when_all_in_sync_have_it),
        TEST(one_that_is_silent_vouches_for_nothing),
        TEST(updates_are_taken_at_once_and_come_behind),
        TEST(reads_wait_until_that_is_settled),
        TEST(one_in_sync_that_is_beyond_has_to_go),
        TEST(a_shared_store_is_given_the_tail),
        TEST(a_shared_store_comes_before_the_members),
        TEST(it_settles_when_a_shared_store_knows_it),
        TEST(a_batch_from_before_says_nothing_of_a_shared_store),
        TEST(too_few_in_sync_are_enough_for_what_was_taken_over),
        TEST(updates_behind_it_wait_for_enough),
        TEST(an_undo_taken_over_makes_void_what_it_undoes),
        TEST(what_its_store_has_refused_is_undone),
        TEST(deposed_it_answers_what_waits),
        TEST(deposed_it_gives_back_its_tail),
        TEST(handed_over_it_goes_on_serving),
    };
    return cmocka_run_group_tests_name("taking_over", tests, NULL, NULL);
}

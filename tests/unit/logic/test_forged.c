/*
 * What only a broken or forged primary, or source of content, sends: it is refused and counted, and
 * ends no node.
 */
#include "fixture.h"

#include "logic/record.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void open_candidate(struct fixture *fixture)
{
    fixture_init(fixture, false, true);
    fixture_become_secondary(fixture, MEMBER_CANDIDATE);
}

/* True when the steps come to their end in a process of their own. */
static bool survives(void (*steps)(struct fixture *fixture))
{
    struct fixture fixture;
    open_candidate(&fixture);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        steps(&fixture);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fixture_close(&fixture);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void snapshot(struct fixture *fixture, uint8_t kind, uint64_t seq, uint64_t as_of_index)
{
    struct message message = fixture_snapshot(fixture, 2, kind, seq);
    message.body.snapshot.committed = as_of_index;
    if (kind == SNAPSHOT_BEGIN) {
        message.body.snapshot.as_of = (struct kv_position){1, as_of_index};
        message.body.snapshot.last = as_of_index;
    }
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
    fixture_happens(fixture, EVENT_FLUSH, 0);
}

static void begin_tail(struct fixture *fixture, uint64_t view, uint64_t index)
{
    fixture_begin(fixture, 2, TAIL_FOLLOWS, (struct kv_position){view, index});
    fixture_happens(fixture, EVENT_FLUSH, 0);
}

static void snapshot_records(struct fixture *fixture, uint64_t seq, uint64_t index)
{
    uint8_t bytes[128];
    struct kv_record record = fixture_record("key", "value", 2, index);
    struct message message = fixture_snapshot(fixture, 2, SNAPSHOT_RECORDS, seq);
    record_encode(&record, bytes);
    message.body.snapshot.count = 1;
    message.body.snapshot.records.at = bytes;
    message.body.snapshot.records.len = record_size(&record);
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
    fixture_happens(fixture, EVENT_FLUSH, 0);
}

/* An answer to the questions with these numbers, whatever was asked. */
static void fetched(struct fixture *fixture, uint64_t as_of_index, uint32_t digests_len)
{
    static const uint8_t digests[16 * 8];
    for (uint64_t request = 0; request < 20; request++) {
        struct message message = fixture_message(MESSAGE_FETCHED, 2, 22);
        message.body.fetched.request = request;
        message.body.fetched.as_of = (struct kv_position){1, as_of_index};
        message.body.fetched.low = request << 60;
        message.body.fetched.high = message.body.fetched.low + (1ull << 60) - 1;
        message.body.fetched.digests_len = digests_len;
        message.body.fetched.digests.at = digests;
        message.body.fetched.digests.len = 8ull * digests_len;
        fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &message);
    }
    fixture_happens(fixture, EVENT_FLUSH, 0);
}

static void content_of_the_last_index(struct fixture *fixture)
{
    snapshot(fixture, SNAPSHOT_BEGIN, 0, 10);
    snapshot_records(fixture, 1, 11);
    fetched(fixture, UINT64_MAX, 0);
    fetched(fixture, INDEX_MAX, 16);
    fetched(fixture, INDEX_MAX, 0);
    snapshot_records(fixture, 2, 12);
}

static void begin_at_the_last_index(struct fixture *fixture)
{
    snapshot(fixture, SNAPSHOT_BEGIN, 0, UINT64_MAX);
    snapshot_records(fixture, 1, 0);
    snapshot_records(fixture, 1, 1);
    begin_tail(fixture, 1, UINT64_MAX);
    begin_tail(fixture, UINT64_MAX, INDEX_MAX);
    fetched(fixture, UINT64_MAX, 0);
    snapshot(fixture, SNAPSHOT_PROBE, 0, 0);
}

static void content_of_the_last_index_is_survived(void **state)
{
    (void)state;
    assert_true(survives(content_of_the_last_index));
}

static void a_session_at_the_last_index_is_survived(void **state)
{
    (void)state;
    assert_true(survives(begin_at_the_last_index));
}

static void snapshots_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct node_state observed;
    open_candidate(&fixture);
    snapshot_records(&fixture, 0, 1); /* before BEGIN: it tells how far it is instead */
    assert_int_equal(fixture_counter(&fixture, "snapshots_refused"), 0);
    begin_tail(&fixture, 1, 10);                 /* the content is not here */
    snapshot(&fixture, SNAPSHOT_BEGIN, 0, 10);   /* fine */
    snapshot(&fixture, SNAPSHOT_BEGIN, 1, 10);   /* twice */
    snapshot_records(&fixture, 1, 12);           /* a gap */
    snapshot_records(&fixture, 1, 10);           /* again */
    snapshot(&fixture, SNAPSHOT_RECORDS, 1, 10); /* none */
    assert_int_equal(fixture_counter(&fixture, "snapshots_refused"), 5);
    snapshot_records(&fixture, 2, 11); /* too early */
    assert_int_equal(fixture_counter(&fixture, "snapshots_early"), 1);
    snapshot(&fixture, SNAPSHOT_BEGIN, 0, 10); /* a late copy */
    assert_int_equal(fixture_counter(&fixture, "snapshots_repeated"), 1);
    snapshot_records(&fixture, 1, 11);
    node_observe(fixture.node, &observed);
    assert_int_equal(observed.last.index, 11);
    fixture_close(&fixture);
}

/* What answers no question, or not this one. */
static void answers_that_do_not_fit_are_counted(void **state)
{
    (void)state;
    struct fixture fixture;
    open_candidate(&fixture);
    fetched(&fixture, 10, 0); /* nothing was asked */
    assert_int_equal(fixture_counter(&fixture, "messages_unexpected"), 20);
    snapshot(&fixture, SNAPSHOT_BEGIN, 0, 10);
    fetched(&fixture, 10, 16); /* digests, where content was asked for */
    assert_int_equal(fixture_counter(&fixture, "messages_unexpected"), 40);
    fetched(&fixture, 9, 0); /* what came after that is not held any more */
    assert_int_equal(fixture_counter(&fixture, "messages_unexpected"), 60);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_of_the_last_index_is_survived),
        cmocka_unit_test(a_session_at_the_last_index_is_survived),
        cmocka_unit_test(snapshots_that_do_not_fit_are_refused),
        cmocka_unit_test(answers_that_do_not_fit_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

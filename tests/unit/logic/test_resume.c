/*
 * How a session begins: by the tail of the log where that leads from what the member has to what
 * the primary has, else by fetching; and what it may rely on then.
 */
#include "fixture.h"

#include "logic/resume.h"

/* The primary's log: (2, 10) trimmed, 11 to 14 of view 3, 15 to 20 of view 5; committed up to 18.
 */
static struct log *make_log(void)
{
    struct log *log = log_create((struct kv_position){2, 10});
    for (uint64_t index = 11; index <= 20; index++) {
        struct kv_record record = fixture_record("k", "v", index <= 14 ? 3 : 5, index);
        log_append(log, &record);
    }
    return log;
}

struct row {
    struct kv_position committed; /* the member's */
    struct kv_position last;
    bool complete;
    uint8_t tail;
    struct kv_position as_of;
    uint64_t base;
    bool drops;
};

static void check(const struct log *log, const struct row *row)
{
    struct kv_position committed = {5, 18};
    struct message resume = fixture_message(MESSAGE_RESUME, 6, 33);
    bool drops = !row->drops;
    resume.body.resume.committed = row->committed;
    resume.body.resume.last = row->last;
    resume.body.resume.complete = row->complete ? 1 : 0;
    struct replicator_start start = resume_choose(log, committed, &resume, &drops);
    assert_int_equal(start.tail, row->tail);
    assert_int_equal(start.as_of.view, row->as_of.view);
    assert_int_equal(start.as_of.index, row->as_of.index);
    assert_true(start.base == row->base);
    assert_int_equal(drops, row->drops);
}

static void check_all(const struct row *rows, size_t len)
{
    struct log *log = make_log();
    for (size_t i = 0; i < len; i++) {
        check(log, &rows[i]);
    }
    log_unref(log);
}

#define CHECK_ALL(rows) check_all(rows, sizeof(rows) / sizeof((rows)[0]))

static void the_tail_goes_on_from_there(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{5, 18}, {5, 20}, true, TAIL_FOLLOWS, {5, 20}, 0, false}, /* it lacks nothing */
        {{5, 15}, {5, 16}, true, TAIL_FOLLOWS, {5, 16}, 0, false},
        {{3, 12}, {3, 12}, true, TAIL_FOLLOWS, {3, 12}, 0, false},
        {{3, 11}, {3, 14}, true, TAIL_FOLLOWS, {3, 14}, 0, false},
        {{2, 10}, {2, 10}, true, TAIL_FOLLOWS, {2, 10}, 0, false}, /* the oldest that is possible */
    };
    CHECK_ALL(rows);
}

/* What it has beyond, and the primary has not. */
static void a_tail_that_is_not_here_is_dropped(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{3, 11}, {3, 17}, true, TAIL_FOLLOWS, {3, 14}, 0, true}, /* 15 to 17 of a lost primary */
        {{5, 18}, {5, 22}, true, TAIL_FOLLOWS, {5, 20}, 0, true},
        {{2, 10}, {2, 13}, true, TAIL_FOLLOWS, {2, 10}, 0, true},
        /* View 4 left nothing in this log: only what the member has committed is the same. */
        {{3, 13}, {4, 15}, true, TAIL_FOLLOWS, {3, 13}, 0, true},
        {{3, 14}, {4, 15}, true, TAIL_FOLLOWS, {3, 14}, 0, true},
    };
    CHECK_ALL(rows);
}

/* Too old, without a word in common, or with content that goes beyond what is the same. */
static void else_it_has_to_fetch(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{2, 9}, {2, 9}, true, TAIL_NONE, {5, 18}, 9, false}, /* before what the log holds */
        {{1, 4}, {1, 4}, true, TAIL_NONE, {5, 18}, UINT64_MAX, false}, /* of an unknown view */
        {{0, 0}, {0, 0}, true, TAIL_NONE, {5, 18}, UINT64_MAX, false}, /* empty */
        /* Its content shows 16 of view 3: it cannot go back, but up to 14 it is right. */
        {{3, 16}, {3, 17}, true, TAIL_NONE, {5, 18}, 14, false},
        {{4, 15}, {4, 16}, true, TAIL_NONE, {5, 18}, UINT64_MAX, false},
    };
    CHECK_ALL(rows);
}

/* A mixture is nothing to rely on, whatever the positions say. */
static void incomplete_content_is_fetched_all(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{5, 18}, {5, 20}, false, TAIL_NONE, {5, 18}, UINT64_MAX, false},
        {{3, 12}, {3, 12}, false, TAIL_NONE, {5, 18}, UINT64_MAX, false},
        {{0, 0}, {0, 0}, false, TAIL_NONE, {5, 18}, UINT64_MAX, false},
    };
    CHECK_ALL(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tail_goes_on_from_there),
        cmocka_unit_test(a_tail_that_is_not_here_is_dropped),
        cmocka_unit_test(else_it_has_to_fetch),
        cmocka_unit_test(incomplete_content_is_fetched_all),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}

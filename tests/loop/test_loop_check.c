/* The checker finds what it is there for: each of these histories is wrong in one way, and right
 * when the one line is changed. */
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS "000000" /* behind a number of milliseconds: nanoseconds */

struct sample {
    const char *text;
    const char *said; /* part of what is said about it; NULL: nothing is wrong */
};

#define INSERT_1_AT_10 "1 insert a 1 - 0 1000 10" MS " 20" MS " ok 10 1\n"
#define INSERT_2_AT_11 "1 insert a 2 - 0 1000 30" MS " 40" MS " ok 11 1\n"

static const struct sample samples[] = {
    {"", NULL},
    {INSERT_1_AT_10 INSERT_2_AT_11 "2 get a 2 - 0 1000 50" MS " 60" MS " ok 11 1\n", NULL},
    /* lost and stale */
    {INSERT_1_AT_10 INSERT_2_AT_11 "2 get a 1 - 0 1000 50" MS " 60" MS " ok 10 1\n",
     "after the acknowledged insert of 2"},
    {INSERT_1_AT_10 "2 get a 0 - 0 1000 50" MS " 60" MS " absent 10 1\n", "nobody removed it"},
    {INSERT_1_AT_10 "2 get a 0 - 0 1000 50" MS " 60" MS " absent 9 1\n", "nobody removed it"},
    {INSERT_1_AT_10 "3 remove a 0 - 0 1000 15" MS " 25" MS " unknown 0 1\n"
                    "2 get a 0 - 0 1000 50" MS " 60" MS " absent 10 1\n",
     NULL},
    {INSERT_1_AT_10 "3 remove a 0 - 0 1000 15" MS " 25" MS " rejected 0 1\n"
                    "2 get a 0 - 0 1000 50" MS " 60" MS " absent 10 1\n",
     "nobody removed it"},
    {INSERT_1_AT_10 "1 remove a 0 - 0 1000 30" MS " 40" MS " ok 11 1\n"
                    "2 get a 1 - 0 1000 50" MS " 60" MS " ok 10 1\n",
     "after the acknowledged remove"},
    /* the order of the log */
    {INSERT_1_AT_10 "2 insert b 2 - 0 1000 30" MS " 40" MS " ok 10 1\n", "got index 10"},
    {INSERT_1_AT_10 "2 insert b 2 - 0 1000 30" MS " 40" MS " ok 9 1\n", "got index 9"},
    {INSERT_1_AT_10 "2 insert b 2 - 0 1000 15" MS " 40" MS " ok 9 1\n", NULL},
    /* reads at a secondary */
    {INSERT_1_AT_10 INSERT_2_AT_11 "2 get a 1 n2 0 1000 50" MS " 60" MS " ok 10 1\n", NULL},
    {INSERT_1_AT_10 INSERT_2_AT_11 "1 get a 1 n2 11 1000 50" MS " 60" MS " ok 10 1\n",
     "after the acknowledged insert of 2"},
    {INSERT_1_AT_10 INSERT_2_AT_11 "2 get a 2 n2 0 1000 50" MS " 60" MS " ok 11 1\n"
                                   "3 get a 1 n2 0 1000 70" MS " 80" MS " ok 10 1\n",
     "a read went back"},
    {INSERT_1_AT_10 INSERT_2_AT_11 "2 get a 2 n2 0 1000 50" MS " 60" MS " ok 11 1\n"
                                   "3 get a 1 n3 0 1000 70" MS " 80" MS " ok 10 1\n",
     NULL},
    {INSERT_1_AT_10 "2 get b 0 n2 0 1000 50" MS " 60" MS " absent 10 1\n"
                    "3 get c 0 n2 0 1000 70" MS " 80" MS " absent 9 1\n",
     "a read went back"},
    /* values from nowhere */
    {"2 get a 7 n2 0 1000 50" MS " 60" MS " ok 10 1\n", "written by nobody"},
    {"1 insert a 7 - 0 1000 10" MS " 20" MS " rejected 0 1\n"
     "2 get a 7 n2 0 1000 50" MS " 60" MS " ok 10 1\n",
     "the rejected value 7"},
    {"2 get a 7 n2 0 1000 50" MS " 60" MS " ok 10 1\n"
     "1 insert a 7 - 0 1000 70" MS " 80" MS " ok 11 1\n",
     "before it was written"},
    /* answers */
    {"1 insert a 1 - 0 1000 10" MS " 18446744073709551615 unknown 0 0\n", "has 0 answers"},
    {"1 insert a 1 - 0 1000 10" MS " 20" MS " ok 1 2\n", "has 2 answers"},
    {"1 insert a 1 - 0 1000 10" MS " 1509" MS " ok 1 1\n", NULL},
    {"1 insert a 1 - 0 1000 10" MS " 1511" MS " ok 1 1\n", "answered after 1501 ms"},
};

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        struct history history = {0};
        char text[CHECK_TEXT_MAX] = "nothing";
        uint32_t line = 0;
        assert_true(history_parse(&history, sample->text, &line));
        bool is_right = check_history(&history, 500, text);
        history_close(&history);
        if (is_right != (sample->said == NULL) ||
            (!is_right && strstr(text, sample->said) == NULL)) {
            fail_msg("of\n%s the checker says: %s", sample->text, text);
        }
    }
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t line; /* the one that is malformed */
    } texts[] = {
        {"1 insert a 1 - 0 1000 1 2 ok 10\n", 1},
        {INSERT_1_AT_10 "1 insert a 1 - 0 1000 1 2 ok 10 1", 2},
        {INSERT_1_AT_10 INSERT_2_AT_11 "1 swap a 1 - 0 1000 1 2 ok 10 1\n", 3},
        {"1 insert a 1 - 0 1000 1 2 fine 10 1\n", 1},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct history history = {0};
        uint32_t line = 0;
        assert_false(history_parse(&history, texts[i].text, &line));
        assert_int_equal(line, texts[i].line);
        history_close(&history);
    }
}

/* What is written is read as it was. */
static void test_round_trip(void **state)
{
    (void)state;
    struct history history = {0};
    uint32_t line = 0;
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    struct history_op op = {.session = 3,
                            .kind = HISTORY_GET,
                            .key = "r1-k2",
                            .value = 5,
                            .node = "n2",
                            .min_index = 7,
                            .deadline_ms = 9,
                            .invoked_ns = 11,
                            .returned_ns = UINT64_MAX,
                            .outcome = HISTORY_ABSENT,
                            .index = 13,
                            .answers = 1};
    assert_non_null(file);
    history_write_op(file, &op);
    assert_int_equal(fclose(file), 0);
    assert_true(history_parse(&history, text, &line));
    assert_int_equal(history.len, 1);
    const struct history_op *read = &history.ops[0];
    assert_int_equal(read->session, op.session);
    assert_int_equal(read->kind, op.kind);
    assert_string_equal(read->key, op.key);
    assert_int_equal(read->value, op.value);
    assert_string_equal(read->node, op.node);
    assert_int_equal(read->min_index, op.min_index);
    assert_int_equal(read->deadline_ms, op.deadline_ms);
    assert_int_equal(read->invoked_ns, op.invoked_ns);
    assert_true(read->returned_ns == op.returned_ns);
    assert_int_equal(read->outcome, op.outcome);
    assert_int_equal(read->index, op.index);
    assert_int_equal(read->answers, op.answers);
    free(text);
    history_close(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

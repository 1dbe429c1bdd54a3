/* Handovers under load: the primary changes, and no client learns of it. Not one request is
 * refused, fails, or is answered late, and the history is in order. KV_HANDOVERS makes it longer.
 */
#include "check.h"
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HANDOVERS    10u
#define REPLICAS     3u
#define SLACK_MS     5000u
#define DEADLINE_MS  "10000"
#define ACKS_BETWEEN 100u

/* The test is for what clients are told, not for how fast a busy machine is. */
#define SETTINGS "replication = { operation_timeout_ms = 8000; replica_timeout_ms = 3000; };\n"

static void handover_start_load(struct rig *rig, const char *history, const char *sessions)
{
    const char *argv[] = {HANDOVER_LOAD, rig->arbiter, history, "1",  "h-", "12",
                          sessions,      DEADLINE_MS,  "n1",    "n2", "n3", NULL};
    proc_start(&rig->other, rig->folder, "load", NULL, argv);
}

/* To each replica in turn. */
static void handover_once(struct rig *rig, uint32_t turn)
{
    char before[64];
    char after[64];
    char name[8];
    state_primary(rig, before, sizeof(before));
    snprintf(name, sizeof(name), "n%u", 1 + turn % REPLICAS);
    if (strcmp(before, name) == 0) {
        snprintf(name, sizeof(name), "n%u", 1 + (turn + 1) % REPLICAS);
    }
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "handover", name);
    state_primary(rig, after, sizeof(after));
    assert_string_equal(after, name);
    load_wait_more(rig, ACKS_BETWEEN);
    state_wait_in_sync(rig, REPLICAS);
}

/* gone: a node that left, of which a client may learn that it is not there; NULL: none. */
static void handover_check_history(const char *path, const char *gone)
{
    struct history history = {0};
    char said[CHECK_TEXT_MAX];
    uint32_t line = 0;
    char *text = proc_read_file(path, NULL);
    assert_true(history_parse(&history, text, &line));
    assert_true(history.len > 0);
    for (uint32_t i = 0; i < history.len; i++) {
        const struct history_op *op = &history.ops[i];
        bool is_done = op->outcome == HISTORY_OK || op->outcome == HISTORY_ABSENT;
        if (!is_done && (gone == NULL || strcmp(op->node, gone) != 0)) {
            fprintf(stderr, "this request was not executed, or perhaps: ");
            history_write_op(stderr, op);
            fail_msg("a client was told that the primary changed");
        }
    }
    if (!check_history(&history, SLACK_MS, said)) {
        fail_msg("%s", said);
    }
    free(text);
    history_close(&history);
}

static void handover_start_nodes(struct rig *rig)
{
    rig_start(rig_add(rig, "a", RIG_ARBITER, SETTINGS));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, SETTINGS));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, SETTINGS));
    rig_start(rig_add(rig, "n3", RIG_REPLICA, SETTINGS));
    state_wait_in_sync(rig, REPLICAS);
}

static void test_handovers(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    const char *text = getenv("KV_HANDOVERS");
    uint32_t handovers = text == NULL ? HANDOVERS : (uint32_t)strtoul(text, NULL, 10);
    proc_join(rig->folder, "history", path);
    handover_start_nodes(rig);
    handover_start_load(rig, path, "10");
    load_wait_more(rig, ACKS_BETWEEN);
    for (uint32_t i = 0; i < handovers; i++) {
        handover_once(rig, i);
    }
    proc_signal(&rig->other, SIGTERM);
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
    state_wait_agree(rig, REPLICAS);
    handover_start_load(rig, path, "0");
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
    handover_check_history(path, NULL);
    rig_pass(rig);
}

/* What cannot be: it is said at once, and nothing changes. */
static void test_refused(void **state)
{
    struct rig *rig = *state;
    char primary[64];
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 4, "handover", "nobody");
    rig_freeze(&rig->nodes[1]);
    state_wait_gone(rig, "n2");
    KVCTL_EXPECT(rig, 4, "handover", "n2");
    rig_thaw(&rig->nodes[1]);
    state_wait_in_sync(rig, 2);
    state_primary(rig, primary, sizeof(primary));
    assert_string_equal(primary, "n1");
    KVCTL_EXPECT(rig, 0, "put", "key", "value");
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "handover", "n2");
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "key")->out, "value\n");
    rig_pass(rig);
}

/* A primary that is asked to stop hands over first: no client is told of it. */
static void test_a_primary_leaves(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    proc_join(rig->folder, "history", path);
    handover_start_nodes(rig);
    handover_start_load(rig, path, "10");
    load_wait_more(rig, ACKS_BETWEEN);
    rig_stop(&rig->nodes[1]);
    state_wait_in_sync(rig, REPLICAS - 1);
    load_wait_more(rig, ACKS_BETWEEN);
    rig_start(&rig->nodes[1]);
    state_wait_in_sync(rig, REPLICAS);
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "handover", "n1");
    load_wait_more(rig, ACKS_BETWEEN);
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "leave", "n1");
    rig_expect_end(&rig->nodes[1], 0, NULL);
    load_wait_more(rig, ACKS_BETWEEN);
    proc_signal(&rig->other, SIGTERM);
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
    state_wait_agree(rig, REPLICAS - 1);
    handover_check_history(path, "n1");
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handovers, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_primary_leaves, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_refused, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Faults of a store stay there (G10): a record refused for good fails that one update everywhere
 * with the store's reason; a store that hangs fails what waits and then rejects at once; a plugin
 * that crashes in a process of its own takes nobody with it. Readers and all other updates go on.
 */
#include "content.h"
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY   "plugin = \"" CLUSTER_TEST_PLUGINS "/persist-memory.so\"; "
#define REFUSING RIG_SETTINGS "persistence = { " MEMORY "refuse = \"bad\"; };\n"
#define HANGING                                         \
    "replication = { operation_timeout_ms = 1000; };\n" \
    "persistence = { " MEMORY "hang_every = 8; hang_ms = 4000; };\n"
#define CRASHING                                             \
    RIG_SETTINGS "persistence = { " MEMORY "file = \"%s\"; " \
                 "crash_every = 40; isolate = true; isolate_timeout_ms = 10000; };\n"
#define STUCK                                   \
    RIG_SETTINGS                                \
    "persistence = { " MEMORY "file = \"%s\"; " \
    "hang_every = 60; hang_ms = 60000; isolate = true; isolate_timeout_ms = 200; };\n"

static const char *faults_state(struct rig *rig, const char *node, char *ret_text, size_t size)
{
    json_t *state = state_read(rig);
    const json_t *persistence = json_object_get(state_node(state, node), "persistence");
    const char *text = json_string_value(json_object_get(persistence, "state"));
    snprintf(ret_text, size, "%s", text == NULL ? "?" : text);
    json_decref(state);
    return ret_text;
}

static void faults_wait_state(struct rig *rig, const char *node, const char *expected)
{
    char text[64];
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while (strcmp(faults_state(rig, node, text, sizeof(text)), expected) != 0) {
        if (proc_now_ms() > end_ms) {
            fail_msg("the store of %s is \"%s\", not \"%s\"", node, text, expected);
        }
        proc_pause();
    }
}

/* Three nodes, the store of one refuses: which one it is makes no difference. */
static void faults_check_refusal(struct rig *rig, uint32_t refuser)
{
    char name[8];
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "n%u", i + 1);
        rig_start(rig_add(rig, name, i == 0 ? RIG_ARBITER | RIG_REPLICA : RIG_REPLICA,
                          i == refuser ? REFUSING : NULL));
    }
    state_wait_in_sync(rig, 3);
    KVCTL_EXPECT(rig, 0, "put", "good-1", "1");
    const struct rig_run *run = KVCTL_EXPECT(rig, 3, "put", "bad-1", "x");
    assert_non_null(strstr(run->err, "refused by a store, and undone"));
    assert_non_null(strstr(run->err, "bad")); /* the store's own reason */
    KVCTL_EXPECT(rig, 0, "put", "good-2", "2");
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "n%u", i + 1);
        KVCTL_EXPECT(rig, 1, "get", "bad-1", "--node", name);
    }
    state_wait_agree(rig, 3);
    assert_int_equal(state_number(rig, "n2", "keys"), 2);
    assert_int_equal(state_counter(rig, "n1", "operations_refused"), 1);
    assert_int_equal(state_counter(rig, "n1", "operations_undone"), 1);
}

/* Nothing of the refused update is in any store: neither here nor after a restart of all. */
static void faults_restart_and_check(struct rig *rig)
{
    for (uint32_t i = 3; i-- > 0;) {
        rig_kill(&rig->nodes[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_launch(&rig->nodes[i]); /* all at once: the first one waits for the others */
    }
    state_wait_agree(rig, 3);
    KVCTL_EXPECT(rig, 1, "get", "bad-1");
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "good-2")->out, "2\n");
}

static void test_a_secondary_refuses(void **state)
{
    struct rig *rig = *state;
    faults_check_refusal(rig, 2);
    faults_restart_and_check(rig);
    rig_pass(rig);
}

static void test_the_primary_refuses(void **state)
{
    struct rig *rig = *state;
    faults_check_refusal(rig, 0);
    rig_pass(rig);
}

/* An import under refusals: each line is told, the others are in, all nodes are equal. */
static void test_an_import_with_refused_lines(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    char *text = calloc(1, 64 * 1024);
    size_t len = 0;
    assert_non_null(text);
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, REFUSING));
    state_wait_in_sync(rig, 2);
    for (uint32_t i = 0; i < 1000; i++) {
        len +=
            (size_t)snprintf(text + len, 64, "%s%u\tvalue-%u\n", i % 5 == 0 ? "bad" : "key", i, i);
    }
    proc_join(rig->folder, "mixed.tsv", path);
    proc_write_file(path, text, len);
    free(text);
    KVCTL_EXPECT(rig, 0, "import", path, "--skip-bad");
    state_wait_agree(rig, 2);
    assert_int_equal(state_number(rig, "n1", "keys"), 800);
    assert_int_equal(state_counter(rig, "n1", "operations_refused"), 200);
    rig_pass(rig);
}

/* A joiner whose store does not take what the cluster holds stays out, says why, harms nobody, and
 * comes in when the offending pair is gone. */
static void test_a_joiner_that_refuses_content(void **state)
{
    struct rig *rig = *state;
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    KVCTL_EXPECT(rig, 0, "put", "bad-1", "x");
    KVCTL_EXPECT(rig, 0, "put", "good-1", "1");
    struct rig_node *picky = rig_add(rig, "n2", RIG_REPLICA, REFUSING);
    rig_launch(picky);
    rig_wait_log(picky, "store-refuses-content");
    KVCTL_EXPECT(rig, 0, "put", "good-2", "2");
    assert_true(proc_is_running(&picky->proc));
    KVCTL_EXPECT(rig, 0, "remove", "bad-1");
    free(rig_wait_ready(picky));
    state_wait_agree(rig, 2);
    assert_int_equal(state_number(rig, "n2", "keys"), 2);
    rig_pass(rig);
}

static void test_a_store_that_hangs(void **state)
{
    struct rig *rig = *state;
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, HANGING));
    uint32_t put = 0;
    char key[32];
    int status = 0;
    for (; put < 20 && status == 0; put++) {
        snprintf(key, sizeof(key), "key-%u", put);
        status = KVCTL(rig, "--timeout", "2000", "put", key, "v")->exit_status;
    }
    assert_int_equal(status, 3); /* the first deadline */
    faults_wait_state(rig, "n1", "hanging");
    const struct rig_run *run = KVCTL_EXPECT(rig, 4, "--timeout", "300", "put", "later", "v");
    assert_non_null(strstr(run->err, "store"));
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "key-0")->out, "v\n");
    faults_wait_state(rig, "n1", "ok");
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "put", "later", "v");
    rig_pass(rig);
}

/* The load goes on while the plugin's process at the primary and at a secondary dies again and
 * again; nothing acknowledged is missing, and the nodes live. */
static void faults_check_isolated(struct rig *rig, const char *settings, const char *text)
{
    static const char *const nodes[] = {"n1", "n2", NULL};
    char of_n1[1024];
    char of_n2[1024];
    char path[PROC_PATH_MAX];
    proc_join(rig->folder, "n1.store", path);
    snprintf(of_n1, sizeof(of_n1), settings, path);
    proc_join(rig->folder, "n2.store", path);
    snprintf(of_n2, sizeof(of_n2), settings, path);
    struct rig_node *first = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, of_n1);
    struct rig_node *second = rig_add(rig, "n2", RIG_REPLICA, of_n2);
    rig_start(first);
    rig_start(second);
    load_start(rig, 11, 8, nodes);
    load_wait_more(rig, 200);
    rig_wait_log(first, text);
    rig_wait_log(second, text);
    load_wait_more(rig, 400);
    load_stop(rig);
    assert_true(proc_is_running(&first->proc));
    assert_true(proc_is_running(&second->proc));
    state_wait_agree(rig, 2);
    load_check(rig, "n1");
    load_check(rig, "n2");
    rig_stop(second);
    rig_kill(first);
    rig_start(first); /* what counts is what is in its store */
    load_check(rig, "n1");
    rig_pass(rig);
}

static void test_a_plugin_that_crashes_in_its_own_process(void **state)
{
    faults_check_isolated(*state, CRASHING, "process died");
}

static void test_a_plugin_that_hangs_in_its_own_process(void **state)
{
    faults_check_isolated(*state, STUCK, "did not answer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_secondary_refuses, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_the_primary_refuses, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_an_import_with_refused_lines, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_joiner_that_refuses_content, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_store_that_hangs, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_plugin_that_crashes_in_its_own_process, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_plugin_that_hangs_in_its_own_process, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

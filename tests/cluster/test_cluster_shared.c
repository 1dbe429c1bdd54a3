/* One store for several nodes: the primary dies, stands still, and the power goes. The store has
 * all that was acknowledged each time, and the primary before cannot write it any more. */
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLICAS 3u

static char shared_settings[1024];

/* An arbiter apart, and three replicas on one file, into which each batch takes delay_ms. */
static void shared_start(struct rig *rig, uint32_t delay_ms)
{
    snprintf(shared_settings, sizeof(shared_settings),
             RIG_SETTINGS "persistence = { plugin = \"" CLUSTER_TEST_PLUGINS
                          "/persist-memory.so\"; scope = \"shared\"; file = \"%.300s/shared\"; "
                          "delay_ms = %u; };\n",
             rig->folder, delay_ms);
    rig_start(rig_add(rig, "a", RIG_ARBITER, NULL));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, shared_settings));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, shared_settings));
    rig_start(rig_add(rig, "n3", RIG_REPLICA, shared_settings));
    state_wait_in_sync(rig, REPLICAS);
}

static struct rig_node *shared_primary(struct rig *rig)
{
    char name[64];
    state_primary(rig, name, sizeof(name));
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if (strcmp(rig->nodes[i].name, name) == 0) {
            return &rig->nodes[i];
        }
    }
    fail_msg("no node %s", name);
    return NULL;
}

/* Acknowledged pairs "PREFIX0" to "PREFIX9". */
static void shared_put(struct rig *rig, const char *prefix)
{
    for (uint32_t i = 0; i < 10; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s%u", prefix, i);
        KVCTL_EXPECT(rig, 0, "--timeout", "20000", "put", key, prefix);
    }
}

static void shared_expect(struct rig *rig, const char *prefix)
{
    for (uint32_t i = 0; i < 10; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s%u", prefix, i);
        const struct rig_run *run = KVCTL_EXPECT(rig, 0, "--timeout", "20000", "get", key);
        assert_int_equal(strncmp(run->out, prefix, strlen(prefix)), 0);
    }
}

static void shared_power_cut(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_signal(&rig->nodes[i].proc, SIGKILL);
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc); /* reaps it */
    }
}

/* Nobody has it in memory any more: what comes back is what the store holds. */
static void shared_restart(struct rig *rig)
{
    shared_power_cut(rig);
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        rig_launch(&rig->nodes[i]);
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        free(rig_wait_ready(&rig->nodes[i]));
    }
    state_wait_agree(rig, REPLICAS);
}

static void test_the_primary_dies(void **state)
{
    struct rig *rig = *state;
    shared_start(rig, 0);
    shared_put(rig, "first");
    struct rig_node *old = shared_primary(rig);
    rig_kill(old);
    shared_put(rig, "second");
    assert_ptr_not_equal(shared_primary(rig), old);
    rig_launch(old);
    free(rig_wait_ready(old));
    state_wait_agree(rig, REPLICAS);
    shared_restart(rig);
    shared_expect(rig, "first");
    shared_expect(rig, "second");
    assert_int_equal(state_number(rig, "n1", "keys"), 20);
    rig_pass(rig);
}

static void test_the_primary_stands_still(void **state)
{
    struct rig *rig = *state;
    shared_start(rig, 0);
    shared_put(rig, "first");
    struct rig_node *old = shared_primary(rig);
    rig_freeze(old);
    shared_put(rig, "second");
    rig_thaw(old);
    state_wait_agree(rig, REPLICAS);
    assert_ptr_not_equal(shared_primary(rig), old);
    shared_put(rig, "third");
    shared_restart(rig);
    shared_expect(rig, "first");
    shared_expect(rig, "second");
    shared_expect(rig, "third");
    assert_int_equal(state_number(rig, "n1", "keys"), 30);
    rig_pass(rig);
}

/* Waits until another one is the primary and has committed that. */
static void shared_wait_other(struct rig_node *old, uint64_t index)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (;;) {
        struct rig_node *primary = shared_primary(old->rig);
        if (primary != old && state_number(old->rig, primary->name, "committed_index") >= index) {
            return;
        }
        if (proc_now_ms() > end_ms) {
            fail_msg("%s was not replaced after %u ms", old->name, PROC_DEADLINE_MS);
        }
        proc_pause();
    }
}

/* It stands still while its store is at a batch, and wakes up when the new primary has written,
 * though nothing new: the batch is refused, and that keeps the node from nothing. */
static void test_a_late_batch_is_refused(void **state)
{
    struct rig *rig = *state;
    shared_start(rig, 400);
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "put", "before", "1");
    struct rig_node *old = shared_primary(rig);
    const char *other = strcmp(old->name, "n3") == 0 ? "n2" : "n3";
    uint64_t index = state_number(rig, old->name, "committed_index");
    const char *const put[] = {CLUSTER_KVCTL, "-a", rig->arbiter, "put", "late", "2", NULL};
    proc_start(&rig->other, rig->folder, "late-put", NULL, put);
    state_wait_index(rig, other, index + 1); /* there it needs no store */
    rig_freeze(old);
    shared_wait_other(old, index + 1);
    rig_thaw(old);
    rig_wait_log(old, "the primary of a later view has written this file");
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "put", "after", "3");
    state_wait_agree(rig, REPLICAS);
    assert_ptr_not_equal(shared_primary(rig), old);
    proc_wait(&rig->other, PROC_DEADLINE_MS); /* whatever it was told */
    shared_restart(rig);
    assert_int_equal(state_number(rig, "n1", "keys"), 3); /* the others had the late one, too */
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_primary_dies, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_the_primary_stands_still, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_late_batch_is_refused, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

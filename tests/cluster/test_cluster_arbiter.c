/* The arbiter as a process of its own, with replicas around it: it dies and returns, the primary
 * dies and returns. */
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const arbiter_replicas[] = {"n1", "n2", "n3", NULL};

enum { ARBITER_AT, N1_AT, N2_AT, N3_AT };

/* n1 is primary, n2 in sync; n3 is added, not started. */
static void arbiter_start(struct rig *rig)
{
    rig_start(rig_add(rig, "a", RIG_ARBITER, NULL));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    rig_add(rig, "n3", RIG_REPLICA, NULL);
    state_wait_in_sync(rig, 2);
}

static struct rig_node *arbiter_node(struct rig *rig, const char *name)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if (strcmp(rig->nodes[i].name, name) == 0) {
            return &rig->nodes[i];
        }
    }
    fail_msg("no node %s", name);
    return NULL;
}

static void arbiter_check(struct rig *rig, uint32_t replicas)
{
    state_wait_agree(rig, replicas);
    for (uint32_t i = 0; i < replicas; i++) {
        load_check(rig, arbiter_replicas[i]);
    }
}

static void test_an_arbiter_alone(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = rig_add(rig, "a", RIG_ARBITER, NULL);
    rig_launch(node);
    char *line = rig_wait_ready(node);
    char expected[256];
    snprintf(expected, sizeof(expected), "ready name=a role=arbiter listen=%s", rig->arbiter);
    assert_string_equal(line, expected);
    free(line);
    json_t *status = state_read(rig);
    assert_non_null(status);
    assert_true(json_is_null(json_object_get(status, "primary")));
    assert_int_equal(json_array_size(json_object_get(status, "nodes")), 0);
    json_decref(status);
    int exit_status = KVCTL(rig, "--timeout", "300", "put", "k", "v")->exit_status;
    assert_true(exit_status == 4 || exit_status == 5); /* certainly not executed */
    rig_stop(node);
    rig_pass(rig);
}

static void test_replicas_wait_for_the_arbiter(void **state)
{
    struct rig *rig = *state;
    struct rig_node *arbiter = rig_add(rig, "a", RIG_ARBITER, NULL);
    struct rig_node *replica = rig_add(rig, "n1", RIG_REPLICA, NULL);
    rig_launch(replica);
    rig_wait_log(replica, "loaded ");
    rig_start(arbiter);
    char *line = rig_wait_ready(replica);
    free(line);
    KVCTL_EXPECT(rig, 0, "put", "k", "v");
    rig_stop(replica);
    rig_stop(arbiter);
    rig_pass(rig);
}

static void test_the_arbiter_dies_and_returns(void **state)
{
    struct rig *rig = *state;
    static const char *const running[] = {"n1", "n2", NULL};
    arbiter_start(rig);
    load_start(rig, 11, 32, running); /* it knows the view before the arbiter goes */
    load_wait_more(rig, 300);
    rig_kill(&rig->nodes[ARBITER_AT]);
    load_wait_more(rig, 1000); /* reads and writes go on */
    KVCTL_EXPECT(rig, 5, "--timeout", "300", "status");
    rig_launch(&rig->nodes[N3_AT]); /* membership stands still */
    rig_wait_log(&rig->nodes[N3_AT], "loaded ");
    load_wait_more(rig, 300);
    rig_start(&rig->nodes[ARBITER_AT]);
    char *line = rig_wait_ready(&rig->nodes[N3_AT]);
    free(line);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 300);
    load_stop(rig);
    arbiter_check(rig, 3);
    rig_pass(rig);
}

/* A secondary that dies while the arbiter is away stops the writes, until the arbiter is back. */
static void test_arbiter_and_secondary_die(void **state)
{
    struct rig *rig = *state;
    arbiter_start(rig);
    load_start(rig, 12, 32, NULL);
    load_wait_more(rig, 300);
    rig_kill(&rig->nodes[ARBITER_AT]);
    rig_kill(&rig->nodes[N2_AT]);
    rig_start(&rig->nodes[ARBITER_AT]);
    state_wait_in_sync(rig, 1);
    load_wait_more(rig, 300);
    rig_start(&rig->nodes[N2_AT]);
    state_wait_in_sync(rig, 2);
    load_wait_more(rig, 300);
    load_stop(rig);
    arbiter_check(rig, 2);
    rig_pass(rig);
}

/* It is back before anybody has missed it; whoever is the primary then, each time it is the one
 * that dies. */
static void test_the_primary_dies_and_returns(void **state)
{
    struct rig *rig = *state;
    char primary[64];
    arbiter_start(rig);
    rig_start(&rig->nodes[N3_AT]);
    state_wait_in_sync(rig, 3);
    load_start(rig, 13, 64, arbiter_replicas);
    for (uint32_t round = 0; round < 3; round++) {
        load_wait_more(rig, 300);
        state_primary(rig, primary, sizeof(primary));
        struct rig_node *node = arbiter_node(rig, primary);
        struct rig_node *other =
            node == &rig->nodes[N1_AT] ? &rig->nodes[N2_AT] : &rig->nodes[N1_AT];
        rig_kill(node);
        /* Reads at secondaries go on. */
        KVCTL_EXPECT(rig, 1, "get", "no-such-key", "--node", other->name);
        rig_launch(node);
        free(rig_wait_ready(node));
        state_wait_in_sync(rig, 3);
    }
    load_wait_more(rig, 300);
    load_stop(rig);
    arbiter_check(rig, 3);
    rig_pass(rig);
}

/* The only one in sync: nobody can take its place, and it is the primary again each time. */
static void test_a_lonely_primary_dies_and_returns(void **state)
{
    struct rig *rig = *state;
    char primary[64];
    rig_start(rig_add(rig, "a", RIG_ARBITER, NULL));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, NULL));
    load_start(rig, 15, 64, NULL);
    for (uint32_t round = 0; round < 3; round++) {
        load_wait_more(rig, 300);
        rig_kill(&rig->nodes[N1_AT]);
        rig_start(&rig->nodes[N1_AT]);
        state_wait_in_sync(rig, 1);
        state_primary(rig, primary, sizeof(primary));
        assert_string_equal(primary, "n1");
    }
    load_wait_more(rig, 300);
    load_stop(rig);
    arbiter_check(rig, 1);
    rig_pass(rig);
}

static void test_the_primary_stops_cleanly_and_returns(void **state)
{
    struct rig *rig = *state;
    arbiter_start(rig);
    load_start(rig, 14, 32, NULL);
    load_wait_more(rig, 300);
    rig_stop(&rig->nodes[N1_AT]);
    rig_start(&rig->nodes[N1_AT]);
    state_wait_in_sync(rig, 2);
    load_wait_more(rig, 300);
    load_stop(rig);
    arbiter_check(rig, 2);
    rig_pass(rig);
}

#define ARBITER(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARBITER(test_an_arbiter_alone),
        ARBITER(test_replicas_wait_for_the_arbiter),
        ARBITER(test_the_arbiter_dies_and_returns),
        ARBITER(test_arbiter_and_secondary_die),
        ARBITER(test_the_primary_dies_and_returns),
        ARBITER(test_a_lonely_primary_dies_and_returns),
        ARBITER(test_the_primary_stops_cleanly_and_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

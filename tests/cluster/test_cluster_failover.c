/* The primary dies, freezes, loses its data; the power goes; the arbiter goes or moves. Each time
 * writes go on, or go on again, without anybody's help, and nothing acknowledged is missing. */
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLICAS 3u
#define ARBITER  0u
#define ACKS     200u

/* An arbiter apart, and three replicas. */
static void failover_start(struct rig *rig)
{
    rig_start(rig_add(rig, "a", RIG_ARBITER, NULL));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n3", RIG_REPLICA, NULL));
    state_wait_in_sync(rig, REPLICAS);
}

static struct rig_node *failover_node(struct rig *rig, const char *name)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if (strcmp(rig->nodes[i].name, name) == 0) {
            return &rig->nodes[i];
        }
    }
    fail_msg("no node %s", name);
    return NULL;
}

static struct rig_node *failover_primary(struct rig *rig)
{
    char name[64];
    state_primary(rig, name, sizeof(name));
    return failover_node(rig, name);
}

/* Waits until another one than old is the primary, and more was acknowledged since. */
static struct rig_node *failover_wait_other(struct rig_node *old)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while (failover_primary(old->rig) == old) {
        if (proc_now_ms() > end_ms) {
            fail_msg("%s is still the primary after %u ms", old->name, PROC_DEADLINE_MS);
        }
        proc_pause();
    }
    load_wait_more(old->rig, ACKS);
    return failover_primary(old->rig);
}

/* Starts it again, and waits until all replicas are in sync. */
static void failover_return(struct rig_node *node)
{
    rig_launch(node);
    free(rig_wait_ready(node));
    state_wait_in_sync(node->rig, REPLICAS);
}

/* The load ends; every node has what it must have. */
static void failover_check(struct rig *rig)
{
    load_stop(rig);
    state_wait_agree(rig, REPLICAS);
    load_check(rig, "n1");
    load_check(rig, "n2");
    load_check(rig, "n3");
}

/* --- the primary --- */

static void test_the_primary_dies(void **state)
{
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 1, 32, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        load_wait_more(rig, ACKS);
        struct rig_node *old = failover_primary(rig);
        rig_kill(old);
        failover_wait_other(old);
        failover_return(old);
        assert_ptr_not_equal(failover_primary(rig), old);
    }
    failover_check(rig);
    rig_pass(rig);
}

/* Two of three die one after the other: the last one goes on alone. */
static void test_two_primaries_die(void **state)
{
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 2, 32, NULL);
    load_wait_more(rig, ACKS);
    struct rig_node *first = failover_primary(rig);
    rig_kill(first);
    struct rig_node *second = failover_wait_other(first);
    rig_kill(second);
    failover_wait_other(second);
    rig_launch(first);
    failover_return(second);
    failover_check(rig);
    rig_pass(rig);
}

/* A frozen primary is replaced; when it wakes up it is a secondary, and has confirmed nothing. */
static void test_the_primary_freezes(void **state)
{
    static const char *const nodes[] = {"n1", "n2", "n3", NULL};
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 3, 32, nodes);
    load_wait_more(rig, ACKS);
    struct rig_node *old = failover_primary(rig);
    rig_freeze(old);
    failover_wait_other(old);
    rig_thaw(old);
    state_wait_in_sync(rig, REPLICAS);
    assert_ptr_not_equal(failover_primary(rig), old);
    load_wait_more(rig, ACKS);
    failover_check(rig);
    rig_pass(rig);
}

/* --- all of them --- */

static void failover_power_cut(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        assert_true(proc_is_running(&rig->nodes[i].proc));
        proc_signal(&rig->nodes[i].proc, SIGKILL);
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc); /* reaps it */
    }
}

/* They come back in each of some orders, the next one only when it has bound its address. */
static void test_power_cut_in_any_order(void **state)
{
    static const uint32_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 4, 64, NULL);
    for (uint32_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        load_wait_more(rig, ACKS);
        failover_power_cut(rig);
        for (uint32_t n = 0; n < 4; n++) {
            rig_launch(&rig->nodes[orders[i][n]]);
            rig_wait_log(&rig->nodes[orders[i][n]], "event=listening");
        }
        state_wait_in_sync(rig, REPLICAS);
    }
    load_wait_more(rig, ACKS);
    failover_check(rig);
    rig_pass(rig);
}

/* The primary does not come back from the power cut: the others wait for it, then go on. */
static void test_power_cut_without_the_primary(void **state)
{
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 5, 64, NULL);
    load_wait_more(rig, ACKS);
    struct rig_node *old = failover_primary(rig);
    failover_power_cut(rig);
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if (&rig->nodes[i] != old) {
            rig_launch(&rig->nodes[i]);
        }
    }
    failover_wait_other(old);
    failover_return(old);
    failover_check(rig);
    rig_pass(rig);
}

/* --- the arbiter --- */

static void test_without_the_arbiter(void **state)
{
    static const char *const nodes[] = {"n1", "n2", "n3", NULL};
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 6, 32, nodes);
    load_wait_more(rig, ACKS);
    struct rig_node *primary = failover_primary(rig);
    rig_kill(&rig->nodes[ARBITER]);
    load_wait_more(rig, 10 * ACKS);
    rig_launch(&rig->nodes[ARBITER]);
    load_wait_more(rig, ACKS);
    state_wait_in_sync(rig, REPLICAS);
    assert_ptr_equal(failover_primary(rig), primary); /* its return disturbs nobody */
    rig_freeze(&rig->nodes[ARBITER]);
    load_wait_more(rig, 10 * ACKS);
    rig_thaw(&rig->nodes[ARBITER]);
    state_wait_in_sync(rig, REPLICAS);
    failover_check(rig);
    assert_int_equal(state_counter(rig, primary->name, "members_suspected"), 0);
    rig_pass(rig);
}

/* The same data folder at another address: the nodes are told, and a failover goes by it. */
static void test_the_arbiter_moves(void **state)
{
    struct rig *rig = *state;
    struct rig_node *arbiter = &rig->nodes[ARBITER];
    failover_start(rig);
    load_start(rig, 7, 32, NULL);
    load_wait_more(rig, ACKS);
    rig_kill(arbiter);
    rig_uri("127.0.0.1", rig_free_port(), arbiter->listen);
    memcpy(rig->arbiter, arbiter->listen, sizeof(rig->arbiter));
    rig_start(arbiter);
    state_wait_in_sync(rig, REPLICAS);
    load_wait_more(rig, ACKS);
    struct rig_node *old = failover_primary(rig);
    rig_kill(old);
    failover_wait_other(old);
    failover_return(old);
    failover_check(rig);
    rig_pass(rig);
}

/* --- data folders --- */

static void test_lost_data(void **state)
{
    struct rig *rig = *state;
    failover_start(rig);
    load_start(rig, 8, 32, NULL);
    load_wait_more(rig, ACKS);
    struct rig_node *primary = failover_primary(rig);
    struct rig_node *other = primary == &rig->nodes[1] ? &rig->nodes[2] : &rig->nodes[1];
    rig_kill(other);
    proc_remove_folder(other->data);
    failover_return(other);
    assert_ptr_equal(failover_primary(rig), primary);
    load_wait_more(rig, ACKS);
    rig_kill(primary);
    proc_remove_folder(primary->data);
    failover_wait_other(primary); /* before that its name is the primary's */
    failover_return(primary);
    assert_ptr_not_equal(failover_primary(rig), primary);
    failover_check(rig);
    rig_pass(rig);
}

static void failover_copy(struct rig *rig, const char *from, const char *to)
{
    const char *argv[] = {"/bin/cp", "-a", from, to, NULL};
    proc_start(&rig->other, rig->folder, "copy", NULL, argv);
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
}

/* A copy says that it is the node it was copied from, in an earlier life: it is refused whether
 * that one runs or not, and harms nobody. */
static void test_a_copied_data_folder(void **state)
{
    struct rig *rig = *state;
    failover_start(rig);
    KVCTL_EXPECT(rig, 0, "put", "before", "1");
    struct rig_node *node = failover_node(rig, "n2");
    struct rig_node *copy = rig_add(rig, "copy", RIG_REPLICA, NULL);
    rig_kill(node);
    failover_copy(rig, node->data, copy->data);
    failover_return(node);
    rig_kill(node);
    failover_return(node);
    KVCTL_EXPECT(rig, 0, "put", "after", "2");
    rig_launch(copy);
    rig_expect_end(copy, 4, "is a copy of");
    rig_kill(node);
    rig_launch(copy);
    rig_expect_end(copy, 4, "is a copy of");
    failover_return(node);
    state_wait_agree(rig, REPLICAS);
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "after", "--node", "n2")->out, "2\n");
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_primary_dies, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_two_primaries_die, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_the_primary_freezes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_power_cut_in_any_order, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_power_cut_without_the_primary, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_without_the_arbiter, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_the_arbiter_moves, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_lost_data, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_copied_data_folder, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

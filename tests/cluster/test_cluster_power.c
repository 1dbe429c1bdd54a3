/* The power goes: every process is killed with -9 under load, and they return in any order. */
#include "load.h"
#include "state.h"

#include "base/rand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define POWER_CUTS 3u

/* KV_CLUSTER_SEED repeats an order. */
static uint64_t power_seed(void)
{
    const char *text = getenv("KV_CLUSTER_SEED");
    uint64_t seed = text == NULL ? proc_now_ms() : strtoull(text, NULL, 10);
    print_message("KV_CLUSTER_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* Kills all as fast as can be, and starts all in a random order. */
static void power_cut(struct rig *rig, struct rand *rand)
{
    uint32_t order[RIG_NODES_MAX];
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        assert_true(proc_is_running(&rig->nodes[i].proc));
        order[i] = i;
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_signal(&rig->nodes[i].proc, SIGKILL);
    }
    for (uint32_t i = rig->nodes_len; i > 1; i--) {
        uint32_t other = (uint32_t)rand_below(rand, i);
        uint32_t last = order[i - 1];
        order[i - 1] = order[other];
        order[other] = last;
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc); /* reaps it */
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        rig_launch(&rig->nodes[order[i]]);
    }
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        char *line = rig_wait_ready(&rig->nodes[i]);
        free(line);
    }
}

static void power_run(struct rig *rig, uint32_t replicas)
{
    struct rand rand = {power_seed()};
    state_wait_in_sync(rig, replicas);
    load_start(rig, rand_next(&rand), 64, NULL);
    for (uint32_t i = 0; i < POWER_CUTS; i++) {
        load_wait_more(rig, 200 + rand_below(&rand, 400));
        power_cut(rig, &rand);
    }
    load_wait_more(rig, 200);
    load_stop(rig);
    state_wait_agree(rig, replicas);
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if ((rig->nodes[i].roles & RIG_REPLICA) != 0) {
            load_check(rig, rig->nodes[i].name);
        }
    }
    rig_pass(rig);
}

static void test_power_cut(void **state)
{
    struct rig *rig = *state;
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n3", RIG_REPLICA, NULL));
    power_run(rig, 3);
}

static void test_power_cut_with_an_arbiter_apart(void **state)
{
    struct rig *rig = *state;
    rig_start(rig_add(rig, "a", RIG_ARBITER, NULL));
    rig_start(rig_add(rig, "n1", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    power_run(rig, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_power_cut, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_power_cut_with_an_arbiter_apart, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

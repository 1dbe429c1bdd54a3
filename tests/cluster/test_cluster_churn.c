/* Replicas come, leave and are killed at random while pairs are imported: at the end every node has
 * exactly the pairs of the file, and no update has failed, which KV_CHURN_FAILURES=1 permits (for a
 * network that loses a fifth). KV_CHURN_PAIRS makes it longer, KV_CLUSTER_SEED repeats an order of
 * events (their instants differ nevertheless). */
#include "content.h"
#include "state.h"

#include "base/rand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHURN_PAIRS     20000u
#define CHURN_REPLICAS  4u
#define CHURN_VALUE_MAX 200u
#define CHURN_STEPS     40u /* of the progress: an event each */
#define CHURN_IMPORT_MS 600000u

static uint64_t churn_number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? fallback : strtoull(text, NULL, 10);
}

/* One thing happens to one secondary. */
static void churn_event(struct rig *rig, struct rand *rand)
{
    struct rig_node *node = &rig->nodes[1 + rand_below(rand, CHURN_REPLICAS - 1)];
    if (!proc_is_running(&node->proc)) {
        rig_launch(node);
        return;
    }
    switch (rand_below(rand, 4)) {
    case 0:
        /* It need not be ready yet; but it has to be there. */
        rig_wait_log(node, "event=listening");
        proc_signal(&node->proc, SIGTERM);
        rig_expect_end(node, 0, NULL);
        break;
    case 1: {
        /* It may be a candidate, or in no view at this moment: then there is nobody to leave. */
        int status = KVCTL(rig, "--timeout", "15000", "leave", node->name)->exit_status;
        assert_true(status == 0 || status == 4);
        if (status == 0) {
            rig_expect_end(node, 0, NULL);
        }
        break;
    }
    default:
        rig_kill(node);
        break;
    }
}

static void churn_start_import(struct rig *rig, const char *path)
{
    const char *argv[] = {CLUSTER_KVCTL, "-a",       rig->arbiter, "--timeout", "5000",
                          "import",      "--window", "16",         path,        NULL};
    proc_start(&rig->other, rig->folder, "import", NULL, argv);
}

/* Waits until so many more updates are committed at the primary, or the import has ended. */
static void churn_wait(struct rig *rig, uint64_t more)
{
    uint64_t wanted = state_number(rig, "n1", "committed_index") + more;
    while (proc_is_running(&rig->other) && state_number(rig, "n1", "committed_index") < wanted) {
        proc_pause();
    }
}

static void churn_check(struct rig *rig, const char *path)
{
    struct content expected;
    content_read(path, &expected);
    for (uint32_t i = 0; i < CHURN_REPLICAS; i++) {
        struct content content;
        content_export(rig, rig->nodes[i].name, &content);
        content_expect_equal(&expected, &content, rig->nodes[i].name);
        content_close(&content);
    }
    content_close(&expected);
}

static void test_churn(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    uint64_t seed = churn_number("KV_CLUSTER_SEED", proc_now_ms());
    uint64_t pairs = churn_number("KV_CHURN_PAIRS", CHURN_PAIRS);
    uint32_t events = 0;
    struct rand rand = {seed};
    print_message("KV_CLUSTER_SEED=%llu KV_CHURN_PAIRS=%llu\n", (unsigned long long)seed,
                  (unsigned long long)pairs);
    for (uint32_t i = 0; i < CHURN_REPLICAS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i + 1);
        rig_start(rig_add(rig, name, i == 0 ? RIG_ARBITER | RIG_REPLICA : RIG_REPLICA, NULL));
    }
    proc_join(rig->folder, "input.tsv", path);
    content_make_file(path, "key", (uint32_t)pairs, CHURN_VALUE_MAX, seed);
    churn_start_import(rig, path);
    while (proc_is_running(&rig->other)) {
        churn_wait(rig, pairs / CHURN_STEPS);
        churn_event(rig, &rand);
        events++;
    }
    int status = proc_wait(&rig->other, CHURN_IMPORT_MS);
    if (status != 0) {
        proc_print_tail(rig->other.err);
        fail_msg("the import ended with %d", status);
    }
    for (uint32_t i = 1; i < CHURN_REPLICAS; i++) {
        if (!proc_is_running(&rig->nodes[i].proc)) {
            rig_launch(&rig->nodes[i]);
        }
    }
    state_wait_agree(rig, CHURN_REPLICAS);
    churn_check(rig, path);
    uint64_t failed = state_counter(rig, "n1", "operations_failed");
    print_message("%u events, %llu updates failed\n", events, (unsigned long long)failed);
    assert_true(events >= 3);
    if (churn_number("KV_CHURN_FAILURES", 0) == 0) {
        assert_int_equal(failed, 0);
    }
    for (uint32_t i = CHURN_REPLICAS; i > 0; i--) {
        rig_stop(&rig->nodes[i - 1]);
    }
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_churn, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

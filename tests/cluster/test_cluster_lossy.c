/* Three nodes on a network that loses, doubles, swaps and delays what they tell each other: pairs
 * are imported, a node is killed, one joins, and at the end each has exactly the pairs of the file.
 * (A transport never alters a message; that datagrams are altered is its own matter to find.)
 * KV_LOSSY_PAIRS makes it longer, KV_CLUSTER_SEED draws other faults. */
#include "content.h"
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LOSSY_PAIRS     5000u
#define LOSSY_VALUE_MAX 200u
#define LOSSY_NODES     3u
#define LOSSY_IMPORT_MS 180000u

/* Patient: at 20 % each way a message and its answer arrive in two of three attempts, and a node
 * that hears nothing for a while is not dead. */
#define LOSSY_SETTINGS \
    "replication = { operation_timeout_ms = 5000; replica_timeout_ms = 2000; };\n"

struct lossy {
    struct rig *rig;
    uint64_t seed;
    uint64_t pairs;
    char transports[LOSSY_NODES][1024]; /* the settings of each node's transport */
};

static uint64_t lossy_number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? fallback : strtoull(text, NULL, 10);
}

/* Starts the first two nodes; the third is added and joins later. Each has a seed of its own. */
static void lossy_start(struct lossy *lossy, struct rig *rig, uint64_t seed, const char *faults)
{
    lossy->rig = rig;
    lossy->seed = lossy_number("KV_CLUSTER_SEED", seed);
    lossy->pairs = lossy_number("KV_LOSSY_PAIRS", LOSSY_PAIRS);
    print_message("KV_CLUSTER_SEED=%llu KV_LOSSY_PAIRS=%llu %s\n", (unsigned long long)lossy->seed,
                  (unsigned long long)lossy->pairs, faults);
    for (uint32_t i = 0; i < LOSSY_NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i + 1);
        char inner[64];
        snprintf(inner, sizeof(inner), "/transport-%s.so", rig_scheme());
        int len = snprintf(lossy->transports[i], sizeof(lossy->transports[i]),
                           "plugin = \"" CLUSTER_TEST_PLUGINS "/faulty%s\"; inner = "
                           "\"" CLUSTER_PLUGINS "%s\"; partition = \"%s/cut-%s\"; seed = %llu; %s",
                           inner, inner, rig->folder, name,
                           (unsigned long long)(lossy->seed * LOSSY_NODES + i), faults);
        assert_true(len > 0 && (size_t)len < sizeof(lossy->transports[i]));
        struct rig_node *node =
            rig_add(rig, name, i == 0 ? RIG_ARBITER | RIG_REPLICA : RIG_REPLICA, LOSSY_SETTINGS);
        node->transport = lossy->transports[i];
        if (i < LOSSY_NODES - 1) {
            rig_start(node);
        }
    }
    state_wait_in_sync(rig, LOSSY_NODES - 1);
}

/* Waits until so many updates are committed at the primary, or the import has ended. */
static void lossy_wait(struct rig *rig, uint64_t wanted)
{
    while (proc_is_running(&rig->other) && state_number(rig, "n1", "committed_index") < wanted) {
        proc_pause();
    }
}

/* The import, with a join at a fifth of it, and the second node killed at two fifths, which comes
 * back at three. */
static void lossy_import(struct lossy *lossy, const char *path)
{
    struct rig *rig = lossy->rig;
    const char *argv[] = {CLUSTER_KVCTL, "-a",       rig->arbiter, "--timeout", "10000",
                          "import",      "--window", "16",         path,        NULL};
    uint64_t begin = state_number(rig, "n1", "committed_index");
    proc_start(&rig->other, rig->folder, "import", NULL, argv);
    lossy_wait(rig, begin + lossy->pairs / 5);
    rig_launch(&rig->nodes[2]);
    lossy_wait(rig, begin + lossy->pairs * 2 / 5);
    rig_kill(&rig->nodes[1]);
    lossy_wait(rig, begin + lossy->pairs * 3 / 5);
    rig_launch(&rig->nodes[1]);
    int status = proc_wait(&rig->other, LOSSY_IMPORT_MS);
    if (status != 0) {
        proc_print_tail(rig->other.err);
        fail_msg("the import ended with %d", status);
    }
}

static void lossy_check(struct rig *rig, const char *path)
{
    struct content expected;
    content_read(path, &expected);
    for (uint32_t i = 0; i < LOSSY_NODES; i++) {
        struct content content;
        content_export(rig, rig->nodes[i].name, &content);
        content_expect_equal(&expected, &content, rig->nodes[i].name);
        content_close(&content);
    }
    content_close(&expected);
}

/* What the fault plugins say at their end: the sum of a number over all nodes that were stopped. */
static uint64_t lossy_count(struct rig *rig, const char *name)
{
    char text[64];
    uint64_t sum = 0;
    snprintf(text, sizeof(text), " %s=", name);
    for (uint32_t i = 0; i < LOSSY_NODES; i++) {
        char *log = proc_read_file(rig->nodes[i].proc.err, NULL);
        const char *line = strstr(log, "faulty: stopped;");
        const char *number = line == NULL ? NULL : strstr(line, text);
        if (number == NULL) {
            fail_msg("the log of %s does not tell its %s", rig->nodes[i].name, name);
        }
        sum += strtoull(number + strlen(text), NULL, 10);
        free(log);
    }
    return sum;
}

static void lossy_stop(struct rig *rig)
{
    for (uint32_t i = LOSSY_NODES; i > 0; i--) {
        rig_stop(&rig->nodes[i - 1]);
    }
}

/* The whole story. fault: a counter that must have counted. may_fail: updates that were not done in
 * time, which kvctl then repeats. */
static void lossy_run(struct rig *rig, uint64_t seed, const char *faults, const char *fault,
                      bool may_fail)
{
    char path[PROC_PATH_MAX];
    struct lossy lossy;
    lossy_start(&lossy, rig, seed, faults);
    proc_join(rig->folder, "input.tsv", path);
    content_make_file(path, "key", (uint32_t)lossy.pairs, LOSSY_VALUE_MAX, lossy.seed);
    lossy_import(&lossy, path);
    state_wait_agree(rig, LOSSY_NODES);
    lossy_check(rig, path);
    if (!may_fail) {
        assert_int_equal(state_counter(rig, "n1", "operations_failed"), 0);
    }
    lossy_stop(rig);
    print_message("%llu messages, %s=%llu\n", (unsigned long long)lossy_count(rig, "messages"),
                  fault, (unsigned long long)lossy_count(rig, fault));
    assert_true(lossy_count(rig, fault) > 0);
    rig_pass(rig);
}

#define LOSSY_DROP(permille) \
    "drop_permille = " permille "; duplicate_permille = 20; reorder_permille = 50; delay_ms = 3;"

static void test_5_percent(void **state)
{
    lossy_run(*state, 1, LOSSY_DROP("50"), "dropped", false);
}

static void test_20_percent(void **state)
{
    lossy_run(*state, 2, LOSSY_DROP("200"), "dropped", true);
}

/* Updates of a few keys, with reads at the nodes whose answers are checked, at 5 %. */
static void test_load(void **state)
{
    static const char *const nodes[] = {"n1", "n2", NULL};
    struct rig *rig = *state;
    struct lossy lossy;
    lossy_start(&lossy, rig, 4, LOSSY_DROP("50"));
    load_start(rig, lossy.seed, 8, nodes);
    load_wait_more(rig, 300);
    rig_start(&rig->nodes[2]);
    state_wait_in_sync(rig, LOSSY_NODES);
    load_wait_more(rig, 300);
    rig_kill(&rig->nodes[1]);
    load_wait_more(rig, 300);
    rig_launch(&rig->nodes[1]);
    load_wait_more(rig, 300);
    load_stop(rig);
    state_wait_agree(rig, LOSSY_NODES);
    for (uint32_t i = 0; i < LOSSY_NODES; i++) {
        load_check(rig, rig->nodes[i].name);
    }
    lossy_stop(rig);
    assert_true(lossy_count(rig, "dropped") > 0);
    rig_pass(rig);
}

/* One node hears nothing, or is not heard, or both: the others go on without it, and it comes back
 * when the cut is healed. */
static void test_cut_off(void **state)
{
    static const char *const ways[] = {".in", ".out", ""};
    struct rig *rig = *state;
    struct lossy lossy;
    lossy_start(&lossy, rig, 5, "links = \"all\";");
    rig_start(&rig->nodes[2]);
    state_wait_in_sync(rig, LOSSY_NODES);
    for (uint32_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char name[32];
        char path[PROC_PATH_MAX];
        snprintf(name, sizeof(name), "cut-n2%s", ways[i]);
        proc_join(rig->folder, name, path);
        proc_write_file(path, "", 0);
        state_wait_gone(rig, "n2");
        KVCTL_EXPECT(rig, 0, "--timeout", "10000", "put", name, "while it was cut off");
        assert_int_equal(unlink(path), 0);
        state_wait_agree(rig, LOSSY_NODES);
        const struct rig_run *run = KVCTL_EXPECT(rig, 0, "get", name, "--node", "n2");
        assert_string_equal(run->out, "while it was cut off\n");
    }
    lossy_stop(rig);
    assert_true(lossy_count(rig, "partitioned") > 0);
    rig_pass(rig);
}

/* An argument: only the tests of that name, with * and ?. */
int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_5_percent, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_20_percent, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_load, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

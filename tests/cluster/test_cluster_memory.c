/* Updates of the same keys, over and over: what a node holds in memory does not grow with their
 * number. KV_MEMORY_UPDATES makes it longer. */
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY_UPDATES   100000u
#define MEMORY_GROWTH_KB 8192u
#define MEMORY_NODES     2u

/* Of the records that are kept for nodes that come back, fewer than the first third makes: that
 * this much memory is taken is no growth. */
#define MEMORY_SETTINGS RIG_SETTINGS "limits = { log_bytes = 1048576; };\n"

static uint64_t memory_kb(const struct rig_node *node)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)node->proc.pid);
    char *text = proc_read_file(path, NULL);
    const char *line = strstr(text, "VmRSS:");
    assert_non_null(line);
    uint64_t kb = strtoull(line + strlen("VmRSS:"), NULL, 10);
    free(text);
    return kb;
}

static void memory_update(struct rig *rig, uint64_t count)
{
    char text[32];
    uint64_t before = state_number(rig, "n1", "committed_index");
    snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "bench", "--read", "0", "--keys", "1000", "--count",
                 text, "--connections", "4", "--depth", "64");
    state_wait_agree(rig, MEMORY_NODES);
    assert_true(state_number(rig, "n1", "committed_index") >= before + count);
}

static void test_memory_does_not_grow(void **state)
{
    struct rig *rig = *state;
    const char *wanted = getenv("KV_MEMORY_UPDATES");
    uint64_t updates = wanted == NULL ? MEMORY_UPDATES : strtoull(wanted, NULL, 10);
    uint64_t before_kb[MEMORY_NODES];
    /* Freed memory that the sanitizer keeps for its own sake is not what is measured. */
    assert_int_equal(
        setenv("ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=64", 1), 0);
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, MEMORY_SETTINGS));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, MEMORY_SETTINGS));
    state_wait_in_sync(rig, MEMORY_NODES);
    memory_update(rig, updates / 3);
    for (uint32_t i = 0; i < MEMORY_NODES; i++) {
        before_kb[i] = memory_kb(&rig->nodes[i]);
    }
    memory_update(rig, updates - updates / 3);
    for (uint32_t i = 0; i < MEMORY_NODES; i++) {
        uint64_t kb = memory_kb(&rig->nodes[i]);
        print_message("%s: %llu kB after a third, %llu kB at the end of %llu updates\n",
                      rig->nodes[i].name, (unsigned long long)before_kb[i], (unsigned long long)kb,
                      (unsigned long long)updates);
        assert_true(kb < before_kb[i] + MEMORY_GROWTH_KB);
    }
    rig_stop(&rig->nodes[1]);
    rig_stop(&rig->nodes[0]);
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory_does_not_grow, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

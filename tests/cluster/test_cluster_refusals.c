/* What keeps a node from starting: its exit status, and a message that says where and what. */
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Starts the node, which has to end by itself with this status and this text in its log. */
static void refusals_expect(struct rig_node *node, int exit_status, const char *text)
{
    rig_launch(node);
    rig_expect_end(node, exit_status, text);
    char *out = proc_read_file(node->proc.out, NULL);
    assert_string_equal(out, ""); /* never ready */
    free(out);
}

static struct rig_node *refusals_node(struct rig *rig)
{
    return rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL);
}

/* --- network --- */

static void test_a_busy_port(void **state)
{
    struct rig *rig = *state;
    struct rig_node *first = refusals_node(rig);
    rig_start(first);
    struct rig_node *second = rig_add(rig, "n2", RIG_REPLICA, NULL);
    memcpy(second->listen, first->listen, sizeof(second->listen));
    refusals_expect(second, 4, first->listen);
    KVCTL_EXPECT(rig, 0, "put", "k", "v"); /* the first is not harmed */
    rig_stop(first);
    rig_pass(rig);
}

static void test_an_address_that_is_not_ours(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = refusals_node(rig);
    rig_uri("192.0.2.1", 7400, node->listen);
    memcpy(rig->arbiter, node->listen, sizeof(rig->arbiter));
    refusals_expect(node, 4, node->listen);
    rig_pass(rig);
}

static void test_no_arbiter(void **state)
{
    struct rig *rig = *state;
    rig_uri("127.0.0.1", rig_free_port(), rig->arbiter);
    struct rig_node *node =
        rig_add(rig, "n1", RIG_REPLICA, "replication = { join_timeout_ms = 700; };\n");
    refusals_expect(node, 4, "join_timeout_ms");
    rig_pass(rig);
}

/* --- the data folder --- */

static void test_no_data_folder(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = refusals_node(rig);
    proc_write_file(node->data, "a file", 6);
    refusals_expect(node, 5, node->data);
    snprintf(node->data, sizeof(node->data), "/proc/kvnode/n1"); /* not even root may */
    refusals_expect(node, 5, node->data);
    rig_pass(rig);
}

static void test_a_data_folder_in_use(void **state)
{
    struct rig *rig = *state;
    struct rig_node *first = refusals_node(rig);
    rig_start(first);
    struct rig_node *second = rig_add(rig, "n2", RIG_REPLICA, NULL);
    memcpy(second->data, first->data, sizeof(second->data));
    char process[64];
    snprintf(process, sizeof(process), "in use by process %ld", (long)first->proc.pid);
    refusals_expect(second, 5, process);
    KVCTL_EXPECT(rig, 0, "put", "k", "v");
    rig_stop(first);
    rig_pass(rig);
}

static void test_another_clusters_data(void **state)
{
    struct rig *rig = *state;
    struct rig_node *first = refusals_node(rig);
    rig_start(first);
    rig_stop(first);
    memset(rig->arbiter, 0, sizeof(rig->arbiter)); /* a second cluster, of a, begins */
    struct rig_node *other = rig_add(rig, "a", RIG_ARBITER, NULL);
    rig_start(other);
    first->roles = RIG_REPLICA;
    rig_uri("127.0.0.1", 0, first->listen);
    refusals_expect(first, 4, "another cluster");
    rig_pass(rig);
}

/* The arbiter's state is lost: its own replica must not begin a new cluster over old data. */
static void test_a_lost_arbiter_state(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    struct rig_node *node = refusals_node(rig);
    rig_start(node);
    KVCTL_EXPECT(rig, 0, "put", "k", "v");
    rig_stop(node);
    proc_join(node->data, "arbiter.state", path);
    assert_int_equal(unlink(path), 0);
    refusals_expect(node, 4, "cluster");
    rig_pass(rig);
}

/* --- names --- */

static void test_the_primarys_name_twice(void **state)
{
    struct rig *rig = *state;
    struct rig_node *first = refusals_node(rig);
    rig_start(first);
    struct rig_node *second = rig_add(rig, "again", RIG_REPLICA, NULL);
    snprintf(second->name, sizeof(second->name), "n1");
    second->starts = 100; /* keeps the logs apart */
    refusals_expect(second, 4, "name");
    KVCTL_EXPECT(rig, 0, "put", "k", "v");
    rig_stop(first);
    rig_pass(rig);
}

static void test_a_secondarys_name_twice(void **state)
{
    struct rig *rig = *state;
    rig_start(refusals_node(rig));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    struct rig_node *second =
        rig_add(rig, "again", RIG_REPLICA, "replication = { join_timeout_ms = 1500; };\n");
    snprintf(second->name, sizeof(second->name), "n2");
    second->starts = 100;
    refusals_expect(second, 4, "another node of this name");
    state_wait_in_sync(rig, 2); /* the one that was there still is */
    rig_pass(rig);
}

/* --- damage --- */

/* Turns the bits of one byte. */
static void refusals_damage(const char *path, size_t at)
{
    size_t len = 0;
    char *bytes = proc_read_file(path, &len);
    assert_true(at < len);
    bytes[at] = (char)~bytes[at];
    proc_write_file(path, bytes, len);
    free(bytes);
}

/* A store with some batches, stopped. */
static struct rig_node *refusals_stored(struct rig *rig)
{
    struct rig_node *node = refusals_node(rig);
    rig_start(node);
    KVCTL_EXPECT(rig, 0, "put", "a", "1");
    KVCTL_EXPECT(rig, 0, "put", "b", "2");
    KVCTL_EXPECT(rig, 0, "put", "c", "3");
    rig_stop(node);
    return node;
}

static void test_a_store_damaged_in_the_middle(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    char before[256];
    struct rig_node *node = refusals_stored(rig);
    proc_join(node->data, "store/segment-000000000001", path);
    refusals_damage(path, 64 + 20); /* in the header of the first of three batches */
    size_t len = 0;
    char *damaged = proc_read_file(path, &len);
    rig_launch(node);
    rig_expect_end(node, 5, "segment-000000000001 is damaged at offset 64");
    char *after = proc_read_file(path, NULL);
    assert_memory_equal(damaged, after, len); /* nothing was changed */
    free(damaged);
    free(after);
    snprintf(before, sizeof(before), "resynchronises from the others");
    char *log = proc_read_file(node->proc.err, NULL);
    assert_non_null(strstr(log, before));
    free(log);
    rig_pass(rig);
}

/* What the message says helps: a secondary without its store joins and gets everything. */
static void test_a_damaged_secondary_resynchronises(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    rig_start(refusals_node(rig));
    struct rig_node *node = rig_add(rig, "n2", RIG_REPLICA, NULL);
    rig_start(node);
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 0, "put", "a", "1");
    KVCTL_EXPECT(rig, 0, "put", "b", "2");
    KVCTL_EXPECT(rig, 0, "put", "c", "3");
    rig_stop(node);
    proc_join(node->data, "store/segment-000000000001", path);
    refusals_damage(path, 64 + 20);
    refusals_expect(node, 5, "is damaged at offset 64");
    proc_join(node->data, "store", path);
    proc_remove_folder(path);
    rig_start(node);
    state_wait_agree(rig, 2);
    assert_int_equal(state_number(rig, "n2", "keys"), 3);
    rig_pass(rig);
}

static void test_a_torn_tail_is_cut_off(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    static const char torn[] = "KVBT what a power cut left of a batch";
    struct rig_node *node = refusals_stored(rig);
    proc_join(node->data, "store/segment-000000000001", path);
    size_t len = 0;
    char *bytes = proc_read_file(path, &len);
    while (len > 0 && bytes[len - 1] == 0) {
        len--; /* preallocated room; the last value ends with "3" */
    }
    char *longer = calloc(1, len + sizeof(torn));
    assert_non_null(longer);
    memcpy(longer, bytes, len);
    memcpy(longer + len, torn, sizeof(torn) - 1);
    proc_write_file(path, longer, len + sizeof(torn) - 1);
    free(longer);
    free(bytes);
    rig_start(node);
    char *log = proc_read_file(node->proc.err, NULL);
    assert_non_null(strstr(log, "torn tail of segment-000000000001 cut off"));
    free(log);
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "c")->out, "3\n");
    rig_stop(node);
    rig_pass(rig);
}

static void test_a_damaged_arbiter_state(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    size_t len = 0;
    struct rig_node *node = refusals_stored(rig);
    proc_join(node->data, "arbiter.state", path);
    char *good = proc_read_file(path, &len);
    for (size_t i = 0; i < 5; i++) {
        refusals_damage(path, i * (len - 1) / 4);
        refusals_expect(node, 5, path);
        proc_write_file(path, good, len);
    }
    for (size_t i = 0; i < 3; i++) {
        proc_write_file(path, good, i * (len - 1) / 2);
        refusals_expect(node, 5, path);
    }
    proc_write_file(path, good, len);
    free(good);
    rig_start(node);
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "c")->out, "3\n");
    rig_stop(node);
    rig_pass(rig);
}

static void test_a_damaged_identity(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    struct rig_node *node = refusals_stored(rig);
    proc_join(node->data, "node.id", path);
    refusals_damage(path, 30);
    refusals_expect(node, 5, path);
    proc_write_file(path, "", 0);
    refusals_expect(node, 5, path);
    rig_pass(rig);
}

/* --- plugins --- */

static void refusals_expect_settings(struct rig *rig, const char *settings, int exit_status,
                                     const char *text)
{
    struct rig_node *node = &rig->nodes[0];
    node->settings = settings;
    refusals_expect(node, exit_status, text);
}

static void test_plugins(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    char settings[2 * PROC_PATH_MAX];
    refusals_node(rig);
    proc_join(rig->folder, "text.so", path);
    proc_write_file(path, "this is text\n", 13);
    snprintf(settings, sizeof(settings), "persistence = { plugin = \"%s\"; };\n", path);
    refusals_expect_settings(rig, settings, 3, path);
    /* a shared object, but no plugin */
    refusals_expect_settings(
        rig, "persistence = { plugin = \"" CLUSTER_TEST_PLUGINS "/odd-no-symbol.so\"; };\n", 3,
        "odd-no-symbol.so");
    /* another ABI */
    refusals_expect_settings(
        rig, "persistence = { plugin = \"" CLUSTER_TEST_PLUGINS "/odd-major.so\"; };\n", 3,
        "odd-major.so");
    /* a transport for persistence */
    refusals_expect_settings(rig, "persistence = { plugin = \"transport-tcp\"; };\n", 3,
                             "transport-tcp");
    /* none of that name, in none of the folders */
    refusals_expect_settings(rig, "persistence = { plugin = \"persist-files\"; };\n", 3,
                             "persist-files");
    /* all of it stands with its line: FILE:LINE */
    refusals_expect_settings(rig, "\n\npersistence = { plugin = \"persist-files\"; };\n", 3,
                             "n1.cfg:5: ");
    rig_pass(rig);
}

static void test_plugin_settings(void **state)
{
    struct rig *rig = *state;
    refusals_node(rig);
    refusals_expect_settings(rig, "persistence = {\n  sinc = \"always\"; };\n", 2, "n1.cfg:4: ");
    refusals_expect_settings(rig, "persistence = {\n  sinc = \"always\"; };\n", 2, "sync");
    refusals_expect_settings(rig, "persistence = {\n  segment_bytes = \"much\"; };\n", 2,
                             "segment_bytes");
    rig_pass(rig);
}

/* --- configuration --- */

static void test_configuration_mistakes(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *settings; /* from line 3 on */
        const char *texts[3];
    } cases[] = {
        {"replication = {\n retransmit = 5; };\n", {"n1.cfg:4: ", "retransmit", "retransmit_ms"}},
        {"replikation = { };\n", {"n1.cfg:3: ", "replikation", "replication"}},
        {"limits = { key_bytes = \"many\"; };\n", {"n1.cfg:3: ", "limits.key_bytes", "1 to "}},
        {"limits = { key_bytes = 0; };\n", {"n1.cfg:3: ", "limits.key_bytes", "from 1 to"}},
        {"limits = { inflight_bytes = 99999999999; };\n", {"n1.cfg:3: ", "99999999999L", "L"}},
        {"replication = { ack = \"durabel\"; };\n", {"n1.cfg:3: ", "durabel", "\"durable\""}},
        {"limits = { key_bytes = ; };\n", {"n1.cfg:3: ", "syntax", "error"}},
        {"log_level = \"loud\";\n", {"n1.cfg:3: ", "loud", "info"}},
        {"@include \"not-there.cfg\"\n", {"not-there.cfg", "No such file", "cannot read"}},
        {"limits = 5;\n", {"n1.cfg:3: ", "limits", "must be a group"}},
    };
    refusals_node(rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            refusals_expect_settings(rig, cases[i].settings, 2, cases[i].texts[k]);
        }
    }
    assert_int_not_equal(access(rig->nodes[0].data, F_OK), 0); /* nothing was begun */
    rig_pass(rig);
}

#define REFUSALS(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSALS(test_a_busy_port),
        REFUSALS(test_an_address_that_is_not_ours),
        REFUSALS(test_no_arbiter),
        REFUSALS(test_no_data_folder),
        REFUSALS(test_a_data_folder_in_use),
        REFUSALS(test_another_clusters_data),
        REFUSALS(test_a_lost_arbiter_state),
        REFUSALS(test_the_primarys_name_twice),
        REFUSALS(test_a_secondarys_name_twice),
        REFUSALS(test_a_store_damaged_in_the_middle),
        REFUSALS(test_a_damaged_secondary_resynchronises),
        REFUSALS(test_a_torn_tail_is_cut_off),
        REFUSALS(test_a_damaged_arbiter_state),
        REFUSALS(test_a_damaged_identity),
        REFUSALS(test_plugins),
        REFUSALS(test_plugin_settings),
        REFUSALS(test_configuration_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

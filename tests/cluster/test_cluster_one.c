/* One node, as a user meets it first: the configuration that comes along, every verb of kvctl, its
 * exit statuses and its JSON, a restart, a clean stop. */
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig_node *one_start(struct rig *rig)
{
    struct rig_node *node = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL);
    rig_start(node);
    return node;
}

static void one_expect_out(const struct rig_run *run, const char *text)
{
    assert_string_equal(run->out, text);
}

/* Sorts lines, since a scan has no order. */
static int one_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void one_expect_lines(const struct rig_run *run, const char *const *wanted,
                             size_t wanted_len)
{
    char *lines[16];
    size_t len = 0;
    char *rest = run->out;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        assert_true(len < 16);
        lines[len++] = line;
    }
    qsort(lines, len, sizeof(lines[0]), one_compare);
    assert_int_equal(len, wanted_len);
    for (size_t i = 0; i < len; i++) {
        assert_string_equal(lines[i], wanted[i]);
    }
}

static void test_the_configuration_that_comes_along(void **state)
{
    struct rig *rig = *state;
    char plugin[128];
    char listen[128];
    char arbiter[128];
    rig_uri("127.0.0.1", rig_free_port(), rig->arbiter);
    snprintf(plugin, sizeof(plugin), "transports.[0].plugin=transport-%s", rig_scheme());
    snprintf(listen, sizeof(listen), "transports.[0].listen=%s", rig->arbiter);
    snprintf(arbiter, sizeof(arbiter), "node.arbiter=%s", rig->arbiter);
    const char *argv[] = {CLUSTER_KVNODE,
                          "-c",
                          CLUSTER_SOURCE "/etc/kv.cfg",
                          "--set",
                          plugin,
                          "--set",
                          listen,
                          "--set",
                          arbiter,
                          NULL};
    proc_start(&rig->other, rig->folder, "kv", rig->folder, argv);
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "put", "hello", "world");
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "hello"), "world\n");
    proc_signal(&rig->other, SIGTERM);
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
    char expected[256];
    snprintf(expected, sizeof(expected), "ready name=n1 role=primary listen=%s\n", rig->arbiter);
    char *out = proc_read_file(rig->other.out, NULL);
    assert_string_equal(out, expected);
    free(out);
    char path[PROC_PATH_MAX];
    proc_join(rig->folder, "data/n1/store", path); /* relative to where it was started */
    assert_int_equal(access(path, F_OK), 0);
    rig_pass(rig);
}

static void test_port_zero(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL);
    rig_uri("127.0.0.1", 0, node->listen);
    memcpy(rig->arbiter, node->listen, sizeof(rig->arbiter));
    rig_launch(node);
    char *line = rig_wait_ready(node);
    const char *uri = strstr(line, "listen=");
    assert_non_null(uri);
    assert_true(strcmp(uri + strlen("listen="), node->listen) != 0);
    snprintf(rig->arbiter, sizeof(rig->arbiter), "%s", uri + strlen("listen="));
    free(line);
    KVCTL_EXPECT(rig, 0, "put", "k", "v");
    rig_stop(node);
    rig_pass(rig);
}

static void test_verbs_and_exit_statuses(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = one_start(rig);
    KVCTL_EXPECT(rig, 0, "put", "fruit/apple", "green");
    KVCTL_EXPECT(rig, 0, "put", "fruit/pear", "yellow");
    KVCTL_EXPECT(rig, 0, "put", "tree", "");
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "fruit/apple"), "green\n");
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "tree", "--node", "n1"), "\n");
    one_expect_out(KVCTL_EXPECT(rig, 1, "get", "fruit"), "");
    static const char *const fruits[] = {"fruit/apple\tgreen", "fruit/pear\tyellow"};
    one_expect_lines(KVCTL_EXPECT(rig, 0, "scan", "--prefix", "fruit/"), fruits, 2);
    static const char *const all[] = {"fruit/apple\tgreen", "fruit/pear\tyellow", "tree\t"};
    one_expect_lines(KVCTL_EXPECT(rig, 0, "export"), all, 3);
    KVCTL_EXPECT(rig, 0, "remove", "fruit/apple");
    KVCTL_EXPECT(rig, 1, "get", "fruit/apple");
    static const char *const left[] = {"fruit/pear\tyellow"};
    one_expect_lines(KVCTL_EXPECT(rig, 0, "scan", "--prefix", "fruit/"), left, 1);
    /* usage */
    KVCTL_EXPECT(rig, 2, "put", "only-a-key");
    KVCTL_EXPECT(rig, 2, "gett", "k");
    KVCTL_EXPECT(rig, 2, "get", "k", "--limit", "3");
    KVCTL_EXPECT(rig, 2, "--timeout", "soon", "get", "k");
    /* certainly not executed */
    KVCTL_EXPECT(rig, 4, "get", "k", "--node", "n9");
    KVCTL_EXPECT(rig, 4, "leave", "n1");
    KVCTL_EXPECT(rig, 4, "leave", "n9");
    KVCTL_EXPECT(rig, 4, "handover", "n9");
    KVCTL_EXPECT(rig, 4, "takeover", "n1", "--force");
    /* done already */
    KVCTL_EXPECT(rig, 0, "handover", "n1");
    KVCTL_EXPECT(rig, 0, "status");
    KVCTL_EXPECT(rig, 0, "digest");
    rig_stop(node);
    /* nobody reachable */
    KVCTL_EXPECT(rig, 5, "--timeout", "300", "get", "tree");
    KVCTL_EXPECT(rig, 5, "--timeout", "300", "put", "tree", "oak");
    KVCTL_EXPECT(rig, 5, "--timeout", "300", "status");
    rig_pass(rig);
}

/* A node that does not answer: not confirmed, or nobody reachable, never done or rejected. */
static void test_a_frozen_node(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = one_start(rig);
    KVCTL_EXPECT(rig, 0, "put", "k", "1");
    rig_freeze(node);
    const struct rig_run *run = KVCTL(rig, "--timeout", "500", "put", "k", "2");
    assert_true(run->exit_status == 3 || run->exit_status == 5);
    rig_thaw(node);
    KVCTL_EXPECT(rig, 0, "put", "k", "3");
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "k"), "3\n");
    rig_stop(node);
    rig_pass(rig);
}

static void test_too_few_in_sync(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node =
        rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, "replication = { min_in_sync = 2; };\n");
    rig_start(node);
    KVCTL_EXPECT(rig, 4, "--timeout", "500", "put", "k", "1");
    KVCTL_EXPECT(rig, 1, "get", "k");
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 0, "put", "k", "1");
    rig_pass(rig);
}

/* --- JSON --- */

static json_t *one_json(const struct rig_run *run)
{
    json_error_t error;
    json_t *object = json_loads(run->out, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        fail_msg("no JSON (%s): %s", error.text, run->out);
    }
    return object;
}

/* The object has each of these members, and no other. */
static void one_expect_members(const json_t *object, const char *const *names)
{
    size_t len = 0;
    for (; names[len] != NULL; len++) {
        if (json_object_get(object, names[len]) == NULL) {
            fail_msg("the JSON has no \"%s\"", names[len]);
        }
    }
    assert_int_equal(json_object_size(object), len);
}
#define EXPECT_MEMBERS(object, ...) \
    one_expect_members(object, (const char *const[]){__VA_ARGS__, NULL})

static void one_expect_hex(const json_t *text)
{
    assert_true(json_is_string(text));
    assert_int_equal(json_string_length(text), 16);
    assert_int_equal(strspn(json_string_value(text), "0123456789abcdef"), 16);
}

static void one_check_status(const struct rig *rig, const json_t *status)
{
    EXPECT_MEMBERS(status, "cluster", "view", "primary", "arbiter", "nodes", "forced", "told_by",
                   "waiting_for");
    one_expect_hex(json_object_get(status, "cluster"));
    assert_true(json_integer_value(json_object_get(status, "view")) >= 1);
    assert_string_equal(json_string_value(json_object_get(status, "primary")), "n1");
    assert_string_equal(json_string_value(json_object_get(status, "arbiter")), rig->arbiter);
    assert_int_equal(json_array_size(json_object_get(status, "nodes")), 1);
    assert_true(json_is_null(json_object_get(status, "forced")));
    assert_true(json_is_null(json_object_get(status, "told_by"))); /* the arbiter itself */
    assert_int_equal(json_array_size(json_object_get(status, "waiting_for")), 0);
    const json_t *node = state_node(status, "n1");
    EXPECT_MEMBERS(node, "name", "role", "state", "listen", "position", "durable_index",
                   "committed_index", "lag", "keys", "digest", "persistence", "reason", "counters");
    assert_string_equal(json_string_value(json_object_get(node, "role")), "primary");
    assert_string_equal(json_string_value(json_object_get(node, "state")), "up");
    assert_string_equal(json_string_value(json_array_get(json_object_get(node, "listen"), 0)),
                        rig->arbiter);
    EXPECT_MEMBERS(json_object_get(node, "position"), "view", "index");
    assert_int_equal(json_integer_value(json_object_get(node, "keys")), 1);
    assert_int_equal(json_integer_value(json_object_get(node, "committed_index")), 2);
    assert_int_equal(json_integer_value(json_object_get(node, "durable_index")), 2);
    assert_int_equal(json_integer_value(json_object_get(node, "lag")), 0);
    one_expect_hex(json_object_get(node, "digest"));
    const json_t *persistence = json_object_get(node, "persistence");
    assert_string_equal(json_string_value(json_object_get(persistence, "plugin")), "persist-file");
    assert_string_equal(json_string_value(json_object_get(persistence, "state")), "ok");
}

static void test_json(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = one_start(rig);
    json_t *put = one_json(KVCTL_EXPECT(rig, 0, "--json", "put", "k\n\"", "1"));
    EXPECT_MEMBERS(put, "key", "result", "position");
    assert_string_equal(json_string_value(json_object_get(put, "key")), "k\n\"");
    assert_string_equal(json_string_value(json_object_get(put, "result")), "ok");
    json_decref(put);
    KVCTL_EXPECT(rig, 0, "--json", "put", "k\n\"", "2");
    json_t *get = one_json(KVCTL_EXPECT(rig, 0, "--json", "get", "k\n\""));
    EXPECT_MEMBERS(get, "key", "result", "value", "position");
    assert_string_equal(json_string_value(json_object_get(get, "value")), "2");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(get, "position"), "index")),
                     2);
    json_decref(get);
    json_t *none = one_json(KVCTL_EXPECT(rig, 1, "--json", "get", "other"));
    EXPECT_MEMBERS(none, "key", "result", "reason", "retry_after_ms");
    assert_string_equal(json_string_value(json_object_get(none, "result")), "not_found");
    json_decref(none);
    json_t *scan = one_json(KVCTL_EXPECT(rig, 0, "--json", "scan"));
    assert_string_equal(json_string_value(json_object_get(scan, "key")), "k\n\"");
    assert_string_equal(json_string_value(json_object_get(scan, "value")), "2");
    json_decref(scan);
    json_t *digest = one_json(KVCTL_EXPECT(rig, 0, "--json", "digest", "--node", "n1"));
    EXPECT_MEMBERS(digest, "name", "digest", "committed_index");
    json_t *status = one_json(KVCTL_EXPECT(rig, 0, "--json", "status"));
    one_check_status(rig, status);
    assert_true(json_equal(json_object_get(digest, "digest"),
                           json_object_get(state_node(status, "n1"), "digest")));
    json_decref(digest);
    json_decref(status);
    rig_stop(node);
    rig_pass(rig);
}

/* --- life --- */

static void one_digest(struct rig *rig, char *ret_line, size_t size)
{
    snprintf(ret_line, size, "%s", KVCTL_EXPECT(rig, 0, "digest", "--node", "n1")->out);
}

static void test_restart_keeps_data(void **state)
{
    struct rig *rig = *state;
    char before[128];
    char after[128];
    struct rig_node *node = one_start(rig);
    KVCTL_EXPECT(rig, 0, "put", "a", "1");
    KVCTL_EXPECT(rig, 0, "put", "b", "2");
    KVCTL_EXPECT(rig, 0, "put", "a", "3");
    KVCTL_EXPECT(rig, 0, "remove", "b");
    one_digest(rig, before, sizeof(before));
    rig_stop(node);
    rig_start(node);
    state_wait_agree(rig, 1);
    one_digest(rig, after, sizeof(after));
    assert_string_equal(before, after);
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "a"), "3\n");
    KVCTL_EXPECT(rig, 1, "get", "b");
    KVCTL_EXPECT(rig, 0, "put", "c", "4");
    rig_kill(node);
    rig_start(node);
    state_wait_agree(rig, 1);
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "c"), "4\n");
    one_expect_out(KVCTL_EXPECT(rig, 0, "get", "a"), "3\n");
    rig_stop(node);
    rig_pass(rig);
}

static int one_run(struct rig *rig, const char *const *argv)
{
    proc_start(&rig->other, rig->folder, "run", rig->folder, argv);
    return proc_wait(&rig->other, PROC_DEADLINE_MS);
}

static void one_expect_file(const char *path, const char *text)
{
    char *content = proc_read_file(path, NULL);
    bool has_text = strstr(content, text) != NULL;
    free(content);
    if (!has_text) {
        fail_msg("%s has no \"%s\"", path, text);
    }
}

static void test_check_starts_nothing(void **state)
{
    struct rig *rig = *state;
    const char *check[] = {CLUSTER_KVNODE, "-c", CLUSTER_SOURCE "/etc/kv.cfg", "--check", NULL};
    assert_int_equal(one_run(rig, check), 0);
    one_expect_file(rig->other.out, "etc/kv.cfg: ok\n");
    char path[PROC_PATH_MAX];
    proc_join(rig->folder, "data", path);
    assert_int_not_equal(access(path, F_OK), 0); /* no data folder was made */
    for (uint32_t i = 1; i <= 3; i++) {
        snprintf(path, sizeof(path), CLUSTER_SOURCE "/etc/three-nodes/n%u.cfg", i);
        const char *three[] = {CLUSTER_KVNODE, "-c", path, "--check", NULL};
        assert_int_equal(one_run(rig, three), 0);
    }
    const char *version[] = {CLUSTER_KVNODE, "--version", NULL};
    assert_int_equal(one_run(rig, version), 0);
    one_expect_file(rig->other.out, "kvnode ");
    const char *help[] = {CLUSTER_KVNODE, "--help", NULL};
    assert_int_equal(one_run(rig, help), 0);
    const char *no_file[] = {CLUSTER_KVNODE, NULL};
    assert_int_equal(one_run(rig, no_file), 2);
    rig_pass(rig);
}

static void test_one_setting_overridden(void **state)
{
    struct rig *rig = *state;
    const char *set[] = {
        CLUSTER_KVNODE, "-c", CLUSTER_SOURCE "/etc/kv.cfg", "--set", "limits.key_bytes=0",
        "--check",      NULL};
    assert_int_equal(one_run(rig, set), 2);
    one_expect_file(rig->other.err, "--set limits.key_bytes: ");
    const char *fine[] = {
        CLUSTER_KVNODE, "-c", CLUSTER_SOURCE "/etc/kv.cfg", "--set", "limits.key_bytes=9",
        "--check",      NULL};
    assert_int_equal(one_run(rig, fine), 0);
    rig_pass(rig);
}

static void test_limits_are_rejected(void **state)
{
    struct rig *rig = *state;
    struct rig_node *node = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA,
                                    "limits = { key_bytes = 5; value_bytes = 6; };\n");
    rig_start(node);
    KVCTL_EXPECT(rig, 0, "put", "12345", "123456");
    KVCTL_EXPECT(rig, 4, "put", "123456", "1");
    KVCTL_EXPECT(rig, 4, "put", "1", "1234567");
    KVCTL_EXPECT(rig, 0, "get", "12345");
    assert_int_equal(state_number(rig, "n1", "keys"), 1);
    rig_stop(node);
    rig_pass(rig);
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_the_configuration_that_comes_along),
        ONE(test_port_zero),
        ONE(test_verbs_and_exit_statuses),
        ONE(test_a_frozen_node),
        ONE(test_too_few_in_sync),
        ONE(test_json),
        ONE(test_restart_keeps_data),
        ONE(test_check_starts_nothing),
        ONE(test_one_setting_overridden),
        ONE(test_limits_are_rejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

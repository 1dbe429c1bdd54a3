/* A cluster whose three nodes use the file store, Berkeley DB and MongoDB at once, moved live to
 * MongoDB, and what a node says when its server is away. Run through with_mongo.sh of
 * persist-mongo.
 */
#include "stores.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_STORE "plugin = \"persist-file\"; "

static char mongo_texts[4][700];

static const char *mongo_bdb(const struct rig *rig)
{
    snprintf(mongo_texts[0], sizeof(mongo_texts[0]),
             "plugin = \"persist-bdb\"; path = \"%.300s/bdb\"; ", rig->folder);
    return mongo_texts[0];
}

/* MongoDB, in a collection that nobody else uses. */
static const char *mongo_at(const char *uri)
{
    static unsigned number;
    char *text = mongo_texts[1 + number % 3];
    snprintf(text, sizeof(mongo_texts[1]),
             "plugin = \"persist-mongo\"; uri = \"%.300s\"; collection = \"cluster_%d_%u\"; "
             "timeout_ms = 1000; ",
             uri, (int)getpid(), number);
    number++;
    return text;
}

static const char *mongo_uri(void)
{
    const char *uri = getenv("KV_MONGO_URI");
    if (uri == NULL) {
        fail_msg("KV_MONGO_URI is not set: run this through with_mongo.sh");
    }
    return uri;
}

static void test_file_berkeley_db_and_mongodb_together(void **state)
{
    struct rig *rig = *state;
    const char *const persistence[] = {FILE_STORE, mongo_bdb(rig), mongo_at(mongo_uri())};
    stores_check_together(rig, persistence);
    rig_pass(rig);
}

static void test_mongodb_at_the_primary(void **state)
{
    struct rig *rig = *state;
    const char *const persistence[] = {mongo_at(mongo_uri()), mongo_bdb(rig), FILE_STORE};
    stores_check_together(rig, persistence);
    rig_pass(rig);
}

static void test_moved_from_file_to_mongodb(void **state)
{
    struct rig *rig = *state;
    stores_check_move(rig, FILE_STORE, mongo_at(mongo_uri()));
    rig_pass(rig);
}

/* Starts a server of the test's own, as rig->other; port 0: a free one. Returns its port; 0: the
 * server is one that was given, there is no other. */
static int mongo_start_server(struct rig *rig, int port)
{
    const char *run = getenv("KV_MONGO_RUN");
    char command[1400];
    if (run == NULL) {
        print_message("SKIPPED: the server was given with KV_MONGO_URI, it cannot be stopped\n");
        return 0;
    }
    snprintf(command, sizeof(command), "exec %s '%s/mongo' %d", run, rig->folder, port);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    proc_start(&rig->other, rig->folder, "mongo-server", NULL, argv);
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (int ready = 0; ready == 0;) {
        char *out = proc_read_file(rig->other.out, NULL);
        if (sscanf(out, "ready %d", &port) == 1) {
            ready = 1;
        }
        free(out);
        assert_true(proc_now_ms() < end_ms);
        proc_pause();
    }
    return port;
}

/* n2 on a server at that port. The text lives until the next call. */
static struct rig_node *mongo_add_at_port(struct rig *rig, int port)
{
    static char settings[512];
    snprintf(settings, sizeof(settings),
             RIG_SETTINGS "persistence = { plugin = \"persist-mongo\"; timeout_ms = 500; "
                          "uri = \"mongodb://127.0.0.1:%d\"; };\n",
             port);
    return rig_add(rig, "n2", RIG_REPLICA, settings);
}

/* A server whose process stands still: the secondary is taken out and says why, the writers go on,
 * and it comes back by itself. */
static void test_a_server_that_stands_still(void **state)
{
    struct rig *rig = *state;
    int port = mongo_start_server(rig, 0);
    if (port == 0) {
        rig_pass(rig);
        skip();
    }
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    struct rig_node *node = mongo_add_at_port(rig, port);
    rig_start(node);
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 0, "put", "before", "1");
    proc_signal(&rig->other, SIGSTOP);
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "put", "meanwhile", "2");
    rig_wait_log(node, "persist-failed");
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "put", "later", "3");
    assert_true(proc_is_running(&node->proc));
    proc_signal(&rig->other, SIGCONT);
    state_wait_agree(rig, 2);
    assert_int_equal(state_number(rig, "n2", "keys"), 3);
    rig_stop(node);
    proc_kill(&rig->other);
    rig_pass(rig);
}

/* A node that is there before its server waits for it, and can be stopped meanwhile. */
static void test_a_server_that_comes_later(void **state)
{
    struct rig *rig = *state;
    int port = rig_free_port();
    if (getenv("KV_MONGO_RUN") == NULL) {
        print_message("SKIPPED: the server was given with KV_MONGO_URI\n");
        rig_pass(rig);
        skip();
    }
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    struct rig_node *node = mongo_add_at_port(rig, port);
    rig_launch(node);
    rig_wait_log(node, "store-failing");
    proc_signal(&node->proc, SIGTERM);
    assert_int_equal(proc_wait(&node->proc, PROC_DEADLINE_MS), 0);
    rig_launch(node);
    rig_wait_log(node, "store-failing");
    assert_int_equal(mongo_start_server(rig, port), port);
    free(rig_wait_ready(node));
    KVCTL_EXPECT(rig, 0, "put", "key", "value");
    state_wait_agree(rig, 2);
    rig_stop(node);
    proc_kill(&rig->other);
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_berkeley_db_and_mongodb_together, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_mongodb_at_the_primary, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_moved_from_file_to_mongodb, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_stands_still, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_comes_later, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Three nodes: secondaries that read, die, return, freeze, leave; a primary that freezes, and one
 * that leaves; all freeze. */
#include "load.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const members_names[] = {"n1", "n2", "n3", NULL};

/* n1 is arbiter and primary; n2 and n3 are in sync. */
static void members_start(struct rig *rig)
{
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n2", RIG_REPLICA, NULL));
    rig_start(rig_add(rig, "n3", RIG_REPLICA, NULL));
    state_wait_in_sync(rig, 3);
}

static void members_check_load(struct rig *rig)
{
    for (uint32_t i = 0; members_names[i] != NULL; i++) {
        load_check(rig, members_names[i]);
    }
}

static void test_all_have_the_same(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    struct content expected;
    members_start(rig);
    proc_join(rig->folder, "input.tsv", path);
    content_make_file(path, "key", 2000, 200, 1);
    KVCTL_EXPECT(rig, 0, "import", path);
    state_wait_agree(rig, 3);
    content_read(path, &expected);
    for (uint32_t i = 0; i < 3; i++) {
        struct content content;
        content_export(rig, members_names[i], &content);
        content_expect_equal(&expected, &content, members_names[i]);
        content_close(&content);
    }
    content_close(&expected);
    assert_int_equal(KVCTL(rig, "digest")->exit_status, 0);
    KVCTL_EXPECT(rig, 0, "put", "last", "one");
    state_wait_agree(rig, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct rig_run *run = KVCTL_EXPECT(rig, 0, "get", "last", "--node", members_names[i]);
        assert_string_equal(run->out, "one\n");
    }
    /* secondaries first, as in the demo */
    rig_stop(&rig->nodes[2]);
    rig_stop(&rig->nodes[1]);
    rig_stop(&rig->nodes[0]);
    rig_pass(rig);
}

static void test_a_secondary_killed_under_load(void **state)
{
    struct rig *rig = *state;
    members_start(rig);
    load_start(rig, 2, 64, members_names);
    load_wait_more(rig, 500);
    rig_kill(&rig->nodes[2]);
    load_wait_more(rig, 500); /* writes go on without it */
    rig_start(&rig->nodes[2]);
    load_wait_more(rig, 500);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 500);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    rig_pass(rig);
}

static void test_both_secondaries_killed_in_turn(void **state)
{
    struct rig *rig = *state;
    members_start(rig);
    load_start(rig, 3, 64, members_names);
    for (uint32_t round = 0; round < 3; round++) {
        load_wait_more(rig, 300);
        rig_kill(&rig->nodes[1 + round % 2]);
        rig_kill(&rig->nodes[2 - round % 2]);
        load_wait_more(rig, 300);
        rig_start(&rig->nodes[1]);
        rig_start(&rig->nodes[2]);
    }
    load_wait_more(rig, 300);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    rig_pass(rig);
}

/* Its store holds keys that the others have removed meanwhile, and old values. */
static void test_a_joiner_loses_stale_keys(void **state)
{
    struct rig *rig = *state;
    struct content content;
    char key[32];
    members_start(rig);
    for (uint32_t i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        KVCTL_EXPECT(rig, 0, "put", key, "old");
    }
    state_wait_agree(rig, 3);
    rig_kill(&rig->nodes[2]);
    state_wait_gone(rig, "n3");
    for (uint32_t i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        if (i % 2 == 0) {
            KVCTL_EXPECT(rig, 0, "remove", key);
        } else {
            KVCTL_EXPECT(rig, 0, "put", key, "new");
        }
    }
    KVCTL_EXPECT(rig, 0, "put", "fresh", "1");
    rig_start(&rig->nodes[2]);
    state_wait_agree(rig, 3);
    content_export(rig, "n3", &content);
    assert_int_equal(content.len, 11);
    assert_null(content_value(&content, "k4"));
    assert_string_equal(content_value(&content, "k5"), "new");
    assert_string_equal(content_value(&content, "fresh"), "1");
    content_close(&content);
    /* The same once more, out of its own store: it stops, and starts with the arbiter away. */
    rig_stop(&rig->nodes[2]);
    rig_start(&rig->nodes[2]);
    state_wait_agree(rig, 3);
    content_export(rig, "n3", &content);
    assert_int_equal(content.len, 11);
    content_close(&content);
    rig_pass(rig);
}

static void test_an_emptied_node_gets_everything(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    members_start(rig);
    proc_join(rig->folder, "input.tsv", path);
    content_make_file(path, "key", 3000, 300, 4);
    KVCTL_EXPECT(rig, 0, "import", path);
    rig_kill(&rig->nodes[1]);
    proc_remove_folder(rig->nodes[1].data);
    /* It comes with a new identity and its old name, which is its own as soon as it is gone. */
    rig_start(&rig->nodes[1]);
    state_wait_agree(rig, 3);
    assert_int_equal(state_number(rig, "n2", "keys"), 3000);
    rig_pass(rig);
}

static void test_leave(void **state)
{
    struct rig *rig = *state;
    members_start(rig);
    load_start(rig, 5, 16, NULL);
    load_wait_more(rig, 100);
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "leave", "n2");
    rig_expect_end(&rig->nodes[1], 0, NULL);
    state_wait_in_sync(rig, 2);
    load_wait_more(rig, 100);
    KVCTL_EXPECT(rig, 4, "leave", "n2");
    rig_start(&rig->nodes[1]); /* it may come back */
    state_wait_in_sync(rig, 3);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    /* One that is dead is taken out as well. */
    rig_kill(&rig->nodes[2]);
    const struct rig_run *run = KVCTL(rig, "--timeout", "10000", "leave", "n3");
    assert_true(run->exit_status == 0 || run->exit_status == 4); /* 4: it was out already */
    state_wait_in_sync(rig, 2);
    rig_pass(rig);
}

/* It hands over first. Its process stays where it is the arbiter, and is a member again when it is
 * started again. */
static void test_the_primary_leaves(void **state)
{
    struct rig *rig = *state;
    char primary[64];
    members_start(rig);
    load_start(rig, 8, 16, NULL);
    load_wait_more(rig, 100);
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "leave", "n1");
    state_wait_in_sync(rig, 2);
    state_primary(rig, primary, sizeof(primary));
    assert_string_not_equal(primary, "n1");
    KVCTL_EXPECT(rig, 4, "leave", "n1"); /* it is out */
    load_wait_more(rig, 100);
    assert_true(proc_is_running(&rig->nodes[0].proc));
    rig_stop(&rig->nodes[0]);
    rig_start(&rig->nodes[0]);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 100);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    /* The last one in sync stays the primary. */
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "leave", "n1");
    state_wait_in_sync(rig, 2);
    state_primary(rig, primary, sizeof(primary));
    const char *secondary = strcmp(primary, "n2") == 0 ? "n3" : "n2";
    KVCTL_EXPECT(rig, 0, "--timeout", "10000", "leave", secondary);
    state_wait_in_sync(rig, 1);
    KVCTL_EXPECT(rig, 4, "leave", primary);
    KVCTL_EXPECT(rig, 0, "put", "key", "value");
    rig_pass(rig);
}

static void test_a_frozen_secondary(void **state)
{
    struct rig *rig = *state;
    static const char *const readable[] = {"n1", "n2", NULL};
    members_start(rig);
    load_start(rig, 6, 32, readable);
    load_wait_more(rig, 300);
    rig_freeze(&rig->nodes[2]);
    state_wait_gone(rig, "n3");
    load_wait_more(rig, 300);
    rig_thaw(&rig->nodes[2]);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 300);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    assert_true(state_counter(rig, "n1", "members_suspected") >= 1);
    rig_pass(rig);
}

static void members_pause(uint32_t pause_ms)
{
    uint64_t end_ms = proc_now_ms() + pause_ms;
    while (proc_now_ms() < end_ms) { /* the time frozen is what is tested */
        proc_pause();
    }
}

/* With the arbiter in the same process. The others ask for another primary meanwhile, and take
 * nothing more from this one: one of them is chosen, or they are taken out and come back. */
static void test_a_frozen_primary(void **state)
{
    struct rig *rig = *state;
    members_start(rig);
    load_start(rig, 7, 32, members_names);
    load_wait_more(rig, 300);
    rig_freeze(&rig->nodes[0]);
    members_pause(2000);
    rig_thaw(&rig->nodes[0]);
    load_wait_more(rig, 300);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    rig_pass(rig);
}

/* As when a machine sleeps. Each was away itself: nobody holds the silence against another. */
static void test_all_frozen(void **state)
{
    struct rig *rig = *state;
    members_start(rig);
    load_start(rig, 9, 32, members_names);
    load_wait_more(rig, 300);
    json_t *before = state_read(rig);
    for (uint32_t i = 0; i < 3; i++) {
        rig_freeze(&rig->nodes[i]);
    }
    members_pause(2000);
    for (uint32_t i = 0; i < 3; i++) {
        rig_thaw(&rig->nodes[i]);
    }
    load_wait_more(rig, 300);
    load_stop(rig);
    state_wait_agree(rig, 3);
    members_check_load(rig);
    json_t *after = state_read(rig);
    assert_true(json_equal(json_object_get(before, "view"), json_object_get(after, "view")));
    json_decref(before);
    json_decref(after);
    assert_int_equal(state_counter(rig, "n1", "members_suspected"), 0);
    rig_pass(rig);
}

#define MEMBERS(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBERS(test_all_have_the_same),
        MEMBERS(test_a_secondary_killed_under_load),
        MEMBERS(test_both_secondaries_killed_in_turn),
        MEMBERS(test_a_joiner_loses_stale_keys),
        MEMBERS(test_an_emptied_node_gets_everything),
        MEMBERS(test_leave),
        MEMBERS(test_the_primary_leaves),
        MEMBERS(test_a_frozen_secondary),
        MEMBERS(test_a_frozen_primary),
        MEMBERS(test_all_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

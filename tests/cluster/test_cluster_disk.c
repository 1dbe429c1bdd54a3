/* A full disk: the node keeps running and says so, updates fail, nothing acknowledged is lost, and
 * it goes on by itself when there is room again. The disk is a small tmpfs, so this needs root and
 * the right to mount; without them it is skipped, and says so. */
#include "content.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_BYTES "size=8m"

static char disk_path[PROC_PATH_MAX]; /* mounted; "": not */

static int disk_setup(void **state)
{
    disk_path[0] = '\0';
    return rig_setup(state);
}

static int disk_teardown(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    memcpy(path, disk_path, sizeof(path));
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc); /* so that nothing holds the mount */
    }
    if (path[0] != '\0' && umount(path) != 0) {
        fprintf(stderr, "cannot unmount %s: %s\n", path, strerror(errno));
    }
    return rig_teardown(state);
}

/* Mounts a small disk as the node's data folder. False: this machine does not let us. */
static bool disk_mount(const struct rig_node *node)
{
    assert_int_equal(mkdir(node->data, 0755), 0);
    if (mount("kv-cluster", node->data, "tmpfs", 0, DISK_BYTES) != 0) {
        print_message("SKIPPED: cannot mount a tmpfs (%s): a full disk was NOT tested\n",
                      strerror(errno));
        return false;
    }
    memcpy(disk_path, node->data, sizeof(disk_path));
    return true;
}

/* Takes all room that is left, in a file that can be removed. */
static void disk_fill(const char *folder, char *ret_path)
{
    static const char zeros[4096];
    proc_join(folder, "ballast", ret_path);
    int fd = open(ret_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) > 0) {
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

/* Puts until one fails; returns how many were acknowledged. */
static uint32_t disk_put_until_failure(struct rig *rig)
{
    char key[32];
    char value[4097];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "fill-%u", i);
        int status = KVCTL(rig, "--timeout", "2000", "put", key, value)->exit_status;
        if (status != 0) {
            assert_int_equal(status, 3);
            return i;
        }
    }
    fail_msg("the disk is full, and 100 updates were acknowledged");
    return 0;
}

static void disk_check(struct rig *rig, const char *node, uint32_t acknowledged)
{
    struct content content;
    char key[32];
    content_export(rig, node, &content);
    assert_non_null(content_value(&content, "before"));
    assert_non_null(content_value(&content, "after"));
    for (uint32_t i = 0; i < acknowledged; i++) {
        snprintf(key, sizeof(key), "fill-%u", i);
        if (content_value(&content, key) == NULL) {
            fail_msg("%s was acknowledged and is not at %s", key, node);
        }
    }
    content_close(&content);
}

static void disk_wait_put(struct rig *rig, const char *key, const char *value)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while (KVCTL(rig, "--timeout", "2000", "put", key, value)->exit_status != 0) {
        if (proc_now_ms() > end_ms) {
            fail_msg("no update is acknowledged although there is room again");
        }
        proc_pause();
    }
}

#define DISK_SETTINGS                                   \
    "replication = { operation_timeout_ms = 1000; };\n" \
    "persistence = { preallocate_bytes = 0; };\n"

static void test_a_full_disk(void **state)
{
    struct rig *rig = *state;
    char ballast[PROC_PATH_MAX];
    struct rig_node *node = rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, DISK_SETTINGS);
    if (!disk_mount(node)) {
        rig_pass(rig);
        skip();
    }
    rig_start(node);
    KVCTL_EXPECT(rig, 0, "put", "before", "1");
    disk_fill(node->data, ballast);
    uint32_t acknowledged = disk_put_until_failure(rig);
    assert_true(proc_is_running(&node->proc));
    assert_string_equal(KVCTL_EXPECT(rig, 0, "get", "before")->out, "1\n"); /* reads go on */
    rig_wait_log(node, "No space left");
    assert_true(state_counter(rig, "n1", "persist_failures") > 0);
    assert_int_equal(unlink(ballast), 0);
    disk_wait_put(rig, "after", "2");
    disk_check(rig, "n1", acknowledged);
    state_wait_agree(rig, 1);
    rig_kill(node); /* what counts is what is on the disk */
    rig_start(node);
    disk_check(rig, "n1", acknowledged);
    rig_stop(node);
    rig_pass(rig);
}

/* The secondary whose disk is full makes no progress and is taken out; the others go on, and it
 * comes back when there is room. */
static void test_a_full_disk_at_a_secondary(void **state)
{
    struct rig *rig = *state;
    char ballast[PROC_PATH_MAX];
    rig_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL));
    struct rig_node *node = rig_add(rig, "n2", RIG_REPLICA, DISK_SETTINGS);
    if (!disk_mount(node)) {
        rig_pass(rig);
        skip();
    }
    rig_start(node);
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 0, "put", "before", "1");
    disk_fill(node->data, ballast);
    char value[4097];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (uint32_t i = 0; i < 5; i++) {
        char key[32];
        snprintf(key, sizeof(key), "fill-%u", i);
        KVCTL_EXPECT(rig, 0, "--timeout", "10000", "put", key, value);
    }
    assert_true(proc_is_running(&node->proc));
    rig_wait_log(node, "No space left");
    assert_int_equal(unlink(ballast), 0);
    state_wait_in_sync(rig, 2);
    KVCTL_EXPECT(rig, 0, "put", "after", "2");
    state_wait_agree(rig, 2);
    disk_check(rig, "n2", 5);
    rig_stop(node);
    rig_pass(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_disk, disk_setup, disk_teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_at_a_secondary, disk_setup, disk_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

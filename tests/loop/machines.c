#include "machines.h"

#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MACHINES_PORT        7400u
#define MACHINES_DISK        "size=24m"
#define MACHINES_BALLAST     "ballast"
#define MACHINES_BLOCK_BYTES 65536u

/* A mount namespace of our own, in which nothing that is mounted is seen by others. */
static bool machines_may_mount(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

void machines_open(struct machines *machines, bool is_plain)
{
    char reason[NETNS_TEXT_MAX] = "not wanted";
    *machines = (struct machines){0};
    machines->has_net = !is_plain && netns_is_possible(reason);
    if (!machines->has_net) {
        printf("SKIPPED: partitions, for there are no network namespaces: %s\n", reason);
    }
    errno = 0;
    machines->has_disks = !is_plain && machines_may_mount();
    if (!machines->has_disks) {
        printf("SKIPPED: full disks, for there are no disks of our own: %s\n",
               is_plain ? "not wanted" : strerror(errno));
    }
    fflush(stdout);
}

static void machines_make_disk(const struct rig_node *node)
{
    assert_int_equal(mkdir(node->data, 0755), 0);
    if (mount("kvnode-loop", node->data, "tmpfs", 0, MACHINES_DISK) != 0) {
        fail_msg("no tmpfs at %s: %s", node->data, strerror(errno));
    }
}

static void machines_add(struct machines *machines, const char *name, uint32_t roles)
{
    struct rig *rig = machines->rig;
    uint32_t number = rig->nodes_len;
    char *settings = machines->settings[number];
    struct rig_node *node = rig_add(rig, name, roles, settings);
    if (machines->has_net) {
        char host[32];
        snprintf(host, sizeof(host), "10.77.0.%u", number + 1);
        rig_uri(host, MACHINES_PORT, node->listen);
        if ((roles & RIG_ARBITER) != 0) {
            memcpy(rig->arbiter, node->listen, sizeof(rig->arbiter));
        }
    }
    if (machines->has_disks) {
        machines_make_disk(node);
    }
    const char *more = getenv("KV_LOOP_SETTINGS");
    settings[0] = '\0';
    if ((roles & RIG_REPLICA) != 0) {
        /* Small files, so that a store is compacted now and then and fits on its disk; and about a
         * second's log, so that who returns gets the tail at one time and the difference at
         * another. */
        int len = snprintf(settings, sizeof(machines->settings[0]),
                           "persistence = { plugin = \"persist-file\"; path = \"%s/store\";\n"
                           "    compact_min_bytes = 65536; segment_bytes = 262144;\n"
                           "    preallocate_bytes = 65536; };\n"
                           "limits = { log_bytes = 65536; };\n%s\n",
                           node->data, more == NULL ? "" : more);
        assert_true(len > 0 && (size_t)len < sizeof(machines->settings[0]));
    }
}

void machines_launch(struct machines *machines, struct rig_node *node)
{
    if (machines->has_net) {
        uint32_t home = machines->net.home;
        netns_go(&machines->net, (uint32_t)(node - machines->rig->nodes));
        rig_launch(node);
        netns_go(&machines->net, home);
    } else {
        rig_launch(node);
    }
}

void machines_start(struct machines *machines, struct rig *rig)
{
    machines->rig = rig;
    if (machines->has_net) {
        netns_open(&machines->net, MACHINES_NODES + 1);
        netns_go(&machines->net, MACHINES_NODES); /* the client's */
    }
    machines_add(machines, "a", RIG_ARBITER);
    machines_add(machines, "n1", RIG_REPLICA);
    machines_add(machines, "n2", RIG_REPLICA);
    machines_add(machines, "n3", RIG_REPLICA);
    for (uint32_t i = 0; i < MACHINES_NODES; i++) {
        machines_launch(machines, &rig->nodes[i]);
        free(rig_wait_ready(&rig->nodes[i]));
    }
    state_wait_in_sync(rig, MACHINES_REPLICAS);
}

/* The disks are gone with this process: what is to be looked at is copied. */
static void machines_keep(struct machines *machines, const struct rig_node *node)
{
    char path[PROC_PATH_MAX];
    char name[64];
    snprintf(name, sizeof(name), "%s.kept", node->name);
    proc_join(machines->rig->folder, name, path);
    const char *argv[] = {"/bin/cp", "-a", node->data, path, NULL};
    struct proc copy = {0};
    proc_start(&copy, machines->rig->folder, "keep", NULL, argv);
    proc_wait(&copy, PROC_DEADLINE_MS);
}

void machines_close(struct machines *machines, bool is_kept)
{
    struct rig *rig = machines->rig;
    for (uint32_t i = 0; machines->has_disks && rig != NULL && i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc);
        if (is_kept) {
            machines_keep(machines, &rig->nodes[i]);
        }
        umount2(rig->nodes[i].data, MNT_DETACH);
    }
    netns_close(&machines->net);
}

void machines_wipe(struct machines *machines, const struct rig_node *node)
{
    if (machines->has_disks) {
        assert_int_equal(umount2(node->data, MNT_DETACH), 0);
        assert_int_equal(rmdir(node->data), 0);
        machines_make_disk(node);
    } else {
        proc_remove_folder(node->data);
    }
}

/* --- disks --- */

void machines_fill_disk(struct machines *machines, const struct rig_node *node)
{
    static const char block[MACHINES_BLOCK_BYTES];
    char path[PROC_PATH_MAX];
    assert_true(machines->has_disks);
    proc_join(node->data, MACHINES_BALLAST, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

void machines_free_disk(struct machines *machines, const struct rig_node *node)
{
    char path[PROC_PATH_MAX];
    assert_true(machines->has_disks);
    proc_join(node->data, MACHINES_BALLAST, path);
    unlink(path);
}

/* --- the network --- */

void machines_cut(struct machines *machines, uint32_t host, bool is_cut)
{
    netns_ip(&machines->net, NETNS_HUB, "link set v%u %s\n", host + 1, is_cut ? "down" : "up");
}

/* The neighbour gets an address that nobody has. */
void machines_cut_way(struct machines *machines, uint32_t from, uint32_t to, bool is_cut)
{
    if (is_cut) {
        netns_ip(&machines->net, from,
                 "neighbour replace 10.77.0.%u lladdr 02:00:00:00:00:77 dev eth0 nud permanent\n",
                 to + 1);
    } else {
        netns_ip(&machines->net, from, "neighbour del 10.77.0.%u dev eth0\n", to + 1);
    }
}

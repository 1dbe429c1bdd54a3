/*
 * The nodes of the loop: an arbiter and three replicas, each in a network namespace and on a small
 * disk (tmpfs) of its own where the system allows it, and the client in a further namespace.
 * Otherwise all on the loopback and in plain folders, without partitions and full disks.
 *
 * Names: "a", "n1" to "n3". For a cmocka test of one thread.
 */
#ifndef LOOP_MACHINES_H
#define LOOP_MACHINES_H

#include "netns.h"
#include "rig.h"

#define MACHINES_REPLICAS 3u
#define MACHINES_NODES    (1u + MACHINES_REPLICAS)

struct machines {
    struct rig *rig;
    struct netns net;
    bool has_net;
    bool has_disks;
    char settings[MACHINES_NODES][512];
};

/* What this system allows, for people; is_plain: nothing of it is wanted. To be called once, before
 * the rig is made. */
void machines_open(struct machines *machines, bool is_plain);

/* Makes the network, the disks and the nodes, and starts them. */
void machines_start(struct machines *machines, struct rig *rig);

/* Ends everything. is_kept: the nodes' data are put beside their disks first. */
void machines_close(struct machines *machines, bool is_kept);

/* Starts one node in its namespace, and does not wait for it. */
void machines_launch(struct machines *machines, struct rig_node *node);

/* Removes what is in the node's folder. */
void machines_wipe(struct machines *machines, const struct rig_node *node);

/* Fills the node's disk, or makes room again. Needs has_disks. */
void machines_fill_disk(struct machines *machines, const struct rig_node *node);
void machines_free_disk(struct machines *machines, const struct rig_node *node);

/* Both directions between this host and all others. Needs has_net, as does the next. */
void machines_cut(struct machines *machines, uint32_t host, bool is_cut);

/* What `from` sends to `to` is lost without a word. */
void machines_cut_way(struct machines *machines, uint32_t from, uint32_t to, bool is_cut);

#endif

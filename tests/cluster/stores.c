#include "stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORES_SETTINGS_MAX 1024u

/* rig_add() borrows the settings: they live as long as the test. */
static char stores_settings[RIG_NODES_MAX][STORES_SETTINGS_MAX];

static struct rig_node *stores_add(struct rig *rig, const char *name, uint32_t roles,
                                   const char *persistence)
{
    char *settings = stores_settings[rig->nodes_len];
    int len = snprintf(settings, STORES_SETTINGS_MAX, RIG_SETTINGS "persistence = { %s };\n",
                       persistence);
    assert_true(len > 0 && len < (int)STORES_SETTINGS_MAX);
    return rig_add(rig, name, roles, settings);
}

static const char *const stores_readers[] = {"n1", "n2", "n3", NULL};

static void stores_check_all(struct rig *rig)
{
    state_wait_agree(rig, 3);
    load_check(rig, "n1");
    load_check(rig, "n2");
    load_check(rig, "n3");
}

void stores_check_together(struct rig *rig, const char *const persistence[3])
{
    static const char *const names[] = {"n1", "n2", "n3"};
    struct rig_node *nodes[3];
    for (uint32_t i = 0; i < 3; i++) {
        nodes[i] = stores_add(rig, names[i], i == 0 ? RIG_ARBITER | RIG_REPLICA : RIG_REPLICA,
                              persistence[i]);
        rig_start(nodes[i]);
    }
    state_wait_in_sync(rig, 3);
    load_start(rig, 21, 8, stores_readers);
    load_wait_more(rig, 200);
    for (uint32_t i = 1; i < 3; i++) {
        rig_kill(nodes[i]);
        load_wait_more(rig, 100);
        rig_start(nodes[i]);
        state_wait_in_sync(rig, 3);
    }
    load_wait_more(rig, 200);
    load_stop(rig);
    stores_check_all(rig);
    for (uint32_t i = 3; i-- > 0;) {
        rig_kill(nodes[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_launch(nodes[i]); /* all at once: the first one waits for the others */
    }
    for (uint32_t i = 0; i < 3; i++) {
        free(rig_wait_ready(nodes[i]));
    }
    stores_check_all(rig);
    for (uint32_t i = 3; i-- > 0;) {
        rig_stop(nodes[i]);
    }
}

void stores_check_move(struct rig *rig, const char *from, const char *to)
{
    static const char *const readers[] = {"n1", NULL};
    struct rig_node *primary = stores_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, from);
    struct rig_node *old = stores_add(rig, "n2", RIG_REPLICA, from);
    struct rig_node *joiner = stores_add(rig, "n3", RIG_REPLICA, to);
    rig_start(primary);
    rig_start(old);
    state_wait_in_sync(rig, 2);
    load_start(rig, 22, 8, readers);
    load_wait_more(rig, 300);
    rig_start(joiner);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 100);
    KVCTL_EXPECT(rig, 0, "leave", "n2");
    rig_expect_end(old, 0, NULL);
    state_wait_in_sync(rig, 2);
    load_wait_more(rig, 100);
    load_stop(rig);
    state_wait_agree(rig, 2);
    load_check(rig, "n1");
    load_check(rig, "n3");
    /* What counts is what is in the new store. */
    rig_kill(joiner);
    rig_start(joiner);
    state_wait_agree(rig, 2);
    load_check(rig, "n3");
    assert_int_equal(state_counter(rig, "n1", "operations_failed"), 0);
}

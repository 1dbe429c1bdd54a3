#include "nemesis.h"

#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What of the system it needs. */
#define NEMESIS_NET   1u
#define NEMESIS_DISKS 2u

/* At whom it is directed. */
enum victim { VICTIM_ALL, VICTIM_PRIMARY, VICTIM_SECONDARY, VICTIM_ARBITER, VICTIM_ANY };

struct act {
    struct machines *machines;
    struct rig *rig;
    struct rand *rand;
    struct rig_node *node; /* the victim */
    uint32_t ms;           /* how long */
    char *text;
};

struct nemesis {
    const char *name;
    void (*run)(struct act *act);
    enum victim victim;
    uint32_t ms_min;
    uint32_t ms_max;
    uint32_t needs;
};

/* The time that passes is the fault itself. */
static void act_wait(uint32_t ms)
{
    uint64_t end_ms = proc_now_ms() + ms;
    while (proc_now_ms() < end_ms) {
        proc_pause();
    }
}

static void act_say(struct act *act, const char *text)
{
    size_t len = strlen(act->text);
    snprintf(act->text + len, NEMESIS_TEXT_MAX - len, " %s", text);
}

/* --- crashes --- */

static void act_kill(struct act *act)
{
    rig_kill(act->node);
    act_wait(act->ms);
    machines_launch(act->machines, act->node);
}

static void act_kill_twice(struct act *act)
{
    act_kill(act);
    act_wait((uint32_t)rand_below(act->rand, 600));
    act_kill(act);
}

/* The primary, and the arbiter that would have to replace it. */
static void act_kill_with_arbiter(struct act *act)
{
    rig_kill(act->node);
    rig_kill(&act->rig->nodes[0]);
    act_wait(act->ms);
    bool is_first = rand_percent(act->rand, 50);
    machines_launch(act->machines, is_first ? act->node : &act->rig->nodes[0]);
    act_wait((uint32_t)rand_below(act->rand, 1500));
    machines_launch(act->machines, is_first ? &act->rig->nodes[0] : act->node);
}

static void act_power_cut(struct act *act)
{
    uint32_t order[MACHINES_NODES];
    for (uint32_t i = 0; i < MACHINES_NODES; i++) {
        assert_true(proc_is_running(&act->rig->nodes[i].proc));
        order[i] = i;
    }
    for (uint32_t i = 0; i < MACHINES_NODES; i++) {
        proc_signal(&act->rig->nodes[i].proc, SIGKILL);
    }
    for (uint32_t i = 0; i < MACHINES_NODES; i++) {
        proc_kill(&act->rig->nodes[i].proc); /* reaps it */
    }
    for (uint32_t i = MACHINES_NODES; i > 0; i--) {
        uint32_t at = (uint32_t)rand_below(act->rand, i);
        uint32_t number = order[at];
        order[at] = order[i - 1];
        act_say(act, act->rig->nodes[number].name);
        machines_launch(act->machines, &act->rig->nodes[number]);
        act_wait((uint32_t)rand_below(act->rand, act->ms));
    }
}

static void act_wipe(struct act *act)
{
    rig_kill(act->node);
    machines_wipe(act->machines, act->node);
    act_wait(act->ms);
    machines_launch(act->machines, act->node);
}

static void act_freeze(struct act *act)
{
    rig_freeze(act->node);
    act_wait(act->ms);
    rig_thaw(act->node);
}

/* --- the network --- */

static uint32_t act_host(const struct act *act)
{
    return (uint32_t)(act->node - act->rig->nodes);
}

/* Another host than the victim's, perhaps the client's. */
static uint32_t act_other_host(struct act *act)
{
    uint32_t other = (uint32_t)rand_below(act->rand, MACHINES_NODES);
    other += other >= act_host(act) ? 1 : 0;
    act_say(act, other == MACHINES_NODES ? "clients" : act->rig->nodes[other].name);
    return other;
}

static void act_isolate(struct act *act)
{
    machines_cut(act->machines, act_host(act), true);
    act_wait(act->ms);
    machines_cut(act->machines, act_host(act), false);
}

/* Both ways between two hosts; the others reach both. */
static void act_cut_pair(struct act *act)
{
    uint32_t other = act_other_host(act);
    machines_cut_way(act->machines, act_host(act), other, true);
    machines_cut_way(act->machines, other, act_host(act), true);
    act_wait(act->ms);
    machines_cut_way(act->machines, act_host(act), other, false);
    machines_cut_way(act->machines, other, act_host(act), false);
}

static void act_cut_way(struct act *act)
{
    uint32_t other = act_other_host(act);
    machines_cut_way(act->machines, act_host(act), other, true);
    act_wait(act->ms);
    machines_cut_way(act->machines, act_host(act), other, false);
}

static void act_set_mute(struct act *act, bool is_mute)
{
    for (uint32_t i = 0; i <= MACHINES_NODES; i++) {
        if (i != act_host(act)) {
            machines_cut_way(act->machines, act_host(act), i, is_mute);
        }
    }
}

/* It hears all and is heard by nobody. */
static void act_mute(struct act *act)
{
    act_set_mute(act, true);
    act_wait(act->ms);
    act_set_mute(act, false);
}

/* --- the rest --- */

static void act_disk_full(struct act *act)
{
    machines_fill_disk(act->machines, act->node);
    act_wait(act->ms);
    machines_free_disk(act->machines, act->node);
}

/* A clean stop under load. */
static void act_leave(struct act *act)
{
    proc_signal(&act->node->proc, SIGTERM);
    rig_expect_end(act->node, 0, NULL);
    act_wait(act->ms);
    machines_launch(act->machines, act->node);
}

/* On a busy machine the arbiter may just then think that one of the two is not there, and refuse:
 * it is asked again, as a person would. */
static void act_handover(struct act *act)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    const struct rig_run *run;
    do {
        run = KVCTL(act->rig, "--timeout", "10000", "handover", act->node->name);
    } while (run->exit_status == 4 && proc_now_ms() < end_ms);
    if (run->exit_status != 0) {
        fail_msg("handover to %s ended with %d: %.500s", act->node->name, run->exit_status,
                 run->err);
    }
}

static const struct nemesis nemeses[] = {
    {"nothing", NULL, VICTIM_ALL, 100, 1000, 0},
    {"kill-primary", act_kill, VICTIM_PRIMARY, 0, 3000, 0},
    {"kill-secondary", act_kill, VICTIM_SECONDARY, 0, 2000, 0},
    {"kill-arbiter", act_kill, VICTIM_ARBITER, 0, 2000, 0},
    {"kill-twice", act_kill_twice, VICTIM_PRIMARY, 0, 500, 0},
    {"kill-primary-and-arbiter", act_kill_with_arbiter, VICTIM_PRIMARY, 0, 1500, 0},
    {"freeze-primary", act_freeze, VICTIM_PRIMARY, 100, 3000, 0},
    {"freeze-secondary", act_freeze, VICTIM_SECONDARY, 100, 3000, 0},
    {"freeze-arbiter", act_freeze, VICTIM_ARBITER, 100, 3000, 0},
    {"power-cut", act_power_cut, VICTIM_ALL, 1, 1000, 0},
    {"wipe-secondary", act_wipe, VICTIM_SECONDARY, 0, 1500, 0},
    {"wipe-primary", act_wipe, VICTIM_PRIMARY, 2000, 4000, 0}, /* replaced before it is back */
    {"leave-secondary", act_leave, VICTIM_SECONDARY, 0, 500, 0},
    {"leave-primary", act_leave, VICTIM_PRIMARY, 0, 500, 0},
    {"handover", act_handover, VICTIM_SECONDARY, 0, 1, 0},
    {"isolate", act_isolate, VICTIM_ANY, 300, 4000, NEMESIS_NET},
    {"isolate-primary", act_isolate, VICTIM_PRIMARY, 300, 4000, NEMESIS_NET},
    {"cut-pair", act_cut_pair, VICTIM_ANY, 300, 4000, NEMESIS_NET},
    {"cut-one-way", act_cut_way, VICTIM_ANY, 300, 4000, NEMESIS_NET},
    {"mute", act_mute, VICTIM_ANY, 300, 4000, NEMESIS_NET},
    {"mute-primary", act_mute, VICTIM_PRIMARY, 300, 4000, NEMESIS_NET},
    {"disk-full-primary", act_disk_full, VICTIM_PRIMARY, 200, 3000, NEMESIS_DISKS},
    {"disk-full-secondary", act_disk_full, VICTIM_SECONDARY, 200, 3000, NEMESIS_DISKS},
};

#define NEMESES_LEN (sizeof(nemeses) / sizeof(nemeses[0]))

static bool nemesis_is_possible(const struct nemesis *nemesis, const struct machines *machines)
{
    return ((nemesis->needs & NEMESIS_NET) == 0 || machines->has_net) &&
           ((nemesis->needs & NEMESIS_DISKS) == 0 || machines->has_disks);
}

/* Whether a name is one of a list with commas; every name is in none (NULL). */
static bool nemesis_is_wanted(const char *name, const char *list)
{
    size_t len = strlen(name);
    const char *at = list;
    while (at != NULL && *at != '\0') {
        size_t here = strcspn(at, ",");
        if (here == len && memcmp(at, name, len) == 0) {
            return true;
        }
        at += at[here] == ',' ? here + 1 : here;
    }
    return list == NULL;
}

const struct nemesis *nemesis_draw(const struct machines *machines, struct rand *rand,
                                   const char *only)
{
    const struct nemesis *possible[NEMESES_LEN];
    uint32_t len = 0;
    for (uint32_t i = 0; i < NEMESES_LEN; i++) {
        if (nemesis_is_wanted(nemeses[i].name, only) &&
            nemesis_is_possible(&nemeses[i], machines)) {
            possible[len++] = &nemeses[i];
        }
    }
    return len == 0 ? NULL : possible[rand_below(rand, len)];
}

const char *nemesis_name(const struct nemesis *nemesis)
{
    return nemesis->name;
}

/* As the view is now; it may be another moment later, which is fine. */
static struct rig_node *nemesis_victim(enum victim victim, struct rig *rig, struct rand *rand)
{
    char primary[64];
    uint32_t number = 0;
    switch (victim) {
    case VICTIM_ALL:
    case VICTIM_ARBITER:
        return &rig->nodes[0];
    case VICTIM_ANY:
        return &rig->nodes[rand_below(rand, MACHINES_NODES)];
    default:
        break;
    }
    state_primary(rig, primary, sizeof(primary));
    while (number < MACHINES_NODES && strcmp(rig->nodes[number].name, primary) != 0) {
        number++;
    }
    assert_true(number < MACHINES_NODES);
    if (victim == VICTIM_SECONDARY) {
        /* One of the others, the arbiter at 0 left out. */
        number =
            1 + (number + (uint32_t)rand_below(rand, MACHINES_REPLICAS - 1)) % MACHINES_REPLICAS;
    }
    return &rig->nodes[number];
}

void nemesis_run(const struct nemesis *nemesis, struct machines *machines, struct rand *rand,
                 char *ret_text)
{
    struct act act = {.machines = machines, .rig = machines->rig, .rand = rand, .text = ret_text};
    act.ms = nemesis->ms_min + (uint32_t)rand_below(rand, nemesis->ms_max - nemesis->ms_min);
    act.node = nemesis_victim(nemesis->victim, act.rig, rand);
    snprintf(ret_text, NEMESIS_TEXT_MAX, "%s %u ms",
             nemesis->victim == VICTIM_ALL ? "all" : act.node->name, act.ms);
    if (nemesis->run == NULL) {
        act_wait(act.ms);
    } else {
        nemesis->run(&act);
    }
}

/*
 * The table of checks: one file for each group, one function for each check. To add one, write it
 * into its group's file and name it in that file's table.
 */
#ifndef KVNODE_CHECK_CASES_H
#define KVNODE_CHECK_CASES_H

#include "kit.h"

/* What a check needs besides the capabilities; else it is skipped. */
#define CASE_CONTENT   0x1u /* LOAD or GET */
#define CASE_PERMANENT 0x2u /* not with --volatile */
#define CASE_FOLDER    0x4u /* the store's place is a folder that the kit chooses */
#define CASE_LONG      0x8u /* has four times as long, and two seconds for each round */

struct check_case {
    const char *name; /* a sentence that holds when it passes */
    void (*run)(struct kit *kit);
    uint64_t capabilities; /* that it needs */
    uint32_t needs;        /* CASE_ */
};

struct check_group {
    const char *name;
    uint32_t kind; /* KV_KIND_ */
    const struct check_case *cases;
    uint32_t cases_len;
};

#define CASES_OF(table) (table), (uint32_t)(sizeof(table) / sizeof((table)[0]))

extern const struct check_group group_descriptor;
extern const struct check_group group_settings;
extern const struct check_group group_open;
extern const struct check_group group_order;
extern const struct check_group group_repeat;
extern const struct check_group group_reopen;
extern const struct check_group group_bytes;
extern const struct check_group group_refusal;
extern const struct check_group group_load;
extern const struct check_group group_get;
extern const struct check_group group_reset;
extern const struct check_group group_pair;
extern const struct check_group group_life;
extern const struct check_group group_memory;
extern const struct check_group group_kill;

extern const struct check_group group_transport_descriptor;
extern const struct check_group group_transport_life;

/* Main of the process that group_kill starts and kills: opens the store, looks at it, writes. */
int group_kill_writer(struct kit *kit);

#endif

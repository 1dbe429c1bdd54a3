/*
 * For the tests of isolate.h: one guarded instance of a plugin with its log lines kept, and what a
 * test wants to know of its own process. The test program is the plugin's process too: main() must
 * call kit_main() first.
 */
#ifndef TESTS_ISOLATE_KIT_H
#define TESTS_ISOLATE_KIT_H

#include "host/guard_persist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdint.h>

#define KIT_LINES_MAX 4096 /* half of them are not for debug lines */

struct kit {
    struct loaded_plugin *plugin;
    struct services *services;
    struct kv_setting *settings;
    struct isolate_config isolate;
    struct guard_persist *guard;
    char folder[64];
    char path[96]; /* in it: the store */
    char *lines[KIT_LINES_MAX];
    uint32_t lines_len;
    struct kv_position position; /* of the last open */
    const struct persist_refusal *refusals;
    uint32_t refusals_len;
};

/* True: this process is a plugin's and has ended with *ret_status. */
int kit_is_child(int argc, char **argv, int *ret_status);

/* Makes a folder and loads a plugin. settings: pairs of name and value, NULL at the end; `path` is
 * given by the kit. */
void kit_init(struct kit *kit, const char *folder, const char *name, const char *const *settings);
int32_t kit_create(struct kit *kit, int is_isolated);
int32_t kit_open(struct kit *kit);

/* One record with the position (1, index), key and value out of the index. */
int32_t kit_apply_one(struct kit *kit, uint64_t index);
int32_t kit_apply(struct kit *kit, const struct kv_record *records, uint32_t count,
                  struct kv_position position);

/* How many log lines have this in them. */
uint32_t kit_lines_with(const struct kit *kit, const char *part);

/* Destroys the instance, removes the folder. */
void kit_close(struct kit *kit);

/* Loads everything and gives a number that depends on each byte of it and its order. */
int32_t kit_load_hash(struct kit *kit, uint64_t *ret_hash, uint32_t *ret_count);

/* The process of the last "opened by" line of rogue. */
int kit_child_pid(const struct kit *kit);

/* Open descriptors of this process; its children, living or zombies. */
uint32_t kit_descriptors(void);
uint32_t kit_children(void);

#endif

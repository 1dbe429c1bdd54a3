/*
 * What the tests of the examples share: the plugin as the shared object that a node would load, its
 * operations behind short calls that check what comes back, and a folder for each test. The host is
 * the one of the SDK, check_host.h: it counts memory, keeps what is logged and notes misuse.
 * One thread. A program that uses it names its plugin with EXAMPLE_PLUGIN.
 */
#ifndef EXAMPLES_KIT_H
#define EXAMPLES_KIT_H

#include "check_host.h"

#include <kvnode/persist.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIT_PATH_MAX 256u

struct kit {
    struct check_host host;
    const struct kv_persist_ops *ops;
    void *self; /* NULL: not created */
    bool is_open;
    struct kv_position position; /* as open() gave it */
};

/* A fresh folder. path: KIT_PATH_MAX bytes. */
void kit_folder_make(char *path);
void kit_folder_remove(const char *path);

/* plugin: path of the shared object. settings: "name=value" texts, NULL-terminated; the others have
 * their defaults. The code of create(). */
int32_t kit_create(struct kit *kit, const char *plugin, const char *const *settings);
int32_t kit_open(struct kit *kit);
void kit_close(struct kit *kit);
void kit_reopen(struct kit *kit); /* must succeed */

/* Closes, destroys, and checks that no memory is left and nothing was misused. */
void kit_end(struct kit *kit);

/* A record of view 1; value NULL: a removal. Borrowed. */
struct kv_record kit_record(uint64_t index, const char *key, const char *value);

/* apply(). ret_results NULL: all must be stored if it succeeds. */
int32_t kit_apply(struct kit *kit, const struct kv_record *records, uint32_t count,
                  struct kv_position position, uint32_t *ret_results);

/* One record at its own position, that must be stored, or refused. */
void kit_put(struct kit *kit, uint64_t index, const char *key, const char *value);
void kit_refuse(struct kit *kit, uint64_t index, const char *key, const char *value,
                const char *reason_part);

/* The content by load(): "KEY=VALUE@INDEX;" of each pair in order of key; bytes that do not print
 * as \xNN. To be freed. */
char *kit_content(struct kit *kit);
void kit_expect(struct kit *kit, const char *content);

/* The same of one key by get(); "" when it is absent. To be freed. */
char *kit_get(struct kit *kit, const void *key, uint32_t key_len);

/* Fails unless the last line logged with KV_LOG_ERROR, or any of the last lines, has the text. */
void kit_expect_error(struct kit *kit, const char *part);
void kit_expect_line(struct kit *kit, const char *part);

void kit_expect_position(struct kit *kit, uint64_t view, uint64_t index);

uint64_t kit_now_ms(void);

#endif

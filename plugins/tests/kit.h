/*
 * What the tests of the plugins that keep a folder share: temporary folders, one store behind short
 * calls, and a repeatable workload with its model. The plugin is linked in; its own tests define
 * kit_plugin. Test code only.
 */
#ifndef PLUGINS_TESTS_KIT_H
#define PLUGINS_TESTS_KIT_H

#include "kit_host.h"

#include <kvnode/persist.h>

#define KIT_PATH_LEN_MAX    256
#define KIT_KEYS            24u
#define KIT_RECORDS_MAX     5u
#define KIT_VALUE_LEN_MAX   240u
#define KIT_LONG_LEN_MAX    20000u /* several pages; few are that long */
#define KIT_CLIENT(batch)   ((batch)*3)
#define KIT_REQUEST(record) ((record) + 7u)

/* Values of the plugin's options, in the order of its descriptor, after the path. */
struct kit_options {
    const char *sync;
    const char *size_1;
    const char *size_2;
    const char *size_3;
};

struct kit_store {
    const struct kv_persist_ops *ops;
    void *self; /* NULL: not created */
    struct kv_position position;
};

/* What the kit and the common tests have to know of the plugin. */
struct kit_plugin {
    struct kit_options small;             /* its files change often */
    struct kit_options never;             /* as small, with sync = "never" */
    const struct kv_setting *bad_options; /* create() refuses each of them */
    size_t bad_options_len;
    bool long_values;   /* the workload has some of KIT_LONG_LEN_MAX */
    bool gives_reasons; /* with reason(), for a record that it refuses */
    /* Whether load() is possible now; a plugin for which that depends has get(). NULL: always. */
    bool (*may_load)(const struct kit_store *store);
    /* Waits until no work goes on in the background; how much has been done since open(). NULL: the
     * plugin has none. */
    uint64_t (*wait_idle)(struct kit_store *store);
};

extern const struct kv_plugin kv_plugin;
extern const struct kit_plugin kit_plugin;

struct kit_batch {
    struct kv_record records[KIT_RECORDS_MAX];
    uint32_t results[KIT_RECORDS_MAX];
    uint32_t count;
    struct kv_position position;
    char keys[KIT_RECORDS_MAX][32];
    uint8_t values[KIT_RECORDS_MAX][KIT_LONG_LEN_MAX];
};

/* A new empty folder below $TMPDIR or /tmp. */
void kit_folder_make(char path[KIT_PATH_LEN_MAX]);
/* Removes the folder and the files in it. */
void kit_folder_remove(const char *path);
/* Copies the files of one folder into another one, which is emptied first. */
void kit_folder_copy(const char *from, const char *to);
uint32_t kit_folder_files(const char *path);
uint64_t kit_folder_bytes(const char *path);
/* The whole file, to be freed; *ret_len its length. NULL: there is none. */
uint8_t *kit_file_read(const char *folder, const char *name, size_t *ret_len);
void kit_file_write(const char *folder, const char *name, const void *bytes, size_t len);
bool kit_file_exists(const char *folder, const char *name);

/* create() and open(); status of the one that failed. options NULL: kit_plugin.small. */
int32_t kit_open(struct kit_store *store, struct kit_host *host, const char *path,
                 const struct kit_options *options);
/* close() and destroy(); fine when there is nothing. */
void kit_close(struct kit_store *store);

/* Batch number `batch` (1 or more) of the workload `seed`; its position is (1, batch). */
void kit_batch_fill(struct kit_batch *ret_batch, uint64_t seed, uint64_t batch);
int32_t kit_apply(struct kit_store *store, uint64_t seed, uint64_t batch);

/* Loads, and asks for each key, as far as the plugin can; true when the content is exactly that of
 * batches 1 to `batch`. */
bool kit_holds(struct kit_store *store, uint64_t seed, uint64_t batch);

/* For load() and get(): counts its calls in the uint32_t at ctx and gives KV_E_BUSY. */
int32_t kit_stop_at_once(void *ctx, const struct kv_record *record);

#endif

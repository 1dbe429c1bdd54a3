/*
 * What the checks share. Each check runs in a process of its own: it drives the plugin through the
 * functions below, and the first thing that is not as the contract says ends the process with a
 * sentence that tells what was expected and what was found (kit_fail). So a check is a straight
 * story, and a crash or a hang of the plugin harms nobody but its check.
 *
 * A store carries the model of what it must hold; kit_apply() keeps both in step, kit_expect()
 * compares them. Threads: one for each store.
 */
#ifndef KVNODE_CHECK_KIT_H
#define KVNODE_CHECK_KIT_H

#include "batch.h"
#include "check_host.h"
#include "model.h"

#include "base/rand.h"
#include "host/loader.h"

#include <stdbool.h>
#include <stdint.h>

#define KIT_PATH_MAX  512u
#define KIT_GIVEN_MAX 64u

/* What the user asked for. Texts are borrowed. */
struct kit_request {
    const char *plugin;                     /* name or path */
    struct kv_setting given[KIT_GIVEN_MAX]; /* values with {dir} and {n} */
    uint32_t given_len;
    const char *only;   /* a group; NULL: all */
    const char *listen; /* where a transport listens; NULL: NAME://127.0.0.1:0 */
    bool is_list;
    bool is_keep;     /* the temporary folder stays */
    bool is_volatile; /* the store keeps nothing beyond its instance */
    uint32_t rounds;  /* of kill -9 */
    uint32_t timeout_s;
    uint64_t seed;

    /* of a process that the kit started itself */
    const char *as_case;   /* the check to run; NULL: none */
    const char *as_writer; /* the folder of the store to write to; NULL: none */
    uint64_t number;       /* of that store */
    uint64_t after;        /* the last batch that it said to have stored */
    const char *folder;    /* for temporary files */
};

struct kit {
    const struct kit_request *request;
    const struct loaded_plugin *plugin;
    const struct kv_persist_ops *ops; /* of a persistence plugin */
    struct rand rand;
    char folder[KIT_PATH_MAX]; /* of this check alone */
    uint32_t places;           /* how many were made */
};

/* Where a store is: what {dir} and {n} stand for. */
struct kit_place {
    char folder[KIT_PATH_MAX];
    uint64_t number;
};

struct kit_store {
    struct kit *kit;
    struct kit_place place;
    struct check_host host;
    void *self; /* NULL: not created */
    bool is_open;
    bool is_fresh;               /* opened, and neither load() nor apply() was called */
    struct kv_position position; /* that it must have */
    struct kv_position next;     /* of the next record */
    struct model model;          /* what it must hold */
    struct batch batch;          /* being gathered */
    struct batch last;           /* the last one applied */
};

/* --- outcome; any thread --- */

/* Ends the check: it failed. */
_Noreturn void kit_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the check: it does not apply. */
_Noreturn void kit_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line for the reader, whatever the outcome. */
void kit_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Tells that the check passed; its process then ends as usual, so that a leak checker may look. */
void kit_pass(void);

/* --- life of a store; those without _try fail the check when the plugin fails --- */

bool kit_has(const struct kit *kit, uint64_t capability);

void kit_place_make(struct kit *kit, struct kit_place *ret_place);

/* The settings for a place, to be freed with loader_settings_free(). */
struct kv_setting *kit_settings(struct kit *kit, const struct kit_place *place);

/* A store that is not created yet. kit_store_drop() frees it. */
struct kit_store *kit_store_at(struct kit *kit, const struct kit_place *place);
void kit_store_drop(struct kit_store *store);

/* create() with settings in memory that is overwritten and freed after the call. */
int32_t kit_try_create(struct kit_store *store, const struct kv_setting *settings);
void kit_create(struct kit_store *store);

int32_t kit_try_open(struct kit_store *store);
void kit_open(struct kit_store *store);
void kit_close(struct kit_store *store);

/* Closes it if need be, destroys it, and looks whether anything is left. The store can be created
 * again. */
void kit_destroy(struct kit_store *store);

/* A new place, created and opened, at (0, 0). */
struct kit_store *kit_new(struct kit *kit);

/* Destroys and drops it. */
void kit_end(struct kit_store *store);

/* --- content --- */

/* One more record for the next batch. Texts are keys and values without their NUL. */
void kit_insert(struct kit_store *store, const char *key, const char *value);
void kit_remove(struct kit_store *store, const char *key);
void kit_add(struct kit_store *store, uint32_t kind, const void *key, size_t key_len,
             const void *value, size_t value_len);

/* Applies what was gathered: everything must be stored. */
void kit_apply(struct kit_store *store);

/* Applies a batch of one's own, again if the plugin says so; everything must be stored. With
 * is_repeat the model and the position that the store must have stay as they are. */
void kit_apply_batch(struct kit_store *store, const struct batch *batch, bool is_repeat);

/* As kit_apply(), but each record may be refused. *ret_results: one for each, to be freed with
 * alloc_free(). The model takes what was stored. */
void kit_offer(struct kit_store *store, uint32_t **ret_results);

/* One call of apply(), as it is: its code and results (count entries). */
int32_t kit_try_apply(struct kit_store *store, const struct batch *batch, uint32_t *results);

/* Closes and opens it: the position must be the one that it had, and the content too. */
void kit_reopen(struct kit_store *store);

/* Destroys the instance, creates another at the same place and opens it. */
void kit_renew(struct kit_store *store);

/* Compares the content with the model, with load() if the store was just opened and has it, and
 * with get() if it has that. */
void kit_expect(struct kit_store *store);

/* Gets one key; false: it is not there. *ret_found is initialised and holds it then. */
bool kit_get(struct kit_store *store, const void *key, uint32_t key_len, struct model *ret_found);

/* Loads the content into a model, which is initialised. */
void kit_load(struct kit_store *store, struct model *ret_found);

/* What the plugin logged last, for a text of a failure; "" when nothing. */
const char *kit_log(struct kit_store *store);

/* "KV_E_IO (input or output failed)", or that it is no code at all. */
const char *kit_code(int32_t status);

void kit_pause_ms(int ms);

#endif

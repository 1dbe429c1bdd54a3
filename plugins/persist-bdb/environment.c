/*
 * Opening: what the folder is (format.c) -> the highest batch in the bytes of the log (marker.c)
 * -> recovery by Berkeley DB, from its last checkpoint -> the two databases -> the state -> is
 * anything missing (marker.c)? Only then the store is open.
 *
 * A checkpoint writes all changed pages to the databases and syncs them; log files before it are
 * then of no use and are removed. A marker behind the checkpoint makes sure that there always is
 * one in what remains.
 *
 * When Berkeley DB panics, every call gives DB_RUNRECOVERY until the environment is closed; the
 * first error, which its event tells, is the one that matters.
 */
#include "environment.h"

#include "content.h"
#include "folder.h"
#include "format.h"
#include "marker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_BUFFER_BYTES_MAX (1u << 20)
/* Berkeley DB wants log files of at least four buffers. */
#define LOG_BUFFERS_PER_FILE 4u
/* The block of usual file systems: pages do not tear when the power fails. */
#define PAGE_BYTES 4096u
#define LINES_MAX  4u
#define GIB        (1ull << 30)

static void environment_on_error(const DB_ENV *env, const char *prefix, const char *text)
{
    static const char *const signs[] = {"checksum",     "corrupt",  "illegal page",
                                        "ILLEGAL PAGE", "past end", "past current end",
                                        "short read"};
    struct store *store = env->app_private;
    bool damage = false;
    (void)prefix;
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        damage = damage || strstr(text, signs[i]) != NULL;
    }
    (void)snprintf(store->text, sizeof(store->text), "%s", text);
    if (damage && !store->damaged) {
        (void)snprintf(store->place, sizeof(store->place), "%s", text);
    }
    store->damaged = store->damaged || damage;
    /* A disk that is full makes it speak of every single page. */
    if (store->lines++ < LINES_MAX) {
        store_log(store, KV_LOG_WARN, "Berkeley DB: %s", text);
    }
}

static void environment_on_message(const DB_ENV *env, const char *text)
{
    store_log(env->app_private, KV_LOG_INFO, "Berkeley DB: %s", text);
}

static void environment_on_event(DB_ENV *env, u_int32_t event, void *info)
{
    struct store *store = env->app_private;
    if (event == DB_EVENT_PANIC) {
        store->failed = true;
        if (store->panic_error == 0 && info != NULL) {
            store->panic_error = *(const int *)info;
        }
    }
}

/* Whether the operating system failed, and not what it gave. */
static bool environment_is_system_error(int error)
{
    return error > 0 && error != EINVAL && error != ENOENT;
}

static bool environment_is_damage_error(int error)
{
    return error == DB_CHKSUM_FAIL || error == DB_VERIFY_BAD || error == DB_LOG_VERIFY_BAD ||
           error == DB_PAGE_NOTFOUND;
}

static int32_t environment_classify(struct store *store, int error, const char *what, bool opening)
{
    char how[2 * STORE_TEXT_LEN_MAX];
    int cause = error == DB_RUNRECOVERY && store->panic_error != 0 ? store->panic_error : error;
    bool version = error == DB_VERSION_MISMATCH || error == DB_OLD_VERSION;
    bool damage = store->damaged || environment_is_damage_error(cause) ||
                  (opening && !environment_is_system_error(cause));
    const char *text = store->damaged ? store->place : store->text;
    (void)snprintf(how, sizeof(how), "cannot %s: %s%s%s", what, db_strerror(cause),
                   text[0] == '\0' ? "" : "; Berkeley DB: ", text);
    store->failed = store->failed || error == DB_RUNRECOVERY || damage;
    if (version) {
        store_log(store, KV_LOG_ERROR, "%s", how);
        return KV_E_VERSION;
    }
    if (damage) {
        return store_fail_damage(store, how);
    }
    store_log(store, KV_LOG_ERROR, "%s", how);
    return cause == ENOMEM ? KV_E_NOMEM : KV_E_IO;
}

int32_t environment_fail(struct store *store, int error, const char *what)
{
    return environment_classify(store, error, what, false);
}

int32_t environment_fail_open(struct store *store, int error, const char *what)
{
    return environment_classify(store, error, what, true);
}

/* Makes the handle with all settings; *ret_env is to be closed also after a failure. */
static int environment_configure(struct store *store, DB_ENV **ret_env)
{
    DB_ENV *env = NULL;
    int error = db_env_create(&env, 0);
    if (error != 0) {
        return error;
    }
    *ret_env = env;
    env->app_private = store;
    env->set_errcall(env, environment_on_error);
    env->set_msgcall(env, environment_on_message);
    uint64_t buffer_bytes = store->log_bytes / LOG_BUFFERS_PER_FILE;
    if (buffer_bytes > LOG_BUFFER_BYTES_MAX) {
        buffer_bytes = LOG_BUFFER_BYTES_MAX;
    }
    error = env->set_event_notify(env, environment_on_event);
    if (error == 0) {
        error = env->set_cachesize(env, (uint32_t)(store->cache_bytes / GIB),
                                   (uint32_t)(store->cache_bytes % GIB), 1);
    }
    if (error == 0) {
        error = env->set_lg_bsize(env, (uint32_t)buffer_bytes);
    }
    if (error == 0) {
        error = env->set_lg_max(env, (uint32_t)store->log_bytes);
    }
    return error;
}

/* Opens one of the two databases; *ret_db is to be closed also after a failure. */
static int environment_open_db(struct store *store, const char *name, bool create, DB **ret_db)
{
    DB *db = NULL;
    uint32_t flags = 0;
    int error = db_create(&db, store->env, 0);
    if (error != 0) {
        return error;
    }
    *ret_db = db;
    error = db->set_flags(db, DB_CHKSUM);
    if (error == 0) {
        error = db->set_pagesize(db, PAGE_BYTES);
    }
    if (error == 0) {
        error = db->open(db, NULL, name, NULL, DB_BTREE,
                         DB_AUTO_COMMIT | (create ? DB_CREATE | DB_EXCL : 0), 0600);
    }
    if (error == 0) {
        error = db->get_flags(db, &flags);
    }
    /* A header that lost this flag would let all other damage pass. */
    return error == 0 && (flags & DB_CHKSUM) == 0 ? DB_VERIFY_BAD : error;
}

/* Checkpoint, marker, and away with the log files before it. */
static int environment_checkpoint(struct store *store)
{
    DB_ENV *env = store->env;
    int error = env->txn_checkpoint(env, 0, 0, DB_FORCE);
    if (error == 0) {
        error = marker_write(store, store->batch);
    }
    if (error == 0) {
        error = env->log_flush(env, NULL);
    }
    /* The file that the marker went to may be a new one, to be found when the others are gone. */
    if (error == 0 && fsync(store->folder_fd) != 0) {
        error = errno;
    }
    return error == 0 ? env->log_archive(env, NULL, DB_ARCH_REMOVE) : error;
}

/* Closes the handles, whatever state they are in. */
static void environment_discard(struct store *store)
{
    /* DB_NOSYNC: what the last checkpoint did not write, the log has. */
    if (store->data != NULL) {
        (void)store->data->close(store->data, DB_NOSYNC);
    }
    if (store->state != NULL) {
        (void)store->state->close(store->state, DB_NOSYNC);
    }
    if (store->env != NULL) {
        (void)store->env->close(store->env, 0);
    }
    store->data = NULL;
    store->state = NULL;
    store->env = NULL;
}

static int32_t environment_start(struct store *store, bool create)
{
    store->failed = false;
    store->damaged = false;
    store->panic_error = 0;
    store->lines = 0;
    store->text[0] = '\0';
    store->place[0] = '\0';
    store->log_file = 0;
    store->checkpoint_at_bytes = store->checkpoint_bytes;
    int error = environment_configure(store, &store->env);
    if (error != 0) {
        return environment_fail(store, error, "make an environment with these settings");
    }
    /* DB_PRIVATE: in this process's memory only; the lock file keeps others out. No DB_INIT_LOCK:
     * one thread, one transaction at a time; so there is no limit of locks and nothing to wait for.
     */
    error = store->env->open(
        store->env, store->home,
        DB_CREATE | DB_PRIVATE | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL | DB_RECOVER, 0600);
    if (error != 0) {
        return environment_fail_open(store, error, "open and recover the environment");
    }
    error = environment_open_db(store, FOLDER_DATA, create, &store->data);
    if (error != 0) {
        return environment_fail_open(store, error, "open the database " FOLDER_DATA);
    }
    error = environment_open_db(store, FOLDER_STATE, create, &store->state);
    return error == 0 ? KV_OK
                      : environment_fail_open(store, error, "open the database " FOLDER_STATE);
}

static int32_t environment_make(struct store *store)
{
    int32_t status = format_begin(store);
    if (status == KV_OK) {
        status = environment_start(store, true);
    }
    if (status != KV_OK) {
        return status;
    }
    store->position = (struct kv_position){0, 0};
    store->batch = 0;
    int error = content_write_state(store, NULL, store->position, store->batch);
    if (error == 0) {
        error = environment_checkpoint(store);
    }
    return error == 0 ? format_finish(store) : environment_fail(store, error, "make the store");
}

/* A page that a full disk cut short is still in the log or in memory; but Berkeley DB writes
 * nothing to a file with such remains at its end. */
static int32_t environment_trim(const struct store *store)
{
    int32_t status = folder_trim(store, FOLDER_DATA, PAGE_BYTES);
    return status == KV_OK ? folder_trim(store, FOLDER_STATE, PAGE_BYTES) : status;
}

static int32_t environment_recover(struct store *store)
{
    uint64_t highest = 0;
    int32_t status = environment_trim(store);
    if (status == KV_OK) {
        status = marker_scan(store, &highest);
    }
    if (status == KV_OK) {
        status = environment_start(store, false);
    }
    if (status == KV_OK) {
        status = content_read_state(store);
    }
    return status == KV_OK ? marker_check(store, highest) : status;
}

int32_t environment_open(struct store *store)
{
    bool new_store = false;
    int32_t status = format_check(store, &new_store);
    if (status == KV_OK) {
        status = new_store ? environment_make(store) : environment_recover(store);
    }
    if (status != KV_OK) {
        environment_discard(store);
    }
    return status;
}

int32_t environment_reset(struct store *store)
{
    environment_discard(store);
    int32_t status = environment_make(store);
    if (status != KV_OK) {
        environment_discard(store);
    }
    return status;
}

void environment_close(struct store *store)
{
    if (store->env != NULL && !store->failed) {
        int error = environment_checkpoint(store);
        if (error != 0) {
            store_log(store, KV_LOG_WARN, "no checkpoint at the end, the next open recovers: %s",
                      db_strerror(error));
        }
    }
    environment_discard(store);
}

int32_t environment_tend(struct store *store)
{
    DB_LOG_STAT *stat = NULL;
    int error = store->env->log_stat(store->env, &stat, 0);
    if (error != 0) {
        return environment_fail(store, error, "ask for the length of the log");
    }
    uint64_t bytes = ((uint64_t)stat->st_wc_mbytes << 20) + stat->st_wc_bytes;
    uint32_t file = stat->st_cur_file;
    free(stat);
    if (store->sync_always && file != store->log_file) {
        int32_t status = folder_sync(store);
        if (status != KV_OK) {
            return status;
        }
        store->log_file = file;
    }
    if (bytes < store->checkpoint_at_bytes) {
        return KV_OK;
    }
    error = environment_checkpoint(store);
    store->checkpoint_at_bytes = store->checkpoint_bytes;
    if (error != 0) {
        store->checkpoint_at_bytes += bytes;
        store_log(store, KV_LOG_WARN, "checkpoint failed, the log grows on until the next try: %s",
                  db_strerror(error));
        (void)environment_trim(store); /* so that the next try may succeed; a failure is logged */
    }
    return KV_OK;
}

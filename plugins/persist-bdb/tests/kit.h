/*
 * What the tests of persist-bdb share: a fake host, temporary folders, and a repeatable workload
 * with its model. Test code only.
 */
#ifndef PERSIST_BDB_TESTS_KIT_H
#define PERSIST_BDB_TESTS_KIT_H

#include <kvnode/persist.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KIT_PATH_LEN_MAX    256
#define KIT_KEYS            24u
#define KIT_RECORDS_MAX     5u
#define KIT_VALUE_LEN_MAX   240u
#define KIT_LONG_LEN_MAX    20000u /* several pages; few are that long */
#define KIT_LOG_LEN_MAX     16384u
#define KIT_CLIENT(batch)   ((batch)*3)
#define KIT_REQUEST(record) ((record) + 7u)

struct kit_host {
    struct kv_host table;
    pthread_mutex_t lock;
    char log[KIT_LOG_LEN_MAX]; /* the latest lines */
    size_t log_len;
    uint32_t errors;
    uint32_t warnings;
    int64_t live;      /* allocations */
    int64_t live_most; /* the highest ever */
    uint64_t now_ms;
    uint64_t allocations;
    uint64_t fail_allocation; /* this one and the next get no memory; 0: none */
    uint32_t reasons;         /* calls of reason() */
    uint32_t reason_record;   /* of the latest */
};

struct kit_options {
    const char *sync;
    const char *cache_bytes;
    const char *log_bytes;
    const char *checkpoint_bytes;
};

struct kit_store {
    const struct kv_persist_ops *ops;
    void *self; /* NULL: not created */
    struct kv_position position;
};

struct kit_batch {
    struct kv_record records[KIT_RECORDS_MAX];
    uint32_t results[KIT_RECORDS_MAX];
    uint32_t count;
    struct kv_position position;
    char keys[KIT_RECORDS_MAX][32];
    uint8_t values[KIT_RECORDS_MAX][KIT_LONG_LEN_MAX];
};

void kit_host_init(struct kit_host *host);
void kit_host_close(struct kit_host *host);
void kit_host_clear(struct kit_host *host);
bool kit_host_has(struct kit_host *host, const char *text);

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

/* create() and open(); status of the one that failed. options NULL: small files, see kit.c. */
int32_t kit_open(struct kit_store *store, struct kit_host *host, const char *path,
                 const struct kit_options *options);
/* close() and destroy(); fine when there is nothing. */
void kit_close(struct kit_store *store);

/* Batch number `batch` (1 or more) of the workload `seed`; its position is (1, batch). */
void kit_batch_fill(struct kit_batch *ret_batch, uint64_t seed, uint64_t batch);
int32_t kit_apply(struct kit_store *store, uint64_t seed, uint64_t batch);

/* Asks for each key, and loads if that is possible; true when the content is exactly that of
 * batches 1 to `batch`. */
bool kit_holds(struct kit_store *store, uint64_t seed, uint64_t batch);

#endif

/*
 * One instance of persist-sqlite: its settings and, while it is open, the connection with its
 * prepared statements. Shared by the files of the plugin; touched by the thread that calls the
 * plugin only.
 */
#ifndef PERSIST_SQLITE_STORE_H
#define PERSIST_SQLITE_STORE_H

#include <kvnode/persist.h>

#include <sqlite3.h>
#include <stdbool.h>

/* Prepared once, when the store is opened. ?1 is the table's name in the plugin's own tables. */
enum store_statement {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_ROLLBACK,
    STORE_SAVE,    /* begins one record */
    STORE_RELEASE, /* ends it ... */
    STORE_UNDO,    /* ... without what it did; STORE_RELEASE follows */
    STORE_PUT,     /* ?2 key, ?3 value */
    STORE_REMOVE,  /* ?2 key */
    STORE_NOTE,    /* ?2 key, ?3 view, ?4 index: where the pair's record stands */
    STORE_FORGET,  /* ?2 key */
    STORE_MOVE,    /* ?2 view, ?3 index: the position of the store */
    STORE_LOAD,    /* gives key, value, view, index */
    STORE_GET,     /* ?2 key; gives the same */
    STORE_HAS,     /* ?2 key; gives a row when the table has it, whoever wrote it */
    STORE_CLEAR,   /* removes all pairs of ours ... */
    STORE_FORGET_ALL,
    STORE_STATEMENTS
};

struct store {
    const struct kv_host *host;
    /* Settings, owned. */
    char *path;
    char *table;
    char *key_column;
    char *value_column;
    bool sync_always;

    sqlite3 *db; /* NULL: closed */
    int lock_fd; /* -1: none */
    sqlite3_stmt *statements[STORE_STATEMENTS];
    bool key_is_text; /* the column takes text as text */
    bool value_is_text;
};

/* One line to the host's log, with the path in front. */
void store_log(const struct store *store, uint32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The status code for a result code of SQLite; logs WHAT and SQLite's message as the reason. */
int32_t store_fail(const struct store *store, int code, const char *what);

/* Opens the database and locks the table against a second instance, makes or checks the tables,
 * prepares the statements and reads the position. Failures are logged; database_close() follows
 * them. KV_E_EXISTS: in use by another instance; KV_E_INVALID: the table does not fit;
 * KV_E_VERSION, KV_E_CORRUPT, KV_E_RETRY (another program holds the database), KV_E_IO. */
int32_t database_open(struct store *store, struct kv_position *ret_position);

/* Fine when it is not, or half, open. */
void database_close(struct store *store);

/* As in persist.h, on an open store. */
int32_t content_apply(struct store *store, const struct kv_record *records, uint32_t count,
                      struct kv_position position, uint32_t *results);
int32_t content_load(struct store *store, kv_emit_fn emit, void *ctx);
int32_t content_get(struct store *store, const void *key, uint32_t key_len, kv_emit_fn emit,
                    void *ctx);
int32_t content_reset(struct store *store);

/* Runs a statement that gives no row, with ?1 bound if it has one, and leaves it ready for the next
 * time; SQLITE_OK, or SQLite's code. */
int content_run(struct store *store, enum store_statement which);

#endif

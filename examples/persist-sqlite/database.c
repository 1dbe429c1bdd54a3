/*
 * Opening: connection, lock, tables, statements, position.
 *
 * Journal mode: WAL. Readers never stop the writer, nor the writer readers, so that people may look
 * at the table while the node works, and a commit costs one fsync. The price is two files beside
 * the database, and no network file systems. synchronous=FULL makes every commit durable (sync =
 * always); NORMAL never harms the database but may lose the last commits.
 *
 * The plugin's own tables, one row or one set of rows for each table that it keeps:
 *     kvnode_position   the position and the version of this format
 *     kvnode_record     the position of each pair's record, which load() and get() give back
 * They are beside the user's table rather than in it, so that any table will do and people see
 * their columns only. A row of the table that has no row there was written by somebody else: it is
 * none of the node's content. All three change in one transaction.
 *
 * The lock is flock() on a file of its own, DATABASE.TABLE.lock: fcntl() locks do not keep two
 * instances of one process apart, and the database file itself must not be opened but by SQLite.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DATABASE_FORMAT  1
#define DATABASE_BUSY_MS 500 /* that a call waits for another program's transaction */

/* Runs SQL made with sqlite3_mprintf(), which it frees. */
static int database_exec(struct store *store, char *sql)
{
    int code = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code;
}

/* Prepares SQL made with sqlite3_mprintf(), which it frees, and binds ?1 if there is one. */
static int database_prepare(struct store *store, char *sql, sqlite3_stmt **ret_statement)
{
    int code = sql == NULL ? SQLITE_NOMEM
                           : sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                ret_statement, NULL);
    sqlite3_free(sql);
    if (code == SQLITE_OK && sqlite3_bind_parameter_count(*ret_statement) > 0) {
        code = sqlite3_bind_text(*ret_statement, 1, store->table, -1, SQLITE_STATIC);
    }
    return code;
}

/* The first column of the first row; "" when there is none. */
static int database_ask(struct store *store, char *sql, char *ret_text, size_t size)
{
    sqlite3_stmt *statement = NULL;
    int code = database_prepare(store, sql, &statement);
    ret_text[0] = '\0';
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    if (code == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(statement, 0);
        snprintf(ret_text, size, "%s", text == NULL ? "" : (const char *)text);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* DATABASE.TABLE.lock, with the table's name in a form that is one for all its spellings. */
static int32_t database_lock(struct store *store)
{
    char name[4096];
    const char *file = sqlite3_db_filename(store->db, "main"); /* absolute, links resolved */
    size_t len = (size_t)snprintf(name, sizeof(name), "%s.", file);
    for (const char *at = store->table; *at != '\0' && len + 16 < sizeof(name); at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '_';
        bool is_upper = *at >= 'A' && *at <= 'Z';
        if (is_plain || is_upper) {
            name[len++] = is_upper ? (char)(*at - 'A' + 'a') : *at;
        } else {
            len += (size_t)snprintf(name + len, 4, "%%%02X", (unsigned char)*at);
        }
    }
    if (len + 16 >= sizeof(name)) {
        store_log(store, KV_LOG_ERROR, "path and table are too long for the name of a lock file");
        return KV_E_INVALID;
    }
    memcpy(name + len, ".lock", sizeof(".lock"));
    store->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock_fd < 0) {
        store_log(store, KV_LOG_ERROR, "cannot open the lock file: %s", strerror(errno));
        return KV_E_IO;
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        bool is_taken = errno == EWOULDBLOCK;
        store_log(store, KV_LOG_ERROR, "%s: %s",
                  is_taken ? "another instance keeps its content in this table" : "cannot lock",
                  strerror(errno));
        return is_taken ? KV_E_EXISTS : KV_E_IO;
    }
    return KV_OK;
}

static int32_t database_connect(struct store *store)
{
    char mode[16];
    int code = sqlite3_open_v2(store->path, &store->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_PRIVATECACHE,
                               NULL);
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot open");
    }
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, DATABASE_BUSY_MS);
    int32_t status = database_lock(store);
    if (status != KV_OK) {
        return status;
    }
    code = database_ask(store, sqlite3_mprintf("PRAGMA journal_mode=WAL"), mode, sizeof(mode));
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot open");
    }
    bool is_wal = strcmp(mode, "wal") == 0;
    if (!is_wal) {
        store_log(store, KV_LOG_WARN, "journal mode \"%s\" instead of WAL: slower", mode);
    }
    code =
        database_exec(store, sqlite3_mprintf("PRAGMA synchronous=%s", !store->sync_always ? "NORMAL"
                                                                      : is_wal            ? "FULL"
                                                                               : "EXTRA"));
    return code == SQLITE_OK ? KV_OK : store_fail(store, code, "cannot open");
}

/* --- the tables; within one transaction --- */

static int database_make_tables(struct store *store)
{
    int code = database_exec(
        store, sqlite3_mprintf("CREATE TABLE IF NOT EXISTS main.kvnode_position("
                               "tbl TEXT PRIMARY KEY COLLATE NOCASE, format INTEGER NOT NULL, "
                               "view INTEGER NOT NULL, idx INTEGER NOT NULL) WITHOUT ROWID"));
    if (code != SQLITE_OK) {
        return code;
    }
    return database_exec(store, sqlite3_mprintf("CREATE TABLE IF NOT EXISTS main.kvnode_record("
                                                "tbl TEXT NOT NULL COLLATE NOCASE, key NOT NULL, "
                                                "view INTEGER NOT NULL, idx INTEGER NOT NULL, "
                                                "PRIMARY KEY(tbl, key)) WITHOUT ROWID"));
}

/* The table is made, or is there. A position without its table says nothing any more. */
static int32_t database_make_user_table(struct store *store)
{
    char there[2];
    char known[2];
    int code = database_ask(
        store,
        sqlite3_mprintf("SELECT 1 FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE "
                        "AND type IN ('table', 'view')"),
        there, sizeof(there));
    if (code == SQLITE_OK) {
        code = database_ask(store,
                            sqlite3_mprintf("SELECT 1 FROM main.kvnode_position "
                                            "WHERE tbl = ?1"),
                            known, sizeof(known));
    }
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot read the schema");
    }
    if (there[0] != '\0') {
        return KV_OK;
    }
    if (known[0] != '\0') {
        store_log(store, KV_LOG_WARN, "the table %s is gone: it is made again, empty",
                  store->table);
    }
    code = database_exec(
        store, sqlite3_mprintf("CREATE TABLE main.\"%w\"(\"%w\" BLOB PRIMARY KEY NOT NULL, "
                               "\"%w\" BLOB NOT NULL);"
                               "DELETE FROM main.kvnode_position WHERE tbl = %Q;"
                               "DELETE FROM main.kvnode_record WHERE tbl = %Q",
                               store->table, store->key_column, store->value_column, store->table,
                               store->table));
    return code == SQLITE_OK ? KV_OK : store_fail(store, code, "cannot make the table");
}

/* SQLite's rules of affinity, 3.1 of its "Datatypes": INT comes first, then these. */
static bool database_is_text(const char *type)
{
    if (type == NULL || sqlite3_strlike("%INT%", type, 0) == 0) {
        return false;
    }
    return sqlite3_strlike("%CHAR%", type, 0) == 0 || sqlite3_strlike("%CLOB%", type, 0) == 0 ||
           sqlite3_strlike("%TEXT%", type, 0) == 0;
}

/* What the plugin counts on in a table that somebody else made. */
static int32_t database_check_column(struct store *store, const char *column, bool is_key,
                                     bool *ret_is_text)
{
    const char *type = NULL;
    const char *collation = NULL;
    char encoding[16];
    int code = sqlite3_table_column_metadata(store->db, "main", store->table, column, &type,
                                             &collation, NULL, NULL, NULL);
    if (code == SQLITE_ERROR) { /* a view, or no such column */
        store_log(store, KV_LOG_ERROR, "the table %s: %s", store->table, sqlite3_errmsg(store->db));
        return KV_E_INVALID;
    }
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot read the schema");
    }
    if (is_key && collation != NULL && sqlite3_stricmp(collation, "BINARY") != 0) {
        store_log(store, KV_LOG_ERROR,
                  "the table %s: the collation %s of %s takes different keys for one", store->table,
                  collation, column);
        return KV_E_INVALID;
    }
    bool is_text = database_is_text(type);
    code = database_ask(store, sqlite3_mprintf("PRAGMA encoding"), encoding, sizeof(encoding));
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot read the encoding");
    }
    /* A change to UTF-16 and back does not keep all of UTF-8. */
    *ret_is_text = is_text && strcmp(encoding, "UTF-8") == 0;
    return KV_OK;
}

static int32_t database_read_position(struct store *store, struct kv_position *ret_position)
{
    sqlite3_stmt *statement = NULL;
    int32_t status = KV_OK;
    int code = database_prepare(
        store, sqlite3_mprintf("SELECT format, view, idx FROM main.kvnode_position WHERE tbl = ?1"),
        &statement);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    if (code == SQLITE_ROW && sqlite3_column_int64(statement, 0) != DATABASE_FORMAT) {
        store_log(store, KV_LOG_ERROR, "written with format %lld, this plugin knows %d",
                  sqlite3_column_int64(statement, 0), DATABASE_FORMAT);
        status = KV_E_VERSION;
    } else if (code == SQLITE_ROW) {
        *ret_position = (struct kv_position){(uint64_t)sqlite3_column_int64(statement, 1),
                                             (uint64_t)sqlite3_column_int64(statement, 2)};
    } else if (code != SQLITE_DONE) {
        status = store_fail(store, code, "cannot read the position");
    }
    sqlite3_finalize(statement);
    return status;
}

/* --- the statements --- */

/* Names are quoted, and those of columns qualified too: SQLite takes a quoted name that is no
 * column for a text. OR ABORT: whatever the table says to do on a conflict, the record is refused.
 */
static char *database_sql(const struct store *store, enum store_statement which)
{
    const char *t = store->table;
    const char *k = store->key_column;
    const char *v = store->value_column;
    switch (which) {
    case STORE_BEGIN:
        return sqlite3_mprintf("BEGIN IMMEDIATE");
    case STORE_COMMIT:
        return sqlite3_mprintf("COMMIT");
    case STORE_ROLLBACK:
        return sqlite3_mprintf("ROLLBACK");
    case STORE_SAVE:
        return sqlite3_mprintf("SAVEPOINT kvnode");
    case STORE_RELEASE:
        return sqlite3_mprintf("RELEASE kvnode");
    case STORE_UNDO:
        return sqlite3_mprintf("ROLLBACK TO kvnode");
    case STORE_PUT:
        return sqlite3_mprintf("INSERT OR ABORT INTO main.\"%w\"(\"%w\", \"%w\") VALUES(?2, ?3) "
                               "ON CONFLICT(\"%w\") DO UPDATE SET \"%w\" = excluded.\"%w\"",
                               t, k, v, k, v, v);
    case STORE_REMOVE:
        return sqlite3_mprintf("DELETE FROM main.\"%w\" WHERE \"%w\".\"%w\" = ?2", t, t, k);
    case STORE_NOTE:
        return sqlite3_mprintf("INSERT INTO main.kvnode_record(tbl, key, view, idx) "
                               "VALUES(?1, ?2, ?3, ?4) ON CONFLICT(tbl, key) "
                               "DO UPDATE SET view = excluded.view, idx = excluded.idx");
    case STORE_FORGET:
        return sqlite3_mprintf("DELETE FROM main.kvnode_record WHERE tbl = ?1 AND key = ?2");
    case STORE_MOVE:
        return sqlite3_mprintf("INSERT INTO main.kvnode_position(tbl, format, view, idx) "
                               "VALUES(?1, %d, ?2, ?3) ON CONFLICT(tbl) "
                               "DO UPDATE SET view = excluded.view, idx = excluded.idx",
                               DATABASE_FORMAT);
    case STORE_LOAD:
    case STORE_GET:
        return sqlite3_mprintf("SELECT t.\"%w\", t.\"%w\", r.view, r.idx "
                               "FROM main.kvnode_record AS r CROSS JOIN main.\"%w\" AS t "
                               "ON t.\"%w\" = r.key WHERE r.tbl = ?1%s",
                               k, v, t, k, which == STORE_GET ? " AND r.key = ?2" : "");
    case STORE_HAS:
        return sqlite3_mprintf("SELECT 1 FROM main.\"%w\" AS t WHERE t.\"%w\" = ?2", t, k);
    case STORE_CLEAR:
        return sqlite3_mprintf("DELETE FROM main.\"%w\" WHERE \"%w\".\"%w\" IN "
                               "(SELECT key FROM main.kvnode_record WHERE tbl = ?1)",
                               t, t, k);
    case STORE_FORGET_ALL:
        return sqlite3_mprintf("DELETE FROM main.kvnode_record WHERE tbl = ?1");
    default:
        return NULL;
    }
}

static int32_t database_prepare_all(struct store *store)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        int code = database_prepare(store, database_sql(store, (enum store_statement)i),
                                    &store->statements[i]);
        if (code == SQLITE_ERROR && i == STORE_PUT) { /* most likely: the key is not unique */
            store_log(store, KV_LOG_ERROR, "the table %s does not fit: %s", store->table,
                      sqlite3_errmsg(store->db));
            return KV_E_INVALID;
        }
        if (code != SQLITE_OK) {
            return store_fail(store, code, "cannot prepare a statement");
        }
    }
    return KV_OK;
}

static int32_t database_make(struct store *store, struct kv_position *ret_position)
{
    int code = database_exec(store, sqlite3_mprintf("BEGIN IMMEDIATE"));
    if (code == SQLITE_OK) {
        code = database_make_tables(store);
    }
    if (code != SQLITE_OK) {
        return store_fail(store, code, "cannot make the tables");
    }
    int32_t status = database_make_user_table(store);
    if (status == KV_OK) {
        status = database_check_column(store, store->key_column, true, &store->key_is_text);
    }
    if (status == KV_OK) {
        status = database_check_column(store, store->value_column, false, &store->value_is_text);
    }
    if (status == KV_OK) {
        status = database_read_position(store, ret_position);
    }
    if (status == KV_OK) {
        status = database_prepare_all(store);
    }
    if (status != KV_OK) {
        return status; /* closing takes back what was made */
    }
    code = database_exec(store, sqlite3_mprintf("COMMIT"));
    return code == SQLITE_OK ? KV_OK : store_fail(store, code, "cannot make the tables");
}

int32_t database_open(struct store *store, struct kv_position *ret_position)
{
    int32_t status = database_connect(store);
    return status != KV_OK ? status : database_make(store, ret_position);
}

void database_close(struct store *store)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->db); /* rolls back what is not committed */
    store->db = NULL;
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
        store->lock_fd = -1;
    }
}

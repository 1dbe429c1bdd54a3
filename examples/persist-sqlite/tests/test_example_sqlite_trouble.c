/* persist-sqlite: other programs in the database, damage, a host of ABI 1.0. */
#include "example_kit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define USER_ROUNDS 200u

struct place {
    char folder[KIT_PATH_MAX];
    char file[KIT_PATH_MAX + 16];
    char setting[KIT_PATH_MAX + 32];
};

static void place_make(struct place *place)
{
    kit_folder_make(place->folder);
    snprintf(place->file, sizeof(place->file), "%s/kv.db", place->folder);
    snprintf(place->setting, sizeof(place->setting), "path=%s", place->file);
}

static void create(struct kit *kit, const struct place *place)
{
    const char *settings[] = {place->setting, NULL};
    assert_int_equal(kit_create(kit, EXAMPLE_PLUGIN, settings), KV_OK);
}

static void end(struct kit *kit, const struct place *place)
{
    kit_end(kit);
    kit_folder_remove(place->folder);
}

static sqlite3 *user_begin(const struct place *place)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(place->file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    return db;
}

static void user_does(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
}

static void test_busy(void **state)
{
    struct place place;
    struct kit kit;
    struct kv_record record = kit_record(2, "k", "2");
    (void)state;
    place_make(&place);
    create(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "k", "1");
    sqlite3 *user = user_begin(&place);
    user_does(user, "BEGIN IMMEDIATE");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_RETRY);
        kit_expect_error(&kit, "another program holds the database");
    }
    kit_close(&kit);
    assert_int_equal(kit_open(&kit), KV_E_RETRY);
    user_does(user, "ROLLBACK; BEGIN; SELECT * FROM kv"); /* one who reads is in nobody's way */
    kit_reopen(&kit);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
    kit_expect(&kit, "k=2@2;");
    user_does(user, "COMMIT");
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    end(&kit, &place);
}

/* Somebody who writes to a table of his own and reads ours, in a process of his own. */
static void user_live(const struct place *place)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open(place->file, &db);
    sqlite3_busy_timeout(db, 20000);
    for (uint32_t i = 0; i < USER_ROUNDS && code == SQLITE_OK; i++) {
        /* Within one transaction the content and its position belong together: pair i has value i,
         * and there are as many as the position says. */
        code = sqlite3_exec(db,
                            "BEGIN IMMEDIATE; INSERT INTO mine SELECT (SELECT count(*) FROM kv) - "
                            "(SELECT idx FROM kvnode_position); COMMIT",
                            NULL, NULL, NULL);
    }
    sqlite3_close(db);
    _exit(code == SQLITE_OK ? 0 : 1);
}

static void test_a_user_at_work(void **state)
{
    struct place place;
    struct kit kit;
    char key[16];
    int status = 0;
    (void)state;
    place_make(&place);
    create(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "key-1", "1");
    sqlite3 *user = user_begin(&place);
    user_does(user, "CREATE TABLE mine(n INTEGER CHECK(n = 0))");
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        user_live(&place);
    }
    uint64_t index = 1;
    uint32_t busy = 0;
    pid_t ended = 0;
    while (ended == 0) {
        snprintf(key, sizeof(key), "key-%u", (unsigned)++index);
        struct kv_record record = kit_record(index, key, key);
        int32_t applied = KV_E_RETRY;
        while ((applied = kit_apply(&kit, &record, 1, record.position, NULL)) == KV_E_RETRY) {
            assert_true(++busy < 1000);
        }
        assert_int_equal(applied, KV_OK);
        ended = waitpid(pid, &status, WNOHANG);
    }
    assert_int_equal(ended, pid);
    assert_int_equal(status, 0);
    user = user_begin(&place);
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(user,
                                        "SELECT (SELECT count(*) FROM mine), count(*) FROM kv", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), USER_ROUNDS);
    assert_int_equal(sqlite3_column_int(statement, 1), index);
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    end(&kit, &place);
}

/* The schema changes under the open store: it goes on, or says what is the matter. */
static void test_schema_changes(void **state)
{
    struct place place;
    struct kit kit;
    struct kv_record record = kit_record(3, "k", "3");
    (void)state;
    place_make(&place);
    create(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "k", "1");
    sqlite3 *user = user_begin(&place);
    user_does(user, "ALTER TABLE kv ADD COLUMN note; CREATE TRIGGER no BEFORE INSERT ON kv "
                    "WHEN new.value = x'6e6f' BEGIN SELECT RAISE(ABORT, 'no'); END");
    kit_refuse(&kit, 2, "k", "no", "no");
    user_does(user, "ALTER TABLE kv RENAME COLUMN value TO v");
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_IO);
    kit_expect_error(&kit, "value");
    kit_close(&kit);
    assert_int_equal(kit_open(&kit), KV_E_INVALID);
    user_does(user, "ALTER TABLE kv RENAME COLUMN v TO value");
    kit_reopen(&kit);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
    kit_expect(&kit, "k=3@3;");
    kit_close(&kit);
    user_does(user, "DROP TABLE kv"); /* then the position must not say that all is there */
    kit_reopen(&kit);
    kit_expect_line(&kit, "the table kv is gone");
    kit_expect_position(&kit, 0, 0);
    kit_expect(&kit, "");
    kit_put(&kit, 4, "k", "4");
    user_does(user, "PRAGMA ignore_check_constraints = 1; UPDATE kvnode_position SET format = 2");
    kit_close(&kit);
    assert_int_equal(kit_open(&kit), KV_E_VERSION);
    kit_expect_error(&kit, "written with format 2");
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    end(&kit, &place);
}

/* What others do to rows of ours: a number is its text, a NULL is damage. */
static void test_changed_rows(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    sqlite3 *user = user_begin(&place);
    user_does(user, "CREATE TABLE kv(key PRIMARY KEY, value)");
    create(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "k", "1");
    kit_put(&kit, 2, "l", "2");
    user_does(user, "UPDATE kv SET value = 17 WHERE key = CAST('k' AS BLOB);"
                    "DELETE FROM kv WHERE key = CAST('l' AS BLOB)");
    kit_expect(&kit, "k=17@1;");
    user_does(user, "UPDATE kv SET value = NULL");
    assert_int_equal(kit.ops->load(kit.self, NULL, NULL), KV_E_CORRUPT);
    kit_expect_error(&kit, "somebody changed it");
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    end(&kit, &place);
}

static void test_no_database(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    FILE *file = fopen(place.file, "w");
    assert_non_null(file);
    for (int i = 0; i < 500; i++) {
        fprintf(file, "This is no database. ");
    }
    fclose(file);
    create(&kit, &place);
    assert_int_equal(kit_open(&kit), KV_E_CORRUPT);
    kit_expect_error(&kit, "file is not a database; restore the file");
    end(&kit, &place);
}

static int32_t take(void *ctx, const struct kv_record *record)
{
    (void)ctx;
    (void)record;
    return KV_OK;
}

/* Every page is overwritten in turn: an error with advice, or what was stored, and never a crash.
 */
static void test_damage(void **state)
{
    struct place place;
    struct kit kit;
    char value[3000];
    char noise[4096];
    uint32_t told = 0;
    (void)state;
    place_make(&place);
    create(&kit, &place);
    kit_reopen(&kit);
    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    for (uint64_t i = 1; i <= 30; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%u", (unsigned)i);
        kit_put(&kit, i, key, value);
    }
    kit_close(&kit);
    memset(noise, 0x5a, sizeof(noise));
    int fd = open(place.file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < size; at += (off_t)sizeof(noise)) {
        char saved[sizeof(noise)];
        assert_int_equal(pread(fd, saved, sizeof(saved), at), sizeof(saved));
        assert_int_equal(pwrite(fd, noise, sizeof(noise), at), sizeof(noise));
        int32_t status = kit_open(&kit);
        if (status == KV_OK) {
            status = kit.ops->load(kit.self, take, NULL);
        }
        told += status == KV_E_CORRUPT;
        assert_true(status == KV_OK || status == KV_E_CORRUPT);
        kit_close(&kit);
        assert_int_equal(pwrite(fd, saved, sizeof(saved), at), sizeof(saved));
    }
    close(fd);
    assert_true(told > 5);
    kit_expect_line(&kit, "restore the file");
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 30);
    end(&kit, &place);
}

static void test_host_of_1_0(void **state)
{
    struct place place;
    struct kit kit;
    uint32_t result = KV_RESULT_STORED;
    struct kv_record record = kit_record(1, "k", "too long");
    (void)state;
    place_make(&place);
    sqlite3 *user = user_begin(&place);
    user_does(user, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT CHECK(length(value) < 4))");
    create(&kit, &place);
    kit.host.table.size = offsetof(struct kv_host, reason);
    kit.host.table.reason = NULL;
    kit_reopen(&kit);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, &result), KV_OK);
    assert_int_equal(result, KV_RESULT_REFUSED);
    kit_expect_error(&kit, "CHECK constraint failed: length(value) < 4");
    assert_int_equal(sqlite3_close(user), SQLITE_OK);
    end(&kit, &place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy),           cmocka_unit_test(test_a_user_at_work),
        cmocka_unit_test(test_schema_changes), cmocka_unit_test(test_changed_rows),
        cmocka_unit_test(test_no_database),    cmocka_unit_test(test_damage),
        cmocka_unit_test(test_host_of_1_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* persist-sqlite: what it keeps, what it gives back, what a table of the user's own refuses. */
#include "example_kit.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct place {
    char folder[KIT_PATH_MAX];
    char file[KIT_PATH_MAX + 16];
    char setting[KIT_PATH_MAX + 32];
    sqlite3 *user; /* somebody else who uses the database */
};

static void place_make(struct place *place)
{
    kit_folder_make(place->folder);
    snprintf(place->file, sizeof(place->file), "%s/kv.db", place->folder);
    snprintf(place->setting, sizeof(place->setting), "path=%s", place->file);
    assert_int_equal(sqlite3_open(place->file, &place->user), SQLITE_OK);
    sqlite3_busy_timeout(place->user, 10000);
}

static void user_does(struct place *place, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(place->user, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
}

/* The first column of the first row. */
static void user_sees(struct place *place, const char *sql, const char *expected)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(place->user, sql, -1, &statement, NULL), SQLITE_OK);
    const char *found = NULL;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        found = (const char *)sqlite3_column_text(statement, 0);
    }
    assert_string_equal(found == NULL ? "(nothing)" : found, expected);
    sqlite3_finalize(statement);
}

static int32_t try_open(struct kit *kit, const struct place *place, const char *const *more)
{
    const char *settings[8] = {place->setting};
    for (size_t i = 0; more != NULL && more[i] != NULL; i++) {
        settings[i + 1] = more[i];
    }
    assert_int_equal(kit_create(kit, EXAMPLE_PLUGIN, settings), KV_OK);
    return kit_open(kit);
}

static void begin(struct kit *kit, const struct place *place, const char *const *more)
{
    if (try_open(kit, place, more) != KV_OK) {
        fail_msg("open() failed: %s", kit->host.last_error);
    }
}

static void end(struct kit *kit, struct place *place)
{
    kit_end(kit);
    assert_int_equal(sqlite3_close(place->user), SQLITE_OK);
    kit_folder_remove(place->folder);
}

static void test_content(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    begin(&kit, &place, NULL);
    kit_expect_position(&kit, 0, 0);
    struct kv_record batch[] = {kit_record(1, "a", "1"),  kit_record(2, "b", "2"),
                                kit_record(3, "a", "3"),  kit_record(4, "c", NULL),
                                kit_record(5, "b", NULL), kit_record(6, "d", "")};
    assert_int_equal(kit_apply(&kit, batch, 6, batch[5].position, NULL), KV_OK);
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 6);
    kit_expect(&kit, "a=3@3;d=@6;");
    assert_int_equal(kit_apply(&kit, batch, 6, batch[5].position, NULL), KV_OK);
    kit_expect(&kit, "a=3@3;d=@6;");
    char *one = kit_get(&kit, "a", 1);
    assert_string_equal(one, "a=3@3;");
    free(one);
    one = kit_get(&kit, "b", 1);
    assert_string_equal(one, "");
    free(one);
    struct kv_position big = {UINT64_MAX, UINT64_MAX - 1};
    assert_int_equal(kit_apply(&kit, NULL, 0, big, NULL), KV_OK);
    kit_reopen(&kit);
    kit_expect_position(&kit, UINT64_MAX, UINT64_MAX - 1);
    end(&kit, &place);
}

/* Bytes in columns of both kinds come back as they were, and keys stay apart. */
static void test_bytes(void **state)
{
    static const char *const tables[] = {
        "CREATE TABLE kv(key BLOB PRIMARY KEY, value BLOB NOT NULL)",
        "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE kv(key PRIMARY KEY, value INTEGER)",
        "CREATE TABLE kv(n INTEGER PRIMARY KEY, key VARCHAR(3) UNIQUE, value NUMERIC)",
        "PRAGMA encoding = 'UTF-16'; CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT)",
    };
    static const struct {
        const char *bytes;
        uint32_t len;
    } odd[] = {{"", 0},   {"\0", 1},           {"\xff", 1},         {"1", 1},
               {"01", 2}, {"1.0", 3},          {"a\0b", 3},         {"a", 1},
               {"A", 1},  {"\xef\xbf\xbe", 3}, {"\xed\xa0\x80", 3}, {"'\"", 2}};
    (void)state;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        struct place place;
        struct kit kit;
        place_make(&place);
        user_does(&place, tables[t]);
        begin(&kit, &place, NULL);
        for (uint32_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
            struct kv_record record = kit_record(i + 1, "", "");
            record.key = odd[i].bytes;
            record.key_len = odd[i].len;
            record.value = odd[i].len == 0 ? NULL : odd[i].bytes;
            record.value_len = odd[i].len;
            assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
        }
        kit_reopen(&kit);
        kit_expect(&kit, "'\"='\"@12;01=01@5;1.0=1.0@6;1=1@4;=@1;A=A@9;\\x00=\\x00@2;"
                         "\\xed\\xa0\\x80=\\xed\\xa0\\x80@11;\\xef\\xbf\\xbe=\\xef\\xbf\\xbe@10;"
                         "\\xff=\\xff@3;a=a@8;a\\x00b=a\\x00b@7;");
        end(&kit, &place);
    }
}

static void test_people_see_text(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT NOT NULL)");
    begin(&kit, &place, NULL);
    kit_put(&kit, 1, "k", "caf\xc3\xa9");
    user_sees(&place, "SELECT typeof(key) || typeof(value) || length(value) FROM kv", "texttext4");
    user_sees(&place, "SELECT value FROM kv WHERE key = 'k'", "caf\xc3\xa9");
    kit_put(&kit, 2, "k", "\xff");
    user_sees(&place, "SELECT typeof(value) FROM kv", "blob");
    end(&kit, &place);
}

static void test_constraints(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT NOT NULL UNIQUE "
                      "CHECK(length(value) < 10), note TEXT DEFAULT 'mine');"
                      "CREATE TRIGGER no_x BEFORE INSERT ON kv WHEN new.value = 'x' "
                      "BEGIN SELECT RAISE(ABORT, 'x is not for us'); END;"
                      "CREATE TRIGGER keep BEFORE DELETE ON kv WHEN old.key = 'kept' "
                      "BEGIN SELECT RAISE(ABORT, 'kept is kept'); END");
    begin(&kit, &place, NULL);
    kit_put(&kit, 1, "k", "short");
    kit_refuse(&kit, 2, "k", "much too long", "CHECK constraint failed: length(value) < 10");
    kit_refuse(&kit, 3, "l", "short", "UNIQUE constraint failed: kv.value");
    kit_refuse(&kit, 4, "l", "x", "x is not for us");
    kit_put(&kit, 5, "kept", "1");
    kit_refuse(&kit, 6, "kept", NULL, "kept is kept");
    user_does(&place, "UPDATE kv SET note = 'changed' WHERE key = 'k'");
    kit_put(&kit, 7, "k", "new"); /* the user's own columns are left alone */
    user_sees(&place, "SELECT note FROM kv WHERE key = 'k'", "changed");
    /* The rest of a batch and the position are stored. */
    struct kv_record batch[] = {kit_record(8, "a", "3"), kit_record(9, "b", "far too long"),
                                kit_record(10, "c", "2"), kit_record(11, "kept", NULL),
                                kit_record(12, "a", NULL)};
    uint32_t results[5];
    assert_int_equal(kit_apply(&kit, batch, 5, batch[4].position, results), KV_OK);
    const uint32_t expected[] = {KV_RESULT_STORED, KV_RESULT_REFUSED, KV_RESULT_STORED,
                                 KV_RESULT_REFUSED, KV_RESULT_STORED};
    assert_memory_equal(results, expected, sizeof(expected));
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 12);
    kit_expect(&kit, "c=2@10;k=new@7;kept=1@5;");
    end(&kit, &place);
}

/* Whatever a trigger or an ON CONFLICT clause does, nothing is lost silently or stored by half. */
static void test_odd_triggers(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place,
              "CREATE TABLE log(text TEXT);"
              "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT UNIQUE ON CONFLICT REPLACE);"
              "CREATE TRIGGER t1 BEFORE INSERT ON kv WHEN new.value = 'ignore' "
              "BEGIN SELECT RAISE(IGNORE); END;"
              "CREATE TRIGGER t2 AFTER INSERT ON kv WHEN new.value = 'rollback' "
              "BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END;"
              "CREATE TRIGGER t3 AFTER INSERT ON kv WHEN new.value = 'fail' "
              "BEGIN INSERT INTO log VALUES('half'); SELECT RAISE(FAIL, 'from here'); END;"
              "CREATE TRIGGER t4 BEFORE DELETE ON kv WHEN old.value = 'stays' "
              "BEGIN SELECT RAISE(IGNORE); END;"
              "CREATE TRIGGER t5 BEFORE INSERT ON kv WHEN new.value LIKE '{%' "
              "BEGIN SELECT json_extract(new.value, '$.a'); END");
    begin(&kit, &place, NULL);
    kit_put(&kit, 1, "s", "stays");
    kit_refuse(&kit, 2, "i", "ignore", "a trigger of the table kv ignored it");
    kit_refuse(&kit, 3, "s", NULL, "a trigger of the table kv ignored it");
    kit_refuse(&kit, 4, "u", "stays", "UNIQUE constraint failed");
    kit_refuse(&kit, 5, "f", "fail", "from here");
    user_sees(&place, "SELECT count(*) FROM log", "0");
    kit_refuse(&kit, 6, "j", "{no json", "malformed JSON");
    struct kv_record batch[] = {kit_record(7, "a", "1"), kit_record(8, "r", "rollback"),
                                kit_record(9, "b", "2"), kit_record(10, "q", "rollback"),
                                kit_record(11, "c", "3")};
    uint32_t results[5];
    assert_int_equal(kit_apply(&kit, batch, 5, batch[4].position, results), KV_OK);
    const uint32_t expected[] = {KV_RESULT_STORED, KV_RESULT_REFUSED, KV_RESULT_STORED,
                                 KV_RESULT_REFUSED, KV_RESULT_STORED};
    assert_memory_equal(results, expected, sizeof(expected));
    assert_string_equal(check_host_reason(&kit.host, 1), "all of it");
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 11);
    kit_expect(&kit, "a=1@7;b=2@9;c=3@11;s=stays@1;");
    end(&kit, &place);
}

static void test_strict_table(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT) STRICT");
    begin(&kit, &place, NULL);
    kit_put(&kit, 1, "k", "text");
    kit_refuse(&kit, 2, "k", "\xff", "cannot store BLOB value in TEXT column kv.value");
    kit_expect(&kit, "k=text@1;");
    end(&kit, &place);
}

static void test_names(void **state)
{
    const char *names[] = {"table=a\"; DROP TABLE x; --", "key_column=\"k' ]",
                           "value_column=%s%n?1", NULL};
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place, "CREATE TABLE x(y); INSERT INTO x VALUES('here')");
    begin(&kit, &place, names);
    kit_put(&kit, 1, "k", "v");
    kit_put(&kit, 2, "l", "v");
    kit_put(&kit, 3, "k", NULL);
    kit_reopen(&kit);
    kit_expect(&kit, "l=v@2;");
    user_sees(&place, "SELECT \"%s%n?1\" FROM \"a\"\"; DROP TABLE x; --\"", "v");
    user_sees(&place, "SELECT y FROM x", "here");
    assert_int_equal(kit.ops->reset(kit.self), KV_OK);
    kit_expect(&kit, "");
    end(&kit, &place);
}

static void test_tables_that_do_not_fit(void **state)
{
    static const struct {
        const char *sql, *part;
    } cases[] = {
        {"CREATE TABLE kv(key BLOB, value BLOB)", "ON CONFLICT clause does not match"},
        {"CREATE TABLE kv(key TEXT COLLATE NOCASE PRIMARY KEY, value BLOB)", "collation NOCASE"},
        {"CREATE TABLE kv(key TEXT PRIMARY KEY, v BLOB)", "no such table column: kv.value"},
        {"CREATE VIEW kv AS SELECT 1 AS key, 2 AS value", "no such table column"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct place place;
        struct kit kit;
        place_make(&place);
        user_does(&place, cases[i].sql);
        assert_int_equal(try_open(&kit, &place, NULL), KV_E_INVALID);
        kit_expect_error(&kit, cases[i].part);
        user_sees(&place, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'kvnode%'", "0");
        end(&kit, &place);
    }
}

static void test_rows_of_others(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    user_does(&place, "CREATE TABLE kv(key TEXT PRIMARY KEY, value TEXT);"
                      "INSERT INTO kv VALUES('theirs', 'x'), ('both', 'y')");
    begin(&kit, &place, NULL);
    kit_expect(&kit, "");
    kit_put(&kit, 1, "both", "1");
    kit_put(&kit, 2, "ours", "2");
    kit_reopen(&kit);
    kit_expect(&kit, "both=1@1;ours=2@2;");
    assert_int_equal(kit.ops->reset(kit.self), KV_OK);
    user_sees(&place, "SELECT group_concat(key) FROM kv", "theirs");
    kit_reopen(&kit);
    kit_expect_position(&kit, 0, 0);
    kit_expect(&kit, "");
    end(&kit, &place);
}

static void test_reset_refused(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    begin(&kit, &place, NULL);
    kit_put(&kit, 1, "k", "v");
    user_does(&place,
              "CREATE TRIGGER keep BEFORE DELETE ON kv BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_int_equal(kit.ops->reset(kit.self), KV_E_IO);
    kit_expect_error(&kit, "cannot empty the table: no");
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 1);
    kit_expect(&kit, "k=v@1;");
    end(&kit, &place);
}

/* Two tables of one database are two stores; one table is one. */
static void test_two_instances(void **state)
{
    const char *second_table[] = {"table=other", NULL};
    const char *same_table[] = {"table=KV", NULL};
    struct place place;
    struct kit kit, other;
    (void)state;
    place_make(&place);
    begin(&kit, &place, NULL);
    assert_int_equal(try_open(&other, &place, same_table), KV_E_EXISTS);
    kit_expect_error(&other, "another instance");
    kit_end(&other);
    begin(&other, &place, second_table);
    kit_put(&kit, 1, "k", "1");
    kit_put(&other, 7, "k", "2");
    kit_reopen(&other);
    kit_expect_position(&other, 1, 7);
    kit_expect(&kit, "k=1@1;");
    kit_expect(&other, "k=2@7;");
    kit_close(&kit);
    kit_end(&other);
    begin(&other, &place, same_table); /* another spelling of the same name */
    kit_expect_position(&other, 1, 1);
    kit_expect(&other, "k=1@1;");
    kit_end(&other);
    end(&kit, &place);
}

static void test_settings(void **state)
{
    static const char *const cases[][3] = {
        {"path=:memory:", "sync=always", "must name a file"},
        {"path=", "sync=always", "must name a file"},
        {"path=x", "sync=perhaps", "sync must be"},
        {"path=x", "table=", "must not be empty"},
        {"path=x", "table=KVNODE_position", "other purposes"},
        {"path=x", "table=sqlite_master", "other purposes"},
        {"path=x", "key_column=VALUE", "two columns"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kit kit;
        const char *settings[] = {cases[i][0], cases[i][1], NULL};
        assert_int_equal(kit_create(&kit, EXAMPLE_PLUGIN, settings), KV_E_INVALID);
        kit_expect_error(&kit, cases[i][2]);
        kit_end(&kit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content),         cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_people_see_text), cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_odd_triggers),    cmocka_unit_test(test_strict_table),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_tables_that_do_not_fit),
        cmocka_unit_test(test_rows_of_others),  cmocka_unit_test(test_reset_refused),
        cmocka_unit_test(test_two_instances),   cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

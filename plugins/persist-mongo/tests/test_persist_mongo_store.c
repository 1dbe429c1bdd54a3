/* The store against a server: documents, keys and values of any bytes, repeats, positions,
 * reopening, refusal of one record, the fence of both scopes, two instances. */
#include "kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mongoc/mongoc.h>

/* An instance on a collection of its own, open. */
static void store_open_with(struct kit_store *store, struct kit_host *host, const char *collection,
                            const char *more)
{
    char setting[128];
    const char *const settings[] = {setting, more, NULL};
    snprintf(setting, sizeof(setting), "collection=%s", collection);
    kit_create(store, host, KV_OK, settings);
    int32_t status = kit_open(store);
    if (status != KV_OK) {
        fail_msg("open() gave %d\n%s", (int)status, host->log);
    }
}

static void store_expect(struct kit_store *store, const char *expected)
{
    char *content = kit_content(store);
    assert_string_equal(content, expected);
    free(content);
}

static void test_a_new_store_is_empty(void **state)
{
    struct kit_host host;
    struct kit_store store;
    (void)state;
    kit_host_init(&host);
    store_open_with(&store, &host, kit_collection(), NULL);
    assert_int_equal(store.position.view, 0);
    assert_int_equal(store.position.index, 0);
    store_expect(&store, "");
    kit_destroy(&store);
}

static void test_records_and_position_come_back(void **state)
{
    struct kit_host host;
    struct kit_store store;
    const char *collection = kit_collection();
    (void)state;
    kit_host_init(&host);
    store_open_with(&store, &host, collection, NULL);
    const struct kv_record first[] = {kit_record(1, "a", "1"), kit_record(2, "b", "2"),
                                      kit_record(3, "a", "3"), kit_record(4, "c", "4")};
    assert_int_equal(kit_apply(&store, first, 4, (struct kv_position){1, 4}, NULL), KV_OK);
    const struct kv_record second[] = {kit_record(5, "b", NULL), kit_record(6, "absent", NULL)};
    assert_int_equal(kit_apply(&store, second, 2, (struct kv_position){1, 6}, NULL), KV_OK);
    store_expect(&store, "a=3@3;c=4@4;");
    char *text = kit_get(&store, "a");
    assert_string_equal(text, "a=3@3;");
    free(text);
    text = kit_get(&store, "b");
    assert_string_equal(text, "");
    free(text);
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    assert_int_equal(store.position.view, 1);
    assert_int_equal(store.position.index, 6);
    store_expect(&store, "a=3@3;c=4@4;");
    assert_int_equal(kit_apply(&store, NULL, 0, (struct kv_position){0, 0}, NULL), KV_OK);
    kit_destroy(&store);
    store_open_with(&store, &host, collection, NULL);
    assert_int_equal(store.position.view, 0); /* incomplete */
    kit_destroy(&store);
}

/* A batch that comes again changes nothing, also one that is long over. */
static void test_repeats(void **state)
{
    struct kit_host host;
    struct kit_store store;
    (void)state;
    kit_host_init(&host);
    store_open_with(&store, &host, kit_collection(), NULL);
    const struct kv_record first[] = {kit_record(1, "a", "1"), kit_record(2, "b", "2")};
    const struct kv_record second[] = {kit_record(3, "a", NULL), kit_record(4, "b", "4")};
    assert_int_equal(kit_apply(&store, first, 2, (struct kv_position){1, 2}, NULL), KV_OK);
    assert_int_equal(kit_apply(&store, first, 2, (struct kv_position){1, 2}, NULL), KV_OK);
    store_expect(&store, "a=1@1;b=2@2;");
    assert_int_equal(kit_apply(&store, second, 2, (struct kv_position){1, 4}, NULL), KV_OK);
    assert_int_equal(kit_apply(&store, first, 2, (struct kv_position){1, 2}, NULL), KV_OK);
    store_expect(&store, "b=4@4;");
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    assert_int_equal(kit_apply(&store, second, 2, (struct kv_position){1, 4}, NULL), KV_OK);
    store_expect(&store, "b=4@4;");
    kit_destroy(&store);
}

static void test_odd_keys_and_values(void **state)
{
    static const struct {
        const char *key;
        uint32_t key_len;
        const char *value;
        uint32_t value_len;
    } pairs[] = {
        {"", 0, "of the empty key", 16}, {"empty", 5, "", 0},      {"\0", 1, "\0\0", 2},
        {"\0\0", 2, "\xff\xfe", 2},      {"\xff", 1, "text", 4},   {"{\"$ne\":1}", 9, "$where", 6},
        {"a.b", 3, "dots", 4},           {"$inc", 4, "dollar", 6}, {"\xc3\xa9", 2, "\xc3\xa9", 2},
        {"\xc3", 1, "\xed\xa0\x80", 3},
    };
    struct kit_host host;
    struct kit_store store;
    struct kv_record records[sizeof(pairs) / sizeof(pairs[0])];
    uint32_t len = sizeof(pairs) / sizeof(pairs[0]);
    (void)state;
    kit_host_init(&host);
    store_open_with(&store, &host, kit_collection(), NULL);
    for (uint32_t i = 0; i < len; i++) {
        records[i] = kit_record(i + 1, "", "");
        records[i].key = pairs[i].key_len == 0 ? NULL : pairs[i].key;
        records[i].key_len = pairs[i].key_len;
        records[i].value = pairs[i].value_len == 0 ? NULL : pairs[i].value;
        records[i].value_len = pairs[i].value_len;
    }
    assert_int_equal(kit_apply(&store, records, len, (struct kv_position){1, len}, NULL), KV_OK);
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    store_expect(&store, "$inc=dollar@8;=of the empty key@1;\\x00=\\x00\\x00@3;"
                         "\\x00\\x00=\\xff\\xfe@4;\\xc3=\\xed\\xa0\\x80@10;\\xc3\\xa9=\\xc3\\xa9@9;"
                         "\\xff=text@5;a.b=dots@7;empty=@2;{\"$ne\":1}=$where@6;");
    kit_destroy(&store);
}

static void test_a_large_value_and_many_records(void **state)
{
    struct kit_host host;
    struct kit_store store;
    enum { MANY = 5000, LARGE = 1 << 20 };
    static struct kv_record records[MANY];
    static char keys[MANY][16];
    char *large = malloc(LARGE);
    (void)state;
    assert_non_null(large);
    memset(large, 'v', LARGE);
    kit_host_init(&host);
    store_open_with(&store, &host, kit_collection(), NULL);
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%u", i % 2500);
        records[i] = kit_record(i + 1, keys[i], "value");
    }
    records[MANY - 1].value = large;
    records[MANY - 1].value_len = LARGE;
    assert_int_equal(kit_apply(&store, records, MANY, (struct kv_position){1, MANY}, NULL), KV_OK);
    char *content = kit_content(&store);
    uint32_t pairs = 0;
    for (const char *at = content; (at = strchr(at, ';')) != NULL; at++) {
        pairs++;
    }
    assert_int_equal(pairs, 2500);
    assert_int_equal(strlen(content) > LARGE, 1);
    free(content);
    free(large);
    kit_destroy(&store);
}

/* A record that no document holds is refused with a reason; the others and the position are there;
 * an earlier record of its key in the batch is not lost with it. host->reason may be missing. */
static void store_check_refusal(uint32_t host_size)
{
    struct kit_host host;
    struct kit_store store;
    enum { LARGE = 17 << 20 };
    uint32_t results[4];
    char *large = calloc(1, LARGE);
    assert_non_null(large);
    kit_host_init(&host);
    host.table.size = host_size;
    store_open_with(&store, &host, kit_collection(), NULL);
    struct kv_record records[] = {kit_record(1, "a", "1"), kit_record(2, "b", "2"),
                                  kit_record(3, "a", "3"), kit_record(4, "c", "4")};
    records[2].value = large;
    records[2].value_len = LARGE;
    assert_int_equal(kit_apply(&store, records, 4, (struct kv_position){1, 4}, results), KV_OK);
    assert_int_equal(results[0], KV_RESULT_STORED);
    assert_int_equal(results[1], KV_RESULT_STORED);
    assert_int_equal(results[2], KV_RESULT_REFUSED);
    assert_int_equal(results[3], KV_RESULT_STORED);
    const char *where = host_size == sizeof(host.table) ? host.reason : host.log;
    assert_non_null(strstr(where, "at most 16777216 bytes"));
    assert_int_equal(host.reasons, host_size == sizeof(host.table) ? 1 : 0);
    store_expect(&store, "a=1@1;b=2@2;c=4@4;");
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    assert_int_equal(store.position.index, 4);
    free(large);
    kit_destroy(&store);
}

static void test_a_record_is_refused(void **state)
{
    (void)state;
    store_check_refusal(sizeof(struct kv_host));
}

static void test_a_record_is_refused_on_a_host_of_1_0(void **state)
{
    (void)state;
    store_check_refusal(offsetof(struct kv_host, reason));
}

static void test_reset(void **state)
{
    struct kit_host host;
    struct kit_store store;
    const char *collection = kit_collection();
    (void)state;
    kit_host_init(&host);
    store_open_with(&store, &host, collection, NULL);
    const struct kv_record first[] = {kit_record(1, "a", "1"), kit_record(2, "b", "2")};
    assert_int_equal(kit_apply(&store, first, 2, (struct kv_position){1, 2}, NULL), KV_OK);
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    assert_int_equal(kit_reset(&store), KV_OK);
    store_expect(&store, "");
    kit_close(&store);
    assert_int_equal(kit_open(&store), KV_OK);
    assert_int_equal(store.position.view, 0);
    kit_destroy(&store);
}

/* Scope "own": who opens last has it; the other is told so, and writes nothing. */
static void test_two_nodes_on_one_collection(void **state)
{
    struct kit_host hosts[2];
    struct kit_store first;
    struct kit_store second;
    char collection[64];
    (void)state;
    snprintf(collection, sizeof(collection), "%s", kit_collection());
    kit_host_init(&hosts[0]);
    kit_host_init(&hosts[1]);
    store_open_with(&first, &hosts[0], collection, NULL);
    const struct kv_record mine[] = {kit_record(1, "a", "first")};
    assert_int_equal(kit_apply(&first, mine, 1, (struct kv_position){1, 1}, NULL), KV_OK);
    store_open_with(&second, &hosts[1], collection, NULL);
    const struct kv_record yours[] = {kit_record(2, "a", "second")};
    assert_int_equal(kit_apply(&second, yours, 1, (struct kv_position){1, 2}, NULL), KV_OK);
    const struct kv_record late[] = {kit_record(3, "a", "late")};
    assert_int_equal(kit_apply(&first, late, 1, (struct kv_position){1, 3}, NULL), KV_E_REJECTED);
    assert_non_null(strstr(hosts[0].log, "another node has opened"));
    store_expect(&second, "a=second@2;");
    kit_destroy(&first);
    kit_destroy(&second);
}

/* Scope "shared": the database refuses what a deposed primary writes. */
static void test_a_deposed_primary_is_refused(void **state)
{
    struct kit_host hosts[2];
    struct kit_store deposed;
    struct kit_store primary;
    char collection[64];
    (void)state;
    snprintf(collection, sizeof(collection), "%s", kit_collection());
    kit_host_init(&hosts[0]);
    kit_host_init(&hosts[1]);
    store_open_with(&deposed, &hosts[0], collection, "scope=shared");
    store_open_with(&primary, &hosts[1], collection, "scope=shared");
    struct kv_record record = kit_record(1, "a", "of view 1");
    assert_int_equal(kit_apply(&deposed, &record, 1, (struct kv_position){1, 1}, NULL), KV_OK);
    record = kit_record(2, "b", "of view 2");
    record.position.view = 2;
    assert_int_equal(kit_apply(&primary, &record, 1, (struct kv_position){2, 2}, NULL), KV_OK);
    record = kit_record(2, "c", "late");
    assert_int_equal(kit_apply(&deposed, &record, 1, (struct kv_position){1, 2}, NULL),
                     KV_E_REJECTED);
    assert_non_null(strstr(hosts[0].log, "later view than 1"));
    store_expect(&primary, "a=of view 1@1;b=of view 2@2;");
    record = kit_record(3, "a", NULL);
    record.position.view = 2;
    assert_int_equal(kit_apply(&primary, &record, 1, (struct kv_position){2, 3}, NULL), KV_OK);
    store_expect(&primary, "b=of view 2@2;");
    kit_destroy(&deposed);
    kit_destroy(&primary);
}

/* --- looking at the server behind the plugin's back --- */

static mongoc_client_t *raw_client(void)
{
    mongoc_init();
    mongoc_client_t *client = mongoc_client_new(kit_uri());
    assert_non_null(client);
    return client;
}

/* Sets members of the documents that a filter finds, both as JSON. */
static void raw_update(const char *collection, const char *filter, const char *update)
{
    bson_error_t error;
    mongoc_client_t *client = raw_client();
    mongoc_collection_t *raw = mongoc_client_get_collection(client, "kvnode", collection);
    bson_t *selector = bson_new_from_json((const uint8_t *)filter, -1, &error);
    bson_t *change = bson_new_from_json((const uint8_t *)update, -1, &error);
    bson_t *options = BCON_NEW("upsert", BCON_BOOL(true));
    assert_non_null(selector);
    assert_non_null(change);
    if (!mongoc_collection_update_one(raw, selector, change, options, NULL, &error)) {
        fail_msg("%s", error.message);
    }
    bson_destroy(options);
    bson_destroy(change);
    bson_destroy(selector);
    mongoc_collection_destroy(raw);
    mongoc_client_destroy(client);
}

/* A bulk that arrives late finds later documents: it changes none of them. */
static void test_a_late_bulk_takes_nothing_back(void **state)
{
    struct kit_host host;
    struct kit_store store;
    char collection[64];
    (void)state;
    snprintf(collection, sizeof(collection), "%s", kit_collection());
    kit_host_init(&host);
    store_open_with(&store, &host, collection, NULL);
    const struct kv_record first[] = {kit_record(1, "a", "1"), kit_record(2, "b", "2"),
                                      kit_record(3, "c", "3")};
    assert_int_equal(kit_apply(&store, first, 3, (struct kv_position){1, 3}, NULL), KV_OK);
    raw_update(collection, "{\"key\": \"a\"}",
               "{\"$set\": {\"value\": \"later\", \"position.index\": 100}}");
    raw_update(collection, "{\"key\": \"b\"}",
               "{\"$set\": {\"value\": \"later\", \"position\": {\"view\": 2, \"index\": 3}}}");
    const struct kv_record late[] = {kit_record(4, "a", "late"), kit_record(5, "b", NULL),
                                     kit_record(6, "c", "6")};
    assert_int_equal(kit_apply(&store, late, 3, (struct kv_position){1, 6}, NULL), KV_OK);
    store_expect(&store, "a=later@100;b=later@3;c=6@6;");
    /* ... but a transfer replaces whatever is there. */
    assert_int_equal(kit_apply(&store, late, 2, (struct kv_position){0, 0}, NULL), KV_OK);
    store_expect(&store, "a=late@4;c=6@6;");
    kit_destroy(&store);
}

/* An index of the user's: whatever breaks it is refused with the server's words, in its place; also
 * where collection and value look like the index of _id. */
static void test_a_unique_index_of_the_users(void **state)
{
    struct kit_host host;
    struct kit_store store;
    bson_error_t error;
    char collection[64];
    uint32_t results[4];
    (void)state;
    snprintf(collection, sizeof(collection), "user_id_%s", kit_collection());
    kit_host_init(&host);
    store_open_with(&store, &host, collection, NULL);
    const struct kv_record first[] = {kit_record(1, "a", "index: _id_ x")};
    assert_int_equal(kit_apply(&store, first, 1, (struct kv_position){1, 1}, NULL), KV_OK);
    mongoc_client_t *client = raw_client();
    mongoc_database_t *database = mongoc_client_get_database(client, "kvnode");
    bson_t *command = BCON_NEW("createIndexes", BCON_UTF8(collection), "indexes", "[", "{", "key",
                               "{", "value", BCON_INT32(1), "}", "name", BCON_UTF8("value_id_1"),
                               "unique", BCON_BOOL(true), "}", "]");
    if (!mongoc_database_write_command_with_opts(database, command, NULL, NULL, &error)) {
        fail_msg("%s", error.message);
    }
    bson_destroy(command);
    mongoc_database_destroy(database);
    mongoc_client_destroy(client);
    const struct kv_record second[] = {kit_record(2, "b", "2"), kit_record(3, "c", "index: _id_ x"),
                                       kit_record(4, "d", "4"), kit_record(5, "e", "4")};
    assert_int_equal(kit_apply(&store, second, 4, (struct kv_position){1, 5}, results), KV_OK);
    assert_int_equal(results[0], KV_RESULT_STORED);
    assert_int_equal(results[1], KV_RESULT_REFUSED);
    assert_int_equal(results[2], KV_RESULT_STORED);
    assert_int_equal(results[3], KV_RESULT_REFUSED);
    assert_int_equal(host.reasons, 2);
    assert_non_null(strstr(host.reason, "duplicate key"));
    store_expect(&store, "a=index: _id_ x@1;b=2@2;d=4@4;");
    kit_destroy(&store);
}

static void test_documents_that_are_not_ours(void **state)
{
    struct kit_host host;
    struct kit_store store;
    char collection[64];
    char meta[80];
    (void)state;
    snprintf(collection, sizeof(collection), "%s", kit_collection());
    snprintf(meta, sizeof(meta), "%s.kvnode", collection);
    kit_host_init(&host);
    store_open_with(&store, &host, collection, NULL);
    raw_update(collection, "{\"_id\": 17}", "{\"$set\": {\"name\": \"somebody's\"}}");
    assert_int_equal(kit_load(&store), KV_E_CORRUPT);
    assert_non_null(strstr(host.log, "its _id is no BinData"));
    assert_non_null(strstr(host.log, "somebody's"));
    kit_close(&store);
    raw_update(meta, "{\"_id\": \"state\"}", "{\"$set\": {\"position\": 5}}");
    assert_int_equal(kit_open(&store), KV_E_CORRUPT);
    raw_update(meta, "{\"_id\": \"state\"}", "{\"$set\": {\"format\": 2}}");
    assert_int_equal(kit_open(&store), KV_E_VERSION);
    assert_non_null(strstr(host.log, "another format"));
    kit_destroy(&store);
}

static void test_settings_that_are_wrong(void **state)
{
    static const char *const wrong[] = {"sync=sometimes",      "scope=mine",    "timeout_ms=1",
                                        "collection=",         "collection=$x", "database=a b",
                                        "uri=tcp://nowhere",   "uri=",          "collection=a..",
                                        "timeout_ms=999999999"};
    struct kit_host host;
    struct kit_store store;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *const settings[] = {wrong[i], NULL};
        kit_host_init(&host);
        kit_create(&store, &host, KV_E_INVALID, settings);
        assert_true(host.errors > 0); /* a line says why */
        assert_int_equal(host.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_store_is_empty),
        cmocka_unit_test(test_records_and_position_come_back),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_odd_keys_and_values),
        cmocka_unit_test(test_a_large_value_and_many_records),
        cmocka_unit_test(test_a_record_is_refused),
        cmocka_unit_test(test_a_record_is_refused_on_a_host_of_1_0),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_two_nodes_on_one_collection),
        cmocka_unit_test(test_a_deposed_primary_is_refused),
        cmocka_unit_test(test_a_late_bulk_takes_nothing_back),
        cmocka_unit_test(test_a_unique_index_of_the_users),
        cmocka_unit_test(test_documents_that_are_not_ours),
        cmocka_unit_test(test_settings_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

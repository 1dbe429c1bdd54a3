/* Settings of a plugin: defaults, types, and the mistakes that a user makes. */
#include "base/alloc.h"
#include "host/loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>

static struct loaded_plugin *plugin; /* number = -5, flag = true, path must be given */

static int load(void **state)
{
    (void)state;
    char error[LOADER_ERROR_MAX];
    return loader_load("odd-good-options", KV_TEST_PLUGINS, 0, &plugin, error);
}

static int unload(void **state)
{
    (void)state;
    loader_release(plugin);
    return 0;
}

static void defaults_are_filled_in(void **state)
{
    (void)state;
    const struct kv_setting given[] = {{"path", "/x"}};
    struct kv_setting *settings = NULL;
    uint32_t at = 99;
    char error[LOADER_ERROR_MAX] = "";
    int64_t live = alloc_live();
    assert_int_equal(loader_settings(plugin, given, 1, &settings, &at, error), KV_OK);
    assert_string_equal(settings[0].name, "number");
    assert_string_equal(settings[0].value, "-5");
    assert_string_equal(settings[1].name, "flag");
    assert_string_equal(settings[1].value, "true");
    assert_string_equal(settings[2].name, "path");
    assert_string_equal(settings[2].value, "/x");
    loader_settings_free(settings);
    assert_int_equal(alloc_live(), live);
}

/* The status and the text of a mistake; returns the index it is about. */
static uint32_t mistake(const struct kv_setting *given, uint32_t given_len, const char *text)
{
    struct kv_setting *settings = NULL;
    uint32_t at = 99;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_settings(plugin, given, given_len, &settings, &at, error),
                     KV_E_INVALID);
    assert_null(settings);
    if (strstr(error, text) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", error, text);
    }
    return at;
}

static void mistakes(void **state)
{
    (void)state;
    const struct kv_setting unknown[] = {{"path", "/x"}, {"nmber", "1"}};
    assert_int_equal(mistake(unknown, 2, "unknown setting \"nmber\"; the nearest is \"number\""),
                     1);
    assert_int_equal(mistake(NULL, 0, "\"path\" is missing"), 0);
    const struct kv_setting half[] = {{"number", "1"}};
    assert_int_equal(mistake(half, 1, "\"path\" is missing"), 1);
    const struct kv_setting twice[] = {{"path", "/x"}, {"path", "/y"}};
    assert_int_equal(mistake(twice, 2, "\"path\" is given twice"), 1);
    const struct kv_setting empty[] = {{"path", NULL}};
    assert_int_equal(mistake(empty, 1, "\"path\" must be a text"), 0);
    const struct kv_setting nameless[] = {{NULL, "1"}};
    assert_int_equal(mistake(nameless, 1, "unknown setting"), 0);
}

static void types(void **state)
{
    (void)state;
    static const char *const bad_ints[] = {"",     "-",   "+1",  " 1",   "1 ",
                                           "0x10", "1.5", "1e3", "true", "9223372036854775808"};
    static const char *const good_ints[] = {"0", "-1", "9223372036854775807",
                                            "-9223372036854775808"};
    static const char *const bad_bools[] = {"", "1", "yes", "True", "true "};
    for (size_t i = 0; i < sizeof(bad_ints) / sizeof(bad_ints[0]); i++) {
        const struct kv_setting given[] = {{"path", "/x"}, {"number", bad_ints[i]}};
        assert_int_equal(mistake(given, 2, "\"number\" must be a whole number"), 1);
    }
    for (size_t i = 0; i < sizeof(bad_bools) / sizeof(bad_bools[0]); i++) {
        const struct kv_setting given[] = {{"flag", bad_bools[i]}, {"path", "/x"}};
        assert_int_equal(mistake(given, 2, "\"flag\" must be true or false"), 0);
    }
    for (size_t i = 0; i < sizeof(good_ints) / sizeof(good_ints[0]); i++) {
        const struct kv_setting given[] = {
            {"path", "/x"}, {"number", good_ints[i]}, {"flag", "false"}};
        struct kv_setting *settings = NULL;
        uint32_t at = 0;
        char error[LOADER_ERROR_MAX] = "";
        assert_int_equal(loader_settings(plugin, given, 3, &settings, &at, error), KV_OK);
        assert_string_equal(settings[0].value, good_ints[i]);
        assert_string_equal(settings[1].value, "false");
        loader_settings_free(settings);
    }
}

static void plugin_without_options(void **state)
{
    (void)state;
    struct loaded_plugin *bare = NULL;
    struct kv_setting *settings = NULL;
    uint32_t at = 0;
    char error[LOADER_ERROR_MAX] = "";
    const struct kv_setting given[] = {{"path", "/x"}};
    assert_int_equal(loader_load("odd-good-no-options", KV_TEST_PLUGINS, 0, &bare, error), KV_OK);
    assert_int_equal(loader_settings(bare, NULL, 0, &settings, &at, error), KV_OK);
    loader_settings_free(settings);
    assert_int_equal(loader_settings(bare, given, 1, &settings, &at, error), KV_E_INVALID);
    assert_non_null(strstr(error, "has no settings"));
    loader_release(bare);
}

/* The option that the host reads itself. */
static void scope_of_a_shared_store(void **state)
{
    (void)state;
    struct loaded_plugin *shared = NULL;
    struct kv_setting *settings = NULL;
    uint32_t at = 99;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-good-1-1", KV_TEST_PLUGINS, 0, &shared, error), KV_OK);
    static const struct {
        const char *scope; /* NULL: not given */
        bool is_shared;
    } rows[] = {{NULL, false}, {"own", false}, {"shared", true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct kv_setting given[] = {{"scope", rows[i].scope}};
        uint32_t len = rows[i].scope == NULL ? 0 : 1;
        assert_int_equal(loader_settings(shared, given, len, &settings, &at, error), KV_OK);
        assert_int_equal(loader_scope_is_shared(shared, settings), rows[i].is_shared);
        /* Without the capability it is an option like any other. */
        shared->descriptor.capabilities &= ~KV_PERSIST_SHARED;
        assert_false(loader_scope_is_shared(shared, settings));
        shared->descriptor.capabilities |= KV_PERSIST_SHARED;
        loader_settings_free(settings);
    }
    const struct kv_setting wrong[] = {{"scope", "Shared"}};
    assert_int_equal(loader_settings(shared, wrong, 1, &settings, &at, error), KV_E_INVALID);
    assert_int_equal(at, 0);
    assert_non_null(strstr(error, "\"scope\" must be \"own\" or \"shared\", not \"Shared\""));
    assert_false(loader_scope_is_shared(plugin, NULL));
    loader_release(shared);
}

static void nearest_name(void **state)
{
    (void)state;
    static const char *const known[] = {"retransmit_ms", "replica_timeout_ms", "min_in_sync"};
    assert_string_equal(loader_nearest_name("retransmitt_ms", known, 3), "retransmit_ms");
    assert_string_equal(loader_nearest_name("replica_timeout", known, 3), "replica_timeout_ms");
    assert_string_equal(loader_nearest_name("insync", known, 3), "min_in_sync");
    assert_string_equal(loader_nearest_name("min_in_sync", known, 3), "min_in_sync");
    assert_non_null(loader_nearest_name("", known, 3));
    assert_null(loader_nearest_name("a", known, 0));
    char endless[1000];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_non_null(loader_nearest_name(endless, known, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(types),
        cmocka_unit_test(plugin_without_options),
        cmocka_unit_test(scope_of_a_shared_store),
        cmocka_unit_test(nearest_name),
    };
    return cmocka_run_group_tests(tests, load, unload);
}

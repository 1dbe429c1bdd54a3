/* What `--check` does more than to load: the instance is made and destroyed, its store untouched.
 */
#include "base/alloc.h"
#include "host/plugins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/kvnode-plugins-XXXXXX";
static char path[64];
static char store[64];
static char error[PLUGINS_ERROR_MAX];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/kv.cfg", folder);
    snprintf(store, sizeof(store), "%s/store", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(store);
    return rmdir(folder) == 0 && alloc_live() == 0 ? 0 : -1;
}

/* The status of plugins_check() with these settings of persist-memory, on line 4 of the file. */
static int32_t check(const char *roles, const char *persistence)
{
    char config_error[CONFIG_ERROR_MAX];
    struct config *config = NULL;
    struct plugins plugins;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "node = { name = \"n1\"; roles = %s; arbiter = \"odd://h\"; };\n"
            "transports = ( { plugin = \"odd-good-transport\"; listen = \"odd://h\"; path = \"x\"; "
            "} );\n"
            "plugins = \"" KV_TEST_PLUGINS "\";\n%s",
            roles, persistence);
    assert_int_equal(fclose(file), 0);
    if (config_load(path, NULL, 0, &config, config_error) != KV_OK) {
        fail_msg("%s", config_error);
    }
    error[0] = '\0';
    if (plugins_load(config, &plugins, error) != KV_OK) {
        fail_msg("%s", error);
    }
    int32_t status = plugins_check(config, &plugins, error);
    plugins_close(&plugins);
    config_release(config);
    return status;
}

static void good_ones(void **state)
{
    (void)state;
    char settings[256];
    struct stat about;
    snprintf(settings, sizeof(settings),
             "persistence = { plugin = \"persist-memory\"; file = \"%s\"; };\n", store);
    assert_int_equal(check("[\"replica\"]", settings), KV_OK);
    assert_int_equal(stat(store, &about), -1); /* create() only */
    assert_int_equal(check("[\"arbiter\"]", ""), KV_OK);
    assert_string_equal(error, "");
}

static void refused_settings(void **state)
{
    (void)state;
    char expected[512];
    assert_int_equal(check("[\"replica\"]",
                           "persistence = { plugin = \"persist-memory\"; fail_every = -1; };\n"),
                     KV_E_INVALID);
    snprintf(
        expected, sizeof(expected),
        "%s:4: persist-memory refuses its settings: a number of \"faults\" cannot be negative: "
        "invalid argument (KV_E_INVALID)",
        path);
    assert_string_equal(error, expected);
}

static void how_it_is_isolated(void **state)
{
    (void)state;
    struct config config = {.isolate = {false, 100, 200}};
    struct isolate_config isolate = {1, 2};
    assert_null(plugins_isolate(&config, &isolate));
    config.isolate.is_wanted = true;
    assert_ptr_equal(plugins_isolate(&config, &isolate), &isolate);
    assert_true(isolate.memory_bytes == 100u << 20);
    assert_int_equal(isolate.call_timeout_ms, 200);
    config.isolate.memory_mb = 16777216;
    assert_true(plugins_isolate(&config, &isolate)->memory_bytes == 1ull << 44);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(refused_settings),
        cmocka_unit_test(how_it_is_isolated),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

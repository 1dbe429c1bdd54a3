/* What `--check` does more than to load: instances are made and destroyed, nothing is started and
 * no store touched. */
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

/* The status of plugins_check(), or of plugins_load() when that fails, for these items of the file,
 * which begin at its line 2. */
static int32_t check_file(const char *node, const char *items)
{
    char config_error[CONFIG_ERROR_MAX];
    struct config *config = NULL;
    struct plugins plugins;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "node = { name = \"n1\"; %s };\n%s", node, items);
    assert_int_equal(fclose(file), 0);
    if (config_load(path, NULL, 0, &config, config_error) != KV_OK) {
        fail_msg("%s", config_error);
    }
    error[0] = '\0';
    int32_t status = plugins_load(config, &plugins, error);
    if (status == KV_OK) {
        status = plugins_check(config, &plugins, error);
        plugins_close(&plugins);
    }
    config_release(config);
    return status;
}

/* With these settings of persist-memory, on line 4 of the file. */
static int32_t check(const char *roles, const char *persistence)
{
    char node[128];
    char items[512];
    snprintf(node, sizeof(node), "roles = %s; arbiter = \"odd://h\";", roles);
    snprintf(
        items, sizeof(items),
        "transports = ( { plugin = \"odd-good-transport\"; listen = \"odd://h\"; path = \"x\"; "
        "} );\n"
        "plugins = \"" KV_TEST_PLUGINS "\";\n%s",
        persistence);
    return check_file(node, items);
}

/* An arbiter with these transports, of which the first begins on line 3. */
static int32_t check_transports(const char *arbiter, const char *transports)
{
    char node[128];
    char items[512];
    snprintf(node, sizeof(node), "roles = [\"arbiter\"]; arbiter = \"%s\";", arbiter);
    snprintf(items, sizeof(items), "transports = (\n%s);\n", transports);
    return check_file(node, items);
}

static void refused_with(const char *text)
{
    char expected[512];
    snprintf(expected, sizeof(expected), "%s%s", path, text);
    assert_string_equal(error, expected);
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
    assert_int_equal(check("[\"replica\"]",
                           "persistence = { plugin = \"persist-memory\"; fail_every = -1; };\n"),
                     KV_E_INVALID);
    refused_with(":4: persist-memory refuses its settings: a number of \"faults\" cannot be "
                 "negative: invalid argument (KV_E_INVALID)");
}

static void refused_transports(void **state)
{
    (void)state;
    assert_int_equal(check_transports("tcp://h:1", "{ plugin = \"" TRANSPORT_TCP "\"; }"), KV_OK);
    assert_int_equal(check_transports("tcp://h:1", "{ plugin = \"" TRANSPORT_TCP "\"; },\n"
                                                   "{ connect_retry_ms = 0;\n"
                                                   " plugin = \"" TRANSPORT_TCP "\"; }"),
                     KV_E_INVALID);
    refused_with(
        ":4: transport-tcp refuses its settings: tcp: connect_retry_ms = \"0\": a number from 1 to "
        "86400000 is needed: invalid argument (KV_E_INVALID)");
#ifdef TRANSPORT_UDP
    assert_int_equal(check_transports("udp://h:1", "{ plugin = \"" TRANSPORT_UDP "\"; }"), KV_OK);
    assert_int_equal(
        check_transports("udp://h:1", "{ plugin = \"" TRANSPORT_UDP "\"; datagram_max = 10; }"),
        KV_E_INVALID);
    assert_non_null(strstr(error, ":3: transport-udp refuses its settings: udp: datagram_max"));
#endif
}

/* A file whose name is not the plugin's. */
static void default_from_another_name(void **state)
{
    (void)state;
    char file[96];
    char transports[256];
    snprintf(file, sizeof(file), "%s/mine.so", folder);
    assert_int_equal(symlink(TRANSPORT_TCP, file), 0);
    snprintf(transports, sizeof(transports), "{ plugin = \"%s\"; }", file);
    int32_t status = check_transports("mine://127.0.0.1:0", transports);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(status, KV_E_INVALID);
    refused_with(":3: transport-tcp serves addresses that begin with tcp://, not "
                 "\"mine://127.0.0.1:0\", the default from its file's name; give listen");
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
        cmocka_unit_test(good_ones),          cmocka_unit_test(refused_settings),
        cmocka_unit_test(refused_transports), cmocka_unit_test(default_from_another_name),
        cmocka_unit_test(how_it_is_isolated),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

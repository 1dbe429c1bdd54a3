/* Every refusal of the loader, each with a plugin that is odd in just that way. */
#include "base/alloc.h"
#include "host/loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct refusal {
    const char *plugin; /* odd-PLUGIN.so */
    int32_t status;
    const char *text[3]; /* what the error must contain: the field and both values */
};

static const struct refusal refusals[] = {
    {"no-symbol", KV_E_INVALID, {"kv_plugin"}},
    {"function", KV_E_INVALID, {"kv_plugin", "no data"}},
    {"short", KV_E_INVALID, {"plugin_size", "88", "8 bytes"}},
    {"magic", KV_E_INVALID, {"magic", "0x4b564e44", "0x4b564e45"}},
    {"major", KV_E_VERSION, {"abi_major", "has 1", "plugin 2"}},
    {"plugin-size", KV_E_INVALID, {"plugin_size", "88", "says 80"}},
    {"plugin-size-lie", KV_E_INVALID, {"plugin_size", "88", "1048576"}},
    {"ops-size", KV_E_INVALID, {"ops_size", "48", "40"}},
    {"ops-size-cut", KV_E_INVALID, {"ops_size", "multiple of 8", "has 52"}},
    {"ops-size-transport", KV_E_INVALID, {"ops_size", "72", "64"}},
    {"kind", KV_E_INVALID, {"kind", "1 (persistence)", "has 9"}},
    {"capability", KV_E_INVALID, {"capabilities", "0x3f in ABI 1.1", "0x100"}},
    {"capability-early", KV_E_INVALID, {"capabilities", "0x7 in ABI 1.0", "0x8"}},
    {"features", KV_E_VERSION, {"host_features", "0x1", "0x80"}},
    {"uv-version", KV_E_VERSION, {"libuv_version", "0x01", "0x020001"}},
    {"uv-minor", KV_E_VERSION, {"libuv_version", "the host has", "the plugin"}},
    {"uv-loop-size", KV_E_VERSION, {"libuv_loop_size", "the host has", "64"}},
    {"uv-no-version", KV_E_VERSION, {"libuv_version", "0x000000"}},
    {"name-null", KV_E_INVALID, {"name", "NULL"}},
    {"name-empty", KV_E_INVALID, {"name", "1 to 63", "\"\""}},
    {"name-long", KV_E_INVALID, {"name", "63", "a2345678"}},
    {"name-foreign", KV_E_INVALID, {"name", "letters", "my/plugin"}},
    {"version-null", KV_E_INVALID, {"version", "NULL"}},
    {"version-long", KV_E_INVALID, {"version", "63", "1.345"}},
    {"summary-null", KV_E_INVALID, {"summary", "NULL"}},
    {"options-null", KV_E_INVALID, {"options", "needs 1", "NULL"}},
    {"options-many", KV_E_INVALID, {"options_len", "256", "4294967295"}},
    {"option-name-null", KV_E_INVALID, {"options[0].name", "NULL"}},
    {"option-name-foreign", KV_E_INVALID, {"options[0].name", "letters", "a b"}},
    {"option-name-taken", KV_E_INVALID, {"options[0].name", "\"plugin\""}},
    {"option-name-listen", KV_E_INVALID, {"options[0].name", "\"listen\""}},
    {"option-name-isolate", KV_E_INVALID, {"options[0].name", "(plugin, isolate", "\"isolate\""}},
    {"option-name-isolate-memory", KV_E_INVALID, {"options[0].name", "\"isolate_memory_mb\""}},
    {"option-name-isolate-timeout", KV_E_INVALID, {"options[0].name", "\"isolate_timeout_ms\""}},
    {"shared-no-scope", KV_E_INVALID, {"options", "\"scope\" with KV_PERSIST_SHARED", "has none"}},
    {"shared-scope-type", KV_E_INVALID, {"options[1].type", "needs 1 (a text)", "has 2"}},
    {"shared-scope-default",
     KV_E_INVALID,
     {"options[0].default_value", "needs \"own\"", "has \"shared\""}},
    {"shared-scope-no-default",
     KV_E_INVALID,
     {"options[0].default_value", "needs \"own\"", "has NULL"}},
    {"option-twice", KV_E_INVALID, {"options[2].name", "\"a\"", "options[0]"}},
    {"option-type", KV_E_INVALID, {"options[0].type", "1 to 3", "has 4"}},
    {"option-type-zero", KV_E_INVALID, {"options[0].type", "1 to 3", "has 0"}},
    {"option-reserved", KV_E_INVALID, {"options[0].reserved", "needs 0", "has 1"}},
    {"option-help", KV_E_INVALID, {"options[0].help", "NULL"}},
    {"option-int", KV_E_INVALID, {"options[0].default_value", "whole number", "12x"}},
    {"option-int-wide", KV_E_INVALID, {"options[0].default_value", "9223372036854775808"}},
    {"option-bool", KV_E_INVALID, {"options[0].default_value", "true or false", "yes"}},
    {"ops-null", KV_E_INVALID, {"ops", "persistence", "NULL"}},
    {"create-null", KV_E_INVALID, {"ops.create", "a function", "NULL"}},
    {"open-null", KV_E_INVALID, {"ops.open", "a function", "NULL"}},
    {"load-null", KV_E_INVALID, {"ops.load", "with KV_PERSIST_LOAD", "NULL"}},
    {"load-unasked", KV_E_INVALID, {"ops.load", "without KV_PERSIST_LOAD", "a function"}},
    {"reset-null", KV_E_INVALID, {"ops.reset", "with KV_PERSIST_RESET", "NULL"}},
    {"reset-unasked", KV_E_INVALID, {"ops.reset", "without KV_PERSIST_RESET", "a function"}},
    {"reset-beyond", KV_E_INVALID, {"ops.reset", "with KV_PERSIST_RESET", "NULL"}},
    {"get-null", KV_E_INVALID, {"ops.get", "with KV_PERSIST_GET", "NULL"}},
    {"get-unasked", KV_E_INVALID, {"ops.get", "without KV_PERSIST_GET", "a function"}},
    {"apply-null", KV_E_INVALID, {"ops.apply", "a function", "NULL"}},
    {"close-null", KV_E_INVALID, {"ops.close", "a function", "NULL"}},
    {"destroy-null", KV_E_INVALID, {"ops.destroy", "a function", "NULL"}},
    {"transport-create-null", KV_E_INVALID, {"ops.create", "a function", "NULL"}},
    {"start-null", KV_E_INVALID, {"ops.start", "a function", "NULL"}},
    {"listen-null", KV_E_INVALID, {"ops.listen", "a function", "NULL"}},
    {"connect-null", KV_E_INVALID, {"ops.connect", "a function", "NULL"}},
    {"send-null", KV_E_INVALID, {"ops.send", "a function", "NULL"}},
    {"flush-null", KV_E_INVALID, {"ops.flush", "a function", "NULL"}},
    {"close-link-null", KV_E_INVALID, {"ops.close_link", "a function", "NULL"}},
    {"stop-null", KV_E_INVALID, {"ops.stop", "a function", "NULL"}},
    {"transport-destroy-null", KV_E_INVALID, {"ops.destroy", "a function", "NULL"}},
};

#define REFUSALS_LEN (sizeof(refusals) / sizeof(refusals[0]))

static void refuses(void **state)
{
    const struct refusal *refusal = *state;
    struct loaded_plugin *plugin = NULL;
    char name[80];
    char error[LOADER_ERROR_MAX] = "";
    int64_t live = alloc_live();
    snprintf(name, sizeof(name), "odd-%s", refusal->plugin);
    assert_int_equal(loader_load(name, KV_TEST_PLUGINS, 0, &plugin, error), refusal->status);
    assert_null(plugin);
    assert_int_equal(alloc_live(), live);
    assert_non_null(strstr(error, name)); /* which plugin */
    for (int i = 0; i < 3 && refusal->text[i] != NULL; i++) {
        if (strstr(error, refusal->text[i]) == NULL) {
            fail_msg("\"%s\" does not contain \"%s\"", error, refusal->text[i]);
        }
    }
}

/* An undefined function is found at load time or, where the sanitizer's runtime or the linker's
 * settings resolve lazily, not at all: RTLD_NOW says at load time. */
static void unresolved_symbol_keeps_the_text(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-unresolved", KV_TEST_PLUGINS, 0, &plugin, error),
                     KV_E_INVALID);
    assert_non_null(strstr(error, "odd_is_nowhere"));
}

static void wrong_kind(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-good", KV_TEST_PLUGINS, KV_KIND_TRANSPORT, &plugin, error),
                     KV_E_INVALID);
    assert_non_null(strstr(error, "kind: the host needs a transport plugin (2)"));
    assert_non_null(strstr(error, "is a persistence plugin (1)"));
    assert_int_equal(
        loader_load("odd-good-transport", KV_TEST_PLUGINS, KV_KIND_PERSIST, &plugin, error),
        KV_E_INVALID);
    assert_non_null(strstr(error, "needs a persistence plugin (1)"));
}

static void no_file(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("nowhere", KV_TEST_PLUGINS, 0, &plugin, error), KV_E_NOT_FOUND);
    assert_non_null(strstr(error, "nowhere.so"));
    assert_non_null(strstr(error, KV_TEST_PLUGINS));
    assert_int_equal(loader_load("/nonexistent/x.so", NULL, 0, &plugin, error), KV_E_NOT_FOUND);
    assert_non_null(strstr(error, "/nonexistent/x.so"));
    assert_int_equal(loader_load("nowhere", NULL, 0, &plugin, error), KV_E_NOT_FOUND);
    assert_non_null(strstr(error, "KV_PLUGINS"));
    assert_int_equal(loader_load("", KV_TEST_PLUGINS, 0, &plugin, error), KV_E_INVALID);
    assert_int_equal(loader_load("/", NULL, 0, &plugin, error), KV_E_INVALID);
    assert_non_null(strstr(error, "regular file"));
    char endless[8192];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_int_equal(loader_load(endless, KV_TEST_PLUGINS, 0, &plugin, error), KV_E_INVALID);
}

/* Copies the first len bytes of a good plugin to path. */
static size_t copy_start(const char *path, size_t len)
{
    static char bytes[1 << 20];
    FILE *from = fopen(KV_TEST_PLUGINS "/odd-good.so", "rb");
    assert_non_null(from);
    size_t got = fread(bytes, 1, sizeof(bytes), from);
    fclose(from);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    size_t part = len < got ? len : got;
    assert_int_equal(fwrite(bytes, 1, part, to), part);
    fclose(to);
    return got;
}

static void text_file_and_cut_off_files(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    char folder[] = "/tmp/kvnode-loader-XXXXXX";
    char path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/text.so", folder);
    FILE *text = fopen(path, "w");
    assert_non_null(text);
    fputs("this is no shared object\n", text);
    fclose(text);
    assert_int_equal(loader_load("text", folder, 0, &plugin, error), KV_E_INVALID);
    assert_non_null(strstr(error, "text.so"));
    assert_non_null(strstr(error, "cannot load"));
    size_t whole = copy_start(path, 0);
    size_t lens[] = {0, 3, 40, 64, 100, 700, 4096, whole / 4, whole / 2};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        copy_start(path, lens[i]);
        assert_int_equal(loader_load("text", folder, 0, &plugin, error), KV_E_INVALID);
        assert_null(plugin);
    }
    assert_non_null(strstr(error, "cut off"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void good_ones(void **state)
{
    (void)state;
    static const char *const good[] = {
        "odd-good",      "odd-good-transport",  "odd-good-load",    "odd-good-uv",
        "odd-good-loop", "odd-good-no-options", "odd-good-options", "persist-memory"};
    int64_t live = alloc_live();
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct loaded_plugin *plugin = NULL;
        char error[LOADER_ERROR_MAX] = "";
        if (loader_load(good[i], KV_TEST_PLUGINS, 0, &plugin, error) != KV_OK) {
            fail_msg("%s", error);
        }
        assert_null(plugin->descriptor.ops);
        assert_non_null(strstr(plugin->path, good[i]));
        loader_release(plugin);
    }
    loader_release(NULL);
    assert_int_equal(alloc_live(), live);
}

static void later_minor_is_taken(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-future-tail", KV_TEST_PLUGINS, 0, &plugin, error), KV_OK);
    assert_int_equal(plugin->descriptor.abi_minor, 7);
    assert_true(plugin->descriptor.plugin_size > sizeof(struct kv_plugin));
    assert_string_equal(plugin->descriptor.name, "odd");
    loader_release(plugin);
    assert_int_equal(loader_load("odd-future-capability", KV_TEST_PLUGINS, 0, &plugin, error),
                     KV_OK);
    assert_int_equal(plugin->descriptor.capabilities, 0);
    loader_release(plugin);
}

/* One built with the headers of 1.0: the members that came later are not there. */
static void earlier_minor_is_taken(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    if (loader_load("odd-good-1-0", KV_TEST_PLUGINS, KV_KIND_PERSIST, &plugin, error) != KV_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(plugin->descriptor.abi_minor, 0);
    assert_int_equal(plugin->descriptor.ops_size, 48);
    assert_non_null(plugin->ops.persist.destroy);
    assert_null(plugin->ops.persist.reset);
    assert_null(plugin->ops.persist.get);
    loader_release(plugin);
}

static void all_of_1_1(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    if (loader_load("odd-good-1-1", KV_TEST_PLUGINS, KV_KIND_PERSIST, &plugin, error) != KV_OK) {
        fail_msg("%s", error);
    }
    assert_int_equal(plugin->descriptor.abi_minor, 1);
    assert_int_equal(plugin->descriptor.capabilities, 0x3f);
    assert_non_null(plugin->ops.persist.load);
    assert_non_null(plugin->ops.persist.reset);
    assert_non_null(plugin->ops.persist.get);
    loader_release(plugin);
}

static void texts_are_copies(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-good-options", KV_TEST_PLUGINS, 0, &plugin, error), KV_OK);
    struct kv_plugin copy = plugin->descriptor;
    const struct kv_plugin *foreign = dlsym(plugin->handle, KV_PLUGIN_SYMBOL);
    assert_non_null(foreign);
    assert_ptr_not_equal(copy.name, foreign->name);
    assert_ptr_not_equal(copy.options, foreign->options);
    assert_ptr_not_equal(copy.options[0].help, foreign->options[0].help);
    assert_int_equal(copy.options_len, 3);
    assert_string_equal(copy.options[0].name, "number");
    assert_string_equal(copy.options[0].default_value, "-5");
    assert_int_equal(copy.options[1].type, KV_OPTION_BOOL);
    assert_null(copy.options[2].default_value);
    loader_release(plugin);
}

static void found_in_kv_plugins_and_by_path(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(setenv("KV_PLUGINS", KV_TEST_PLUGINS, 1), 0);
    assert_int_equal(loader_load("odd-good", NULL, KV_KIND_PERSIST, &plugin, error), KV_OK);
    loader_release(plugin);
    assert_int_equal(unsetenv("KV_PLUGINS"), 0);
    assert_int_equal(loader_load(KV_TEST_PLUGINS "/odd-good.so", "/nonexistent", 0, &plugin, error),
                     KV_OK);
    loader_release(plugin);
}

/* Whether the object is mapped in this process. */
static int is_mapped(const char *name)
{
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        found = found || strstr(line, name) != NULL;
    }
    fclose(maps);
    return found;
}

static void pinned_plugin_stays(void **state)
{
    (void)state;
    struct loaded_plugin *plugin = NULL;
    char error[LOADER_ERROR_MAX] = "";
    assert_int_equal(loader_load("odd-good-loop", KV_TEST_PLUGINS, 0, &plugin, error), KV_OK);
    assert_true(is_mapped("odd-good-loop.so"));
    loader_release(plugin);
    assert_false(is_mapped("odd-good-loop.so"));
    assert_int_equal(loader_load("odd-good-loop", KV_TEST_PLUGINS, 0, &plugin, error), KV_OK);
    loader_pin(plugin);
    loader_release(plugin);
    assert_true(is_mapped("odd-good-loop.so"));
}

int main(void)
{
    static struct CMUnitTest each[REFUSALS_LEN];
    for (size_t i = 0; i < REFUSALS_LEN; i++) {
        each[i].name = refusals[i].plugin;
        each[i].test_func = refuses;
        each[i].initial_state = (void *)(uintptr_t)&refusals[i];
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(unresolved_symbol_keeps_the_text),
        cmocka_unit_test(wrong_kind),
        cmocka_unit_test(no_file),
        cmocka_unit_test(text_file_and_cut_off_files),
        cmocka_unit_test(good_ones),
        cmocka_unit_test(later_minor_is_taken),
        cmocka_unit_test(earlier_minor_is_taken),
        cmocka_unit_test(all_of_1_1),
        cmocka_unit_test(texts_are_copies),
        cmocka_unit_test(found_in_kv_plugins_and_by_path),
        cmocka_unit_test(pinned_plugin_stays),
    };
    int failed = cmocka_run_group_tests_name("loader refuses", each, NULL, NULL);
    return failed + cmocka_run_group_tests_name("loader", others, NULL, NULL);
}

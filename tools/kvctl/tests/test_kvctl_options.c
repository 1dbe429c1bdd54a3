/*
 * The command line: options in any place, and one clear sentence about each mistake.
 */
#include "options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Splits text at spaces and parses it. */
static bool parse(const char *text, struct options *options, char *error)
{
    static char copy[1000];
    char *argv[40];
    int argc = 0;
    snprintf(copy, sizeof(copy), "%s", text);
    char *rest = copy;
    char *word;
    while ((word = strsep(&rest, " ")) != NULL) {
        argv[argc++] = word;
    }
    return options_parse(argc, argv, options, error);
}

static void options_stand_anywhere(void **state)
{
    (void)state;
    struct options options;
    char error[OPTIONS_ERROR_MAX] = "";
    unsetenv("KV_ARBITER");
    static const char *const same[] = {
        "kvctl -a tcp://h:1 --json --timeout 5 get K --node n2",
        "kvctl get -a tcp://h:1 K --timeout=5 --node=n2 --json",
        "kvctl get K --json --node n2 --arbiter tcp://h:1 --timeout 5",
        "kvctl --node n2 --timeout 5 --json --arbiter=tcp://h:1 get -- K",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_true(parse(same[i], &options, error));
        assert_int_equal(options.verb, VERB_GET);
        assert_string_equal(options.arbiter, "tcp://h:1");
        assert_string_equal(options.node, "n2");
        assert_int_equal(options.timeout_ms, 5);
        assert_true(options.json);
        assert_int_equal(options.args_len, 1);
        assert_string_equal(options.args[0], "K");
    }
}

/* What waits for a new view has time for it. */
static void commands_have_more_time(void **state)
{
    (void)state;
    static const char *const lines[] = {"kvctl leave n1", "kvctl handover n1", "kvctl takeover n1"};
    struct options options;
    char error[OPTIONS_ERROR_MAX] = "";
    for (size_t i = 0; i < 3; i++) {
        assert_true(parse(lines[i], &options, error));
        assert_int_equal(options.timeout_ms, 12000);
    }
    assert_true(parse("kvctl --timeout 7 takeover n1 --force", &options, error));
    assert_int_equal(options.timeout_ms, 7);
    assert_true(options.force);
    assert_true(parse("kvctl get k --at-least 12", &options, error));
    assert_int_equal(options.at_least, 12);
    assert_false(parse("kvctl handover n1 --force", &options, error));
    assert_false(parse("kvctl get k --at-least x", &options, error));
}

static void defaults_hold(void **state)
{
    (void)state;
    struct options options;
    char error[OPTIONS_ERROR_MAX] = "";
    unsetenv("KV_ARBITER");
    assert_true(parse("kvctl bench", &options, error));
    assert_string_equal(options.arbiter, "tcp://127.0.0.1:7400");
    assert_int_equal(options.timeout_ms, 2000);
    assert_int_equal(options.at_least, 0);
    assert_false(options.force);
    assert_int_equal(options.connections, 50);
    assert_int_equal(options.depth, 1);
    assert_int_equal(options.keys, 100000);
    assert_int_equal(options.key_bytes, 16);
    assert_int_equal(options.value_bytes, 100);
    assert_false(options.json);
    setenv("KV_ARBITER", "tcp://e:2", 1);
    assert_true(parse("kvctl status", &options, error));
    assert_string_equal(options.arbiter, "tcp://e:2");
    assert_true(parse("kvctl status -a tcp://f:3", &options, error));
    assert_string_equal(options.arbiter, "tcp://f:3");
    setenv("KV_ARBITER", "", 1);
    assert_true(parse("kvctl status", &options, error));
    assert_string_equal(options.arbiter, "tcp://127.0.0.1:7400");
    unsetenv("KV_ARBITER");
}

static void dashes_can_be_arguments(void **state)
{
    (void)state;
    struct options options;
    char error[OPTIONS_ERROR_MAX] = "";
    assert_true(parse("kvctl put -- -k --json", &options, error));
    assert_string_equal(options.args[0], "-k");
    assert_string_equal(options.args[1], "--json");
    assert_false(options.json);
    assert_true(parse("kvctl put k -", &options, error));
    assert_string_equal(options.args[1], "-");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"kvctl", "a verb is missing"},
        {"kvctl gett k", "unknown verb 'gett'"},
        {"kvctl get", "get takes KEY"},
        {"kvctl get a b", "get takes KEY"},
        {"kvctl put a", "put takes KEY VALUE"},
        {"kvctl put a b c d e", "too many arguments"},
        {"kvctl status now", "status takes no argument"},
        {"kvctl get k --nod n1", "unknown option '--nod'"},
        {"kvctl put k -5", "goes behind '--'"},
        {"kvctl get k --node", "--node needs a value"},
        {"kvctl put k v --node n1", "--node does not belong to put"},
        {"kvctl status --limit 3", "--limit does not belong to status"},
        {"kvctl status --timeout 0", "--timeout takes a whole number from 1"},
        {"kvctl status --timeout 1x", "not '1x'"},
        {"kvctl status --timeout -1", "not '-1'"},
        {"kvctl status --timeout 99999999999999999999", "--timeout takes"},
        {"kvctl bench --read 101", "from 0 to 100"},
        {"kvctl status --json=1", "--json takes no value"},
        {"kvctl status -a", "-a needs a value"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct options options;
        char error[OPTIONS_ERROR_MAX] = "";
        if (parse(bad[i][0], &options, error) || strstr(error, bad[i][1]) == NULL) {
            fail_msg("%s: '%s'", bad[i][0], error);
        }
    }
}

static void help_needs_nothing_else(void **state)
{
    (void)state;
    struct options options;
    char error[OPTIONS_ERROR_MAX] = "";
    assert_true(parse("kvctl --help", &options, error));
    assert_true(options.help);
    assert_int_equal(options.verb, VERBS_LEN);
    assert_true(parse("kvctl put -h", &options, error));
    assert_int_equal(options.verb, VERB_PUT);
    assert_true(parse("kvctl --version", &options, error));
    assert_true(options.version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),  cmocka_unit_test(defaults_hold),
        cmocka_unit_test(commands_have_more_time), cmocka_unit_test(dashes_can_be_arguments),
        cmocka_unit_test(mistakes_are_named),      cmocka_unit_test(help_needs_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

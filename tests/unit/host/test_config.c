/* The configuration: what is read, what is refused and how it is said, --set, and the files in
 * etc/. */
#include "base/alloc.h"
#include "host/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/kvnode-config-XXXXXX";
static char path[64];
static char include_path[64];
static char error[CONFIG_ERROR_MAX];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/kv.cfg", folder);
    snprintf(include_path, sizeof(include_path), "%s/more.cfg", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(include_path);
    return rmdir(folder) == 0 && alloc_live() == 0 ? 0 : -1;
}

static void write_bytes(const char *to, const char *text, size_t len)
{
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static struct config *read_with(const char *text, const char *const *sets, uint32_t sets_len)
{
    struct config *config = NULL;
    write_bytes(path, text, strlen(text));
    error[0] = '\0';
    if (config_load(path, sets, sets_len, &config, error) != KV_OK) {
        assert_null(config);
        assert_true(strlen(error) > 0);
        return NULL;
    }
    assert_non_null(config);
    return config;
}

static struct config *good(const char *text)
{
    struct config *config = read_with(text, NULL, 0);
    if (config == NULL) {
        fail_msg("%s", error);
    }
    return config;
}

static struct config *good_set(const char *text, const char *set)
{
    struct config *config = read_with(text, &set, 1);
    if (config == NULL) {
        fail_msg("%s", error);
    }
    return config;
}

static void contains(const char *text)
{
    if (strstr(error, text) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", error, text);
    }
}

/* Refused with exactly one mistake, at this line of the file, with these words. */
static void refused(const char *text, int line, const char *words)
{
    char place[128];
    struct config *config = read_with(text, NULL, 0);
    config_release(config);
    assert_null(config);
    if (line > 0) {
        snprintf(place, sizeof(place), "%s:%d: ", path, line);
    } else {
        snprintf(place, sizeof(place), "%s: ", path);
    }
    contains(place);
    contains(words);
    assert_ptr_equal(strstr(error, place), error);
    if (strchr(error, '\n') != NULL) {
        fail_msg("more than one mistake: %s", error);
    }
}

static void refused_set(const char *text, const char *set, const char *words)
{
    struct config *config = read_with(text, &set, 1);
    config_release(config);
    assert_null(config);
    contains("--set");
    contains(words);
}

#define NODE "node = { name = \"n1\"; arbiter = \"tcp://127.0.0.1:7400\"; };\n"

/* --- what is read --- */

static void defaults(void **state)
{
    (void)state;
    char where[256];
    struct config *config = good(NODE);
    assert_string_equal(config->node.name, "n1");
    assert_string_equal(config->node.arbiter, "tcp://127.0.0.1:7400");
    assert_string_equal(config->node.data, "data/n1");
    assert_true(config->node.is_replica);
    assert_false(config->node.is_arbiter);
    assert_int_equal(config->transports_len, 1);
    assert_string_equal(config->transports[0].plugin.plugin, "transport-tcp");
    assert_int_equal(config->transports[0].plugin.settings_len, 0);
    assert_int_equal(config->transports[0].uris_len, 1);
    assert_string_equal(config->transports[0].uris[0], "tcp://127.0.0.1:0");
    assert_true(config->has_persistence);
    assert_string_equal(config->persistence.plugin, "persist-file");
    assert_int_equal(config->persistence.settings_len, 2);
    assert_string_equal(config->persistence.settings[0].name, "path");
    assert_string_equal(config->persistence.settings[0].value, "data/n1/store");
    assert_string_equal(config->persistence.settings[1].name, "sync");
    assert_string_equal(config->persistence.settings[1].value, "always");
    config_where(config, &config->persistence, 0, where, sizeof(where));
    assert_string_equal(where, path);
    assert_false(config->isolate.is_wanted);
    assert_int_equal(config->isolate.memory_mb, 0);
    assert_int_equal(config->isolate.timeout_ms, 30000);
    assert_int_equal(config->replication.ack, ACK_DURABLE);
    assert_int_equal(config->replication.min_in_sync, 1);
    assert_int_equal(config->replication.operation_timeout_ms, 1000);
    assert_int_equal(config->replication.retransmit_ms, 100);
    assert_int_equal(config->replication.replica_timeout_ms, 500);
    assert_int_equal(config->replication.join_timeout_ms, 30000);
    assert_int_equal(config->replication.return_wait_ms, 10000);
    assert_int_equal(config->limits.key_bytes, 65536);
    assert_int_equal(config->limits.value_bytes, 1048576);
    assert_int_equal(config->limits.inflight_ops, 65536);
    assert_int_equal(config->limits.inflight_bytes, 268435456);
    assert_int_equal(config->limits.log_bytes, 16777216);
    assert_int_equal(config->limits_links, 1024);
    assert_int_equal(config->limits_queue_bytes, 16777216);
    assert_string_equal(config->log_level, "info");
    assert_null(config->plugin_folder);
    assert_string_equal(config->file, path);
    config_release(config);
    config_release(NULL);
}

static void everything_given(void **state)
{
    (void)state;
    char where[256];
    char expected[256];
    struct config *config =
        good("node = { name = \"a.b-c_1\"; roles = (\"arbiter\", \"replica\");\n"
             "  arbiter = \"tcp://h:1\"; data = \"/d\"; };\n"
             "transports = (\n"
             "  { plugin = \"transport-tcp\"; listen = [\"tcp://h:1\", \"tcp://h:2\"];\n"
             "    keepalive_s = 7; fast = true; ratio = 0.5; big = 5000000000L; hex = 0x10; },\n"
             "  { plugin = \"./udp.so\"; listen = \"udp://h:3\"; } );\n"
             "persistence = { plugin = \"my-store\";\n"
             "  table = \"t\"; isolate = true; isolate_memory_mb = 256;\n"
             "  isolate_timeout_ms = 0; };\n"
             "replication = { ack = \"local\"; min_in_sync = 2; operation_timeout_ms = 2000;\n"
             "  retransmit_ms = 50; replica_timeout_ms = 400; join_timeout_ms = 0;\n"
             "  return_wait_ms = 400; };\n"
             "limits = { key_bytes = 100; value_bytes = 200; inflight_ops = 10;\n"
             "  inflight_bytes = 5000000000L; links = 5; queue_bytes = 1000000;\n"
             "  log_bytes = 2500000000L; };\n"
             "plugins = \"/p\"; log_level = \"debug\";\n");
    assert_true(config->node.is_arbiter && config->node.is_replica);
    assert_string_equal(config->node.data, "/d");
    assert_int_equal(config->transports_len, 2);
    const struct config_plugin *tcp = &config->transports[0].plugin;
    assert_int_equal(config->transports[0].uris_len, 2);
    assert_string_equal(config->transports[0].uris[1], "tcp://h:2");
    assert_int_equal(tcp->settings_len, 5);
    assert_string_equal(tcp->settings[0].name, "keepalive_s");
    assert_string_equal(tcp->settings[0].value, "7");
    assert_string_equal(tcp->settings[1].value, "true");
    assert_string_equal(tcp->settings[2].value, "0.5");
    assert_string_equal(tcp->settings[3].value, "5000000000");
    assert_string_equal(tcp->settings[4].value, "16");
    assert_string_equal(config->transports[1].plugin.plugin, "./udp.so");
    assert_int_equal(config->persistence.settings_len, 1); /* defaults are persist-file's only */
    assert_true(config->isolate.is_wanted);
    assert_int_equal(config->isolate.memory_mb, 256);
    assert_int_equal(config->isolate.timeout_ms, 0);
    config_where(config, &config->persistence, 0, where, sizeof(where));
    snprintf(expected, sizeof(expected), "%s:8", path);
    assert_string_equal(where, expected);
    config_where(config, &config->persistence, 1, where, sizeof(where));
    snprintf(expected, sizeof(expected), "%s:7", path);
    assert_string_equal(where, expected);
    assert_int_equal(config->replication.ack, ACK_LOCAL);
    assert_int_equal(config->replication.min_in_sync, 2);
    assert_int_equal(config->replication.join_timeout_ms, 0);
    assert_int_equal(config->limits.key_bytes, 100);
    assert_int_equal(config->limits.inflight_bytes, 5000000000);
    assert_int_equal(config->limits.log_bytes, 2500000000);
    assert_int_equal(config->replication.return_wait_ms, 400);
    assert_int_equal(config->limits_links, 5);
    assert_int_equal(config->limits_queue_bytes, 1000000);
    assert_string_equal(config->plugin_folder, "/p");
    assert_string_equal(config->log_level, "debug");
    config_release(config);
}

static void isolated_plugin(void **state)
{
    (void)state;
    struct config *config = good_set(NODE, "persistence.isolate=true");
    assert_true(config->isolate.is_wanted);
    assert_int_equal(config->persistence.settings_len, 2); /* path and sync: it is no setting */
    config_release(config);
    /* A line with its default may stand anywhere. */
    config = good(NODE "persistence = { isolate = false; isolate_memory_mb = 0;\n"
                       " isolate_timeout_ms = 30000; };\n");
    config_release(config);
    refused(NODE "persistence = {\n isolate = \"yes\"; };\n", 3,
            "persistence.isolate must be true or false, not a text");
    refused(NODE "persistence = { isolate = 1; };\n", 2, "true or false, not a number");
    refused(NODE "persistence = {\n isolate_memory_mb = 256; };\n", 3,
            "persistence.isolate_memory_mb means nothing while the plugin runs in the node's own "
            "process; give persistence.isolate = true too");
    refused(NODE "persistence = { isolate = false;\n isolate_timeout_ms = 5; };\n", 3,
            "persistence.isolate_timeout_ms means nothing");
    refused(NODE "persistence = { isolate = true;\n isolate_memory_mb = 31; };\n", 3,
            "at least 32");
    refused(NODE "persistence = { isolate = true;\n isolate_memory_mb = -1; };\n", 3, "not -1");
    refused(NODE "persistence = { isolate = true;\n isolate_timeout_ms = 3600001; };\n", 3,
            "from 0 to 3600000");
    refused(NODE "persistence = { isolate = true;\n isolate_timeout_ms = true; };\n", 3,
            "must be a whole number");
    refused_set(NODE, "persistence.isolate_memory_mb=64",
                "--set persistence.isolate_memory_mb: persistence.isolate_memory_mb means nothing");
}

static void partly_given_groups(void **state)
{
    (void)state;
    struct config *config = good(NODE "persistence = { path = \"/s\"; };\ntransports = ( {} );\n");
    assert_string_equal(config->persistence.plugin, "persist-file");
    assert_string_equal(config->persistence.settings[0].value, "/s");
    assert_int_equal(config->persistence.settings_len, 2);
    assert_string_equal(config->transports[0].uris[0], "tcp://127.0.0.1:0");
    config_release(config);
    config = good("node = { name = \"a\"; arbiter = \"tcp://h:1\"; roles = [\"arbiter\"]; };");
    assert_false(config->has_persistence);
    assert_false(config->node.is_replica);
    config_release(config);
    /* The default of the queue grows with the limits. */
    config = good(NODE "limits = { value_bytes = 67108864; };");
    assert_true(config->limits_queue_bytes > 67108864);
    config_release(config);
}

static void included_file(void **state)
{
    (void)state;
    char expected[256];
    char where[256];
    const char *more = "\npersistence = { plugin = \"my-store\"; table = \"t\"; };\n";
    write_bytes(include_path, more, strlen(more));
    struct config *config = good(NODE "@include \"more.cfg\"\n");
    assert_string_equal(config->persistence.plugin, "my-store");
    config_where(config, &config->persistence, 0, where, sizeof(where));
    snprintf(expected, sizeof(expected), "%s:2", include_path);
    assert_string_equal(where, expected);
    config_release(config);
    const char *bad = "\n\nlimits = { linkss = 5; };\n";
    write_bytes(include_path, bad, strlen(bad));
    assert_null(read_with(NODE "@include \"more.cfg\"\n", NULL, 0));
    snprintf(expected, sizeof(expected), "%s:3: unknown setting limits.linkss", include_path);
    contains(expected);
    const char *syntax = "\nlimits = { = };\n";
    write_bytes(include_path, syntax, strlen(syntax));
    assert_null(read_with(NODE "@include \"more.cfg\"\n", NULL, 0));
    snprintf(expected, sizeof(expected), "%s:2: syntax error", include_path);
    contains(expected);
    const char *itself = "@include \"more.cfg\"\n";
    write_bytes(include_path, itself, strlen(itself));
    assert_null(read_with(NODE "@include \"more.cfg\"\n", NULL, 0));
    contains("files are included");
    /* libconfig would end the process here. */
    assert_null(read_with(NODE "@include \".\"\n", NULL, 0));
    contains("directory");
    assert_null(read_with(NODE "@include \"none.cfg\"\n", NULL, 0));
    contains("none.cfg: cannot read the configuration");
    refused(NODE "@include \"/etc/passwd\"\n", 2, "must be relative");
}

/* --- what is refused --- */

static void unreadable_files(void **state)
{
    (void)state;
    struct config *config = NULL;
    char missing[128];
    snprintf(missing, sizeof(missing), "%s/none.cfg", folder);
    assert_int_equal(config_load(missing, NULL, 0, &config, error), KV_E_INVALID);
    contains("none.cfg: cannot read the configuration: No such file");
    assert_int_equal(config_load(folder, NULL, 0, &config, error), KV_E_INVALID);
    contains("directory");
    assert_int_equal(config_load("/dev/null", NULL, 0, &config, error), KV_E_INVALID);
    contains("no regular file");
    char *big = alloc_zeroed(1, 2u << 20);
    memset(big, ' ', 2u << 20);
    write_bytes(path, big, 2u << 20);
    assert_int_equal(config_load(path, NULL, 0, &config, error), KV_E_INVALID);
    contains("too large");
    alloc_free(big);
    write_bytes(path, "a = 1;\nb\0c", 10);
    assert_int_equal(config_load(path, NULL, 0, &config, error), KV_E_INVALID);
    contains(":2: there is a NUL byte");
    assert_null(config);
}

static void syntax(void **state)
{
    (void)state;
    refused(NODE "\nlimits = { key_bytes 5 };\n", 3, "syntax error");
    refused(NODE "log_level = \"info\"; log_level = \"debug\";\n", 2, "duplicate setting");
    refused(NODE "\n\nplugins = \"/p;\nlimits = { };\n", 4, "put a quote behind it");
    refused(NODE "limits = { inflight_bytes = 3000000000; };\n", 2, "3000000000L");
    refused(NODE "limits = { inflight_bytes = 0xffffffff; };\n", 2, "0xffffffffL");
    refused(NODE "limits = { inflight_bytes = 99999999999999999999L; };\n", 2, "64 bits");
    refused(NODE "x = ((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))));\n", 2,
            "nested");
}

static void missing_ones(void **state)
{
    (void)state;
    assert_null(read_with("", NULL, 0));
    contains("node.name is missing");
    contains("node.arbiter is missing");
    refused("\nnode = { name = \"n1\"; };\n", 2, "node.arbiter is missing");
    refused("\nnode = { arbiter = \"tcp://h:1\"; };\n", 2, "node.name is missing");
}

static void unknown_ones(void **state)
{
    (void)state;
    refused(NODE "limit = {};\n", 2, "unknown setting limit; the nearest is limits");
    refused(NODE "replication = { retransmitms = 5; };\n", 2,
            "unknown setting replication.retransmitms; the nearest is retransmit_ms");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\";\n role = [\"replica\"]; };\n", 2,
            "unknown setting node.role; the nearest is roles");
}

static void wrong_values(void **state)
{
    (void)state;
    refused(NODE "limits = ( 1 );\n", 2, "limits must be a group");
    refused(NODE "limits = { links = \"5\"; };\n", 2, "limits.links must be a whole number");
    refused(NODE "limits = { links = 5.0; };\n", 2, "not a number with a fraction");
    refused(NODE "limits = { links = 0; };\n", 2, "from 1 to 1048576, not 0");
    refused(NODE "limits = { links = -1; };\n", 2, "not -1");
    refused(NODE "limits = { value_bytes = 67108865; };\n", 2, "from 1 to 67108864");
    refused(NODE "limits = { key_bytes = 1048577; };\n", 2, "from 1 to 1048576");
    refused(NODE "replication = { ack = \"durabel\"; };\n", 2, "the nearest is \"durable\"");
    refused(NODE "replication = { ack = 1; };\n", 2, "must be a text in quotes, not a number");
    refused(NODE "replication = { operation_timeout_ms = 3600001; };\n", 2, "1 to 3600000");
    refused(NODE "log_level = \"loud\";\n", 2, "\"error\", \"warn\", \"info\", \"debug\"");
    refused(NODE "plugins = \"\";\n", 2, "plugins must not be empty");
    refused(NODE "transports = { };\n", 2, "must be a list");
    refused(NODE "transports = ();\n", 2, "1 to 8 groups");
    refused(NODE "transports = ( { listen = 5; } );\n", 2, "listen must be an address");
    refused(NODE "transports = ( { listen = \"127.0.0.1\"; } );\n", 2, "like tcp://127.0.0.1:7400");
    refused(NODE "persistence = { path = [1, 2]; };\n", 2, "path must be a text, a number");
    refused("node = { name = \"n/1\"; arbiter = \"tcp://h:1\"; };\n", 1, "letters, digits");
    refused("node = { name = \".\"; arbiter = \"tcp://h:1\"; };\n", 1, "must not be \".\"");
    refused("node = {\n name = \"..\"; arbiter = \"tcp://h:1\"; };\n", 2, "names a folder");
    refused("node = { name = \"n\"; arbiter = \"h:1\"; };\n", 1, "node.arbiter must be an address");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\";\n roles = [\"primary\"]; };", 2,
            "not \"primary\"");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\";\n roles = []; };", 2, "not empty");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\";\n roles = \"replica\"; };", 2,
            "not a text");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\";\n"
            " roles = [\"replica\", \"replica\"]; };",
            2, "twice");
}

static void not_together(void **state)
{
    (void)state;
    refused(NODE "replication = { retransmit_ms = 500; };\n", 2,
            "replica_timeout_ms (500) must be at least 3 times replication.retransmit_ms (500)");
    refused(NODE "replication = { retransmit_ms = 167; };\n", 2, "at least 3 times");
    refused(NODE "replication = {\n return_wait_ms = 499; };\n", 3,
            "return_wait_ms (499) must be at least replication.replica_timeout_ms (500)");
    refused(NODE "limits = { inflight_bytes = 2000000;\n log_bytes = 1000001; };\n", 3,
            "limits.log_bytes must be at most 1000000");
    struct config *config = good(NODE "replication = { replica_timeout_ms = 20000; };\n"
                                      "limits = { inflight_bytes = 2000000; };\n");
    assert_int_equal(config->replication.return_wait_ms, 20000); /* defaults follow */
    assert_int_equal(config->limits.log_bytes, 1000000);
    config_release(config);
    config_release(good(NODE "replication = { retransmit_ms = 166; };\n"));
    refused(NODE "limits = {\n queue_bytes = 65536; };\n", 3,
            "limits.queue_bytes must be at least");
    refused(NODE "limits = {\n inflight_bytes = 65536; };\n", 3,
            "limits.inflight_bytes must be at least 1114112");
    refused("node = { name = \"n\"; arbiter = \"tcp://h:1\"; roles = [\"arbiter\"]; };\n"
            "persistence = { path = \"x\"; };\n",
            2, "remove persistence");
    refused(NODE "transports = ( { plugin = \"mine\"; listen = (); } );\n", 2,
            "listen on 0 addresses");
    refused(NODE "transports = ( { }, { }, { }, { }, { } );\n", 2, "listen on 5 addresses");
    refused(NODE "transports = ( { listen = [\"tcp://a:1\", \"tcp://a:2\", \"tcp://a:3\"]; },\n"
                 " { listen = [\"tcp://a:4\", \"tcp://a:5\"]; } );\n",
            2, "listen on 5 addresses");
    refused(NODE "transports = ( { listen = [\"tcp://a:1\", \"tcp://a:2\", \"tcp://a:3\",\n"
                 " \"tcp://a:4\", \"tcp://a:5\"]; } );\n",
            3, "at most 4 addresses");
}

static void many_mistakes(void **state)
{
    (void)state;
    char text[1024] = NODE;
    for (int i = 0; i < 20; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "setting%d = 1;\n", i);
    }
    assert_null(read_with(text, NULL, 0));
    int lines = 1;
    for (const char *c = error; *c != '\0'; c++) {
        lines += *c == '\n' ? 1 : 0;
    }
    assert_int_equal(lines, CONFIG_MISTAKES_MAX);
    contains("setting0");
    contains("setting9");
    assert_null(strstr(error, "setting10"));
}

/* --- --set --- */

static void sets(void **state)
{
    (void)state;
    char where[256];
    const char *many[] = {
        "node.name=n9",
        "replication.retransmit_ms=7",
        "node.arbiter=tcp://127.0.0.1:9",
        "transports.[0].listen=tcp://127.0.0.1:9",
        "persistence.path=/tmp/a=b",
        "persistence.compact_min_bytes=5000000000",
        "limits.inflight_bytes=3000000000",
        "log_level=\"debug\"",
        "node.roles=[\"arbiter\", \"replica\"]",
        "replication.retransmit_ms=8",
    };
    struct config *config = read_with(NODE "replication = { retransmit_ms = 5; };\n", many, 10);
    if (config == NULL) {
        fail_msg("%s", error);
    }
    assert_string_equal(config->node.name, "n9");
    assert_string_equal(config->node.data, "data/n9");
    assert_true(config->node.is_arbiter);
    assert_int_equal(config->replication.retransmit_ms, 8); /* the last one counts */
    assert_string_equal(config->transports[0].uris[0], "tcp://127.0.0.1:9");
    assert_string_equal(config->persistence.settings[0].value, "/tmp/a=b");
    assert_string_equal(config->persistence.settings[1].value, "5000000000");
    assert_int_equal(config->limits.inflight_bytes, 3000000000);
    assert_string_equal(config->log_level, "debug");
    config_where(config, &config->persistence, 0, where, sizeof(where));
    assert_string_equal(where, "--set persistence.path");
    config_release(config);
}

static void sets_alone(void **state)
{
    (void)state;
    struct config *config = good_set(NODE, "transports.[0].listen=[\"tcp://a:1\", \"tcp://a:2\"]");
    assert_int_equal(config->transports[0].uris_len, 2);
    config_release(config);
    config = good_set(NODE "transports = ( { listen = [\"tcp://a:1\"]; } );",
                      "transports.[0].listen.[0]=tcp://a:2");
    assert_string_equal(config->transports[0].uris[0], "tcp://a:2");
    config_release(config);
    config = good_set(NODE "transports = ( { listen = \"tcp://a:1\"; } );",
                      "transports.[1].listen=tcp://a:2");
    assert_int_equal(config->transports_len, 2);
    config_release(config);
    config = good_set(NODE, "persistence.note=true");
    assert_string_equal(config->persistence.settings[0].value, "true");
    config_release(config);
    config = good_set(NODE, "persistence.note=1; x = 2");
    assert_string_equal(config->persistence.settings[0].value, "1; x = 2");
    config_release(config);
    config = good_set(NODE, "persistence.note=");
    assert_string_equal(config->persistence.settings[0].value, "");
    config_release(config);
    config = good_set(NODE, "persistence.note=a\n@include \"/\"");
    assert_string_equal(config->persistence.settings[0].value, "a\n@include \"/\"");
    config_release(config);
}

static void set_mistakes(void **state)
{
    (void)state;
    refused_set(NODE, "node.name", "must be PATH=VALUE");
    refused_set(NODE, "=5", "must be PATH=VALUE");
    refused_set(NODE, "node..name=5", "there is no place for \"\"");
    refused_set(NODE, "node.a b=5", "there is no place for \"a b\"");
    refused_set(NODE, "node.name.first=5", "there is no place for \"first\"");
    refused_set(NODE, "node.[0]=5", "there is no place for \"[0]\"");
    refused_set(NODE, "transports.[5].listen=x", "there is no place for \"[5]\"");
    refused_set(NODE, "transports.[x].listen=x", "there is no place for \"[x]\"");
    refused_set(NODE, "limits.links=(1, (2))", "the value must be");
    refused_set(NODE, "limits.links=many",
                "--set limits.links: limits.links must be a whole number");
    refused_set(NODE, "limits.links=99999999999999999999", "--set limits.links: ");
    refused_set(NODE, "limits.lnks=5",
                "--set limits.lnks: unknown setting limits.lnks; the "
                "nearest is links");
    refused_set(NODE, "node=5", "--set node: node must be a group");
    refused_set(NODE, "transports.[0].listen.[0]=7", "--set transports.[0].listen.[0]: listen");
    refused_set(NODE "replication = { retransmit_ms = 5; };", "replication.replica_timeout_ms=5",
                "--set replication.replica_timeout_ms: replication.replica_timeout_ms (5)");
}

/* --- the files in etc/ --- */

static void files_in_etc(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *name;
        const char *listen;
        bool is_arbiter;
    } rows[] = {
        {KV_ETC "/kv.cfg", "n1", "tcp://127.0.0.1:7400", true},
        {KV_ETC "/three-nodes/n1.cfg", "n1", "tcp://127.0.0.1:7400", true},
        {KV_ETC "/three-nodes/n2.cfg", "n2", "tcp://127.0.0.1:7401", false},
        {KV_ETC "/three-nodes/n3.cfg", "n3", "tcp://127.0.0.1:7402", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config *config = NULL;
        char store[128];
        if (config_load(rows[i].file, NULL, 0, &config, error) != KV_OK) {
            fail_msg("%s", error);
        }
        assert_string_equal(config->node.name, rows[i].name);
        assert_string_equal(config->node.arbiter, "tcp://127.0.0.1:7400");
        assert_string_equal(config->transports[0].uris[0], rows[i].listen);
        assert_int_equal(config->node.is_arbiter, rows[i].is_arbiter);
        assert_true(config->node.is_replica);
        snprintf(store, sizeof(store), "data/%s/store", rows[i].name);
        assert_string_equal(config->persistence.settings[0].value, store);
        config_release(config);
    }
}

/* Finds the line of a setting within its group; NULL group: at the top. */
static const char *line_of(const char *text, const char *group, const char *name)
{
    char start[64];
    snprintf(start, sizeof(start), "\n%s = {", group == NULL ? "" : group);
    const char *from = group == NULL ? text : strstr(text, start);
    if (from == NULL) {
        fail_msg("there is no group %s", group);
    }
    snprintf(start, sizeof(start), "\n%s%s = ", group == NULL ? "" : "    ", name);
    const char *line = strstr(from, start);
    if (line == NULL) {
        fail_msg("there is no setting %s", name);
    }
    return line + strlen(start);
}

static void comments_of_the_reference_file(void **state)
{
    (void)state;
    static char text[65536];
    FILE *file = fopen(KV_ETC "/kv.cfg", "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    for (uint32_t i = 0; config_number_at(i) != NULL; i++) {
        const struct config_number *number = config_number_at(i);
        const char *line = line_of(text, number->group, number->name);
        uint64_t value = 0;
        uint64_t in_comment = 0;
        if (sscanf(line, "%" SCNu64 "; # default %" SCNu64 ";", &value, &in_comment) != 2) {
            fail_msg("%s: no comment \"# default N; ...\"", number->name);
        }
        assert_int_equal(value, number->fallback);
        assert_int_equal(in_comment, number->fallback);
    }
    static const char *const texts[][3] = {
        {NULL, "log_level", "\"info\""},
        {"replication", "ack", "\"durable\""},
        {"persistence", "plugin", "\"persist-file\""},
        {"persistence", "sync", "\"always\""},
        {"persistence", "isolate", "false"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char value[64] = "";
        char in_comment[64] = "";
        const char *line = line_of(text, texts[i][0], texts[i][1]);
        assert_int_equal(sscanf(line, "%63[^;]; # default %63[^; ]", value, in_comment), 2);
        assert_string_equal(value, texts[i][2]);
        assert_string_equal(in_comment, texts[i][2]);
    }
    struct config *config = good(NODE);
    char expected[128];
    snprintf(expected, sizeof(expected), "# default \"%s\"", config->transports[0].plugin.plugin);
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof(expected), "# default \"%s\"", config->transports[0].uris[0]);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "# default [ \"replica\" ]"));
    assert_non_null(strstr(text, "# default \"data/NAME\""));
    assert_non_null(strstr(text, "# default \"DATA/store\""));
    config_release(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything_given),
        cmocka_unit_test(isolated_plugin),
        cmocka_unit_test(partly_given_groups),
        cmocka_unit_test(included_file),
        cmocka_unit_test(unreadable_files),
        cmocka_unit_test(syntax),
        cmocka_unit_test(missing_ones),
        cmocka_unit_test(unknown_ones),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(not_together),
        cmocka_unit_test(many_mistakes),
        cmocka_unit_test(sets),
        cmocka_unit_test(sets_alone),
        cmocka_unit_test(set_mistakes),
        cmocka_unit_test(files_in_etc),
        cmocka_unit_test(comments_of_the_reference_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

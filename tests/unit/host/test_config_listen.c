/* Where a node listens: what the configuration says and its defaults, and the arbiter's address. */
#include "base/alloc.h"
#include "host/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODE "node = { name = \"n1\"; arbiter = \"tcp://127.0.0.1:7400\"; };\n"

static char folder[] = "/tmp/kvnode-listen-XXXXXX";
static char path[64];
static char error[CONFIG_ERROR_MAX];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/kv.cfg", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder) == 0 && alloc_live() == 0 ? 0 : -1;
}

/* NULL: refused, see error. */
static struct config *read_text(const char *text)
{
    struct config *config = NULL;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    error[0] = '\0';
    return config_load(path, NULL, 0, &config, error) == KV_OK ? config : NULL;
}

static struct config *good(const char *text)
{
    struct config *config = read_text(text);
    if (config == NULL) {
        fail_msg("%s", error);
    }
    return config;
}

/* Refused with exactly one mistake, at this line of the file, with these words. */
static void refused(const char *text, int line, const char *words)
{
    char place[128];
    struct config *config = read_text(text);
    config_release(config);
    assert_null(config);
    snprintf(place, sizeof(place), "%s:%d: ", path, line);
    if (strstr(error, place) != error || strstr(error, words) == NULL ||
        strchr(error, '\n') != NULL) {
        fail_msg("\"%s\" is not \"%s...%s...\"", error, place, words);
    }
}

#define ARBITER \
    "node = { name = \"n\"; arbiter = \"tcp://10.0.0.1:7400\"; roles = [\"arbiter\"]; };\n"
#define LISTEN(uris) ARBITER "transports = ( { listen = " uris "; } );\n"

/* An arbiter that is not told where to listen does so where all look for it. */
static void where_an_arbiter_listens(void **state)
{
    (void)state;
    static const char *const fine[] = {
        ARBITER,
        ARBITER "transports = ( { } );\n",
        ARBITER "transports = ( { }, { } );\n",
        LISTEN("\"tcp://10.0.0.1:7400\""),
        LISTEN("[\"tcp://127.0.0.1:1\", \"tcp://10.0.0.1:7400\"]"),
        LISTEN("\"tcp://0.0.0.0:7400\""),
        LISTEN("\"tcp://[::]:7400\""),
        LISTEN("\"tcp://myhost:7400\""),
        LISTEN("\"tcp://10.0.0.1:0\""),
        LISTEN("[\"tcp://127.0.0.1:1\", \"tcp://127.0.0.1:0\"]"),
        LISTEN("\"tcp://pipe\""),
        "node = { name = \"n\"; arbiter = \"tcp://myhost:7400\"; roles = [\"arbiter\"]; };\n"
        "transports = ( { listen = \"tcp://10.0.0.1:7400\"; } );\n",
        "node = { name = \"n\"; arbiter = \"mine://a b\"; roles = [\"arbiter\"]; };\n"
        "transports = ( { plugin = \"mine\"; listen = \"mine://c\"; } );\n",
    };
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        struct config *config = good(fine[i]);
        if (i < 3) {
            assert_string_equal(config->transports[0].uris[0], "tcp://10.0.0.1:7400");
        }
        if (i == 2) {
            assert_string_equal(config->transports[1].uris[0], "tcp://127.0.0.1:0");
        }
        config_release(config);
    }
    refused(LISTEN("\"tcp://10.0.0.1:7401\""), 1,
            "does not listen there but at \"tcp://10.0.0.1:7401\"; give node.arbiter one of these");
    refused(
        LISTEN("[\"tcp://10.0.0.2:7400\", \"tcp://127.0.0.1:7401\"]"), 1,
        "node.arbiter is \"tcp://10.0.0.1:7400\", and this node, which is the arbiter, does not "
        "listen there but at \"tcp://10.0.0.2:7400\", \"tcp://127.0.0.1:7401\"");
    refused(LISTEN("\"tcp://0.0.0.0:7401\""), 1, "does not listen there");
    refused(ARBITER "transports = ( { plugin = \"udp\"; listen = \"udp://10.0.0.1:7400\"; } );\n",
            1, "does not listen there");
    refused("node = {\n name = \"n\"; roles = [\"arbiter\", \"replica\"];\n"
            " arbiter = \"tcp://myhost:7400\"; };\n"
            "transports = ( { listen = \"tcp://myhost:7401\"; } );\n",
            3, "does not listen there");
}

/* The default of listen goes by the plugin's name, or by its file's. */
static void where_a_transport_listens(void **state)
{
    (void)state;
    static const struct {
        const char *transports;
        const char *uris[2]; /* of the first group and of the second */
    } rows[] = {
        {"{ plugin = \"transport-udp\"; }", {"udp://127.0.0.1:0", NULL}},
        {"{ plugin = \"mine\"; }", {"mine://127.0.0.1:0", NULL}},
        {"{ plugin = \"mine.so\"; }", {"mine.so://127.0.0.1:0", NULL}}, /* a name, no path */
        {"{ plugin = \"./transport-udp.so\"; }", {"udp://127.0.0.1:0", NULL}},
        {"{ plugin = \"/a.so/b/mine\"; }", {"mine://127.0.0.1:0", NULL}},
        {"{ }, { plugin = \"transport-udp\"; }", {"tcp://10.0.0.1:7400", "udp://127.0.0.1:0"}},
        {"{ plugin = \"transport-udp\"; }, { }", {"udp://127.0.0.1:0", "tcp://10.0.0.1:7400"}},
        {"{ listen = \"tcp://10.0.0.2:1\"; }, { }", {"tcp://10.0.0.2:1", "tcp://10.0.0.1:7400"}},
        {"{ plugin = \"transport-tc\"; }, { }", {"tc://127.0.0.1:0", "tcp://10.0.0.1:7400"}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        bool is_arbiter = i >= 5;
        snprintf(text, sizeof(text), "%stransports = ( %s );\n", is_arbiter ? ARBITER : NODE,
                 rows[i].transports);
        struct config *config = good(text);
        for (uint32_t k = 0; k < config->transports_len; k++) {
            assert_int_equal(config->transports[k].uris_len, 1);
            assert_string_equal(config->transports[k].uris[0], rows[i].uris[k]);
        }
        config_release(config);
    }
    char name[512];
    char text[1024];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), NODE "transports = (\n { plugin = \"%s\"; } );\n", name);
    refused(text, 3, "the default of listen, from the plugin's name, must be an address like");
    snprintf(text, sizeof(text), /* said once, though it would be listened at */
             "node = { name = \"n\"; roles = [\"arbiter\"];\n arbiter = \"tcp://%s:1\"; };", name);
    refused(text, 2, "node.arbiter must be an address");
}

/* Port 0 as the arbiter's is for itself only. */
static void arbiter_at_port_0(void **state)
{
    (void)state;
    config_release(
        good("node = { name = \"n\"; arbiter = \"tcp://h:0\"; roles = [\"arbiter\"]; };"));
    config_release(good("node = { name = \"n\"; arbiter = \"mine://h:x0\"; };"));
    refused("node = { name = \"n\";\n arbiter = \"tcp://h:0\"; };\n", 2,
            "node.arbiter is \"tcp://h:0\", and nobody can be found at port 0; give the port");
    refused("node = { name = \"n\";\n arbiter = \"tcp://h:00\"; roles = [\"arbiter\"]; };\n"
            "transports = ( { listen = \"tcp://h:0\"; } );\n",
            2, "nobody can be found at port 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_an_arbiter_listens),
        cmocka_unit_test(where_a_transport_listens),
        cmocka_unit_test(arbiter_at_port_0),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/*
 * The verbs on keys and nodes, against a scripted cluster: what they print and their exit status.
 */
#include "fake_client.h"
#include "run.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
    (void)state;
    unsetenv("KV_ARBITER"); /* of whoever runs the tests */
    fake_reset();
    run_open_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(fake.clients, 0);
    fake_reset();
    run_close_folder();
    return 0;
}

/* stdout as one JSON value; to be released. */
static json_t *parse_json(const struct run *run)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)run->out.bytes, run->out.len, JSON_ALLOW_NUL, &error);
    if (value == NULL) {
        fail_msg("%s in '%s'", error.text, (const char *)run->out.bytes);
    }
    return value;
}

static void assert_has(const struct text_buffer *text, const char *part)
{
    if (strstr((const char *)text->bytes, part) == NULL) {
        fail_msg("'%s' lacks '%s'", (const char *)text->bytes, part);
    }
}

static int32_t always_timeout(uint64_t number, const void *key, size_t key_len)
{
    (void)number;
    (void)key;
    (void)key_len;
    return KV_E_TIMEOUT;
}

static int32_t always_rejected(uint64_t number, const void *key, size_t key_len)
{
    (void)number;
    (void)key;
    (void)key_len;
    return KV_E_REJECTED;
}

static int32_t always_unreachable(uint64_t number, const void *key, size_t key_len)
{
    (void)number;
    (void)key;
    (void)key_len;
    return KV_E_UNREACHABLE;
}

static void put_get_remove(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "put", "a", "1", NULL);
    assert_int_equal(run.status, 0);
    assert_int_equal(run.out.len + run.err.len, 0);
    run_close(&run);

    run_kvctl(&run, "get", "a", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes, "1\n");
    run_close(&run);

    run_kvctl(&run, "remove", "a", NULL);
    assert_int_equal(run.status, 0);
    run_close(&run);

    run_kvctl(&run, "get", "a", NULL);
    assert_int_equal(run.status, 1);
    assert_int_equal(run.out.len, 0);
    assert_has(&run.err, "kvctl: get of key 'a': not found");
    run_close(&run);
}

static void put_reads_stdin(void **state)
{
    (void)state;
    struct run run;
    static const char value[] = "x\0y\n\xff";
    run_set_input(value, 5);
    run_kvctl(&run, "put", "k", "-", NULL);
    assert_int_equal(run.status, 0);
    run_close(&run);
    assert_int_equal(fake_find("k", 1)->value_len, 5);
    assert_memory_equal(fake_find("k", 1)->value, value, 5);
    run_kvctl(&run, "get", "k", NULL);
    assert_int_equal(run.out.len, 6);
    assert_memory_equal(run.out.bytes, value, 5);
    run_close(&run);
    run_kvctl(&run, "get", "k", "--json", NULL);
    json_t *object = parse_json(&run);
    assert_string_equal(json_string_value(json_object_get(object, "value_base64")), "eAB5Cv8=");
    assert_null(json_object_get(object, "value"));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(object, "position"), "index")), 7);
    json_decref(object);
    run_close(&run);
}

static void failures_have_their_status(void **state)
{
    (void)state;
    static const struct {
        int32_t (*decide)(uint64_t number, const void *key, size_t key_len);
        int status;
        const char *word;
        const char *text;
    } cases[] = {
        {always_timeout, 3, "failed", "not confirmed in time"},
        {always_rejected, 4, "rejected", "certainly not executed: scripted (may succeed in 50 ms)"},
        {always_unreachable, 5, "unreachable", "nobody reachable"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        fake.decide_insert = cases[i].decide;
        run_kvctl(&run, "put", "a", "1", "--json", NULL);
        assert_int_equal(run.status, cases[i].status);
        assert_has(&run.err, "kvctl: put of key 'a': ");
        assert_has(&run.err, cases[i].text);
        json_t *object = parse_json(&run);
        assert_string_equal(json_string_value(json_object_get(object, "result")), cases[i].word);
        json_decref(object);
        run_close(&run);
    }
}

static void unknown_node_is_no_missing_key(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "get", "a", "--node", "n9", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.err, "no node 'n9' in the view");
    run_close(&run);
    run_kvctl(&run, "get", "a", "--node", "n2", NULL);
    assert_int_equal(run.status, 1);
    run_close(&run);
    run_kvctl(&run, "scan", "--node", "n9", NULL);
    assert_int_equal(run.status, 4);
    run_close(&run);
    run_kvctl(&run, "leave", "n9", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.err, "no node of that name");
    run_close(&run);
    run_kvctl(&run, "digest", "--node", "n9", NULL);
    assert_int_equal(run.status, 4);
    run_close(&run);
}

static void leave_and_handover(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "leave", "n3", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes, "n3 has left\n");
    run_close(&run);
    run_kvctl(&run, "handover", "n2", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes, "n2 is the primary\n");
    assert_string_equal(fake.primary, "n2");
    run_close(&run);
    run_kvctl(&run, "handover", "n3", "--json", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes,
                        "{\"node\":\"n3\",\"result\":\"ok\",\"reason\":\"\"}\n");
    run_close(&run);
    assert_int_equal(fake.takeovers, 0);
}

static void handover_that_is_not_done(void **state)
{
    (void)state;
    static const struct {
        int32_t answer;
        int status;
        const char *text;
    } cases[] = {
        {KV_E_REJECTED, 4, "handover of node 'n2': rejected, certainly not executed: not in sync"},
        {KV_E_TIMEOUT, 3, "handover of node 'n2': not confirmed in time: not in sync"},
        {KV_E_UNREACHABLE, 5, "nobody reachable"},
        {KV_E_NOT_FOUND, 4, "no node of that name in the view"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        fake.command_status = cases[i].answer;
        fake.command_reason = "not in sync";
        run_kvctl(&run, "handover", "n2", NULL);
        assert_int_equal(run.status, cases[i].status);
        assert_has(&run.err, cases[i].text);
        assert_int_equal(run.out.len, 0);
        run_close(&run);
    }
}

static void takeover_only_tells_without_force(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[0].is_up = false;
    fake.nodes[2].role = "candidate";
    run_kvctl(&run, "takeover", "n2", NULL);
    assert_int_equal(run.status, 4);
    assert_int_equal(fake.takeovers, 0);
    assert_has(&run.out, "last in-sync set, of view 3");
    assert_has(&run.out, "primary n1: down: connection refused");
    assert_has(&run.out, "secondary n2: up, position 3/43 (view/index)");
    assert_null(strstr((char *)run.out.bytes, "n3"));
    assert_has(&run.out, "are lost");
    assert_has(&run.err, "only with --force");
    run_close(&run);
    run_kvctl(&run, "takeover", "n2", "--json", NULL);
    assert_int_equal(run.status, 4);
    assert_string_equal(
        (char *)run.out.bytes,
        "{\"view\":3,\"in_sync\":[\"n1\",\"n2\"],\"missing\":[\"n1\"],"
        "\"node\":\"n2\",\"result\":\"rejected\",\"reason\":\"only with --force\"}\n");
    run_close(&run);
    run_kvctl(&run, "takeover", "n9", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.out, "not in the view");
    run_close(&run);
    fake.nodes[0].is_up = true;
    run_kvctl(&run, "takeover", "n2", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.out, "kvctl handover n2 loses nothing");
    run_close(&run);
    run_kvctl(&run, "takeover", "n3", NULL); /* a candidate cannot be handed over to */
    assert_has(&run.out, "The primary n1 is up: nothing is forced while it is.");
    run_close(&run);
}

static void takeover_by_force(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[0].is_up = false;
    run_kvctl(&run, "takeover", "n2", "--force", NULL);
    assert_int_equal(run.status, 0);
    assert_int_equal(fake.takeovers, 1);
    assert_string_equal((char *)run.out.bytes, "n2 is the primary, view 3, forced\n");
    assert_has(&run.err, "are lost");
    run_close(&run);
    run_kvctl(&run, "takeover", "n3", "--force", "--json", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes,
                        "{\"view\":3,\"node\":\"n3\",\"result\":\"ok\",\"reason\":\"\"}\n");
    assert_has(&run.err, "are lost");
    run_close(&run);
    fake.command_status = KV_E_REJECTED;
    fake.command_reason = "the primary is there";
    run_kvctl(&run, "takeover", "n2", "--force", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.err, "the primary is there");
    run_close(&run);
    assert_int_equal(fake.takeovers, 2);
}

/* A position told by put is what a later read waits for. */
static void reads_at_least(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "put", "a", "1", "--json", NULL);
    json_t *object = parse_json(&run);
    json_t *position = json_object_get(object, "position");
    assert_int_equal(json_integer_value(json_object_get(position, "view")), 3);
    assert_int_equal(json_integer_value(json_object_get(position, "index")), 1);
    json_decref(object);
    run_close(&run);
    static const char *const verbs[] = {"get", "scan", "export"};
    for (size_t i = 0; i < 3; i++) {
        run_kvctl(&run, "--node", "n2", "--at-least", "17", verbs[i], i == 0 ? "a" : NULL, NULL);
        assert_int_equal(run.status, 0);
        assert_int_equal(fake.seen_index, 17);
        assert_string_equal(fake.last_node, "n2");
        run_close(&run);
    }
    run_kvctl(&run, "put", "a", "1", "--at-least", "17", NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
    /* Without --node it is whoever is primary at that moment. */
    run_kvctl(&run, "export", NULL);
    assert_int_equal(run.status, 0);
    assert_int_equal(fake.seen_index, 0);
    assert_string_equal(fake.last_node, "");
    run_close(&run);
}

static void scan_pages_prefix_and_limit(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        char key[16];
        int len = snprintf(key, sizeof(key), "%s%d", i % 2 == 0 ? "even" : "odd", i);
        fake_put(key, (size_t)len, "v\t", 2);
    }
    static const struct {
        const char *prefix;
        const char *limit;
        size_t lines;
    } cases[] = {{"", "1000", 100}, {"even", "1000", 50}, {"odd", "23", 23}, {"none", "5", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run;
        run_kvctl(&run, "scan", "--prefix", cases[i].prefix, "--limit", cases[i].limit, NULL);
        assert_int_equal(run.status, 0);
        size_t lines = 0;
        const char *at = (const char *)run.out.bytes;
        while ((at = strchr(at, '\n')) != NULL) {
            at++;
            lines++;
        }
        assert_int_equal(lines, cases[i].lines);
        if (lines > 0) {
            assert_has(&run.out, "\tv\\t\n");
            assert_memory_equal(run.out.bytes, cases[i].prefix, strlen(cases[i].prefix));
        }
        run_close(&run);
    }
}

static json_t *node_at(const json_t *status, size_t at)
{
    return json_array_get(json_object_get(status, "nodes"), at);
}

/* The members and their types are pinned. */
static void status_json_is_as_pinned(void **state)
{
    (void)state;
    fake.nodes[0].committed_index = 50;
    fake.nodes[1].committed_index = 60; /* asked a moment later: not behind */
    fake.nodes[2].is_up = false;
    fake_put("a", 1, "b", 1);
    struct run run;
    run_kvctl(&run, "status", "--json", "-a", "tcp://127.0.0.1:1", NULL);
    assert_int_equal(run.status, 0);
    json_t *status = parse_json(&run);
    const char *cluster = NULL;
    const char *primary = NULL;
    const char *arbiter = NULL;
    int view = 0;
    json_t *nodes = NULL;
    json_t *more[3];
    assert_int_equal(json_unpack_ex(status, NULL, JSON_STRICT,
                                    "{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "cluster", &cluster,
                                    "view", &view, "primary", &primary, "arbiter", &arbiter,
                                    "nodes", &nodes, "forced", &more[0], "told_by", &more[1],
                                    "waiting_for", &more[2]),
                     0);
    assert_true(json_is_null(more[0]));
    assert_true(json_is_null(more[1]));
    assert_int_equal(json_array_size(more[2]), 0); /* the primary is there */
    assert_string_equal(cluster, "0123456789abcdef");
    assert_int_equal(view, 3);
    assert_string_equal(primary, "n1");
    assert_string_equal(arbiter, "tcp://127.0.0.1:1");
    assert_int_equal(json_array_size(nodes), 3);

    const char *texts[6];
    int numbers[6];
    assert_int_equal(
        json_unpack_ex(
            node_at(status, 1), NULL, 0,
            "{s:s, s:s, s:s, s:[s], s:{s:i, s:i}, s:i, s:i, s:i, s:i, s:s, s:{s:s, s:s}}", "name",
            &texts[0], "role", &texts[1], "state", &texts[2], "listen", &texts[3], "position",
            "view", &numbers[0], "index", &numbers[1], "durable_index", &numbers[2],
            "committed_index", &numbers[3], "lag", &numbers[4], "keys", &numbers[5], "digest",
            &texts[4], "persistence", "plugin", &texts[5], "state", &texts[0]),
        0);
    assert_string_equal(texts[1], "secondary");
    assert_string_equal(texts[2], "up");
    assert_string_equal(texts[3], "tcp://127.0.0.1:1234");
    assert_int_equal(numbers[3], 60);
    assert_int_equal(numbers[4], 0);
    assert_int_equal(numbers[5], 1);
    assert_string_equal(texts[4], "0000000000abcdef");
    assert_string_equal(texts[5], "persist-file");

    const json_t *down = node_at(status, 2);
    assert_string_equal(json_string_value(json_object_get(down, "state")), "down");
    static const char *const nulls[] = {"position", "durable_index", "committed_index",
                                        "lag",      "keys",          "digest"};
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++) {
        assert_true(json_is_null(json_object_get(down, nulls[i])));
    }
    assert_true(json_is_object(json_object_get(down, "persistence")));
    json_decref(status);
    run_close(&run);
}

static void status_table_is_aligned_and_plain(void **state)
{
    (void)state;
    fake.nodes[0].committed_index = 1000000;
    fake.nodes[2].is_up = false;
    struct run run;
    run_kvctl(&run, "status", NULL);
    assert_int_equal(run.status, 0);
    assert_null(strchr((char *)run.out.bytes, '\033'));
    assert_has(&run.out, "cluster 0123456789abcdef  view 3  primary n1");
    assert_has(&run.out, "n3 is down: connection refused");
    /* The digests of both nodes stand in the same column. */
    const char *first = strstr((char *)run.out.bytes, "\nn1 ");
    const char *second = strstr((char *)run.out.bytes, "\nn2 ");
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(strstr(first, "0000000000abcdef") - first,
                     strstr(second, "0000000000abcdef") - second);
    assert_has(&run.out, "999958"); /* n2's lag */
    run_close(&run);
}

static void status_tells_who_is_missing(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[0].is_up = false;
    fake.nodes[2].role = "candidate";
    fake.nodes[2].is_up = false;
    run_kvctl(&run, "status", NULL);
    assert_has(&run.out, "the primary n1 does not answer; missing of the in-sync set: n1; another");
    run_close(&run);
    /* n2 was started again and waits like the arbiter. */
    fake.nodes[1].says = "joining";
    run_kvctl(&run, "status", NULL);
    assert_has(&run.out, "missing of the in-sync set: n1; the arbiter waits for them");
    run_close(&run);
    run_kvctl(&run, "takeover", "n2", NULL);
    assert_has(&run.out, "secondary n2: up, waits to be let in, position 3/43");
    run_close(&run);
    fake.nodes[1].is_up = false;
    fake.view_forced = 2;
    fake.told_by = "n3";
    run_kvctl(&run, "status", NULL);
    assert_int_equal(run.status, 0);
    assert_has(&run.out, "missing of the in-sync set: n1 n2; the arbiter waits for them");
    assert_has(&run.out, "view 2 was forced");
    assert_has(&run.out, "this is what n3 says, not the arbiter");
    run_close(&run);
    run_kvctl(&run, "status", "--json", NULL);
    json_t *status = parse_json(&run);
    assert_int_equal(json_integer_value(json_object_get(status, "forced")), 2);
    assert_string_equal(json_string_value(json_object_get(status, "told_by")), "n3");
    const json_t *names = json_object_get(status, "waiting_for");
    assert_int_equal(json_array_size(names), 2);
    assert_string_equal(json_string_value(json_array_get(names, 1)), "n2");
    json_decref(status);
    run_close(&run);
}

static void status_of_a_primary_that_waits(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[0].says = "joining";
    fake.nodes[1].is_up = false;
    fake.nodes[2].says = "joining";
    run_kvctl(&run, "status", NULL);
    assert_has(&run.out, "the primary n1 waits to be let in; missing of the in-sync set: n2; the "
                         "arbiter waits for them");
    assert_has(&run.out, "waits  3/43");
    run_close(&run);
    run_kvctl(&run, "status", "--json", NULL);
    json_t *status = parse_json(&run);
    const json_t *names = json_object_get(status, "waiting_for");
    assert_int_equal(json_array_size(names), 1);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "n2");
    assert_string_equal(json_string_value(json_object_get(node_at(status, 0), "state")), "up");
    assert_true(json_is_null(json_object_get(node_at(status, 2), "lag")));
    json_decref(status);
    run_close(&run);
    run_kvctl(&run, "takeover", "n3", NULL);
    assert_has(&run.out, "primary n1: up, waits to be let in");
    assert_has(&run.out, "By force it becomes the only member");
    assert_null(strstr((char *)run.out.bytes, "nothing is forced"));
    run_close(&run);
    fake.nodes[1].is_up = true;
    fake.nodes[1].says = "joining";
    run_kvctl(&run, "status", NULL);
    assert_has(&run.out, "n1 waits to be let in; all of the in-sync set are up: the arbiter");
    run_close(&run);
}

/* The address given is a member's. */
static void status_through_a_member(void **state)
{
    (void)state;
    struct run run;
    fake.told_by = "n2";
    fake.arbiter_uri = "tcp://127.0.0.1:7500";
    fake.nodes[0].is_up = false;
    run_kvctl(&run, "status", "-a", "tcp://127.0.0.1:7402", NULL);
    assert_has(&run.out, "arbiter tcp://127.0.0.1:7500\n");
    assert_has(&run.out, "this is what n2 says");
    assert_has(&run.out, "missing of the in-sync set: n1; another one of the set is about");
    assert_null(strstr((char *)run.out.bytes, "the arbiter does not answer"));
    run_close(&run);
    fake.is_arbiter_away = true;
    run_kvctl(&run, "status", "-a", "tcp://127.0.0.1:7402", NULL);
    assert_int_equal(run.status, 0);
    assert_has(&run.out, "the arbiter does not answer: nobody is promoted or taken out until");
    assert_has(&run.out, "missing of the in-sync set: n1\n");
    run_close(&run);
    run_kvctl(&run, "takeover", "n2", "-a", "tcp://127.0.0.1:7402", NULL);
    assert_has(&run.out, "The arbiter does not answer: nothing can be forced until it is back.");
    run_close(&run);
    run_kvctl(&run, "status", "--json", "-a", "tcp://127.0.0.1:7402", NULL);
    json_t *status = parse_json(&run);
    assert_string_equal(json_string_value(json_object_get(status, "arbiter")),
                        "tcp://127.0.0.1:7500");
    json_decref(status);
    run_close(&run);
    assert_int_equal(fake.clients, 0);
    fake.arbiter_uri = "carrier-pigeon:7"; /* no transport: nothing is known of the arbiter */
    run_kvctl(&run, "status", "-a", "tcp://127.0.0.1:7402", NULL);
    assert_null(strstr((char *)run.out.bytes, "the arbiter does not answer"));
    run_close(&run);
}

static void status_without_primary_and_without_arbiter(void **state)
{
    (void)state;
    fake.primary = "";
    struct run run;
    run_kvctl(&run, "status", "--json", NULL);
    json_t *status = parse_json(&run);
    assert_true(json_is_null(json_object_get(status, "primary")));
    assert_true(json_is_null(json_object_get(node_at(status, 0), "lag")));
    json_decref(status);
    run_close(&run);
    run_kvctl(&run, "export", NULL);
    assert_int_equal(run.status, 4);
    assert_has(&run.err, "no primary");
    run_close(&run);
    fake.view_status = KV_E_UNREACHABLE;
    run_kvctl(&run, "status", NULL);
    assert_int_equal(run.status, 5);
    assert_has(&run.err, "asking the arbiter tcp://127.0.0.1:7400: nobody reachable");
    run_close(&run);
    run_kvctl(&run, "status", "-a", "carrier-pigeon:7", NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
}

/* n2 is behind when first asked, and catches up while kvctl waits. */
static void catch_up(struct fake_node *node)
{
    if (strcmp(node->name, "n2") == 0 && node->committed_index < 42) {
        node->committed_index++;
        node->digest = node->committed_index == 42 ? 0xabcdef : 1;
    }
}

static void digest_waits_for_agreement(void **state)
{
    (void)state;
    fake.nodes[1].committed_index = 38;
    fake.nodes[1].digest = 1;
    fake.on_status = catch_up;
    struct run run;
    run_kvctl(&run, "digest", "--timeout", "20000", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal((char *)run.out.bytes, "n1 0000000000abcdef 42\nn2 0000000000abcdef 42\n"
                                               "n3 0000000000abcdef 42\n");
    run_close(&run);
}

static void digest_tells_a_difference(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[1].digest = 2;
    run_kvctl(&run, "digest", "--timeout", "50", NULL);
    assert_int_equal(run.status, 3);
    assert_has(&run.out, "n2 0000000000000002 42\n");
    assert_has(&run.err, "differ at the same committed index");
    run_close(&run);
    /* The same digest at different indexes is no agreement either. */
    fake.nodes[1].digest = 0xabcdef;
    fake.nodes[1].committed_index = 41;
    run_kvctl(&run, "digest", "--timeout", "50", NULL);
    assert_int_equal(run.status, 3);
    assert_has(&run.err, "did not reach the same committed index");
    run_close(&run);
}

static void digest_leaves_out_a_dead_node(void **state)
{
    (void)state;
    struct run run;
    fake.nodes[2].is_up = false;
    run_kvctl(&run, "digest", "--timeout", "50", NULL);
    assert_int_equal(run.status, 0);
    assert_null(strstr((char *)run.out.bytes, "n3"));
    assert_has(&run.err, "node 'n3' is down and was not compared");
    run_close(&run);
    run_kvctl(&run, "digest", "--node", "n3", NULL);
    assert_int_equal(run.status, 5);
    run_close(&run);
    run_kvctl(&run, "digest", "--node", "n2", "--json", NULL);
    assert_int_equal(run.status, 0);
    assert_string_equal(
        (char *)run.out.bytes,
        "{\"name\":\"n2\",\"digest\":\"0000000000abcdef\",\"committed_index\":42}\n");
    run_close(&run);
}

static int32_t every_tenth_fails(uint64_t number, const void *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    return number % 10 == 9 ? KV_E_TIMEOUT : KV_OK;
}

static void bench_counts_what_it_did(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "bench", "--count", "3000", "--connections", "4", "--depth", "3", "--keys",
              "50", "--read", "30", "--json", NULL);
    assert_int_equal(run.status, 0);
    json_t *report = parse_json(&run);
    assert_int_equal(json_integer_value(json_object_get(report, "done")), 3000);
    assert_int_equal(json_integer_value(json_object_get(report, "failures")), 0);
    json_int_t writes =
        json_integer_value(json_object_get(json_object_get(report, "writes"), "count"));
    assert_int_equal(writes, fake.inserts);
    assert_true(writes > 1900 && writes < 2300);
    assert_int_equal(fake.inflight_max, 12);
    json_decref(report);
    run_close(&run);

    fake.inserts = 0;
    fake.decide_insert = every_tenth_fails;
    run_kvctl(&run, "bench", "--count", "1000", "--read", "0", "--json", NULL);
    assert_int_equal(run.status, 3);
    report = parse_json(&run);
    assert_int_equal(json_integer_value(json_object_get(report, "done")), 900);
    assert_int_equal(json_integer_value(json_object_get(report, "failures")), 100);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(report, "errors"), "failed")), 100);
    assert_has(&run.err, "100 requests were not done, the first one failed: scripted");
    json_decref(report);
    run_close(&run);
}

static void bench_says_why_it_does_not_start(void **state)
{
    (void)state;
    struct run run;
    run_kvctl(&run, "bench", "--keys", "100000", "--key-bytes", "9", NULL);
    assert_int_equal(run.status, 2);
    assert_has(&run.err, "need --key-bytes of 10");
    run_close(&run);
    fake.view_status = KV_E_UNREACHABLE;
    run_kvctl(&run, "bench", "--connections", "3", NULL);
    assert_int_equal(run.status, 5);
    run_close(&run);
}

static void help_is_there_for_all_verbs(void **state)
{
    (void)state;
    static const char *const verbs[] = {"put",    "get",      "remove",   "scan",
                                        "import", "export",   "status",   "digest",
                                        "leave",  "handover", "takeover", "bench"};
    struct run run;
    run_kvctl(&run, "--help", NULL);
    assert_int_equal(run.status, 0);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        assert_has(&run.out, verbs[i]);
        struct run verb_run;
        run_kvctl(&verb_run, verbs[i], "--help", NULL);
        assert_int_equal(verb_run.status, 0);
        assert_has(&verb_run.out, verbs[i]);
        run_close(&verb_run);
    }
    run_close(&run);
    run_kvctl(&run, "help", "nonsense", NULL);
    assert_int_equal(run.status, 2);
    run_close(&run);
    run_kvctl(&run, "nonsense", NULL);
    assert_int_equal(run.status, 2);
    assert_has(&run.err, "kvctl: unknown verb 'nonsense'");
    run_close(&run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_get_remove),
        TEST(put_reads_stdin),
        TEST(failures_have_their_status),
        TEST(unknown_node_is_no_missing_key),
        TEST(leave_and_handover),
        TEST(handover_that_is_not_done),
        TEST(takeover_only_tells_without_force),
        TEST(takeover_by_force),
        TEST(reads_at_least),
        TEST(status_tells_who_is_missing),
        TEST(status_of_a_primary_that_waits),
        TEST(status_through_a_member),
        TEST(scan_pages_prefix_and_limit),
        TEST(status_json_is_as_pinned),
        TEST(status_table_is_aligned_and_plain),
        TEST(status_without_primary_and_without_arbiter),
        TEST(digest_waits_for_agreement),
        TEST(digest_tells_a_difference),
        TEST(digest_leaves_out_a_dead_node),
        TEST(bench_counts_what_it_did),
        TEST(bench_says_why_it_does_not_start),
        TEST(help_is_there_for_all_verbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

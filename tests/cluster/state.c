#include "state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

json_t *state_read(struct rig *rig)
{
    const struct rig_run *run = KVCTL(rig, "--json", "--timeout", "5000", "status");
    if (run->exit_status != 0) {
        return NULL;
    }
    json_error_t error;
    json_t *state = json_loads(run->out, 0, &error);
    if (state == NULL) {
        fail_msg("status --json is no JSON (%s): %.500s", error.text, run->out);
    }
    return state;
}

const json_t *state_node(const json_t *state, const char *name)
{
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(state, "nodes"), i, node)
    {
        if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0) {
            return node;
        }
    }
    return NULL;
}

/* Of a node, or with counter of its counters. A node may be slow once: asked again. */
static uint64_t state_look_up(struct rig *rig, const char *name, const char *member,
                              bool is_counter)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while (proc_now_ms() < end_ms) {
        json_t *state = state_read(rig);
        const json_t *in = state == NULL ? NULL : state_node(state, name);
        in = is_counter ? json_object_get(in, "counters") : in;
        const json_t *number = json_object_get(in, member);
        bool is_number = json_is_integer(number);
        uint64_t value = is_number ? (uint64_t)json_integer_value(number) : 0;
        json_decref(state);
        if (is_number) {
            return value;
        }
        proc_pause();
    }
    fail_msg("status has no %s of %s", member, name);
    return 0;
}

uint64_t state_number(struct rig *rig, const char *name, const char *member)
{
    return state_look_up(rig, name, member, false);
}

uint64_t state_counter(struct rig *rig, const char *name, const char *counter)
{
    return state_look_up(rig, name, counter, true);
}

static bool state_is(const json_t *node, const char *member, const char *value)
{
    const char *text = json_string_value(json_object_get(node, member));
    return text != NULL && strcmp(text, value) == 0;
}

static bool state_are_in_sync(const json_t *state, uint32_t nodes_len)
{
    size_t i;
    json_t *node;
    uint32_t primaries = 0;
    uint32_t secondaries = 0;
    json_t *nodes = json_object_get(state, "nodes");
    json_array_foreach(nodes, i, node)
    {
        bool is_up = state_is(node, "state", "up");
        primaries += is_up && state_is(node, "role", "primary") ? 1 : 0;
        secondaries += is_up && state_is(node, "role", "secondary") ? 1 : 0;
    }
    return json_array_size(nodes) == nodes_len && primaries == 1 && secondaries + 1 == nodes_len;
}

static bool state_do_agree(const json_t *state)
{
    static const char *const members[] = {"committed_index", "keys", "digest"};
    size_t i;
    json_t *node;
    json_t *nodes = json_object_get(state, "nodes");
    const json_t *first = json_array_get(nodes, 0);
    json_array_foreach(nodes, i, node)
    {
        for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++) {
            if (!json_equal(json_object_get(first, members[m]),
                            json_object_get(node, members[m]))) {
                return false;
            }
        }
    }
    return true;
}

struct state_wish {
    const char *what; /* for people */
    uint32_t nodes_len;
    const char *name;
    uint64_t index;
};

typedef bool (*state_test_fn)(const json_t *state, const struct state_wish *wish);

static void state_wait(struct rig *rig, state_test_fn is_fulfilled, const struct state_wish *wish)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (;;) {
        json_t *state = state_read(rig);
        bool is_done = state != NULL && is_fulfilled(state, wish);
        json_decref(state);
        if (is_done) {
            return;
        }
        if (proc_now_ms() > end_ms) {
            fail_msg("not within %u ms: %s (%u nodes, %s); the last status: %.2000s",
                     PROC_DEADLINE_MS, wish->what, wish->nodes_len,
                     wish->name == NULL ? "-" : wish->name, rig->run.out);
        }
        proc_pause();
    }
}

static bool state_test_agree(const json_t *state, const struct state_wish *wish)
{
    return state_are_in_sync(state, wish->nodes_len) && state_do_agree(state);
}

static bool state_test_in_sync(const json_t *state, const struct state_wish *wish)
{
    return state_are_in_sync(state, wish->nodes_len);
}

static bool state_test_gone(const json_t *state, const struct state_wish *wish)
{
    return state_node(state, wish->name) == NULL;
}

static bool state_test_index(const json_t *state, const struct state_wish *wish)
{
    const json_t *index = json_object_get(state_node(state, wish->name), "durable_index");
    return json_is_integer(index) && (uint64_t)json_integer_value(index) >= wish->index;
}

void state_wait_agree(struct rig *rig, uint32_t nodes_len)
{
    struct state_wish wish = {.what = "all in sync and equal", .nodes_len = nodes_len};
    state_wait(rig, state_test_agree, &wish);
}

void state_wait_in_sync(struct rig *rig, uint32_t nodes_len)
{
    struct state_wish wish = {.what = "all in sync", .nodes_len = nodes_len};
    state_wait(rig, state_test_in_sync, &wish);
}

void state_wait_gone(struct rig *rig, const char *name)
{
    struct state_wish wish = {.what = "out of the view", .name = name};
    state_wait(rig, state_test_gone, &wish);
}

void state_wait_index(struct rig *rig, const char *name, uint64_t index)
{
    struct state_wish wish = {.what = "durable index", .name = name, .index = index};
    state_wait(rig, state_test_index, &wish);
}

void state_primary(struct rig *rig, char *ret_name, size_t size)
{
    json_t *state = state_read(rig);
    assert_non_null(state);
    const char *name = json_string_value(json_object_get(state, "primary"));
    snprintf(ret_name, size, "%s", name == NULL ? "" : name);
    json_decref(state);
}

/* An isolated plugin that behaves: everything is as without isolation. */
#include "kit.h"

#include "base/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE_BATCHES 60u

static uint64_t life_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* One batch of up to 50 records, some removals, binary keys and values, some empty, some large. */
static uint64_t life_apply_some(struct kit *kit, uint64_t *seed, uint64_t index)
{
    static uint8_t bytes[40000];
    struct kv_record records[50];
    uint32_t count = (uint32_t)(life_next(seed) % 51);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)life_next(seed);
    }
    for (uint32_t i = 0; i < count; i++) {
        int is_large = life_next(seed) % 10 == 0;
        records[i] = (struct kv_record){.key = bytes + life_next(seed) % 8,
                                        .value = bytes + life_next(seed) % 100,
                                        .key_len = (uint32_t)(life_next(seed) % 3),
                                        .value_len = (uint32_t)(life_next(seed) % 300),
                                        .kind = KV_RECORD_INSERT,
                                        .position = {1, ++index},
                                        .client = life_next(seed),
                                        .request = life_next(seed)};
        if (is_large) {
            records[i].value_len = 8000 + (uint32_t)(life_next(seed) % 30000);
        } else if (life_next(seed) % 5 == 0) {
            records[i].kind = KV_RECORD_REMOVE;
            records[i].value = NULL;
            records[i].value_len = 0;
        }
    }
    index++;
    assert_int_equal(kit_apply(kit, records, count, (struct kv_position){1, index}), KV_OK);
    assert_int_equal(kit->refusals_len, 0);
    return index;
}

static void life_run(struct kit *kit, int is_isolated, uint64_t *ret_hash, uint64_t *ret_index)
{
    uint64_t seed = 88172645463325252u;
    uint64_t index = 0;
    uint32_t count = 1;
    const char *settings[] = {"sync", "never", NULL};
    kit_init(kit, KV_PLUGINS, "persist-file", settings);
    assert_int_equal(kit_create(kit, is_isolated), KV_OK);
    assert_int_equal(kit_open(kit), KV_OK);
    assert_int_equal(kit->position.index, 0);
    assert_int_equal(kit_load_hash(kit, ret_hash, &count), KV_OK);
    assert_int_equal(count, 0);
    for (uint32_t i = 0; i < LIFE_BATCHES; i++) {
        index = life_apply_some(kit, &seed, index);
    }
    guard_persist_close(kit->guard);
    assert_int_equal(kit_open(kit), KV_OK);
    assert_int_equal(kit->position.index, index);
    assert_int_equal(kit_load_hash(kit, ret_hash, &count), KV_OK);
    assert_true(count > 10);
    *ret_index = kit->position.index;
}

static void test_same_as_without(void **state)
{
    (void)state;
    struct kit kits[2];
    uint64_t hashes[2];
    uint64_t indexes[2];
    life_run(&kits[0], 0, &hashes[0], &indexes[0]);
    life_run(&kits[1], 1, &hashes[1], &indexes[1]);
    assert_int_equal(hashes[0], hashes[1]);
    assert_int_equal(indexes[0], indexes[1]);
    kit_close(&kits[0]);
    kit_close(&kits[1]);
    assert_false(kit_children());
}

static void life_start(struct kit *kit, const char *const *settings)
{
    kit_init(kit, KV_TEST_PLUGINS, "rogue", settings);
    assert_int_equal(kit_create(kit, 1), KV_OK);
    assert_int_equal(kit_open(kit), KV_OK);
}

static void test_refusals_have_their_reasons(void **state)
{
    (void)state;
    struct kit kit;
    struct kv_record records[300];
    char keys[300][16];
    uint64_t hash;
    uint32_t count;
    const char *settings[] = {"refuse", "bad", NULL};
    life_start(&kit, settings);
    for (uint32_t i = 0; i < 300; i++) {
        int len = snprintf(keys[i], sizeof(keys[i]), "%s-%u", i % 3 == 0 ? "bad" : "good", i);
        records[i] = (struct kv_record){.key = keys[i],
                                        .key_len = (uint32_t)len,
                                        .kind = KV_RECORD_INSERT,
                                        .position = {1, i + 1}};
    }
    assert_int_equal(kit_apply(&kit, records, 300, (struct kv_position){1, 300}), KV_OK);
    assert_int_equal(kit.refusals_len, 100);
    for (uint32_t i = 0; i < 100; i++) {
        char reason[64];
        snprintf(reason, sizeof(reason), "no key like number %u", i * 3);
        assert_int_equal(kit.refusals[i].record, i * 3);
        assert_string_equal(kit.refusals[i].reason, reason);
    }
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_load_hash(&kit, &hash, &count), KV_OK);
    assert_int_equal(count, 200);
    kit_close(&kit);
}

static void test_large_load(void **state)
{
    (void)state;
    uint64_t hashes[2];
    for (int is_isolated = 0; is_isolated < 2; is_isolated++) {
        struct kit kit;
        uint32_t count;
        const char *settings[] = {"load_count", "100000", "load_bytes", "100", NULL};
        kit_init(&kit, KV_TEST_PLUGINS, "rogue", settings);
        assert_int_equal(kit_create(&kit, is_isolated), KV_OK);
        assert_int_equal(kit_open(&kit), KV_OK);
        assert_int_equal(kit_load_hash(&kit, &hashes[is_isolated], &count), KV_OK);
        assert_int_equal(count, 100000);
        kit_close(&kit);
    }
    assert_int_equal(hashes[0], hashes[1]);
}

/* 8 MiB and more, of few large and of many small values, and a batch without records. */
static void test_large_batches(void **state)
{
    (void)state;
    static const uint32_t shapes[][2] = {{1, 9000000}, {16, 524288}, {4096, 2048}, {200, 60000}};
    uint8_t *value = alloc_zeroed(1, 9000000);
    struct kv_record *records = alloc_zeroed(4096, sizeof(*records));
    uint64_t hashes[2];
    for (int is_isolated = 0; is_isolated < 2; is_isolated++) {
        struct kit kit;
        uint32_t count;
        uint64_t index = 0;
        kit_init(&kit, KV_TEST_PLUGINS, "rogue", NULL);
        assert_int_equal(kit_create(&kit, is_isolated), KV_OK);
        assert_int_equal(kit_open(&kit), KV_OK);
        for (size_t shape = 0; shape < 4; shape++) {
            for (uint32_t i = 0; i < shapes[shape][0]; i++) {
                records[i] = (struct kv_record){.key = &index,
                                                .key_len = 8,
                                                .value = value,
                                                .value_len = shapes[shape][1],
                                                .kind = KV_RECORD_INSERT,
                                                .position = {1, ++index}};
            }
            value[index % 9000000] = (uint8_t)(shape + 1);
            assert_int_equal(
                kit_apply(&kit, records, shapes[shape][0], (struct kv_position){1, index}), KV_OK);
        }
        index++;
        assert_int_equal(kit_apply(&kit, NULL, 0, (struct kv_position){1, index}), KV_OK);
        guard_persist_close(kit.guard);
        assert_int_equal(kit_open(&kit), KV_OK);
        assert_int_equal(kit.position.index, index);
        assert_int_equal(kit_load_hash(&kit, &hashes[is_isolated], &count), KV_OK);
        assert_int_equal(count, 1 + 16 + 4096 + 200);
        kit_close(&kit);
        memset(value, 0, 9000000);
    }
    assert_int_equal(hashes[0], hashes[1]);
    alloc_free(records);
    alloc_free(value);
}

static int32_t count_one(void *ctx, const struct kv_record *record)
{
    uint32_t *count = ctx;
    assert_int_equal(record->value_len, 5);
    assert_memory_equal(record->value, "value", 5);
    (*count)++;
    return KV_OK;
}

static void test_reset_and_get(void **state)
{
    (void)state;
    struct kit kit;
    uint32_t count = 0;
    life_start(&kit, NULL);
    assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
    assert_int_equal(guard_persist_get(kit.guard, "k", 1, count_one, &count), KV_OK);
    assert_int_equal(count, 1);
    assert_int_equal(guard_persist_get(kit.guard, "z", 1, count_one, &count), KV_E_NOT_FOUND);
    assert_int_equal(guard_persist_get(kit.guard, NULL, 0, count_one, &count), KV_E_NOT_FOUND);
    assert_int_equal(count, 1);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit.position.index, 1);
    assert_int_equal(guard_persist_reset(kit.guard), KV_OK);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit.position.index, 0);
    kit_close(&kit);
}

/* One of the two dies; the other does not notice. */
static void test_two_at_once(void **state)
{
    (void)state;
    struct kit kits[2];
    const char *settings[] = {"fault", "crash", "at", "3", NULL};
    uint32_t descriptors = kit_descriptors();
    life_start(&kits[0], settings);
    life_start(&kits[1], NULL);
    assert_int_not_equal(kit_child_pid(&kits[0]), kit_child_pid(&kits[1]));
    for (uint64_t i = 1; i <= 2; i++) {
        assert_int_equal(kit_apply_one(&kits[0], i), KV_OK);
        assert_int_equal(kit_apply_one(&kits[1], i), KV_OK);
    }
    assert_int_equal(kit_apply_one(&kits[0], 3), KV_E_IO);
    assert_int_equal(kit_apply_one(&kits[1], 3), KV_OK);
    kit_close(&kits[0]);
    assert_int_equal(kit_apply_one(&kits[1], 4), KV_OK);
    kit_close(&kits[1]);
    assert_false(kit_children());
    assert_int_equal(kit_descriptors(), descriptors);
}

/* A Ctrl-C or a stop of the service reaches the process too: it lives on until the node is done. */
static void test_signals_are_not_for_it(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct kit kit;
    life_start(&kit, NULL);
    int pid = kit_child_pid(&kit);
    assert_int_equal(getpgid(pid), pid);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(kill(pid, signals[i]), 0);
        assert_int_equal(kit_apply_one(&kit, i + 1), KV_OK);
    }
    kit_close(&kit);
}

static void test_changed_signals_do_no_harm(void **state)
{
    (void)state;
    struct kit kit;
    const char *settings[] = {"fault", "signals", NULL};
    life_start(&kit, settings);
    assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
    assert_int_equal(kit_apply_one(&kit, 2), KV_OK);
    kit_close(&kit);
    assert_false(kit_children());
}

static void test_lines_of_threads_arrive(void **state)
{
    (void)state;
    struct kit kit;
    const char *settings[] = {"fault", "thread", NULL};
    life_start(&kit, settings);
    assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
    assert_int_equal(kit_lines_with(&kit, "rogue 4 from a thread"), 1000);
    kit_close(&kit);
}

static void test_leak_is_told(void **state)
{
    (void)state;
    struct kit kit;
    const char *settings[] = {"fault", "leak", NULL};
    life_start(&kit, settings);
    guard_persist_destroy(kit.guard);
    kit.guard = NULL;
    assert_int_equal(kit_lines_with(&kit, "2 the plugin kept 1 pieces of memory after destroy()"),
                     1);
    kit_close(&kit);
}

/* A process that dies between two calls is found by the next one. */
static void test_killed_between_calls(void **state)
{
    (void)state;
    struct kit kit;
    life_start(&kit, NULL);
    assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
    assert_int_equal(kill(kit_child_pid(&kit), SIGKILL), 0);
    assert_int_equal(kit_apply_one(&kit, 2), KV_E_IO);
    assert_int_equal(kit_lines_with(&kit, "1 the plugin's process died: signal 9 (Killed)"), 1);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit.position.index, 1);
    assert_int_equal(kit_apply_one(&kit, 2), KV_OK);
    kit_close(&kit);
}

/* A node that is killed takes the plugin's process with it. */
static void test_dies_with_its_parent(void **state)
{
    (void)state;
    int ends[2];
    int status;
    struct kit kit;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans come to us */
    assert_int_equal(pipe(ends), 0);
    kit_init(&kit, KV_TEST_PLUGINS, "rogue", NULL);
    pid_t node = fork();
    assert_true(node >= 0);
    if (node == 0) {
        if (kit_create(&kit, 1) == KV_OK && kit_open(&kit) == KV_OK) {
            int plugin = kit_child_pid(&kit);
            if (write(ends[1], &plugin, sizeof(plugin)) == sizeof(plugin)) {
                for (;;) {
                    pause();
                }
            }
        }
        _exit(1);
    }
    int plugin = 0;
    close(ends[1]);
    assert_int_equal(read(ends[0], &plugin, sizeof(plugin)), sizeof(plugin));
    close(ends[0]);
    assert_int_equal(kill(plugin, 0), 0);
    assert_int_equal(kill(node, SIGKILL), 0);
    assert_int_equal(waitpid(node, &status, 0), node);
    assert_int_equal(waitpid(plugin, &status, 0), plugin); /* the test's own timeout bounds it */
    /* By the kernel's hand, or by its own when it was faster to see that nobody talks to it. */
    assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    kit_close(&kit);
}

int main(int argc, char **argv)
{
    int status;
    if (kit_is_child(argc, argv, &status)) {
        return status;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_without),
        cmocka_unit_test(test_refusals_have_their_reasons),
        cmocka_unit_test(test_large_load),
        cmocka_unit_test(test_large_batches),
        cmocka_unit_test(test_reset_and_get),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_signals_are_not_for_it),
        cmocka_unit_test(test_changed_signals_do_no_harm),
        cmocka_unit_test(test_lines_of_threads_arrive),
        cmocka_unit_test(test_leak_is_told),
        cmocka_unit_test(test_killed_between_calls),
        cmocka_unit_test(test_dies_with_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * kill -9. A writer in a process of its own stores batch after batch and tells each that is stored;
 * it is killed at a random moment. Whatever the store then holds must be exactly the content at the
 * position that it gives, which is not before the last batch told. KV_CRASH_ROUNDS: how often;
 * KV_CRASH_SEED: of the moments.
 */
#include "example_kit.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CRASH_ROUNDS_DEFAULT 30
#define CRASH_KEYS           12u
#define CRASH_BATCH_MAX      8u
#define CRASH_VALUE_MAX      3000u

static uint64_t crash_mix(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* The state of each key; 0: absent, else the index that wrote it. */
struct crash_model {
    uint64_t wrote[CRASH_KEYS];
};

/* Record `index` of the one history: its key, and whether it removes it. */
static uint32_t crash_key(uint64_t index)
{
    return (uint32_t)(crash_mix(index) % CRASH_KEYS);
}

static bool crash_is_removal(uint64_t index)
{
    return crash_mix(index) >> 40 & 1 & (crash_mix(index) >> 41);
}

static void crash_value(uint64_t index, char *value)
{
    size_t len = crash_mix(index) >> 44 & 3 ? 20 : crash_mix(index) % CRASH_VALUE_MAX + 20;
    memset(value, 'a' + (int)(index % 26), len);
    snprintf(value, 21, "%020u", (unsigned)index);
    value[20] = 'x';
    value[len] = '\0';
}

/* Which index ends the batch that begins with this one. */
static uint64_t crash_batch_end(uint64_t first)
{
    return first + crash_mix(first ^ 0x5555) % CRASH_BATCH_MAX;
}

static void crash_expect(struct kit *kit, struct crash_model *model)
{
    size_t size = CRASH_KEYS * (CRASH_VALUE_MAX + 100);
    char *expected = calloc(1, size);
    char value[CRASH_VALUE_MAX + 32];
    assert_non_null(expected);
    size_t len = 0;
    for (uint32_t i = 0; i < CRASH_KEYS; i++) {
        if (model->wrote[i] != 0) {
            crash_value(model->wrote[i], value);
            len += (size_t)snprintf(expected + len, size - len, "key-%02u=%s@%u;", i, value,
                                    (unsigned)model->wrote[i]);
        }
    }
    kit_expect(kit, expected);
    free(expected);
}

/* The model at the end of the batch that ends with `last`; fails when none does. */
static void crash_replay(struct crash_model *model, uint64_t last)
{
    uint64_t index = 0;
    memset(model, 0, sizeof(*model));
    while (index < last) {
        uint64_t batch_end = crash_batch_end(index + 1);
        while (index < batch_end) {
            index++;
            model->wrote[crash_key(index)] = crash_is_removal(index) ? 0 : index;
        }
    }
    assert_int_equal(index, last);
}

static int32_t crash_apply(struct kit *kit, uint64_t first, uint64_t last)
{
    static char keys[CRASH_BATCH_MAX][16];
    static char values[CRASH_BATCH_MAX][CRASH_VALUE_MAX + 32];
    struct kv_record records[CRASH_BATCH_MAX];
    for (uint64_t index = first; index <= last; index++) {
        uint64_t at = index - first;
        snprintf(keys[at], sizeof(keys[at]), "key-%02u", crash_key(index));
        crash_value(index, values[at]);
        records[at] = kit_record(index, keys[at], crash_is_removal(index) ? NULL : values[at]);
    }
    return kit_apply(kit, records, (uint32_t)(last - first + 1), (struct kv_position){1, last},
                     NULL);
}

static void crash_write(const char *setting, int out)
{
    const char *settings[] = {setting, NULL};
    struct kit kit;
    if (kit_create(&kit, EXAMPLE_PLUGIN, settings) != KV_OK || kit_open(&kit) != KV_OK) {
        _exit(1);
    }
    uint64_t index = kit.position.index;
    while (write(out, &index, sizeof(index)) == (ssize_t)sizeof(index)) {
        uint64_t last = crash_batch_end(index + 1);
        if (crash_apply(&kit, index + 1, last) != KV_OK) {
            _exit(1);
        }
        index = last;
    }
    _exit(1);
}

/* Reads what the writer tells until `wanted` batches came and then for some microseconds more. */
static uint64_t crash_follow(int in, uint32_t wanted, uint64_t more_us, uint64_t told)
{
    uint64_t index;
    for (uint32_t i = 0; i <= wanted; i++) {
        assert_int_equal(read(in, &index, sizeof(index)), sizeof(index));
        assert_true(index >= told);
        told = index;
    }
    struct timespec time = {0, (long)more_us * 1000};
    struct pollfd wait = {in, 0, 0};
    ppoll(&wait, 1, &time, NULL); /* the moment of death, not a synchronisation */
    return told;
}

static uint64_t crash_round(const char *setting, uint64_t told, uint64_t random)
{
    int ends[2];
    int status;
    uint64_t index;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        crash_write(setting, ends[1]);
    }
    close(ends[1]);
    told = crash_follow(ends[0], (uint32_t)(random % 12), (random >> 8) % 3000, told);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], &index, sizeof(index)) == (ssize_t)sizeof(index)) {
        told = index;
    }
    close(ends[0]);
    return told;
}

static void test_kill(void **state)
{
    const char *rounds_text = getenv("KV_CRASH_ROUNDS");
    const char *seed_text = getenv("KV_CRASH_SEED");
    long rounds = rounds_text == NULL ? CRASH_ROUNDS_DEFAULT : strtol(rounds_text, NULL, 10);
    uint64_t seed = seed_text == NULL ? 1 : strtoull(seed_text, NULL, 10);
    char folder[KIT_PATH_MAX];
    char setting[KIT_PATH_MAX + 32];
    uint64_t told = 0;
    uint32_t beyond = 0;
    (void)state;
    kit_folder_make(folder);
    snprintf(setting, sizeof(setting), "path=%s/kv.db", folder);
    for (long i = 0; i < rounds; i++) {
        const char *settings[] = {setting, NULL};
        struct kit kit;
        struct crash_model model;
        told = crash_round(setting, told, crash_mix(seed * 1000003 + (uint64_t)i));
        assert_int_equal(kit_create(&kit, EXAMPLE_PLUGIN, settings), KV_OK);
        kit_reopen(&kit);
        if (kit.position.index != told) { /* stored and not told any more: one batch at most */
            assert_int_equal(kit.position.index, crash_batch_end(told + 1));
            beyond++;
        }
        told = kit.position.index;
        crash_replay(&model, told);
        crash_expect(&kit, &model);
        kit_end(&kit);
    }
    print_message("%ld times killed, %u with a batch not told, %u records (seed %u)\n", rounds,
                  beyond, (unsigned)told, (unsigned)seed);
    kit_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

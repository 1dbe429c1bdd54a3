/*
 * A process that dies: at each of its system calls, in the middle of its writes, with and without a
 * power cut, and at random moments. Whatever it had acknowledged must be there afterwards, and the
 * content must be exactly a prefix of its batches.
 *
 * KV_CRASH_ROUNDS=N: rounds of the random kills (default 150).
 */
#include "../folder.h"
#include "../format.h"
#include "base/rand.h"
#include "fault.h"
#include "file_kit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define SEED         31u
#define BATCHES      34u
#define POINTS_MAX   5000u
#define ROUNDS       150u
#define KILL_US_MAX  30000u
#define CHILD_FAILED 1
#define CHILD_DONE   0

/* In the child: opens the store, goes on with the workload where it stands, tells each
 * acknowledged batch over the pipe. Ends the process. */
static _Noreturn void child_run(const char *path, int pipe_fd, const struct fault_plan *plan,
                                uint64_t batches)
{
    static struct kit_host host;
    struct kit_store store;
    kit_host_init(&host);
    if (plan != NULL) {
        fault_begin(plan);
    }
    if (kit_open(&store, &host, path, NULL) != KV_OK) {
        fprintf(stderr, "%s", host.log);
        _exit(CHILD_FAILED);
    }
    for (uint64_t i = store.position.index + 1; i <= batches; i++) {
        if (kit_apply(&store, SEED, i) != KV_OK ||
            write(pipe_fd, &i, sizeof(i)) != (ssize_t)sizeof(i)) {
            fprintf(stderr, "%s", host.log);
            _exit(CHILD_FAILED);
        }
        if (i % 12 == 0) {
            (void)file_kit_wait_compacted(&store);
        }
    }
    kit_close(&store);
    _exit(CHILD_DONE);
}

/* Starts the child; the parent gets the reading end of the pipe. */
static pid_t child_start(const char *path, const struct fault_plan *plan, uint64_t batches,
                         int *ret_fd)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_run(path, pipe_fds[1], plan, batches);
    }
    close(pipe_fds[1]);
    *ret_fd = pipe_fds[0];
    return pid;
}

/* Waits for the end of the child; true when it was killed, false when it was done. *acknowledged
 * grows to the last batch that it told. */
static bool child_wait(pid_t pid, int fd, uint64_t *acknowledged)
{
    uint64_t batch;
    int status;
    while (read(fd, &batch, sizeof(batch)) == (ssize_t)sizeof(batch)) {
        *acknowledged = batch;
    }
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), CHILD_DONE);
        return false;
    }
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return true;
}

/* What was acknowledged is there, and no more than the one batch in flight; and the store is well
 * enough to go on. Returns the batches that it holds. */
static uint64_t check_survivor(const char *path, uint64_t acknowledged, bool append)
{
    struct kit_host host;
    struct kit_store store;
    kit_host_init(&host);
    int32_t status = kit_open(&store, &host, path, NULL);
    if (status != KV_OK) {
        print_message("%s\n%s", path, host.log);
    }
    assert_int_equal(status, KV_OK);
    uint64_t index = store.position.index;
    assert_in_range(index, acknowledged, acknowledged + 1);
    assert_true(kit_holds(&store, SEED, index));
    assert_int_equal(host.errors, 0);
    for (uint64_t i = index + 1; append && i <= index + 3; i++) {
        assert_int_equal(kit_apply(&store, SEED, i), KV_OK);
    }
    kit_close(&store);
    if (append) {
        index += 3;
        kit_host_clear(&host);
        assert_int_equal(kit_open(&store, &host, path, NULL), KV_OK);
        assert_int_equal(store.position.index, index);
        assert_true(kit_holds(&store, SEED, index));
        assert_int_equal(host.errors + host.warnings, 0);
        kit_close(&store);
    }
    kit_host_close(&host);
    return index;
}

/* Whether a compaction has succeeded in this folder. */
static bool has_base(const char *path)
{
    char name[FOLDER_NAME_LEN_MAX];
    bool found = false;
    for (uint64_t i = 1; i <= BATCHES && !found; i++) {
        folder_name(FORMAT_FILE_BASE, i, name);
        found = kit_file_exists(path, name);
    }
    return found;
}

/* Kills at the n-th call for every n, until the workload gets through. */
static void kill_at_every_call(int action, uint64_t seed)
{
    char path[KIT_PATH_LEN_MAX];
    bool killed = true;
    uint64_t point = 0;
    while (killed) {
        point++;
        struct fault_plan plan = {
            .action = action, .calls = FAULT_ALL, .at = point, .seed = seed + point};
        uint64_t acknowledged = 0;
        int fd;
        assert_in_range(point, 1, POINTS_MAX);
        kit_folder_make(path);
        pid_t pid = child_start(path, &plan, BATCHES, &fd);
        killed = child_wait(pid, fd, &acknowledged);
        if (!killed) {
            assert_int_equal(acknowledged, BATCHES);
            assert_true(has_base(path));
        }
        (void)check_survivor(path, acknowledged, true);
        kit_folder_remove(path);
    }
    /* The workload has roll-overs and compactions: far more calls than two for each batch. */
    assert_true(point > 3ull * BATCHES);
    print_message("%llu kill points\n", (unsigned long long)point);
}

static void test_kill_at_every_call(void **state)
{
    (void)state;
    kill_at_every_call(FAULT_KILL, 1);
}

static void test_power_cut_at_every_call(void **state)
{
    (void)state;
    kill_at_every_call(FAULT_POWER, 100000);
}

/* Recovery itself is killed at each of its calls, again and again on the same store. */
static void test_kill_recovery_at_every_call(void **state)
{
    (void)state;
    struct rand rand = {77};
    for (int round = 0; round < 6; round++) {
        char path[KIT_PATH_LEN_MAX];
        uint64_t acknowledged = 0;
        int fd;
        struct fault_plan plan = {.action = FAULT_KILL,
                                  .calls = FAULT_ALL,
                                  .at = 20 + rand_below(&rand, 120),
                                  .seed = rand_next(&rand)};
        kit_folder_make(path);
        pid_t pid = child_start(path, &plan, BATCHES, &fd);
        (void)child_wait(pid, fd, &acknowledged);
        bool killed = true;
        for (uint64_t point = 1; killed; point++) {
            struct fault_plan next = {.action = round % 2 == 0 ? FAULT_KILL : FAULT_POWER,
                                      .calls = FAULT_ALL,
                                      .at = point,
                                      .seed = rand_next(&rand)};
            uint64_t told = 0;
            pid = child_start(path, &next, 0, &fd);
            killed = child_wait(pid, fd, &told);
            assert_in_range(point, 1, POINTS_MAX);
        }
        (void)check_survivor(path, acknowledged, true);
        kit_folder_remove(path);
    }
}

/* kill -9 at random moments, round after round on the same store. */
static void test_random_kills(void **state)
{
    (void)state;
    const char *text = getenv("KV_CRASH_ROUNDS");
    uint64_t rounds = text == NULL ? ROUNDS : strtoull(text, NULL, 10);
    char path[KIT_PATH_LEN_MAX];
    struct rand rand = {(uint64_t)getpid()};
    uint64_t held = 0;
    uint64_t started = 0;
    kit_folder_make(path);
    for (uint64_t round = 0; round < rounds; round++) {
        /* The model is replayed from batch 1, so begin anew before that takes long. */
        if (held > 2000) {
            kit_folder_remove(path);
            kit_folder_make(path);
            held = 0;
        }
        uint64_t acknowledged = held;
        int fd;
        pid_t pid = child_start(path, NULL, UINT64_MAX, &fd);
        struct timespec moment = {0, (long)rand_below(&rand, KILL_US_MAX) * 1000};
        (void)nanosleep(&moment, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(child_wait(pid, fd, &acknowledged));
        started += acknowledged > held;
        held = check_survivor(path, acknowledged, false);
    }
    print_message("%llu rounds, %llu of them wrote\n", (unsigned long long)rounds,
                  (unsigned long long)started);
    assert_true(started > rounds / 10);
    kit_folder_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_at_every_call),
        cmocka_unit_test(test_power_cut_at_every_call),
        cmocka_unit_test(test_kill_recovery_at_every_call),
        cmocka_unit_test(test_random_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

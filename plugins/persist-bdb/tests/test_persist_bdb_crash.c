/*
 * kill -9 at random moments: while a store is made, recovered, written, checkpointed and reset.
 * Whatever the process had acknowledged must be there afterwards, and the content must be exactly
 * that of the batches up to the position.
 *
 * KV_CRASH_ROUNDS=N: rounds of each test (default 40).
 */
#include "base/rand.h"
#include "kit.h"

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

#define SEED          31u
#define ROUNDS        40u
#define KILL_US_MAX   40000u
#define BATCHES_MAX   2000u /* then begin anew: the model is replayed from batch 1 */
#define CHILD_FAILED  1
#define RESET_BATCHES 5u

/* Small logs and many checkpoints, so that kills hit those as well. */
static const struct kit_options sync_always = {"always", "1048576", "131072", "65536"};
static const struct kit_options sync_never = {"never", "1048576", "131072", "65536"};

/* In the child: opens the store, goes on with the workload where it stands, tells each acknowledged
 * batch over the pipe, until it is killed. */
static _Noreturn void child_run(const char *path, int pipe_fd, const struct kit_options *options)
{
    static struct kit_host host;
    struct kit_store store;
    kit_host_init(&host);
    if (kit_open(&store, &host, path, options) != KV_OK) {
        fprintf(stderr, "%s", host.log);
        _exit(CHILD_FAILED);
    }
    for (uint64_t i = store.position.index + 1;; i++) {
        if (kit_apply(&store, SEED, i) != KV_OK ||
            write(pipe_fd, &i, sizeof(i)) != (ssize_t)sizeof(i)) {
            fprintf(stderr, "%s", host.log);
            _exit(CHILD_FAILED);
        }
    }
}

/* As before, but empties the store after every few batches; tells 0 for that. */
static _Noreturn void child_run_reset(const char *path, int pipe_fd,
                                      const struct kit_options *options)
{
    static struct kit_host host;
    struct kit_store store;
    kit_host_init(&host);
    if (kit_open(&store, &host, path, options) != KV_OK) {
        fprintf(stderr, "%s", host.log);
        _exit(CHILD_FAILED);
    }
    /* Batches 1 to RESET_BATCHES follow a reset, also when the life before ended in between. */
    for (uint64_t i = store.position.index % RESET_BATCHES + 1;; i = i % RESET_BATCHES + 1) {
        const uint64_t emptied = 0;
        bool fine = true;
        if (i == 1) {
            fine = store.ops->reset(store.self) == KV_OK &&
                   write(pipe_fd, &emptied, sizeof(emptied)) == (ssize_t)sizeof(emptied);
        }
        if (!fine || kit_apply(&store, SEED, i) != KV_OK ||
            write(pipe_fd, &i, sizeof(i)) != (ssize_t)sizeof(i)) {
            fprintf(stderr, "%s", host.log);
            _exit(CHILD_FAILED);
        }
    }
}

typedef void (*child_fn)(const char *path, int pipe_fd, const struct kit_options *options);

/* One life of a child, killed after `life_us`; how many batches it told, *last the last of them. */
static uint64_t child_live(child_fn run, const char *path, const struct kit_options *options,
                           uint64_t life_us, uint64_t *last)
{
    int pipe_fds[2];
    uint64_t batch;
    uint64_t told = 0;
    int status;
    struct timespec life = {0, (long)life_us * 1000};
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    (void)fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20); /* never the reason to wait */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run(path, pipe_fds[1], options);
    }
    close(pipe_fds[1]);
    (void)nanosleep(&life, NULL); /* the moment of the kill, not a wait for anything */
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(pipe_fds[0], &batch, sizeof(batch)) == (ssize_t)sizeof(batch)) {
        *last = batch;
        told++;
    }
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return told;
}

/* Opens what the child left; returns the index of its position, which the content must fit. */
static uint64_t check_survivor(const char *path, const struct kit_options *options)
{
    struct kit_host host;
    struct kit_store store;
    kit_host_init(&host);
    int32_t status = kit_open(&store, &host, path, options);
    if (status != KV_OK) {
        print_message("%s\n%s", path, host.log);
    }
    assert_int_equal(status, KV_OK);
    uint64_t index = store.position.index;
    bool holds = kit_holds(&store, SEED, index);
    if (!holds) {
        print_message("%s: index %llu\n%s", path, (unsigned long long)index, host.log);
    }
    assert_true(holds);
    assert_int_equal(host.errors, 0);
    kit_close(&store);
    kit_host_close(&host);
    return index;
}

static uint64_t rounds_wanted(void)
{
    const char *text = getenv("KV_CRASH_ROUNDS");
    return text == NULL ? ROUNDS : strtoull(text, NULL, 10);
}

static void kill_rounds(const struct kit_options *options)
{
    char path[KIT_PATH_LEN_MAX];
    uint64_t rounds = rounds_wanted();
    struct rand rand = {(uint64_t)getpid()};
    uint64_t held = 0;
    uint64_t wrote = 0;
    uint64_t batches = 0;
    kit_folder_make(path);
    for (uint64_t round = 0; round < rounds; round++) {
        /* Now and then a new store, so that making one is hit as well. */
        if (held > BATCHES_MAX || rand_percent(&rand, 5)) {
            kit_folder_remove(path);
            held = 0;
        }
        uint64_t acknowledged = held;
        uint64_t told =
            child_live(child_run, path, options, rand_below(&rand, KILL_US_MAX), &acknowledged);
        wrote += told > 0;
        batches += told;
        held = check_survivor(path, options);
        assert_in_range(held, acknowledged, acknowledged + 1);
    }
    print_message("%llu rounds, %llu of them wrote, %llu batches acknowledged\n",
                  (unsigned long long)rounds, (unsigned long long)wrote,
                  (unsigned long long)batches);
    assert_true(wrote > rounds / 10);
    kit_folder_remove(path);
}

static void test_kill_sync_always(void **state)
{
    (void)state;
    kill_rounds(&sync_always);
}

/* Without power loss nothing may be missing either. */
static void test_kill_sync_never(void **state)
{
    (void)state;
    kill_rounds(&sync_never);
}

/* A reset counts whole or not at all, and never brings anything back. */
static void test_kill_during_reset(void **state)
{
    (void)state;
    char path[KIT_PATH_LEN_MAX];
    uint64_t rounds = rounds_wanted();
    struct rand rand = {(uint64_t)getpid() + 1};
    uint64_t held = 0;
    kit_folder_make(path);
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t acknowledged = held;
        (void)child_live(child_run_reset, path, &sync_never, rand_below(&rand, KILL_US_MAX),
                         &acknowledged);
        held = check_survivor(path, &sync_never);
        /* What was under way when the process died may have happened: the next batch, or the reset
         * after the last one. */
        uint64_t next = (acknowledged + 1) % (RESET_BATCHES + 1);
        assert_true(held == acknowledged || held == next);
    }
    kit_folder_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_sync_always),
        cmocka_unit_test(test_kill_sync_never),
        cmocka_unit_test(test_kill_during_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

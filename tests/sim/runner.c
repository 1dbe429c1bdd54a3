#include "runner.h"

#include "base/alloc.h"
#include "base/check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX     64u
#define REPEAT_EVERY 20u /* such a seed runs twice and must give the same trace */

/* Seen by all processes. */
struct shared {
    _Atomic uint64_t next;
    _Atomic uint64_t passed, failed, first_failed;
    _Atomic uint64_t operations, acknowledged, settled_max_ms, virtual_ms;
    uint64_t running[JOBS_MAX]; /* the seed that a process is at; 0: between two */
};

static struct trace runner_trace; /* also read by the handler of a crash */
static uint64_t runner_seed;
static const char *runner_bug;
static bool runner_quiet;

static void report(const char *what)
{
    if (runner_quiet) {
        return;
    }
    char text[FAILURE_MAX + 256];
    int len = snprintf(text, sizeof(text),
                       "seed %" PRIu64 " FAILED: %s\nagain: sim --seed %" PRIu64 "%s%s --trace\n",
                       runner_seed, what, runner_seed, runner_bug == NULL ? "" : " --bug ",
                       runner_bug == NULL ? "" : runner_bug);
    fflush(stdout);
    if (!runner_trace.print) {
        trace_dump(&runner_trace, STDOUT_FILENO);
    }
    len = len < (int)sizeof(text) ? len : (int)sizeof(text) - 1;
    if (write(STDOUT_FILENO, text, (size_t)len) < 0) {
        return; /* nobody reads it */
    }
}

static void on_abort(int signal_number)
{
    signal(signal_number, SIG_DFL);
    report("the process ended: an invariant or a sanitizer, see above");
    raise(signal_number);
}

bool runner_run_one(uint64_t seed, bool trace, const char *bug, bool quiet,
                    struct world_result *ret_result)
{
    runner_seed = seed;
    runner_bug = bug;
    runner_quiet = quiet;
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    trace_init(&runner_trace, trace);
    world_run(seed, &runner_trace, ret_result);
    if (!ret_result->failed && seed % REPEAT_EVERY == 0) {
        uint64_t hash = ret_result->trace_hash;
        trace_init(&runner_trace, false);
        world_run(seed, &runner_trace, ret_result);
        if (ret_result->trace_hash != hash) {
            ret_result->failed = true;
            snprintf(ret_result->failure, FAILURE_MAX, "determinism: two runs differ");
        }
    }
    if (ret_result->failed) {
        report(ret_result->failure);
    }
    return !ret_result->failed;
}

static uint64_t monotonic_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void note_failed(struct shared *shared, uint64_t seed)
{
    atomic_fetch_add(&shared->failed, 1);
    uint64_t first = atomic_load(&shared->first_failed);
    while (seed < first && !atomic_compare_exchange_weak(&shared->first_failed, &first, seed)) {
    }
}

static void note_passed(struct shared *shared, const struct world_result *result)
{
    atomic_fetch_add(&shared->passed, 1);
    atomic_fetch_add(&shared->operations, result->operations);
    atomic_fetch_add(&shared->acknowledged, result->acknowledged);
    atomic_fetch_add(&shared->virtual_ms, result->virtual_ms);
    uint64_t most = atomic_load(&shared->settled_max_ms);
    while (result->settled_ms > most &&
           !atomic_compare_exchange_weak(&shared->settled_max_ms, &most, result->settled_ms)) {
    }
}

static bool is_over(const struct runner *runner, struct shared *shared, uint64_t until_s)
{
    return atomic_load(&shared->next) > runner->to ||
           (runner->stop_at_first && atomic_load(&shared->failed) > 0) ||
           (runner->seconds > 0 && monotonic_s() >= until_s);
}

static void work(const struct runner *runner, struct shared *shared, uint32_t job, uint64_t until_s)
{
    while (!is_over(runner, shared, until_s)) {
        uint64_t seed = atomic_fetch_add(&shared->next, 1);
        if (seed > runner->to) {
            break;
        }
        shared->running[job] = seed;
        struct world_result result;
        if (runner_run_one(seed, false, runner->bug, runner->quiet, &result)) {
            note_passed(shared, &result);
        } else {
            note_failed(shared, seed);
        }
        shared->running[job] = 0;
    }
}

static pid_t start_job(const struct runner *runner, struct shared *shared, uint32_t job,
                       uint64_t until_s)
{
    fflush(stdout);
    pid_t pid = fork();
    KV_CHECK(pid >= 0);
    if (pid == 0) {
        if (runner->quiet) {
            KV_CHECK(freopen("/dev/null", "w", stderr) != NULL);
        }
        work(runner, shared, job, until_s);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

void runner_run(struct runner *runner)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KV_CHECK(shared != MAP_FAILED);
    shared->next = runner->from;
    shared->first_failed = UINT64_MAX;
    uint64_t until_s = monotonic_s() + runner->seconds;
    uint32_t jobs = runner->jobs < 1 ? 1 : runner->jobs > JOBS_MAX ? JOBS_MAX : runner->jobs;
    pid_t pids[JOBS_MAX];
    for (uint32_t job = 0; job < jobs; job++) {
        pids[job] = start_job(runner, shared, job, until_s);
    }
    for (uint32_t job = 0; job < jobs;) {
        int status;
        KV_CHECK(waitpid(pids[job], &status, 0) == pids[job]);
        if (shared->running[job] == 0) {
            job++;
            continue;
        }
        note_failed(shared, shared->running[job]); /* it died in the middle of a seed */
        shared->running[job] = 0;
        pids[job] = start_job(runner, shared, job, until_s);
    }
    runner->passed = shared->passed;
    runner->failed = shared->failed;
    runner->first_failed = shared->first_failed;
    runner->operations = shared->operations;
    runner->acknowledged = shared->acknowledged;
    runner->settled_max_ms = shared->settled_max_ms;
    runner->virtual_ms = shared->virtual_ms;
    munmap(shared, sizeof(*shared));
}

/*
 * The simulator of the UDP transport: its endpoints on bad networks in virtual time, by seed.
 *
 *     sim-udp --seeds FROM..TO [--jobs N] [--seconds N] [--bug NAME]    many seeds
 *     sim-udp --seed N [--trace] [--bug NAME]                           one
 *     sim-udp --bugs [--within N] [--jobs N] [--seconds N]              is each known bug caught?
 *
 * Exit status: 0 all passed (--bugs: all caught), 1 not so, 2 usage. A seed that ends its process
 * (a check, a sanitizer) is a failed seed, and the others go on.
 */
#include <errno.h>
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

#include "base/check.h"
#include "sim_world.h"

#define JOBS_MAX     64u
#define REPEAT_EVERY 20u /* such a seed runs twice and must give the same trace */

int bug_active = BUG_NONE;

struct bug_line {
    const char *name;
    const char *text;
};

#define BUG_LINE_(name, text) {#name, text},
static const struct bug_line bug_lines[] = {{"none", "no bug"}, BUG_TABLE(BUG_LINE_)};
#undef BUG_LINE_

struct runner {
    uint64_t from, to, within;
    uint32_t jobs, seconds;
    bool one, trace, bugs;
    bool is_quiet;
    bool stops_at_first;
};

/* Seen by all processes. */
struct shared {
    _Atomic uint64_t next, passed, failed, first_failed;
    _Atomic uint64_t messages, bytes, datagrams, virtual_ms, settled_max_ms;
    uint64_t running[JOBS_MAX]; /* the seed that a process is at; 0: between two */
};

/* A sanitizer's finding ends the process with SIGABRT, so that the seed is reported. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

/* ---- one seed; these two are also read by the handler of a crash ---- */

static struct trace sim_trace;
static uint64_t sim_seed;
static bool sim_is_quiet;

static void report(const char *what)
{
    if (sim_is_quiet) {
        return;
    }
    char text[WORLD_FAILURE_MAX + 256];
    int len =
        snprintf(text, sizeof text,
                 "seed %" PRIu64 " FAILED: %s\nagain: sim-udp --seed %" PRIu64 "%s%s --trace\n",
                 sim_seed, what, sim_seed, bug_active == BUG_NONE ? "" : " --bug ",
                 bug_active == BUG_NONE ? "" : bug_lines[bug_active].name);
    fflush(stdout);
    if (!sim_trace.print) {
        trace_dump(&sim_trace, STDOUT_FILENO);
    }
    len = len < (int)sizeof text ? len : (int)sizeof text - 1;
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

static bool run_seed(uint64_t seed, bool trace, struct world_result *ret_result)
{
    sim_seed = seed;
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    trace_init(&sim_trace, trace);
    world_run(seed, &sim_trace, ret_result);
    if (!ret_result->failed && !trace && seed % REPEAT_EVERY == 0) {
        uint64_t hash = ret_result->trace_hash;
        trace_init(&sim_trace, false);
        world_run(seed, &sim_trace, ret_result);
        if (ret_result->trace_hash != hash) {
            ret_result->failed = true;
            snprintf(ret_result->failure, sizeof ret_result->failure,
                     "determinism: two runs differ");
        }
    }
    if (ret_result->failed) {
        report(ret_result->failure);
    }
    return !ret_result->failed;
}

/* ---- many ---- */

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
    atomic_fetch_add(&shared->messages, result->messages);
    atomic_fetch_add(&shared->bytes, result->bytes);
    atomic_fetch_add(&shared->datagrams, result->datagrams);
    atomic_fetch_add(&shared->virtual_ms, result->virtual_ms);
    uint64_t most = atomic_load(&shared->settled_max_ms);
    while (result->settled_ms > most &&
           !atomic_compare_exchange_weak(&shared->settled_max_ms, &most, result->settled_ms)) {
    }
}

static void work(const struct runner *runner, struct shared *shared, uint32_t job, uint64_t until_s)
{
    for (;;) {
        if ((runner->stops_at_first && atomic_load(&shared->failed) > 0) ||
            (runner->seconds > 0 && monotonic_s() >= until_s)) {
            return;
        }
        uint64_t seed = atomic_fetch_add(&shared->next, 1);
        if (seed > runner->to) {
            return;
        }
        shared->running[job] = seed;
        struct world_result result;
        if (run_seed(seed, false, &result)) {
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
        sim_is_quiet = runner->is_quiet;
        if (runner->is_quiet) {
            KV_CHECK(freopen("/dev/null", "w", stderr) != NULL);
        }
        work(runner, shared, job, until_s);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

static struct shared *run_seeds(const struct runner *runner)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KV_CHECK(shared != MAP_FAILED);
    shared->next = runner->from;
    shared->first_failed = UINT64_MAX;
    uint64_t until_s = monotonic_s() + runner->seconds;
    uint32_t jobs = runner->jobs < JOBS_MAX ? runner->jobs : JOBS_MAX;
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
    return shared;
}

/* ---- the command line ---- */

static int usage(void)
{
    fputs("usage: sim-udp --seeds FROM..TO [--jobs N] [--seconds N] [--bug NAME]\n"
          "       sim-udp --seed N [--trace] [--bug NAME]\n"
          "       sim-udp --bugs [--within N] [--jobs N] [--seconds N]\n",
          stderr);
    return 2;
}

static bool parse_number(const char *text, char **ret_end, uint64_t *ret_number)
{
    errno = 0;
    unsigned long long number = strtoull(text, ret_end, 10);
    if (errno != 0 || *ret_end == text) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool parse_bug(const char *name)
{
    for (int bug = BUG_NONE + 1; bug < BUG_END; bug++) {
        if (strcmp(bug_lines[bug].name, name) == 0) {
            bug_active = bug;
            return true;
        }
    }
    return false;
}

static bool parse_range(const char *text, struct runner *runner)
{
    char *end;
    return parse_number(text, &end, &runner->from) && strncmp(end, "..", 2) == 0 &&
           parse_number(end + 2, &end, &runner->to) && *end == '\0' && runner->from > 0 &&
           runner->from <= runner->to;
}

static bool parse_value(const char *name, const char *value, struct runner *runner)
{
    char *end;
    uint64_t number;
    if (strcmp(name, "--seeds") == 0) {
        return parse_range(value, runner);
    }
    if (strcmp(name, "--bug") == 0) {
        return parse_bug(value);
    }
    if (!parse_number(value, &end, &number) || *end != '\0' || number == 0) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        runner->one = true;
        runner->from = number;
    } else if (strcmp(name, "--jobs") == 0) {
        runner->jobs = (uint32_t)number;
    } else if (strcmp(name, "--seconds") == 0) {
        runner->seconds = (uint32_t)number;
    } else if (strcmp(name, "--within") == 0) {
        runner->within = number;
    } else {
        return false;
    }
    return true;
}

static bool parse(int argc, char **argv, struct runner *runner)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            runner->trace = true;
        } else if (strcmp(argv[i], "--bugs") == 0) {
            runner->bugs = true;
        } else if (i + 1 == argc || !parse_value(argv[i], argv[i + 1], runner)) {
            fprintf(stderr, "sim-udp: %s: unknown, or its value is wrong\n", argv[i]);
            return false;
        } else {
            i++;
        }
    }
    return runner->bugs || runner->from != 0;
}

static int run_one(const struct runner *runner)
{
    struct world_result result;
    bool passed = run_seed(runner->from, runner->trace, &result);
    printf("%" PRIu64 " messages, %" PRIu64 " bytes, %" PRIu64 " datagrams, %" PRIu64
           " ms of virtual time, settled after %" PRIu64 " ms, trace %016" PRIx64 "\n",
           result.messages, result.bytes, result.datagrams, result.virtual_ms, result.settled_ms,
           result.trace_hash);
    printf("%d passed, %d failed\n", passed ? 1 : 0, passed ? 0 : 1);
    return passed ? 0 : 1;
}

static int run_many(const struct runner *runner)
{
    struct shared *shared = run_seeds(runner);
    printf("%" PRIu64 " messages, %" PRIu64 " MB, %" PRIu64 " datagrams, %" PRIu64
           " s of virtual time, settled after at most %" PRIu64 " ms\n",
           shared->messages, shared->bytes / 1000000, shared->datagrams, shared->virtual_ms / 1000,
           shared->settled_max_ms);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", shared->passed, shared->failed);
    int status = shared->failed == 0 && shared->passed > 0 ? 0 : 1;
    munmap(shared, sizeof *shared);
    return status;
}

/* Each bug, alone, must make a seed fail. */
static int run_bugs(struct runner *runner)
{
    uint32_t caught = 0;
    uint32_t missed = 0;
    runner->from = 1;
    runner->to = runner->within;
    runner->is_quiet = true;
    runner->stops_at_first = true;
    for (int bug = BUG_NONE + 1; bug < BUG_END; bug++) {
        bug_active = bug;
        struct shared *shared = run_seeds(runner);
        if (shared->failed > 0) {
            caught++;
            printf("%-20s caught by seed %4" PRIu64 "   %s\n", bug_lines[bug].name,
                   shared->first_failed, bug_lines[bug].text);
        } else {
            missed++;
            printf("%-20s MISSED by %" PRIu64 " seeds   %s\n", bug_lines[bug].name, shared->passed,
                   bug_lines[bug].text);
        }
        munmap(shared, sizeof *shared);
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", caught, missed);
    return missed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct runner runner = {.jobs = 1, .within = 500};
    if (!parse(argc, argv, &runner)) {
        return usage();
    }
    if (runner.bugs) {
        return run_bugs(&runner);
    }
    return runner.one ? run_one(&runner) : run_many(&runner);
}

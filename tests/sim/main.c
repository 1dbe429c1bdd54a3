/*
 * The simulator's command line.
 *
 *     sim --seeds FROM..TO [--jobs N] [--seconds N] [--bug NAME]    many seeds
 *     sim --seed N [--trace] [--bug NAME]                           one
 *     sim --bugs [--within N] [--jobs N] [--seconds N]              is each known bug caught?
 *
 * Exit status: 0 all passed (--bugs: all caught), 1 not so, 2 usage.
 */
#include "runner.h"

#include "logic/bug.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct arguments {
    struct runner runner;
    bool one, trace, bugs;
    uint64_t within;
};

static int usage(void)
{
    fputs("usage: sim --seeds FROM..TO [--jobs N] [--seconds N] [--bug NAME]\n"
          "       sim --seed N [--trace] [--bug NAME]\n"
          "       sim --bugs [--within N] [--jobs N] [--seconds N]\n",
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

static bool parse_range(const char *text, struct runner *runner)
{
    char *end;
    if (!parse_number(text, &end, &runner->from) || strncmp(end, "..", 2) != 0 ||
        !parse_number(end + 2, &end, &runner->to)) {
        return false;
    }
    return *end == '\0' && runner->from > 0 && runner->from <= runner->to;
}

static bool parse_value(const char *name, const char *value, struct arguments *arguments)
{
    char *end;
    uint64_t number;
    if (strcmp(name, "--seeds") == 0) {
        return parse_range(value, &arguments->runner);
    }
    if (strcmp(name, "--bug") == 0) {
        bug_active = bug_find(value);
        arguments->runner.bug = value;
        return bug_active != BUG_NONE;
    }
    if (!parse_number(value, &end, &number) || *end != '\0' || number == 0) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        arguments->one = true;
        arguments->runner.from = number;
    } else if (strcmp(name, "--jobs") == 0) {
        arguments->runner.jobs = (uint32_t)number;
    } else if (strcmp(name, "--seconds") == 0) {
        arguments->runner.seconds = (uint32_t)number;
    } else if (strcmp(name, "--within") == 0) {
        arguments->within = number;
    } else {
        return false;
    }
    return true;
}

static bool parse(int argc, char **argv, struct arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            arguments->trace = true;
        } else if (strcmp(argv[i], "--bugs") == 0) {
            arguments->bugs = true;
        } else if (i + 1 == argc || !parse_value(argv[i], argv[i + 1], arguments)) {
            fprintf(stderr, "sim: %s: unknown, or its value is wrong\n", argv[i]);
            return false;
        } else {
            i++;
        }
    }
    return arguments->bugs || arguments->runner.from != 0;
}

static int run_one(const struct arguments *arguments)
{
    struct world_result result;
    bool passed = runner_run_one(arguments->runner.from, arguments->trace, arguments->runner.bug,
                                 false, &result);
    printf("%" PRIu64 " requests, %" PRIu64 " updates acknowledged, %" PRIu64
           " ms of virtual time, settled after %" PRIu64 " ms, trace %016" PRIx64 "\n",
           result.operations, result.acknowledged, result.virtual_ms, result.settled_ms,
           result.trace_hash);
    printf("%d passed, %d failed\n", passed ? 1 : 0, passed ? 0 : 1);
    return passed ? 0 : 1;
}

static int run_many(struct arguments *arguments)
{
    struct runner *runner = &arguments->runner;
    runner_run(runner);
    printf("%" PRIu64 " requests, %" PRIu64 " updates acknowledged, %" PRIu64
           " s of virtual time, settled after at most %" PRIu64 " ms\n",
           runner->operations, runner->acknowledged, runner->virtual_ms / 1000,
           runner->settled_max_ms);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", runner->passed, runner->failed);
    return runner->failed == 0 && runner->passed > 0 ? 0 : 1;
}

/* Each bug, alone, must make a seed fail. */
static int run_bugs(const struct arguments *arguments)
{
    uint32_t caught = 0;
    uint32_t missed = 0;
    for (int bug = BUG_NONE + 1; bug < BUG_END; bug++) {
        bug_active = bug;
        struct runner runner = {.from = 1,
                                .to = arguments->within,
                                .jobs = arguments->runner.jobs,
                                .seconds = arguments->runner.seconds,
                                .quiet = true,
                                .stop_at_first = true,
                                .bug = bug_name(bug)};
        runner_run(&runner);
        if (runner.failed > 0) {
            caught++;
            printf("%-26s caught by seed %4" PRIu64 "   %s\n", bug_name(bug), runner.first_failed,
                   bug_text(bug));
        } else {
            missed++;
            printf("%-26s MISSED by %" PRIu64 " seeds   %s\n", bug_name(bug), runner.passed,
                   bug_text(bug));
        }
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", caught, missed);
    return missed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.runner = {.jobs = 1}, .within = 200};
    if (!parse(argc, argv, &arguments)) {
        return usage();
    }
    if (arguments.bugs) {
        return run_bugs(&arguments);
    }
    return arguments.one ? run_one(&arguments) : run_many(&arguments);
}

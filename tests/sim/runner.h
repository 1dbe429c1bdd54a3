/*
 * Runs many seeds in several processes: a seed that ends its process (a KV_CHECK, a sanitizer) is a
 * failed seed, and the others go on. The simulator only.
 */
#ifndef SIM_RUNNER_H
#define SIM_RUNNER_H

#include "world.h"

struct runner {
    uint64_t from, to; /* seeds, both included */
    uint32_t jobs;
    uint32_t seconds;   /* no new seed after so long; 0: all */
    bool quiet;         /* do not report failures */
    bool stop_at_first; /* one failure is enough */
    const char *bug;    /* for the replay command; NULL: none */
    /* results */
    uint64_t passed, failed;
    uint64_t first_failed; /* lowest seed that failed; UINT64_MAX: none */
    uint64_t operations, acknowledged, settled_max_ms, virtual_ms;
};

void runner_run(struct runner *runner);

/* One seed in this process, with its report; true when it passed. */
bool runner_run_one(uint64_t seed, bool trace, const char *bug, bool quiet,
                    struct world_result *ret_result);

#endif

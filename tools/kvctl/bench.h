/*
 * What bench measured, and its report.
 */
#ifndef KVCTL_BENCH_H
#define KVCTL_BENCH_H

#include "histogram.h"
#include "options.h"

#include <stdint.h>

/* How requests ended, as exit statuses are numbered; reads that found no key count as done. */
#define BENCH_OUTCOMES 6u

struct bench_result {
    struct histogram reads; /* latencies of what was done, in microseconds */
    struct histogram writes;
    uint64_t misses; /* reads that found no key */
    uint64_t outcomes[BENCH_OUTCOMES];
    char first_error[512]; /* "" when there was none */
    double seconds;        /* from the first request to the last answer */
};

/* Prints it to stdout, as a table or as one JSON object. */
void bench_report(const struct options *options, const struct bench_result *result);

/* Requests that were not done. */
uint64_t bench_failures(const struct bench_result *result);

#endif

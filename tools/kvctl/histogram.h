/*
 * Counts of values (latencies in microseconds) in log-linear buckets: exact below 128, above that
 * within 1/64 of the value, in constant memory. After Gil Tene's HdrHistogram.
 */
#ifndef KVCTL_HISTOGRAM_H
#define KVCTL_HISTOGRAM_H

#include <stdint.h>

/* Buckets per power of two, and powers of two: values up to 2^40 (12 days in microseconds). */
#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_TOP_BITS 40u
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1u) << HISTOGRAM_SUB_BITS)

/* Zero it before first use. */
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
    uint64_t min;
    double sum;
};

/* Values above 2^40 - 1 count as that. */
void histogram_add(struct histogram *histogram, uint64_t value);

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that percent (0 to 100) of all values are not above: the upper end of its bucket, and
 * never above the largest value seen. 0 when nothing was added. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

double histogram_mean(const struct histogram *histogram);

#endif

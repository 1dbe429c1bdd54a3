#include "histogram.h"

/* A value below 2^(SUB_BITS + 1) is its own bucket. Above, `shift` drops the bits that do not
 * count, and the SUB_BITS + 1 leading bits select the bucket. */
static uint32_t histogram_bucket(uint64_t value)
{
    uint32_t bits = value == 0 ? 0 : 64u - (uint32_t)__builtin_clzll(value);
    uint32_t shift = bits > HISTOGRAM_SUB_BITS + 1 ? bits - HISTOGRAM_SUB_BITS - 1 : 0;
    return (shift << HISTOGRAM_SUB_BITS) + (uint32_t)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t histogram_upper(uint32_t bucket)
{
    uint32_t half = 1u << HISTOGRAM_SUB_BITS;
    if (bucket < 2 * half) {
        return bucket;
    }
    uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t leading = (bucket & (half - 1)) + half;
    return ((leading + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    uint64_t top = ((uint64_t)1 << HISTOGRAM_TOP_BITS) - 1;
    value = value > top ? top : value;
    histogram->counts[histogram_bucket(value)]++;
    histogram->min = histogram->total == 0 || value < histogram->min ? value : histogram->min;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->sum += (double)value;
    histogram->total++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->total == 0) {
        return;
    }
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->counts[i] += from->counts[i];
    }
    into->min = into->total == 0 || from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->sum += from->sum;
    into->total += from->total;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    /* The rank of the value asked for, from 1; rounded up, and robust against 99.9 being a little
     * more than it says. */
    double exact = (double)histogram->total * percent / 100.0;
    uint64_t rank = (uint64_t)exact;
    rank += exact - (double)rank > 1e-6 ? 1 : 0;
    rank = rank == 0 ? 1 : rank;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank) {
            uint64_t upper = histogram_upper(i);
            return upper < histogram->max ? upper : histogram->max;
        }
    }
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->total == 0 ? 0 : histogram->sum / (double)histogram->total;
}

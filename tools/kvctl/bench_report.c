#include "bench.h"

#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const double report_percents[] = {50, 90, 99, 99.9};
#define REPORT_PERCENTS (sizeof(report_percents) / sizeof(report_percents[0]))

uint64_t bench_failures(const struct bench_result *result)
{
    uint64_t failures = 0;
    for (uint32_t i = 1; i < BENCH_OUTCOMES; i++) {
        failures += result->outcomes[i];
    }
    return failures;
}

static double report_rate(const struct bench_result *result, uint64_t count)
{
    return result->seconds > 0 ? (double)count / result->seconds : 0;
}

static json_t *report_latency(const struct bench_result *result, const struct histogram *histogram)
{
    static const char *const names[REPORT_PERCENTS] = {"p50", "p90", "p99", "p99.9"};
    json_t *object = json_object();
    json_object_set_new(object, "count", json_integer((json_int_t)histogram->total));
    json_object_set_new(object, "per_s", json_real(report_rate(result, histogram->total)));
    json_t *latency = json_object();
    json_object_set_new(latency, "mean", json_real(histogram_mean(histogram) / 1000.0));
    for (size_t i = 0; i < REPORT_PERCENTS; i++) {
        uint64_t us = histogram_percentile(histogram, report_percents[i]);
        json_object_set_new(latency, names[i], json_real((double)us / 1000.0));
    }
    json_object_set_new(latency, "max", json_real((double)histogram->max / 1000.0));
    json_object_set_new(object, "latency_ms", latency);
    return object;
}

static void report_json(const struct options *options, const struct bench_result *result,
                        const struct histogram *all)
{
    json_t *object = json_object();
    const struct {
        const char *name;
        uint64_t number;
    } members[] = {
        {"connections", options->connections},
        {"depth", options->depth},
        {"read_percent", options->read_percent},
        {"keys", options->keys},
        {"key_bytes", options->key_bytes},
        {"value_bytes", options->value_bytes},
        {"done", all->total},
        {"failures", bench_failures(result)},
        {"read_misses", result->misses},
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_object_set_new(object, members[i].name, json_integer((json_int_t)members[i].number));
    }
    json_object_set_new(object, "seconds", json_real(result->seconds));
    json_object_set_new(object, "all", report_latency(result, all));
    json_object_set_new(object, "reads", report_latency(result, &result->reads));
    json_object_set_new(object, "writes", report_latency(result, &result->writes));
    json_t *errors =
        json_pack("{s:I, s:I, s:I}", "failed", (json_int_t)result->outcomes[EXIT_FAILED],
                  "rejected", (json_int_t)result->outcomes[EXIT_REJECTED], "unreachable",
                  (json_int_t)result->outcomes[EXIT_UNREACHABLE]);
    json_object_set_new(object, "errors", errors);
    json_bytes_set(object, "first_error", result->first_error, strlen(result->first_error));
    output_json(object);
}

static void report_row(const char *name, const struct bench_result *result,
                       const struct histogram *histogram)
{
    if (histogram->total == 0) {
        return;
    }
    printf("%-7s %10" PRIu64 " %12.0f %9.3f", name, histogram->total,
           report_rate(result, histogram->total), histogram_mean(histogram) / 1000.0);
    for (size_t i = 0; i < REPORT_PERCENTS; i++) {
        printf(" %9.3f", (double)histogram_percentile(histogram, report_percents[i]) / 1000.0);
    }
    printf(" %9.3f\n", (double)histogram->max / 1000.0);
}

static void report_table(const struct options *options, const struct bench_result *result,
                         const struct histogram *all)
{
    printf("%" PRIu64 " connections x %" PRIu64 " outstanding, %" PRIu64 " %% reads from %s, "
           "%" PRIu64 " keys of %" PRIu64 " bytes, values of %" PRIu64 " bytes, %.2f s\n\n",
           options->connections, options->depth, options->read_percent,
           options->node == NULL ? "the primary" : options->node, options->keys, options->key_bytes,
           options->value_bytes, result->seconds);
    printf("%-7s %10s %12s %9s %9s %9s %9s %9s %9s\n", "", "done", "per second", "mean ms",
           "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms");
    report_row("reads", result, &result->reads);
    report_row("writes", result, &result->writes);
    report_row("all", result, all);
    printf("\nreads that found no key: %" PRIu64 "\n", result->misses);
    printf("failed: %" PRIu64 "  rejected: %" PRIu64 "  unreachable: %" PRIu64 "\n",
           result->outcomes[EXIT_FAILED], result->outcomes[EXIT_REJECTED],
           result->outcomes[EXIT_UNREACHABLE]);
}

void bench_report(const struct options *options, const struct bench_result *result)
{
    struct histogram *all = memory_allocate_zero(1, sizeof(*all));
    histogram_merge(all, &result->reads);
    histogram_merge(all, &result->writes);
    if (options->json) {
        report_json(options, result, all);
    } else {
        report_table(options, result, all);
    }
    free(all);
}

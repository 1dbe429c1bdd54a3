/*
 * What isolation costs: guarded apply() of persist-file, in this process and in one of its own, in
 * turns, so that both meet the same machine.
 *
 *     bench_isolate PLUGIN_FOLDER [ROUNDS] [FOLDER_FOR_STORES]
 *
 * Prints for each way of syncing and each batch size the records per second of both (medians) and
 * the ratio isolated / in-process: least, median, greatest over the rounds.
 */
#include "base/alloc.h"
#include "host/guard_persist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BENCH_ROUNDS_MAX 101u
#define BENCH_BATCH_MAX  4096u
#define BENCH_ROUND_S    0.3 /* of each of the two, in each round */

struct bench_side {
    struct loaded_plugin *plugin;
    struct services *services;
    struct kv_setting *settings;
    struct guard_persist *guard;
    char path[300];
    uint64_t index;
    double rates[BENCH_ROUNDS_MAX];
};

static struct kv_record bench_records[BENCH_BATCH_MAX];
static char bench_keys[BENCH_BATCH_MAX][16];
static char bench_value[100];

static void bench_must(int32_t status, const char *what)
{
    if (status != KV_OK) {
        fprintf(stderr, "bench_isolate: %s: %" PRId32 "\n", what, status);
        exit(1);
    }
}

static void bench_on_log(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    (void)ctx;
    if (level <= KV_LOG_WARN) {
        fprintf(stderr, "%s: %s\n", plugin, text);
    }
}

static int32_t bench_on_record(void *ctx, const struct kv_record *record)
{
    (void)ctx;
    (void)record;
    return KV_OK;
}

static double bench_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void bench_start(struct bench_side *side, const char *plugins, const char *folder,
                        const char *sync, int is_isolated)
{
    char error[LOADER_ERROR_MAX];
    uint32_t index = 0;
    struct kv_position position;
    struct isolate_config isolate = {.call_timeout_ms = 30000};
    memset(side, 0, sizeof(*side));
    snprintf(side->path, sizeof(side->path), "%s/%s-%d", folder, sync, is_isolated);
    const struct kv_setting given[] = {{"path", side->path}, {"sync", sync}};
    bench_must(loader_load("persist-file", plugins, KV_KIND_PERSIST, &side->plugin, error), "load");
    bench_must(loader_settings(side->plugin, given, 2, &side->settings, &index, error), "settings");
    side->services = services_create("persist-file", NULL, bench_on_log, NULL);
    bench_must(guard_persist_create(side->plugin, side->services, side->settings,
                                    is_isolated ? &isolate : NULL, &side->guard),
               "create");
    bench_must(guard_persist_open(side->guard, &position), "open");
    bench_must(guard_persist_load(side->guard, bench_on_record, NULL), "load");
}

static void bench_stop(struct bench_side *side)
{
    char command[400];
    guard_persist_destroy(side->guard);
    loader_settings_free(side->settings);
    services_destroy(side->services);
    loader_release(side->plugin);
    snprintf(command, sizeof(command), "rm -rf '%s'", side->path);
    if (system(command) != 0) {
        fprintf(stderr, "bench_isolate: %s stays\n", side->path);
    }
}

/* Records per second over one round. */
static double bench_round(struct bench_side *side, uint32_t batch)
{
    const struct persist_refusal *refusals;
    uint32_t refusals_len;
    uint64_t records = 0;
    double begin_s = bench_now_s();
    double now_s = begin_s;
    while (now_s - begin_s < BENCH_ROUND_S) {
        for (uint32_t i = 0; i < batch; i++) {
            bench_records[i].position = (struct kv_position){1, ++side->index};
        }
        bench_must(guard_persist_apply(side->guard, bench_records, batch,
                                       bench_records[batch - 1].position, &refusals, &refusals_len),
                   "apply");
        records += batch;
        now_s = bench_now_s();
    }
    return (double)records / (now_s - begin_s);
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void bench_batch(struct bench_side sides[2], const char *sync, uint32_t batch,
                        uint32_t rounds)
{
    double ratios[BENCH_ROUNDS_MAX];
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t turn = 0; turn < 2; turn++) {
            uint32_t which = (turn + round) % 2; /* neither is always the first */
            sides[which].rates[round] = bench_round(&sides[which], batch);
        }
        ratios[round] = sides[1].rates[round] / sides[0].rates[round];
    }
    qsort(ratios, rounds, sizeof(double), bench_compare);
    qsort(sides[0].rates, rounds, sizeof(double), bench_compare);
    qsort(sides[1].rates, rounds, sizeof(double), bench_compare);
    printf("sync=%-6s batch=%-5" PRIu32 " in_process=%-9.0f isolated=%-9.0f ratio min=%.2f "
           "median=%.2f max=%.2f\n",
           sync, batch, sides[0].rates[rounds / 2], sides[1].rates[rounds / 2], ratios[0],
           ratios[rounds / 2], ratios[rounds - 1]);
    fflush(stdout);
}

static void bench_make_records(void)
{
    memset(bench_value, 'v', sizeof(bench_value));
    for (uint32_t i = 0; i < BENCH_BATCH_MAX; i++) {
        int len = snprintf(bench_keys[i], sizeof(bench_keys[i]), "key-%06" PRIu32, i);
        bench_records[i] = (struct kv_record){.key = bench_keys[i],
                                              .key_len = (uint32_t)len,
                                              .value = bench_value,
                                              .value_len = sizeof(bench_value),
                                              .kind = KV_RECORD_INSERT};
    }
}

int main(int argc, char **argv)
{
    static const char *const syncs[] = {"always", "never"};
    static const uint32_t batches[] = {1, 16, 256, 4096};
    static struct bench_side sides[2];
    char folder[200];
    if (argc > 1 && strcmp(argv[1], ISOLATE_CHILD_ARGUMENT) == 0) {
        return isolate_child_main();
    }
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 9;
    if (argc < 2 || rounds < 1 || rounds > BENCH_ROUNDS_MAX) {
        fputs("usage: bench_isolate PLUGIN_FOLDER [ROUNDS] [FOLDER_FOR_STORES]\n", stderr);
        return 2;
    }
    snprintf(folder, sizeof(folder), "%s/kv-bench-isolate-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    bench_make_records();
    for (size_t i = 0; i < 2; i++) {
        bench_start(&sides[0], argv[1], folder, syncs[i], 0);
        bench_start(&sides[1], argv[1], folder, syncs[i], 1);
        for (size_t j = 0; j < 4; j++) {
            bench_batch(sides, syncs[i], batches[j], (uint32_t)rounds);
        }
        bench_stop(&sides[0]);
        bench_stop(&sides[1]);
    }
    rmdir(folder);
    return 0;
}

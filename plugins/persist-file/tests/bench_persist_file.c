/*
 * Figures for README.md, not a test: bench_persist_file FOLDER (a new one, on the disk to measure).
 *
 * Appending: the plugin beside a bare pwrite() + fdatasync() of the same number of bytes, to a
 * growing file and to one preallocated by fallocate() or by writing zeros; the contestants take
 * turns, the median of the rounds counts. Loading: pairs per second. Compaction: how long writers
 * wait.
 */
#include "../format.h"
#include "../store.h"
#include "bench.h"
#include "file_kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS        7u
#define CONTESTANTS   4u
#define BATCH_LEN_MAX 2000u
#define KEY_LEN       16u
#define VALUE_LEN     100u
#define CHUNK_LEN     ((size_t)2 << 20)
#define LOAD_PAIRS    3000000u

static struct kv_record bench_records[BATCH_LEN_MAX];
static uint32_t bench_results[BATCH_LEN_MAX];
static char bench_keys[BATCH_LEN_MAX][KEY_LEN + 1];
static char bench_value[VALUE_LEN];
static uint8_t bench_zeros[CHUNK_LEN];

static void bench_fill(uint32_t count, uint64_t first_key)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(bench_keys[i], KEY_LEN + 1, "%016llx",
                       (unsigned long long)(first_key + i) & 0xffffffffffffffffull);
        bench_records[i] = (struct kv_record){.key = bench_keys[i],
                                              .key_len = KEY_LEN,
                                              .value = bench_value,
                                              .value_len = VALUE_LEN,
                                              .kind = KV_RECORD_INSERT};
    }
}

/* Batches per second of a bare file; way 0: growing, 1: fallocate, 2: zeros written ahead. */
static double bench_raw(const char *folder, int way, size_t len, uint32_t batches)
{
    char path[KIT_PATH_LEN_MAX];
    uint8_t *bytes = malloc(len);
    off_t end = 0;
    off_t ready = 0;
    (void)snprintf(path, sizeof(path), "%s/raw", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    bench_require(fd >= 0 && bytes != NULL, path);
    memset(bytes, 7, len);
    bench_require(fsync(fd) == 0, "fsync");
    double start = bench_now();
    for (uint32_t i = 0; i < batches; i++, end += (off_t)len) {
        while (way != 0 && end + (off_t)len > ready) {
            if (way == 1) {
                bench_require(fallocate(fd, 0, ready, CHUNK_LEN) == 0, "fallocate");
            } else {
                bench_require(pwrite(fd, bench_zeros, CHUNK_LEN, ready) > 0, "pwrite");
            }
            ready += (off_t)CHUNK_LEN;
        }
        bench_require(pwrite(fd, bytes, len, end) == (ssize_t)len, "pwrite");
        bench_require(fdatasync(fd) == 0, "fdatasync");
    }
    double seconds = bench_now() - start;
    close(fd);
    unlink(path);
    free(bytes);
    return batches / seconds;
}

/* Batches per second of the plugin. */
static double bench_plugin(struct kit_host *host, const char *folder, uint32_t count,
                           uint32_t batches)
{
    static const struct kit_options options = {"always", "1099511627776", "268435456", "2097152"};
    char path[KIT_PATH_LEN_MAX];
    struct kit_store store;
    (void)snprintf(path, sizeof(path), "%s/plugin", folder);
    bench_require(kit_open(&store, host, path, &options) == KV_OK, path);
    bench_fill(count, 0);
    double start = bench_now();
    for (uint32_t i = 0; i < batches; i++) {
        bench_require(store.ops->apply(store.self, bench_records, count,
                                       (struct kv_position){1, i + 1}, bench_results) == KV_OK,
                      "apply");
    }
    double seconds = bench_now() - start;
    kit_close(&store);
    kit_folder_remove(path);
    return batches / seconds;
}

static void bench_append(struct kit_host *host, const char *folder, uint32_t count,
                         uint32_t batches)
{
    static const char *const names[CONTESTANTS] = {"growing", "fallocate", "zeros", "plugin"};
    double rates[CONTESTANTS][ROUNDS];
    size_t len = FORMAT_BATCH_HEADER_LEN + count * (FORMAT_RECORD_LEN + KEY_LEN + VALUE_LEN);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (int way = 0; way < 3; way++) {
            rates[way][round] = bench_raw(folder, way, len, batches);
        }
        rates[3][round] = bench_plugin(host, folder, count, batches);
    }
    printf("%5u records, %7zu bytes:", count, len);
    for (uint32_t i = 0; i < CONTESTANTS; i++) {
        qsort(rates[i], ROUNDS, sizeof(double), bench_compare);
        printf("  %s %.0f/s", names[i], rates[i][ROUNDS / 2]);
    }
    printf("  plugin/growing %.0f %%\n", 100 * rates[3][ROUNDS / 2] / rates[0][ROUNDS / 2]);
    fflush(stdout);
}

static int32_t bench_count(void *ctx, const struct kv_record *record)
{
    *(uint64_t *)ctx += record->value_len == VALUE_LEN;
    return KV_OK;
}

static void bench_load(struct kit_host *host, const char *folder)
{
    static const struct kit_options options = {"never", "1099511627776", "268435456", "2097152"};
    char path[KIT_PATH_LEN_MAX];
    struct kit_store store;
    uint64_t pairs = 0;
    (void)snprintf(path, sizeof(path), "%s/plugin", folder);
    bench_require(kit_open(&store, host, path, &options) == KV_OK, path);
    for (uint32_t i = 0; i < LOAD_PAIRS; i += 1000) {
        bench_fill(1000, i);
        bench_require(store.ops->apply(store.self, bench_records, 1000,
                                       (struct kv_position){1, i + 1}, bench_results) == KV_OK,
                      "apply");
    }
    kit_close(&store);
    for (int round = 0; round < 3; round++) {
        double start = bench_now();
        bench_require(kit_open(&store, host, path, &options) == KV_OK, path);
        double opened = bench_now();
        pairs = 0;
        bench_require(store.ops->load(store.self, bench_count, &pairs) == KV_OK, "load");
        double loaded = bench_now();
        printf("open (checks all) %.2f M pairs/s, load %.2f M pairs/s, both %.2f M pairs/s\n",
               1e-6 * (double)pairs / (opened - start), 1e-6 * (double)pairs / (loaded - opened),
               1e-6 * (double)pairs / (loaded - start));
        kit_close(&store);
    }
    kit_folder_remove(path);
}

/* How long apply() takes at most, with and without compactions in the background. */
static void bench_compaction(struct kit_host *host, const char *folder, const char *least)
{
    enum { BATCHES = 12000, COUNT = 100 };
    static double times[BATCHES];
    struct kit_options options = {"always", least, "268435456", "2097152"};
    char path[KIT_PATH_LEN_MAX];
    struct kit_store store;
    (void)snprintf(path, sizeof(path), "%s/plugin", folder);
    bench_require(kit_open(&store, host, path, &options) == KV_OK, path);
    double start = bench_now();
    for (uint32_t i = 0; i < BATCHES; i++) {
        bench_fill(COUNT, (i * 7919ull * COUNT) % 400000);
        double before = bench_now();
        bench_require(store.ops->apply(store.self, bench_records, COUNT,
                                       (struct kv_position){1, i + 1}, bench_results) == KV_OK,
                      "apply");
        times[i] = bench_now() - before;
    }
    double seconds = bench_now() - start;
    uint64_t done = file_kit_wait_compacted(&store);
    qsort(times, BATCHES, sizeof(double), bench_compare);
    printf("%llu compactions: %.0f batches/s of %d, apply ms: median %.2f, 99 %% %.2f, most %.2f; "
           "%.1f MB on disk\n",
           (unsigned long long)done, BATCHES / seconds, COUNT, 1e3 * times[BATCHES / 2],
           1e3 * times[BATCHES * 99 / 100], 1e3 * times[BATCHES - 1],
           1e-6 * (double)kit_folder_bytes(path));
    fflush(stdout);
    kit_close(&store);
    kit_folder_remove(path);
}

int main(int argc, char **argv)
{
    static struct kit_host host;
    if (argc != 2 || mkdir(argv[1], 0700) != 0) {
        fprintf(stderr, "usage: bench_persist_file NEW_FOLDER\n");
        return 2;
    }
    kit_host_init(&host);
    bench_append(&host, argv[1], 1, 600);
    bench_append(&host, argv[1], 100, 400);
    bench_append(&host, argv[1], 1000, 200);
    bench_load(&host, argv[1]);
    bench_compaction(&host, argv[1], "1099511627776");
    bench_compaction(&host, argv[1], "33554432");
    kit_host_close(&host);
    (void)rmdir(argv[1]);
    return 0;
}

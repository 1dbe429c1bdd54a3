/*
 * Figures for README.md, not a test: bench_persist_bdb FOLDER [never] (a new folder, on the disk to
 * measure).
 *
 * The plugin's apply() beside Berkeley DB used directly, one transaction for each batch, with the
 * same settings of the environment and of the database. Two of those: pairs  keys and values and
 * nothing else same   what the plugin has to store: 32 bytes more for each pair, and the position
 * reached Neither writes markers, makes checkpoints or removes log files. They take turns with the
 * plugin; each round gives a ratio to either.
 */
#include "../store.h"
#include "bench.h"
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROUNDS        21u
#define BATCH_LEN_MAX 4096u
#define KEY_LEN       16u
#define VALUE_LEN     100u
#define HEADER_LEN    32u /* what the plugin keeps of each record besides */
#define STATE_LEN     24u
#define KEYS          200000u
#define CACHE_BYTES   67108864u
#define LOG_BYTES     16777216u
#define BUFFER_BYTES  1048576u
#define PAGE_BYTES    4096u

static struct kv_record bench_records[BATCH_LEN_MAX];
static uint32_t bench_results[BATCH_LEN_MAX];
static char bench_keys[BATCH_LEN_MAX][KEY_LEN + 1];
static char bench_value[HEADER_LEN + VALUE_LEN];

/* Keys all over the range, the same ones for both. */
static void bench_fill(uint32_t count, uint64_t batch)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = ((batch * count + i) * 0x9e3779b97f4a7c15ull >> 20) % KEYS;
        (void)snprintf(bench_keys[i], KEY_LEN + 1, "%016llx", (unsigned long long)key);
        bench_records[i] = (struct kv_record){.key = bench_keys[i],
                                              .key_len = KEY_LEN,
                                              .value = bench_value,
                                              .value_len = VALUE_LEN,
                                              .kind = KV_RECORD_INSERT,
                                              .position = {1, batch + 1},
                                              .client = 7,
                                              .request = batch};
        memcpy(bench_value, &batch, sizeof(batch));
    }
}

static DB *bench_open_db(DB_ENV *env, const char *name)
{
    DB *db;
    bench_require(db_create(&db, env, 0) == 0, "db_create");
    bench_require(db->set_flags(db, DB_CHKSUM) == 0, "set_flags");
    bench_require(db->set_pagesize(db, PAGE_BYTES) == 0, "set_pagesize");
    bench_require(db->open(db, NULL, name, NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0600) == 0,
                  name);
    return db;
}

static void bench_put(DB *db, DB_TXN *txn, char *key_bytes, uint32_t key_len, uint32_t value_len)
{
    DBT key = {.data = key_bytes, .size = key_len};
    DBT value = {.data = bench_value, .size = value_len};
    bench_require(db->put(db, txn, &key, &value, 0) == 0, "put");
}

/* Batches per second straight into Berkeley DB; same: all that the plugin has to store. */
static double bench_raw(const char *path, uint32_t sync, uint32_t count, uint32_t batches,
                        bool same)
{
    static char state_key[] = "state";
    DB_ENV *env;
    bench_require(mkdir(path, 0700) == 0, path);
    bench_require(db_env_create(&env, 0) == 0, "db_env_create");
    bench_require(env->set_cachesize(env, 0, CACHE_BYTES, 1) == 0, "set_cachesize");
    bench_require(env->set_lg_bsize(env, BUFFER_BYTES) == 0, "set_lg_bsize");
    bench_require(env->set_lg_max(env, LOG_BYTES) == 0, "set_lg_max");
    bench_require(
        env->open(env, path,
                  DB_CREATE | DB_PRIVATE | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL | DB_RECOVER,
                  0600) == 0,
        "open");
    DB *db = bench_open_db(env, "raw.db");
    DB *state = bench_open_db(env, "state.db");
    double seconds = 0;
    for (uint32_t i = 0; i < batches; i++) {
        bench_fill(count, i);
        double start = bench_now();
        DB_TXN *txn;
        bench_require(env->txn_begin(env, NULL, &txn, sync) == 0, "txn_begin");
        for (uint32_t k = 0; k < count; k++) {
            bench_put(db, txn, bench_keys[k], KEY_LEN, same ? HEADER_LEN + VALUE_LEN : VALUE_LEN);
        }
        if (same) {
            bench_put(state, txn, state_key, sizeof(state_key) - 1, STATE_LEN);
        }
        bench_require(txn->commit(txn, sync) == 0, "commit");
        seconds += bench_now() - start;
    }
    (void)state->close(state, DB_NOSYNC);
    (void)db->close(db, DB_NOSYNC);
    (void)env->close(env, 0);
    kit_folder_remove(path);
    return batches / seconds;
}

/* Batches per second of the plugin, and the longest of its calls. */
static double bench_plugin(struct kit_host *host, const char *path, const char *sync,
                           uint32_t count, uint32_t batches, double *longest)
{
    const struct kit_options options = {sync, "67108864", "16777216", "67108864"};
    struct kit_store store;
    double seconds = 0;
    bench_require(kit_open(&store, host, path, &options) == KV_OK, path);
    for (uint32_t i = 0; i < batches; i++) {
        bench_fill(count, i);
        double start = bench_now();
        bench_require(store.ops->apply(store.self, bench_records, count,
                                       (struct kv_position){1, i + 1}, bench_results) == KV_OK,
                      "apply");
        double took = bench_now() - start;
        seconds += took;
        *longest = took > *longest ? took : *longest;
    }
    kit_close(&store);
    kit_folder_remove(path);
    return batches / seconds;
}

/* Sorts and prints minimum, median, maximum. */
static void bench_print(const char *name, double ratio[ROUNDS])
{
    qsort(ratio, ROUNDS, sizeof(double), bench_compare);
    printf("  / %s %.0f %.0f %.0f %%", name, 100 * ratio[0], 100 * ratio[ROUNDS / 2],
           100 * ratio[ROUNDS - 1]);
}

static void bench_size(struct kit_host *host, const char *folder, const char *sync, uint32_t count,
                       uint32_t batches)
{
    double plugin[ROUNDS];
    double to_pairs[ROUNDS];
    double to_same[ROUNDS];
    double longest = 0;
    char path[KIT_PATH_LEN_MAX];
    uint32_t flag = strcmp(sync, "always") == 0 ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC;
    (void)snprintf(path, sizeof(path), "%s/bench", folder);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double rates[3]; /* plugin, pairs, same; each goes first in every third round */
        for (uint32_t turn = 0; turn < 3; turn++) {
            uint32_t which = (round + turn) % 3;
            rates[which] = which == 0 ? bench_plugin(host, path, sync, count, batches, &longest)
                                      : bench_raw(path, flag, count, batches, which == 2);
        }
        plugin[round] = rates[0];
        to_pairs[round] = rates[0] / rates[1];
        to_same[round] = rates[0] / rates[2];
    }
    qsort(plugin, ROUNDS, sizeof(double), bench_compare);
    printf("%4u records: plugin %.0f/s", count, plugin[ROUNDS / 2]);
    bench_print("pairs", to_pairs);
    bench_print("same", to_same);
    printf("  longest %.1f ms\n", 1000 * longest);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct kit_host host;
    if (argc < 2 || mkdir(argv[1], 0700) != 0) {
        fprintf(stderr, "usage: bench_persist_bdb NEW_FOLDER [never]\n");
        return 2;
    }
    const char *sync = argc > 2 ? "never" : "always";
    kit_host_init(&host);
    /* Turns of a length that says something: without waiting for the disk the short ones are over
     * in no time. */
    bool waits = argc <= 2;
    bench_size(&host, argv[1], sync, 1, waits ? 500 : 50000);
    bench_size(&host, argv[1], sync, 16, waits ? 500 : 5000);
    bench_size(&host, argv[1], sync, 256, waits ? 100 : 400);
    bench_size(&host, argv[1], sync, 4096, waits ? 15 : 40);
    kit_folder_remove(argv[1]);
    kit_host_close(&host);
    return 0;
}

/*
 * Figures for README.md, not a test: the plugin's apply() beside the same upserts written straight
 * with libmongoc in one ordered bulk, with the same write concern, against the server of
 * KV_MONGO_URI. The two take turns; ratios of the same round count.
 *
 *     server/with_mongo.sh CACHE bench_persist_mongo
 */
#include "kit.h"

#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS    9u
#define KEYS      20000u
#define VALUE_LEN 100u
#define BATCH_MAX 1024u

static char bench_value[VALUE_LEN + 1];

static void bench_raw(mongoc_collection_t *collection, mongoc_write_concern_t *concern,
                      uint32_t batch, uint64_t *index)
{
    bson_t options = BSON_INITIALIZER;
    bson_t upsert = BSON_INITIALIZER;
    bson_error_t error;
    BSON_APPEND_BOOL(&upsert, "upsert", true);
    mongoc_write_concern_append(concern, &options);
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(collection, &options);
    for (uint32_t i = 0; i < batch; i++) {
        char key[24];
        bson_t selector = BSON_INITIALIZER;
        bson_t document = BSON_INITIALIZER;
        int len = snprintf(key, sizeof(key), "key-%012u", (unsigned)(++*index % KEYS));
        BSON_APPEND_BINARY(&selector, "_id", BSON_SUBTYPE_BINARY, (const uint8_t *)key,
                           (uint32_t)len);
        bson_append_utf8(&document, "value", -1, bench_value, VALUE_LEN);
        mongoc_bulk_operation_replace_one_with_opts(bulk, &selector, &document, &upsert, &error);
        bson_destroy(&document);
        bson_destroy(&selector);
    }
    if (mongoc_bulk_operation_execute(bulk, NULL, &error) == 0) {
        fprintf(stderr, "raw: %s\n", error.message);
        exit(1);
    }
    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(&upsert);
    bson_destroy(&options);
}

static void bench_plugin(struct kit_store *store, uint32_t batch, uint64_t *index)
{
    static struct kv_record records[BATCH_MAX];
    static char keys[BATCH_MAX][24];
    for (uint32_t i = 0; i < batch; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%012u", (unsigned)(++*index % KEYS));
        records[i] = kit_record(*index, keys[i], bench_value);
    }
    if (kit_apply(store, records, batch, (struct kv_position){1, *index}, NULL) != KV_OK) {
        fprintf(stderr, "plugin: %s\n", store->host->log);
        exit(1);
    }
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static struct kit_host host;
    static const uint32_t batches[] = {1, 16, 64, 1024};
    struct kit_store store;
    const char *const settings[] = {"collection=bench_plugin", NULL};
    mongoc_init();
    mongoc_client_t *client = mongoc_client_new(kit_uri());
    mongoc_collection_t *collection = mongoc_client_get_collection(client, "kvnode", "bench_raw");
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    mongoc_write_concern_set_w(concern, MONGOC_WRITE_CONCERN_W_MAJORITY);
    mongoc_write_concern_set_journal(concern, true);
    memset(bench_value, 'v', VALUE_LEN);
    kit_host_init(&host);
    kit_create(&store, &host, KV_OK, settings);
    if (kit_open(&store) != KV_OK) {
        fprintf(stderr, "%s\n", host.log);
        return 1;
    }
    uint64_t raw_index = 0;
    uint64_t plugin_index = 0;
    for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
        uint32_t calls = batches[b] >= 64 ? 20 + 4096 / batches[b] : 300;
        double ratios[ROUNDS];
        double rate = 0;
        for (uint32_t round = 0; round < ROUNDS + 1; round++) { /* the first one warms up */
            uint64_t begin_ms = kit_now_ms();
            for (uint32_t i = 0; i < calls; i++) {
                bench_raw(collection, concern, batches[b], &raw_index);
            }
            uint64_t middle_ms = kit_now_ms();
            for (uint32_t i = 0; i < calls; i++) {
                bench_plugin(&store, batches[b], &plugin_index);
            }
            uint64_t end_ms = kit_now_ms();
            if (round > 0) {
                ratios[round - 1] = (double)(middle_ms - begin_ms) / (double)(end_ms - middle_ms);
                rate = (double)calls * batches[b] * 1000.0 / (double)(end_ms - middle_ms);
            }
        }
        qsort(ratios, ROUNDS, sizeof(ratios[0]), bench_compare);
        printf("batch %4u: plugin/raw min %.2f median %.2f max %.2f (%.0f records/s in the last "
               "round)\n",
               batches[b], ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1], rate);
    }
    kit_destroy(&store);
    mongoc_write_concern_destroy(concern);
    mongoc_collection_destroy(collection);
    mongoc_client_destroy(client);
    return 0;
}

#include "workload.h"

#include "base/hash.h"
#include "base/rand.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORKLOAD_VALUE_MAX 3000u
#define WORKLOAD_VIEW      40u /* batches of one view */

void workload_init(struct workload *workload, uint64_t seed)
{
    workload->seed = seed;
    workload->batch = 0;
    workload->next = (struct kv_position){1, 1};
}

static void workload_add(struct rand *rand, uint64_t number, struct batch *batch)
{
    char key[32];
    char value[WORKLOAD_VALUE_MAX + 64];
    snprintf(key, sizeof(key), "key-%02" PRIu64, rand_below(rand, WORKLOAD_KEYS));
    if (rand_percent(rand, 25)) {
        batch_add(batch, KV_RECORD_REMOVE, key, strlen(key), NULL, 0);
        return;
    }
    int len = snprintf(value, sizeof(value), "value %" PRIu64 " of batch %" PRIu64 " ",
                       batch->next.index, number);
    size_t filled = (size_t)len;
    uint64_t more = rand_percent(rand, 20) ? rand_below(rand, WORKLOAD_VALUE_MAX) : 0;
    for (uint64_t i = 0; i < more; i++) {
        value[filled++] = (char)('a' + (i + number) % 26);
    }
    batch_add(batch, KV_RECORD_INSERT, key, strlen(key), value, filled);
}

void workload_next(struct workload *workload, struct batch *ret_batch)
{
    uint64_t number = ++workload->batch;
    struct rand rand = {hash_bytes_seeded(workload->seed, &number, sizeof(number))};
    uint64_t count = rand_percent(&rand, 40) ? 1 : 1 + rand_below(&rand, WORKLOAD_RECORDS_MAX);
    if (number % WORKLOAD_VIEW == 0) {
        workload->next.view++;
    }
    batch_init(ret_batch, workload->next);
    for (uint64_t i = 0; i < count; i++) {
        workload_add(&rand, number, ret_batch);
    }
    workload->next = ret_batch->next;
}

/* Two instances in one process have nothing in common. */
#include "cases.h"
#include "workload.h"

#include <pthread.h>

#define PAIR_BATCHES 40

static void pair_step(struct kit_store *store, struct workload *workload)
{
    struct batch batch;
    workload_next(workload, &batch);
    kit_apply_batch(store, &batch, false);
    batch_close(&batch);
}

static void pair_interleaved(struct kit *kit)
{
    struct kit_store *one = kit_new(kit);
    struct kit_store *two = kit_new(kit);
    struct workload of_one;
    struct workload of_two;
    workload_init(&of_one, kit->request->seed);
    workload_init(&of_two, kit->request->seed + 1);
    for (int i = 0; i < PAIR_BATCHES; i++) {
        pair_step(one, &of_one);
        if (i % 3 != 2) {
            pair_step(two, &of_two);
        }
        if (i % 10 == 9) {
            kit_reopen(i % 20 == 9 ? one : two);
        }
    }
    kit_reopen(one);
    kit_reopen(two);
    kit_expect(two);
    kit_expect(one);
    kit_end(one);
    kit_reopen(two); /* the other's end does it no harm */
    kit_expect(two);
    kit_end(two);
}

/* One node's persistence thread: the whole life of an instance. */
static void *pair_live(void *ctx)
{
    struct kit_store *store = ctx;
    struct workload workload;
    workload_init(&workload, store->place.number);
    kit_create(store);
    kit_open(store);
    for (int i = 0; i < PAIR_BATCHES; i++) {
        pair_step(store, &workload);
        if (i % 10 == 9) {
            kit_reopen(store);
            kit_expect(store);
        }
    }
    kit_destroy(store);
    return NULL;
}

static void pair_threads(struct kit *kit)
{
    struct kit_store *stores[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        struct kit_place place;
        kit_place_make(kit, &place);
        stores[i] = kit_store_at(kit, &place);
    }
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, pair_live, stores[i]) != 0) {
            kit_fail("the kit cannot start a thread");
        }
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        kit_store_drop(stores[i]);
    }
}

static const struct check_case pair_cases[] = {
    {"two instances in turns keep their content apart", pair_interleaved, 0, 0},
    {"three instances on three threads at once keep their content apart", pair_threads, 0, 0},
};

const struct check_group group_pair = {"pair", KV_KIND_PERSIST, CASES_OF(pair_cases)};

/* The parts of the client library that need no loop: table, wheel, queue. */
#include "queue.h"
#include "request.h"
#include "table.h"
#include "wheel.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- table ---- */

static void test_table_against_a_plain_array(void **state)
{
    (void)state;
    enum { LEN = 4000 };
    static struct request *model[LEN];
    static struct request some[8];
    memset(model, 0, sizeof(model));
    struct rand rand = {1};
    struct table table;
    table_init(&table);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t id = 1u + rand_below(&rand, LEN - 1u);
        assert_ptr_equal(table_find(&table, id), model[id]);
        if (model[id] != NULL) {
            table_remove(&table, id);
            model[id] = NULL;
        } else {
            model[id] = &some[i % 8u];
            table_put(&table, id, model[id]);
        }
    }
    for (uint64_t id = 1; id < LEN; id++) {
        assert_ptr_equal(table_find(&table, id), model[id]);
    }
    assert_null(table_find(&table, 0));
    table_close(&table);
}

/* Old requests stay while the ids run on: nothing is lost when the ids wrap around the slots. */
static void test_table_keeps_old_ids(void **state)
{
    (void)state;
    static struct request old, young;
    struct table table;
    table_init(&table);
    for (uint64_t id = 1; id <= 1000; id++) {
        table_put(&table, id, &old);
    }
    for (uint64_t id = 1001; id < 100000; id++) {
        table_put(&table, id, &young);
        table_remove(&table, id);
    }
    for (uint64_t id = 1; id <= 1000; id++) {
        assert_ptr_equal(table_find(&table, id), &old);
    }
    assert_int_equal(table.len, 1000);
    table_close(&table);
}

/* ---- wheel ---- */

struct wheel_world {
    struct wheel wheel;
    uint64_t now_ms;
    uint32_t expired;
    uint32_t too_early;
    uint32_t too_late;
    struct wheel_entry *renew; /* put back into the wheel by the callback */
};

static void wheel_world_on_expired(void *ctx, struct wheel_entry *entry)
{
    struct wheel_world *world = ctx;
    world->expired++;
    world->too_early += entry->deadline_ms > world->now_ms;
    world->too_late += entry->deadline_ms + 3u * WHEEL_TICK_MS < world->now_ms;
    if (entry == world->renew) {
        world->renew = NULL;
        entry->deadline_ms = world->now_ms; /* has passed already */
        wheel_add(&world->wheel, entry, world->now_ms);
    }
}

static void test_wheel_expires_at_the_deadline(void **state)
{
    (void)state;
    enum { LEN = 2000 };
    static struct wheel_entry entries[LEN];
    struct wheel_world world = {.now_ms = 123456789};
    struct rand rand = {7};
    wheel_init(&world.wheel);
    uint32_t removed = 0;
    for (uint32_t i = 0; i < LEN; i++) {
        list_init(&entries[i].link);
        entries[i].deadline_ms = world.now_ms + rand_below(&rand, 20000); /* several rounds */
        wheel_add(&world.wheel, &entries[i], world.now_ms);
    }
    while (world.now_ms < 123456789u + 21000u) {
        world.now_ms += rand_below(&rand, 10);
        struct wheel_entry *entry = &entries[rand_below(&rand, LEN)];
        if (!list_is_empty(&entry->link) && rand_percent(&rand, 10)) {
            wheel_remove(&world.wheel, entry);
            removed++;
        }
        wheel_advance(&world.wheel, world.now_ms, wheel_world_on_expired, &world);
    }
    assert_int_equal(world.expired + removed, LEN);
    assert_true(removed > 50);
    assert_int_equal(world.too_early, 0);
    assert_int_equal(world.too_late, 0);
    assert_int_equal(world.wheel.len, 0);
    wheel_close(&world.wheel);
}

/* The process stood still for longer than the wheel has slots. */
static void test_wheel_after_a_long_pause(void **state)
{
    (void)state;
    struct wheel_entry near = {.deadline_ms = 1010};
    struct wheel_entry far = {.deadline_ms = 100000000};
    struct wheel_world world = {.now_ms = 1000};
    wheel_init(&world.wheel);
    wheel_add(&world.wheel, &near, world.now_ms);
    wheel_add(&world.wheel, &far, world.now_ms);
    world.renew = &near;
    world.now_ms = 50000000;
    wheel_advance(&world.wheel, world.now_ms, wheel_world_on_expired, &world);
    world.now_ms += 2u * WHEEL_TICK_MS;
    wheel_advance(&world.wheel, world.now_ms, wheel_world_on_expired, &world);
    assert_int_equal(world.expired, 2); /* and once more, renewed */
    assert_int_equal(world.too_early, 0);
    assert_ptr_equal(wheel_take(&world.wheel), &far);
    assert_null(wheel_take(&world.wheel));
    wheel_close(&world.wheel);
}

/* ---- queue ---- */

static void test_queue_order(void **state)
{
    (void)state;
    static struct request requests[8];
    struct queue queue;
    queue_init(&queue);
    for (uint32_t i = 0; i < 8; i++) {
        requests[i].order = i;
        list_init(&requests[i].in_queue);
    }
    queue_push(&queue, &requests[6]);
    queue_push(&queue, &requests[7]);
    static const uint32_t came_back[6] = {3, 0, 1, 5, 4, 2};
    for (uint32_t i = 0; i < 6; i++) {
        requests[came_back[i]].was_sent = true;
        queue_push(&queue, &requests[came_back[i]]);
    }
    for (uint32_t i = 0; i < 8; i++) {
        struct request *first = queue_first(&queue);
        assert_ptr_equal(first, &requests[i]);
        list_remove(&first->in_queue);
    }
    assert_null(queue_first(&queue));
}

static void test_queue_hold_and_probe(void **state)
{
    (void)state;
    static struct request probe;
    struct queue queue;
    queue_init(&queue);
    assert_true(queue_is_open(&queue, 100));
    queue_hold(&queue, 150, false);
    queue_end_hold_for_view(&queue); /* the view has nothing to do with it */
    assert_false(queue_is_open(&queue, 149));
    assert_true(queue_is_open(&queue, 150));
    queue.probe = &probe;
    assert_false(queue_is_open(&queue, 150));
    queue.is_probing = false;
    assert_true(queue_is_open(&queue, 150));
    queue.probe = NULL;
    queue_hold(&queue, 400, true);
    assert_false(queue_is_open(&queue, 200));
    queue_end_hold_for_view(&queue);
    assert_true(queue_is_open(&queue, 200));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_against_a_plain_array),
        cmocka_unit_test(test_table_keeps_old_ids),
        cmocka_unit_test(test_wheel_expires_at_the_deadline),
        cmocka_unit_test(test_wheel_after_a_long_pause),
        cmocka_unit_test(test_queue_order),
        cmocka_unit_test(test_queue_hold_and_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

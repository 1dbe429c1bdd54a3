/*
 * The persistence thread with a plugin that is part of this program: order, pieces, back-pressure,
 * failures, reopening, stopping at any moment.
 */
#include "worker_kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void test_load_in_pieces(void **state)
{
    (void)state;
    plan.load_records = 6000; /* some 20 MiB */
    worker_start_and_load();
    assert_int_equal(told.loaded_records, 6000);
    assert_true(told.loaded_bytes == seen.emitted_bytes);
    assert_in_range(told.pieces, 15, 30);
    assert_true(told.position.view == 3 && told.position.index == 1000);
    worker_stop();
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_load_nothing(void **state)
{
    (void)state;
    worker_start_and_load();
    assert_int_equal(told.pieces, 0);
    assert_true(told.position.index == 1000);
    worker_stop();
}

static void test_store_that_cannot_load(void **state)
{
    (void)state;
    worker_plugin.descriptor.capabilities = 0;
    plan.load_records = 10;
    worker_start_and_load();
    assert_int_equal(told.loaded_records, 0);
    assert_true(told.position.view == 0 && told.position.index == 0);
    assert_int_equal(worker_apply(1, 1), KV_OK);
    worker_stop();
}

static void expect_failed(bool is_create, int32_t status, const char *error)
{
    worker_start();
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(told.has_failed && !told.is_loaded);
    assert_int_equal(told.failed_in_create, is_create);
    assert_int_equal(told.status, status);
    assert_string_equal(told.error, error);
}

static void test_create_refused(void **state)
{
    (void)state;
    plan.create_status = KV_E_INVALID;
    expect_failed(true, KV_E_INVALID, "no such setting, please");
    assert_true(seen.opens == 0 && seen.destroys == 0);
}

static void test_open_corrupt(void **state)
{
    (void)state;
    plan.open_statuses[0] = KV_E_CORRUPT;
    expect_failed(false, KV_E_CORRUPT, "block 17 is unreadable");
    assert_true(seen.opens == 1 && seen.closes == 0 && seen.destroys == 1);
}

static void test_load_fails_half_way(void **state)
{
    (void)state;
    plan.load_records = 1000;
    plan.load_status = KV_E_CORRUPT;
    expect_failed(false, KV_E_CORRUPT, "stored data is damaged (KV_E_CORRUPT)");
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_apply(void **state)
{
    (void)state;
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 7), KV_OK);
    assert_int_equal(seen.count, 7);
    assert_true(seen.position.view == 4 && seen.position.index == 1);
    for (uint32_t i = 0; i < 7; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%u", i);
        assert_string_equal(seen.keys[i], key);
        assert_int_equal(seen.records[i].kind, KV_RECORD_REMOVE);
        assert_null(seen.records[i].value);
        assert_true(seen.records[i].client == 77 && seen.records[i].request == i);
        assert_true(seen.records[i].position.index == i + 1);
    }
    assert_int_equal(worker_apply(2, 0), KV_OK); /* only the position */
    assert_int_equal(seen.count, 0);
    assert_true(seen.position.index == 2);
    assert_int_equal(worker_apply(3, 64), KV_OK);
    assert_int_equal(seen.count, 64);
    worker_stop();
    assert_int_equal(seen.applies, 3);
}

static void test_failure_that_needs_no_reopening(void **state)
{
    (void)state;
    plan.apply_statuses[0] = KV_E_RETRY;
    plan.apply_results[1] = KV_RESULT_RETRY;
    plan.apply_results[2] = KV_RESULT_REFUSED;
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 2), KV_E_RETRY);
    assert_string_equal(told.error, "the disk is full");
    assert_int_equal(worker_apply(2, 2), KV_E_RETRY);
    assert_non_null(strstr(told.error, "record 1 of 2"));
    assert_int_equal(worker_apply(3, 2), KV_OK); /* refused for good is no failure */
    assert_int_equal(told.refusals_len, 1);
    assert_int_equal(worker_apply(4, 2), KV_OK);
    assert_true(seen.opens == 1 && seen.closes == 0);
    worker_stop();
}

/* After KV_E_IO the store is closed; it is opened again not before its pause is over, twice in
 * vain here, and until then batches get the reason. */
static void test_failure_that_needs_reopening(void **state)
{
    (void)state;
    plan.apply_statuses[0] = KV_E_IO;
    plan.open_statuses[1] = KV_E_IO;
    plan.open_statuses[2] = KV_E_CORRUPT;
    worker_start_and_load();
    uint64_t start_ms = uv_hrtime() / 1000000;
    assert_int_equal(worker_apply(1, 2), KV_E_IO);
    assert_string_equal(told.error, "the disk is full");
    assert_int_equal(seen.closes, 1);
    assert_int_equal(worker_apply(2, 2), KV_E_IO);
    assert_string_equal(told.error, "the disk is full");
    uint64_t number = 3;
    bool was_corrupt = false;
    while (worker_apply(number, 2) != KV_OK) {
        assert_true(told.status == KV_E_IO || told.status == KV_E_CORRUPT);
        assert_true(uv_hrtime() / 1000000 - start_ms < KIT_DEADLINE_MS);
        was_corrupt = was_corrupt || told.status == KV_E_CORRUPT;
        number++;
    }
    assert_true(was_corrupt);
    assert_int_equal(seen.opens, 4);
    assert_int_equal(seen.applies, 2);
    assert_true(uv_hrtime() / 1000000 - start_ms >= 100 + 200 + 400);
    worker_stop();
    assert_true(seen.closes == 2 && seen.destroys == 1);
}

static void test_broken_contract_is_reopened(void **state)
{
    (void)state;
    plan.apply_statuses[0] = 12345;
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 1), KV_E_CONTRACT);
    uint64_t number = 2;
    uint64_t start_ms = uv_hrtime() / 1000000;
    while (worker_apply(number++, 1) != KV_OK) {
        assert_true(uv_hrtime() / 1000000 - start_ms < KIT_DEADLINE_MS);
    }
    assert_int_equal(seen.opens, 2);
    worker_stop();
}

static void test_stop_during_load(void **state)
{
    (void)state;
    plan.load_records = 6000;
    told.stop_at_first_piece = true;
    worker_start();
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(seen.load_was_stopped);
    assert_true(told.pieces == 1 && !told.is_loaded && !told.has_failed);
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_stop_waits_for_the_batch(void **state)
{
    (void)state;
    struct persist_worker_batch batch = {.number = 9, .position = {4, 9}};
    plan.hold_apply = true;
    worker_start_and_load();
    persist_worker_apply(told.worker, &batch);
    persist_worker_stop(told.worker);
    while (!seen.is_in_apply) {
        uv_run(&told.loop, UV_RUN_NOWAIT);
    }
    for (unsigned i = 0; i < 100; i++) {
        uv_run(&told.loop, UV_RUN_NOWAIT);
    }
    assert_true(told.outcomes == 0 && !told.is_stopped && seen.closes == 0);
    pthread_mutex_lock(&seen.lock);
    seen.release = true;
    pthread_cond_signal(&seen.wake);
    pthread_mutex_unlock(&seen.lock);
    kit_run_until(&told.loop, &told.is_stopped);
    assert_true(told.outcomes == 1 && told.batch == 9 && told.status == KV_OK);
    assert_true(seen.closes == 1 && seen.destroys == 1);
}

static void test_stop_at_once(void **state)
{
    (void)state;
    worker_start();
    worker_stop();
    assert_true(seen.opens == seen.closes && seen.destroys == 1);
    assert_false(told.has_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load_in_pieces, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_load_nothing, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_store_that_cannot_load, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_create_refused, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_open_corrupt, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_load_fails_half_way, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_apply, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_failure_that_needs_no_reopening, worker_setup,
                                        worker_teardown),
        cmocka_unit_test_setup_teardown(test_failure_that_needs_reopening, worker_setup,
                                        worker_teardown),
        cmocka_unit_test_setup_teardown(test_broken_contract_is_reopened, worker_setup,
                                        worker_teardown),
        cmocka_unit_test_setup_teardown(test_stop_during_load, worker_setup, worker_teardown),
        cmocka_unit_test_setup_teardown(test_stop_waits_for_the_batch, worker_setup,
                                        worker_teardown),
        cmocka_unit_test_setup_teardown(test_stop_at_once, worker_setup, worker_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The persistence thread with a store that refuses, must be emptied, belongs to several nodes, or
 * has lost something; and what the log says while it fails.
 */
#include "worker_kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct persist_worker_batch incomplete = {.position = {0, 0}};
static const struct persist_worker_batch with_reset = {.position = {4, 50}, .reset = true};

/* --- refusals --- */

static void test_refusals(void **state)
{
    (void)state;
    plan.apply_results[0] = KV_RESULT_REFUSED;
    plan.apply_results[1] = KV_RESULT_REFUSED;
    plan.apply_reason = "no such table\nhere";
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 5), KV_OK);
    assert_int_equal(told.refusals_len, 1);
    assert_int_equal(told.refused[0], 0);
    assert_string_equal(told.reason, "no such table here");
    assert_int_equal(worker_apply(2, 1), KV_OK);
    assert_int_equal(told.refusals_len, 1);
    assert_int_equal(worker_apply(3, 1), KV_OK);
    assert_int_equal(told.refusals_len, 0);
    worker_stop();
    assert_true(seen.opens == 1);
}

/* --- reset --- */

static void test_reset_once_before_the_batch(void **state)
{
    (void)state;
    worker_plugin.descriptor.capabilities = KV_PERSIST_RESET;
    plan.apply_statuses[0] = KV_E_RETRY;
    worker_start_and_load();
    /* The batch fails and comes again: the store is empty already. */
    assert_int_equal(worker_apply_like(1, 1, &with_reset), KV_E_RETRY);
    assert_int_equal(worker_apply_like(2, 1, &with_reset), KV_OK);
    assert_int_equal(worker_apply(51, 1), KV_OK);
    assert_string_equal(seen.order, "ORAAA");
    /* Later, when it holds something, it is opened anew for it. */
    assert_int_equal(worker_apply_like(52, 1, &with_reset), KV_OK);
    assert_string_equal(seen.order, "ORAAACORA");
    worker_stop();
}

static void test_reset_again_after_reopening(void **state)
{
    (void)state;
    uint64_t number = 2;
    worker_plugin.descriptor.capabilities = KV_PERSIST_RESET;
    plan.apply_statuses[0] = KV_E_IO;
    plan.reset_statuses[1] = KV_E_IO;
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &with_reset), KV_E_IO);
    worker_apply_until_stored(&number, &with_reset);
    assert_string_equal(seen.order, "ORACORCORA");
    assert_false(told.has_failed); /* it is not behind: it was emptied */
    worker_stop();
}

static void test_no_reset_of_a_store_that_loads(void **state)
{
    (void)state;
    worker_plugin.descriptor.capabilities = KV_PERSIST_LOAD | KV_PERSIST_RESET;
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &with_reset), KV_OK);
    assert_string_equal(seen.order, "OA");
    worker_stop();
}

/* --- a store of several nodes --- */

static void test_shared(void **state)
{
    (void)state;
    static const struct kv_setting settings[] = {{"path", "shared"}, {"scope", "shared"}};
    struct persist_worker_batch batch = with_reset;
    worker_plugin.descriptor.capabilities = KV_PERSIST_SHARED | KV_PERSIST_RESET;
    worker_plugin.descriptor.options_len = 2;
    plan.settings = settings;
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 3, &batch), KV_OK);
    assert_string_equal(seen.order, "O"); /* another node writes it */
    batch.is_primary = true;
    batch.reset = false;
    assert_int_equal(worker_apply_like(2, 3, &batch), KV_OK);
    assert_string_equal(seen.order, "OA");
    worker_stop();
}

static const struct kv_setting shared_settings[] = {{"scope", "shared"}};

static void start_shared(void)
{
    worker_plugin.descriptor.capabilities = KV_PERSIST_SHARED | KV_PERSIST_LOAD;
    worker_plugin.descriptor.options_len = 1;
    plan.settings = shared_settings;
    worker_start_and_load();
}

/* The view that a shared store is told is the writer's, also with records from before it: so it can
 * tell the primary before from the new one. */
static void test_shared_is_told_who_writes(void **state)
{
    (void)state;
    struct persist_worker_batch batch = {.position = {4, 20}, .is_primary = true, .view = 7};
    start_shared();
    assert_int_equal(worker_apply_like(1, 0, &batch), KV_OK);
    assert_true(seen.position.view == 7 && seen.position.index == 20);
    batch.position = (struct kv_position){8, 21};
    assert_int_equal(worker_apply_like(2, 1, &batch), KV_OK);
    assert_true(seen.position.view == 8 && seen.position.index == 21);
    batch.position = (struct kv_position){0, 0}; /* not complete is not complete */
    assert_int_equal(worker_apply_like(3, 1, &batch), KV_OK);
    assert_true(seen.position.view == 0 && seen.position.index == 0);
    worker_stop();
}

static void test_own_is_told_the_records_view(void **state)
{
    (void)state;
    const struct persist_worker_batch batch = {.position = {4, 20}, .is_primary = true, .view = 7};
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &batch), KV_OK);
    assert_true(seen.position.view == 4 && seen.position.index == 20);
    assert_string_equal(seen.order, "OA");
    worker_stop();
}

/* The store refuses the primary before; that has its batch again when it knows that it is none, and
 * is not held up by it then. */
static void test_shared_deposed(void **state)
{
    (void)state;
    struct persist_worker_batch batch = {.position = {4, 20}, .is_primary = true, .view = 7};
    plan.apply_statuses[1] = KV_E_REJECTED;
    plan.apply_statuses[2] = KV_E_REJECTED;
    start_shared();
    assert_int_equal(worker_apply_like(1, 1, &batch), KV_OK);
    assert_int_equal(worker_apply_like(2, 1, &batch), KV_E_REJECTED);
    assert_int_equal(worker_apply_like(3, 1, &batch), KV_E_REJECTED);
    batch.is_primary = false;
    assert_int_equal(worker_apply_like(4, 1, &batch), KV_OK);
    assert_int_equal(seen.applies, 3);
    assert_string_equal(seen.order, "OCOAAA"); /* nor is it a store in a bad way */
    batch.is_primary = true;                   /* and once more primary */
    batch.view = 9;
    assert_int_equal(worker_apply_like(5, 1, &batch), KV_OK);
    assert_true(seen.position.view == 9 && seen.position.index == 20);
    worker_stop();
}

/* A node that is the primary with what it has loaded, when the store has gone on meanwhile, would
 * take that back. */
static void test_shared_changed_since_it_was_loaded(void **state)
{
    (void)state;
    const struct persist_worker_batch batch = {
        .position = {3, 1000}, .is_primary = true, .view = 7};
    plan.open_positions[1] = (struct kv_position){3, 1002};
    start_shared();
    worker_apply_like(1, 0, &batch);
    assert_true(told.has_failed && told.status == KV_E_REJECTED && !told.failed_in_create);
    assert_non_null(strstr(told.error, "start this node again (position (3, 1002) now, (3, 1000) "
                                       "then"));
    assert_int_equal(seen.applies, 0);
    kit_run_until(&told.loop, &told.is_stopped);
}

/* It is looked for until the store can be opened, and not where the node has followed a primary
 * since. */
static void test_shared_changed_as_it_should(void **state)
{
    (void)state;
    struct persist_worker_batch batch = {.position = {4, 20}};
    start_shared();
    assert_int_equal(worker_apply_like(1, 1, &batch), KV_OK);
    batch.is_primary = true;
    plan.open_positions[1] = (struct kv_position){5, 1};
    assert_int_equal(worker_apply_like(2, 1, &batch), KV_OK);
    assert_string_equal(seen.order, "OA");
    worker_stop();
}

static void test_shared_cannot_be_looked_at(void **state)
{
    (void)state;
    const struct persist_worker_batch batch = {
        .position = {3, 1000}, .is_primary = true, .view = 7};
    uint64_t number = 1;
    plan.open_statuses[1] = KV_E_RETRY;
    plan.open_positions[2] = (struct kv_position){3, 1001};
    start_shared();
    worker_apply_until_stored(&number, &batch);
    assert_true(told.has_failed && told.status == KV_E_REJECTED);
    assert_true(seen.opens == 3 && seen.applies == 0);
    kit_run_until(&told.loop, &told.is_stopped);
}

/* What it has written itself, with an outcome that it did not learn, is no change by others. */
static void test_shared_changed_by_itself(void **state)
{
    (void)state;
    const struct persist_worker_batch batch = {
        .position = {3, 1000}, .is_primary = true, .view = 7};
    uint64_t number = 2;
    plan.apply_statuses[0] = KV_E_IO;
    plan.open_positions[2] = (struct kv_position){7, 1000};
    start_shared();
    assert_int_equal(worker_apply_like(1, 1, &batch), KV_E_IO);
    worker_apply_until_stored(&number, &batch);
    assert_false(told.has_failed);
    assert_string_equal(seen.order, "OCOACOA");
    worker_stop();
}

static void test_not_shared(void **state)
{
    (void)state;
    static const struct kv_setting settings[] = {{"scope", "own"}};
    worker_plugin.descriptor.capabilities = KV_PERSIST_SHARED;
    worker_plugin.descriptor.options_len = 1;
    plan.settings = settings;
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 3), KV_OK);
    assert_string_equal(seen.order, "OA");
    worker_stop();
}

/* --- a store that is behind after reopening --- */

/* Applies one batch well (to position {4, 20}), one in vain with `second`, and repeats until the
 * store was opened again, then at `reopened`. */
static void reopen_at(uint64_t capabilities, const struct persist_worker_batch *second,
                      struct kv_position reopened)
{
    static const struct persist_worker_batch first = {.position = {4, 20}};
    uint64_t number = 3;
    worker_plugin.descriptor.capabilities = capabilities;
    plan.apply_statuses[1] = KV_E_IO;
    plan.open_positions[1] = reopened;
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &first), KV_OK);
    assert_int_equal(worker_apply_like(2, 1, second), KV_E_IO);
    worker_apply_until_stored(&number, second);
    assert_int_equal(seen.opens, 2);
    if (!told.has_failed) {
        assert_int_equal(seen.applies, 3);
        worker_stop();
    } else {
        assert_int_equal(seen.applies, 2); /* nothing more is written to it */
        kit_run_until(&told.loop, &told.is_stopped);
        assert_true(seen.closes == 2 && seen.destroys == 1);
    }
}

static const struct persist_worker_batch next = {.position = {4, 21}};

static void test_behind(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &next, (struct kv_position){4, 19});
    assert_true(told.has_failed && !told.failed_in_create);
    assert_int_equal(told.status, KV_E_CORRUPT);
    assert_non_null(strstr(told.error, "position (4, 19) instead of (4, 20)"));
}

static void test_behind_by_view(void **state)
{
    (void)state;
    reopen_at(0, &next, (struct kv_position){3, 100});
    assert_true(told.has_failed);
    assert_non_null(strstr(told.error, "position (3, 100) instead of (4, 20)"));
}

static void test_empty_again(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &next, (struct kv_position){0, 0});
    assert_true(told.has_failed);
    assert_non_null(strstr(told.error, "position (0, 0) instead of (4, 20)"));
}

static void test_not_behind(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &next, (struct kv_position){4, 20});
    assert_false(told.has_failed);
}

/* The batch whose outcome was not known is there. */
static void test_ahead(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &next, (struct kv_position){4, 21});
    assert_false(told.has_failed);
}

/* A store that gives nothing back may keep no position at all. */
static void test_position_is_not_kept(void **state)
{
    (void)state;
    reopen_at(0, &next, (struct kv_position){0, 0});
    assert_false(told.has_failed);
}

/* While another node's content replaces its own, (0, 0) is what it is to have. */
static void test_incomplete_may_be_there(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &incomplete, (struct kv_position){0, 0});
    assert_false(told.has_failed);
}

static void test_incomplete_may_not_be_there(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &incomplete, (struct kv_position){4, 20});
    assert_false(told.has_failed);
}

static void test_incomplete_and_behind(void **state)
{
    (void)state;
    reopen_at(KV_PERSIST_LOAD, &incomplete, (struct kv_position){4, 19});
    assert_true(told.has_failed);
}

static void test_nothing_known_after_an_incomplete_batch(void **state)
{
    (void)state;
    uint64_t number = 3;
    plan.apply_statuses[1] = KV_E_IO;
    plan.open_positions[1] = (struct kv_position){1, 1};
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &incomplete), KV_OK);
    assert_int_equal(worker_apply_like(2, 1, &incomplete), KV_E_IO);
    worker_apply_until_stored(&number, &incomplete);
    assert_false(told.has_failed);
    worker_stop();
}

/* What the first open said counts, too. */
static void test_behind_the_first_open(void **state)
{
    (void)state;
    uint64_t number = 2;
    plan.apply_statuses[0] = KV_E_IO;
    plan.open_positions[1] = (struct kv_position){3, 999};
    worker_start_and_load();
    assert_int_equal(worker_apply(1, 1), KV_E_IO);
    worker_apply_until_stored(&number, &next);
    assert_true(told.has_failed);
    kit_run_until(&told.loop, &told.is_stopped);
}

/* --- the log --- */

static char log_text[65536];

static uint32_t log_count(const char *words)
{
    uint32_t count = 0;
    for (const char *at = strstr(log_text, words); at != NULL; at = strstr(at + 1, words)) {
        count++;
    }
    return count;
}

static void log_start(char *folder, int *ret_fd)
{
    char path[KIT_PATH_MAX];
    kit_make_folder(folder);
    kit_join(folder, "log", path);
    *ret_fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(*ret_fd >= 0);
    log_init(KV_LOG_INFO, "n1", *ret_fd);
}

static void log_end(const char *folder, int fd)
{
    char path[KIT_PATH_MAX];
    kit_join(folder, "log", path);
    log_init(KV_LOG_INFO, "", STDERR_FILENO);
    log_text[kit_read_file(path, log_text, sizeof(log_text) - 1)] = '\0';
    close(fd);
    kit_remove_folder(folder);
}

static void test_log_of_failures(void **state)
{
    (void)state;
    char folder[KIT_PATH_MAX];
    int fd;
    uint64_t number = 6;
    for (uint32_t i = 0; i < 4; i++) {
        plan.apply_statuses[i] = KV_E_RETRY;
    }
    plan.apply_statuses[4] = KV_E_IO;
    plan.open_statuses[1] = KV_E_IO;
    log_start(folder, &fd);
    worker_start_and_load();
    for (uint64_t i = 1; i <= 5; i++) {
        assert_true(worker_apply(i, 1) != KV_OK);
    }
    worker_apply_until_stored(&number, &next);
    assert_int_equal(worker_apply(number, 1), KV_OK);
    worker_stop();
    log_end(folder, fd);
    /* The plugin's line once, the worker's for each reason, one when it is over. */
    assert_int_equal(log_count("text=\"the disk is full\""), 1);
    assert_int_equal(log_count("event=store-failing"), 2);
    assert_int_equal(log_count("level=warn node=n1 module=persist event=store-failing "
                               "status=KV_E_RETRY attempts=1 for_ms=0 reason=\"the disk is full\""),
                     1);
    assert_int_equal(log_count("status=KV_E_IO attempts=6"), 1);
    assert_int_equal(log_count("reason=\"block 17 is unreadable\""), 1);
    assert_int_equal(log_count("level=info node=n1 module=persist event=store-works-again"), 1);
    assert_int_equal(log_count(" attempts=6\n"), 1);
}

static void test_log_of_a_store_that_cannot_be_emptied(void **state)
{
    (void)state;
    char folder[KIT_PATH_MAX];
    int fd;
    worker_plugin.descriptor.capabilities = 0;
    log_start(folder, &fd);
    worker_start_and_load();
    assert_int_equal(worker_apply_like(1, 1, &with_reset), KV_OK);
    assert_int_equal(worker_apply_like(2, 1, &with_reset), KV_OK);
    worker_stop();
    log_end(folder, fd);
    assert_string_equal(seen.order, "OAAC");
    assert_int_equal(log_count("level=warn"), 1);
    assert_int_equal(log_count("cannot be told of keys that were removed while this node was away"),
                     1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, worker_setup, worker_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refusals),
        TEST(test_reset_once_before_the_batch),
        TEST(test_reset_again_after_reopening),
        TEST(test_no_reset_of_a_store_that_loads),
        TEST(test_shared),
        TEST(test_shared_is_told_who_writes),
        TEST(test_own_is_told_the_records_view),
        TEST(test_shared_deposed),
        TEST(test_shared_changed_since_it_was_loaded),
        TEST(test_shared_changed_as_it_should),
        TEST(test_shared_cannot_be_looked_at),
        TEST(test_shared_changed_by_itself),
        TEST(test_not_shared),
        TEST(test_behind),
        TEST(test_behind_by_view),
        TEST(test_empty_again),
        TEST(test_not_behind),
        TEST(test_ahead),
        TEST(test_position_is_not_kept),
        TEST(test_incomplete_may_be_there),
        TEST(test_incomplete_may_not_be_there),
        TEST(test_incomplete_and_behind),
        TEST(test_nothing_known_after_an_incomplete_batch),
        TEST(test_behind_the_first_open),
        TEST(test_log_of_failures),
        TEST(test_log_of_a_store_that_cannot_be_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

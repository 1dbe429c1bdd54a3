/* A disk that fails: each system call once, or for a while, full, or out of memory. Nothing that
 * was acknowledged is lost, nothing that failed is half there, and it goes on when the fault is
 * over. */
#include "../folder.h"
#include "../format.h"
#include "../store.h"
#include "base/rand.h"
#include "fault.h"
#include "file_kit.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SEED       41u
#define BATCHES    30u
#define POINTS_MAX 5000u

static int tear_down(void **state)
{
    (void)fault_end();
    return fixture_tear_down(state);
}

/* Opens as a node does: again and again. The fault may last for `tries` attempts. */
static void open_at_last(struct fixture *fixture, int32_t expected, uint32_t tries)
{
    int32_t status = expected;
    for (uint32_t i = 0; status != KV_OK && i < tries; i++) {
        status = kit_open(&fixture->store, &fixture->host, fixture->path, NULL);
        assert_true(status == KV_OK || status == expected);
    }
    assert_int_equal(status, KV_OK);
}

/* Runs the workload as a node does: a batch that fails is repeated, then the store is reopened. */
static void run_workload(struct fixture *fixture, int32_t expected, uint32_t tries)
{
    struct kit_store *store = &fixture->store;
    open_at_last(fixture, expected, tries);
    uint64_t next = store->position.index + 1;
    for (uint32_t failures = 0; next <= BATCHES; failures++) {
        int32_t status = KV_OK;
        for (; status == KV_OK && next <= BATCHES; next += status == KV_OK) {
            status = kit_apply(store, SEED, next);
            if (next % 10 == 0) {
                (void)file_kit_wait_compacted(store);
            }
            if (status == KV_OK && next % 12 == 0) {
                kit_close(store);
                open_at_last(fixture, expected, tries);
                assert_int_equal(store->position.index, next);
            }
            /* A compaction that failed is due again at once. */
            __atomic_fetch_add(&fixture->host.now_ms, 600000, __ATOMIC_RELAXED);
        }
        if (status == KV_OK) {
            break;
        }
        assert_int_equal(status, expected);
        assert_true(kit_host_errors(&fixture->host) > 0);
        assert_true(failures < tries);
        if (failures % 2 == 1) {
            kit_close(store);
            open_at_last(fixture, expected, tries);
            assert_in_range(store->position.index, next - 1, next);
            assert_true(kit_holds(store, SEED, store->position.index));
            next = store->position.index + 1;
        }
    }
}

/* Everything is there, in a fresh instance. */
static void check_content(struct fixture *fixture)
{
    (void)fault_end();
    kit_close(&fixture->store);
    assert_int_equal(kit_open(&fixture->store, &fixture->host, fixture->path, NULL), KV_OK);
    assert_int_equal(fixture->store.position.index, BATCHES);
    assert_true(kit_holds(&fixture->store, SEED, BATCHES));
    kit_close(&fixture->store);
    kit_folder_remove(fixture->path);
}

/* Fails the n-th call for every n; `more` calls after it fail too. */
static void fail_every_call(struct fixture *fixture, uint32_t calls, int error, uint64_t more,
                            uint64_t points_least)
{
    uint64_t point = 0;
    uint64_t count = 1;
    for (; point < count; point++) {
        struct fault_plan plan = {.action = FAULT_ERROR,
                                  .calls = calls,
                                  .at = point + 1,
                                  .last = more == 0 ? 0 : point + 1 + more,
                                  .error = error,
                                  .seed = point};
        assert_in_range(point, 0, POINTS_MAX);
        kit_host_clear(&fixture->host);
        fault_begin(&plan);
        run_workload(fixture, KV_E_IO, 40);
        count = fault_end();
        check_content(fixture);
    }
    print_message("%llu points\n", (unsigned long long)point);
    assert_true(point > points_least);
}

static void test_each_call_fails_once(void **state)
{
    fail_every_call(*state, FAULT_ALL, EIO, 0, BATCHES);
}

static void test_disk_full_for_a_while(void **state)
{
    fail_every_call(*state, FAULT_WRITE, ENOSPC, 12, BATCHES);
}

static void test_each_read_fails_once(void **state)
{
    fail_every_call(*state, FAULT_READ, EIO, 0, 10);
}

static void test_each_allocation_fails(void **state)
{
    struct fixture *fixture = *state;
    uint64_t point = 1;
    for (uint64_t count = 1; point <= count; point++) {
        kit_host_clear(&fixture->host);
        fixture->host.allocations = 0;
        fixture->host.fail_allocation = point;
        run_workload(fixture, KV_E_NOMEM, 40);
        count = fixture->host.allocations;
        fixture->host.fail_allocation = 0;
        check_content(fixture);
        assert_in_range(point, 1, POINTS_MAX);
    }
    assert_true(point > 10);
}

/* After a failed fdatasync() nothing is written until the store is reopened; reopening writes the
 * doubtful batch anew before it counts on it. */
static void test_failed_sync_is_not_trusted(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    struct fault_plan plan = {.action = FAULT_ERROR, .calls = FAULT_SYNC, .at = 1, .error = EIO};
    struct fault_plan count = {.calls = FAULT_ALL};
    struct kv_position position;
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    assert_int_equal(kit_apply(store, SEED, 1), KV_OK);
    fault_begin(&plan);
    assert_int_equal(kit_apply(store, SEED, 2), KV_E_IO);
    assert_true(kit_host_has(&fixture->host, "Input/output error"));
    fault_begin(&count);
    assert_int_equal(kit_apply(store, SEED, 2), KV_E_IO);
    assert_true(kit_host_has(&fixture->host, "reopened"));
    assert_int_equal(fault_end(), 0);
    store->ops->close(store->self);
    /* While the disk still fails, open() does too. */
    fault_begin(&(struct fault_plan){
        .action = FAULT_ERROR, .calls = FAULT_SYNC, .at = 1, .last = 100, .error = EIO});
    assert_int_equal(store->ops->open(store->self, &position), KV_E_IO);
    fault_begin(&(struct fault_plan){.calls = FAULT_WRITE});
    assert_int_equal(store->ops->open(store->self, &position), KV_OK);
    assert_true(fault_end() > 0);
    assert_in_range(position.index, 1, 2);
    assert_true(kit_holds(store, SEED, position.index));
    assert_int_equal(kit_apply(store, SEED, 2), KV_OK);
}

/* After a failed write the same call may simply be repeated. */
static void test_failed_write_may_be_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    for (uint64_t i = 1; i <= 40; i++) {
        fault_begin(&(struct fault_plan){.action = FAULT_ERROR,
                                         .calls = FAULT_WRITE,
                                         .at = 1,
                                         .last = 100,
                                         .error = ENOSPC,
                                         .seed = i});
        struct store *inner = store->self;
        if (inner->active.end + 2048 < 4096) { /* not where a roll-over may come */
            assert_int_equal(kit_apply(store, SEED, i), KV_E_IO);
            assert_true(kit_host_has(&fixture->host, "No space left on device"));
            /* What was written of it is cut off. */
            struct stat stat;
            assert_int_equal(fstat(inner->active.fd, &stat), 0);
            assert_int_equal(stat.st_size, inner->active.end);
        }
        (void)fault_end();
        assert_int_equal(kit_apply(store, SEED, i), KV_OK);
        (void)file_kit_wait_compacted(store);
    }
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    assert_true(kit_holds(store, SEED, 40));
}

/* The system's own limit: EFBIG from a real write. */
static void test_file_size_limit(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    static const struct kit_options one_file = {"always", "1048576", "1048576", "4096"};
    struct rlimit before;
    int32_t status = KV_OK;
    uint64_t next = 1;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &one_file), KV_OK);
    struct rlimit limit = {10000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (; status == KV_OK && next < 100; next += status == KV_OK) {
        status = kit_apply(store, SEED, next);
    }
    int32_t again = kit_apply(store, SEED, next);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, KV_E_IO);
    assert_int_equal(again, KV_E_IO);
    assert_true(kit_host_has(&fixture->host, "File too large"));
    assert_int_equal(kit_apply(store, SEED, next), KV_OK);
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &one_file), KV_OK);
    assert_int_equal(store->position.index, next);
    assert_true(kit_holds(store, SEED, next));
}

/* A small disk that is really full, in a mount namespace of our own. */
static void test_full_disk(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    static const struct kit_options options = {"always", "1048576", "16384", "8192"};
    static char filler[160 * 1024];
    char path[KIT_PATH_LEN_MAX];
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("persist-file-test", fixture->path, "tmpfs", 0, "size=320k") != 0) {
        print_message("SKIPPED: test_full_disk needs the right to mount a tmpfs (%s)\n",
                      strerror(errno));
        skip();
    }
    kit_file_write(fixture->path, ".filler", filler, sizeof(filler));
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    int32_t status = KV_OK;
    uint64_t next = 1;
    for (; status == KV_OK && next < 5000; next += status == KV_OK) {
        status = kit_apply(store, SEED, next);
    }
    assert_int_equal(status, KV_E_IO);
    assert_true(kit_host_has(&fixture->host, "No space left on device"));
    assert_true(next > 50);
    /* Reopening works on the full disk, and nothing is lost. */
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    assert_int_equal(store->position.index, next - 1);
    assert_true(kit_holds(store, SEED, next - 1));
    /* With space again the same call works, without reopening. */
    for (; (status = kit_apply(store, SEED, next)) == KV_OK; next++) {
    }
    assert_int_equal(status, KV_E_IO);
    (void)snprintf(path, sizeof(path), "%.200s/.filler", fixture->path);
    assert_int_equal(unlink(path), 0);
    if (((struct store *)store->self)->failed) {
        kit_close(store);
        assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    }
    for (uint32_t i = 0; i < 100; i++, next++) {
        assert_int_equal(kit_apply(store, SEED, next), KV_OK);
    }
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    assert_int_equal(store->position.index, next - 1);
    assert_true(kit_holds(store, SEED, next - 1));
    kit_close(store);
    assert_int_equal(umount2(fixture->path, MNT_DETACH), 0);
}

/* A compaction that fails is told and tried again later; writers notice nothing. */
static void test_failed_compaction_is_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    char path[KIT_PATH_LEN_MAX];
    uint64_t batch = 0;
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    (void)snprintf(path, sizeof(path), "%.200s/base.tmp", fixture->path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kit_apply(store, SEED, ++batch), KV_OK);
        assert_int_equal(file_kit_wait_compacted(store), 0);
    }
    struct compact *compact = &((struct store *)store->self)->compact;
    assert_int_equal(compact->failed, 1); /* the time for the next try has not come */
    assert_true(kit_host_has(&fixture->host, "compaction failed"));
    __atomic_fetch_add(&fixture->host.now_ms, 5000, __ATOMIC_RELAXED);
    assert_int_equal(kit_apply(store, SEED, ++batch), KV_OK);
    assert_int_equal(file_kit_wait_compacted(store), 0);
    assert_int_equal(compact->failed, 2);
    assert_int_equal(rmdir(path), 0);
    __atomic_fetch_add(&fixture->host.now_ms, 10000, __ATOMIC_RELAXED);
    assert_int_equal(kit_apply(store, SEED, ++batch), KV_OK);
    assert_int_equal(file_kit_wait_compacted(store), 1);
    assert_in_range(kit_folder_files(fixture->path), 2, 4);
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    assert_true(kit_holds(store, SEED, batch));
}

/* Damage of a sealed segment that happens while the store is open stops the compaction, which
 * deletes nothing. */
static void test_compaction_refuses_damage(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    static const struct kit_options options = {"always", "20000", "4096", "0"};
    static const char first[] = "segment-000000000001";
    uint64_t batch = 0;
    size_t len;
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    while (((struct store *)store->self)->active.number < 3) {
        assert_int_equal(kit_apply(store, SEED, ++batch), KV_OK);
    }
    uint8_t *bytes = kit_file_read(fixture->path, first, &len);
    bytes[len / 2] ^= 1;
    kit_file_write(fixture->path, first, bytes, len);
    struct compact *compact = &((struct store *)store->self)->compact;
    for (uint64_t failed = 0; failed == 0;) {
        assert_in_range(batch, 0, 500);
        assert_int_equal(kit_apply(store, SEED, ++batch), KV_OK);
        (void)file_kit_wait_compacted(store);
        failed = compact->failed;
    }
    assert_true(kit_host_has(&fixture->host, "segment-000000000001 is damaged at offset"));
    assert_true(kit_file_exists(fixture->path, first));
    kit_close(store);
    bytes[len / 2] ^= 1;
    kit_file_write(fixture->path, first, bytes, len);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, &options), KV_OK);
    assert_true(kit_holds(store, SEED, batch));
    free(bytes);
}

/* A new segment that cannot be created is no reason to fail: the active one grows on. */
static void test_failed_roll_over_is_harmless(void **state)
{
    struct fixture *fixture = *state;
    struct kit_store *store = &fixture->store;
    char path[KIT_PATH_LEN_MAX];
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    (void)snprintf(path, sizeof(path), "%.200s/segment.tmp", fixture->path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (uint64_t i = 1; i <= 60; i++) {
        assert_int_equal(kit_apply(store, SEED, i), KV_OK);
    }
    assert_int_equal(kit_host_errors(&fixture->host), 1);
    assert_int_equal(rmdir(path), 0);
    kit_close(store);
    assert_int_equal(kit_open(store, &fixture->host, fixture->path, NULL), KV_OK);
    assert_true(kit_holds(store, SEED, 60));
    assert_int_equal(kit_apply(store, SEED, 61), KV_OK);
    assert_int_equal(((struct store *)store->self)->active.number, 2);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_call_fails_once),
        TEST(test_disk_full_for_a_while),
        TEST(test_each_read_fails_once),
        TEST(test_each_allocation_fails),
        TEST(test_failed_sync_is_not_trusted),
        TEST(test_failed_write_may_be_repeated),
        TEST(test_file_size_limit),
        TEST(test_failed_compaction_is_repeated),
        TEST(test_compaction_refuses_damage),
        TEST(test_failed_roll_over_is_harmless),
        TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The identity of a data folder: drawn once, kept, locked, never guessed. */
#include "host/identity.h"

#include "base/crc32c.h"
#include "kit.h"
#include "logic/node.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <kvnode/status.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[KIT_PATH_MAX];
static char folder[KIT_PATH_MAX];
static char file[KIT_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    kit_make_folder(base);
    kit_join(base, "deep/data", folder);
    kit_join(folder, "node.id", file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove_folder(base);
    return 0;
}

static struct identity open_good(void)
{
    struct identity identity;
    char error[IDENTITY_ERROR_MAX] = "untouched";
    assert_int_equal(identity_open(folder, &identity, error), KV_OK);
    assert_string_equal(error, "untouched");
    return identity;
}

static void test_drawn_once(void **state)
{
    (void)state;
    struct identity first = open_good();
    assert_true(first.node != 0 && first.cluster == 0);
    identity_close(&first);
    struct identity again = open_good();
    assert_true(again.node == first.node && again.cluster == 0);
    identity_close(&again);
    kit_join(base, "other", folder);
    struct identity other = open_good();
    assert_true(other.node != first.node);
    identity_close(&other);
}

static void test_cluster_is_kept(void **state)
{
    (void)state;
    char error[IDENTITY_ERROR_MAX];
    struct identity identity = open_good();
    assert_int_equal(identity_set_cluster(&identity, 0xfedcba9876543210ull, error), KV_OK);
    identity_close(&identity);
    struct identity again = open_good();
    assert_true(again.node == identity.node && again.cluster == 0xfedcba9876543210ull);
    identity_close(&again);
}

static void test_failed_write_changes_nothing(void **state)
{
    (void)state;
    char error[IDENTITY_ERROR_MAX] = "";
    char temporary[KIT_PATH_MAX];
    struct identity identity = open_good();
    kit_join(folder, "node.id.tmp", temporary);
    assert_int_equal(mkdir(temporary, 0755), 0);
    assert_int_equal(identity_set_cluster(&identity, 7, error), KV_E_IO);
    assert_non_null(strstr(error, "node.id.tmp"));
    assert_true(identity.cluster == 0);
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(identity_set_cluster(&identity, 7, error), KV_OK);
    identity_close(&identity);
    identity = open_good();
    assert_true(identity.cluster == 7);
    identity_close(&identity);
}

/* Opens the folder in another process and returns the status it got; the error's text goes to
 * ret_error. */
static int32_t open_elsewhere(char *ret_error)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct identity identity;
        char error[IDENTITY_ERROR_MAX] = "";
        int32_t status = identity_open(folder, &identity, error);
        bool is_told = write(ends[1], error, sizeof(error)) == (ssize_t)sizeof(error);
        _exit(is_told ? -status : 100);
    }
    assert_int_equal(read(ends[0], ret_error, IDENTITY_ERROR_MAX), IDENTITY_ERROR_MAX);
    close(ends[0]);
    close(ends[1]);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return -WEXITSTATUS(result);
}

static void test_second_process_is_refused(void **state)
{
    (void)state;
    char error[IDENTITY_ERROR_MAX];
    char self[32];
    struct identity identity = open_good();
    snprintf(self, sizeof(self), "by process %ld:", (long)getpid());
    assert_int_equal(open_elsewhere(error), KV_E_EXISTS);
    assert_non_null(strstr(error, self));
    assert_non_null(strstr(error, folder));
    identity_close(&identity);
    assert_int_equal(open_elsewhere(error), KV_OK);
}

static void expect_damaged(const uint8_t *bytes, size_t len)
{
    struct identity identity;
    char error[IDENTITY_ERROR_MAX] = "";
    kit_write_file(file, bytes, len);
    assert_int_equal(identity_open(folder, &identity, error), KV_E_CORRUPT);
    assert_non_null(strstr(error, "node.id is damaged"));
}

static void test_damage_is_noticed(void **state)
{
    (void)state;
    uint8_t good[300];
    uint8_t bad[300];
    struct identity identity = open_good();
    identity_close(&identity);
    size_t len = kit_read_file(file, good, sizeof(good));
    for (size_t at = 0; at < len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(bad, good, len);
            bad[at] ^= (uint8_t)(1u << bit);
            expect_damaged(bad, len);
        }
        expect_damaged(good, at);
    }
    memcpy(bad, good, len);
    memset(bad + len, '\n', sizeof(bad) - len);
    expect_damaged(bad, len + 1);
    expect_damaged(bad, 299);
    kit_write_file(file, good, len);
    struct identity again = open_good();
    assert_true(again.node == identity.node);
    identity_close(&again);
}

static void test_half_written_file_is_ignored(void **state)
{
    (void)state;
    char temporary[KIT_PATH_MAX];
    char error[IDENTITY_ERROR_MAX];
    struct identity identity = open_good();
    identity_close(&identity);
    kit_join(folder, "node.id.tmp", temporary);
    kit_write_file(temporary, "kvnode iden", 11);
    struct identity again = open_good();
    assert_true(again.node == identity.node);
    assert_int_equal(identity_set_cluster(&again, 3, error), KV_OK);
    identity_close(&again);
}

static void test_folder_that_cannot_be_made(void **state)
{
    (void)state;
    struct identity identity;
    char error[IDENTITY_ERROR_MAX] = "";
    char plain[KIT_PATH_MAX];
    kit_join(base, "plain", plain);
    kit_write_file(plain, "", 0);
    kit_join(plain, "data", folder);
    assert_int_equal(identity_open(folder, &identity, error), KV_E_IO);
    assert_non_null(strstr(error, folder));
    assert_int_equal(identity_open(plain, &identity, error), KV_E_IO);
    assert_int_equal(identity_open("", &identity, error), KV_E_IO);
}

static void test_starts_are_counted(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++) {
        struct identity identity = open_good();
        assert_int_equal(identity.starts, i);
        char error[IDENTITY_ERROR_MAX];
        assert_int_equal(identity_set_cluster(&identity, i, error), KV_OK);
        identity_close(&identity);
    }
}

static void test_start_that_is_not_counted_is_none(void **state)
{
    (void)state;
    char error[IDENTITY_ERROR_MAX] = "";
    char temporary[KIT_PATH_MAX];
    struct identity identity = open_good();
    identity_close(&identity);
    kit_join(folder, "node.id.tmp", temporary);
    assert_int_equal(mkdir(temporary, 0755), 0);
    assert_int_equal(identity_open(folder, &identity, error), KV_E_IO);
    assert_non_null(strstr(error, "node.id.tmp"));
    assert_int_equal(rmdir(temporary), 0);
    identity = open_good();
    assert_int_equal(identity.starts, 2);
    identity_close(&identity);
}

/* A process that is killed before the new count is in place leaves the old one, and no less. */
static void test_crash_while_counting(void **state)
{
    (void)state;
    uint64_t starts = 0;
    for (unsigned i = 0; i < 20; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct identity identity;
            char error[IDENTITY_ERROR_MAX];
            _exit(identity_open(folder, &identity, error) == KV_OK ? 0 : 1);
        }
        usleep(i * 50); /* any moment will do */
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct identity identity = open_good();
        assert_in_range(identity.starts, starts + 1, starts + 2);
        starts = identity.starts;
        identity_close(&identity);
    }
}

static void test_copy_counts_alike(void **state)
{
    (void)state;
    uint8_t bytes[300];
    struct identity identity = open_good();
    identity_close(&identity);
    size_t len = kit_read_file(file, bytes, sizeof(bytes));
    identity = open_good();
    char copy[KIT_PATH_MAX];
    kit_join(base, "copy", copy);
    assert_int_equal(mkdir(copy, 0755), 0);
    kit_join(copy, "node.id", file);
    kit_write_file(file, bytes, len);
    struct identity other;
    char error[IDENTITY_ERROR_MAX];
    assert_int_equal(identity_open(copy, &other, error), KV_OK);
    assert_true(other.node == identity.node && other.starts == identity.starts);
    identity_close(&other);
    identity_close(&identity);
}

/* What the arbiter found to be a copy stays one, however often it is started; the number of starts
 * and the rest of the file do not change any more. */
static void test_copy_stays_refused(void **state)
{
    (void)state;
    char error[IDENTITY_ERROR_MAX] = "";
    char expected[KIT_PATH_MAX + 64];
    uint8_t marked[300];
    uint8_t after[300];
    struct identity identity = open_good();
    assert_false(identity.is_copy);
    assert_int_equal(identity_set_cluster(&identity, 0xabc, error), KV_OK);
    assert_int_equal(identity_mark_copy(&identity, error), KV_OK);
    identity_close(&identity);
    size_t len = kit_read_file(file, marked, sizeof(marked));
    for (unsigned i = 0; i < 3; i++) {
        struct identity untouched = {.lock_fd = -7};
        assert_int_equal(identity_open(folder, &untouched, error), KV_E_REJECTED);
        assert_int_equal(untouched.lock_fd, -7);
        snprintf(expected, sizeof(expected), "the data folder %s is a copy", folder);
        assert_non_null(strstr(error, expected));
        assert_non_null(strstr(error, "an empty one"));
    }
    assert_int_equal(kit_read_file(file, after, sizeof(after)), len);
    assert_memory_equal(after, marked, len);

    marked[len] = '\0';
    char *line = strstr((char *)marked, "refused copy\n"); /* nor is it made good by hand */
    assert_non_null(line);
    memmove(line, line + 13, strlen(line + 13) + 1);
    kit_write_file(file, marked, strlen((char *)marked));
    assert_int_equal(identity_open(folder, &identity, error), KV_E_CORRUPT);
}

static void test_version_1_has_no_starts(void **state)
{
    (void)state;
    char text[200] = "kvnode identity 1\nnode 00000000000000ab\ncluster 00000000000000cd\n";
    size_t len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "crc32c %08x\n", crc32c(0, text, len));
    struct identity identity = open_good();
    identity_close(&identity);
    kit_write_file(file, text, strlen(text));
    identity = open_good();
    assert_true(identity.node == 0xab && identity.cluster == 0xcd && identity.starts == 1);
    identity_close(&identity);
}

static void test_incarnations(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t drawn = identity_draw_incarnation();
        assert_true(drawn != 0 && drawn != before);
        assert_true((drawn & ((1ull << INCARNATION_JOIN_BITS) - 1)) == 0);
        before = drawn;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_drawn_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cluster_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_process_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_written_file_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_that_cannot_be_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_starts_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_that_is_not_counted_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_while_counting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_counts_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_stays_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1_has_no_starts, setup, teardown),
        cmocka_unit_test(test_incarnations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The arbiter's state: whole or refused, whatever happens to the file or the process. */
#include "base/alloc.h"
#include "host/registry.h"
#include "kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <kvnode/status.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLS        20u
#define STATE_MAX    20000u
#define STATE_LENGTH 9000u

struct writing {
    uv_loop_t loop;
    struct registry *registry;
    bool is_done;
    uint64_t number;
    int32_t status;
    char error[REGISTRY_ERROR_MAX];
};

static char folder[KIT_PATH_MAX];
static char file[KIT_PATH_MAX];
static int folder_fd;
static struct writing writing;

static void on_written(void *ctx, uint64_t number, int32_t status, const char *error)
{
    struct writing *self = ctx;
    self->is_done = true;
    self->number = number;
    self->status = status;
    snprintf(self->error, sizeof(self->error), "%s", error == NULL ? "" : error);
}

static int setup(void **state)
{
    (void)state;
    kit_make_folder(folder);
    kit_join(folder, REGISTRY_FILE, file);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    uv_loop_init(&writing.loop);
    writing.registry = registry_create(&writing.loop, folder_fd, on_written, &writing);
    return folder_fd < 0;
}

static int teardown(void **state)
{
    (void)state;
    registry_destroy(writing.registry);
    assert_int_equal(uv_loop_close(&writing.loop), 0);
    close(folder_fd);
    kit_remove_folder(folder);
    return 0;
}

/* Writes and waits; the bytes are changed at once, for registry_write() takes a copy. */
static int32_t write_state(uint64_t number, const void *bytes, size_t len)
{
    static uint8_t copy[STATE_MAX];
    memcpy(copy, bytes, len);
    writing.is_done = false;
    registry_write(writing.registry, number, copy, len);
    assert_true(registry_is_busy(writing.registry));
    memset(copy, 0xee, len);
    kit_run_until(&writing.loop, &writing.is_done);
    assert_false(registry_is_busy(writing.registry));
    assert_true(writing.number == number);
    return writing.status;
}

static void expect_state(const void *bytes, size_t len)
{
    uint8_t *got = NULL;
    size_t got_len = 99;
    char error[REGISTRY_ERROR_MAX];
    assert_int_equal(registry_read(folder_fd, folder, &got, &got_len, error), KV_OK);
    assert_int_equal(got_len, len);
    if (len > 0) {
        assert_memory_equal(got, bytes, len);
    }
    alloc_free(got);
}

static void test_write_and_read(void **state)
{
    (void)state;
    uint8_t longest[STATE_MAX];
    memset(longest, 0x5a, sizeof(longest));
    uint8_t *got = longest;
    size_t len = 99;
    char error[REGISTRY_ERROR_MAX];
    assert_int_equal(registry_read(folder_fd, folder, &got, &len, error), KV_OK);
    assert_true(got == NULL && len == 0);
    assert_int_equal(write_state(1, "first", 5), KV_OK);
    expect_state("first", 5);
    assert_int_equal(write_state(2, longest, sizeof(longest)), KV_OK);
    expect_state(longest, sizeof(longest));
    assert_int_equal(write_state(3, "short", 5), KV_OK);
    expect_state("short", 5);
}

static void expect_damaged(const uint8_t *bytes, size_t len)
{
    uint8_t *got = NULL;
    size_t got_len = 0;
    char error[REGISTRY_ERROR_MAX] = "";
    kit_write_file(file, bytes, len);
    assert_int_equal(registry_read(folder_fd, folder, &got, &got_len, error), KV_E_CORRUPT);
    assert_null(got);
    assert_non_null(strstr(error, file));
    assert_non_null(strstr(error, "is damaged"));
}

static void test_damage_is_noticed(void **state)
{
    (void)state;
    uint8_t good[200];
    uint8_t bad[200];
    assert_int_equal(write_state(7, "the state of an arbiter", 23), KV_OK);
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
    bad[len] = 0;
    expect_damaged(bad, len + 1);
    kit_write_file(file, good, len);
    expect_state("the state of an arbiter", 23);
}

static void test_failed_write_keeps_the_old_state(void **state)
{
    (void)state;
    char temporary[KIT_PATH_MAX];
    assert_int_equal(write_state(1, "old", 3), KV_OK);
    kit_join(folder, REGISTRY_FILE ".tmp", temporary);
    assert_int_equal(mkdir(temporary, 0755), 0);
    assert_int_equal(write_state(2, "new", 3), KV_E_IO);
    assert_non_null(strstr(writing.error, REGISTRY_FILE));
    expect_state("old", 3);
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(write_state(2, "new", 3), KV_OK);
    expect_state("new", 3);
}

static void test_half_written_file_is_ignored(void **state)
{
    (void)state;
    char temporary[KIT_PATH_MAX];
    static const uint8_t rubbish[5000] = {'K', 'V', 'A', 'R'};
    kit_join(folder, REGISTRY_FILE ".tmp", temporary);
    kit_write_file(temporary, rubbish, sizeof(rubbish));
    expect_state(NULL, 0);
    assert_int_equal(write_state(1, "good", 4), KV_OK);
    expect_state("good", 4);
}

static void make_state(uint64_t number, uint8_t *ret_bytes)
{
    for (size_t i = 0; i < STATE_LENGTH; i++) {
        ret_bytes[i] = (uint8_t)(number * 31 + i);
    }
    memcpy(ret_bytes, &number, sizeof(number));
}

/* Writes states with rising numbers for ever and reports each durable one. */
static _Noreturn void write_for_ever(uint64_t number, int report_fd)
{
    uv_loop_t loop;
    uint8_t bytes[STATE_LENGTH];
    uv_loop_init(&loop);
    struct writing self = {0};
    struct registry *registry = registry_create(&loop, folder_fd, on_written, &self);
    for (;; number++) {
        make_state(number, bytes);
        self.is_done = false;
        registry_write(registry, number, bytes, sizeof(bytes));
        while (!self.is_done) {
            uv_run(&loop, UV_RUN_ONCE);
        }
        if (self.status != KV_OK || write(report_fd, &number, sizeof(number)) < 0) {
            _exit(1);
        }
    }
}

/* What was reported durable is there after a kill at any moment, or what came next, whole. */
static void test_kill(void **state)
{
    (void)state;
    uint64_t reported = 0;
    for (unsigned kill_at = 1; kill_at <= KILLS; kill_at++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_for_ever(reported + 1, ends[1]);
        }
        close(ends[1]);
        uint64_t number;
        for (unsigned i = 0; i < kill_at % 4 + 1; i++) {
            assert_int_equal(read(ends[0], &number, sizeof(number)), sizeof(number));
            reported = number;
        }
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(ends[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
            reported = number;
        }
        close(ends[0]);

        uint8_t expected[STATE_LENGTH];
        uint8_t *got = NULL;
        size_t len = 0;
        char error[REGISTRY_ERROR_MAX];
        assert_int_equal(registry_read(folder_fd, folder, &got, &len, error), KV_OK);
        assert_int_equal(len, STATE_LENGTH);
        memcpy(&number, got, sizeof(number));
        assert_in_range(number, reported, reported + 1);
        make_state(number, expected);
        assert_memory_equal(got, expected, STATE_LENGTH);
        alloc_free(got);
        reported = number;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown), /* forks: no threads yet */
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_keeps_the_old_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_written_file_is_ignored, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

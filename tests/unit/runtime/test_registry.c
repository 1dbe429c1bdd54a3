/* The arbiter's state: whole or refused, whatever happens to the file or the process. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "host/registry_file.h"
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
    enum registry_outcome outcome;
    char error[REGISTRY_ERROR_MAX];
    uint64_t stored_number; /* of a conflict */
    char stored[32];
    bool has_changed;
    uint64_t changed_number;
    char changed[32];
    bool is_stopped;
};

static char folder[KIT_PATH_MAX];
static char file[KIT_PATH_MAX];
static int folder_fd;
static struct writing writing;

static void on_done(void *ctx, const struct registry_result *result)
{
    struct writing *self = ctx;
    self->is_done = true;
    self->number = result->number;
    self->outcome = result->outcome;
    snprintf(self->error, sizeof(self->error), "%s", result->error == NULL ? "" : result->error);
    self->stored_number = result->stored.number;
    snprintf(self->stored, sizeof(self->stored), "%.*s", (int)result->stored.len,
             result->stored.len == 0 ? "" : (const char *)result->stored.bytes);
}

static void on_changed(void *ctx, const struct registry_state *state)
{
    struct writing *self = ctx;
    self->has_changed = true;
    self->changed_number = state->number;
    snprintf(self->changed, sizeof(self->changed), "%.*s", (int)state->len,
             state->len == 0 ? "" : (const char *)state->bytes);
}

static void on_stopped(void *ctx)
{
    struct writing *self = ctx;
    assert_false(self->is_stopped);
    self->is_stopped = true;
}

/* What a process that starts now would read. */
static int32_t read_state(uint8_t **ret_bytes, size_t *ret_len, char *ret_error)
{
    struct registry_state state;
    struct registry *registry = registry_file_create(&writing.loop, folder_fd, folder);
    int32_t status = registry->ops->read(registry, &state, ret_error);
    if (status == KV_OK) {
        *ret_bytes = (uint8_t *)state.bytes;
        *ret_len = state.len;
    }
    registry->ops->destroy(registry);
    return status;
}

static int setup(void **state)
{
    (void)state;
    kit_make_folder(folder);
    kit_join(folder, REGISTRY_FILE, file);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    memset(&writing, 0, sizeof(writing));
    uv_loop_init(&writing.loop);
    writing.registry = registry_file_create(&writing.loop, folder_fd, folder);
    return folder_fd < 0;
}

static int teardown(void **state)
{
    (void)state;
    writing.registry->ops->stop(writing.registry, on_stopped, &writing);
    kit_run_until(&writing.loop, &writing.is_stopped);
    writing.registry->ops->destroy(writing.registry);
    assert_int_equal(uv_loop_close(&writing.loop), 0);
    close(folder_fd);
    kit_remove_folder(folder);
    return 0;
}

/* Writes and waits; the bytes are changed at once, for a copy is taken. */
static enum registry_outcome set_state(uint64_t expected, uint64_t number, const void *bytes,
                                       size_t len)
{
    static uint8_t copy[STATE_MAX];
    memcpy(copy, bytes, len);
    writing.is_done = false;
    writing.registry->ops->compare_and_set(writing.registry, expected, number, copy, len, on_done,
                                           &writing);
    assert_false(writing.is_done);
    memset(copy, 0xee, len);
    kit_run_until(&writing.loop, &writing.is_done);
    assert_true(writing.number == number);
    return writing.outcome;
}

/* Where what is stored has the number before. */
static enum registry_outcome write_state(uint64_t number, const void *bytes, size_t len)
{
    return set_state(number - 1, number, bytes, len);
}

static void expect_state(const void *bytes, size_t len)
{
    uint8_t *got = NULL;
    size_t got_len = 99;
    char error[REGISTRY_ERROR_MAX];
    assert_int_equal(read_state(&got, &got_len, error), KV_OK);
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
    assert_int_equal(read_state(&got, &len, error), KV_OK);
    assert_true(got == NULL && len == 0);
    assert_int_equal(write_state(1, "first", 5), REGISTRY_STORED);
    expect_state("first", 5);
    assert_int_equal(write_state(2, longest, sizeof(longest)), REGISTRY_STORED);
    expect_state(longest, sizeof(longest));
    assert_int_equal(write_state(3, "short", 5), REGISTRY_STORED);
    expect_state("short", 5);
}

static void expect_damaged(const uint8_t *bytes, size_t len)
{
    uint8_t *got = NULL;
    size_t got_len = 0;
    char error[REGISTRY_ERROR_MAX] = "";
    kit_write_file(file, bytes, len);
    assert_int_equal(read_state(&got, &got_len, error), KV_E_CORRUPT);
    assert_null(got);
    assert_non_null(strstr(error, file));
    assert_non_null(strstr(error, "is damaged"));
}

static void test_damage_is_noticed(void **state)
{
    (void)state;
    uint8_t good[200];
    uint8_t bad[200];
    assert_int_equal(set_state(0, 7, "the state of an arbiter", 23), REGISTRY_STORED);
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
    assert_int_equal(write_state(1, "old", 3), REGISTRY_STORED);
    kit_join(folder, REGISTRY_FILE ".tmp", temporary);
    assert_int_equal(mkdir(temporary, 0755), 0);
    assert_int_equal(write_state(2, "new", 3), REGISTRY_FAILED);
    assert_non_null(strstr(writing.error, REGISTRY_FILE));
    expect_state("old", 3);
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(write_state(2, "new", 3), REGISTRY_STORED);
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
    assert_int_equal(write_state(1, "good", 4), REGISTRY_STORED);
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
    struct registry *registry = registry_file_create(&loop, folder_fd, folder);
    for (;; number++) {
        make_state(number, bytes);
        self.is_done = false;
        registry->ops->compare_and_set(registry, number - 1, number, bytes, sizeof(bytes), on_done,
                                       &self);
        while (!self.is_done) {
            uv_run(&loop, UV_RUN_ONCE);
        }
        if (self.outcome != REGISTRY_STORED || write(report_fd, &number, sizeof(number)) < 0) {
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
        assert_int_equal(read_state(&got, &len, error), KV_OK);
        assert_int_equal(len, STATE_LENGTH);
        memcpy(&number, got, sizeof(number));
        assert_in_range(number, reported, reported + 1);
        make_state(number, expected);
        assert_memory_equal(got, expected, STATE_LENGTH);
        alloc_free(got);
        reported = number;
    }
}

/* Puts a file in place as another program would. */
static void store_elsewhere(uint64_t expected, uint64_t number, const char *text)
{
    struct writing other = {0};
    uv_loop_init(&other.loop);
    other.registry = registry_file_create(&other.loop, folder_fd, folder);
    other.registry->ops->compare_and_set(other.registry, expected, number, text, strlen(text),
                                         on_done, &other);
    kit_run_until(&other.loop, &other.is_done);
    assert_int_equal(other.outcome, REGISTRY_STORED);
    other.registry->ops->stop(other.registry, on_stopped, &other);
    assert_true(other.is_stopped); /* there was nothing to wait for */
    other.registry->ops->destroy(other.registry);
    assert_int_equal(uv_loop_close(&other.loop), 0);
}

static void test_conflict(void **state)
{
    (void)state;
    assert_int_equal(set_state(1, 2, "none yet", 8), REGISTRY_CONFLICT);
    assert_int_equal(writing.stored_number, 0);
    assert_string_equal(writing.stored, "");
    expect_state(NULL, 0);
    assert_int_equal(write_state(1, "mine", 4), REGISTRY_STORED);
    store_elsewhere(1, 2, "theirs");
    assert_int_equal(set_state(1, 2, "mine again", 10), REGISTRY_CONFLICT);
    assert_int_equal(writing.stored_number, 2);
    assert_string_equal(writing.stored, "theirs");
    expect_state("theirs", 6);
    assert_int_equal(set_state(2, 3, "mine again", 10), REGISTRY_STORED);
    /* An attempt whose outcome is not known is repeated with the same bytes. */
    assert_int_equal(set_state(2, 3, "mine again", 10), REGISTRY_STORED);
    expect_state("mine again", 10);
}

static void test_damage_is_not_written_over(void **state)
{
    (void)state;
    assert_int_equal(write_state(1, "good", 4), REGISTRY_STORED);
    kit_write_file(file, "rubbish", 7);
    assert_int_equal(write_state(2, "new", 3), REGISTRY_FAILED);
    assert_non_null(strstr(writing.error, "is damaged"));
    char now[32] = "";
    kit_read_file(file, now, sizeof(now));
    assert_string_equal(now, "rubbish");
}

static void test_watch(void **state)
{
    (void)state;
    writing.registry->ops->watch(writing.registry, on_changed, &writing);
    assert_int_equal(write_state(1, "mine", 4), REGISTRY_STORED);
    assert_int_equal(write_state(2, "mine too", 8), REGISTRY_STORED);
    store_elsewhere(2, 3, "theirs");
    kit_run_until(&writing.loop, &writing.has_changed);
    /* The first thing told is theirs: own writes are no change. */
    assert_int_equal(writing.changed_number, 3);
    assert_string_equal(writing.changed, "theirs");
    assert_int_equal(set_state(3, 4, "mine", 4), REGISTRY_STORED);
    writing.has_changed = false;
    assert_int_equal(unlink(file), 0);
    kit_run_until(&writing.loop, &writing.has_changed);
    assert_int_equal(writing.changed_number, 0);
}

static void test_version_1_is_named(void **state)
{
    (void)state;
    uint8_t bytes[200];
    char error[REGISTRY_ERROR_MAX] = "";
    uint8_t *got = NULL;
    size_t got_len = 0;
    assert_int_equal(write_state(1, "a view", 6), REGISTRY_STORED);
    size_t len = kit_read_file(file, bytes, sizeof(bytes));
    assert_int_equal(bytes[8], 2);
    bytes[8] = 1;
    uint32_t crc = crc32c(0, bytes, len - 4);
    for (size_t i = 0; i < 4; i++) {
        bytes[len - 4 + i] = (uint8_t)(crc >> (8 * i));
    }
    kit_write_file(file, bytes, len);
    assert_int_equal(read_state(&got, &got_len, error), KV_E_CORRUPT);
    assert_non_null(strstr(error, "has format 1"));
    assert_null(strstr(error, "damaged"));
    bytes[8] = 3;
    kit_write_file(file, bytes, len);
    assert_int_equal(read_state(&got, &got_len, error), KV_E_CORRUPT);
    assert_non_null(strstr(error, "a version that this program does not know"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown), /* forks: no threads yet */
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_keeps_the_old_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_written_file_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_not_written_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

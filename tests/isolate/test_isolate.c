/* An isolated plugin that breaks: each way gives its code and its text, the process is reaped, and
 * the store opened again goes on with nothing acknowledged lost. */
#include "kit.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_HAS_SHADOW 1
#else
#define TEST_HAS_SHADOW 0
#endif

static void start(struct kit *kit, const char *fault, const char *at)
{
    const char *settings[] = {"fault", fault, "at", at, NULL};
    kit_init(kit, KV_TEST_PLUGINS, "rogue", settings);
}

/* Three batches are acknowledged, the fourth meets the fault; then the store is opened again and
 * everything is there. */
static void break_in_apply(const char *fault, const char *text, int32_t code, uint32_t timeout_ms,
                           uint64_t memory_bytes)
{
    struct kit kit;
    uint64_t hash;
    uint32_t count;
    uint32_t descriptors = kit_descriptors();
    start(&kit, fault, "4");
    kit.isolate.call_timeout_ms = timeout_ms;
    kit.isolate.memory_bytes = memory_bytes;
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(kit_apply_one(&kit, i), KV_OK);
    }
    assert_int_equal(kit_apply_one(&kit, 4), code);
    assert_int_equal(kit_lines_with(&kit, text), 1);
    assert_false(kit_children()); /* reaped at once */
    assert_int_equal(kit_apply_one(&kit, 4), KV_E_IO);
    assert_int_equal(kit_lines_with(&kit, "has to be opened again"), 1);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit.position.view, 1);
    assert_in_range(kit.position.index, 3, 4);
    assert_int_equal(kit_load_hash(&kit, &hash, &count), KV_OK);
    assert_int_equal(count, kit.position.index);
    assert_int_equal(kit_apply_one(&kit, 4), KV_OK);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_load_hash(&kit, &hash, &count), KV_OK);
    assert_int_equal(count, 4);
    kit_close(&kit);
    assert_false(kit_children());
    assert_int_equal(kit_descriptors(), descriptors);
}

static void test_crash(void **state)
{
    (void)state;
    break_in_apply("crash", "1 the plugin's process died: signal 11 (Segmentation fault)", KV_E_IO,
                   20000, 0);
    break_in_apply("crash-after", "died: signal 11 (Segmentation fault)", KV_E_IO, 20000, 0);
}

static void test_abort(void **state)
{
    (void)state;
    break_in_apply("abort", "1 the plugin's process died: signal 6 (Aborted)", KV_E_IO, 20000, 0);
}

static void test_exit(void **state)
{
    (void)state;
    break_in_apply("exit", "1 the plugin's process died: exit status 7", KV_E_IO, 0, 0);
}

static void test_last_words_arrive(void **state)
{
    (void)state;
    struct kit kit;
    start(&kit, "exit", "1");
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_apply_one(&kit, 1), KV_E_IO);
    assert_int_equal(kit_lines_with(&kit, "rogue 2 last words"), 1);
    kit_close(&kit);
}

static void test_hang(void **state)
{
    (void)state;
    break_in_apply("hang", "1 the plugin did not answer for 1500 ms; its process was ended",
                   KV_E_IO, 1500, 0);
}

static void test_babble(void **state)
{
    (void)state;
    break_in_apply("babble", "1 the plugin did not answer for 1500 ms; its process was ended",
                   KV_E_IO, 1500, 0);
}

static void test_garbage(void **state)
{
    (void)state;
    break_in_apply("garbage", "1 the plugin's process sent what is no answer (no frame)",
                   KV_E_CONTRACT, 20000, 0);
}

static void test_connection_closed(void **state)
{
    (void)state;
    break_in_apply("close", "1 the plugin's process died: exit status 1", KV_E_IO, 20000, 0);
    break_in_apply("close-hang",
                   "1 the plugin closed its connection to the node; its process was ended", KV_E_IO,
                   20000, 0);
}

/* The grandchild holds the socket open: the death is seen all the same. */
static void test_death_behind_a_fork(void **state)
{
    (void)state;
    break_in_apply("fork-crash", "died: signal 11 (Segmentation fault)", KV_E_IO, 0, 0);
}

static void test_greedy(void **state)
{
    (void)state;
    if (TEST_HAS_SHADOW) {
        print_message("skipped: no memory limit in a build with a sanitizer\n");
        skip();
    }
    break_in_apply("greedy",
                   "1 the plugin's process died: signal 6 (Aborted); its memory limit of 256 MiB "
                   "may be the cause",
                   KV_E_IO, 20000, 268435456);
}

static void test_limit_is_told_when_it_cannot_be(void **state)
{
    (void)state;
    struct kit kit;
    start(&kit, "", "1");
    kit.isolate.memory_bytes = 268435456;
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_lines_with(&kit, "memory limit of the plugin's process is not set"),
                     TEST_HAS_SHADOW);
    kit_close(&kit);
}

static void test_crash_in_create(void **state)
{
    (void)state;
    struct kit kit;
    uint32_t descriptors = kit_descriptors();
    start(&kit, "create-crash", "1");
    assert_int_equal(kit_create(&kit, 1), KV_E_IO);
    assert_int_equal(kit_lines_with(&kit, "died: signal 11 (Segmentation fault)"), 1);
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    kit_close(&kit);
    start(&kit, "create-refuse", "1");
    assert_int_equal(kit_create(&kit, 1), KV_E_INVALID);
    assert_int_equal(kit_lines_with(&kit, "rogue 1 I refuse to be created"), 1);
    kit_close(&kit);
    start(&kit, "create-nothing", "1");
    assert_int_equal(kit_create(&kit, 1), KV_E_CONTRACT);
    assert_int_equal(kit_lines_with(&kit, "create() succeeded without an instance"), 1);
    kit_close(&kit);
    assert_false(kit_children());
    assert_int_equal(kit_descriptors(), descriptors);
}

static void test_crash_in_open_and_close(void **state)
{
    (void)state;
    struct kit kit;
    start(&kit, "open-crash", "1");
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_E_IO);
    assert_int_equal(kit_open(&kit), KV_OK);
    kit_close(&kit);
    start(&kit, "close-crash", "1");
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_lines_with(&kit, "died: signal 11"), 1);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit.position.index, 1);
    kit_close(&kit);
}

static void test_wrong_answers(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"odd", "apply() returned 99, which is no status code"},
        {"odd-result", "apply() gave record 1 of 1 the result 1234, which is no result"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct kit kit;
        start(&kit, cases[i][0], "1");
        assert_int_equal(kit_create(&kit, 1), KV_OK);
        assert_int_equal(kit_open(&kit), KV_OK);
        assert_int_equal(kit_apply_one(&kit, 1), KV_E_CONTRACT);
        assert_int_equal(kit_lines_with(&kit, cases[i][1]), 1);
        assert_int_equal(kit_apply_one(&kit, 1), KV_E_CONTRACT); /* its process lives on */
        kit_close(&kit);
    }
    struct kit kit;
    start(&kit, "open-odd", "1");
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_E_CONTRACT);
    assert_int_equal(kit_lines_with(&kit, "open() returned 4711"), 1);
    kit_close(&kit);
    if (!TEST_HAS_SHADOW) { /* else the sanitizer ends the process, which is as good */
        start(&kit, "beyond", "1");
        assert_int_equal(kit_create(&kit, 1), KV_OK);
        assert_int_equal(kit_open(&kit), KV_OK);
        assert_int_equal(kit_apply_one(&kit, 1), KV_E_CONTRACT);
        assert_int_equal(kit_lines_with(&kit, "apply() wrote beyond its 1 results"), 1);
        kit_close(&kit);
    }
}

static int32_t count_records(void *ctx, const struct kv_record *record)
{
    uint32_t *left = ctx;
    (void)record;
    return --*left == 0 ? KV_E_BUSY : KV_OK;
}

static void test_malformed_records(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"load-null-key", "load() emitted a record with a key with a length and no bytes"},
        {"load-long-key", "load() emitted a record with a key longer than any node takes"},
        {"load-kind", "load() emitted a record with an unknown kind"},
        {"load-null", "load() emitted a record with no record at all"},
    };
    for (int is_isolated = 0; is_isolated < 2; is_isolated++) {
        for (size_t i = 0; i < 4; i++) {
            struct kit kit;
            uint32_t left = 1000000;
            const char *settings[] = {"fault", cases[i][0], "load_count", "20", NULL};
            kit_init(&kit, KV_TEST_PLUGINS, "rogue", settings);
            assert_int_equal(kit_create(&kit, is_isolated), KV_OK);
            assert_int_equal(kit_open(&kit), KV_OK);
            assert_int_equal(guard_persist_load(kit.guard, count_records, &left), KV_E_CONTRACT);
            assert_int_equal(kit_lines_with(&kit, cases[i][1]), 1);
            assert_int_equal(left, 1000000 - 10);
            kit_close(&kit);
        }
    }
}

/* The plugin is told to stop, or does not listen; the next call finds everything in order. */
static void test_emit_stops_load(void **state)
{
    (void)state;
    static const char *const faults[] = {"", "load-ignore"};
    for (size_t i = 0; i < 2; i++) {
        struct kit kit;
        uint32_t left = 777;
        const char *settings[] = {"fault",  faults[i],    "load_count", "100000",
                                  "refuse", "load-value", NULL};
        kit_init(&kit, KV_TEST_PLUGINS, "rogue", settings);
        assert_int_equal(kit_create(&kit, 1), KV_OK);
        assert_int_equal(kit_open(&kit), KV_OK);
        assert_int_equal(guard_persist_load(kit.guard, count_records, &left), KV_E_BUSY);
        assert_int_equal(left, 0);
        assert_int_equal(kit_apply_one(&kit, 1), KV_OK);
        assert_int_equal(kit_lines_with(&kit, "died"), 0);
        kit_close(&kit);
    }
}

static void test_crash_in_load(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t hash;
    uint32_t count;
    const char *settings[] = {"fault", "load-crash", "load_count", "100000", NULL};
    kit_init(&kit, KV_TEST_PLUGINS, "rogue", settings);
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_load_hash(&kit, &hash, &count), KV_E_IO);
    guard_persist_close(kit.guard);
    assert_int_equal(kit_open(&kit), KV_OK);
    assert_int_equal(kit_load_hash(&kit, &hash, &count), KV_OK);
    assert_int_equal(count, 100000);
    kit_close(&kit);
}

/* The node's stdout has the `ready` line and nothing else. */
static void test_prints_do_not_reach_stdout(void **state)
{
    (void)state;
    struct kit kit;
    char text[64];
    start(&kit, "print", "1");
    char file[128];
    snprintf(file, sizeof(file), "%s/out", kit.folder);
    int before = dup(STDOUT_FILENO);
    int out = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(before >= 0 && out >= 0);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    int32_t created = kit_create(&kit, 1);
    int32_t opened = created == KV_OK ? kit_open(&kit) : created;
    int32_t applied = opened == KV_OK ? kit_apply_one(&kit, 1) : opened;
    dup2(before, STDOUT_FILENO);
    assert_int_equal(applied, KV_OK);
    assert_int_equal(pread(out, text, sizeof(text), 0), 0);
    close(before);
    close(out);
    kit_close(&kit);
}

static void test_no_descriptors_left(void **state)
{
    (void)state;
    struct kit kit;
    struct rlimit before;
    start(&kit, "", "1");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int32_t status = kit_create(&kit, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, KV_E_IO);
    assert_int_equal(
        kit_lines_with(&kit, "1 no socket pair for the plugin's process: Too many open files"), 1);
    assert_int_equal(kit_create(&kit, 1), KV_OK);
    kit_close(&kit);
}

/* Where /proc is not mounted. */
static void test_no_program_to_start(void **state)
{
    (void)state;
    struct kit kit;
    int status;
    if (geteuid() != 0) {
        print_message("skipped: only root can take /proc away\n");
        skip();
    }
    start(&kit, "", "1");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int is_right = chroot(kit.folder) == 0 && kit_create(&kit, 1) == KV_E_IO &&
                       kit_lines_with(&kit, "1 cannot start a process for the plugin "
                                            "(/proc/self/exe): No such file or directory") == 1;
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    kit_close(&kit);
}

int main(int argc, char **argv)
{
    int status;
    if (kit_is_child(argc, argv, &status)) {
        return status;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_last_words_arrive),
        cmocka_unit_test(test_hang),
        cmocka_unit_test(test_babble),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_connection_closed),
        cmocka_unit_test(test_death_behind_a_fork),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_limit_is_told_when_it_cannot_be),
        cmocka_unit_test(test_crash_in_create),
        cmocka_unit_test(test_crash_in_open_and_close),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_malformed_records),
        cmocka_unit_test(test_emit_stops_load),
        cmocka_unit_test(test_crash_in_load),
        cmocka_unit_test(test_prints_do_not_reach_stdout),
        cmocka_unit_test(test_no_descriptors_left),
        cmocka_unit_test(test_no_program_to_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

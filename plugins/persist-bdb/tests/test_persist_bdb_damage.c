/*
 * Damaged, foreign and missing files, and a full disk. The rule for all of them: a store that opens
 * holds exactly what its position says; anything else is refused with a reason, and nothing
 * acknowledged goes missing without a word.
 */
#include "../store.h"
#include "base/rand.h"
#include "fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SEED      21u
#define BATCHES   400u
#define LOG_FIRST "log.0000000001"
#define FLIPS     90u

static const struct kit_options damage_options = {"never", "1048576", "262144", "67108864"};

/* A store that was not closed: all of it is in the log, a part of it in the database. */
static void leave_open(const char *path, uint64_t batches)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct kit_host host;
        struct kit_store store;
        kit_host_init(&host);
        int32_t status = kit_open(&store, &host, path, &damage_options);
        for (uint64_t i = 1; status == KV_OK && i <= batches; i++) {
            status = kit_apply(&store, SEED, i);
        }
        _exit(status == KV_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void make_closed(struct fixture *fixture, uint64_t batches)
{
    struct kit_store store;
    assert_int_equal(kit_open(&store, &fixture->host, fixture->path, &damage_options), KV_OK);
    for (uint64_t i = 1; i <= batches; i++) {
        assert_int_equal(kit_apply(&store, SEED, i), KV_OK);
    }
    kit_close(&store);
}

static int32_t try_open(struct fixture *fixture)
{
    kit_host_clear(&fixture->host);
    int32_t status = kit_open(&fixture->store, &fixture->host, fixture->trial, &damage_options);
    if (status != KV_OK) {
        assert_true(fixture->host.errors > 0);
    }
    return status;
}

/* Opens the damaged copy; when that works, the content must be that of its position, now and after
 * some more batches. Returns the position's index, or UINT64_MAX when the damage was noticed, by
 * open() or by reading. */
static uint64_t check_trial(struct fixture *fixture)
{
    int32_t status = try_open(fixture);
    if (status != KV_OK) {
        if (status != KV_E_CORRUPT && status != KV_E_VERSION) {
            print_message("status %d\n%s", status, fixture->host.log);
        }
        assert_true(status == KV_E_CORRUPT || status == KV_E_VERSION);
        return UINT64_MAX;
    }
    uint64_t index = fixture->store.position.index;
    bool holds = kit_holds(&fixture->store, SEED, index);
    if (!holds) {
        /* Reading met the damage and said so; from then on nothing is given or taken. */
        if (fixture->host.errors == 0) {
            print_message("index %llu\n%s", (unsigned long long)index, fixture->host.log);
        }
        assert_true(fixture->host.errors > 0);
        assert_true(kit_host_has(&fixture->host, "damaged"));
        assert_int_equal(kit_apply(&fixture->store, SEED, index + 1), KV_E_IO);
        kit_close(&fixture->store);
        return UINT64_MAX;
    }
    for (uint64_t i = index + 1; i <= index + 3 && status == KV_OK; i++) {
        status = kit_apply(&fixture->store, SEED, i);
    }
    kit_close(&fixture->store);
    if (status != KV_OK) {
        assert_int_equal(status, KV_E_CORRUPT);
        return UINT64_MAX;
    }
    assert_int_equal(try_open(fixture), KV_OK);
    assert_int_equal(fixture->store.position.index, index + 3);
    assert_true(kit_holds(&fixture->store, SEED, index + 3));
    kit_close(&fixture->store);
    return index;
}

/* Damages `name` of a fresh copy: one byte at offset is changed. */
static void flip(struct fixture *fixture, const char *name, size_t offset, uint8_t bits)
{
    size_t len;
    kit_folder_copy(fixture->path, fixture->trial);
    uint8_t *bytes = kit_file_read(fixture->trial, name, &len);
    assert_non_null(bytes);
    assert_true(offset < len);
    bytes[offset] ^= bits;
    kit_file_write(fixture->trial, name, bytes, len);
    free(bytes);
}

static size_t file_len(const char *folder, const char *name)
{
    size_t len = 0;
    free(kit_file_read(folder, name, &len));
    return len;
}

/* The highest offset in the file that is not zero. */
static size_t written_len(const char *folder, const char *name)
{
    size_t len = 0;
    uint8_t *bytes = kit_file_read(folder, name, &len);
    while (len > 0 && bytes[len - 1] == 0) {
        len--;
    }
    free(bytes);
    return len;
}

/* The name of the last log file. */
static void last_log(const char *folder, char *name)
{
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    name[0] = '\0';
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (strncmp(entry->d_name, "log.", 4) == 0 && strcmp(entry->d_name, name) > 0) {
            (void)snprintf(name, 32, "%.31s", entry->d_name);
        }
    }
    closedir(stream);
    assert_true(name[0] != '\0');
}

/* Random flips in one file of a store; how many were noticed. The position may be at most one batch
 * back, which is what a torn last write looks like. */
static uint32_t flip_all_over(struct fixture *fixture, const char *name, uint64_t batches)
{
    struct rand rand = {99};
    uint32_t noticed = 0;
    size_t len = written_len(fixture->path, name);
    for (uint32_t i = 0; i < FLIPS; i++) {
        size_t offset = i < 30 ? i * 3 : (size_t)rand_below(&rand, len);
        flip(fixture, name, offset, (uint8_t)(1u << rand_below(&rand, 8)));
        uint64_t index = check_trial(fixture);
        if (index == UINT64_MAX) {
            noticed++;
        } else if (index < batches - 1) {
            print_message("%s offset %zu: index %llu\n", name, offset, (unsigned long long)index);
        }
        assert_true(index == UINT64_MAX || index >= batches - 1);
    }
    print_message("%s: %u of %u flips noticed, the others were of no consequence\n", name, noticed,
                  FLIPS);
    return noticed;
}

static void test_flip_data(void **state)
{
    struct fixture *fixture = *state;
    make_closed(fixture, BATCHES);
    assert_true(flip_all_over(fixture, "data.db", BATCHES) > FLIPS / 3);
}

static void test_flip_state(void **state)
{
    struct fixture *fixture = *state;
    make_closed(fixture, BATCHES);
    assert_true(flip_all_over(fixture, "state.db", BATCHES) > FLIPS / 2);
}

/* The log of a store that needs recovery: the middle of the log is damage, and never taken for its
 * end. */
static void test_flip_log(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    leave_open(fixture->path, BATCHES);
    last_log(fixture->path, name);
    assert_true(strcmp(name, LOG_FIRST) > 0);
    assert_true(flip_all_over(fixture, LOG_FIRST, BATCHES) > FLIPS / 2);
    assert_true(flip_all_over(fixture, name, BATCHES) > FLIPS / 2);
}

/* The log after a clean close: hardly anything of it is needed. */
static void test_flip_log_closed(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    make_closed(fixture, BATCHES);
    last_log(fixture->path, name);
    assert_true(flip_all_over(fixture, name, BATCHES) > 0);
}

/* The refusal stays, whatever recovery did to the log. */
static void test_damage_is_remembered(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    leave_open(fixture->path, BATCHES);
    last_log(fixture->path, name);
    flip(fixture, name, written_len(fixture->path, name) / 2, 0x10);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(try_open(fixture), KV_E_CORRUPT);
        assert_true(kit_host_has(&fixture->host, "the log (files log.*)"));
        assert_true(kit_host_has(&fixture->host, "Move the folder away"));
    }
}

/* The last write cut short anywhere: one batch back at most, and work goes on. */
static void test_torn_tail(void **state)
{
    struct fixture *fixture = *state;
    enum { FEW = 5 };
    leave_open(fixture->path, FEW);
    size_t len = written_len(fixture->path, LOG_FIRST);
    size_t size = file_len(fixture->path, LOG_FIRST);
    uint64_t before = FEW;
    uint32_t seen[FEW + 1] = {0};
    for (size_t cut = 0; cut < len - 400; cut += 7) {
        kit_folder_copy(fixture->path, fixture->trial);
        uint8_t *bytes = kit_file_read(fixture->trial, LOG_FIRST, &size);
        memset(bytes + len - cut, 0, cut);
        kit_file_write(fixture->trial, LOG_FIRST, bytes, size);
        free(bytes);
        uint64_t index = check_trial(fixture);
        if (index == UINT64_MAX) {
            break; /* the log is behind the databases now */
        }
        assert_true(index <= before);
        before = index;
        seen[index]++;
    }
    assert_true(seen[FEW] > 0 && seen[FEW - 1] > 0);
}

static void test_missing_files(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    make_closed(fixture, BATCHES);
    last_log(fixture->path, name);
    const char *names[] = {"data.db", "state.db", name, "format"};
    for (int i = 0; i < 4; i++) {
        char path[KIT_PATH_LEN_MAX + 64];
        kit_folder_copy(fixture->path, fixture->trial);
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->trial, names[i]);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(try_open(fixture), i == 3 ? KV_E_VERSION : KV_E_CORRUPT);
    }
}

/* Files of one moment among those of another. */
static void test_mixed_files(void **state)
{
    struct fixture *fixture = *state;
    size_t len;
    make_closed(fixture, 50);
    kit_folder_copy(fixture->path, fixture->trial);
    uint8_t *old_state = kit_file_read(fixture->path, "state.db", &len);
    assert_int_equal(try_open(fixture), KV_OK);
    for (uint64_t i = 51; i <= 2000; i++) {
        assert_int_equal(kit_apply(&fixture->store, SEED, i), KV_OK);
    }
    kit_close(&fixture->store);
    /* The database goes back, the log does not. */
    kit_file_write(fixture->trial, "state.db", old_state, len);
    free(old_state);
    assert_int_equal(try_open(fixture), KV_E_CORRUPT);
}

static void test_format(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text;
        int32_t status;
    } cases[] = {
        {"kvnode persist-bdb\nversion 2\nwhatever that may have\n", KV_E_VERSION},
        {"kvnode persist-bdb\nversion 999999999\n", KV_E_VERSION},
        {"another program\n", KV_E_VERSION},
        {"", KV_E_VERSION},
        {"kvnode persist-bdb\n", KV_E_CORRUPT},
        {"kvnode persist-bdb\nversion 1\nstore 0123456789abcdef\ncrc32c 00000000\n", KV_E_CORRUPT},
        {"kvnode persist-bdb\nversion 1\nstore 01234567\n", KV_E_CORRUPT},
    };
    make_closed(fixture, 10);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kit_folder_copy(fixture->path, fixture->trial);
        kit_file_write(fixture->trial, "format", cases[i].text, strlen(cases[i].text));
        assert_int_equal(try_open(fixture), cases[i].status);
        /* Nothing else was touched. */
        size_t len;
        size_t again_len;
        uint8_t *bytes = kit_file_read(fixture->path, LOG_FIRST, &len);
        uint8_t *again = kit_file_read(fixture->trial, LOG_FIRST, &again_len);
        assert_int_equal(len, again_len);
        assert_memory_equal(bytes, again, len);
        free(bytes);
        free(again);
    }
    size_t len;
    uint8_t *format = kit_file_read(fixture->path, "format", &len);
    for (size_t i = 0; i < len; i++) {
        flip(fixture, "format", i, 1);
        int32_t status = try_open(fixture);
        assert_true(status == KV_E_CORRUPT || status == KV_E_VERSION);
    }
    free(format);
}

/* Making a store, or resetting one, was interrupted: it is made anew. */
static void test_interrupted_creation(void **state)
{
    struct fixture *fixture = *state;
    make_closed(fixture, 10);
    kit_folder_copy(fixture->path, fixture->trial);
    kit_file_write(fixture->trial, "creating", "x", 1);
    assert_int_equal(try_open(fixture), KV_OK);
    assert_int_equal(fixture->store.position.index, 0);
    assert_true(kit_holds(&fixture->store, SEED, 0));
    assert_int_equal(kit_apply(&fixture->store, SEED, 1), KV_OK);
    kit_close(&fixture->store);
    assert_false(kit_file_exists(fixture->trial, "creating"));
    assert_int_equal(try_open(fixture), KV_OK);
    assert_true(kit_holds(&fixture->store, SEED, 1));
    kit_close(&fixture->store);
}

struct full_disk {
    uint64_t file_bytes; /* no file may grow beyond */
    const struct kit_options *options;
    bool applies; /* the databases do not fit, but the log does: all batches are taken */
};

/* A pair that is not of the workload, too long for a file of the database; position as it is. */
static int32_t apply_long(struct kit_store *store, uint32_t kind, uint64_t index)
{
    static const uint8_t value[300000] = {1};
    uint32_t result = KV_RESULT_STORED;
    struct kv_record record = {.key = "long", .key_len = 4, .kind = kind};
    if (kind == KV_RECORD_INSERT) {
        record.value = value;
        record.value_len = sizeof(value);
    }
    return store->ops->apply(store->self, &record, 1, (struct kv_position){1, index}, &result);
}

/* In a child: the store fails with KV_E_IO, keeps what it has, and goes on once there is room. Ends
 * the process. */
static _Noreturn void full_disk_run(const char *path, const struct full_disk *plan)
{
    static struct kit_host host;
    struct kit_store store;
    struct rlimit limit = {plan->file_bytes, RLIM_INFINITY};
    kit_host_init(&host);
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        _exit(1);
    }
    int32_t status = kit_open(&store, &host, path, plan->options);
    uint64_t applied = status == KV_OK ? store.position.index : 0;
    for (uint64_t i = applied + 1; status == KV_OK && i <= 3 * BATCHES; i++) {
        status = kit_apply(&store, SEED, i);
        applied += status == KV_OK;
    }
    if (plan->applies && status == KV_OK) {
        status = apply_long(&store, KV_RECORD_INSERT, applied);
    }
    kit_close(&store);
    if (plan->applies ? status != KV_OK || !kit_host_has(&host, "checkpoint")
                      : status != KV_E_IO || host.errors == 0) {
        fprintf(stderr, "status %d\n%s", status, host.log);
        _exit(2);
    }
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        _exit(3);
    }
    kit_host_clear(&host);
    /* What came back with an error may have happened, nothing else. */
    if (kit_open(&store, &host, path, plan->options) != KV_OK ||
        (plan->applies && apply_long(&store, KV_RECORD_REMOVE, applied) != KV_OK) ||
        store.position.index < applied || store.position.index > applied + 1 ||
        !kit_holds(&store, SEED, store.position.index) ||
        kit_apply(&store, SEED, store.position.index + 1) != KV_OK) {
        fprintf(stderr, "applied %llu\n%s", (unsigned long long)applied, host.log);
        _exit(4);
    }
    kit_close(&store);
    _exit(host.live == 0 ? 0 : 5);
}

static void test_full_disk(void **state)
{
    struct fixture *fixture = *state;
    static const struct kit_options small_log = {"always", "4194304", "131072", "65536"};
    /* From "not even a new store" to "the next log file is not possible", and databases that do
     * not fit while the log does. */
    static const struct full_disk plans[] = {
        {0, &damage_options, false},      {10, &damage_options, false},
        {100, &damage_options, false},    {5000, &damage_options, false},
        {20000, &damage_options, false},  {100000, &damage_options, false},
        {200000, &damage_options, false}, {132000, &small_log, true},
    };
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        int status;
        kit_folder_remove(fixture->trial);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            full_disk_run(fixture->trial, &plans[i]);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            print_message("plan %zu: status %x\n", i, status);
        }
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* Berkeley DB does not free all of its memory when it has given up because of damage. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libdb-5.3";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_flip_data),
        FIXTURE_TEST(test_flip_state),
        FIXTURE_TEST(test_flip_log),
        FIXTURE_TEST(test_flip_log_closed),
        FIXTURE_TEST(test_damage_is_remembered),
        FIXTURE_TEST(test_torn_tail),
        FIXTURE_TEST(test_missing_files),
        FIXTURE_TEST(test_mixed_files),
        FIXTURE_TEST(test_format),
        FIXTURE_TEST(test_interrupted_creation),
        FIXTURE_TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* persist-jsonl: what stands in the file, recovery, and a FIFO with readers of all kinds. */
#include "example_kit.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX 65536u

struct place {
    char folder[KIT_PATH_MAX];
    char file[KIT_PATH_MAX + 16];
    char setting[KIT_PATH_MAX + 32];
};

static void place_make(struct place *place)
{
    kit_folder_make(place->folder);
    snprintf(place->file, sizeof(place->file), "%s/changes", place->folder);
    snprintf(place->setting, sizeof(place->setting), "path=%s", place->file);
}

static void begin(struct kit *kit, const struct place *place)
{
    const char *settings[] = {place->setting, NULL};
    assert_int_equal(kit_create(kit, EXAMPLE_PLUGIN, settings), KV_OK);
}

static void end(struct kit *kit, const struct place *place)
{
    kit_end(kit);
    kit_folder_remove(place->folder);
}

static void write_file(const struct place *place, const char *mode, const char *text)
{
    FILE *file = fopen(place->file, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect_file(const struct place *place, const char *text)
{
    char found[TEXT_MAX];
    FILE *file = fopen(place->file, "r");
    assert_non_null(file);
    size_t len = fread(found, 1, sizeof(found) - 1, file);
    fclose(file);
    found[len] = '\0';
    assert_string_equal(found, text);
}

static const char line_a[] = "{\"op\":\"insert\",\"key\":\"a\",\"value\":\"x\",\"position\":"
                             "{\"view\":1,\"index\":1},\"client\":7,\"request\":1}\n";
static const char line_b[] = "{\"op\":\"remove\",\"key\":\"a\",\"position\":"
                             "{\"view\":1,\"index\":2},\"client\":7,\"request\":2}\n";
static const char line_1[] = "{\"op\":\"position\",\"position\":{\"view\":1,\"index\":1}}\n";
static const char line_2[] = "{\"op\":\"position\",\"position\":{\"view\":1,\"index\":2}}\n";

static void test_lines(void **state)
{
    struct place place;
    struct kit kit;
    char expected[1024];
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    kit_reopen(&kit);
    kit_expect_position(&kit, 0, 0);
    struct kv_record both[] = {kit_record(1, "a", "x"), kit_record(2, "a", NULL)};
    assert_int_equal(kit_apply(&kit, both, 2, both[1].position, NULL), KV_OK);
    snprintf(expected, sizeof(expected), "%s%s%s", line_a, line_b, line_2);
    expect_file(&place, expected);
    /* Known already: at once, in part, and after reopening. */
    assert_int_equal(kit_apply(&kit, both, 2, both[1].position, NULL), KV_OK);
    assert_int_equal(kit_apply(&kit, both, 1, both[0].position, NULL), KV_OK);
    kit_reopen(&kit);
    kit_expect_position(&kit, 1, 2);
    assert_int_equal(kit_apply(&kit, both, 2, both[1].position, NULL), KV_OK);
    expect_file(&place, expected);
    end(&kit, &place);
}

static void test_bytes(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    kit_reopen(&kit);
    struct kv_record record = kit_record(UINT64_MAX, "", "");
    record.key = "\xc3\xa4\"\\\n\t\x01\0/";
    record.key_len = 9;
    record.value = "\xff\x00\x10";
    record.value_len = 3;
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
    /* Surrogates, overlong and cut characters are no text; an empty value is one. */
    struct kv_record odd[] = {kit_record(1, "\xed\xa0\x80", "\xc0\x80"),
                              kit_record(2, "\xe2\x82", "\xf4\x90\x80\x80"), kit_record(3, "", "")};
    odd[2].position = (struct kv_position){2, 3};
    assert_int_equal(kit_apply(&kit, odd, 3, odd[2].position, NULL), KV_OK);
    expect_file(
        &place,
        "{\"op\":\"insert\",\"key\":\"\xc3\xa4\\\"\\\\\\n\\t\\u0001\\u0000/\",\"value_base64\":"
        "\"/wAQ\",\"position\":{\"view\":1,\"index\":18446744073709551615},\"client\":7,"
        "\"request\":18446744073709551615}\n"
        "{\"op\":\"position\",\"position\":{\"view\":1,\"index\":18446744073709551615}}\n"
        "{\"op\":\"insert\",\"key_base64\":\"7aCA\",\"value_base64\":\"wIA=\",\"position\":"
        "{\"view\":1,\"index\":1},\"client\":7,\"request\":1}\n"
        "{\"op\":\"insert\",\"key_base64\":\"4oI=\",\"value_base64\":\"9JCAgA==\",\"position\":"
        "{\"view\":1,\"index\":2},\"client\":7,\"request\":2}\n"
        "{\"op\":\"insert\",\"key\":\"\",\"value\":\"\",\"position\":"
        "{\"view\":2,\"index\":3},\"client\":7,\"request\":3}\n"
        "{\"op\":\"position\",\"position\":{\"view\":2,\"index\":3}}\n");
    end(&kit, &place);
}

static void test_reset(void **state)
{
    struct place place;
    struct kit kit;
    char expected[1024];
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "a", "x");
    kit_reopen(&kit);
    assert_int_equal(kit.ops->reset(kit.self), KV_OK);
    kit_put(&kit, 1, "a", "x"); /* what was known is forgotten */
    snprintf(expected, sizeof(expected),
             "%s%s{\"op\":\"reset\"}\n"
             "{\"op\":\"position\",\"position\":{\"view\":0,\"index\":0}}\n%s%s",
             line_a, line_1, line_a, line_1);
    expect_file(&place, expected);
    end(&kit, &place);
}

static void test_torn_tail(void **state)
{
    struct place place;
    struct kit kit;
    char text[1024];
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    for (size_t cut = 0; cut < strlen(line_b) + strlen(line_2); cut++) {
        snprintf(text, sizeof(text), "%s%s%s%s", line_a, line_1, line_b, line_2);
        text[strlen(line_a) + strlen(line_1) + cut] = '\0';
        write_file(&place, "w", text);
        kit_reopen(&kit);
        kit_expect_position(&kit, 1, 1);
        kit_close(&kit);
        /* Whole lines stay: a reader may have seen them. */
        text[strlen(line_a) + strlen(line_1) + (cut < strlen(line_b) ? 0 : strlen(line_b))] = '\0';
        expect_file(&place, text);
    }
    kit_expect_line(&kit, "cut off a torn last line");
    end(&kit, &place);
}

/* The search backwards crosses the borders of what is read at a time, with a line at each place. */
static void test_long_lines(void **state)
{
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    char *value = malloc(200000);
    assert_non_null(value);
    memset(value, 'v', 200000);
    for (uint32_t len = 65300; len < 65560; len += 7) {
        write_file(&place, "w", line_a);
        write_file(&place, "a", line_1);
        kit_reopen(&kit);
        kit_expect_position(&kit, 1, 1);
        struct kv_record record = kit_record(2, "k", "");
        record.value = value;
        record.value_len = len;
        assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
        kit_reopen(&kit);
        kit_expect_position(&kit, 1, 2);
        kit_close(&kit);
        write_file(&place, "w", line_1); /* in the first line, and far from the end */
        FILE *file = fopen(place.file, "a");
        assert_non_null(file);
        fprintf(file, "{\"op\":\"%.*s\"}\n", (int)len, value);
        fclose(file);
        kit_reopen(&kit);
        kit_expect_position(&kit, 1, 1);
        kit_close(&kit);
    }
    free(value);
    end(&kit, &place);
}

static void test_not_ours(void **state)
{
    static const char *const texts[] = {"my diary", "{\"op\":\"position\",\"position\":7}\n", "\n",
                                        "{\"x\":1}\n{\"y\""};
    struct place place;
    struct kit kit;
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file(&place, "w", texts[i]);
        assert_int_equal(kit_open(&kit), KV_E_CORRUPT);
        kit_expect_error(&kit, "not a file of this plugin");
        expect_file(&place, texts[i]); /* untouched */
    }
    assert_int_equal(unlink(place.file), 0);
    assert_int_equal(mkdir(place.file, 0700), 0);
    assert_int_equal(kit_open(&kit), KV_E_IO);
    end(&kit, &place);
}

static void test_one_writer(void **state)
{
    struct place place;
    struct kit kit, other;
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    begin(&other, &place);
    kit_reopen(&kit);
    assert_int_equal(kit_open(&other), KV_E_EXISTS);
    kit_expect_error(&other, "another instance");
    kit_close(&kit);
    kit_reopen(&other);
    kit_end(&other);
    end(&kit, &place);
}

/* The file cannot grow: what was written of a batch is taken back, and a repeat succeeds. */
static void test_full(void **state)
{
    struct place place;
    struct kit kit;
    struct rlimit before, small;
    struct kv_record both[] = {kit_record(2, "a", NULL), kit_record(3, "a", "x")};
    char expected[1024];
    (void)state;
    place_make(&place);
    begin(&kit, &place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "a", "x");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = strlen(line_a) + strlen(line_1) + 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int32_t status = kit_apply(&kit, both, 2, both[1].position, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, KV_E_IO);
    kit_expect_error(&kit, "File too large");
    snprintf(expected, sizeof(expected), "%s%s", line_a, line_1);
    expect_file(&place, expected);
    assert_int_equal(kit_apply(&kit, both, 1, both[0].position, NULL), KV_OK);
    snprintf(expected, sizeof(expected), "%s%s%s%s", line_a, line_1, line_b, line_2);
    expect_file(&place, expected);
    end(&kit, &place);
}

static void test_settings(void **state)
{
    const char *no_path[] = {"path=", NULL};
    const char *no_sync[] = {"path=x", "sync=perhaps", NULL};
    struct kit kit;
    (void)state;
    assert_int_equal(kit_create(&kit, EXAMPLE_PLUGIN, no_path), KV_E_INVALID);
    kit_expect_error(&kit, "path is empty");
    kit_end(&kit);
    assert_int_equal(kit_create(&kit, EXAMPLE_PLUGIN, no_sync), KV_E_INVALID);
    kit_expect_error(&kit, "sync must be");
    kit_end(&kit);
}

/* --- a FIFO --- */

static void place_make_fifo(struct place *place)
{
    place_make(place);
    assert_int_equal(mkfifo(place->file, 0600), 0);
}

static int fifo_open(const struct place *place)
{
    int fd = open(place->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Reads what is there until the text ends with `last`; appended to text. */
static void fifo_read(int fd, char *text, const char *last)
{
    uint64_t end_ms = kit_now_ms() + 10000;
    size_t len = strlen(text);
    while (len < strlen(last) || strcmp(text + len - strlen(last), last) != 0) {
        struct pollfd wait = {fd, POLLIN, 0};
        assert_true(kit_now_ms() < end_ms);
        poll(&wait, 1, 100);
        ssize_t got = read(fd, text + len, TEXT_MAX * 8 - len - 1);
        len += got > 0 ? (size_t)got : 0;
        text[len] = '\0';
    }
}

static void test_fifo(void **state)
{
    struct place place;
    struct kit kit;
    static char text[TEXT_MAX * 8];
    char expected[1024];
    (void)state;
    place_make_fifo(&place);
    begin(&kit, &place);
    assert_int_equal(kit_open(&kit), KV_E_RETRY);
    kit_expect_error(&kit, "nobody reads the FIFO");
    int fd = fifo_open(&place);
    kit_reopen(&kit);
    kit_expect_position(&kit, 0, 0);
    kit_put(&kit, 1, "a", "x");
    kit_put(&kit, 2, "a", NULL);
    text[0] = '\0';
    fifo_read(fd, text, line_2);
    snprintf(expected, sizeof(expected), "%s%s%s%s", line_a, line_1, line_b, line_2);
    assert_string_equal(text, expected);
    kit_reopen(&kit);
    kit_expect_position(&kit, 0, 0); /* a FIFO remembers nothing */
    close(fd);
    end(&kit, &place);
}

/* The reader goes away, with SIGPIPE as in any program: it would end this one. */
static void test_fifo_reader_leaves(void **state)
{
    struct place place;
    struct kit kit;
    static char text[TEXT_MAX * 8];
    sigset_t pending;
    char expected[1024];
    struct kv_record record = kit_record(2, "a", NULL);
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    place_make_fifo(&place);
    begin(&kit, &place);
    int fd = fifo_open(&place);
    kit_reopen(&kit);
    kit_put(&kit, 1, "a", "x");
    text[0] = '\0';
    fifo_read(fd, text, line_1);
    close(fd);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_RETRY);
        kit_expect_error(&kit, "nobody reads the FIFO");
    }
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    fd = fifo_open(&place);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_OK);
    text[0] = '\0';
    fifo_read(fd, text, line_2);
    snprintf(expected, sizeof(expected), "%s%s", line_b, line_2);
    assert_string_equal(text, expected);
    close(fd);
    end(&kit, &place);
}

/* The reader stands still: the rest of the batch comes later, once. */
static void test_fifo_reader_stands(void **state)
{
    struct place place;
    struct kit kit;
    static char text[TEXT_MAX * 8];
    static char value[TEXT_MAX * 4];
    (void)state;
    place_make_fifo(&place);
    begin(&kit, &place);
    int fd = fifo_open(&place);
    kit_reopen(&kit);
    memset(value, 'v', sizeof(value) - 1);
    struct kv_record record = kit_record(1, "a", value);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_RETRY);
        kit_expect_error(&kit, "stands still");
    }
    pid_t reader = fork();
    assert_true(reader >= 0);
    if (reader == 0) {
        text[0] = '\0';
        fifo_read(fd, text, line_1);
        size_t begin_len = strlen("{\"op\":\"insert\",\"key\":\"a\",\"value\":\"");
        bool is_whole = strncmp(text + begin_len, value, strlen(value)) == 0 &&
                        strstr(text + 1, "{\"op\":\"insert\"") == NULL;
        _exit(is_whole ? 0 : 1);
    }
    uint64_t end_ms = kit_now_ms() + 10000;
    int32_t status = KV_E_RETRY;
    while (status != KV_OK && kit_now_ms() < end_ms) {
        status = kit_apply(&kit, &record, 1, record.position, NULL);
    }
    assert_int_equal(status, KV_OK);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    close(fd);
    end(&kit, &place);
}

/* The reader leaves in the middle of a line: the next one gets that batch from its begin, on a line
 * of its own. */
static void test_fifo_torn(void **state)
{
    struct place place;
    struct kit kit;
    static char text[TEXT_MAX * 8];
    static char value[TEXT_MAX * 4];
    (void)state;
    place_make_fifo(&place);
    begin(&kit, &place);
    int fd = fifo_open(&place);
    kit_reopen(&kit);
    memset(value, 'v', sizeof(value) - 1);
    struct kv_record record = kit_record(1, "a", value);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_RETRY);
    int next = fifo_open(&place); /* so that what is in the FIFO stays */
    assert_true(read(fd, text, 1000) == 1000);
    close(fd);
    close(next);
    assert_int_equal(kit_apply(&kit, &record, 1, record.position, NULL), KV_E_RETRY);
    next = fifo_open(&place);
    struct kv_record small = kit_record(1, "a", "x");
    uint64_t end_ms = kit_now_ms() + 10000;
    text[0] = '\0';
    int32_t status = KV_E_RETRY;
    while (status != KV_OK && kit_now_ms() < end_ms) {
        status = kit_apply(&kit, &small, 1, small.position, NULL);
        size_t len = strlen(text);
        ssize_t got = read(next, text + len, sizeof(text) - len - 1);
        text[len + (got > 0 ? (size_t)got : 0)] = '\0';
    }
    assert_int_equal(status, KV_OK);
    fifo_read(next, text, line_1);
    char expected[1024];
    snprintf(expected, sizeof(expected), "\n%s%s", line_a, line_1);
    assert_string_equal(text + strlen(text) - strlen(expected), expected);
    close(next);
    end(&kit, &place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_torn_tail),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_fifo_reader_leaves),
        cmocka_unit_test(test_fifo_reader_stands),
        cmocka_unit_test(test_fifo_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The log: form of a line, levels, hostile text, many threads. */
#include "host/log.h"
#include "kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS      4u
#define THREAD_LINES 500u

static char folder[KIT_PATH_MAX];
static char path[KIT_PATH_MAX];
static int fd;

static int setup(void **state)
{
    (void)state;
    kit_make_folder(folder);
    kit_join(folder, "log", path);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    return fd < 0;
}

static int teardown(void **state)
{
    (void)state;
    close(fd);
    kit_remove_folder(folder);
    return 0;
}

/* Everything written so far; checks the head of the first line and returns what follows it. */
static const char *written_after_head(char *text, size_t size, const char *head)
{
    size_t len = kit_read_file(path, text, size - 1);
    text[len] = '\0';
    int at = 0;
    int year, month, day, hour, minute, second, ms;
    assert_int_equal(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day,
                            &hour, &minute, &second, &ms, &at),
                     7);
    assert_int_equal(at, strlen("time=2026-01-31T23:59:59.123Z "));
    assert_true(year >= 2024 && month >= 1 && month <= 12 && hour < 24 && second < 61);
    assert_memory_equal(text + at, head, strlen(head));
    return text + at + strlen(head);
}

static void test_line(void **state)
{
    (void)state;
    char text[4096];
    log_init(KV_LOG_INFO, "n1", fd);
    log_event(KV_LOG_WARN, "runtime", "bound uri=%s n=%d", "tcp://h:1", 7);
    assert_string_equal(written_after_head(text, sizeof(text), "level=warn node=n1 "),
                        "module=runtime event=bound uri=tcp://h:1 n=7\n");
}

static void test_levels(void **state)
{
    (void)state;
    char text[4096];
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(log_level_from_name(names[i]), KV_LOG_ERROR + i);
    }
    assert_int_equal(log_level_from_name("verbose"), 0);
    assert_int_equal(log_level_from_name(""), 0);
    log_init(KV_LOG_WARN, "n1", fd);
    assert_true(log_wants(KV_LOG_ERROR) && log_wants(KV_LOG_WARN) && !log_wants(KV_LOG_INFO));
    log_event(KV_LOG_INFO, "m", "not shown");
    log_plugin(NULL, "p", KV_LOG_DEBUG, "not shown");
    assert_int_equal(kit_read_file(path, text, sizeof(text)), 0);
    log_event(KV_LOG_ERROR, "m", "shown");
    written_after_head(text, sizeof(text), "level=error ");
}

static void test_control_characters(void **state)
{
    (void)state;
    char text[4096];
    log_init(KV_LOG_INFO, "n1", fd);
    log_event(KV_LOG_INFO, "m", "a b=\"%s\"", "x\ny\r\tz\x1b[31m\x7f");
    assert_string_equal(written_after_head(text, sizeof(text), "level=info node=n1 "),
                        "module=m event=a b=\"x y  z [31m \"\n");
}

static void test_plugin_text(void **state)
{
    (void)state;
    char text[4096];
    log_init(KV_LOG_INFO, "n1", fd);
    log_plugin(NULL, "persist-x", 99, "say \"no\" \\ now\nlevel=error");
    assert_string_equal(written_after_head(text, sizeof(text), "level=warn node=n1 "),
                        "module=persist-x text=\"say \\\"no\\\" \\\\ now level=error\"\n");
}

static void test_quote(void **state)
{
    (void)state;
    char text[4096];
    char quoted[LOG_QUOTED_MAX];
    char endless[2 * LOG_QUOTED_MAX];
    log_init(KV_LOG_INFO, "n1", fd);
    log_event(KV_LOG_INFO, "m", "a reason=\"%s\" b=1",
              log_quote("the \"disk\" c:\\ is\nfull", quoted));
    assert_string_equal(written_after_head(text, sizeof(text), "level=info node=n1 "),
                        "module=m event=a reason=\"the \\\"disk\\\" c:\\\\ is full\" b=1\n");
    assert_string_equal(log_quote("", quoted), "");
    memset(endless, '"', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    size_t len = strlen(log_quote(endless, quoted));
    assert_true(len < LOG_QUOTED_MAX && len > LOG_QUOTED_MAX - 4);
    assert_memory_equal(quoted + len - 2, "\\\"", 2); /* no backslash without what it is for */
    assert_int_equal(len % 2, 0);
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    static char text[65536];
    char longest[8192];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    log_init(KV_LOG_INFO, "n1", fd);
    log_event(KV_LOG_INFO, "m", "%s", longest);
    log_plugin(NULL, "p", KV_LOG_INFO, longest);
    size_t len = kit_read_file(path, text, sizeof(text));
    assert_int_equal(len, 2 * LOG_LINE_MAX);
    assert_memory_equal(text + LOG_LINE_MAX - 5, "x...\n", 5);
    assert_memory_equal(text + len - 5, "x...\n", 5);
}

static void *write_lines(void *argument)
{
    unsigned thread = *(unsigned *)argument;
    for (unsigned i = 0; i < THREAD_LINES; i++) {
        if (i % 2 == 0) {
            log_event(KV_LOG_INFO, "m", "line thread=%u i=%u end", thread, i);
        } else {
            char line[64];
            snprintf(line, sizeof(line), "thread=%u i=%u end", thread, i);
            log_plugin(NULL, "p", KV_LOG_INFO, line);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static char text[1024 * 1024];
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    unsigned next[THREADS] = {0};
    log_init(KV_LOG_INFO, "n1", fd);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    text[kit_read_file(path, text, sizeof(text) - 1)] = '\0';
    unsigned lines = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0';
         line = strsep(&rest, "\n"), lines++) {
        assert_memory_equal(line, "time=", 5);
        unsigned thread;
        unsigned i;
        assert_int_equal(sscanf(strstr(line, "thread="), "thread=%u i=%u end", &thread, &i), 2);
        assert_true(thread < THREADS);
        assert_int_equal(i, next[thread]++);
    }
    assert_int_equal(lines, THREADS * THREAD_LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plugin_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quote, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

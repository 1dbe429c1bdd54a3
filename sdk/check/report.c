/* How the process of a check tells its outcome: lines on a descriptor of its own, see runner.c. */
#include "kit.h"
#include "report.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REPORT_LINE_MAX 2048

static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

/* One line; what stands in it as a newline or other control character becomes a space. */
static void report_line(char mark, const char *format, va_list arguments)
{
    char line[REPORT_LINE_MAX];
    line[0] = mark;
    vsnprintf(line + 1, sizeof(line) - 2, format, arguments);
    size_t len = strlen(line);
    for (size_t i = 1; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }
    line[len++] = '\n';
    pthread_mutex_lock(&report_lock);
    ssize_t written = write(REPORT_FD, line, len);
    pthread_mutex_unlock(&report_lock);
    (void)written; /* nobody is left to be told */
}

void kit_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(REPORT_NOTE, format, arguments);
    va_end(arguments);
}

_Noreturn void kit_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(REPORT_FAILED, format, arguments);
    va_end(arguments);
    _exit(0);
}

_Noreturn void kit_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(REPORT_SKIPPED, format, arguments);
    va_end(arguments);
    _exit(0);
}

static void report_mark(char mark, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void report_mark(char mark, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(mark, format, arguments);
    va_end(arguments);
}

void kit_pass(void)
{
    report_mark(REPORT_PASSED, "passed");
}

#include "trace.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void trace_init(struct trace *trace, bool print)
{
    trace->print = print;
    trace->hash = 0;
    trace->lines = 0;
}

void trace_line(struct trace *trace, uint64_t now_us, const char *who, const char *format, ...)
{
    char *line = trace->ring[trace->lines++ % TRACE_LINES];
    int len = snprintf(line, TRACE_LINE_BYTES, "%6" PRIu64 ".%03u %-3s ", now_us / 1000,
                       (unsigned)(now_us % 1000), who);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + len, TRACE_LINE_BYTES - (size_t)len, format, arguments);
    va_end(arguments);
    trace_bytes(trace, line, strlen(line));
    if (trace->print) {
        puts(line);
    }
}

void trace_bytes(struct trace *trace, const void *bytes, size_t len)
{
    trace->hash = hash_bytes_seeded(trace->hash, bytes, len);
}

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, bytes, len);
        if (done <= 0) {
            return;
        }
        bytes += done;
        len -= (size_t)done;
    }
}

void trace_dump(const struct trace *trace, int fd)
{
    uint64_t first = trace->lines > TRACE_LINES ? trace->lines - TRACE_LINES : 0;
    for (uint64_t i = first; i < trace->lines; i++) {
        const char *line = trace->ring[i % TRACE_LINES];
        write_all(fd, line, strnlen(line, TRACE_LINE_BYTES));
        write_all(fd, "\n", 1);
    }
}

/*
 * What happened, line by line: the last lines are kept for the report of a failure, all lines go
 * into a hash by which two runs of one seed are compared. The simulator only.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_LINES      200u
#define TRACE_LINE_BYTES 240u

struct trace {
    bool print; /* every line to stdout at once */
    uint64_t hash;
    uint64_t lines;
    char ring[TRACE_LINES][TRACE_LINE_BYTES];
};

void trace_init(struct trace *trace, bool print);

/* A longer line is cut. */
void trace_line(struct trace *trace, uint64_t now_us, const char *who, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Mixes bytes into the hash only. */
void trace_bytes(struct trace *trace, const void *bytes, size_t len);

/* Writes the last lines to a file descriptor; also safe in a signal handler. */
void trace_dump(const struct trace *trace, int fd);

#endif

/*
 * Starts this program again for one check or one writer, and hears what comes of it: report lines,
 * output, how it ended. Used by the runner and by group_kill; any thread. It never calls a plugin.
 */
#ifndef KVNODE_CHECK_SPAWN_H
#define KVNODE_CHECK_SPAWN_H

#include "kit.h"

#include <stdbool.h>
#include <sys/types.h>

#define SPAWN_DATA_FD    4 /* in the new process: messages of a writer */
#define SPAWN_REPORT_MAX 16384u
#define SPAWN_OUTPUT_MAX 4096u

struct spawned {
    pid_t pid; /* its process group too */
    int report_fd;
    int output_fd; /* its stdout and stderr */
    int data_fd;
};

struct spawn_end {
    int status; /* of waitpid() */
    bool is_timeout;
    char *report; /* whole lines, each ended by a NUL */
    size_t report_len;
    char output[SPAWN_OUTPUT_MAX]; /* the first bytes, as one line */
};

/* request: as_case or as_writer is set. False: errno says why. */
bool spawn_start(const struct kit_request *request, struct spawned *ret_spawned);

/* Hears it until its end, at most timeout_ms, then kills its process group. */
void spawn_finish(struct spawned *spawned, int timeout_ms, struct spawn_end *ret_end);
void spawn_end_close(struct spawn_end *end);

/* The first report line with that mark, without it; NULL: none. */
const char *spawn_text_of(const struct spawn_end *end, char mark);

/* The line after `line` (NULL: the first one), with its mark; NULL: there is none. */
const char *spawn_next_line(const struct spawn_end *end, const char *line);

#endif

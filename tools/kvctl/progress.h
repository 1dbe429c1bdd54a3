/*
 * How far an import or export is: a bar redrawn in place on a terminal, else, when asked for, a
 * line every five seconds. On stderr, so that it never mixes with results.
 */
#ifndef KVCTL_PROGRESS_H
#define KVCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_LINE_MAX 256u

struct progress {
    const char *what; /* "import" or "export" */
    bool is_on;
    bool is_bar;   /* redrawn in place */
    bool is_drawn; /* the bar stands on the terminal's last line */
    uint64_t start_ns;
    uint64_t drawn_ns;
};

/* is_wanted: also when stderr is no terminal. */
void progress_start(struct progress *progress, const char *what, bool is_wanted);

/* done of total (0: unknown) decide on the percentage, in whatever unit; count is what is named in
 * pairs. Cheap: draws only when it is time to. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t count);

/* Makes room for a message: wipes the bar until the next update. */
void progress_clear(struct progress *progress);

/* Draws the last state and leaves it there. */
void progress_finish(struct progress *progress, uint64_t done, uint64_t total, uint64_t count);

double progress_seconds(const struct progress *progress);

/* The line as text, NUL-terminated, no newline: what, bar, percent, count, rate, time left. */
void progress_format(char ret_line[PROGRESS_LINE_MAX], const char *what, uint64_t done,
                     uint64_t total, uint64_t count, uint64_t elapsed_ms);

#endif

#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define PROGRESS_BAR_CELLS 24u
#define PROGRESS_BAR_NS    100000000ull
#define PROGRESS_LINE_NS   5000000000ull

void progress_start(struct progress *progress, const char *what, bool is_wanted)
{
    memset(progress, 0, sizeof(*progress));
    progress->what = what;
    progress->is_bar = isatty(STDERR_FILENO) == 1;
    progress->is_on = progress->is_bar || is_wanted;
    progress->start_ns = uv_hrtime();
    progress->drawn_ns = progress->start_ns;
}

double progress_seconds(const struct progress *progress)
{
    return (double)(uv_hrtime() - progress->start_ns) / 1e9;
}

/* "1:02:03 left", "2:03 left", "45 s left". */
static void progress_format_left(char *text, size_t size, double seconds_left)
{
    uint64_t seconds = seconds_left > 3.6e6 ? 3600000 : (uint64_t)(seconds_left + 0.5);
    if (seconds >= 3600) {
        snprintf(text, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", seconds / 3600,
                 seconds / 60 % 60, seconds % 60);
    } else if (seconds >= 60) {
        snprintf(text, size, "%" PRIu64 ":%02" PRIu64 " left", seconds / 60, seconds % 60);
    } else {
        snprintf(text, size, "%" PRIu64 " s left", seconds);
    }
}

void progress_format(char ret_line[PROGRESS_LINE_MAX], const char *what, uint64_t done,
                     uint64_t total, uint64_t count, uint64_t elapsed_ms)
{
    double seconds = (double)elapsed_ms / 1000.0;
    double rate = elapsed_ms == 0 ? 0 : (double)count / seconds;
    if (total == 0) {
        snprintf(ret_line, PROGRESS_LINE_MAX, "%s %" PRIu64 " pairs  %.0f pairs/s  %.0f s", what,
                 count, rate, seconds);
        return;
    }
    done = done > total ? total : done; /* the data may grow while it is read */
    double part = (double)done / (double)total;
    char bar[PROGRESS_BAR_CELLS + 1];
    uint32_t full = (uint32_t)(part * PROGRESS_BAR_CELLS);
    for (uint32_t i = 0; i < PROGRESS_BAR_CELLS; i++) {
        bar[i] = i < full ? '#' : '.';
    }
    bar[PROGRESS_BAR_CELLS] = '\0';
    char left[48] = "";
    if (done > 0) {
        progress_format_left(left, sizeof(left), seconds / part - seconds);
    }
    /* 100 % only when it is all: never rounded up. */
    snprintf(ret_line, PROGRESS_LINE_MAX, "%s [%s] %3u%%  %" PRIu64 " pairs  %.0f pairs/s  %s",
             what, bar, (uint32_t)(part * 100.0), count, rate, left);
}

static void progress_draw(struct progress *progress, uint64_t done, uint64_t total, uint64_t count,
                          uint64_t now_ns)
{
    char line[PROGRESS_LINE_MAX];
    progress_format(line, progress->what, done, total, count,
                    (now_ns - progress->start_ns) / 1000000);
    if (progress->is_bar) {
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        progress->is_drawn = true;
    } else {
        fprintf(stderr, "%s\n", line);
    }
    progress->drawn_ns = now_ns;
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t count)
{
    if (!progress->is_on) {
        return;
    }
    uint64_t now_ns = uv_hrtime();
    if (now_ns - progress->drawn_ns >= (progress->is_bar ? PROGRESS_BAR_NS : PROGRESS_LINE_NS)) {
        progress_draw(progress, done, total, count, now_ns);
    }
}

void progress_clear(struct progress *progress)
{
    if (progress->is_drawn) {
        fputs("\r\033[K", stderr);
        progress->is_drawn = false;
    }
}

void progress_finish(struct progress *progress, uint64_t done, uint64_t total, uint64_t count)
{
    if (!progress->is_on) {
        return;
    }
    progress_draw(progress, done, total, count, uv_hrtime());
    if (progress->is_bar) {
        fputc('\n', stderr);
        progress->is_drawn = false;
    }
}

/*
 * Reads a file or stdin line by line, on the loop: a pipe or terminal that has nothing yet blocks
 * nobody, and one that is not asked for more is not read from (back-pressure). Memory: the longest
 * line, at most LINES_BYTES_MAX.
 */
#ifndef KVCTL_LINES_H
#define KVCTL_LINES_H

#include "text_buffer.h"

#include <stdbool.h>
#include <uv.h>

/* Room for the largest value (64 MiB) in its longest form, six characters a byte, and its key. */
#define LINES_BYTES_MAX (400u * 1024u * 1024u)

enum lines_result {
    LINES_LINE,     /* here is one */
    LINES_WAIT,     /* on_readable will be called when it is worth asking again */
    LINES_END,      /* no more */
    LINES_TOO_LONG, /* a line longer than LINES_BYTES_MAX was skipped */
    LINES_FAILED    /* reading failed: see `error` */
};

struct lines {
    int fd;
    bool is_opened;     /* by us: close it */
    bool is_waited_for; /* watcher is an initialised handle */
    bool is_ended;
    bool is_skipping;
    int error;     /* errno */
    int waiter_fd; /* see lines.c; -1: none, reading never blocks */
    uv_poll_t watcher;
    struct text_buffer buffer;
    size_t at;       /* first byte not given out yet */
    size_t searched; /* no newline before this */
    uint64_t number; /* of the line given last, from 1 */
    uint64_t bytes_read;
    uint64_t bytes_total; /* 0: unknown */
    void (*on_readable)(void *ctx);
    void *ctx;
};

/* path "-": stdin. Returns 0 or an errno. */
int lines_open(struct lines *lines, uv_loop_t *loop, const char *path,
               void (*on_readable)(void *ctx), void *ctx);

/* The next line without its newline, valid until the next call. */
enum lines_result lines_next(struct lines *lines, const uint8_t **ret_line, size_t *ret_len);

/* Bytes of the lines given out. */
uint64_t lines_bytes_taken(const struct lines *lines);

/* The watcher is gone when the loop has run once more. */
void lines_close(struct lines *lines);

#endif

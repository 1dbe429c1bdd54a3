/*
 * Waiting for a pipe: uv_poll would set O_NONBLOCK, which stdin may share with the shell and with
 * our stdout. So it watches an epoll descriptor of ours that holds stdin. What epoll does not take
 * (regular files, /dev/null) never blocks for long and is simply read.
 */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_READ_BYTES 262144u

static void lines_on_event(uv_poll_t *watcher, int status, int events)
{
    (void)status;
    (void)events;
    struct lines *lines = watcher->data;
    uv_poll_stop(watcher);
    lines->on_readable(lines->ctx);
}

static int lines_make_waiter(struct lines *lines, uv_loop_t *loop)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        return errno;
    }
    struct epoll_event event = {.events = EPOLLIN};
    int error = 0;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lines->fd, &event) != 0) {
        error = errno == EPERM ? 0 : errno;
        goto out;
    }
    error = -uv_poll_init(loop, &lines->watcher, epoll_fd);
    if (error != 0) {
        goto out;
    }
    lines->watcher.data = lines;
    lines->is_waited_for = true;
    lines->waiter_fd = epoll_fd;
    return 0;
out:
    close(epoll_fd);
    return error;
}

int lines_open(struct lines *lines, uv_loop_t *loop, const char *path,
               void (*on_readable)(void *ctx), void *ctx)
{
    memset(lines, 0, sizeof(*lines));
    lines->fd = STDIN_FILENO;
    lines->waiter_fd = -1;
    lines->on_readable = on_readable;
    lines->ctx = ctx;
    if (strcmp(path, "-") != 0) {
        lines->fd = open(path, O_RDONLY | O_CLOEXEC);
        lines->is_opened = true;
    }
    struct stat info;
    if (lines->fd < 0 || fstat(lines->fd, &info) != 0) {
        int error = errno;
        lines_close(lines);
        return error;
    }
    if (S_ISREG(info.st_mode)) {
        lines->bytes_total = (uint64_t)info.st_size;
        return 0;
    }
    int error = S_ISDIR(info.st_mode) ? EISDIR : lines_make_waiter(lines, loop);
    if (error != 0) {
        lines_close(lines);
    }
    return error;
}

/* Whether read() would not block; else starts to wait. */
static bool lines_is_readable(struct lines *lines)
{
    if (!lines->is_waited_for) {
        return true;
    }
    struct pollfd poll_fd = {.fd = lines->fd, .events = POLLIN};
    if (poll(&poll_fd, 1, 0) != 0) {
        return true;
    }
    uv_poll_start(&lines->watcher, UV_READABLE, lines_on_event);
    return false;
}

/* Reads one piece behind what is there. LINES_LINE: there is more, or the end was reached. */
static enum lines_result lines_read(struct lines *lines)
{
    if (!lines_is_readable(lines)) {
        return LINES_WAIT;
    }
    if (lines->at > 0) {
        /* Only the beginning of one line is left: cheap to move. */
        lines->buffer.len -= lines->at;
        memmove(lines->buffer.bytes, lines->buffer.bytes + lines->at, lines->buffer.len);
        lines->searched -= lines->at;
        lines->at = 0;
    }
    uint8_t *room = text_buffer_room(&lines->buffer, LINES_READ_BYTES);
    ssize_t len = read(lines->fd, room, LINES_READ_BYTES);
    if (len < 0 && (errno == EINTR || errno == EAGAIN)) {
        return LINES_LINE;
    }
    if (len < 0) {
        lines->error = errno;
        return LINES_FAILED;
    }
    lines->is_ended = len == 0;
    lines->buffer.len += (size_t)len;
    lines->bytes_read += (uint64_t)len;
    return LINES_LINE;
}

/* Drops the beginning of a line that is longer than it may be. */
static void lines_limit(struct lines *lines)
{
    if (lines->buffer.len - lines->at > LINES_BYTES_MAX) {
        lines->is_skipping = true;
        lines->buffer.len = lines->at;
        lines->searched = lines->at;
    }
}

enum lines_result lines_next(struct lines *lines, const uint8_t **ret_line, size_t *ret_len)
{
    for (;;) {
        struct text_buffer *buffer = &lines->buffer;
        size_t unsearched = buffer->len - lines->searched;
        const uint8_t *newline =
            unsearched == 0 ? NULL : memchr(buffer->bytes + lines->searched, '\n', unsearched);
        bool is_last = newline == NULL && lines->is_ended;
        if (is_last && lines->at == buffer->len && !lines->is_skipping) {
            return LINES_END;
        }
        if (newline != NULL || is_last) {
            size_t end = newline != NULL ? (size_t)(newline - buffer->bytes) : buffer->len;
            *ret_line = buffer->bytes + lines->at;
            *ret_len = end - lines->at;
            lines->at = newline != NULL ? end + 1 : end;
            lines->searched = lines->at;
            lines->number++;
            bool was_skipping = lines->is_skipping;
            lines->is_skipping = false;
            return was_skipping ? LINES_TOO_LONG : LINES_LINE;
        }
        lines->searched = buffer->len;
        lines_limit(lines);
        enum lines_result result = lines_read(lines);
        if (result != LINES_LINE) {
            return result;
        }
    }
}

uint64_t lines_bytes_taken(const struct lines *lines)
{
    return lines->bytes_read - (lines->buffer.len - lines->at);
}

void lines_close(struct lines *lines)
{
    if (lines->is_waited_for) {
        uv_poll_stop(&lines->watcher);
        uv_close((uv_handle_t *)&lines->watcher, NULL);
        lines->is_waited_for = false;
    }
    if (lines->waiter_fd >= 0) {
        close(lines->waiter_fd);
        lines->waiter_fd = -1;
    }
    if (lines->is_opened && lines->fd >= 0) {
        close(lines->fd);
    }
    lines->fd = -1;
    text_buffer_close(&lines->buffer);
}

#include "kit.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void kit_make_folder(char *ret_path)
{
    const char *base = getenv("TMPDIR");
    snprintf(ret_path, KIT_PATH_MAX, "%s/kvnode-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(ret_path));
}

static int kit_remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void kit_remove_folder(const char *path)
{
    assert_int_equal(nftw(path, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void kit_join(const char *folder, const char *name, char *ret_path)
{
    assert_true(snprintf(ret_path, KIT_PATH_MAX, "%s/%s", folder, name) < (int)KIT_PATH_MAX);
}

size_t kit_read_file(const char *path, void *ret_bytes, size_t size)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t len = read(fd, ret_bytes, size);
    assert_true(len >= 0 && (size_t)len < size);
    close(fd);
    return (size_t)len;
}

void kit_write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void kit_on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void kit_on_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

void kit_run_until(uv_loop_t *loop, const bool *condition)
{
    bool is_late = false;
    bool is_closed = false;
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    timer.data = &is_late;
    uv_timer_start(&timer, kit_on_deadline, KIT_DEADLINE_MS, 0);
    while (!*condition && !is_late) {
        uv_run(loop, UV_RUN_ONCE);
    }
    timer.data = &is_closed;
    uv_close((uv_handle_t *)&timer, kit_on_closed);
    while (!is_closed) {
        uv_run(loop, UV_RUN_NOWAIT);
    }
    assert_false(is_late);
}

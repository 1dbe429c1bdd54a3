#include "run.h"

#include "kvctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_WORDS_MAX 24

static char run_folder[200];

void run_open_folder(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(run_folder, sizeof(run_folder), "%s/kvctl-test-XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(run_folder) == NULL) {
        abort();
    }
}

const char *run_path(const char *name)
{
    static char paths[4][512];
    static uint32_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", run_folder, name);
    return path;
}

void run_close_folder(void)
{
    DIR *folder = opendir(run_folder);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            unlink(run_path(entry->d_name));
        }
    }
    closedir(folder);
    rmdir(run_folder);
}

void run_write_file(const char *name, const void *bytes, size_t len)
{
    FILE *file = fopen(run_path(name), "wb");
    if (file == NULL || fwrite(bytes, 1, len, file) != len || fclose(file) != 0) {
        abort();
    }
}

bool run_read_file(const char *name, struct text_buffer *ret_bytes)
{
    FILE *file = fopen(run_path(name), "rb");
    if (file == NULL) {
        return false;
    }
    struct text_buffer bytes = {0};
    size_t len;
    do {
        len = fread(text_buffer_room(&bytes, 65536), 1, 65535, file);
        bytes.len += len;
    } while (len > 0);
    fclose(file);
    *text_buffer_room(&bytes, 1) = 0;
    *ret_bytes = bytes;
    return true;
}

void run_set_input(const void *bytes, size_t len)
{
    run_write_file("stdin", bytes, len);
}

/* Puts the file in the place of a standard descriptor; returns a copy of that. */
static int run_redirect(int standard, const char *name, int flags)
{
    int saved = dup(standard);
    int fd = open(run_path(name), flags, 0600);
    if (saved < 0 || fd < 0 || dup2(fd, standard) < 0) {
        abort();
    }
    close(fd);
    return saved;
}

static void run_restore(int standard, int saved)
{
    dup2(saved, standard);
    close(saved);
}

void run_kvctl(struct run *run, ...)
{
    char *words[RUN_WORDS_MAX] = {(char *)(uintptr_t) "kvctl"};
    int words_len = 1;
    va_list args;
    va_start(args, run);
    const char *word;
    while ((word = va_arg(args, const char *)) != NULL && words_len + 1 < RUN_WORDS_MAX) {
        words[words_len++] = (char *)(uintptr_t)word;
    }
    va_end(args);
    fflush(stdout);
    fflush(stderr);
    int in = run_redirect(STDIN_FILENO, "stdin", O_RDONLY | O_CREAT);
    int out = run_redirect(STDOUT_FILENO, "stdout", O_WRONLY | O_CREAT | O_TRUNC);
    int err = run_redirect(STDERR_FILENO, "stderr", O_WRONLY | O_CREAT | O_TRUNC);
    run->status = kvctl_run(words_len, words);
    fflush(stdout);
    fflush(stderr);
    run_restore(STDIN_FILENO, in);
    run_restore(STDOUT_FILENO, out);
    run_restore(STDERR_FILENO, err);
    if (!run_read_file("stdout", &run->out) || !run_read_file("stderr", &run->err)) {
        abort();
    }
    unlink(run_path("stdin"));
}

void run_close(struct run *run)
{
    text_buffer_close(&run->out);
    text_buffer_close(&run->err);
}

#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PROC_PAUSE_NS   5000000
#define PROC_TAIL_BYTES 6000u

uint64_t proc_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void proc_pause(void)
{
    struct timespec pause = {0, PROC_PAUSE_NS};
    nanosleep(&pause, NULL);
}

void proc_join(const char *folder, const char *name, char *ret_path)
{
    int len = snprintf(ret_path, PROC_PATH_MAX, "%s/%s", folder, name);
    assert_true(len > 0 && (unsigned)len < PROC_PATH_MAX);
}

char *proc_read_file(const char *path, size_t *ret_len)
{
    size_t len = 0;
    size_t size = 65536;
    char *text = malloc(size);
    assert_non_null(text);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0) {
        if (len + 1 == size) {
            size *= 2;
            text = realloc(text, size);
            assert_non_null(text);
        }
        ssize_t got = read(fd, text + len, size - len - 1);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[len] = '\0';
    if (ret_len != NULL) {
        *ret_len = len;
    }
    return text;
}

void proc_write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    size_t done = 0;
    while (done < len) {
        ssize_t took = write(fd, (const char *)bytes + done, len - done);
        assert_true(took > 0);
        done += (size_t)took;
    }
    assert_int_equal(close(fd), 0);
}

static int proc_remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

void proc_remove_folder(const char *path)
{
    nftw(path, proc_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int proc_open_output(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

/* In the child: only calls that are allowed between fork and exec. */
static void proc_become(const char *working, int out, int err, const char *const *argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int in = open("/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(err, STDERR_FILENO) < 0 || (working != NULL && chdir(working) != 0)) {
        _exit(126);
    }
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void proc_start(struct proc *proc, const char *folder, const char *name, const char *working,
                const char *const *argv)
{
    char file[128];
    assert_int_equal(proc->pid, 0);
    snprintf(file, sizeof(file), "%s.out", name);
    proc_join(folder, file, proc->out);
    snprintf(file, sizeof(file), "%s.err", name);
    proc_join(folder, file, proc->err);
    int out = proc_open_output(proc->out);
    int err = proc_open_output(proc->err);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        proc_become(working, out, err, argv);
    }
    close(out);
    close(err);
    proc->pid = pid;
}

bool proc_is_running(struct proc *proc)
{
    if (proc->pid == 0) {
        return false;
    }
    pid_t pid = waitpid(proc->pid, &proc->wait_status, WNOHANG);
    assert_true(pid >= 0 || errno == EINTR);
    if (pid != proc->pid) {
        return true;
    }
    proc->pid = 0;
    return false;
}

void proc_signal(const struct proc *proc, int number)
{
    assert_true(proc->pid > 0);
    assert_int_equal(kill(proc->pid, number), 0);
}

int proc_wait(struct proc *proc, uint32_t deadline_ms)
{
    uint64_t end_ms = proc_now_ms() + deadline_ms;
    while (proc_is_running(proc)) {
        if (proc_now_ms() > end_ms) {
            proc_kill(proc);
            fail_msg("the process of %s does not end within %u ms", proc->err, deadline_ms);
        }
        proc_pause();
    }
    if (!WIFEXITED(proc->wait_status)) {
        fail_msg("the process of %s was ended by signal %d", proc->err,
                 WTERMSIG(proc->wait_status));
    }
    return WEXITSTATUS(proc->wait_status);
}

void proc_kill(struct proc *proc)
{
    if (!proc_is_running(proc)) {
        return;
    }
    kill(proc->pid, SIGKILL);
    while (waitpid(proc->pid, &proc->wait_status, 0) < 0 && errno == EINTR) {
    }
    proc->pid = 0;
}

void proc_print_tail(const char *path)
{
    size_t len = 0;
    char *text = proc_read_file(path, &len);
    size_t from = len > PROC_TAIL_BYTES ? len - PROC_TAIL_BYTES : 0;
    fprintf(stderr, "--- %s, the last %zu of %zu bytes\n%s\n", path, len - from, len, text + from);
    free(text);
}

#include "host/isolate_process.h"

#include "host/isolate.h"
#include "host/isolate_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Without a pid_fd: how often the pid is looked at. */
#define ISOLATE_LOOK_MS 100

/* Of the socket, each way: a usual batch goes into it at once. The kernel may give less. */
#define ISOLATE_SOCKET_BYTES 1048576

uint64_t isolate_process_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* Default dispositions; those signals blocked that the child is going to ignore, so that none comes
 * in between; a process group of its own, so that a Ctrl-C of the terminal is not for it. */
static int isolate_process_set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t set;
    sigfillset(&set);
    int error = posix_spawnattr_setsigdefault(attributes, &set);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (error == 0) {
        error = posix_spawnattr_setsigmask(attributes, &set);
    }
    if (error == 0) {
        error = posix_spawnattr_setpgroup(attributes, 0);
    }
    if (error == 0) {
        error = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    }
    return error;
}

/* What a plugin prints goes to stderr: stdout is the node's, for its `ready` line. */
static int isolate_process_set_files(posix_spawn_file_actions_t *files, int socket)
{
    int error = posix_spawn_file_actions_adddup2(files, socket, ISOLATE_CHILD_FD);
    if (error == 0) {
        error = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(files, STDERR_FILENO, STDOUT_FILENO);
    }
    if (error == 0) {
        error = posix_spawn_file_actions_addclosefrom_np(files, ISOLATE_CHILD_FD + 1);
    }
    return error;
}

static int isolate_process_spawn(int socket, pid_t *ret_pid)
{
    char *arguments[] = {"kvnode", ISOLATE_CHILD_ARGUMENT, NULL};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    int error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        return error;
    }
    error = posix_spawn_file_actions_init(&files);
    if (error != 0) {
        posix_spawnattr_destroy(&attributes);
        return error;
    }
    error = isolate_process_set_attributes(&attributes);
    if (error == 0) {
        error = isolate_process_set_files(&files, socket);
    }
    if (error == 0) {
        error = posix_spawn(ret_pid, "/proc/self/exe", &files, &attributes, arguments, environ);
    }
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

int32_t isolate_process_start(struct isolate_process *process, char *ret_text)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        snprintf(ret_text, ISOLATE_PROCESS_TEXT_MAX, "no socket pair for the plugin's process: %s",
                 strerror(errno));
        return KV_E_IO;
    }
    int bytes = ISOLATE_SOCKET_BYTES;
    for (int i = 0; i < 2; i++) {
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    pid_t pid = 0;
    int error = isolate_process_spawn(ends[1], &pid);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        snprintf(ret_text, ISOLATE_PROCESS_TEXT_MAX,
                 "cannot start a process for the plugin (/proc/self/exe): %s", strerror(error));
        return KV_E_IO;
    }
    process->pid = pid;
    process->pid_fd = pidfd_open(pid, 0);
    process->socket = ends[0];
    return KV_OK;
}

/* True when it has ended; it stays to be reaped. */
static bool isolate_process_has_ended(const struct isolate_process *process)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == process->pid;
}

enum isolate_wait isolate_process_wait(const struct isolate_process *process, short events,
                                       int64_t timeout_ms)
{
    uint64_t end_ms = isolate_process_now_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
    for (;;) {
        struct pollfd fds[2] = {{process->socket, events, 0}, {process->pid_fd, POLLIN, 0}};
        uint64_t now_ms = isolate_process_now_ms();
        int64_t left_ms = timeout_ms < 0 ? -1 : now_ms < end_ms ? (int64_t)(end_ms - now_ms) : 0;
        bool is_slice = process->pid_fd < 0 && (left_ms < 0 || left_ms > ISOLATE_LOOK_MS);
        int wait_ms = is_slice ? ISOLATE_LOOK_MS : left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
        bool had_ended = process->pid_fd < 0 && isolate_process_has_ended(process);
        int ready = poll(fds, 2, had_ended ? 0 : wait_ms);
        if (ready > 0 && fds[0].revents != 0) {
            return ISOLATE_READY;
        }
        if (had_ended) {
            return ISOLATE_ENDED;
        }
        if (ready > 0) {
            /* It ended: what it wrote before is there by now, if anything. */
            fds[0].revents = 0;
            return poll(fds, 1, 0) > 0 ? ISOLATE_READY : ISOLATE_ENDED;
        }
        if (timeout_ms >= 0 && isolate_process_now_ms() >= end_ms) {
            return ISOLATE_EXPIRED;
        }
    }
}

/* Reaps it; false: it still runs after grace_ms. */
static bool isolate_process_reap(const struct isolate_process *process, int64_t grace_ms,
                                 int *ret_status)
{
    struct isolate_process only_pid = *process;
    only_pid.socket = -1;
    if (isolate_process_wait(&only_pid, 0, grace_ms) == ISOLATE_EXPIRED) {
        return false;
    }
    pid_t pid;
    do {
        pid = waitpid(process->pid, ret_status, 0);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0) {
        *ret_status = -1; /* somebody told the system to forget our children */
    }
    return true;
}

int isolate_process_end(struct isolate_process *process, int64_t grace_ms, char *ret_text,
                        bool *ret_was_killed)
{
    int status = -1;
    *ret_was_killed = !isolate_process_reap(process, grace_ms, &status);
    if (*ret_was_killed) {
        kill(process->pid, SIGKILL);
        isolate_process_reap(process, -1, &status);
    }
    close(process->socket);
    if (process->pid_fd >= 0) {
        close(process->pid_fd);
    }
    *process = (struct isolate_process){0, -1, -1};
    if (status == -1) {
        snprintf(ret_text, ISOLATE_PROCESS_TEXT_MAX, "its exit status is not known");
        return 0;
    }
    if (!WIFSIGNALED(status)) {
        snprintf(ret_text, ISOLATE_PROCESS_TEXT_MAX, "exit status %d", WEXITSTATUS(status));
        return 0;
    }
    const char *name = sigdescr_np(WTERMSIG(status));
    snprintf(ret_text, ISOLATE_PROCESS_TEXT_MAX, "signal %d (%s)", WTERMSIG(status),
             name == NULL ? "unknown" : name);
    return WTERMSIG(status);
}

/*
 * Happy path: three pipes, fork and exec of /proc/self/exe with the request as arguments, then the
 * pipes are read until all are closed or the time is over, and the process is waited for.
 *
 * Failure: a process that hangs, or that keeps a pipe open, is killed with its whole group. It dies
 * with its parent, so a kit that is interrupted leaves nothing running.
 */
#include "spawn.h"
#include "report.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPAWN_ARGUMENTS_MAX (KIT_GIVEN_MAX + 32u)
#define SPAWN_NUMBERS_MAX   6u
#define SPAWN_NUMBER_LEN    32u

struct spawn_arguments {
    const char *list[SPAWN_ARGUMENTS_MAX];
    uint32_t len;
    char numbers[SPAWN_NUMBERS_MAX][SPAWN_NUMBER_LEN];
    uint32_t numbers_len;
    char *settings[KIT_GIVEN_MAX]; /* "name=value" */
    uint32_t settings_len;
};

static void spawn_add(struct spawn_arguments *arguments, const char *name, const char *value)
{
    if (value != NULL) {
        arguments->list[arguments->len++] = name;
        arguments->list[arguments->len++] = value;
    }
}

static void spawn_add_number(struct spawn_arguments *arguments, const char *name, uint64_t number)
{
    char *text = arguments->numbers[arguments->numbers_len++];
    snprintf(text, SPAWN_NUMBER_LEN, "%" PRIu64, number);
    spawn_add(arguments, name, text);
}

/* The command line that main() makes the same request of. */
static void spawn_arguments_make(const struct kit_request *request,
                                 struct spawn_arguments *ret_arguments)
{
    memset(ret_arguments, 0, sizeof(*ret_arguments));
    spawn_add(ret_arguments, "kvplugin", "check");
    spawn_add(ret_arguments, "--as-case", request->as_case);
    spawn_add(ret_arguments, "--as-writer", request->as_writer);
    spawn_add(ret_arguments, "--folder", request->folder);
    spawn_add(ret_arguments, "--listen", request->listen);
    spawn_add_number(ret_arguments, "--number", request->number);
    spawn_add_number(ret_arguments, "--after", request->after);
    spawn_add_number(ret_arguments, "--rounds", request->rounds);
    spawn_add_number(ret_arguments, "--timeout", request->timeout_s);
    spawn_add_number(ret_arguments, "--seed", request->seed);
    if (request->is_volatile) {
        ret_arguments->list[ret_arguments->len++] = "--volatile";
    }
    spawn_add(ret_arguments, "--", request->plugin);
    for (uint32_t i = 0; i < request->given_len; i++) {
        size_t size = strlen(request->given[i].name) + strlen(request->given[i].value) + 2;
        char *text = alloc_bytes(size);
        snprintf(text, size, "%s=%s", request->given[i].name, request->given[i].value);
        ret_arguments->settings[ret_arguments->settings_len++] = text;
        ret_arguments->list[ret_arguments->len++] = text;
    }
}

/* In the new process: its descriptors, then the program. */
static _Noreturn void spawn_become(const struct spawn_arguments *arguments, pid_t parent,
                                   int output, int report, int data)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDONLY);
    /* The pipes are above the numbers that they get. */
    bool is_set = getppid() == parent && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
                  dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0 &&
                  dup2(report, REPORT_FD) >= 0 && dup2(data, SPAWN_DATA_FD) >= 0;
    if (is_set) {
        execv("/proc/self/exe", (char *const *)arguments->list);
    }
    _exit(126);
}

/* A pipe whose ends stand above the descriptors that the new process gets. */
static bool spawn_pipe(int *ends)
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0) {
        return false;
    }
    ends[0] = fcntl(low[0], F_DUPFD_CLOEXEC, 10);
    ends[1] = fcntl(low[1], F_DUPFD_CLOEXEC, 10);
    close(low[0]);
    close(low[1]);
    return ends[0] >= 0 && ends[1] >= 0;
}

bool spawn_start(const struct kit_request *request, struct spawned *ret_spawned)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}; /* output, report, data */
    struct spawn_arguments arguments;
    pid_t parent = getpid();
    pid_t pid = -1;
    spawn_arguments_make(request, &arguments);
    if (spawn_pipe(pipes[0]) && spawn_pipe(pipes[1]) && spawn_pipe(pipes[2])) {
        pid = fork();
    }
    if (pid == 0) {
        spawn_become(&arguments, parent, pipes[0][1], pipes[1][1], pipes[2][1]);
    }
    for (uint32_t i = 0; i < arguments.settings_len; i++) {
        alloc_free(arguments.settings[i]);
    }
    for (int i = 0; i < 3; i++) {
        if (pipes[i][1] >= 0) {
            close(pipes[i][1]);
        }
        if (pid < 0 && pipes[i][0] >= 0) {
            close(pipes[i][0]);
        }
    }
    *ret_spawned = (struct spawned){pid, pipes[1][0], pipes[0][0], pipes[2][0]};
    return pid > 0;
}

static int64_t spawn_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads once into room; what has no room is dropped. False: the pipe is at its end. */
static bool spawn_read(int fd, char *room, size_t size, size_t *len)
{
    char piece[4096];
    ssize_t got = read(fd, piece, sizeof(piece));
    if (got < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    size_t kept = (size_t)got < size - *len ? (size_t)got : size - *len;
    memcpy(room + *len, piece, kept);
    *len += kept;
    return got > 0;
}

/* Ends each line with a NUL in place of the newline. */
static void spawn_split(struct spawn_end *end)
{
    for (size_t i = 0; i < end->report_len; i++) {
        if (end->report[i] == '\n') {
            end->report[i] = '\0';
        }
    }
}

static void spawn_make_line(char *text, size_t len)
{
    text[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f) {
            text[i] = text[i] == '\n' ? '|' : ' ';
        }
    }
}

void spawn_finish(struct spawned *spawned, int timeout_ms, struct spawn_end *ret_end)
{
    int64_t until_ms = spawn_now_ms() + timeout_ms;
    size_t output_len = 0;
    char dropped[1];
    memset(ret_end, 0, sizeof(*ret_end));
    ret_end->report = alloc_zeroed(1, SPAWN_REPORT_MAX + 1);
    struct pollfd ready[3] = {{spawned->report_fd, POLLIN, 0},
                              {spawned->output_fd, POLLIN, 0},
                              {spawned->data_fd, POLLIN, 0}};
    while (ready[0].fd >= 0 || ready[1].fd >= 0 || ready[2].fd >= 0) {
        int64_t left_ms = until_ms - spawn_now_ms();
        if (left_ms <= 0) {
            ret_end->is_timeout = true;
            break;
        }
        if (poll(ready, 3, (int)left_ms) <= 0) {
            continue;
        }
        size_t none = sizeof(dropped);
        if (ready[0].revents != 0 &&
            !spawn_read(ready[0].fd, ret_end->report, SPAWN_REPORT_MAX, &ret_end->report_len)) {
            ready[0].fd = -1;
        }
        if (ready[1].revents != 0 &&
            !spawn_read(ready[1].fd, ret_end->output, SPAWN_OUTPUT_MAX - 1, &output_len)) {
            ready[1].fd = -1;
        }
        if (ready[2].revents != 0 && !spawn_read(ready[2].fd, dropped, sizeof(dropped), &none)) {
            ready[2].fd = -1;
        }
    }
    if (ret_end->is_timeout) {
        kill(-spawned->pid, SIGKILL);
    }
    while (waitpid(spawned->pid, &ret_end->status, 0) < 0 && errno == EINTR) {
    }
    kill(-spawned->pid, SIGKILL); /* what the plugin may have started */
    close(spawned->report_fd);
    close(spawned->output_fd);
    close(spawned->data_fd);
    spawn_split(ret_end);
    spawn_make_line(ret_end->output, output_len);
}

void spawn_end_close(struct spawn_end *end)
{
    alloc_free(end->report);
    end->report = NULL;
}

const char *spawn_next_line(const struct spawn_end *end, const char *line)
{
    const char *next = line == NULL ? end->report : line + strlen(line) + 1;
    return next < end->report + end->report_len ? next : NULL;
}

const char *spawn_text_of(const struct spawn_end *end, char mark)
{
    for (const char *line = spawn_next_line(end, NULL); line != NULL;
         line = spawn_next_line(end, line)) {
        if (line[0] == mark) {
            return line + 1;
        }
    }
    return NULL;
}

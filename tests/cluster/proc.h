/*
 * One process of the test's own: its output in files, its end within a deadline. The caller is a
 * cmocka test; what does not come in time fails it. A process dies with the test program, whatever
 * happens to that.
 */
#ifndef CLUSTER_PROC_H
#define CLUSTER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_PATH_MAX    512u
#define PROC_DEADLINE_MS 30000u

struct proc {
    pid_t pid; /* 0: none, or it has ended and was reaped */
    int wait_status;
    char out[PROC_PATH_MAX]; /* files of its stdout and stderr */
    char err[PROC_PATH_MAX];
};

/* Milliseconds of a clock that only goes forward. */
uint64_t proc_now_ms(void);

/* Between two looks at a condition. */
void proc_pause(void);

/* ret_path (PROC_PATH_MAX bytes) = folder/name. */
void proc_join(const char *folder, const char *name, char *ret_path);

/* A whole file with a NUL behind it, to be freed; "" when there is none. ret_len may be NULL. */
char *proc_read_file(const char *path, size_t *ret_len);
void proc_write_file(const char *path, const void *bytes, size_t len);

/* Removes a folder with all that is in it; none there is fine. */
void proc_remove_folder(const char *path);

/* Starts argv[0] with its output in folder/NAME.out and .err. working: its folder; NULL: ours. */
void proc_start(struct proc *proc, const char *folder, const char *name, const char *working,
                const char *const *argv);

/* Whether it is there; reaps it when it has just ended. */
bool proc_is_running(struct proc *proc);

void proc_signal(const struct proc *proc, int number);

/* Waits for its end and returns the exit status. An end by a signal fails the test. */
int proc_wait(struct proc *proc, uint32_t deadline_ms);

/* Ends it with SIGKILL and reaps it; one that is not running is fine. */
void proc_kill(struct proc *proc);

/* The last lines of a file, to stderr, for whoever reads a failed test. */
void proc_print_tail(const char *path);

#endif

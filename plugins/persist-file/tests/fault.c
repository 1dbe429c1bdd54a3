#include "fault.h"

#include "base/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_LEN 512u
#define NAME_LEN   64u

/* A write that no sync has followed: the bytes that were there before. */
struct unsynced {
    struct unsynced *next; /* an older one */
    int fd;
    off_t offset;
    size_t len;
    uint8_t before[];
};

/* A rename that no sync of its folder has followed. */
struct renamed {
    struct renamed *next;
    int folder;
    char from[NAME_LEN];
    char to[NAME_LEN];
};

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault_plan fault_plan;
static bool fault_on;
static uint64_t fault_count;
static struct rand fault_rand;
static struct unsynced *fault_unsynced;
static struct renamed *fault_renamed;

ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t offset);
ssize_t __real_pread(int fd, void *bytes, size_t len, off_t offset);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_ftruncate(int fd, off_t len);
int __real_openat(int folder, const char *name, int flags, mode_t mode);
int __real_renameat(int folder, const char *from, int to_folder, const char *to);
int __real_unlinkat(int folder, const char *name, int flags);
int __real_mkdirat(int folder, const char *name, mode_t mode);
int __real_close(int fd);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_openat(int folder, const char *name, int flags, ...);
int __wrap_renameat(int folder, const char *from, int to_folder, const char *to);
int __wrap_unlinkat(int folder, const char *name, int flags);
int __wrap_mkdirat(int folder, const char *name, mode_t mode);
int __wrap_close(int fd);

void fault_begin(const struct fault_plan *plan)
{
    pthread_mutex_lock(&fault_lock);
    fault_plan = *plan;
    fault_count = 0;
    fault_rand.state = plan->seed;
    fault_on = true;
    pthread_mutex_unlock(&fault_lock);
}

uint64_t fault_end(void)
{
    pthread_mutex_lock(&fault_lock);
    fault_on = false;
    uint64_t count = fault_count;
    pthread_mutex_unlock(&fault_lock);
    return count;
}

/* Loses what was not synced, as a power cut may: any sectors of it, any names. */
static void fault_lose(void)
{
    for (struct unsynced *it = fault_unsynced; it != NULL; it = it->next) {
        struct stat stat;
        if (fstat(it->fd, &stat) != 0) {
            continue;
        }
        for (size_t at = 0; at < it->len;) {
            size_t step = SECTOR_LEN - (size_t)((uint64_t)it->offset + at) % SECTOR_LEN;
            step = step < it->len - at ? step : it->len - at;
            off_t offset = it->offset + (off_t)at;
            if (rand_percent(&fault_rand, 50) && offset + (off_t)step <= stat.st_size) {
                (void)__real_pwrite(it->fd, it->before + at, step, offset);
            }
            at += step;
        }
    }
    for (struct renamed *it = fault_renamed; it != NULL; it = it->next) {
        if (rand_percent(&fault_rand, 50)) {
            (void)__real_renameat(it->folder, it->to, it->folder, it->from);
        }
    }
}

static _Noreturn void fault_die(void)
{
    if (fault_plan.action == FAULT_POWER) {
        fault_lose();
    }
    for (;;) {
        (void)kill(getpid(), SIGKILL);
    }
}

/* With the lock held: whether the fault is at this call. */
static bool fault_is_here(uint32_t call)
{
    if (!fault_on || (fault_plan.calls & call) == 0) {
        return false;
    }
    fault_count++;
    if (fault_plan.action == 0 || fault_count < fault_plan.at) {
        return false;
    }
    return fault_count == fault_plan.at ||
           (fault_plan.action == FAULT_ERROR && fault_count <= fault_plan.last);
}

/* Takes the lock. 0: do the call; else it fails with errno set. Not for writes. */
static int fault_enter(uint32_t call)
{
    pthread_mutex_lock(&fault_lock);
    if (!fault_is_here(call)) {
        return 0;
    }
    if (fault_plan.action != FAULT_ERROR) {
        fault_die();
    }
    errno = fault_plan.error;
    return -1;
}

static void fault_leave(void)
{
    int error = errno;
    pthread_mutex_unlock(&fault_lock);
    errno = error;
}

static void fault_remember(int fd, size_t len, off_t offset)
{
    struct unsynced *entry = calloc(1, sizeof(*entry) + len);
    if (entry == NULL) {
        abort();
    }
    entry->fd = fd;
    entry->offset = offset;
    entry->len = len;
    (void)__real_pread(fd, entry->before, len, offset); /* beyond the end: zeros */
    entry->next = fault_unsynced;
    fault_unsynced = entry;
}

static void fault_forget(int fd)
{
    for (struct unsynced **at = &fault_unsynced; *at != NULL;) {
        struct unsynced *entry = *at;
        if (entry->fd == fd) {
            *at = entry->next;
            free(entry);
        } else {
            at = &entry->next;
        }
    }
    for (struct renamed **at = &fault_renamed; *at != NULL;) {
        struct renamed *entry = *at;
        if (entry->folder == fd) {
            *at = entry->next;
            free(entry);
        } else {
            at = &entry->next;
        }
    }
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    pthread_mutex_lock(&fault_lock);
    bool here = fault_is_here(FAULT_WRITE);
    if (fault_on && fault_plan.action == FAULT_POWER) {
        fault_remember(fd, len, offset);
    }
    ssize_t put;
    if (here) {
        size_t some = (size_t)rand_below(&fault_rand, (uint64_t)len + 1);
        put = some == 0 ? 0 : __real_pwrite(fd, bytes, some, offset);
        if (fault_plan.action != FAULT_ERROR) {
            fault_die();
        }
        /* A full disk takes some of it and refuses the rest. */
        if (put <= 0 || put == (ssize_t)len || fault_plan.last == 0) {
            errno = fault_plan.error;
            put = -1;
        }
    } else {
        put = __real_pwrite(fd, bytes, len, offset);
    }
    fault_leave();
    return put;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t offset)
{
    ssize_t got = fault_enter(FAULT_READ);
    if (got == 0) {
        got = __real_pread(fd, bytes, len, offset);
    }
    fault_leave();
    return got;
}

static int fault_sync(int fd, int (*sync)(int))
{
    int status = fault_enter(FAULT_SYNC);
    if (status == 0) {
        status = sync(fd);
        if (status == 0) {
            fault_forget(fd);
        }
    }
    fault_leave();
    return status;
}

int __wrap_fsync(int fd)
{
    return fault_sync(fd, __real_fsync);
}

int __wrap_fdatasync(int fd)
{
    return fault_sync(fd, __real_fdatasync);
}

int __wrap_ftruncate(int fd, off_t len)
{
    int status = fault_enter(FAULT_TRUNCATE);
    if (status == 0) {
        status = __real_ftruncate(fd, len);
    }
    fault_leave();
    return status;
}

int __wrap_openat(int folder, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    int fd = fault_enter(FAULT_OPEN);
    if (fd == 0) {
        fd = __real_openat(folder, name, flags, mode);
    }
    fault_leave();
    return fd;
}

int __wrap_renameat(int folder, const char *from, int to_folder, const char *to)
{
    int status = fault_enter(FAULT_RENAME);
    if (status == 0) {
        status = __real_renameat(folder, from, to_folder, to);
        if (status == 0 && fault_on && fault_plan.action == FAULT_POWER) {
            struct renamed *entry = calloc(1, sizeof(*entry));
            if (entry == NULL) {
                abort();
            }
            entry->folder = folder;
            (void)snprintf(entry->from, NAME_LEN, "%s", from);
            (void)snprintf(entry->to, NAME_LEN, "%s", to);
            entry->next = fault_renamed;
            fault_renamed = entry;
        }
    }
    fault_leave();
    return status;
}

int __wrap_unlinkat(int folder, const char *name, int flags)
{
    int status = fault_enter(FAULT_UNLINK);
    if (status == 0) {
        status = __real_unlinkat(folder, name, flags);
    }
    fault_leave();
    return status;
}

int __wrap_mkdirat(int folder, const char *name, mode_t mode)
{
    int status = fault_enter(FAULT_MKDIR);
    if (status == 0) {
        status = __real_mkdirat(folder, name, mode);
    }
    fault_leave();
    return status;
}

/* What is not synced stays so when the file is closed. */
int __wrap_close(int fd)
{
    pthread_mutex_lock(&fault_lock);
    int kept = -1;
    for (struct unsynced *it = fault_unsynced; it != NULL; it = it->next) {
        if (it->fd == fd) {
            kept = kept < 0 ? dup(fd) : kept;
            it->fd = kept;
        }
    }
    int status = __real_close(fd);
    fault_leave();
    return status;
}

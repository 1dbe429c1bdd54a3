#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_LEN_MAX  255
#define LOG_DIGITS    10
#define TEMP_SUFFIX   ".tmp"
#define LOG_PREFIX    "log."
#define OTHERS_PREFIX "__db." /* of files that Berkeley DB makes for a while */

/* Opens path part by part and creates what is missing; returns the folder or -1 with errno. */
static int folder_create(const char *path)
{
    int fd = open(path[0] == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && *path != '\0') {
        char part[PART_LEN_MAX + 1];
        size_t len = strcspn(path, "/");
        if (len > PART_LEN_MAX) {
            (void)close(fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, len);
        part[len] = '\0';
        path += len + strspn(path + len, "/");
        if (len == 0) {
            continue;
        }
        int next = -1;
        if (mkdirat(fd, part, 0700) == 0 ? fsync(fd) == 0 : errno == EEXIST) {
            next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        int error = errno;
        (void)close(fd);
        errno = error;
        fd = next;
    }
    return fd;
}

int32_t folder_open(struct store *store)
{
    int fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = folder_create(store->path);
    }
    if (fd < 0) {
        return store_fail(store, "open the folder", store->path);
    }
    int32_t status = KV_OK;
    int lock_fd = openat(fd, FOLDER_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd < 0) {
        status = store_fail(store, "open", FOLDER_LOCK);
        goto out;
    }
    /* flock() and not fcntl(): it also keeps two instances of one process apart. */
    if (flock(lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            store_log(store, KV_LOG_ERROR, "in use: another instance has the folder %s open",
                      store->path);
            status = KV_E_EXISTS;
        } else {
            status = store_fail(store, "lock", FOLDER_LOCK);
        }
        goto out;
    }
    /* Berkeley DB opens files by name at any time, so the name must not depend on the process's
     * working folder. */
    if (realpath(store->path, store->home) == NULL) {
        status = store_fail(store, "resolve the name of", store->path);
        goto out;
    }
    store->folder_fd = fd;
    store->lock_fd = lock_fd;
out:
    if (status != KV_OK) {
        (void)close(fd);
        if (lock_fd >= 0) {
            (void)close(lock_fd);
        }
    }
    return status;
}

void folder_close(struct store *store)
{
    (void)close(store->lock_fd);
    (void)close(store->folder_fd);
    store->lock_fd = -1;
    store->folder_fd = -1;
}

int32_t folder_sync(const struct store *store)
{
    return fsync(store->folder_fd) == 0 ? KV_OK : store_fail(store, "sync the folder", store->path);
}

static bool folder_is_log(const char *name)
{
    size_t prefix_len = strlen(LOG_PREFIX);
    return strncmp(name, LOG_PREFIX, prefix_len) == 0 && strlen(name) == prefix_len + LOG_DIGITS &&
           strspn(name + prefix_len, "0123456789") == LOG_DIGITS;
}

static bool folder_is_content(const char *name)
{
    return folder_is_log(name) || strcmp(name, FOLDER_DATA) == 0 ||
           strcmp(name, FOLDER_STATE) == 0 ||
           strncmp(name, OTHERS_PREFIX, strlen(OTHERS_PREFIX)) == 0;
}

/* Calls back for each name in the folder. */
static int32_t folder_each(const struct store *store, folder_log_fn on_name, void *ctx)
{
    int fd = openat(store->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        int32_t status = store_fail(store, "list the folder", store->path);
        if (fd >= 0) {
            (void)close(fd);
        }
        return status;
    }
    int32_t status = KV_OK;
    errno = 0;
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        status = on_name(ctx, entry->d_name);
        if (status != KV_OK) {
            break;
        }
        errno = 0;
    }
    if (status == KV_OK && errno != 0) {
        status = store_fail(store, "list the folder", store->path);
    }
    (void)closedir(stream);
    return status;
}

struct folder_visit {
    const struct store *store;
    folder_log_fn on_log;
    void *ctx;
    bool content;
};

static int32_t folder_visit_log(void *ctx, const char *name)
{
    struct folder_visit *visit = ctx;
    return folder_is_log(name) ? visit->on_log(visit->ctx, name) : KV_OK;
}

static int32_t folder_visit_content(void *ctx, const char *name)
{
    struct folder_visit *visit = ctx;
    visit->content = visit->content || folder_is_content(name);
    return KV_OK;
}

/* Asked only where nothing of a store is but, perhaps, a small file that was being written. */
static int32_t folder_visit_others(void *ctx, const char *name)
{
    struct folder_visit *visit = ctx;
    size_t len = strlen(name);
    bool is_temp =
        len > strlen(TEMP_SUFFIX) && strcmp(name + len - strlen(TEMP_SUFFIX), TEMP_SUFFIX) == 0;
    bool is_ours = name[0] == '.' || strcmp(name, FOLDER_LOCK) == 0 || folder_is_content(name) ||
                   is_temp || strcmp(name, "lost+found") == 0;
    visit->content = visit->content || !is_ours;
    return KV_OK;
}

static int32_t folder_visit_clear(void *ctx, const char *name)
{
    struct folder_visit *visit = ctx;
    if (folder_is_content(name) && unlinkat(visit->store->folder_fd, name, 0) != 0) {
        return store_fail(visit->store, "remove", name);
    }
    return KV_OK;
}

int32_t folder_each_log(const struct store *store, folder_log_fn on_log, void *ctx)
{
    struct folder_visit visit = {.store = store, .on_log = on_log, .ctx = ctx};
    return folder_each(store, folder_visit_log, &visit);
}

int32_t folder_has_content(const struct store *store, bool *ret_content)
{
    struct folder_visit visit = {.store = store};
    int32_t status = folder_each(store, folder_visit_content, &visit);
    if (status == KV_OK) {
        *ret_content = visit.content;
    }
    return status;
}

int32_t folder_has_others(const struct store *store, bool *ret_others)
{
    struct folder_visit visit = {.store = store};
    int32_t status = folder_each(store, folder_visit_others, &visit);
    if (status == KV_OK) {
        *ret_others = visit.content;
    }
    return status;
}

int32_t folder_clear(const struct store *store)
{
    struct folder_visit visit = {.store = store};
    int32_t status = folder_each(store, folder_visit_clear, &visit);
    return status == KV_OK ? folder_sync(store) : status;
}

int32_t folder_trim(const struct store *store, const char *name, uint32_t block_len)
{
    struct stat stat_buffer;
    if (fstatat(store->folder_fd, name, &stat_buffer, 0) != 0) {
        return errno == ENOENT ? KV_OK : store_fail(store, "examine", name);
    }
    off_t excess = stat_buffer.st_size % (off_t)block_len;
    if (excess == 0) {
        return KV_OK;
    }
    int fd = openat(store->folder_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return store_fail(store, "open", name);
    }
    int32_t status = KV_OK;
    if (ftruncate(fd, stat_buffer.st_size - excess) != 0 || fsync(fd) != 0) {
        status = store_fail(store, "cut back", name);
    }
    (void)close(fd);
    store_log(store, KV_LOG_WARN, "%s: a part of a page at the end, %lld bytes, is cut off", name,
              (long long)excess);
    return status;
}

int32_t folder_write(const struct store *store, const char *name, const char *text)
{
    char temp[FOLDER_NAME_LEN_MAX];
    size_t len = strlen(text);
    int32_t status = KV_OK;
    (void)snprintf(temp, sizeof(temp), "%s%s", name, TEMP_SUFFIX);
    int fd = openat(store->folder_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return store_fail(store, "create", temp);
    }
    errno = ENOSPC; /* what a short write means */
    if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0) {
        status = store_fail(store, "write", temp);
    }
    (void)close(fd);
    if (status == KV_OK && renameat(store->folder_fd, temp, store->folder_fd, name) != 0) {
        status = store_fail(store, "put in place", name);
    }
    if (status != KV_OK) {
        (void)unlinkat(store->folder_fd, temp, 0);
        return status;
    }
    return folder_sync(store);
}

int32_t folder_read(const struct store *store, const char *name, char *text, size_t size)
{
    int fd = openat(store->folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? KV_E_NOT_FOUND : store_fail(store, "open", name);
    }
    ssize_t len = read(fd, text, size - 1);
    int32_t status = len < 0 ? store_fail(store, "read", name) : KV_OK;
    (void)close(fd);
    if (status == KV_OK) {
        text[len] = '\0';
    }
    return status;
}

int32_t folder_remove(const struct store *store, const char *name)
{
    if (unlinkat(store->folder_fd, name, 0) != 0) {
        return errno == ENOENT ? KV_OK : store_fail(store, "remove", name);
    }
    return folder_sync(store);
}

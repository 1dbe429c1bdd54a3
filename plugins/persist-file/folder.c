#include "folder.h"

#include "format.h"
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUMBER_DIGITS 12
#define PART_LEN_MAX  255

void folder_name(uint32_t kind, uint64_t number, char *name)
{
    (void)snprintf(name, FOLDER_NAME_LEN_MAX, "%s-%0*" PRIu64,
                   kind == FORMAT_FILE_BASE ? "base" : "segment", NUMBER_DIGITS, number);
}

/* The number in a name as folder_name() makes it, else 0. */
static uint64_t folder_number(const char *name, uint32_t kind)
{
    const char *prefix = kind == FORMAT_FILE_BASE ? "base-" : "segment-";
    size_t prefix_len = strlen(prefix);
    if (strncmp(name, prefix, prefix_len) != 0 || strlen(name) != prefix_len + NUMBER_DIGITS) {
        return 0;
    }
    uint64_t number = 0;
    for (const char *at = name + prefix_len; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') {
            return 0;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    return number;
}

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

/* The name of a file that is none of a store's, in a folder that has none of a store's: somebody
 * else's folder. Empty: it is ours, or empty. Names with a dot in front count for nothing. */
static void folder_find_foreign(int folder_fd, char *ret_name, size_t size)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    ret_name[0] = '\0';
    if (stream == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return; /* whoever lists it later says why */
    }
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        const char *name = entry->d_name;
        if (folder_number(name, FORMAT_FILE_BASE) > 0 ||
            folder_number(name, FORMAT_FILE_SEGMENT) > 0) {
            ret_name[0] = '\0';
            break;
        }
        if (name[0] != '.' && strcmp(name, FOLDER_LOCK) != 0 &&
            strcmp(name, FOLDER_SEGMENT_TEMP) != 0 && strcmp(name, FOLDER_BASE_TEMP) != 0 &&
            strcmp(name, "lost+found") != 0) {
            (void)snprintf(ret_name, size, "%s", name);
        }
    }
    (void)closedir(stream);
}

int32_t folder_open(struct store *store)
{
    char foreign[NAME_MAX + 1];
    int fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = folder_create(store->path);
    }
    if (fd < 0) {
        return store_fail(store, "open the folder", store->path);
    }
    folder_find_foreign(fd, foreign, sizeof(foreign));
    if (foreign[0] != '\0') {
        store_log(
            store, KV_LOG_ERROR,
            "the folder is not empty (%s) and has no store of persist-file: it is left alone; "
            "name another folder",
            foreign);
        (void)close(fd);
        return KV_E_VERSION;
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
            store_log(store, KV_LOG_ERROR, "in use: another instance has this folder open");
            status = KV_E_EXISTS;
        } else {
            status = store_fail(store, "lock", FOLDER_LOCK);
        }
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

/* A stream over the folder with a read position of its own; NULL with errno. */
static DIR *folder_stream(const struct store *store)
{
    int fd = openat(store->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL && fd >= 0) {
        (void)close(fd);
    }
    return stream;
}

int32_t folder_list(const struct store *store, struct folder_listing *ret_listing)
{
    struct folder_listing listing = {0, 0};
    DIR *stream = folder_stream(store);
    if (stream == NULL) {
        return store_fail(store, "list the folder", store->path);
    }
    errno = 0;
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        uint64_t base = folder_number(entry->d_name, FORMAT_FILE_BASE);
        uint64_t segment = folder_number(entry->d_name, FORMAT_FILE_SEGMENT);
        listing.base = base > listing.base ? base : listing.base;
        listing.segment = segment > listing.segment ? segment : listing.segment;
        errno = 0;
    }
    int error = errno;
    (void)closedir(stream);
    if (error != 0) {
        errno = error;
        return store_fail(store, "list the folder", store->path);
    }
    *ret_listing = listing;
    return KV_OK;
}

int32_t folder_sync(const struct store *store)
{
    return fsync(store->folder_fd) == 0 ? KV_OK : store_fail(store, "sync the folder", store->path);
}

int32_t folder_sync_parent(const struct store *store)
{
    int fd = openat(store->folder_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return store_fail(store, "open the parent of", store->path);
    }
    int32_t status = fsync(fd) == 0 ? KV_OK : store_fail(store, "sync the parent of", store->path);
    (void)close(fd);
    return status;
}

void folder_clean(const struct store *store, uint64_t number)
{
    DIR *stream = folder_stream(store);
    if (stream == NULL) {
        store_log(store, KV_LOG_WARN, "cannot list the folder to remove old files");
        return;
    }
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        uint64_t base = folder_number(entry->d_name, FORMAT_FILE_BASE);
        uint64_t segment = folder_number(entry->d_name, FORMAT_FILE_SEGMENT);
        uint64_t found = base > 0 ? base : segment;
        if (found > 0 && found < number && unlinkat(store->folder_fd, entry->d_name, 0) != 0) {
            store_log(store, KV_LOG_WARN, "cannot remove the old file %s", entry->d_name);
        }
    }
    (void)closedir(stream);
}

void folder_clean_temp(const struct store *store)
{
    (void)unlinkat(store->folder_fd, FOLDER_SEGMENT_TEMP, 0);
    (void)unlinkat(store->folder_fd, FOLDER_BASE_TEMP, 0);
}

#include "host/durable_file.h"

#include "base/alloc.h"
#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <kvnode/status.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t durable_file_error(const char *call, const char *name, char *ret_error)
{
    snprintf(ret_error, DURABLE_FILE_ERROR_MAX, "%s of %s failed: %s", call, name, strerror(errno));
    return KV_E_IO;
}

/* KV_OK with fewer bytes than len when the file ends before. */
static int32_t durable_file_read_all(int fd, const char *name, uint8_t *bytes, size_t len,
                                     size_t *ret_len, char *ret_error)
{
    size_t done = 0;
    while (done < len) {
        ssize_t part = read(fd, bytes + done, len - done);
        if (part < 0 && errno != EINTR) {
            return durable_file_error("read", name, ret_error);
        }
        if (part == 0) {
            break;
        }
        done += part > 0 ? (size_t)part : 0;
    }
    *ret_len = done;
    return KV_OK;
}

int32_t durable_file_read(int folder_fd, const char *name, size_t len_max, uint8_t **ret_bytes,
                          size_t *ret_len, char *ret_error)
{
    uint8_t *bytes = NULL;
    int32_t status = KV_OK;
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        bool is_absent = errno == ENOENT;
        durable_file_error("open", name, ret_error);
        return is_absent ? KV_E_NOT_FOUND : KV_E_IO;
    }
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        status = durable_file_error("stat", name, ret_error);
        goto out;
    }
    if (stat.st_size < 0 || (uint64_t)stat.st_size > len_max) {
        snprintf(ret_error, DURABLE_FILE_ERROR_MAX, "%s is longer than %zu bytes", name, len_max);
        status = KV_E_TOO_LARGE;
        goto out;
    }
    bytes = alloc_bytes((size_t)stat.st_size);
    status = durable_file_read_all(fd, name, bytes, (size_t)stat.st_size, ret_len, ret_error);
out:
    close(fd);
    if (status != KV_OK) {
        alloc_free(bytes);
        return status;
    }
    *ret_bytes = bytes;
    return KV_OK;
}

static int32_t durable_file_write_all(int fd, const char *name, const uint8_t *bytes, size_t len,
                                      char *ret_error)
{
    size_t done = 0;
    while (done < len) {
        ssize_t part = write(fd, bytes + done, len - done);
        if (part < 0 && errno != EINTR) {
            return durable_file_error("write", name, ret_error);
        }
        done += part > 0 ? (size_t)part : 0;
    }
    return KV_OK;
}

int32_t durable_file_write(int folder_fd, const char *name, const void *bytes, size_t len,
                           char *ret_error)
{
    char temporary[128];
    int temporary_len = snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    KV_CHECK(temporary_len > 0 && (size_t)temporary_len < sizeof(temporary));

    /* O_TRUNC: a file that a crash left half written is begun anew. */
    int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return durable_file_error("open", temporary, ret_error);
    }
    int32_t status = durable_file_write_all(fd, temporary, bytes, len, ret_error);
    if (status == KV_OK && fsync(fd) != 0) {
        status = durable_file_error("fsync", temporary, ret_error);
    }
    if (close(fd) != 0 && status == KV_OK) {
        status = durable_file_error("close", temporary, ret_error);
    }
    if (status != KV_OK) {
        return status;
    }
    if (renameat(folder_fd, temporary, folder_fd, name) != 0) {
        return durable_file_error("rename", temporary, ret_error);
    }
    if (fsync(folder_fd) != 0) {
        return durable_file_error("fsync of the folder", name, ret_error);
    }
    return KV_OK;
}

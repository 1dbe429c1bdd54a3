#include "host/identity.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "host/durable_file.h"
#include "logic/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <kvnode/status.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY_FILE      "node.id"
#define IDENTITY_LOCK      "lock"
#define IDENTITY_BYTES_MAX 256u

/* The line of a folder that is a copy. */
#define IDENTITY_REFUSED "refused copy\n"

uint64_t identity_draw(void)
{
    uint64_t number = 0;
    while (number == 0) {
        ssize_t len = getrandom(&number, sizeof(number), 0);
        KV_CHECK(len == (ssize_t)sizeof(number) || (len < 0 && errno == EINTR));
    }
    return number;
}

uint64_t identity_draw_incarnation(void)
{
    uint64_t number = 0;
    while (number == 0) {
        number = identity_draw() >> INCARNATION_JOIN_BITS << INCARNATION_JOIN_BITS;
    }
    return number;
}

/* Writes the file's text into ret_text (IDENTITY_BYTES_MAX bytes) and returns its length. Version
 * 1, which is read only, has no line `starts`, and only a copy's has a line `refused`. */
static size_t identity_encode(const struct identity *identity, bool is_version_1, char *ret_text)
{
    char starts[64] = "";
    if (!is_version_1) {
        snprintf(starts, sizeof(starts), "starts %016" PRIx64 "\n%s", identity->starts,
                 identity->is_copy ? IDENTITY_REFUSED : "");
    }
    int len = snprintf(ret_text, IDENTITY_BYTES_MAX,
                       "kvnode identity %d\nnode %016" PRIx64 "\ncluster %016" PRIx64 "\n%s",
                       is_version_1 ? 1 : 2, identity->node, identity->cluster, starts);
    KV_CHECK(len > 0);
    uint32_t crc = crc32c(0, ret_text, (size_t)len);
    int end_len =
        snprintf(ret_text + len, IDENTITY_BYTES_MAX - (size_t)len, "crc32c %08" PRIx32 "\n", crc);
    KV_CHECK(end_len > 0);
    return (size_t)len + (size_t)end_len;
}

/* The number behind "\nNAME " in the text; 0 when there is none. */
static uint64_t identity_parse_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 16);
}

/* Good is only what identity_encode() makes of the numbers in it: nothing else needs checking. */
static bool identity_decode(const uint8_t *bytes, size_t len, struct identity *ret_identity)
{
    char text[IDENTITY_BYTES_MAX + 1];
    if (len > IDENTITY_BYTES_MAX) {
        return false;
    }
    memcpy(text, bytes, len);
    text[len] = '\0';
    struct identity found = {
        .node = identity_parse_number(text, "\nnode "),
        .cluster = identity_parse_number(text, "\ncluster "),
        .starts = identity_parse_number(text, "\nstarts "),
        .is_copy = strstr(text, "\n" IDENTITY_REFUSED) != NULL,
    };
    bool is_version_1 = strstr(text, "\nstarts ") == NULL;
    char expected[IDENTITY_BYTES_MAX];
    if (found.node == 0 || found.starts == UINT64_MAX ||
        identity_encode(&found, is_version_1, expected) != len ||
        memcmp(expected, bytes, len) != 0) {
        return false;
    }
    ret_identity->node = found.node;
    ret_identity->cluster = found.cluster;
    ret_identity->starts = found.starts;
    ret_identity->is_copy = found.is_copy;
    return true;
}

static int32_t identity_make_folder(const char *folder, char *ret_error)
{
    char path[PATH_MAX];
    size_t len = strlen(folder);
    if (len == 0 || len >= sizeof(path)) {
        snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder's path has no usable length");
        return KV_E_IO;
    }
    memcpy(path, folder, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        path[i] = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder %s cannot be made: %s", folder,
                     strerror(errno));
            return KV_E_IO;
        }
        path[i] = folder[i];
    }
    return KV_OK;
}

/* Takes the lock and writes this process's number into the file, for people. */
static int32_t identity_lock(struct identity *identity, const char *folder, char *ret_error)
{
    identity->lock_fd =
        openat(identity->folder_fd, IDENTITY_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (identity->lock_fd < 0) {
        snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder %s is not writable: %s", folder,
                 strerror(errno));
        return KV_E_IO;
    }
    char text[32] = "";
    if (flock(identity->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        int reason = errno;
        ssize_t len = pread(identity->lock_fd, text, sizeof(text) - 1, 0);
        text[len < 0 ? 0 : len] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (reason != EWOULDBLOCK) {
            snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder %s cannot be locked: %s",
                     folder, strerror(reason));
            return KV_E_IO;
        }
        snprintf(ret_error, IDENTITY_ERROR_MAX,
                 "the data folder %s is in use by process %s: each node needs a folder of its own",
                 folder, text[0] == '\0' ? "?" : text);
        return KV_E_EXISTS;
    }
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(identity->lock_fd, 0) != 0 ||
        pwrite(identity->lock_fd, text, (size_t)len, 0) != len) {
        snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder %s is not writable: %s", folder,
                 strerror(errno));
        return KV_E_IO;
    }
    return KV_OK;
}

static int32_t identity_write(const struct identity *identity, char *ret_error)
{
    char text[IDENTITY_BYTES_MAX];
    size_t len = identity_encode(identity, false, text);
    return durable_file_write(identity->folder_fd, IDENTITY_FILE, text, len, ret_error);
}

/* Reads the file, or draws a number, and counts the start. */
static int32_t identity_read(struct identity *identity, const char *folder, char *ret_error)
{
    char error[DURABLE_FILE_ERROR_MAX];
    uint8_t *bytes = NULL;
    size_t len = 0;
    int32_t status = durable_file_read(identity->folder_fd, IDENTITY_FILE, IDENTITY_BYTES_MAX,
                                       &bytes, &len, error);
    if (status == KV_E_NOT_FOUND) {
        identity->node = identity_draw();
        status = KV_OK;
    } else if (status == KV_E_TOO_LARGE ||
               (status == KV_OK && !identity_decode(bytes, len, identity))) {
        snprintf(ret_error, IDENTITY_ERROR_MAX,
                 "%s/" IDENTITY_FILE " is damaged: restore it from a copy, or, unless this node is "
                 "the arbiter or the primary, remove the folder %s and start again: the node then "
                 "joins as a new "
                 "one and resynchronises from the others",
                 folder, folder);
        alloc_free(bytes);
        return KV_E_CORRUPT;
    }
    alloc_free(bytes);
    if (status == KV_OK && identity->is_copy) {
        snprintf(ret_error, IDENTITY_ERROR_MAX,
                 "the data folder %s is a copy of another node's folder, and was refused as such: "
                 "two nodes cannot be one. Give this node a data folder of its own, an empty one: "
                 "it then joins as a new node and takes the content from the others",
                 folder);
        return KV_E_REJECTED;
    }
    if (status == KV_OK) {
        identity->starts++;
        status = identity_write(identity, error);
    }
    if (status != KV_OK) {
        snprintf(ret_error, IDENTITY_ERROR_MAX, "in the data folder %s: %s", folder, error);
    }
    return status;
}

int32_t identity_open(const char *folder, struct identity *ret_identity, char *ret_error)
{
    struct identity identity = {.folder_fd = -1, .lock_fd = -1};
    int32_t status = identity_make_folder(folder, ret_error);
    if (status != KV_OK) {
        return status;
    }
    identity.folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (identity.folder_fd < 0) {
        snprintf(ret_error, IDENTITY_ERROR_MAX, "the data folder %s cannot be opened: %s", folder,
                 strerror(errno));
        return KV_E_IO;
    }
    status = identity_lock(&identity, folder, ret_error);
    if (status == KV_OK) {
        status = identity_read(&identity, folder, ret_error);
    }
    if (status != KV_OK) {
        identity_close(&identity);
        return status;
    }
    *ret_identity = identity;
    return KV_OK;
}

int32_t identity_set_cluster(struct identity *identity, uint64_t cluster, char *ret_error)
{
    uint64_t before = identity->cluster;
    if (cluster == before) {
        return KV_OK;
    }
    identity->cluster = cluster;
    char error[DURABLE_FILE_ERROR_MAX];
    int32_t status = identity_write(identity, error);
    if (status != KV_OK) {
        identity->cluster = before;
        snprintf(ret_error, IDENTITY_ERROR_MAX, "%s", error);
    }
    return status;
}

int32_t identity_mark_copy(struct identity *identity, char *ret_error)
{
    identity->is_copy = true;
    char error[DURABLE_FILE_ERROR_MAX];
    int32_t status = identity_write(identity, error);
    if (status != KV_OK) {
        identity->is_copy = false;
        snprintf(ret_error, IDENTITY_ERROR_MAX, "%s", error);
    }
    return status;
}

void identity_close(struct identity *identity)
{
    if (identity->lock_fd >= 0) {
        close(identity->lock_fd);
    }
    if (identity->folder_fd >= 0) {
        close(identity->folder_fd);
    }
    identity->lock_fd = -1;
    identity->folder_fd = -1;
}

#include "host/plugin_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef KV_PLUGIN_FOLDER_NEAR
#define KV_PLUGIN_FOLDER_NEAR "../lib/kvnode/plugins"
#endif
#ifndef KV_PLUGIN_FOLDER
#define KV_PLUGIN_FOLDER "/usr/local/lib/kvnode/plugins"
#endif

#define PLUGIN_FILE_SEGMENTS_MAX 64u

/* A folder given relative to the program's own: "../plugins.d" is where a build tree has the
 * plugins, KV_PLUGIN_FOLDER_NEAR where an installed one has them, wherever it was moved. "" when
 * that cannot be told. */
static void plugin_file_near_program(const char *relative, char *ret_folder, size_t size)
{
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    ret_folder[0] = '\0';
    if (len <= 0) {
        return;
    }
    program[len] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL) {
        return;
    }
    *slash = '\0';
    int written = snprintf(ret_folder, size, "%s/%s", program, relative);
    if (written < 0 || (size_t)written >= size) {
        ret_folder[0] = '\0';
    }
}

static int32_t plugin_file_search(const char *name, const char *const *folders,
                                  uint32_t folders_len, char *ret_path)
{
    for (uint32_t i = 0; i < folders_len; i++) {
        if (folders[i] == NULL || folders[i][0] == '\0') {
            continue;
        }
        int written = snprintf(ret_path, PATH_MAX, "%s/%s.so", folders[i], name);
        if (written > 0 && written < PATH_MAX && access(ret_path, F_OK) == 0) {
            return KV_OK;
        }
    }
    return KV_E_NOT_FOUND;
}

int32_t plugin_file_find(const char *name, const char *folder, char *ret_path, char *ret_error)
{
    if (name[0] == '\0') {
        snprintf(ret_error, LOADER_ERROR_MAX, "the name of a plugin is empty");
        return KV_E_INVALID;
    }
    if (strlen(name) >= PATH_MAX) {
        snprintf(ret_error, LOADER_ERROR_MAX, "%.64s...: the path of the plugin is too long", name);
        return KV_E_INVALID;
    }
    if (strchr(name, '/') != NULL) {
        snprintf(ret_path, PATH_MAX, "%s", name);
        return KV_OK;
    }
    if (folder != NULL) {
        int32_t status = plugin_file_search(name, &folder, 1, ret_path);
        if (status != KV_OK) {
            snprintf(ret_error, LOADER_ERROR_MAX, "there is no plugin %.64s.so in the folder %s",
                     name, folder);
        }
        return status;
    }
    char near_program[PATH_MAX];
    char moved[PATH_MAX];
    plugin_file_near_program("../plugins.d", near_program, sizeof(near_program));
    plugin_file_near_program(KV_PLUGIN_FOLDER_NEAR, moved, sizeof(moved));
    const char *folders[] = {getenv("KV_PLUGINS"), near_program, moved, KV_PLUGIN_FOLDER};
    int32_t status = plugin_file_search(name, folders, 4, ret_path);
    if (status != KV_OK) {
        snprintf(ret_error, LOADER_ERROR_MAX,
                 "there is no plugin %.64s.so in $KV_PLUGINS (%.100s), %.150s or %s", name,
                 folders[0] == NULL ? "not set" : folders[0], near_program, KV_PLUGIN_FOLDER);
    }
    return status;
}

/* Whether all that is to be mapped is there. */
static int32_t plugin_file_check_segments(const char *path, int fd, uint64_t file_len,
                                          const Elf64_Ehdr *head, char *ret_error)
{
    Elf64_Phdr segments[PLUGIN_FILE_SEGMENTS_MAX];
    size_t len = (size_t)head->e_phnum * sizeof(segments[0]);
    if (head->e_phentsize != sizeof(segments[0]) || head->e_phnum > PLUGIN_FILE_SEGMENTS_MAX ||
        pread(fd, segments, len, (off_t)head->e_phoff) != (ssize_t)len) {
        snprintf(ret_error, LOADER_ERROR_MAX,
                 "%.256s: the shared object is damaged or cut off: its program headers cannot be "
                 "read",
                 path);
        return KV_E_INVALID;
    }
    for (uint32_t i = 0; i < head->e_phnum; i++) {
        uint64_t end = segments[i].p_offset + segments[i].p_filesz;
        bool is_mapped = segments[i].p_type == PT_LOAD || segments[i].p_type == PT_DYNAMIC;
        if (is_mapped && (end < segments[i].p_offset || end > file_len)) {
            snprintf(ret_error, LOADER_ERROR_MAX,
                     "%.256s: the shared object is cut off: the file has %" PRIu64
                     " bytes, the plugin needs %" PRIu64,
                     path, file_len, end);
            return KV_E_INVALID;
        }
    }
    return KV_OK;
}

int32_t plugin_file_check(const char *path, char *ret_error)
{
    int32_t status = KV_OK;
    Elf64_Ehdr head;
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int error = errno;
        snprintf(ret_error, LOADER_ERROR_MAX, "%.256s: cannot open the plugin: %s", path,
                 strerror(error));
        return error == ENOENT ? KV_E_NOT_FOUND : KV_E_INVALID;
    }
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        snprintf(ret_error, LOADER_ERROR_MAX, "%.256s: the plugin is no regular file", path);
        status = KV_E_INVALID;
        goto out;
    }
    if (pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
        memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS64) {
        status = plugin_file_check_segments(path, fd, (uint64_t)about.st_size, &head, ret_error);
    }
out:
    close(fd);
    return status;
}

/*
 * A new project: every file of the template, with the template's name replaced by the new one, in
 * texts and in file names. Where anything fails, what was made is left for the user to look at.
 */
#include "kvplugin.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_NAME_MAX    63u
#define NEW_FILE_MAX    1048576u
#define NEW_PLACEHOLDER "PLUGIN_NAME" /* in the template's texts and file names */

static bool new_is_name(const char *name)
{
    size_t len = strlen(name);
    bool is_fine = len >= 1 && len <= NEW_NAME_MAX && name[0] >= 'a' && name[0] <= 'z';
    for (size_t i = 0; i < len && is_fine; i++) {
        is_fine = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
                  name[i] == '-';
    }
    return is_fine;
}

/* The template's folder: $KV_TEMPLATE, beside the program when installed, in the build tree, or
 * where it was to be installed. */
static bool new_find_template(char *ret_folder)
{
    char program[PATH_MAX];
    const char *given = getenv("KV_TEMPLATE");
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    const char *const places[] = {given, KV_TEMPLATE_NEAR, "../template", KV_TEMPLATE_INSTALLED};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (places[i] == NULL) {
            continue;
        }
        bool is_near = i == 1 || i == 2;
        int written = is_near ? snprintf(ret_folder, PATH_MAX, "%s/%s", program, places[i])
                              : snprintf(ret_folder, PATH_MAX, "%s", places[i]);
        if (written > 0 && written < PATH_MAX && access(ret_folder, R_OK | X_OK) == 0) {
            return true;
        }
    }
    return false;
}

/* from with each placeholder replaced, to be freed with alloc_free(). */
static char *new_replace(const char *from, size_t len, const char *name, size_t *ret_len)
{
    size_t placeholder_len = strlen(NEW_PLACEHOLDER);
    size_t name_len = strlen(name);
    char *text = alloc_bytes(len * (NEW_NAME_MAX + 1) / placeholder_len + len + 1);
    size_t to = 0;
    for (size_t at = 0; at < len;) {
        if (len - at >= placeholder_len &&
            memcmp(from + at, NEW_PLACEHOLDER, placeholder_len) == 0) {
            memcpy(text + to, name, name_len);
            to += name_len;
            at += placeholder_len;
        } else {
            text[to++] = from[at++];
        }
    }
    text[to] = '\0';
    *ret_len = to;
    return text;
}

static bool new_copy(const char *from, const char *to, const char *name)
{
    static char bytes[NEW_FILE_MAX];
    bool ok = false;
    size_t text_len = 0;
    char *text = NULL;
    FILE *output = NULL;
    FILE *input = fopen(from, "re");
    if (input == NULL) {
        goto out;
    }
    size_t len = fread(bytes, 1, sizeof(bytes), input);
    output = ferror(input) ? NULL : fopen(to, "wxe");
    if (output == NULL) {
        goto out;
    }
    text = new_replace(bytes, len, name, &text_len);
    ok = fwrite(text, 1, text_len, output) == text_len && fflush(output) == 0;
out:
    if (!ok) {
        fprintf(stderr, "kvplugin: cannot make %s of %s: %s\n", to, from, strerror(errno));
    }
    alloc_free(text);
    if (input != NULL) {
        fclose(input);
    }
    if (output != NULL) {
        fclose(output);
    }
    return ok;
}

static bool new_copy_all(const char *template, const char *folder, const char *name)
{
    char from[PATH_MAX + 256];
    char to[PATH_MAX + 256];
    bool ok = true;
    DIR *dir = opendir(template);
    const struct dirent *entry;
    while (dir != NULL && ok && (entry = readdir(dir)) != NULL) {
        size_t len = 0;
        if (entry->d_name[0] == '.') {
            continue;
        }
        char *file = new_replace(entry->d_name, strlen(entry->d_name), name, &len);
        snprintf(from, sizeof(from), "%s/%s", template, entry->d_name);
        snprintf(to, sizeof(to), "%s/%s", folder, file);
        ok = new_copy(from, to, name);
        alloc_free(file);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return dir != NULL && ok;
}

int verb_new(const struct arguments *arguments)
{
    char template[PATH_MAX];
    char folder[PATH_MAX];
    const char *name = arguments->name;
    if (!new_is_name(name)) {
        fprintf(stderr,
                "kvplugin: \"%.80s\" is no name of a plugin: a-z, 0-9 and '-', a letter "
                "first, at most %u bytes\n",
                name, NEW_NAME_MAX);
        return EXIT_USAGE;
    }
    if (!new_find_template(template)) {
        fprintf(stderr, "kvplugin: the template is not installed (looked in %s)\n", template);
        return EXIT_FAILED;
    }
    int len = snprintf(folder, sizeof(folder), "%s/%s",
                       arguments->dir == NULL ? "." : arguments->dir, name);
    if (len < 0 || (size_t)len >= sizeof(folder)) {
        fprintf(stderr, "kvplugin: the path is too long\n");
        return EXIT_USAGE;
    }
    if (mkdir(folder, 0777) != 0) {
        fprintf(stderr, "kvplugin: cannot make the folder %s: %s\n", folder, strerror(errno));
        return EXIT_FAILED;
    }
    if (!new_copy_all(template, folder, name)) {
        return EXIT_FAILED;
    }
    printf("%s is ready. Build it and check it:\n\n"
           "    cmake -S %s -B %s/build && cmake --build %s/build && ctest --test-dir %s/build\n\n"
           "README.md says what comes next.\n",
           folder, folder, folder, folder, folder);
    return EXIT_DONE;
}

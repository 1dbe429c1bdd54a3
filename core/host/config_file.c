/*
 * Happy path: the file is read as a whole, looked through once, parsed by libconfig, and the sets
 * are laid over the tree. A setting that came from --set has its PATH as libconfig's "hook".
 *
 * Why it is looked through: libconfig 1.5 ends the process when @include names a folder, cuts a
 * number that does not fit 32 bits without a word, and takes a NUL byte for the end. All three are
 * mistakes to report here, with their line.
 */
#include "host/config_file.h"

#include "base/alloc.h"
#include "host/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_FILE_BYTES_MAX 1048576u
#define CONFIG_FILE_DEPTH_MAX 32u /* brackets within brackets */
#define CONFIG_FILES_MAX      32u /* the file and what it includes */

/* --- mistakes and places --- */

static void config_file_add(struct config_file *file, const char *place, const char *format,
                            va_list arguments)
{
    file->mistakes_len++;
    size_t room = CONFIG_ERROR_MAX - file->error_len;
    if (file->mistakes_len > CONFIG_MISTAKES_MAX || room <= 1) {
        return;
    }
    int len = snprintf(file->error + file->error_len, room,
                       "%s%s: ", file->mistakes_len > 1 ? "\n" : "", place);
    if (len > 0 && (size_t)len < room) {
        int more =
            vsnprintf(file->error + file->error_len + len, room - (size_t)len, format, arguments);
        len += more > 0 ? more : 0;
    }
    file->error_len += (size_t)len < room ? (size_t)len : room - 1;
}

__attribute__((format(printf, 4, 5))) static void config_file_mistake_at(struct config_file *file,
                                                                         const char *path, int line,
                                                                         const char *format, ...)
{
    char place[CONFIG_PLACE_MAX];
    snprintf(place, sizeof(place), "%s:%d", path, line);
    va_list arguments;
    va_start(arguments, format);
    config_file_add(file, line > 0 ? place : path, format, arguments);
    va_end(arguments);
}

/* The name of a file as people can open it: libconfig 1.5 leaves the folder of an included one out,
 * later ones do not. NULL: the file itself. */
static void config_file_show(const struct config_file *file, const char *name, char *ret_name,
                             size_t size)
{
    size_t len = strlen(file->folder);
    if (name == NULL) {
        snprintf(ret_name, size, "%s", file->path);
    } else if (name[0] == '/' || (strncmp(name, file->folder, len) == 0 && name[len] == '/')) {
        snprintf(ret_name, size, "%s", name);
    } else {
        snprintf(ret_name, size, "%s/%s", file->folder, name);
    }
}

void config_file_place(const struct config_file *file, const config_setting_t *setting,
                       char *ret_place)
{
    for (const config_setting_t *at = setting; at != NULL; at = config_setting_parent(at)) {
        const char *set_path = config_setting_get_hook(at);
        if (set_path != NULL) {
            size_t len = strcspn(set_path, "=");
            snprintf(ret_place, CONFIG_PLACE_MAX, "--set %.*s", len < 400 ? (int)len : 400,
                     set_path);
            return;
        }
    }
    const char *path = setting == NULL ? NULL : config_setting_source_file(setting);
    uint32_t line = setting == NULL ? 0 : config_setting_source_line(setting);
    if (line == 0) { /* the root, or nothing at all */
        snprintf(ret_place, CONFIG_PLACE_MAX, "%s", file->path);
        return;
    }
    char name[CONFIG_PLACE_MAX - 16];
    config_file_show(file, path, name, sizeof(name));
    snprintf(ret_place, CONFIG_PLACE_MAX, "%s:%u", name, line);
}

void config_file_mistake(struct config_file *file, const config_setting_t *setting,
                         const char *format, ...)
{
    char place[CONFIG_PLACE_MAX];
    config_file_place(file, setting, place);
    va_list arguments;
    va_start(arguments, format);
    config_file_add(file, place, format, arguments);
    va_end(arguments);
}

/* --- looking through the text --- */

struct config_scan {
    struct config_file *file;
    const char *path;
    const char *text;
    size_t len;
    size_t at;
    int line;
    uint32_t depth;
    bool is_line_start; /* only blanks since the last newline */
    char *includes[CONFIG_FILES_MAX];
    uint32_t includes_len;
};

/* Reads a regular file as a whole into ret_text (alloc_free() it), NUL behind it. 0 or errno;
 * EFBIG: too long. */
static int config_file_slurp(const char *path, char **ret_text, size_t *ret_len)
{
    int error = 0;
    char *text = NULL;
    struct stat about;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        error = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
        goto out;
    }
    text = alloc_bytes(CONFIG_FILE_BYTES_MAX + 1);
    while (len <= CONFIG_FILE_BYTES_MAX) {
        ssize_t got = read(fd, text + len, CONFIG_FILE_BYTES_MAX + 1 - len);
        if (got < 0) {
            error = errno;
            goto out;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    if (len > CONFIG_FILE_BYTES_MAX) {
        error = EFBIG;
        goto out;
    }
    text[len] = '\0';
    *ret_text = text;
    *ret_len = len;
    text = NULL;
out:
    alloc_free(text);
    close(fd);
    return error;
}

/* The character so many places on; '\0' beyond the end. */
static char config_scan_peek(const struct config_scan *scan, size_t ahead)
{
    return ahead < scan->len - scan->at ? scan->text[scan->at + ahead] : '\0';
}

static void config_scan_step(struct config_scan *scan)
{
    char c = scan->text[scan->at++];
    if (c == '\n') {
        scan->line++;
        scan->is_line_start = true;
    } else if (c != ' ' && c != '\t') {
        scan->is_line_start = false;
    }
}

static void config_scan_comment(struct config_scan *scan, bool is_block)
{
    while (scan->at < scan->len) {
        if (is_block && config_scan_peek(scan, 0) == '*' && config_scan_peek(scan, 1) == '/') {
            scan->at += 2;
            return;
        }
        if (!is_block && config_scan_peek(scan, 0) == '\n') {
            return;
        }
        config_scan_step(scan);
    }
}

static void config_scan_string(struct config_scan *scan)
{
    int first_line = scan->line;
    scan->is_line_start = false;
    scan->at++;
    while (scan->at < scan->len && config_scan_peek(scan, 0) != '"') {
        if (config_scan_peek(scan, 0) == '\\' && scan->at + 1 < scan->len) {
            config_scan_step(scan);
        }
        config_scan_step(scan);
    }
    if (scan->at == scan->len) {
        config_file_mistake_at(scan->file, scan->path, first_line,
                               "a text begins here and does not end; put a quote behind it");
    } else {
        scan->at++;
    }
}

/* @include "NAME": remembers the file. */
static void config_scan_include(struct config_scan *scan)
{
    char name[PATH_MAX];
    size_t len = 0;
    while (config_scan_peek(scan, 0) == ' ' || config_scan_peek(scan, 0) == '\t') {
        scan->at++;
    }
    if (config_scan_peek(scan, 0) != '"') {
        return; /* libconfig reports it */
    }
    scan->at++;
    while (scan->at < scan->len && config_scan_peek(scan, 0) != '"' && len + 1 < sizeof(name)) {
        if (config_scan_peek(scan, 0) == '\\' && scan->at + 1 < scan->len) {
            scan->at++;
        }
        name[len++] = scan->text[scan->at++];
    }
    if (config_scan_peek(scan, 0) == '"') {
        scan->at++;
    }
    name[len] = '\0';
    if (name[0] == '/') {
        config_file_mistake_at(scan->file, scan->path, scan->line,
                               "@include \"%.200s\": the path must be relative to the folder of "
                               "%.200s",
                               name, scan->file->path);
    } else if (scan->includes_len == CONFIG_FILES_MAX) {
        config_file_mistake_at(scan->file, scan->path, scan->line,
                               "there are more than %u @include here", CONFIG_FILES_MAX);
    } else {
        size_t size = strlen(scan->file->folder) + 1 + len + 1;
        char *path = alloc_bytes(size);
        snprintf(path, size, "%s/%s", scan->file->folder, name);
        scan->includes[scan->includes_len++] = path;
    }
}

/* A number or a name. libconfig cuts a number that does not fit its type, without a word. */
static void config_scan_word(struct config_scan *scan)
{
    char word[64];
    size_t len = 0;
    scan->is_line_start = false;
    for (char c = config_scan_peek(scan, 0);
         (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '*' || c == '-' || c == '+' || c == '.';
         c = config_scan_peek(scan, 0)) {
        if (len + 1 < sizeof(word)) {
            word[len++] = c;
        }
        scan->at++;
    }
    word[len] = '\0';
    const char *digits = word[0] == '-' || word[0] == '+' ? word + 1 : word;
    bool is_hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (digits[0] < '0' || digits[0] > '9' || (!is_hex && strpbrk(digits, ".eE") != NULL)) {
        return; /* a name, or a number with a fraction */
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll(word, &end, is_hex ? 16 : 10);
    if (errno != 0) {
        config_file_mistake_at(scan->file, scan->path, scan->line,
                               "%s is no number of 64 bits; use a smaller one", word);
    } else if (*end == '\0' && (value > INT32_MAX || value < INT32_MIN)) {
        config_file_mistake_at(scan->file, scan->path, scan->line,
                               "%s needs an L behind it, as all numbers from 2147483648 on do: "
                               "%sL",
                               word, word);
    }
}

static void config_scan_text(struct config_scan *scan)
{
    static const char include[] = "@include";
    while (scan->at < scan->len) {
        char c = config_scan_peek(scan, 0);
        char next = config_scan_peek(scan, 1);
        if (c == '#' || (c == '/' && (next == '/' || next == '*'))) {
            config_scan_comment(scan, c == '/' && next == '*');
        } else if (c == '"') {
            config_scan_string(scan);
        } else if (c == '@' && scan->is_line_start && scan->len - scan->at >= sizeof(include) &&
                   memcmp(scan->text + scan->at, include, sizeof(include) - 1) == 0) {
            scan->at += sizeof(include) - 1;
            config_scan_include(scan);
        } else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   c == '-' || c == '+' || c == '.' || c == '*') {
            config_scan_word(scan);
        } else {
            scan->depth += c == '(' || c == '[' || c == '{' ? 1 : 0;
            scan->depth -= (c == ')' || c == ']' || c == '}') && scan->depth > 0 ? 1 : 0;
            if (scan->depth > CONFIG_FILE_DEPTH_MAX) {
                config_file_mistake_at(scan->file, scan->path, scan->line,
                                       "brackets are nested more than %u deep",
                                       CONFIG_FILE_DEPTH_MAX);
                return;
            }
            config_scan_step(scan);
        }
    }
}

/* Looks through one file; its text is alloc_free()d by the caller. NULL: it cannot be read. */
static char *config_scan_file(struct config_scan *scan, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    int error = config_file_slurp(path, &text, &len);
    if (error != 0) {
        config_file_mistake_at(scan->file, path, 0, "cannot read the configuration: %s",
                               error == EINVAL ? "it is no regular file" : strerror(error));
        return NULL;
    }
    scan->path = path;
    scan->text = text;
    scan->len = len;
    scan->at = 0;
    scan->line = 1;
    scan->depth = 0;
    scan->is_line_start = true;
    scan->includes_len = 0;
    config_scan_text(scan);
    const char *nul = memchr(text, '\0', len);
    if (nul != NULL) {
        int line = 1;
        for (const char *c = text; c < nul; c++) {
            line += *c == '\n' ? 1 : 0;
        }
        config_file_mistake_at(scan->file, path, line,
                               "there is a NUL byte; a configuration is text");
    }
    return text;
}

/* Looks through the file and all that it includes; gives the text of the file itself. */
static char *config_file_scan(struct config_file *file)
{
    struct config_scan scan = {.file = file};
    char *first = NULL;
    char *paths[CONFIG_FILES_MAX] = {alloc_string(file->path, strlen(file->path))};
    uint32_t paths_len = 1;
    for (uint32_t i = 0; i < paths_len && file->mistakes_len == 0; i++) {
        char *text = config_scan_file(&scan, paths[i]);
        if (i == 0) {
            first = text;
        } else {
            alloc_free(text);
        }
        for (uint32_t k = 0; k < scan.includes_len; k++) {
            if (paths_len < CONFIG_FILES_MAX) {
                paths[paths_len++] = scan.includes[k];
            } else {
                config_file_mistake_at(file, paths[i], 0, "more than %u files are included",
                                       CONFIG_FILES_MAX);
                alloc_free(scan.includes[k]);
            }
        }
        scan.includes_len = 0;
    }
    for (uint32_t i = 0; i < paths_len; i++) {
        alloc_free(paths[i]);
    }
    return first;
}

/* --- --set --- */

/* Copies a value that is no group: a scalar, or a list or array of scalars. */
static bool config_file_copy_scalar(config_setting_t *to, const config_setting_t *from)
{
    switch (config_setting_type(from)) {
    case CONFIG_TYPE_INT:
        return config_setting_set_int(to, config_setting_get_int(from)) == CONFIG_TRUE;
    case CONFIG_TYPE_INT64:
        return config_setting_set_int64(to, config_setting_get_int64(from)) == CONFIG_TRUE;
    case CONFIG_TYPE_FLOAT:
        return config_setting_set_float(to, config_setting_get_float(from)) == CONFIG_TRUE;
    case CONFIG_TYPE_BOOL:
        return config_setting_set_bool(to, config_setting_get_bool(from)) == CONFIG_TRUE;
    case CONFIG_TYPE_STRING:
        return config_setting_set_string(to, config_setting_get_string(from)) == CONFIG_TRUE;
    default:
        return false;
    }
}

static bool config_file_copy(config_setting_t *to, const config_setting_t *from)
{
    int type = config_setting_type(from);
    if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST) {
        return config_file_copy_scalar(to, from);
    }
    for (int i = 0; i < config_setting_length(from); i++) {
        const config_setting_t *item = config_setting_get_elem(from, (unsigned)i);
        config_setting_t *copy = config_setting_add(to, NULL, config_setting_type(item));
        if (copy == NULL || !config_file_copy_scalar(copy, item)) {
            return false;
        }
    }
    return true;
}

/* VALUE as libconfig would read it when it can, else as a text. The result belongs to tree. */
static const config_setting_t *config_file_parse_value(config_t *tree, const char *value)
{
    size_t size = strlen(value) + sizeof("v = ;");
    char *text = alloc_bytes(size);
    snprintf(text, size, "v = %s;", value);
    /* A line break could begin an @include. */
    bool is_parsed =
        strpbrk(value, "\r\n") == NULL && config_read_string(tree, text) == CONFIG_TRUE;
    alloc_free(text);
    const config_setting_t *root = config_root_setting(tree);
    if (is_parsed && config_setting_length(root) == 1) {
        const config_setting_t *parsed = config_setting_get_elem(root, 0);
        if (config_setting_type(parsed) == CONFIG_TYPE_INT) {
            /* libconfig cuts what does not fit 32 bits. */
            char *end = NULL;
            errno = 0;
            long long number = strtoll(value, &end, 0);
            if (errno == 0 && (number > INT32_MAX || number < INT32_MIN)) {
                config_destroy(tree);
                config_init(tree);
                config_setting_t *wide =
                    config_setting_add(config_root_setting(tree), "v", CONFIG_TYPE_INT64);
                config_setting_set_int64(wide, number);
                return wide;
            }
            if (errno == 0) {
                return parsed;
            }
        } else if (config_setting_type(parsed) != CONFIG_TYPE_GROUP) {
            return parsed;
        }
    }
    config_destroy(tree);
    config_init(tree);
    config_setting_t *plain =
        config_setting_add(config_root_setting(tree), "v", CONFIG_TYPE_STRING);
    config_setting_set_string(plain, value);
    return plain;
}

/* "[N]" as N, -1 for anything else. */
static int config_file_step_index(const char *step)
{
    char *end = NULL;
    if (step[0] != '[' || step[1] < '0' || step[1] > '9') {
        return -1;
    }
    long index = strtol(step + 1, &end, 10);
    return strcmp(end, "]") == 0 && index < 1000 ? (int)index : -1;
}

/* Finds, or makes, the setting of one step of a PATH within `in`. type: CONFIG_TYPE_ of a new one;
 * with is_last an old one is replaced. NULL: it cannot be. */
static config_setting_t *config_file_step(config_setting_t *in, const char *step, int type,
                                          bool is_last, const char *set)
{
    config_setting_t *found = NULL;
    int index = config_file_step_index(step);
    int in_type = config_setting_type(in);
    if (index >= 0) {
        if (in_type != CONFIG_TYPE_LIST && in_type != CONFIG_TYPE_ARRAY) {
            return NULL;
        }
        found = config_setting_get_elem(in, (unsigned)index);
        if (found == NULL && index == config_setting_length(in)) {
            found = config_setting_add(in, NULL, type);
        } else if (found != NULL && is_last && config_setting_type(found) != type) {
            return NULL; /* an item cannot be replaced by one of another type */
        }
    } else {
        if (in_type != CONFIG_TYPE_GROUP) {
            return NULL;
        }
        found = config_setting_get_member(in, step);
        if (found != NULL && is_last) {
            config_setting_remove(in, step);
            found = NULL;
        }
        if (found != NULL) {
            return found;
        }
        found = config_setting_add(in, step, type);
    }
    if (found != NULL && (is_last || config_setting_source_line(found) == 0)) {
        config_setting_set_hook(found, (void *)set);
    }
    return found;
}

/* Lays one PATH=VALUE over the tree. */
static void config_file_set(struct config_file *file, const char *set)
{
    config_t value_tree;
    const char *equals = strchr(set, '=');
    char *path = alloc_string(set, equals == NULL ? strlen(set) : (size_t)(equals - set));
    config_init(&value_tree);
    if (equals == NULL || equals == set) {
        config_file_mistake_at(file, "--set", 0, "\"%.200s\" must be PATH=VALUE", set);
        goto out;
    }
    const config_setting_t *value = config_file_parse_value(&value_tree, equals + 1);
    config_setting_t *at = config_root_setting(&file->tree);
    char *rest = path;
    while (rest != NULL) {
        char *step = strsep(&rest, ".");
        bool is_last = rest == NULL;
        int type = is_last ? config_setting_type(value)
                   : config_file_step_index(rest) >= 0 || rest[0] == '[' ? CONFIG_TYPE_LIST
                                                                         : CONFIG_TYPE_GROUP;
        at = config_file_step(at, step, type, is_last, set);
        if (at == NULL) {
            config_file_mistake_at(file, "--set", 0,
                                   "%.200s: there is no place for \"%.100s\"; a path is like "
                                   "node.name or transports.[0].listen",
                                   set, step);
            goto out;
        }
    }
    if (!config_file_copy(at, value)) {
        config_file_mistake_at(file, "--set", 0,
                               "%.200s: the value must be a number, true, false, a text, or a list "
                               "of these",
                               set);
    }
out:
    config_destroy(&value_tree);
    alloc_free(path);
}

/* --- the whole --- */

int32_t config_file_open(struct config_file *file, const char *path, const char *const *sets,
                         uint32_t sets_len, char *ret_error)
{
    const char *slash = strrchr(path, '/');
    memset(file, 0, sizeof(*file));
    config_init(&file->tree);
    file->path = path;
    file->folder =
        slash == NULL ? alloc_string(".", 1) : alloc_string(path, (size_t)(slash - path));
    file->error = ret_error;
    ret_error[0] = '\0';
    char *text = config_file_scan(file);
    if (file->mistakes_len > 0) {
        goto out;
    }
    config_set_include_dir(&file->tree, file->folder);
    if (config_read_string(&file->tree, text) != CONFIG_TRUE) {
        char name[CONFIG_PLACE_MAX - 16];
        config_file_show(file, config_error_file(&file->tree), name, sizeof(name));
        config_file_mistake_at(file, name, config_error_line(&file->tree), "%s",
                               config_error_text(&file->tree));
        goto out;
    }
    for (uint32_t i = 0; i < sets_len; i++) {
        config_file_set(file, sets[i]);
    }
out:
    alloc_free(text);
    return file->mistakes_len == 0 ? KV_OK : KV_E_INVALID;
}

void config_file_close(struct config_file *file)
{
    config_destroy(&file->tree);
    alloc_free(file->folder);
}

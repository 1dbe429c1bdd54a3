#include "content.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int content_compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void content_read(const char *path, struct content *ret_content)
{
    struct content content = {0};
    size_t len = 0;
    uint32_t lines = 0;
    content.text = proc_read_file(path, &len);
    assert_int_equal(strlen(content.text), len); /* tsv has no NUL */
    for (size_t i = 0; i < len; i++) {
        lines += content.text[i] == '\n' ? 1 : 0;
    }
    content.lines = calloc((size_t)lines + 1, sizeof(*content.lines));
    assert_non_null(content.lines);
    char *rest = content.text;
    for (char *end = strchr(rest, '\n'); end != NULL; end = strchr(rest, '\n')) {
        *end = '\0';
        content.lines[content.len++] = rest;
        rest = end + 1;
    }
    assert_int_equal(*rest, '\0'); /* the last line has its end */
    if (content.len > 0) {
        qsort(content.lines, content.len, sizeof(*content.lines), content_compare_lines);
    }
    *ret_content = content;
}

void content_export(struct rig *rig, const char *node, struct content *ret_content)
{
    char path[PROC_PATH_MAX];
    proc_join(rig->folder, "export.tsv", path);
    KVCTL_EXPECT(rig, 0, "--timeout", "20000", "export", path, "--format", "tsv", "--node", node);
    content_read(path, ret_content);
}

void content_close(struct content *content)
{
    free(content->lines);
    free(content->text);
    *content = (struct content){0};
}

/* Compares a key with the key of a line. */
static int content_compare_key(const void *key, const void *line)
{
    const char *wanted = key;
    const char *at = *(char *const *)line;
    size_t len = strcspn(at, "\t");
    int order = strncmp(wanted, at, len);
    return order != 0 ? order : (wanted[len] == '\0' ? 0 : 1);
}

const char *content_value(const struct content *content, const char *key)
{
    /* A tab sorts before all that stands in keys here, so that lines are in the order of keys. */
    char *const *line = content->len == 0 ? NULL
                                          : bsearch(key, content->lines, content->len,
                                                    sizeof(*content->lines), content_compare_key);
    return line == NULL ? NULL : *line + strcspn(*line, "\t") + 1;
}

void content_expect_equal(const struct content *expected, const struct content *content,
                          const char *what)
{
    uint32_t len = expected->len < content->len ? expected->len : content->len;
    for (uint32_t i = 0; i < len; i++) {
        if (strcmp(expected->lines[i], content->lines[i]) != 0) {
            fail_msg("%s: pair %u of %u is \"%.100s\", expected was \"%.100s\"", what, i,
                     content->len, content->lines[i], expected->lines[i]);
        }
    }
    if (expected->len != content->len) {
        fail_msg("%s: %u pairs, expected were %u", what, content->len, expected->len);
    }
}

void content_make_file(const char *path, const char *prefix, uint32_t pairs, uint32_t value_max,
                       uint64_t seed)
{
    struct rand rand = {seed};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint32_t i = 0; i < pairs; i++) {
        fprintf(file, "%s%07u\t", prefix, i);
        for (uint64_t left = rand_below(&rand, value_max + 1); left > 0; left--) {
            fputc('a' + (int)rand_below(&rand, 26), file);
        }
        fputc('\n', file);
    }
    assert_int_equal(fclose(file), 0);
}

/*
 * What the two files of the loader share: loader.c (the shared object and its descriptor) and
 * loader_options.c (the options that it declares, and what the user wrote for them). Nobody else
 * includes it.
 */
#ifndef HOST_LOADER_PARTS_H
#define HOST_LOADER_PARTS_H

#include "host/loader.h"

#include <stdbool.h>

#define LOADER_NAME_MAX 63u

/* Where an error goes and what it is about. */
struct loader_report {
    const char *path;
    char *text; /* LOADER_ERROR_MAX bytes */
};

/* Writes the text and returns status. */
int32_t loader_refuse(const struct loader_report *report, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True when text is letters, digits, '-' and perhaps '_', one at least. */
bool loader_is_word(const char *text, size_t len, bool underscore);

/* A text of at most len_max bytes; field: its name for the error. */
int32_t loader_check_text(const struct loader_report *report, const char *field, const char *text,
                          size_t len_max);

/* Each option, and those that a capability asks for. */
int32_t loader_check_options(const struct loader_report *report,
                             const struct kv_plugin *descriptor);

#endif

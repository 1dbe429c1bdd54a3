/*
 * Runs kvctl within the test, against the stand-in of the client library, with files of the test's
 * own folder as stdin, stdout and stderr.
 */
#ifndef TEST_RUN_H
#define TEST_RUN_H

#include "text_buffer.h"

#include <stdbool.h>

struct run {
    int status; /* exit status */
    struct text_buffer out;
    struct text_buffer err; /* both NUL-terminated, the NUL not counted in len */
};

/* Makes an empty temporary folder, and removes it with all it holds. */
void run_open_folder(void);
void run_close_folder(void);

/* PATH of a file in the folder; valid until the next call but three. */
const char *run_path(const char *name);
void run_write_file(const char *name, const void *bytes, size_t len);
/* NUL-terminated; false: there is none. */
bool run_read_file(const char *name, struct text_buffer *ret_bytes);

/* What the next run reads as stdin; otherwise that is empty. */
void run_set_input(const void *bytes, size_t len);

/* The words behind "kvctl", up to NULL. */
void run_kvctl(struct run *run, ...) __attribute__((sentinel));
void run_close(struct run *run);

#endif

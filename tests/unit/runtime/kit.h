/* What the tests of the host's own modules share: temporary folders, files, a bounded loop. */
#ifndef RUNTIME_KIT_H
#define RUNTIME_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define KIT_DEADLINE_MS 20000u
#define KIT_PATH_MAX    512u

/* Makes an empty folder; ret_path: KIT_PATH_MAX bytes. */
void kit_make_folder(char *ret_path);

/* Removes it with all that is in it. */
void kit_remove_folder(const char *path);

/* ret_path = folder/name. */
void kit_join(const char *folder, const char *name, char *ret_path);

/* Reads a whole file of at most size bytes. */
size_t kit_read_file(const char *path, void *ret_bytes, size_t size);
void kit_write_file(const char *path, const void *bytes, size_t len);

/* Turns the loop until *condition is true; fails the test after KIT_DEADLINE_MS. */
void kit_run_until(uv_loop_t *loop, const bool *condition);

#endif

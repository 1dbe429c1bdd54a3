/*
 * The source of a configuration: reads the file (and what it includes) into libconfig's tree, lays
 * `--set PATH=VALUE` over it, and gathers mistakes with the place they stand at. What the settings
 * mean is config.c's matter. Main thread, before the loop.
 */
#ifndef HOST_CONFIG_FILE_H
#define HOST_CONFIG_FILE_H

#include <libconfig.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PLACE_MAX 512u /* bytes of "FILE:LINE" or "--set PATH" with NUL */

struct config_file {
    config_t tree;
    const char *path; /* borrowed */
    char *folder;     /* of the file: what @include starts from */
    char *error;      /* borrowed, CONFIG_ERROR_MAX bytes: one mistake a line */
    size_t error_len;
    uint32_t mistakes_len; /* all of them, also those beyond CONFIG_MISTAKES_MAX */
};

/* Reads path and applies the sets (texts "PATH=VALUE", borrowed until config_file_close()). KV_OK,
 * or KV_E_INVALID with the mistakes in ret_error. Close it in both cases. */
int32_t config_file_open(struct config_file *file, const char *path, const char *const *sets,
                         uint32_t sets_len, char *ret_error);
void config_file_close(struct config_file *file);

/* Where a setting stands; NULL: the file as a whole. */
void config_file_place(const struct config_file *file, const config_setting_t *setting,
                       char *ret_place);

/* Adds a mistake at a setting; NULL: in the file as a whole. */
__attribute__((format(printf, 3, 4))) void config_file_mistake(struct config_file *file,
                                                               const config_setting_t *setting,
                                                               const char *format, ...);

#endif

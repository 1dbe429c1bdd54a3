/*
 * Finds the file of a plugin and looks whether it can be loaded without harm. Part of the loader;
 * its thread. It loads nothing.
 */
#ifndef HOST_PLUGIN_FILE_H
#define HOST_PLUGIN_FILE_H

#include "host/loader.h"

#include <limits.h>
#include <stdbool.h>

/* The path of a plugin given by name or path, as loader_load() describes, into ret_path (PATH_MAX
 * bytes). KV_E_NOT_FOUND, KV_E_INVALID: ret_error (LOADER_ERROR_MAX bytes) says why. */
int32_t plugin_file_find(const char *name, const char *folder, char *ret_path, char *ret_error);

/* dlopen() of a shared object that was cut off ends the process with SIGBUS, so this looks first.
 * What is no ELF file at all passes: dlopen() says so itself. Errors as above. */
int32_t plugin_file_check(const char *path, char *ret_error);

#endif

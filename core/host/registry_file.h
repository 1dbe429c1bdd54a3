/*
 * The registry of an arbiter on its own: DATA/arbiter.state, replaced as a whole at each change of
 * the view. The data folder is locked by this process (identity.h), so in good order nobody else
 * writes the file; still, each compare-and-set looks at what the file really holds, and a file that
 * was replaced meanwhile is reported as a change. Loop thread; reading and writing go on beside the
 * loop, one at a time.
 */
#ifndef HOST_REGISTRY_FILE_H
#define HOST_REGISTRY_FILE_H

#include "host/registry.h"

#include <uv.h>

#define REGISTRY_FILE "arbiter.state"

/* folder_fd: of the data folder; stays open until destroy. folder: its path, copied. */
struct registry *registry_file_create(uv_loop_t *loop, int folder_fd, const char *folder);

#endif

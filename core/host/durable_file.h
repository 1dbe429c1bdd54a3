/*
 * Small files of the data folder that are replaced as a whole: after a crash at any moment the file
 * holds the old content or the new, never a mixture. Blocking. Any thread, one at a time for each
 * name. It knows nothing of what the bytes mean.
 */
#ifndef HOST_DURABLE_FILE_H
#define HOST_DURABLE_FILE_H

#include <stddef.h>
#include <stdint.h>

#define DURABLE_FILE_ERROR_MAX 256u

/* Reads folder/name completely. *ret_bytes: free with alloc_free(). KV_E_NOT_FOUND: there is none;
 * KV_E_TOO_LARGE: longer than len_max; KV_E_IO. ret_error (DURABLE_FILE_ERROR_MAX bytes) says which
 * call failed and why; it is untouched on KV_OK. */
int32_t durable_file_read(int folder_fd, const char *name, size_t len_max, uint8_t **ret_bytes,
                          size_t *ret_len, char *ret_error);

/* Writes name.tmp, fsyncs it, renames it to name, fsyncs the folder. KV_OK: the new content
 * survives power loss. KV_E_IO: the old content is still there, or the new one is, not known to be
 * durable; the call may be repeated. */
int32_t durable_file_write(int folder_fd, const char *name, const void *bytes, size_t len,
                           char *ret_error);

#endif

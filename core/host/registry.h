/*
 * The arbiter's durable state, DATA/arbiter.state: read once at start, then replaced as a whole at
 * each change of the view. The bytes are the logic's; here they get a magic, a version and a
 * checksum. Loop thread only; writing goes on beside the loop, one at a time.
 */
#ifndef HOST_REGISTRY_H
#define HOST_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define REGISTRY_FILE      "arbiter.state"
#define REGISTRY_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define REGISTRY_ERROR_MAX 512u

struct registry;

/* status: KV_OK: durable; KV_E_IO: not known to be, error says why; may be written again. */
typedef void (*registry_written_fn)(void *ctx, uint64_t number, int32_t status, const char *error);

/* Reads the state. *ret_bytes: free with alloc_free(); NULL with len 0 when there is none yet.
 * KV_E_CORRUPT: damaged, cut off, of another version or no such file at all; KV_E_IO. ret_error
 * (REGISTRY_ERROR_MAX bytes) says what and what to do; folder is named in it. */
int32_t registry_read(int folder_fd, const char *folder, uint8_t **ret_bytes, size_t *ret_len,
                      char *ret_error);

/* folder_fd stays open until registry_destroy(). */
struct registry *registry_create(uv_loop_t *loop, int folder_fd, registry_written_fn on_written,
                                 void *ctx);

/* Makes a copy of the bytes durable, then on_written from the loop. Not while one is under way. */
void registry_write(struct registry *registry, uint64_t number, const void *bytes, size_t len);

/* on_written is still to come. */
bool registry_is_busy(const struct registry *registry);

/* Not while one is under way. NULL is fine. */
void registry_destroy(struct registry *registry);

#endif

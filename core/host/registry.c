/*
 * The file: "KVARBITR", u32 version, u64 number, u32 length, the bytes, u32 crc32c of all before;
 * numbers little-endian. It is replaced by durable_file_write(), so a crash leaves an old or a new
 * one; anything else is damage, and an arbiter that does not know its last view must not make
 * another one.
 */
#include "host/registry.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "host/durable_file.h"

#include <kvnode/status.h>
#include <stdio.h>
#include <string.h>

#define REGISTRY_MAGIC      "KVARBITR"
#define REGISTRY_MAGIC_LEN  8u
#define REGISTRY_VERSION    1u
#define REGISTRY_HEAD_BYTES (REGISTRY_MAGIC_LEN + 4u + 8u + 4u)
#define REGISTRY_CRC_BYTES  4u

struct registry {
    uv_loop_t *loop;
    int folder_fd;
    registry_written_fn on_written;
    void *ctx;
    uv_work_t work;
    bool is_busy;
    /* the write under way */
    uint64_t number;
    struct buffer file;
    int32_t status;
    char error[DURABLE_FILE_ERROR_MAX];
};

/* What is wrong with the file; NULL: nothing, then *ret_state is the logic's part of it. */
static const char *registry_decode(const uint8_t *file, size_t len, struct bytes_view *ret_state)
{
    if (len < REGISTRY_MAGIC_LEN || memcmp(file, REGISTRY_MAGIC, REGISTRY_MAGIC_LEN) != 0) {
        return "it does not begin like an arbiter's state";
    }
    if (len < REGISTRY_HEAD_BYTES + REGISTRY_CRC_BYTES) {
        return "it is cut off";
    }
    struct bytes_reader reader =
        bytes_reader_init(file + REGISTRY_MAGIC_LEN, len - REGISTRY_MAGIC_LEN);
    if (bytes_read_u32(&reader) != REGISTRY_VERSION) {
        return "it has a version that this program does not know";
    }
    bytes_read_u64(&reader); /* the number, for people with a hex viewer */
    struct bytes_view state = bytes_read_view(&reader);
    uint32_t crc = bytes_read_u32(&reader);
    if (reader.failed || reader.left != 0) {
        return "its length is not the one that it should have";
    }
    if (crc != crc32c(0, file, len - REGISTRY_CRC_BYTES)) {
        return "its checksum does not fit";
    }
    *ret_state = state;
    return NULL;
}

int32_t registry_read(int folder_fd, const char *folder, uint8_t **ret_bytes, size_t *ret_len,
                      char *ret_error)
{
    char error[DURABLE_FILE_ERROR_MAX];
    uint8_t *file = NULL;
    size_t len = 0;
    int32_t status =
        durable_file_read(folder_fd, REGISTRY_FILE, REGISTRY_BYTES_MAX, &file, &len, error);
    if (status == KV_E_NOT_FOUND) {
        *ret_bytes = NULL;
        *ret_len = 0;
        return KV_OK;
    }
    if (status == KV_E_IO) {
        snprintf(ret_error, REGISTRY_ERROR_MAX, "in the data folder %s: %s", folder, error);
        return KV_E_IO;
    }
    struct bytes_view state = {NULL, 0};
    const char *fault = status == KV_OK ? registry_decode(file, len, &state) : "it is too long";
    if (fault == NULL) {
        *ret_bytes = alloc_bytes(state.len);
        memcpy(*ret_bytes, state.at, state.len);
        *ret_len = state.len;
    } else {
        snprintf(ret_error, REGISTRY_ERROR_MAX,
                 "%s/" REGISTRY_FILE " is damaged: %s. Without it the arbiter cannot know the last "
                 "view, so it does not start: restore the file from a copy",
                 folder, fault);
    }
    alloc_free(file);
    return fault == NULL ? KV_OK : KV_E_CORRUPT;
}

struct registry *registry_create(uv_loop_t *loop, int folder_fd, registry_written_fn on_written,
                                 void *ctx)
{
    struct registry *registry = alloc_zeroed(1, sizeof(*registry));
    registry->loop = loop;
    registry->folder_fd = folder_fd;
    registry->on_written = on_written;
    registry->ctx = ctx;
    registry->work.data = registry;
    buffer_init(&registry->file);
    return registry;
}

static void registry_encode(struct registry *registry, const void *bytes, size_t len)
{
    size_t size = REGISTRY_HEAD_BYTES + len + REGISTRY_CRC_BYTES;
    registry->file.len = 0;
    struct bytes_writer writer = bytes_writer_init(buffer_room(&registry->file, size), size);
    bytes_write(&writer, REGISTRY_MAGIC, REGISTRY_MAGIC_LEN);
    bytes_write_u32(&writer, REGISTRY_VERSION);
    bytes_write_u64(&writer, registry->number);
    bytes_write_view(&writer, bytes, len);
    bytes_write_u32(&writer, crc32c(0, registry->file.bytes, size - REGISTRY_CRC_BYTES));
    KV_CHECK(!writer.failed && writer.len == size);
}

/* On a thread of libuv's pool. */
static void registry_work(uv_work_t *work)
{
    struct registry *registry = work->data;
    registry->status = durable_file_write(registry->folder_fd, REGISTRY_FILE, registry->file.bytes,
                                          registry->file.len, registry->error);
}

static void registry_on_done(uv_work_t *work, int uv_status)
{
    struct registry *registry = work->data;
    KV_CHECK(uv_status == 0); /* nobody cancels it */
    registry->is_busy = false;
    bool is_durable = registry->status == KV_OK;
    registry->on_written(registry->ctx, registry->number, registry->status,
                         is_durable ? NULL : registry->error);
}

void registry_write(struct registry *registry, uint64_t number, const void *bytes, size_t len)
{
    KV_CHECK(!registry->is_busy);
    KV_CHECK(len <= REGISTRY_BYTES_MAX - REGISTRY_HEAD_BYTES - REGISTRY_CRC_BYTES);
    registry->is_busy = true;
    registry->number = number;
    registry_encode(registry, bytes, len);
    int status = uv_queue_work(registry->loop, &registry->work, registry_work, registry_on_done);
    KV_CHECK(status == 0);
}

bool registry_is_busy(const struct registry *registry)
{
    return registry->is_busy;
}

void registry_destroy(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    KV_CHECK(!registry->is_busy);
    buffer_close(&registry->file);
    alloc_free(registry);
}

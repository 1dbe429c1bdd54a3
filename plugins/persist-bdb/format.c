#include "format.h"

#include "folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define FORMAT_NAME         "format"
#define FORMAT_CREATING     "creating"
#define FORMAT_DAMAGED      "damaged"
#define FORMAT_MAGIC        "kvnode persist-bdb\n"
#define FORMAT_VERSION      1u
#define FORMAT_TEXT_LEN_MAX 512

/* The content of the file `format`:
 *     kvnode persist-bdb
 *     version 1
 *     store 0123456789abcdef
 *     crc32c 89abcdef          of all bytes before this line */
static void format_encode(const struct store *store, uint32_t version, const char *id, char *text)
{
    int len = snprintf(text, FORMAT_TEXT_LEN_MAX, "%sversion %" PRIu32 "\nstore %s\n", FORMAT_MAGIC,
                       version, id);
    uint32_t crc = store->host->crc32c(store->host->ctx, 0, text, (size_t)len);
    (void)snprintf(text + len, FORMAT_TEXT_LEN_MAX - (size_t)len, "crc32c %08" PRIx32 "\n", crc);
}

static int32_t format_decode(struct store *store, const char *text)
{
    char again[FORMAT_TEXT_LEN_MAX];
    uint32_t version = 0;
    if (strncmp(text, FORMAT_MAGIC, strlen(FORMAT_MAGIC)) != 0) {
        store_log(store, KV_LOG_ERROR, "the file %s is not one of persist-bdb", FORMAT_NAME);
        return KV_E_VERSION;
    }
    const char *rest = text + strlen(FORMAT_MAGIC);
    if (sscanf(rest, "version %9" SCNu32 "\n", &version) == 1 && version != FORMAT_VERSION) {
        store_log(store, KV_LOG_ERROR,
                  "the store has format version %" PRIu32 "; this plugin knows version %u", version,
                  FORMAT_VERSION);
        return KV_E_VERSION;
    }
    char id[STORE_ID_LEN + 1] = "";
    if (sscanf(rest, "version %9" SCNu32 "\nstore %16[0-9a-f]\n", &version, id) != 2) {
        return store_fail_damage(store, "the file " FORMAT_NAME " is unreadable");
    }
    format_encode(store, FORMAT_VERSION, id, again);
    if (strlen(id) != STORE_ID_LEN || strcmp(text, again) != 0) {
        return store_fail_damage(store, "the file " FORMAT_NAME " does not fit its checksum");
    }
    memcpy(store->id, id, sizeof(id));
    return KV_OK;
}

int32_t format_check(struct store *store, bool *ret_new)
{
    char text[FORMAT_TEXT_LEN_MAX];
    int32_t status = folder_read(store, FORMAT_CREATING, text, sizeof(text));
    if (status == KV_OK) {
        *ret_new = true;
        return KV_OK;
    }
    status =
        status == KV_E_NOT_FOUND ? folder_read(store, FORMAT_DAMAGED, text, sizeof(text)) : status;
    if (status != KV_E_NOT_FOUND) {
        return status == KV_OK ? store_fail_damage(store, text) : status;
    }
    status = folder_read(store, FORMAT_NAME, text, sizeof(text));
    if (status == KV_OK) {
        *ret_new = false;
        return format_decode(store, text);
    }
    bool content = false;
    status = status == KV_E_NOT_FOUND ? folder_has_content(store, &content) : status;
    if (status == KV_OK && content) {
        store_log(store, KV_LOG_ERROR,
                  "the folder has files of Berkeley DB but no file %s: no store of persist-bdb, "
                  "so it is left alone; name another folder",
                  FORMAT_NAME);
        return KV_E_VERSION;
    }
    bool others = false;
    status = status == KV_OK ? folder_has_others(store, &others) : status;
    if (status == KV_OK && others) {
        store_log(store, KV_LOG_ERROR,
                  "the folder is not empty and has no store of persist-bdb: it is left alone; name "
                  "another folder");
        return KV_E_VERSION;
    }
    if (status == KV_OK) {
        *ret_new = true;
    }
    return status;
}

int32_t format_begin(struct store *store)
{
    uint64_t id;
    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id)) {
        return store_fail(store, "get", "a random number");
    }
    (void)snprintf(store->id, sizeof(store->id), "%016" PRIx64, id);
    int32_t status = folder_write(store, FORMAT_CREATING, "This store is being made.\n");
    if (status == KV_OK) {
        status = folder_remove(store, FORMAT_NAME);
    }
    if (status == KV_OK) {
        status = folder_remove(store, FORMAT_DAMAGED);
    }
    return status == KV_OK ? folder_clear(store) : status;
}

int32_t format_finish(const struct store *store)
{
    char text[FORMAT_TEXT_LEN_MAX];
    format_encode(store, FORMAT_VERSION, store->id, text);
    int32_t status = folder_write(store, FORMAT_NAME, text);
    return status == KV_OK ? folder_remove(store, FORMAT_CREATING) : status;
}

int32_t format_mark_damaged(const struct store *store, const char *how)
{
    if (folder_write(store, FORMAT_DAMAGED, how) != KV_OK) {
        store_log(store, KV_LOG_WARN, "the damage could not be noted in the file %s",
                  FORMAT_DAMAGED);
    }
    return store_fail_damage(store, how);
}

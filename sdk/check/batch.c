#include "batch.h"

#include "base/alloc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_KEPT_MAX       256u      /* pieces that are kept after they were overwritten */
#define BATCH_KEPT_BYTES_MAX 16777216u /* longer ones are freed at once */

/* Without a sanitizer freed memory may look as it did, or belong to the plugin by then. So the
 * latest pieces stay allocated, overwritten. A sanitizer sees more when they are freed at once. */
#if defined(__SANITIZE_ADDRESS__)
static const int batch_keeps = 0;
#else
static const int batch_keeps = 1;
#endif
static pthread_mutex_t batch_lock = PTHREAD_MUTEX_INITIALIZER;
static void *batch_kept[BATCH_KEPT_MAX];
static uint32_t batch_kept_at;

void batch_init(struct batch *batch, struct kv_position first)
{
    memset(batch, 0, sizeof(*batch));
    batch->next = first;
    batch->position = first;
    batch->position.index--;
}

void batch_close(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        free((void *)batch->records[i].key);
        free((void *)batch->records[i].value);
    }
    alloc_free(batch->records);
    memset(batch, 0, sizeof(*batch));
}

/* malloc() in the exact size, so that a sanitizer sees a read beyond it; not NULL for none. */
static void *batch_copy(const void *bytes, size_t len)
{
    void *copy = malloc(len == 0 ? 1 : len);
    if (copy == NULL) {
        abort(); /* the process of one check ends; the kit says so */
    }
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

void batch_add(struct batch *batch, uint32_t kind, const void *key, size_t key_len,
               const void *value, size_t value_len)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 16 : batch->capacity * 2;
        batch->records = alloc_resize(batch->records, batch->capacity * sizeof(struct kv_record));
    }
    batch->records[batch->count] = (struct kv_record){
        .key = batch_copy(key, key_len),
        .value = kind == KV_RECORD_REMOVE ? NULL : batch_copy(value, value_len),
        .key_len = (uint32_t)key_len,
        .value_len = kind == KV_RECORD_REMOVE ? 0 : (uint32_t)value_len,
        .kind = kind,
        .position = batch->next,
        .client = 7000 + batch->next.index % 5,
        .request = batch->next.index * 3 + 1,
    };
    batch->count++;
    batch->position = batch->next;
    batch->next.index++;
}

struct kv_record *batch_lend(const struct batch *batch)
{
    if (batch->count == 0) {
        return NULL;
    }
    struct kv_record *records = batch_copy(batch->records, batch->count * sizeof(struct kv_record));
    for (uint32_t i = 0; i < batch->count; i++) {
        records[i].key = batch_copy(records[i].key, records[i].key_len);
        if (records[i].kind != KV_RECORD_REMOVE) {
            records[i].value = batch_copy(records[i].value, records[i].value_len);
        }
    }
    return records;
}

void batch_free_later(void *memory, size_t len)
{
    if (!batch_keeps || len > BATCH_KEPT_BYTES_MAX / BATCH_KEPT_MAX) {
        free(memory);
        return;
    }
    pthread_mutex_lock(&batch_lock);
    free(batch_kept[batch_kept_at]);
    batch_kept[batch_kept_at] = memory;
    batch_kept_at = (batch_kept_at + 1) % BATCH_KEPT_MAX;
    pthread_mutex_unlock(&batch_lock);
}

static void batch_drop(void *memory, size_t len)
{
    memset(memory, BATCH_POISON, len);
    batch_free_later(memory, len);
}

void batch_take_back(struct kv_record *records, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        batch_drop((void *)records[i].key, records[i].key_len);
        if (records[i].value != NULL) {
            batch_drop((void *)records[i].value, records[i].value_len);
        }
    }
    if (records != NULL) {
        batch_drop(records, count * sizeof(records[0]));
    }
}

#include "host/persist_batch.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/check.h"
#include "logic/record.h"

#include <string.h>

void persist_batch_decode(const struct persist_worker_batch *batch, struct kv_record **records,
                          uint32_t *capacity)
{
    if (batch->records_len > *capacity) {
        *capacity = batch->records_len;
        *records = alloc_resize(*records, batch->records_len * sizeof(**records));
    }
    uint32_t len = 0;
    for (uint32_t i = 0; i < batch->slices_len; i++) {
        struct bytes_reader reader =
            bytes_reader_init(batch->slices[i].bytes, batch->slices[i].len);
        while (reader.left > 0) {
            KV_CHECK(len < batch->records_len);
            KV_CHECK(record_decode(&reader, &(*records)[len]));
            len++;
        }
    }
    KV_CHECK(len == batch->records_len);
}

struct kv_position persist_batch_position(const struct persist_worker_batch *batch, bool is_shared)
{
    struct kv_position position = batch->position;
    if (is_shared && position.view != 0 && position.view < batch->view) {
        position.view = batch->view;
    }
    return position;
}

struct persist_refusal *persist_batch_copy_refusals(const struct persist_refusal *refusals,
                                                    uint32_t len)
{
    size_t size = len * sizeof(*refusals);
    for (uint32_t i = 0; i < len; i++) {
        size += strlen(refusals[i].reason) + 1;
    }
    if (len == 0) {
        return NULL;
    }
    struct persist_refusal *copy = alloc_bytes(size);
    char *text = (char *)(copy + len);
    for (uint32_t i = 0; i < len; i++) {
        size_t text_size = strlen(refusals[i].reason) + 1;
        copy[i].record = refusals[i].record;
        copy[i].reason = memcpy(text, refusals[i].reason, text_size);
        text += text_size;
    }
    return copy;
}

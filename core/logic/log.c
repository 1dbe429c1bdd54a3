/*
 * Records lie one behind the other in chunks; a table of the same order as the records says where
 * each one begins. A record never straddles two chunks, so a range of records is a few slices.
 */
#include "logic/log.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/record.h"

#include <string.h>

#define LOG_CHUNK_BYTES (256u * 1024u)
#define LOG_PLACES_MIN  256u

/* So many changes of the view are remembered, for log_common(). */
#define LOG_ERAS_MAX 128u

struct log_chunk {
    struct log_chunk *next;
    uint32_t capacity;
    uint32_t used;
    uint8_t bytes[];
};

struct log_place {
    struct log_chunk *chunk;
    uint32_t offset;
    uint32_t len;
};

/* The records of one view: from index first to before the next era's. */
struct log_era {
    uint64_t view;
    uint64_t first;
};

struct log {
    uint32_t refs;
    struct kv_position last;
    struct kv_position before;         /* of the record before the oldest held */
    struct log_era eras[LOG_ERAS_MAX]; /* the oldest is known from its first on, maybe not at its
                                          beginning */
    uint32_t eras_len;
    struct log_place *places; /* ring: the record at index i is places[i & (capacity - 1)] */
    uint64_t capacity;        /* a power of two */
    uint64_t first;           /* oldest index held; last.index + 1 when empty */
    uint64_t bytes;
    struct log_chunk *oldest;
    struct log_chunk *newest;
};

struct log *log_create(struct kv_position last)
{
    struct log *log = alloc_zeroed(1, sizeof(*log));
    log->refs = 1;
    log->last = last;
    log->before = last;
    log->eras[0] = (struct log_era){last.view, last.index};
    log->eras_len = 1;
    log->first = last.index + 1;
    log->capacity = LOG_PLACES_MIN;
    log->places = alloc_zeroed(log->capacity, sizeof(*log->places));
    return log;
}

void log_ref(struct log *log)
{
    KV_CHECK(log->refs > 0);
    log->refs++;
}

void log_unref(struct log *log)
{
    if (log == NULL || --log->refs > 0) {
        return;
    }
    while (log->oldest != NULL) {
        struct log_chunk *next = log->oldest->next;
        alloc_free(log->oldest);
        log->oldest = next;
    }
    alloc_free(log->places);
    alloc_free(log);
}

static struct log_place *log_place(const struct log *log, uint64_t index)
{
    KV_CHECK(index >= log->first && index <= log->last.index);
    return &log->places[index & (log->capacity - 1)];
}

static void log_grow_places(struct log *log)
{
    uint64_t capacity = log->capacity * 2;
    struct log_place *places = alloc_zeroed(capacity, sizeof(*places));
    for (uint64_t index = log->first; index <= log->last.index; index++) {
        places[index & (capacity - 1)] = *log_place(log, index);
    }
    alloc_free(log->places);
    log->places = places;
    log->capacity = capacity;
}

static struct log_chunk *log_chunk_for(struct log *log, uint32_t size)
{
    struct log_chunk *chunk = log->newest;
    if (chunk != NULL && size <= chunk->capacity - chunk->used) {
        return chunk;
    }
    uint32_t capacity = size > LOG_CHUNK_BYTES ? size : LOG_CHUNK_BYTES;
    chunk = alloc_bytes(sizeof(*chunk) + capacity);
    chunk->next = NULL;
    chunk->capacity = capacity;
    chunk->used = 0;
    if (log->newest == NULL) {
        log->oldest = chunk;
    } else {
        log->newest->next = chunk;
    }
    log->newest = chunk;
    return chunk;
}

static void log_note_era(struct log *log, struct kv_position position)
{
    if (position.view == log->last.view) {
        return;
    }
    if (log->eras_len == LOG_ERAS_MAX) {
        log->eras_len--;
        memmove(&log->eras[0], &log->eras[1], log->eras_len * sizeof(log->eras[0]));
    }
    log->eras[log->eras_len++] = (struct log_era){position.view, position.index};
}

void log_append(struct log *log, const struct kv_record *record)
{
    KV_CHECK(record->position.index == log->last.index + 1);
    KV_CHECK(record->position.view >= log->last.view);
    log_note_era(log, record->position);
    if (log_len(log) == log->capacity) {
        log_grow_places(log);
    }
    uint32_t size = (uint32_t)record_size(record);
    struct log_chunk *chunk = log_chunk_for(log, size);
    record_encode(record, chunk->bytes + chunk->used);
    log->last = record->position;
    struct log_place *place = log_place(log, record->position.index);
    place->chunk = chunk;
    place->offset = chunk->used;
    place->len = size;
    chunk->used += size;
    log->bytes += size;
}

struct kv_position log_last(const struct log *log)
{
    return log->last;
}

uint64_t log_last_index(const struct log *log)
{
    return log->last.index;
}

/* One primary alone gives the positions of a view, and what it took over is the same for all of
 * them. So two logs that have records of one view are the same up to the shorter one's last of
 * them. */
bool log_common(const struct log *log, struct kv_position last, uint64_t *ret_index)
{
    for (uint32_t i = log->eras_len; i > 0; i--) {
        const struct log_era *era = &log->eras[i - 1];
        if (era->view != last.view) {
            continue;
        }
        uint64_t end = i == log->eras_len ? log->last.index : log->eras[i].first - 1;
        *ret_index = last.index < end ? last.index : end;
        return true;
    }
    return false;
}

struct kv_position log_position_at(const struct log *log, uint64_t index)
{
    return index + 1 == log->first ? log->before : log_get(log, index).position;
}

uint64_t log_first_index(const struct log *log)
{
    return log->first;
}

uint64_t log_len(const struct log *log)
{
    return log->last.index + 1 - log->first;
}

uint64_t log_bytes(const struct log *log)
{
    return log->bytes;
}

struct kv_record log_get(const struct log *log, uint64_t index)
{
    const struct log_place *place = log_place(log, index);
    struct bytes_reader reader = bytes_reader_init(place->chunk->bytes + place->offset, place->len);
    struct kv_record record;
    KV_CHECK(record_decode(&reader, &record));
    KV_CHECK(record.position.index == index);
    return record;
}

uint32_t log_record_bytes(const struct log *log, uint64_t index)
{
    return log_place(log, index)->len;
}

uint64_t log_slices(const struct log *log, uint64_t first, uint64_t last, size_t bytes_max,
                    struct kv_slice *slices, uint32_t slices_max, uint32_t *ret_slices_len,
                    size_t *ret_bytes)
{
    uint32_t slices_len = 0;
    size_t bytes = 0;
    const struct log_chunk *chunk = NULL;
    uint64_t end = last < log->last.index ? last : log->last.index;
    uint64_t index = first;
    for (; index <= end; index++) {
        const struct log_place *place = log_place(log, index);
        if (bytes > 0 && place->len > bytes_max - bytes) {
            break;
        }
        if (place->chunk != chunk) {
            if (slices_len == slices_max) {
                break;
            }
            chunk = place->chunk;
            slices[slices_len].bytes = chunk->bytes + place->offset;
            slices[slices_len].len = 0;
            slices_len++;
        }
        slices[slices_len - 1].len += place->len;
        bytes += place->len;
        if (bytes >= bytes_max) {
            index++;
            break;
        }
    }
    *ret_slices_len = slices_len;
    *ret_bytes = bytes;
    return index - 1;
}

void log_trim(struct log *log, uint64_t index, uint64_t keep_bytes)
{
    if (log->first > index || log->bytes <= keep_bytes) {
        return;
    }
    while (log->first <= index && log->first <= log->last.index) {
        uint32_t len = log_place(log, log->first)->len;
        if (log->bytes - len < keep_bytes) {
            break;
        }
        log->before = log_get(log, log->first).position;
        log->bytes -= len;
        log->first++;
    }
    /* A chunk is free when the oldest record held lies in a later one. The newest chunk stays. */
    const struct log_chunk *keep =
        log_len(log) == 0 ? log->newest : log_place(log, log->first)->chunk;
    while (log->oldest != keep) {
        struct log_chunk *next = log->oldest->next;
        alloc_free(log->oldest);
        log->oldest = next;
    }
}

#include "keys_busy.h"

#include "text_buffer.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t keys_busy_hash(const void *key, size_t len)
{
    const uint8_t *bytes = key;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    }
    return hash ^ hash >> 32;
}

void keys_busy_init(struct keys_busy *keys, size_t keys_max)
{
    keys->buckets_len = 64;
    while (keys->buckets_len < keys_max) {
        keys->buckets_len *= 2;
    }
    keys->buckets = memory_allocate_zero(keys->buckets_len, sizeof(struct busy_key *));
}

void keys_busy_close(struct keys_busy *keys)
{
    free(keys->buckets);
    keys->buckets = NULL;
}

static struct busy_key **keys_busy_bucket(struct keys_busy *keys, uint64_t hash)
{
    return &keys->buckets[hash & (keys->buckets_len - 1)];
}

bool keys_busy_add(struct keys_busy *keys, struct busy_key *entry, const void *key, size_t len)
{
    *entry = (struct busy_key){.key = key, .len = len, .hash = keys_busy_hash(key, len)};
    struct busy_key **bucket = keys_busy_bucket(keys, entry->hash);
    for (struct busy_key *at = *bucket; at != NULL; at = at->next_in_bucket) {
        if (at->hash == entry->hash && at->len == len &&
            (len == 0 || memcmp(at->key, key, len) == 0)) {
            struct busy_key *last = at->last_waiting == NULL ? at : at->last_waiting;
            last->next_waiting = entry;
            at->last_waiting = entry;
            return false;
        }
    }
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    return true;
}

struct busy_key *keys_busy_remove(struct keys_busy *keys, struct busy_key *entry)
{
    struct busy_key **link = keys_busy_bucket(keys, entry->hash);
    while (*link != entry) {
        link = &(*link)->next_in_bucket;
    }
    struct busy_key *next = entry->next_waiting;
    if (next == NULL) {
        *link = entry->next_in_bucket;
        return NULL;
    }
    next->next_in_bucket = entry->next_in_bucket;
    next->last_waiting = entry->last_waiting == next ? NULL : entry->last_waiting;
    *link = next;
    return next;
}

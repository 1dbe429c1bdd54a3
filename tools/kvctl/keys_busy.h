/*
 * The keys that an import has requests for, so that two lines with the same key are inserted one
 * after the other: the first of a key may go, later ones wait behind it in order.
 */
#ifndef KVCTL_KEYS_BUSY_H
#define KVCTL_KEYS_BUSY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of whatever has the key. The key's bytes stay in place while it is in the table. */
struct busy_key {
    const void *key;
    size_t len;
    uint64_t hash;
    struct busy_key *next_in_bucket;
    struct busy_key *next_waiting;
    struct busy_key *last_waiting; /* of the first one of a key */
};

struct keys_busy {
    struct busy_key **buckets;
    size_t buckets_len; /* a power of two */
};

/* keys_max: how many are expected at a time (more make it slower only). */
void keys_busy_init(struct keys_busy *keys, size_t keys_max);
void keys_busy_close(struct keys_busy *keys);

/* Whether the entry is the only one of its key, and may go at once. */
bool keys_busy_add(struct keys_busy *keys, struct busy_key *entry, const void *key, size_t len);

/* Takes out an entry that was allowed to go. Returns the one behind it, which may go now, or NULL.
 */
struct busy_key *keys_busy_remove(struct keys_busy *keys, struct busy_key *entry);

#endif

/*
 * Which record of a run of the log is the latest of its key: a hash table that lives during one
 * compaction only.
 *
 * It holds no keys but 128 bits of SipHash-2-4 with a random secret: two keys never share them in
 * practice (below 2^-60 for 2^34 keys), not even chosen ones. 24 bytes per slot, at most 70 % full.
 * One thread.
 */
#ifndef PERSIST_FILE_KEYMAP_H
#define PERSIST_FILE_KEYMAP_H

#include <kvnode/host.h>

struct keymap_slot {
    uint64_t hash[2];
    uint64_t ordinal; /* 0: free */
};

struct keymap {
    const struct kv_host *host;
    uint64_t secret[2];
    struct keymap_slot *slots;
    uint64_t slots_len; /* a power of two, or 0 */
    uint64_t keys;
};

/* KV_E_IO: no random secret to be had. */
int32_t keymap_init(struct keymap *map, const struct kv_host *host);

/* Fine after a failed init. */
void keymap_close(struct keymap *map);

/* Remembers ordinal (1 or more) as the latest of the key. KV_E_NOMEM: nothing changed. */
int32_t keymap_put(struct keymap *map, const void *key, uint32_t len, uint64_t ordinal);

/* The latest ordinal of the key, 0 when it has none. */
uint64_t keymap_get(const struct keymap *map, const void *key, uint32_t len);

/* SipHash-2-4 with 128 bits of result (Aumasson, Bernstein, "SipHash: a fast short-input PRF",
 * 2012, and its 128-bit variant). Here for its test vectors. */
void keymap_hash(const uint64_t secret[2], const void *bytes, size_t len, uint64_t ret_hash[2]);

#endif

#include "keymap.h"

#include <string.h>
#include <sys/random.h>

#define SLOTS_LEN_MIN 1024u

static uint64_t rotate(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static void sip_rounds(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

void keymap_hash(const uint64_t secret[2], const void *bytes, size_t len, uint64_t ret_hash[2])
{
    const uint8_t *at = bytes;
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575ull, secret[1] ^ 0x646f72616e646f6dull ^ 0xee,
                     secret[0] ^ 0x6c7967656e657261ull, secret[1] ^ 0x7465646279746573ull};
    uint64_t last = (uint64_t)len << 56;
    size_t left = len;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xee;
    sip_rounds(v, 4);
    ret_hash[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    sip_rounds(v, 4);
    ret_hash[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

int32_t keymap_init(struct keymap *map, const struct kv_host *host)
{
    memset(map, 0, sizeof(*map));
    map->host = host;
    return getrandom(map->secret, sizeof(map->secret), 0) == (ssize_t)sizeof(map->secret) ? KV_OK
                                                                                          : KV_E_IO;
}

void keymap_close(struct keymap *map)
{
    map->host->release(map->host->ctx, map->slots);
    map->slots = NULL;
    map->slots_len = 0;
    map->keys = 0;
}

/* The key's slot or the free one where it belongs. */
static struct keymap_slot *keymap_find(struct keymap_slot *slots, uint64_t slots_len,
                                       const uint64_t hash[2])
{
    uint64_t at = hash[0] & (slots_len - 1);
    while (slots[at].ordinal != 0 &&
           (slots[at].hash[0] != hash[0] || slots[at].hash[1] != hash[1])) {
        at = (at + 1) & (slots_len - 1);
    }
    return &slots[at];
}

static int32_t keymap_grow(struct keymap *map)
{
    uint64_t slots_len = map->slots_len == 0 ? SLOTS_LEN_MIN : map->slots_len * 2;
    size_t size = (size_t)slots_len * sizeof(struct keymap_slot);
    struct keymap_slot *slots = map->host->allocate(map->host->ctx, size);
    if (slots == NULL) {
        return KV_E_NOMEM;
    }
    memset(slots, 0, size);
    for (uint64_t i = 0; i < map->slots_len; i++) {
        if (map->slots[i].ordinal != 0) {
            *keymap_find(slots, slots_len, map->slots[i].hash) = map->slots[i];
        }
    }
    map->host->release(map->host->ctx, map->slots);
    map->slots = slots;
    map->slots_len = slots_len;
    return KV_OK;
}

int32_t keymap_put(struct keymap *map, const void *key, uint32_t len, uint64_t ordinal)
{
    uint64_t hash[2];
    if (map->keys * 10 >= map->slots_len * 7) {
        int32_t status = keymap_grow(map);
        if (status != KV_OK) {
            return status;
        }
    }
    keymap_hash(map->secret, key, len, hash);
    struct keymap_slot *slot = keymap_find(map->slots, map->slots_len, hash);
    map->keys += slot->ordinal == 0;
    slot->hash[0] = hash[0];
    slot->hash[1] = hash[1];
    slot->ordinal = ordinal;
    return KV_OK;
}

uint64_t keymap_get(const struct keymap *map, const void *key, uint32_t len)
{
    uint64_t hash[2];
    if (map->slots_len == 0) {
        return 0;
    }
    keymap_hash(map->secret, key, len, hash);
    return keymap_find(map->slots, map->slots_len, hash)->ordinal;
}

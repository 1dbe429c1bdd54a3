#include "base/hash.h"

/* Header-only use: the library's code is compiled in here, nothing is linked. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t hash_bytes(const void *bytes, size_t len)
{
    return XXH3_64bits(bytes == NULL ? "" : bytes, len);
}

uint64_t hash_bytes_seeded(uint64_t seed, const void *bytes, size_t len)
{
    return XXH3_64bits_withSeed(bytes == NULL ? "" : bytes, len, seed);
}

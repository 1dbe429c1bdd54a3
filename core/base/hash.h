/* The 64-bit hash of the project: XXH3 of the xxHash library, seed 0. The value is part of the wire
 * protocol (transfer ranges, digests), so it never changes. Any thread. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* bytes may be NULL when len is 0. */
uint64_t hash_bytes(const void *bytes, size_t len);

/* Continues with more bytes: a different result for a different seed. */
uint64_t hash_bytes_seeded(uint64_t seed, const void *bytes, size_t len);

#endif

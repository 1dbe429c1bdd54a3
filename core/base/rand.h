/*
 * Repeatable pseudo-random numbers for simulation, tests and jitter; not for secrets.
 * splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stdbool.h>
#include <stdint.h>

struct rand {
    uint64_t state;
};

static inline uint64_t rand_next(struct rand *rand)
{
    uint64_t z = (rand->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound > 0. The bias of the modulus is below bound / 2^64. */
static inline uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    return rand_next(rand) % bound;
}

/* True with probability percent / 100. */
static inline bool rand_percent(struct rand *rand, uint32_t percent)
{
    return rand_below(rand, 100) < percent;
}

#endif

/*
 * What must hold for any bytes whatever that are given to a decoder: it refuses them, or what it
 * made of them encodes to the very same bytes. A violation ends the process (KV_CHECK).
 * Used by the fuzzers, by the test that repeats their corpus, and by the unit tests of the codec.
 */
#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the bytes were accepted. They are copied to memory of exactly their length first, so
 * that a sanitizer sees a read beyond the end. */
bool harness_message(const uint8_t *bytes, size_t len);
bool harness_view(const uint8_t *bytes, size_t len);

/* Records, one after the other. */
bool harness_record(const uint8_t *bytes, size_t len);

typedef bool (*harness_fn)(const uint8_t *bytes, size_t len);

#endif

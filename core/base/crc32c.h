/* CRC-32C (Castagnoli polynomial 0x1EDC6F41, RFC 3720 appendix B.4). Any thread. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc over len more bytes; begin with 0. Uses the processor's instruction where it has
 * it. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* The table version, whatever the processor has: for the test that compares both. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#endif

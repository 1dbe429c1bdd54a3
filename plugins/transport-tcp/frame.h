/*
 * The bytes on the wire: a 12-byte preamble each way, then frames (see README.md for the table).
 *
 * Pure functions over borrowed bytes; any thread. They never allocate, never log, and never read
 * beyond the length that they are given.
 */
#ifndef TRANSPORT_TCP_FRAME_H
#define TRANSPORT_TCP_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_PREAMBLE_LEN 12u
#define FRAME_HEADER_LEN   8u
#define FRAME_VERSION      1u

/* Writes FRAME_PREAMBLE_LEN bytes. message_max: the longest payload that this side takes. */
void frame_encode_preamble(uint8_t *at, uint32_t message_max);

/* What a peer said of itself. */
struct frame_preamble {
    uint32_t version;
    uint32_t message_max;
};

/* Looks at the first len bytes that a peer sent. KV_OK: a good preamble is there; KV_E_RETRY: good
 * so far, more bytes are needed; KV_E_MALFORMED: not a peer of ours, told as early as the first
 * wrong byte; KV_E_VERSION: another version, told as soon as it is there, in ret_preamble->version.
 */
int32_t frame_check_preamble(const uint8_t *at, size_t len, struct frame_preamble *ret_preamble);

/* Writes FRAME_HEADER_LEN bytes for a payload of len bytes with that CRC-32C. */
void frame_encode_header(uint8_t *at, uint32_t len, uint32_t crc);

/* How many bytes the frame that begins at `at` takes, header included, as far as len bytes tell:
 * FRAME_HEADER_LEN while the header is not complete. KV_E_TOO_LARGE: it announces a payload above
 * message_max; *ret_need is set as well, for the log. */
int32_t frame_measure(const uint8_t *at, size_t len, uint32_t message_max, size_t *ret_need);

/* The CRC-32C that a complete header announces. */
uint32_t frame_get_crc(const uint8_t *at);

#endif

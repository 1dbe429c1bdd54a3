/*
 * The datagram path of the UDP transport against any datagrams whatever: an endpoint with a link
 * that is up, one that is half open and one that it makes itself gets a sequence of them. A
 * violation of what must hold ends the process (KV_CHECK).
 *
 * The input is a sequence of steps: a control byte, a length (2 bytes, little-endian), the bytes of
 * a datagram. In the control byte, bits 0 and 1 say whose address it comes from (the peer that is
 * up, the half open one, the one looked for, a stranger); bit 2: the tokens of that peer's link,
 * and in an OPEN of a known peer the proof, are put in; bit 3: the CRC is put in; bit 4: before it,
 * time passes, as many times 256 us as the length says.
 */
#ifndef FUZZ_HARNESS_DATAGRAM_H
#define FUZZ_HARNESS_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATAGRAM_CONTROL_PEER   0x03u
#define DATAGRAM_CONTROL_TOKENS 0x04u
#define DATAGRAM_CONTROL_CRC    0x08u
#define DATAGRAM_CONTROL_TIME   0x10u
#define DATAGRAM_STEP_HEADER    3u

/* True when the endpoint could make sense of one datagram at least. */
bool harness_datagram(const uint8_t *bytes, size_t len);

#endif

/* The samples of the folder "datagram"; see samples.h, whose part they are. */
#ifndef FUZZ_SAMPLES_DATAGRAM_H
#define FUZZ_SAMPLES_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

size_t samples_datagram_len(void);

/* Returns the name. Free the bytes with alloc_free(). */
const char *samples_datagram_make(size_t i, uint8_t **ret_bytes, size_t *ret_len);

#endif

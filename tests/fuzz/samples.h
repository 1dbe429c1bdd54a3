/*
 * One valid example at least of every message, view, record and datagram: the stored corpus, and
 * what the tests of the codec corrupt. Deterministic: the same bytes in every build, so that a
 * change of the wire format cannot go unnoticed.
 */
#ifndef FUZZ_SAMPLES_H
#define FUZZ_SAMPLES_H

#include "logic/message.h"

struct sample {
    const char *folder; /* "message", "view", "record" or "datagram" */
    const char *name;
    uint8_t *bytes; /* owned by the caller of sample_make() */
    size_t len;
};

size_t samples_len(void);

/* Makes sample number i. Free its bytes with alloc_free(). */
struct sample sample_make(size_t i);

/* A view with members_len members (at least 1), the first one primary, the last one a candidate. */
void sample_view(struct view *view, uint32_t members_len);

#endif

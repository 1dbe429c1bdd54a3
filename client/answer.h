/*
 * What comes over a link: decodes it, finds the request that it answers, and answers that. Late,
 * repeated and unknown answers are counted and ignored; a peer that sends what is no message or no
 * answer to what it was asked loses its link. Loop thread.
 */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H

#include <stdint.h>

struct peer;

void answer_on_message(struct peer *peer, const void *bytes, uint32_t len);

#endif

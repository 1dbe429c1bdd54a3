/*
 * The other end of catchup.h: answers a joiner's Fetch from the committed content in memory. Any
 * replica that serves reads can do it; nothing is remembered from one question to the next.
 */
#ifndef LOGIC_SOURCE_H
#define LOGIC_SOURCE_H

#include "logic/replica.h"

/* Answers a Fetch whose min_index is reached. */
void source_answer(struct replica *replica, uint64_t link, const struct message *message);

#endif

/*
 * How a session with a member begins: with the tail of the log, where the primary still holds it
 * and what the member has can be made the same as the primary's by dropping its end; else the
 * member has to fetch the content. Pure; used by the primary.
 */
#ifndef LOGIC_RESUME_H
#define LOGIC_RESUME_H

#include "logic/replicator.h"

/* log, committed: the primary's; resume: what the member has told. *ret_drops: the member has
 * records that are not in the log, and drops them. */
struct replicator_start resume_choose(const struct log *log, struct kv_position committed,
                                      const struct message *resume, bool *ret_drops);

#endif

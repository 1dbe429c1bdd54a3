/*
 * What happens to the nodes in one round: one fault, drawn at random, from its begin to its end.
 * Afterwards every node runs, and nothing is in its way any more.
 */
#ifndef LOOP_NEMESIS_H
#define LOOP_NEMESIS_H

#include "machines.h"

#include "base/rand.h"

struct nemesis;

/* One of those that this system allows; only: names with commas between, NULL: any. Returns NULL
 * when there is none. */
const struct nemesis *nemesis_draw(const struct machines *machines, struct rand *rand,
                                   const char *only);

const char *nemesis_name(const struct nemesis *nemesis);

/* Does it. ret_text (NEMESIS_TEXT_MAX bytes): to whom and how long, for people. */
#define NEMESIS_TEXT_MAX 128u
void nemesis_run(const struct nemesis *nemesis, struct machines *machines, struct rand *rand,
                 char *ret_text);

#endif

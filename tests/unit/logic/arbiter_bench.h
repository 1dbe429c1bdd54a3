/*
 * An arbiter alone, for its tests: what the host and the nodes do to it. The time is the fixture's.
 */
#ifndef LOGIC_ARBITER_BENCH_H
#define LOGIC_ARBITER_BENCH_H

#include "fixture.h"

#include "logic/arbiter.h"

#define BENCH_RETURN_MS    2000u
#define BENCH_NEXT_PROCESS (7ull << INCARNATION_JOIN_BITS)

struct bench {
    struct fixture fixture;
    struct arbiter *arbiter;
    uint8_t registry[VIEW_BYTES_MAX]; /* what was made durable last */
    size_t registry_len;
};

/* For cmocka: *state is the bench. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* In a step of its own. The link of a node is its number: simple to read. */
void bench_deliver(struct bench *bench, uint64_t link, const struct message *message);

/* The Join of a node that does not know its cluster. */
struct message bench_join_of(const char *name, uint64_t node, uint64_t incarnation);
void bench_join(struct bench *bench, const char *name, uint64_t node, uint64_t incarnation);

/* The registry's write succeeds. The effects are those of that step. */
void bench_written(struct bench *bench);

/* Join, and written. */
void bench_joined(struct bench *bench, const char *name, uint64_t node, uint64_t incarnation);

/* How many writes of the registry, and messages, the last step asked for. */
uint32_t bench_writes(const struct bench *bench);
uint32_t bench_sends(const struct bench *bench);

/* CaughtUp or Suspect, in the session that the node has now. */
void bench_report(struct bench *bench, uint8_t type, uint64_t sender, uint64_t view, uint64_t node);

/* Node 1 is primary, 2 in sync, 3 a candidate: view 4. */
void bench_make_three(struct bench *bench);

/* It must be there. */
const struct member *bench_member(const struct bench *bench, uint64_t node);
void bench_heartbeat(struct bench *bench, uint64_t node, uint64_t view, uint64_t incarnation);

/* A heartbeat of the newest view at that index. */
void bench_beat(struct bench *bench, uint64_t node, uint64_t index, bool asks);

/* The Join of the next process with that data folder; its store is at that index; 0: empty. */
void bench_return(struct bench *bench, const char *name, uint64_t node, uint64_t index);

/* So late that nobody counts as there only because something has just begun. */
void bench_grow_old(struct bench *bench);

/* Node 1 is primary, 2 and 3 in sync: view 5. All were heard a moment ago, long after the start. */
void bench_make_two_in_sync(struct bench *bench);

#endif

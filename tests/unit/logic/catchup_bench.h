/*
 * A source (source.h) and a joiner (catchup.h) with the wires between them, moved on by the test,
 * one message or update at a time.
 */
#ifndef LOGIC_CATCHUP_BENCH_H
#define LOGIC_CATCHUP_BENCH_H

#include "joiner.h"

#include "base/alloc.h"
#include "base/rand.h"
#include "logic/catchup.h"
#include "logic/source.h"

#define BENCH_JOINER        11u
#define BENCH_PRIMARY       22u
#define BENCH_RETRANSMIT_MS 100u
#define BENCH_SILENCE_MS    400u
#define BENCH_WIRE_MAX      4096u

struct bench_message {
    uint64_t link;
    uint8_t *bytes;
    size_t len;
};

/* Messages on their way; any may be lost, doubled, or overtake another. */
struct bench_wire {
    struct bench_message items[BENCH_WIRE_MAX];
    uint32_t first;
    uint32_t len;
    uint64_t bytes;    /* of all that were sent */
    uint64_t messages; /* likewise */
};

struct bench {
    struct rand rand;
    struct node_config config;
    struct effects effects;
    struct context context;
    struct view view;
    struct replica source; /* as far as source.h looks at it */
    struct log *log;       /* the primary's */
    struct bench_wire asked;
    struct bench_wire answered;
    struct catchup catchup;
    struct store *memory;
    struct store *disk;
    struct log *own_log;
    uint64_t applied;
    struct store *truth; /* what the content is at that index, told the joiner by nobody */
    uint64_t told;       /* records */
    uint64_t refused;
};

/* Makes another member of the view that the joiner knows. */
void bench_add_member(struct bench *bench, uint64_t node, enum member_state state);

/* A primary alone, and a candidate; both stores are empty, both logs go on after index. */
struct bench *bench_create(uint64_t seed, uint64_t index);

void bench_destroy(struct bench *bench);

/* Takes the first message, after one at a random place has changed with it when `shuffled`. The
 * caller frees its bytes. */
struct bench_message bench_take_message(struct bench_wire *wire, struct rand *rand, bool shuffled);

/* The joiner asks. chaos: percent of what is sent that is lost, and percent that is doubled. */
void bench_ask(struct bench *bench, bool has_room, uint32_t chaos);

/* The source answers one question; false: it is not that far yet. */
bool bench_answer(struct bench *bench, bool shuffled, uint32_t chaos);

/* The joiner, and its disk, take one answer; false: it is refused. */
bool bench_fetched(struct bench *bench, const struct message *message);

/* ... one of those on the wire. */
void bench_take(struct bench *bench, bool shuffled);

/* Time passes, and the joiner does what it has planned for then. */
void bench_wait(struct bench *bench, uint64_t ms, uint32_t chaos);

/* The joiner shows what is committed, as far as it has it, and trims its log. */
void bench_show(struct bench *bench, uint64_t committed);

/* The source does. */
void bench_commit(struct bench *bench, uint64_t index);

/* A pair of 16 and 100 bytes, its value drawn from index; and taking it out. */
void bench_put(struct store *store, uint64_t number, uint64_t index);
void bench_remove(struct store *store, uint64_t number);

#endif

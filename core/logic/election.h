/*
 * Who becomes primary without the word of the one before. Looks at the view and at whom the arbiter
 * has heard, and says what to do; changes nothing.
 *
 * What makes it safe: every member in sync has every acknowledged update (as far as the ack mode
 * promises), and nothing is committed or read at the primary while one of them no longer takes
 * part. So it is enough that one of them has asked (it takes nothing from the old primary any more)
 * or that the primary's process, or all those of the others, are over.
 */
#ifndef LOGIC_ELECTION_H
#define LOGIC_ELECTION_H

#include "logic/arbiter_peers.h"

struct election_input {
    const struct view *view; /* the durable one */
    const struct arbiter_peers *peers;
    uint64_t committed; /* the highest commit index that a member in sync has told of */
    uint64_t now_ms;
    uint64_t started_ms; /* of the arbiter's process: who was not heard since is not dead yet */
    uint64_t view_ms;    /* when the view was made */
    uint64_t primary_ms; /* when its primary was named */
    uint32_t replica_timeout_ms;
    uint32_t return_wait_ms;
};

/* How a member of the view is there. */
enum election_standing {
    STANDING_ABSENT,
    STANDING_PRESUMED, /* not heard yet, and the arbiter's process is young */
    STANDING_LIVE,     /* the process that the view names */
    STANDING_RETURNED, /* a later process waits with its Join, with the store it must have */
    STANDING_LOST,     /* a later process waits, and its store lacks what it must have */
};

enum election_verdict {
    ELECTION_NOT_DUE, /* the primary is there, or nobody wants another one */
    ELECTION_WAIT,    /* for members in sync that have not come back, or for an operator */
    ELECTION_CHOOSE,
};

struct election {
    enum election_verdict verdict;
    uint64_t node; /* CHOOSE */
    struct kv_position position;
    const char *reason;
    bool needs_operator; /* WAIT: time alone does not help */
    uint64_t missing;    /* WAIT: bit i: member i of the view, in sync, is not there */
    uint64_t lost;       /* WAIT: likewise, is there and lacks what was acknowledged */
    uint64_t again_ms;   /* when time alone may change the verdict; UINT64_MAX: never */
};

enum election_standing election_standing(const struct election_input *input,
                                         const struct member *member);

/* The primary's process is over: a later one of the same identity waits with its Join. */
bool election_primary_is_dead(const struct election_input *input);

/* The primary was heard a moment ago, knowing the view that there was; or nobody can tell yet. */
bool election_primary_is_current(const struct election_input *input);

/* A secondary in sync that lives and has not asked: it hears the primary, as far as one can tell.
 * NULL: none. */
const struct member *election_witness(const struct election_input *input);

/* The primary's store is lost, and nobody else in sync can take its place. */
bool election_data_is_lost(const struct election_input *input);

void election_decide(const struct election_input *input, struct election *ret_election);

/* Makes `next`, a copy of the view with the next number, the view with that primary: those in sync
 * that live or have returned, candidates that live, nobody else. New sessions for all. */
void election_apply(const struct election_input *input, uint64_t node, struct view *next);

#endif

/*
 * Knowing the view: asks (Locate) when there is a reason to, paced, and takes over what is said
 * (Located). The arbiter is asked, one question at a time; while it does not answer, or what it
 * says does not help, the members that are known are asked too, one after the other: they tell the
 * view that they act on. The highest number wins. Loop thread.
 */
#ifndef CLIENT_LOCATE_H
#define CLIENT_LOCATE_H

#include "base/rand.h"
#include "logic/view.h"

struct kv_client;
struct peer;

/* What was asked and is not answered yet. */
struct locate_question {
    struct peer *peer;
    uint64_t request; /* its id; 0: none */
    uint64_t sent_ms;
    uint64_t next_ms; /* the next one not before */
};

struct locate {
    bool is_wanted;
    struct locate_question arbiter;
    struct locate_question member;
    uint32_t member_at;       /* place in the view of the member to be asked next */
    uint64_t needed_since_ms; /* 0: a primary is there, as far as known */
    uint64_t sent_len;        /* questions to the arbiter so far */
    uint64_t answered;        /* which of them was answered last, counted from 1 */
    struct rand rand;         /* of the pause */
};

void locate_init(struct kv_client *client);

/* There is a reason to ask. */
void locate_want(struct kv_client *client);

/* Asks when it is wanted, needed and time to. Part of the client's turn. */
void locate_step(struct kv_client *client);

/* Whether this is the id of a question of the library's own to that peer. */
bool locate_is_asked(const struct kv_client *client, const struct peer *peer, uint64_t id);

/* What this peer was asked is not answered any more; it may be about to be freed. */
void locate_on_down(struct kv_client *client, const struct peer *peer);

/* The question to this peer was answered. */
void locate_on_answered(struct kv_client *client, const struct peer *peer);

/* Takes over a view that this peer gave, if it is news. */
void locate_adopt(struct kv_client *client, const struct view *view, const struct peer *from);

/* The primary's entry in the view; NULL when none is known. */
const struct member *locate_primary(const struct kv_client *client);

#endif

/*
 * Knowing the view: asks the arbiter (Locate) when there is a reason to, one question at a time and
 * paced, and takes over what it says (Located). Loop thread.
 */
#ifndef CLIENT_LOCATE_H
#define CLIENT_LOCATE_H

#include "base/rand.h"
#include "logic/view.h"

struct kv_client;

struct locate {
    bool is_wanted;
    uint64_t request; /* id of the outstanding Locate; 0: none */
    uint64_t sent_ms;
    uint64_t next_ms;  /* not before */
    uint64_t sent_len; /* Locates sent so far */
    uint64_t answered; /* which of them was answered last, counted from 1 */
    struct rand rand;  /* of the pause */
};

void locate_init(struct kv_client *client);

/* There is a reason to ask. */
void locate_want(struct kv_client *client);

/* Asks when it is wanted, needed and time to. Part of the client's turn. */
void locate_step(struct kv_client *client);

/* The arbiter's link is down: what was asked is not answered any more. */
void locate_on_arbiter_down(struct kv_client *client);

/* The outstanding Locate was answered. */
void locate_on_answered(struct kv_client *client);

/* Takes over a view that the arbiter gave. */
void locate_adopt(struct kv_client *client, const struct view *view);

/* The primary's entry in the view; NULL when none is known. */
const struct member *locate_primary(const struct kv_client *client);

#endif

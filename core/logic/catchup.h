/*
 * A joiner's fetching of what it lacks: which hash ranges differ from a source's, and their
 * content, while the primary's updates flow in beside it (replicator.h, secondary.h). The source is
 * any replica that serves reads: a secondary in sync if there is one, so that the primary has
 * nothing to do with it; after silence another one is asked.
 *
 * Happy path: begin() lays out the whole hash space as some ranges; pump() asks for the digests of
 * their parts (for their content, where the joiner has next to nothing of its own); on_fetched()
 * compares and asks more closely for what differs, until small ranges are replaced by the source's
 * content; done when nothing is left to ask and nothing is on the way. So the cost follows the
 * difference, and fetching that was interrupted goes on where it was, as what is there already is
 * found equal.
 *
 * Failure modes: a lost message (asked again), a source that is gone, slow or not far enough (the
 * next one), an answer too old for the log (asked again). Nothing here is trusted to be in order:
 * each answer stands for itself (transfer.h). Used by the secondary only.
 */
#ifndef LOGIC_CATCHUP_H
#define LOGIC_CATCHUP_H

#include "base/buffer.h"
#include "logic/context.h"
#include "logic/log.h"
#include "logic/store.h"

/* A range of hashes that is still to be asked for. */
struct catchup_range {
    uint64_t low;
    uint64_t high;
    uint64_t pairs; /* of the joiner's own in it, about; 0 with content: nobody counted */
    bool content;   /* all of it; else digests of its parts: it can be cut in two again and again */
    bool delta;     /* digests: with the pairs of an index above base */
};

/* A question under way. */
struct catchup_fetch {
    uint64_t request; /* 0: this place is free */
    struct catchup_range range;
    uint32_t parts;     /* 0: content */
    uint32_t overtaken; /* so many later questions were answered since it was sent */
    uint64_t min_index; /* of its last sending */
    uint64_t sent_ms;
    uint64_t wait_ms; /* sent again when nothing was heard for so long */
};

struct catchup {
    bool going;
    uint64_t min_index;           /* no new question is for an older state: raised by the caller */
    uint64_t base;                /* UINT64_MAX: not known */
    uint64_t as_of;               /* the newest state that an answer taken has shown */
    struct catchup_range *ranges; /* a stack, at most CATCHUP_RANGES_MAX */
    uint32_t ranges_len;
    uint32_t ranges_capacity;
    struct catchup_fetch fetches[FETCHES_MAX];
    uint32_t fetches_len; /* under way */
    uint64_t next_request;
    bool primary_first;   /* the primary is asked before the others: set by the caller */
    uint64_t source;      /* node; 0: none chosen */
    uint64_t link;        /* to it; 0: none */
    bool link_is_up;      /* nothing is sent before */
    uint64_t heard_ms;    /* last answer taken, or when there was last nothing to hear */
    uint64_t patience_ms; /* after so long a silence another source is asked */
};

#define CATCHUP_RANGES_MAX 65536u

void catchup_init(struct catchup *catchup);
void catchup_close(struct catchup *catchup);

/* Everything is to be fetched, or found equal. store: what the joiner has. */
void catchup_begin(struct catchup *catchup, const struct store *store, uint64_t min_index,
                   uint64_t base);

/* Forgets what is under way and closes the link; context NULL: no link is left. */
void catchup_end(struct catchup *catchup, struct context *context);

/* Chooses a source and sends what may be sent; has_room false: the own store is behind, nothing new
 * is asked for. */
void catchup_pump(struct catchup *catchup, struct context *context, const struct view *view,
                  bool has_room);

/* What an answer is applied to: as for transfer_apply(). */
struct catchup_target {
    struct store *store;
    const struct log *log;
    uint64_t applied;
};

/* A Fetched. True when it was taken: ret_records then has what the persistence plugin must be told,
 * in that order (maybe nothing). False: nobody asked, or it does not fit; nothing has changed. */
bool catchup_on_fetched(struct catchup *catchup, struct context *context,
                        const struct catchup_target *target, const struct message *message,
                        struct buffer *ret_records, uint32_t *ret_count);

/* Nothing is left to ask and nothing is under way: the content is the source's as of as_of, once
 * the log is applied up to there. False when nothing was begun. */
bool catchup_is_done(const struct catchup *catchup);

/* A link is up that was opened here, maybe to the source: what is under way is sent, or sent again.
 */
void catchup_on_link_up(struct catchup *catchup, struct context *context, uint64_t link);

/* The lowest min_index of what is under way; UINT64_MAX: nothing is. The log is held from there on.
 */
uint64_t catchup_floor(const struct catchup *catchup);

/* Asks again, or another source, what has not been answered. */
void catchup_tick(struct catchup *catchup, struct context *context, const struct view *view);
uint64_t catchup_wake_ms(const struct catchup *catchup, const struct context *context);

#endif

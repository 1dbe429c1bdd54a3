/*
 * Requests that wait to be sent to one place, in the order in which the caller issued them, and
 * whether they may be sent now. After a refusal the queue is held for a while and then probed with
 * a single request, so that a node that is not ready yet gets no storm. Loop thread.
 */
#ifndef CLIENT_QUEUE_H
#define CLIENT_QUEUE_H

#include "list.h"

#include <stdint.h>

struct request;

struct queue {
    struct list again; /* were sent before: go first; ascending order */
    struct list fresh;
    uint64_t hold_until_ms;
    bool is_held_for_view; /* a new word on the view ends the hold earlier */
    bool is_probing;       /* one request at a time until one is not refused */
    struct request *probe; /* that one, while its answer is outstanding */
};

void queue_init(struct queue *queue);

/* Puts the request where its order and its being sent before demand it. */
void queue_push(struct queue *queue, struct request *request);

/* NULL when empty. */
struct request *queue_first(const struct queue *queue);

bool queue_is_open(const struct queue *queue, uint64_t now_ms);

/* After a refusal: nothing is sent until then. */
void queue_hold(struct queue *queue, uint64_t until_ms, bool is_for_view);

/* The place may be another one now, or has a fresh reason to be tried. */
void queue_end_hold_for_view(struct queue *queue);

/* The place is another one: the pause that the old one asked for is over. One that was refused is
 * still sent alone first. */
void queue_end_hold(struct queue *queue);

#endif

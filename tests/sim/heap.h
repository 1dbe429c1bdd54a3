/*
 * What will happen in the simulated world, in order of time; equal times in order of insertion, so
 * that a seed always gives the same run. The simulator only.
 */
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include <stdbool.h>
#include <stdint.h>

enum wake_kind {
    WAKE_PACKET = 1, /* a message arrives: memory is a struct packet */
    WAKE_CONNECT,    /* a connection is tried: index is its place, serial its serial */
    WAKE_LINK,       /* a machine hears of a link: memory is a struct link_news */
    WAKE_TICK,       /* index: machine, serial: its epoch */
    WAKE_FLUSH,      /* the same */
    WAKE_LOADED,     /* the same: the store gives its content */
    WAKE_DISK,       /* index: machine, serial: the job's */
    WAKE_REGISTRY,   /* the same */
    WAKE_START,      /* index: machine: its process starts if it is down */
    WAKE_CLIENT,     /* index: client: the next request */
    WAKE_FAULT,      /* something bad happens */
    WAKE_HEAL,       /* serial: of the fault that ends; 0: all of them */
    WAKE_DUE,        /* serial: of a request that must be answered by now */
    WAKE_SCAN,       /* index: machine, serial: cursor: the complete scan goes on there */
    WAKE_SETTLE,     /* is all in order again? */
};

struct wake {
    uint64_t at_us;
    uint64_t order;
    enum wake_kind kind;
    uint32_t index;
    uint64_t serial;
    void *memory; /* alloc_free() after use, or NULL */
};

struct heap {
    struct wake *items;
    uint32_t len;
    uint32_t capacity;
    uint64_t next_order;
};

void heap_init(struct heap *heap);
void heap_close(struct heap *heap);

/* Takes over memory. */
void heap_push(struct heap *heap, uint64_t at_us, enum wake_kind kind, uint32_t index,
               uint64_t serial, void *memory);

/* Hands memory over; false when nothing is left. */
bool heap_pop(struct heap *heap, struct wake *ret_wake);

#endif

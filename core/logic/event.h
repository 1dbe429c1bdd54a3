/*
 * What may happen to a node: the only input of node_step(). The time rides in every event; the
 * logic reads no clock. Memory that an event points to is borrowed for the step.
 */
#ifndef LOGIC_EVENT_H
#define LOGIC_EVENT_H

#include <kvnode/persist.h>

enum event_kind {
    EVENT_START = 1,        /* once, first */
    EVENT_LOADED_RECORDS,   /* some of the store's content, before EVENT_LOADED */
    EVENT_LOADED,           /* the store is open and its content was given completely */
    EVENT_LINK_UP,          /* a link that the logic opened can be sent on */
    EVENT_LINK_DOWN,        /* a link lost its peer; an accepted one is gone for good */
    EVENT_MESSAGE,          /* one message from a link */
    EVENT_PERSISTED,        /* the batch in flight is in the store */
    EVENT_PERSIST_FAILED,   /* it may or may not be; the logic will hand it over again */
    EVENT_REGISTRY_WRITTEN, /* the arbiter's state is durable */
    EVENT_REGISTRY_FAILED,  /* it is not; the logic will hand it over again */
    EVENT_REGISTRY_CHANGED, /* what is stored is another state than the one last read or written:
                               somebody else has written; a write under way is not stored */
    EVENT_TICK,             /* node_wake_ms() has come */
    EVENT_FLUSH,            /* end of a loop turn: hand over what has gathered */
    EVENT_LEAVE,            /* the process was asked to stop cleanly */
};

/* One record of a batch that the store will never take; the rest of the batch is stored. */
struct persist_refusal {
    uint32_t record;    /* of the batch, from 0 */
    const char *reason; /* text for people; NULL or "": none was given */
};

struct event {
    enum event_kind kind;
    uint64_t now_ms; /* monotonic, never lower than in the event before */
    union {
        struct {
            uint64_t link;
        } link; /* LINK_UP, LINK_DOWN */
        struct {
            uint64_t link;
            const void *bytes;
            size_t len;
        } message;
        struct { /* encoded records (record.h), one after the other */
            const void *bytes;
            size_t len;
        } loaded_records;
        struct {
            struct kv_position position;
        } loaded;
        struct { /* PERSISTED, PERSIST_FAILED */
            uint64_t batch;
            int32_t status;    /* KV_OK for PERSISTED */
            const char *error; /* text for people, or NULL */
            const struct persist_refusal
                *refusals; /* PERSISTED: ascending by record, no two alike */
            uint32_t refusals_len;
        } persist;
        struct {             /* REGISTRY_WRITTEN, REGISTRY_FAILED */
            uint64_t number; /* of the view in it */
        } registry;
        struct { /* REGISTRY_CHANGED: what is stored now, as EFFECT_REGISTRY_WRITE gave it */
            const void *bytes;
            size_t len;
        } registry_changed;
    } as;
};

#endif

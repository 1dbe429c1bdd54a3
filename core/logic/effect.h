/*
 * What a step asks the host to do: the only output of node_step().
 *
 * Order rule: the effects of one step are carried out in the order of the list, and a PERSIST
 * stands before every SEND of its step (KV_CHECKed by the host). What needs durability is emitted
 * only by the later step that receives EVENT_PERSISTED, so nothing can be acknowledged too early.
 * Memory: everything an effect points to lives until effects_reset(), except a PERSIST's slices,
 * which live until the step that gets that batch's EVENT_PERSISTED or EVENT_PERSIST_FAILED.
 */
#ifndef LOGIC_EFFECT_H
#define LOGIC_EFFECT_H

#include "base/arena.h"

#include <kvnode/persist.h>
#include <kvnode/transport.h>
#include <stdbool.h>

enum effect_kind {
    EFFECT_PERSIST = 1,    /* hand this batch to the store; one at a time */
    EFFECT_OPEN_LINK,      /* make a link with the number given */
    EFFECT_CLOSE_LINK,     /* end a link of either kind */
    EFFECT_SEND,           /* one message to a link; lost silently if it is down or full */
    EFFECT_REGISTRY_WRITE, /* make the arbiter's state durable; one at a time */
    EFFECT_IDENTITY,       /* keep the cluster number, or that it is a copy, in the data folder */
    EFFECT_READY,          /* the node serves for the first time in this role */
    EFFECT_NOTE,           /* something a person may want to read in the log */
    EFFECT_STOP, /* end the process: everything is flushed, or it makes no sense to go on */
};

enum note_level { NOTE_DEBUG = 1, NOTE_INFO, NOTE_WARN, NOTE_ERROR };

struct effect {
    enum effect_kind kind;
    union {
        struct {
            uint64_t batch;
            struct kv_position position;   /* reached with it */
            const struct kv_slice *slices; /* whole encoded records in each */
            uint32_t slices_len;
            uint32_t records_len;
            uint64_t bytes;
            bool reset;      /* before it: empty a store whose content the node does not know */
            bool is_primary; /* the node is the primary now: the one that writes a shared store */
            uint64_t view;   /* ... of this view, or, if less is known, of any: 0 */
        } persist;
        struct {
            uint64_t link; /* links opened by the logic have bit 63 set, accepted ones have not */
            const char *const *uris; /* of the one peer, best first: the first that is served */
            uint32_t uris_len;       /* 1 to URIS_MAX */
        } open_link;
        struct {
            uint64_t link;
        } close_link;
        struct {
            uint64_t link;
            const struct kv_slice *slices;
            uint32_t slices_len;
        } send;
        struct { /* a compare-and-set: only if the stored view still has the number expected */
            uint64_t expected; /* 0: nothing is stored yet */
            uint64_t number;
            const void *bytes;
            size_t len;
        } registry_write;
        struct {
            uint64_t cluster; /* 0: none is known yet */
            bool is_copy;     /* the arbiter refuses the data folder as a copy of one in use: it
                                 must not be started again, as each start makes it look newer */
        } identity;
        struct {
            uint8_t role; /* enum node_role */
        } ready;
        struct {
            enum note_level level;
            const char *text; /* "event key=value ..." */
        } note;
        struct {
            int exit_status; /* SYSTEM.md section 6 */
            const char *reason;
        } stop;
    } as;
};

#define LINK_OPENED_BIT (1ull << 63)

struct effects {
    struct effect *items;
    uint32_t len;
    uint32_t capacity;
    struct arena arena;
};

void effects_init(struct effects *effects);
void effects_close(struct effects *effects);

/* Forgets the list; keeps memory for the next step. */
void effects_reset(struct effects *effects);

/* Appends a zeroed effect of that kind; the pointer is valid until the next call. */
struct effect *effects_add(struct effects *effects, enum effect_kind kind);

/* Appends a NOTE with a printf-like text. */
void effects_note(struct effects *effects, enum note_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

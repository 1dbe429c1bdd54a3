/*
 * One instance of the fault plugin: what the life cycle (faulty.c) and the way of the messages
 * (flow.c) share. Loop thread only.
 */
#ifndef FAULTY_FAULTY_H
#define FAULTY_FAULTY_H

#include "faults.h"
#include "inner.h"

#include <uv.h>

/* A held message that meets a full queue of the wrapped plugin is tried again after so long. */
#define FAULTY_RETRY_MS 5u

enum faulty_way {
    FAULTY_IN,  /* from the peer to the host */
    FAULTY_OUT, /* from the host to the peer */
};

/*
 * The host's link. The wrapped plugin knows it as `user`; its own link, of the same opaque type, is
 * `inner` and never looked into. It is kept while one of our functions still needs it (uses), since
 * the host may close it within any callback.
 */
struct kv_link {
    struct faulty *owner;
    struct kv_link *inner;
    void *user;
    struct kv_link *next;
    struct kv_link *prev;
    uint32_t uses;
    uint64_t held_bytes[2]; /* of messages that are late, by their way */
    bool is_accepted;
    bool is_pending; /* on_accept has not returned */
    bool is_up;
    bool is_gone;       /* closed, or an accepted one that went down: no callbacks, no calls */
    bool is_inner_busy; /* the wrapped plugin owes us on_writable */
    bool is_busy;       /* we owe it to the host */
};

/* A message that is late. */
struct faulty_message {
    struct faults_held held;
    struct kv_link *link;
    enum faulty_way way;
    uint32_t len;
    uint8_t bytes[];
};

struct faulty_counters {
    uint64_t lost_at_end;   /* held for a link that ended */
    uint64_t lost_at_limit; /* too many held that came in */
    uint64_t partitioned;
    uint64_t no_memory;
};

struct faulty {
    const struct kv_host *host;
    struct inner inner;
    void *inner_self;
    struct faults faults;
    struct faulty_counters counters;
    char *partition;         /* "": none */
    char *partition_ways[2]; /* the same with .in and .out */
    bool suffers[2];         /* links that we made, links that peers made */
    struct kv_transport_limits limits;
    const struct kv_transport_events *events;
    void *events_ctx;
    struct kv_link links; /* the ends of the list */
    struct faults_queue held;
    uv_timer_t timer;
    bool is_started;
    bool is_stopping;
};

void *faulty_allocate(struct faulty *faulty, size_t size);
void faulty_release(struct faulty *faulty, void *memory);

/* A link with one use, that of its owner. NULL: no memory. */
struct kv_link *flow_link_create(struct faulty *faulty, bool is_accepted);

/* Drops what is held for it, and the owner's use. No callback for it comes any more. */
void flow_link_end(struct kv_link *link);

/* After stop(): drops what is held for it; it stays until flow_close(), and the host hears nothing
 * of it. */
void flow_link_silence(struct kv_link *link);

/* The wrapped plugin has stopped: frees all links. */
void flow_close(struct faulty *faulty);

/* As kv_transport_ops.send. */
int32_t flow_send(struct kv_link *link, const struct kv_slice *slices, uint32_t slices_len);

/* What the wrapped plugin calls; ctx is the struct faulty. */
void *flow_on_accept(void *ctx, struct kv_link *inner, const char *remote_uri);
void flow_on_up(void *ctx, void *user);
void flow_on_message(void *ctx, void *user, const void *bytes, uint32_t len);
void flow_on_writable(void *ctx, void *user);
void flow_on_down(void *ctx, void *user, int32_t reason);

/* Callback of faulty.timer. */
void flow_on_timer(uv_timer_t *timer);

#endif

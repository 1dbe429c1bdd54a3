/*
 * The addresses of the peers that links go out to: looked up by libuv's thread pool, given to the
 * link one after the other. Loop thread only; it never blocks.
 *
 * A link that asks again gets the next address that its name has; when all were given, or with
 * attempt 0, the name is looked up anew: its owner may have moved.
 */
#ifndef TRANSPORT_UDP_RESOLVER_H
#define TRANSPORT_UDP_RESOLVER_H

#include "common/address.h"
#include "common/list.h"

#include <uv.h>

struct kv_link;

/* address is NULL when there is none: error (KV_E_...) and why. */
typedef void (*resolver_answer_fn)(void *ctx, struct kv_link *link, int32_t error, const char *text,
                                   const union address_socket *address);

struct resolver {
    const struct kv_host *host;
    struct list entries;  /* by resolver_entry.node: the names of links that are there */
    uint32_t lookups_len; /* in the thread pool, also for links that are gone */
    resolver_answer_fn on_answer;
    void (*on_idle)(void *ctx);
    void *ctx;
};

/* on_idle: the last lookup has ended; from the loop. */
void resolver_init(struct resolver *resolver, const struct kv_host *host,
                   resolver_answer_fn on_answer, void (*on_idle)(void *ctx), void *ctx);

/* on_answer follows once, at once or from the loop, unless the link is forgotten before. */
void resolver_ask(struct resolver *resolver, struct kv_link *link, const char *uri,
                  uint32_t attempt);

/* Nothing is there for a link that never asked: fine. */
void resolver_forget(struct resolver *resolver, const struct kv_link *link);

/* Forgets all; on_idle follows if it is not idle. */
void resolver_stop(struct resolver *resolver);
bool resolver_is_idle(const struct resolver *resolver);

#endif

/*
 * The simulated network: links as a host with a transport makes them. A link that a node opens
 * comes up once somebody listens there, and comes back by itself; an accepted one gets a number of
 * its own and is gone when it goes down. Messages are delayed, lost, doubled or overtaken as the
 * plan and the faults say. With late_downs, while there are faults, the end of a connection is told
 * late or not at all: until the opener has noticed, it makes no new one, and its messages go
 * nowhere. When the faults stop, whoever does not know it yet is told. Never calls a node:
 * everything arrives over the heap.
 */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "world.h"

struct packet {
    uint32_t conn;
    uint32_t serial;
    uint32_t generation;
    bool to_opener;
    uint32_t op; /* a client's request, or OP_NONE */
    size_t len;
    uint8_t bytes[];
};

struct link_news {
    uint64_t link;
    bool up;
};

/* Opens a connection to whoever listens on the first of the uris for which the opener has a
 * transport (to nobody when it has none); returns its place. */
uint32_t net_open(struct world *world, uint32_t opener, uint64_t opener_epoch, uint64_t link,
                  const char *const *uris, uint32_t uris_len);

/* The connection that this machine calls link; NULL when there is none. */
struct conn *net_find(struct world *world, uint32_t machine, uint64_t link);

/* Sends from one end; lost when the connection is down. */
void net_send(struct world *world, struct conn *conn, bool to_opener, uint32_t op,
              const struct kv_slice *slices, uint32_t slices_len);

/* One end closes it: an opener's is gone, an acceptor's comes back. */
void net_close(struct world *world, struct conn *conn, bool by_opener);

/* It goes down and, if its opener lives, comes back. */
void net_break(struct world *world, struct conn *conn);

/* The process of that machine is gone. */
void net_crash(struct world *world, uint32_t machine);

/* Nobody is any more where that machine was; its new addresses are not known yet. */
void net_move(struct world *world, uint32_t machine);

void net_on_connect(struct world *world, uint32_t place, uint64_t serial);

/* Where a packet arrives now: false when it is lost on the way. */
bool net_arrives(struct world *world, const struct packet *packet, uint32_t *ret_end,
                 uint64_t *ret_link);

#endif

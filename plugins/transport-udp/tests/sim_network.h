/*
 * A network in virtual time for the tests of the endpoint: what will happen is kept in order of
 * (time, sequence), so a seed always gives the same run. Datagrams travel between addresses, each
 * direction with its own faults. One thread; no system call but for memory.
 */
#ifndef UDP_SIM_NETWORK_H
#define UDP_SIM_NETWORK_H

#include <stddef.h>

#include "base/rand.h"
#include "common/address.h"

#define SIM_ADDRESSES_MAX   16u
#define SIM_BOTTLENECKS_MAX 4u
#define SIM_NONE            UINT32_MAX

/* One direction between two addresses. */
struct sim_path {
    uint32_t latency_us;
    uint32_t jitter_us;        /* added by chance; datagrams keep their order */
    uint32_t loss_permille;    /* of all datagrams */
    uint32_t double_permille;  /* come twice */
    uint32_t reorder_permille; /* come later by up to reorder_us, behind later ones */
    uint32_t corrupt_permille; /* come with one or two bits changed */
    uint32_t reorder_us;
    uint32_t datagram_max; /* longer ones vanish */
    uint32_t bottleneck;   /* number, or SIM_NONE */
    uint64_t blocked_us;   /* nothing passes before it */
    uint64_t last_us;      /* arrival of the last one in order */
};

/* A queue that drops at its end. */
struct sim_bottleneck {
    uint64_t bytes_per_s;
    uint64_t queue_bytes_max;
    uint64_t free_us; /* when all that is in it has left */
    uint64_t passed, dropped;
};

struct sim_datagram {
    uint32_t from, to;
    bool is_forged; /* not sent by an endpoint, or not by this one now */
    bool is_inert;  /* forged or corrupted: nothing at its receiver may change */
    size_t len;
    uint8_t *bytes; /* of its own allocation, exactly len */
};

/* Takes a due event; memory is freed afterwards. */
typedef void (*sim_event_fn)(void *ctx, uint64_t number, void *memory);
typedef void (*sim_arrive_fn)(void *ctx, const struct sim_datagram *datagram);

struct sim_event {
    uint64_t at_us, order;
    sim_event_fn fn;
    void *ctx;
    uint64_t number;
    void *memory;
};

struct sim_network {
    uint64_t now_us;
    struct rand rand;
    struct sim_event *heap;
    uint32_t len, capacity;
    uint64_t next_order;
    struct sim_path paths[SIM_ADDRESSES_MAX][SIM_ADDRESSES_MAX];
    struct sim_bottleneck bottlenecks[SIM_BOTTLENECKS_MAX];
    sim_arrive_fn arrive;
    void *arrive_ctx;
    uint64_t sent, lost, arrived;
};

/* All paths: no faults, 100 us. */
void sim_network_init(struct sim_network *network, uint64_t seed, sim_arrive_fn arrive, void *ctx);
void sim_network_close(struct sim_network *network);

/* memory: of the heap or NULL; freed after fn. */
void sim_network_at(struct sim_network *network, uint64_t at_us, sim_event_fn fn, void *ctx,
                    uint64_t number, void *memory);

/* The next event by time, if it is not after until_us; else the time goes on to until_us. */
bool sim_network_step(struct sim_network *network, uint64_t until_us);

/* Sends a copy. */
void sim_network_send(struct sim_network *network, const struct sim_datagram *datagram);

/* Uniform in [low, high]. */
uint64_t sim_network_draw(struct sim_network *network, uint64_t low, uint64_t high);
bool sim_network_permille(struct sim_network *network, uint32_t permille);

/* Address number i as a socket address, and back (SIM_NONE: none of ours). */
union address_socket sim_network_address(uint32_t i);
uint32_t sim_network_number(const union address_socket *address);

#endif

/*
 * Plain UDP sockets beside the nodes of a world: to send what no well-behaved peer would, and to
 * stand between two nodes and keep, alter or repeat their datagrams. One thread.
 */
#ifndef TRANSPORT_UDP_TESTS_RAW_H
#define TRANSPORT_UDP_TESTS_RAW_H

#include "world.h"

/* The kinds of datagrams, as README.md has them. */
enum raw_kind {
    RAW_HELLO = 0xb1,
    RAW_COOKIE,
    RAW_OPEN,
    RAW_ACCEPT,
    RAW_REFUSE,
    RAW_DATA,
    RAW_CLOSE,
    RAW_UNKNOWN,
};

#define RAW_HEADER_LEN 21u
#define RAW_OPEN_LEN   64u
#define RAW_BYTES_MAX  65536u

/* On a free port of 127.0.0.1. */
int raw_open(uint16_t *ret_port);
void raw_send_to(int fd, uint16_t port, const void *bytes, size_t len);
/* What has come, or -1: nothing. */
int raw_take(int fd, uint8_t *bytes, uint16_t *ret_port);
/* Waits for a datagram. */
int raw_receive(struct world *world, int fd, uint8_t *bytes);
/* Throws away what has come; returns how many bytes. */
size_t raw_drain(int fd);

/* A datagram's header with a right CRC over all of it: for len bytes whose body is there. */
void raw_seal(uint8_t *bytes, size_t len, enum raw_kind kind, uint64_t to, uint64_t from);
uint64_t raw_get_to(const uint8_t *bytes);
uint64_t raw_get_from(const uint8_t *bytes);
/* A HELLO of this version, RAW_OPEN_LEN bytes. */
void raw_make_hello(uint8_t *bytes, uint64_t from);
/* The OPEN that answers that COOKIE, RAW_OPEN_LEN bytes. */
void raw_make_open(uint8_t *bytes, uint64_t from, const uint8_t *cookie);

/* Stands between a node that connects to `port` and the one that listens at `server_port`. */
struct raw_relay {
    struct world *world;
    uv_poll_t inner; /* towards the one that connects */
    uv_poll_t outer; /* towards the one that listens */
    int inner_fd;
    int outer_fd;
    uint16_t port;
    uint16_t server_port;
    uint16_t client_port; /* 0: nothing came from it yet */
    uint16_t outer_port;
    bool is_cut; /* nothing passes */
    /* Looks at each datagram on its way, or NULL; false: it is dropped. */
    bool (*look)(struct raw_relay *relay, bool is_to_server, uint8_t *bytes, size_t len);
    void *ctx;
    uint64_t client_token; /* of the last handshake that passed */
    uint64_t server_token;
};

void raw_relay_open(struct raw_relay *relay, struct world *world, uint16_t server_port);
void raw_relay_close(struct raw_relay *relay);
/* As if it had come from the other end. */
void raw_relay_to_server(struct raw_relay *relay, const void *bytes, size_t len);
void raw_relay_to_client(struct raw_relay *relay, const void *bytes, size_t len);

#endif

/*
 * Plain TCP sockets beside the nodes of a world, and the frames of this transport. One thread.
 */
#ifndef TRANSPORT_TCP_TESTS_RAW_H
#define TRANSPORT_TCP_TESTS_RAW_H

#include "world.h"

/* Raw sockets, non-blocking; each waits by turning the loop. */
int raw_connect(struct world *world, uint16_t port);
int raw_listen(uint16_t *ret_port);
int raw_accept(struct world *world, int listener);
void raw_send(struct world *world, int fd, const void *bytes, size_t len);
/* Returns how many bytes came before the end: less than len means that the peer closed. */
size_t raw_receive(struct world *world, int fd, void *bytes, size_t len);
/* Waits for the end of the stream; returns how many bytes came before. */
size_t raw_wait_end(struct world *world, int fd);
/* The preamble of this version, both ways. */
void raw_shake_hands(struct world *world, int fd);
/* Writes a frame around the payload; returns its length. */
size_t raw_encode(uint8_t *at, const void *payload, uint32_t len);

#endif

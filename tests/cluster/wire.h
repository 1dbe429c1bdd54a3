/*
 * A peer that speaks raw bytes to a node's TCP port: for what no client of ours would send.
 */
#ifndef CLUSTER_WIRE_H
#define CLUSTER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MESSAGE_MAX 65536u /* what this peer says it takes */

/* Connects to tcp://127.0.0.1:PORT; the socket to close(). */
int wire_connect(const char *uri);

/* Sends all; a peer that has gone meanwhile is no failure. */
void wire_send(int fd, const void *bytes, size_t len);

/* The preamble of this transport, in the version given. */
void wire_send_preamble(int fd, uint32_t version);

/* A frame with the right checksum around the payload. */
void wire_send_frame(int fd, const void *payload, size_t len);

/* Reads until the other side ends the connection, fails the test when it does not in time.
 * ret_bytes (size bytes) takes what came before, NULL with 0: nothing is kept. Returns how many
 * came in all. */
size_t wire_wait_end(int fd, void *ret_bytes, size_t size);

#endif

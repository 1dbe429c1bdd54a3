/*
 * Who this node is: its number and its cluster's, kept in DATA/node.id, and the lock that keeps a
 * second process out of the folder. A text file with a checksum, so that a person can read it and a
 * slip of a finger is noticed. Main thread; blocking, used at start and when the cluster changes,
 * which is once in a folder's life.
 */
#ifndef HOST_IDENTITY_H
#define HOST_IDENTITY_H

#include <stdint.h>

#define IDENTITY_ERROR_MAX 512u

struct identity {
    uint64_t node;    /* never 0 */
    uint64_t cluster; /* 0: never joined one */
    int folder_fd;    /* of DATA; for other files in it */
    int lock_fd;
};

/* Makes the folder and those above it when they are missing, locks it and reads node.id, or draws a
 * number and writes one where there is none. On failure ret_error (IDENTITY_ERROR_MAX bytes) says
 * what to do. KV_E_EXISTS: another process has the folder; KV_E_CORRUPT: node.id is damaged;
 * KV_E_IO. */
int32_t identity_open(const char *folder, struct identity *ret_identity, char *ret_error);

/* Makes the cluster's number durable. KV_E_IO: not known to be; ret_error says why. */
int32_t identity_set_cluster(struct identity *identity, uint64_t cluster, char *ret_error);

/* Gives the folder free. */
void identity_close(struct identity *identity);

/* A random number that is not 0, from the kernel. Any thread. */
uint64_t identity_draw(void);

#endif

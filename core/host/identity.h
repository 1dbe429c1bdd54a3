/*
 * Who this node is: its number, its cluster's, and how often it was started, kept in DATA/node.id,
 * and the lock that keeps a second process out of the folder. The count is durable before the node
 * joins anything: by it the arbiter tells a folder from a copy of it. A copy that was refused stays
 * refused: it is not started again, since with enough starts it would pass for the original. A text
 * file with a checksum, so that a person can read it and a slip of a finger is noticed. Main
 * thread; blocking, used at start and when one of these changes, which is seldom.
 */
#ifndef HOST_IDENTITY_H
#define HOST_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#define IDENTITY_ERROR_MAX 512u

struct identity {
    uint64_t node;    /* never 0 */
    uint64_t cluster; /* 0: never joined one */
    uint64_t starts;  /* of processes with this folder, this one included */
    bool is_copy;     /* the arbiter found the folder to be a copy of one in use */
    int folder_fd;    /* of DATA; for other files in it */
    int lock_fd;
};

/* Makes the folder and those above it when they are missing, locks it, reads node.id, or draws a
 * number where there is none, and counts this start in it: for a process that runs the node only.
 * On failure ret_error (IDENTITY_ERROR_MAX bytes) says what to do. KV_E_EXISTS: another process has
 * the folder; KV_E_CORRUPT: node.id is damaged; KV_E_REJECTED: the folder was found to be a copy,
 * and this start is not counted; KV_E_IO. */
int32_t identity_open(const char *folder, struct identity *ret_identity, char *ret_error);

/* Makes the cluster's number durable. KV_E_IO: not known to be; ret_error says why. */
int32_t identity_set_cluster(struct identity *identity, uint64_t cluster, char *ret_error);

/* Makes durable that the folder is a copy: identity_open() then refuses it for good. KV_E_IO: not
 * known to be; ret_error says why. */
int32_t identity_mark_copy(struct identity *identity, char *ret_error);

/* Gives the folder free. */
void identity_close(struct identity *identity);

/* A random number that is not 0, from the kernel. Any thread. */
uint64_t identity_draw(void);

/* The same with the lowest INCARNATION_JOIN_BITS 0: what tells this process from others. */
uint64_t identity_draw_incarnation(void);

#endif

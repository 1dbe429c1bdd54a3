/*
 * The host that the unit tests of the pure parts give them: counts memory in bytes, and refuses it
 * when it is told to. Test code only; one thread.
 */
#ifndef TRANSPORT_UDP_COUNTING_HOST_H
#define TRANSPORT_UDP_COUNTING_HOST_H

#include <kvnode/host.h>

struct counting_host {
    struct kv_host table;
    int64_t blocks; /* allocated now */
    size_t bytes;
    size_t bytes_most; /* the highest since it was set to 0 */
    uint64_t calls;    /* that asked for memory */
    uint64_t fail_in;  /* the call, counted from now, that gets no memory; 0: none does */
};

void counting_host_init(struct counting_host *host);

/* Fails the test when something is still allocated. */
void counting_host_close(struct counting_host *host);

#endif

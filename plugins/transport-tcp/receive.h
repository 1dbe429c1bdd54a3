/* Reading from a link: preamble, then frames, each handed to the host as soon as it is whole. Loop
 * thread only; calls back only from libuv's own callbacks. */
#ifndef TRANSPORT_TCP_RECEIVE_H
#define TRANSPORT_TCP_RECEIVE_H

struct kv_link;

/* Starts or stops reading, as the link's state and its output queue ask for. */
void receive_update(struct kv_link *link);

/* Gives the memory back. */
void receive_close(struct kv_link *link);

#endif

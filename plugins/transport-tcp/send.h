/* The output queue of a link: two buffers, one offered to the kernel, one being filled. Loop thread
 * only; never calls back except from libuv's own callbacks. */
#ifndef TRANSPORT_TCP_SEND_H
#define TRANSPORT_TCP_SEND_H

#include <stdint.h>

#include <kvnode/transport.h>

struct kv_link;
struct tcp;

/* As kv_transport_ops.send. KV_E_NOMEM: nothing taken. */
int32_t send_message(struct kv_link *link, const struct kv_slice *slices, uint32_t slices_len);

/* Queues and writes the preamble. KV_E_NOMEM. */
int32_t send_preamble(struct kv_link *link);

/* As kv_transport_ops.flush. */
void send_flush(struct tcp *tcp);

/* Offers what is queued to the kernel, unless a write is in flight already. */
void send_write(struct kv_link *link);

/* Bytes that the kernel has not taken yet. */
size_t send_get_queued(const struct kv_link *link);

/* Gives the memory back; no write may be in flight. */
void send_close(struct kv_link *link);

#endif

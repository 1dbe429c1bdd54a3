/*
 * The outgoing stream of a link: the bytes that the peer has not acknowledged. They are appended at
 * the end, read anywhere (again and again, when datagrams are lost), released at the front. Pure;
 * owned by one link.
 *
 * Memory comes in blocks, so that nothing is moved when it grows and all goes back when it drains.
 */
#ifndef TRANSPORT_UDP_QUEUE_H
#define TRANSPORT_UDP_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include <kvnode/transport.h>

#define QUEUE_BLOCK_LEN  16384u
#define QUEUE_SLICES_MAX 6u /* blocks that 64 KiB of a stream can touch, and one more */

struct queue {
    const struct kv_host *host;
    uint64_t base;         /* offset of the first byte kept */
    uint64_t end;          /* offset behind the last one */
    uint8_t **blocks;      /* a ring; the stream's block k begins at offset k * QUEUE_BLOCK_LEN */
    uint32_t blocks_first; /* place in the ring of the block that holds base */
    uint32_t blocks_len;
    uint32_t blocks_capacity;
};

void queue_init(struct queue *queue, const struct kv_host *host);

/* Frees the blocks; the stream is at an end. */
void queue_close(struct queue *queue);

/* Appends all slices, or nothing: KV_E_NOMEM. */
int32_t queue_append(struct queue *queue, const struct kv_slice *slices, uint32_t slices_len);

/* Takes back what was appended from `end` on, none of which was read yet. */
void queue_cut(struct queue *queue, uint64_t end);

/* Bytes below `upto` (base <= upto <= end) are not needed any more. */
void queue_release(struct queue *queue, uint64_t upto);

/* Where [from, from + len) lies, which is in the queue and at most 64 KiB: fills ret_slices
 * (QUEUE_SLICES_MAX) and returns how many. They are valid until they are released. */
uint32_t queue_get(const struct queue *queue, uint64_t from, uint32_t len,
                   struct kv_slice *ret_slices);

#endif

#include "queue.h"

#include <string.h>

#define CAPACITY_MIN 4u

void queue_init(struct queue *queue, const struct kv_host *host)
{
    *queue = (struct queue){.host = host};
}

static uint32_t ring_place(const struct queue *queue, uint32_t index)
{
    return (uint32_t)(((uint64_t)queue->blocks_first + index) % queue->blocks_capacity);
}

/* Frees the last blocks; the ring goes with the last one of all. */
static void free_last(struct queue *queue, uint32_t blocks_len)
{
    while (queue->blocks_len > blocks_len) {
        queue->blocks_len--;
        queue->host->release(queue->host->ctx, queue->blocks[ring_place(queue, queue->blocks_len)]);
    }
    if (queue->blocks_len == 0) {
        queue->host->release(queue->host->ctx, queue->blocks);
        queue->blocks = NULL;
        queue->blocks_first = 0;
        queue->blocks_capacity = 0;
    }
}

void queue_close(struct queue *queue)
{
    free_last(queue, 0);
    queue->base = queue->end;
}

static int32_t grow_ring(struct queue *queue, uint64_t need)
{
    if (need <= queue->blocks_capacity) {
        return KV_OK;
    }
    if (need > UINT32_MAX / 2) {
        return KV_E_NOMEM;
    }
    uint32_t capacity = queue->blocks_capacity == 0 ? CAPACITY_MIN : queue->blocks_capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    uint8_t **blocks = queue->host->allocate(queue->host->ctx, (size_t)capacity * sizeof blocks[0]);
    if (blocks == NULL) {
        return KV_E_NOMEM;
    }
    for (uint32_t i = 0; i < queue->blocks_len; i++) {
        blocks[i] = queue->blocks[ring_place(queue, i)];
    }
    queue->host->release(queue->host->ctx, queue->blocks);
    queue->blocks = blocks;
    queue->blocks_first = 0;
    queue->blocks_capacity = capacity;
    return KV_OK;
}

/* Makes room for the bytes below `end`, or changes nothing. */
static int32_t grow_blocks(struct queue *queue, uint64_t end)
{
    uint64_t need = (end - 1) / QUEUE_BLOCK_LEN - queue->base / QUEUE_BLOCK_LEN + 1;
    int32_t status = grow_ring(queue, need);
    uint32_t blocks_len = queue->blocks_len;
    while (status == KV_OK && queue->blocks_len < need) {
        uint8_t *block = queue->host->allocate(queue->host->ctx, QUEUE_BLOCK_LEN);
        if (block == NULL) {
            status = KV_E_NOMEM;
            break;
        }
        queue->blocks[ring_place(queue, queue->blocks_len)] = block;
        queue->blocks_len++;
    }
    if (status != KV_OK) {
        free_last(queue, blocks_len);
    }
    return status;
}

/* Address of the byte at `offset`, and how many follow in its block, it included. */
static uint8_t *find_byte(const struct queue *queue, uint64_t offset, size_t *ret_room)
{
    uint64_t index = offset / QUEUE_BLOCK_LEN - queue->base / QUEUE_BLOCK_LEN;
    size_t within = (size_t)(offset % QUEUE_BLOCK_LEN);
    *ret_room = QUEUE_BLOCK_LEN - within;
    return queue->blocks[ring_place(queue, (uint32_t)index)] + within;
}

int32_t queue_append(struct queue *queue, const struct kv_slice *slices, uint32_t slices_len)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        total += slices[i].len;
    }
    if (total == 0) {
        return KV_OK;
    }
    int32_t status = grow_blocks(queue, queue->end + total);
    if (status != KV_OK) {
        return status;
    }
    for (uint32_t i = 0; i < slices_len; i++) {
        const uint8_t *from = slices[i].bytes;
        size_t left = slices[i].len;
        while (left > 0) {
            size_t room;
            uint8_t *to = find_byte(queue, queue->end, &room);
            size_t len = left < room ? left : room;
            memcpy(to, from, len);
            from += len;
            left -= len;
            queue->end += len;
        }
    }
    return KV_OK;
}

void queue_cut(struct queue *queue, uint64_t end)
{
    uint64_t need = 0;
    if (end > queue->base) {
        need = (end - 1) / QUEUE_BLOCK_LEN - queue->base / QUEUE_BLOCK_LEN + 1;
    }
    free_last(queue, (uint32_t)need);
    queue->end = end;
}

void queue_release(struct queue *queue, uint64_t upto)
{
    uint64_t done = upto / QUEUE_BLOCK_LEN - queue->base / QUEUE_BLOCK_LEN;
    queue->base = upto;
    if (upto == queue->end) {
        free_last(queue, 0);
        return;
    }
    for (; done > 0; done--) {
        queue->host->release(queue->host->ctx, queue->blocks[queue->blocks_first]);
        queue->blocks_first = ring_place(queue, 1);
        queue->blocks_len--;
    }
}

uint32_t queue_get(const struct queue *queue, uint64_t from, uint32_t len,
                   struct kv_slice *ret_slices)
{
    uint32_t slices_len = 0;
    while (len > 0) {
        size_t room;
        const uint8_t *bytes = find_byte(queue, from, &room);
        uint32_t part = len < room ? len : (uint32_t)room;
        ret_slices[slices_len] = (struct kv_slice){bytes, part};
        slices_len++;
        from += part;
        len -= part;
    }
    return slices_len;
}

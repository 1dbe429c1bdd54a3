/*
 * Happy path: send() appends frames to `filling`; flush() makes it `writing` and offers it to the
 * kernel with one uv_try_write(), which takes all. When the kernel takes a part only, the rest goes
 * by uv_write() from the same memory, in chunks, so that progress is seen before megabytes are
 * through; meanwhile send() fills the other buffer. No byte is copied a second time.
 * Failure modes: an error of uv_try_write() is left to the uv_write() after it, whose callback may
 * tell the host, which flush() may not.
 */
#include "send.h"

#include <string.h>

#include "frame.h"
#include "link.h"
#include "receive.h"
#include "tcp.h"

#define SEND_CHUNK_MAX    262144u /* bytes of one uv_write() */
#define SEND_CAPACITY_MIN 1024u
#define SEND_KEEP_MAX     16384u /* an empty buffer above it is given back */

static void empty_buffer(struct tcp *tcp, struct link_buffer *buffer)
{
    buffer->sent = 0;
    buffer->len = 0;
    if (buffer->capacity > SEND_KEEP_MAX) {
        tcp_release(tcp, buffer->bytes);
        buffer->bytes = NULL;
        buffer->capacity = 0;
    }
}

/* Room for len more bytes behind those of the buffer. Doubles, so that growing costs little, but
 * not above what the limits let a queue hold. */
static int32_t reserve(struct tcp *tcp, struct link_buffer *buffer, size_t len)
{
    size_t need = buffer->len + len;
    if (need <= buffer->capacity) {
        return KV_OK;
    }
    size_t capacity = 2 * buffer->capacity;
    if (capacity > tcp->limits.queue_bytes_max) {
        capacity = (size_t)tcp->limits.queue_bytes_max;
    }
    if (capacity < SEND_CAPACITY_MIN) {
        capacity = SEND_CAPACITY_MIN;
    }
    if (capacity < need) {
        capacity = need;
    }
    uint8_t *bytes = tcp_resize(tcp, buffer->bytes, capacity);
    if (bytes == NULL) {
        return KV_E_NOMEM;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return KV_OK;
}

size_t send_get_queued(const struct kv_link *link)
{
    return link->writing.len - link->writing.sent + link->filling.len;
}

static bool is_drained(const struct kv_link *link)
{
    size_t queued = send_get_queued(link);
    return queued == 0 || queued < link->owner->limits.queue_bytes_max / 2;
}

static void on_written(uv_write_t *req, int status)
{
    struct kv_link *link = req->data;
    size_t len = link->write_len;
    link->write_len = 0;
    if (link->state == LINK_CLOSING) {
        return;
    }
    if (status < 0) {
        link_lose(link, KV_E_CLOSED, uv_strerror(status));
        return;
    }
    link->writing.sent += len;
    send_write(link);
    receive_update(link);
    if (link->state == LINK_DRAINING) {
        link_drain(link);
    } else if (link->is_busy && link->deferred_reason == 0 && is_drained(link)) {
        link->is_busy = false;
        link->owner->events->on_writable(link->owner->events_ctx, link->user);
    }
}

/* One uv_write() of the next chunk. */
static void write_chunk(struct kv_link *link)
{
    struct link_buffer *buffer = &link->writing;
    size_t len = buffer->len - buffer->sent;
    if (len > SEND_CHUNK_MAX) {
        len = SEND_CHUNK_MAX;
    }
    uv_buf_t buf = uv_buf_init((char *)buffer->bytes + buffer->sent, (unsigned)len);
    link->write_req.data = link;
    link->write_len = len;
    link->owner->counters.writes++;
    int status = uv_write(&link->write_req, (uv_stream_t *)&link->socket, &buf, 1, on_written);
    if (status != 0) {
        link->write_len = 0;
        link_lose_later(link, KV_E_CLOSED);
    }
}

/* Offers `writing` once. True: all of it was taken. */
static bool try_buffer(struct kv_link *link)
{
    struct link_buffer *buffer = &link->writing;
    size_t len = buffer->len - buffer->sent;
    if (len > INT32_MAX) {
        len = INT32_MAX; /* uv_try_write() tells the count as an int */
    }
    uv_buf_t buf = uv_buf_init((char *)buffer->bytes + buffer->sent, (unsigned)len);
    link->owner->counters.writes++;
    int taken = uv_try_write((uv_stream_t *)&link->socket, &buf, 1);
    if (taken > 0) {
        buffer->sent += (size_t)taken;
    }
    return buffer->sent == buffer->len;
}

void send_write(struct kv_link *link)
{
    list_remove(&link->unflushed_node);
    if (link->write_len > 0 || link->deferred_reason != 0) {
        return;
    }
    /* At most twice: the rest of one buffer, then the other one. */
    while (send_get_queued(link) > 0) {
        if (link->writing.sent == link->writing.len) {
            struct link_buffer empty = link->writing;
            link->writing = link->filling;
            link->filling = empty;
        }
        if (!try_buffer(link)) {
            write_chunk(link);
            return;
        }
        empty_buffer(link->owner, &link->writing);
    }
}

void send_flush(struct tcp *tcp)
{
    while (!list_is_empty(&tcp->unflushed)) {
        struct kv_link *link = LIST_ENTRY(tcp->unflushed.next, kv_link, unflushed_node);
        size_t queued = send_get_queued(link);
        send_write(link);
        if (link->is_busy && send_get_queued(link) < queued && is_drained(link)) {
            link_defer_writable(link);
        }
        receive_update(link);
    }
}

int32_t send_preamble(struct kv_link *link)
{
    int32_t status = reserve(link->owner, &link->filling, FRAME_PREAMBLE_LEN);
    if (status == KV_OK) {
        frame_encode_preamble(link->filling.bytes + link->filling.len,
                              link->owner->limits.message_max);
        link->filling.len += FRAME_PREAMBLE_LEN;
        send_write(link);
    }
    return status;
}

int32_t send_message(struct kv_link *link, const struct kv_slice *slices, uint32_t slices_len)
{
    struct tcp *tcp = link->owner;
    if (link->state != LINK_UP || link->deferred_reason != 0) {
        return KV_E_CLOSED;
    }
    size_t len = 0;
    size_t len_max = tcp->limits.message_max < link->peer_message_max ? tcp->limits.message_max
                                                                      : link->peer_message_max;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > len_max - len) {
            return KV_E_TOO_LARGE;
        }
        len += slices[i].len;
    }
    size_t queued = send_get_queued(link);
    if (queued > 0 && queued + FRAME_HEADER_LEN + len > tcp->limits.queue_bytes_max) {
        link->is_busy = true;
        return KV_E_BUSY;
    }
    struct link_buffer *buffer = &link->filling;
    if (reserve(tcp, buffer, FRAME_HEADER_LEN + len) != KV_OK) {
        return KV_E_NOMEM;
    }
    uint8_t *header = buffer->bytes + buffer->len;
    uint8_t *at = header + FRAME_HEADER_LEN;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > 0) {
            memcpy(at, slices[i].bytes, slices[i].len);
            at += slices[i].len;
        }
    }
    uint32_t crc = tcp->host->crc32c(tcp->host->ctx, 0, header + FRAME_HEADER_LEN, len);
    frame_encode_header(header, (uint32_t)len, crc);
    buffer->len += FRAME_HEADER_LEN + len;
    tcp->counters.messages_sent++;
    /* While a write is in flight, its callback goes on with `filling`. */
    if (link->write_len == 0) {
        list_remove(&link->unflushed_node);
        list_append(&tcp->unflushed, &link->unflushed_node);
    }
    if (link->is_accepted) {
        receive_update(link);
    }
    return KV_OK;
}

void send_close(struct kv_link *link)
{
    struct link_buffer none = {NULL, 0, 0, 0};
    list_remove(&link->unflushed_node);
    tcp_release(link->owner, link->writing.bytes);
    tcp_release(link->owner, link->filling.bytes);
    link->writing = none;
    link->filling = none;
    link->is_busy = false;
}

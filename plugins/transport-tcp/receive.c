/*
 * Happy path: one read into the buffer that all links share, and every whole message in it is
 * handed to the host in place. What is left at its end is a part of one message: it is copied to
 * memory of the link, and put in front of the next read. A large message is gathered in the link's
 * memory alone, which grows with the bytes that have come, never with the length that the peer
 * announces, and is given back when the message was delivered. Failure modes: whatever a peer sends
 * that is no frame ends its link at once.
 */
#include "receive.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"
#include "link.h"
#include "send.h"
#include "tcp.h"

/* A part up to so long is put in front of the next read; a longer one is read behind itself. */
#define RECEIVE_SHARED_MAX   16384u
#define RECEIVE_CAPACITY_MIN 256u

void receive_close(struct kv_link *link)
{
    tcp_release(link->owner, link->partial);
    link->partial = NULL;
    link->partial_len = 0;
    link->partial_capacity = 0;
}

/* A peer is dropped for what it sent. */
static void reject(struct kv_link *link, int32_t reason, const char *text)
{
    struct tcp *tcp = link->owner;
    const char *name = "KV_E_MALFORMED";
    if (reason == KV_E_VERSION) {
        tcp->counters.version++;
        name = "KV_E_VERSION";
    } else if (reason == KV_E_TOO_LARGE) {
        tcp->counters.too_large++;
        name = "KV_E_TOO_LARGE";
    } else {
        tcp->counters.malformed++;
    }
    log_limited(tcp->host, &tcp->foreign_notice, "tcp: %s is dropped: %s (%s)", link->uri, text,
                name);
    link_lose(link, reason, NULL);
}

/* Returns how many bytes the preamble took: 0 while it is not complete, or the link was dropped. */
static size_t take_preamble(struct kv_link *link, const uint8_t *bytes, size_t len)
{
    char text[128];
    struct frame_preamble preamble = {0, 0};
    switch (frame_check_preamble(bytes, len, &preamble)) {
    case KV_OK:
        link->peer_message_max = preamble.message_max;
        link_become_up(link);
        return FRAME_PREAMBLE_LEN;
    case KV_E_RETRY:
        return 0;
    case KV_E_VERSION:
        snprintf(text, sizeof text, "it speaks version %" PRIu32 " of this transport, we speak %u",
                 preamble.version, FRAME_VERSION);
        reject(link, KV_E_VERSION, text);
        return 0;
    default:
        snprintf(text, sizeof text, "not a kvnode peer, its first byte%s 0x%02x%02x%02x%02x",
                 len < 4 ? " is in" : "s are", bytes[0], len > 1 ? bytes[1] : 0,
                 len > 2 ? bytes[2] : 0, len > 3 ? bytes[3] : 0);
        reject(link, KV_E_MALFORMED, text);
        return 0;
    }
}

/* One whole frame of `need` bytes. */
static void deliver(struct kv_link *link, const uint8_t *frame, size_t need)
{
    struct tcp *tcp = link->owner;
    const uint8_t *payload = frame + FRAME_HEADER_LEN;
    uint32_t len = (uint32_t)(need - FRAME_HEADER_LEN);
    if (tcp->host->crc32c(tcp->host->ctx, 0, payload, len) != frame_get_crc(frame)) {
        reject(link, KV_E_MALFORMED, "a message came with a wrong CRC");
        return;
    }
    tcp->counters.messages_received++;
    tcp->events->on_message(tcp->events_ctx, link->user, payload, len);
}

/* Handles all that is whole; returns how many bytes that were. The link's state tells whether it is
 * still there. */
static size_t take_bytes(struct kv_link *link, const uint8_t *bytes, size_t len)
{
    struct tcp *tcp = link->owner;
    size_t at = 0;
    link->partial_need = FRAME_PREAMBLE_LEN;
    if (link->state == LINK_HANDSHAKE) {
        at = take_preamble(link, bytes, len);
    }
    while (link->state == LINK_UP && at < len) {
        size_t need = 0;
        if (frame_measure(bytes + at, len - at, tcp->limits.message_max, &need) != KV_OK) {
            char text[128];
            snprintf(text, sizeof text,
                     "it announces a message of %zu bytes, message_max is %" PRIu32,
                     need - FRAME_HEADER_LEN, tcp->limits.message_max);
            reject(link, KV_E_TOO_LARGE, text);
            return at;
        }
        link->partial_need = need;
        if (len - at < need) {
            break;
        }
        deliver(link, bytes + at, need);
        at += need;
    }
    return at;
}

/* Makes room for more bytes of the message in progress, at most as many again as are there. */
static int32_t grow_partial(struct kv_link *link)
{
    size_t capacity = 2 * link->partial_len;
    if (capacity < RECEIVE_CAPACITY_MIN) {
        capacity = RECEIVE_CAPACITY_MIN;
    }
    if (capacity > link->partial_need) {
        capacity = link->partial_need;
    }
    if (capacity <= link->partial_capacity) {
        return KV_OK;
    }
    uint8_t *bytes = tcp_resize(link->owner, link->partial, capacity);
    if (bytes == NULL) {
        return KV_E_NOMEM;
    }
    link->partial = bytes;
    link->partial_capacity = capacity;
    return KV_OK;
}

/* Keeps the beginning of a message until more comes. */
static int32_t keep_partial(struct kv_link *link, const uint8_t *bytes, size_t len)
{
    link->partial_len = len;
    if (len == 0) {
        receive_close(link);
        return KV_OK;
    }
    if (grow_partial(link) != KV_OK || link->partial == NULL) {
        link->partial_len = 0;
        return KV_E_NOMEM;
    }
    memcpy(link->partial, bytes, len);
    return KV_OK;
}

static bool is_open(const struct kv_link *link)
{
    return link->state == LINK_HANDSHAKE || link->state == LINK_UP;
}

static void on_alloc(uv_handle_t *handle, size_t suggested_len, uv_buf_t *ret_buf)
{
    (void)suggested_len;
    struct kv_link *link = handle->data;
    uint8_t *shared = link->owner->read_buffer;
    if (!is_open(link)) {
        *ret_buf = uv_buf_init((char *)shared, TCP_READ_BUFFER_LEN);
        return;
    }
    if (link->partial_len <= RECEIVE_SHARED_MAX) {
        if (link->partial_len > 0) {
            memcpy(shared, link->partial, link->partial_len);
        }
        *ret_buf = uv_buf_init((char *)shared + link->partial_len,
                               (unsigned)(TCP_READ_BUFFER_LEN - link->partial_len));
        return;
    }
    if (link->partial_len == link->partial_capacity && grow_partial(link) != KV_OK) {
        *ret_buf = uv_buf_init(NULL, 0); /* comes back as UV_ENOBUFS */
        return;
    }
    /* The memory never exceeds what the message needs: nothing behind it is read with it. */
    *ret_buf = uv_buf_init((char *)link->partial + link->partial_len,
                           (unsigned)(link->partial_capacity - link->partial_len));
}

static void on_end(struct kv_link *link, int error)
{
    link->is_reading = false;
    link->is_ended = true;
    if (link->state == LINK_DRAINING && error == UV_EOF) {
        link_drain(link);
        return;
    }
    int32_t reason = error == UV_ENOBUFS ? KV_E_NOMEM : KV_E_CLOSED;
    const char *text = error == UV_EOF       ? "the peer closed the connection"
                       : error == UV_ENOBUFS ? "out of memory"
                                             : uv_strerror(error);
    link_lose(link, reason, text);
}

/* Bytes in the shared buffer, those kept before in front. */
static void take_shared(struct kv_link *link, size_t len)
{
    const uint8_t *bytes = link->owner->read_buffer;
    size_t taken = take_bytes(link, bytes, len);
    if (taken > 0) {
        receive_close(link); /* it was measured for the message that is through */
    }
    if (is_open(link) && keep_partial(link, bytes + taken, len - taken) != KV_OK) {
        link_lose(link, KV_E_NOMEM, "out of memory");
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    (void)buf;
    struct kv_link *link = stream->data;
    if (nread < 0) {
        on_end(link, (int)nread);
        return;
    }
    if (nread == 0 || !is_open(link)) {
        return;
    }
    link->owner->counters.reads++;
    if (link->partial_len <= RECEIVE_SHARED_MAX) {
        take_shared(link, link->partial_len + (size_t)nread);
    } else {
        link->partial_len += (size_t)nread;
        if (link->partial_len == link->partial_need) {
            take_bytes(link, link->partial, link->partial_len);
            receive_close(link);
        }
    }
    if (is_open(link)) {
        receive_update(link);
    }
}

/* Back-pressure on a peer that asks and does not take the answers. Only on accepted links: were
 * both ends of a link to stop reading, neither queue could ever drain. */
static bool is_held_back(const struct kv_link *link)
{
    return link->is_accepted && link->state == LINK_UP &&
           send_get_queued(link) > link->owner->limits.queue_bytes_max / 2;
}

void receive_update(struct kv_link *link)
{
    bool want = !link->is_ended && link->deferred_reason == 0 && !is_held_back(link) &&
                (is_open(link) || link->state == LINK_DRAINING);
    if (want == link->is_reading || !link->is_socket_open || link->state == LINK_CLOSING) {
        return;
    }
    link->is_reading = want;
    if (!want) {
        uv_read_stop((uv_stream_t *)&link->socket);
    } else if (uv_read_start((uv_stream_t *)&link->socket, on_alloc, on_read) != 0) {
        link->is_reading = false;
        link_lose_later(link, KV_E_CLOSED);
    }
}
